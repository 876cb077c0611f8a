"""Servers that are killed: a real one on stdio that ends at a chosen step, and what it leaves behind."""

import os
import sys

import pytest

if not hasattr(os, "fork"):  # not by sys.platform, which would hide this module from type checkers there
    raise pytest.skip.Exception("forks and signals are POSIX's", allow_module_level=True)

import json
import socket
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, cast

import httpx
from mcp import Client
from mcp.client._memory import InMemoryTransport  # pyright: ignore[reportPrivateUsage]

from tests.e2e.bench import MODERN, Json, Person, connect
from tests.e2e.processes import INITIALIZE, UNUSED, SandboxProcess, environment
from venice_mcp.secrets import Redactor
from venice_mcp.server import build_app, build_server
from venice_mcp.settings import load
from venice_mcp.store import Store

# Imports and builds once what takes most of a start, and then is, in a process of its own each time, the server on
# stdin and stdout. Once armed, it kills itself at the n-th thing it does to the record, to a file or to a socket; each
# of these things is named in the log, by what of our code was doing it.
RUNNER = """
import gc, json, os, signal, socket, sys
import anyio._backends._asyncio, eth_account, httpx, mcp.server.stdio
import venice_mcp.cli, venice_mcp.server, venice_mcp.serving
from venice_mcp.__main__ import main
from venice_mcp.tools import TOOLS
from venice_mcp.tools.build import build
for spec in TOOLS:
    build(spec)
gc.freeze()

def doing():
    frame, found = sys._getframe(2), []
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("venice_mcp.") and name != "venice_mcp.__main__":
            told = frame.f_locals.get("outcome") if frame.f_code.co_name == "note" else None
            found.append(f"{name[11:]}.{frame.f_code.co_name}{f' {told}' if told else ''}")
        frame = frame.f_back
    return " < ".join(found[:12])

def arm(armed, state, wanted):
    seen = 0
    def watch(event, args):
        nonlocal seen
        if event == "open":
            writing = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not writing or str(args[0]).startswith(state):
                return
        elif event not in ("sqlite3.connect", "os.rename", "os.remove", "os.truncate", "socket.connect"):
            return
        if os.path.exists(armed):
            seen += 1
            os.write(2, f"STEP {event} {doing()}\\n".encode())
            if seen == wanted:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

orders = socket.socket(fileno=int(sys.argv[1]))
while True:
    order, descriptors, _, _ = socket.recv_fds(orders, 1 << 16, 3)
    if not order:
        break
    child = os.fork()
    if child == 0:
        orders.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        order = json.loads(order)
        os.environ.clear()
        os.environ.update(order["env"])
        sys.argv[1:] = ["--state-dir", order["state"]]
        arm(order["armed"], order["state"], order["step"])
        os._exit(main())
    for descriptor in descriptors:
        os.close(descriptor)
    orders.sendall(b"%d" % os.waitpid(child, 0)[1])
"""


@dataclass(frozen=True)
class Stage:
    """Where servers are killed: the Venice they write to, and the process that becomes a server again and again."""

    venice: SandboxProcess
    orders: socket.socket

    def order(self, what: Json, *streams: int) -> None:
        if sys.platform == "win32":
            raise NotImplementedError
        socket.send_fds(self.orders, [json.dumps(what).encode()], streams)

    def ended(self) -> int:
        """The status of the server, once it has ended."""
        return os.waitstatus_to_exitcode(int(self.orders.recv(64)))


@contextmanager
def stage(venice: SandboxProcess, folder: Path) -> Generator[Stage]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(60)
        command = [sys.executable, "-P", "-c", RUNNER, str(theirs.fileno())]
        kept, env = (theirs.fileno(),), environment(folder)
        with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, pass_fds=kept) as process:
            try:
                yield Stage(venice, ours)
            finally:
                process.kill()


