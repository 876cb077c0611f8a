"""What a client hears while the server's environment is being made, or when it cannot be.

A server that ends at its start only shows as "failed". So this answers the handshake and offers one tool that says
how things stand; once the server can run, it takes the connection over and the client is told to ask for the tools
anew. Standard library only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from queue import Empty, Queue
from typing import IO, Any, Protocol, cast

_LOOK_S = 0.2
_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_HANDSHAKE = "initialize"
_METHOD_NOT_FOUND = -32601
LISTS: dict[str, dict[str, list[object]]] = {
    "prompts/list": {"prompts": []},
    "resources/list": {"resources": []},
    "resources/templates/list": {"resourceTemplates": []},
}
TOOL: dict[str, object] = {
    "name": "venice_status",
    "title": "Server status",
    "description": "Tell how far the installation of this server is. Its other tools come when it is done.",
    "inputSchema": {"type": "object", "properties": {}},
    "annotations": {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False},
}
CHANGED = ("tools", "prompts", "resources")
Json = dict[str, Any]


class Prospect(Protocol):
    """Whether there will be a server."""

    def command(self) -> list[str] | None:
        """What runs it, as soon as it can."""
        ...

    def problem(self) -> str | None:
        """Why it never will."""
        ...


def serve(prospect: Prospect, variables: dict[str, str]) -> int:
    """Answer on stdio until the server can, then pass everything on to it; the exit status."""
    lines: Queue[bytes] = Queue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, lines), daemon=True).start()
    handshake: Json | None = None
    while True:
        command = prospect.command()
        if command is not None:
            return _hand_over(command, variables, handshake, lines)
        try:
            line = lines.get(timeout=_LOOK_S)
        except Empty:
            continue
        if not line:
            return 0
        message = _parsed(line)
        if message.get("method") == _HANDSHAKE:
            handshake = message
        answer = reply(message, prospect.problem())
        if answer is not None:
            _write(json.dumps(answer).encode() + b"\n")


def reply(message: Json, problem: str | None) -> Json | None:
    """The answer to one message; None for what wants none."""
    method, number = message.get("method"), message.get("id")
    if not isinstance(method, str) or number is None:
        return None
    result: Json | None = None
    if method == _HANDSHAKE:
        params: Any = message.get("params")
        asked: object = cast("Json", params).get("protocolVersion") if isinstance(params, dict) else None
        result = {
            "protocolVersion": asked if asked in _VERSIONS else _VERSIONS[0],
            "capabilities": {kind: {"listChanged": True} for kind in CHANGED},
            "serverInfo": {"name": "venice-mcp", "title": "Venice API keys", "version": "0"},
            "instructions": "Venice.ai API keys. The server is still being installed: see venice_status.",
        }
    elif method == "ping":
        result = {}
    elif method == "tools/list":
        result = {"tools": [TOOL]}
    elif method in LISTS:
        result = dict(LISTS[method])
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": state(problem)}], "isError": True}
    if result is None:
        error = {"code": _METHOD_NOT_FOUND, "message": "Method not found: the server is still being installed"}
        return {"jsonrpc": "2.0", "id": number, "error": error}
    return {"jsonrpc": "2.0", "id": number, "result": result}


def state(problem: str | None) -> str:
    """How things stand, in words for a model that relays them."""
    if problem is None:
        return (
            "The Venice server is being installed, once, which takes up to a minute or two. Nothing was done at Venice."
            " Its tools appear by themselves when it is ready; if they do not, reconnect it with /mcp."
        )
    return (
        f"The Venice server could not be installed, and nothing was done at Venice. The installation said: {problem}"
        " When that is mended, reconnect the server with /mcp; it is then tried again."
    )


def _hand_over(command: list[str], variables: dict[str, str], handshake: Json | None, lines: Queue[bytes]) -> int:
    server = subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None  # noqa: S101 - both were asked for as pipes
    assert server.stdout is not None  # noqa: S101
    if handshake is not None:
        # The client has had its answer to this; the server's own is not for it.
        _send(server.stdin, json.dumps(handshake).encode() + b"\n")
        while (line := server.stdout.readline()) and _parsed(line).get("id") != handshake.get("id"):
            _write(line)
        _send(server.stdin, b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        for kind in CHANGED:
            _write(json.dumps({"jsonrpc": "2.0", "method": f"notifications/{kind}/list_changed"}).encode() + b"\n")
    threading.Thread(target=_pass_on, args=(lines, server.stdin), daemon=True).start()
    for line in server.stdout:
        _write(line)
    return server.wait()


def _read(source: IO[bytes], lines: Queue[bytes]) -> None:
    for line in source:
        lines.put(line)
    lines.put(b"")


def _pass_on(lines: Queue[bytes], sink: IO[bytes]) -> None:
    while line := lines.get():
        _send(sink, line)
    sink.close()


def _send(sink: IO[bytes], line: bytes) -> None:
    try:
        sink.write(line)
        sink.flush()
    except OSError:  # the server ended, which its output tells
        return


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _parsed(line: bytes) -> Json:
    try:
        message: Any = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return cast("Json", message) if isinstance(message, dict) else {}