@dataclass
class Killed:
    """What a killed server left: its folder, the Venice it wrote to, and the keys that were there before."""

    folder: Path
    venice: SandboxProcess
    url: str
    before: dict[str, Json]

    @property
    def destination(self) -> Path:
        return self.folder / ".env"

    @property
    def store(self) -> Store:
        return Store(self.folder / "state")

    def new_keys(self) -> dict[str, Json]:
        return {key_id: key for key_id, key in self.venice.state()[0].items() if key_id not in self.before}

    def delivered(self, key: Json) -> bool:
        path = self.destination
        return path.exists() and path.read_text().strip().endswith(str(key["secret"])[-6:])

    def steps(self) -> list[str]:
        """What the latest server did to record, files and sockets once it was armed."""
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return [line.removeprefix("STEP ") for line in lines if line.startswith("STEP ")]

    @asynccontextmanager
    async def afresh(self, *, later: float = 0, person: Person | None = None) -> AsyncGenerator[Client]:
        """A client of a new server on the same record, which is sure that it is so much later."""
        env = {"VENICE_MCP_KEYRING": "0", **self.venice.env, "VENICE_BASE_URL": self.url}
        settings = load(env, state_dir=self.folder / "state", config_dir=self.folder / "none")
        # What the server would open itself, but for the certificates of the system, which nobody asks for here.
        plain = httpx.AsyncHTTPTransport(
            verify=UNUSED, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )
        at = timedelta(seconds=later)
        app = build_app(settings, Redactor(), transport=plain, now=lambda: datetime.now(UTC) + at)
        async with connect(InMemoryTransport(build_server(app)), MODERN, person or Person()) as client:
            yield client
        await app.client.transport.close()


def assert_record_is_sound(killed: Killed) -> None:
    assert killed.store.trail.verify().broken is None
    held = b"".join(path.read_bytes() for path in killed.store.folder.iterdir())
    assert b"KEY_SANDBOX_" not in held


def run(on: Stage, killed: Killed, tool: str, arguments: Json, step: int, *, asks: bool = True) -> Json | None:
    """Make the call on a server that dies at this step; its answer, if it lived long enough to give one.

    The steps are counted from when it is told that the person approves; if nobody is to be asked, from its start.
    """
    armed, log = killed.folder / "armed", killed.folder / "log"
    (to_server, given), (answered, from_server) = os.pipe(), os.pipe()
    with log.open("wb") as errors, os.fdopen(given, "wb") as stdin, os.fdopen(answered, "rb") as stdout:
        env = environment(killed.folder, **(killed.venice.env | {"VENICE_BASE_URL": killed.url}))
        what = {"env": env, "state": str(killed.folder / "state"), "armed": str(armed), "step": step}
        if not asks:
            armed.touch()
        on.order(what, to_server, from_server, errors.fileno())
        os.close(to_server)
        os.close(from_server)
        answer = _called(stdin, stdout, tool, arguments, armed if asks else None)
    status = on.ended()
    armed.unlink(missing_ok=True)
    assert status == (0 if answer is not None else -9), log.read_text()
    return answer


def _called(stdin: IO[bytes], stdout: IO[bytes], tool: str, arguments: Json, armed: Path | None) -> Json | None:
    """Shake hands, call, and approve what is asked; None if the server ended before it answered."""

    def say(message: Json) -> None:
        stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        stdin.flush()

    try:
        say({"id": 1, "method": "initialize", "params": INITIALIZE})
        if not stdout.readline():
            return None
        say({"method": "notifications/initialized"})
        say({"id": 2, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
        while line := stdout.readline():
            message: Json = json.loads(line)
            if message.get("method") == "elicitation/create":
                assert armed is not None, f"it asked again: {message}"
                armed.touch()
                (name, field), *_ = message["params"]["requestedSchema"]["properties"].items()
                value = True if name == "approve" else str(field["description"]).split()[1]
                say({"id": message["id"], "result": {"action": "accept", "content": {name: value}}})
            elif message.get("id") == 2:
                return cast("Json", message["result"])
    except BrokenPipeError:
        pass
    return None


def made_by_hand(venice: SandboxProcess, **settings: object) -> Json:
    """A key that somebody made past our server, not used yet, with its secret."""
    body = {"apiKeyType": "INFERENCE", "description": "by hand", "consumptionLimit": {"usd": 100}, **settings}
    made = httpx.post(
        f"{venice.base_url}/api_keys", json=body, headers=_as_admin(venice), trust_env=False, verify=UNUSED
    )
    return cast("Json", made.raise_for_status().json()["data"])


def revoked_by_hand(venice: SandboxProcess, key_id: str) -> None:
    url, params = f"{venice.base_url}/api_keys", {"id": key_id}
    httpx.delete(url, params=params, headers=_as_admin(venice), trust_env=False, verify=UNUSED).raise_for_status()


def works(venice: SandboxProcess, secret: str) -> bool:
    """Whether Venice answers a read with this key."""
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.get(
        f"{venice.base_url}/api_keys/rate_limits", headers=headers, trust_env=False, verify=UNUSED
    ).is_success


def _as_admin(venice: SandboxProcess) -> dict[str, str]:
    return {"Authorization": f"Bearer {venice.admin_key}"}
