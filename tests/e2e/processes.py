"""The real thing: our commands as processes of their own."""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

import httpx
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.e2e.bench import Json
from tests.user import VARIABLES

PATIENCE_S = 60
UNUSED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For plain HTTP; without it httpx loads all certificates of the system for every request."""
OURS = [sys.executable, "-P", "-m", "venice_mcp"]
INITIALIZE: Json = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"elicitation": {}},
    "clientInfo": {"name": "e2e", "version": "1"},
}


def environment(home: Path, **more: str) -> dict[str, str]:
    """Little, and nothing of the environment the tests run in but the search path."""
    own = VARIABLES | {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "VENICE_MCP_KEYRING": "0"}
    modules = [part for part in (more.get("PYTHONPATH"), own["PYTHONPATH"]) if part]
    return {**own, **more, "PYTHONPATH": os.pathsep.join(modules)}


@dataclass(frozen=True)
class SandboxProcess:
    """`venice-mcp sandbox --control`, and what it printed."""

    base_url: str
    admin_key: str
    inference_key: str

    @property
    def env(self) -> dict[str, str]:
        return {
            "VENICE_BASE_URL": self.base_url,
            "VENICE_ADMIN_KEY": self.admin_key,
            "VENICE_API_KEY": self.inference_key,
        }

    def state(self) -> tuple[dict[str, Json], Counter[str]]:
        """Every key by id without its use, and how often each operation was called."""
        url = f"{self.base_url}/__control/state"
        shown: Json = httpx.get(url, trust_env=False, verify=UNUSED).raise_for_status().json()
        keys = cast("list[Json]", shown["keys"])
        return {str(key["id"]): {**key, "lastUsedAt": None} for key in keys}, Counter(shown["requests"])

    def advance(self, seconds: float) -> None:
        httpx.post(f"{self.base_url}/__control/clock", json={"advance_s": seconds}, trust_env=False).raise_for_status()


@contextmanager
def sandbox_process(home: Path) -> Generator[SandboxProcess]:
    with spawned([*OURS, "sandbox", "--control", "--no-limits"], environment(home), home / "sandbox.log") as process:
        ready = json.loads(line_of(process))
        yield SandboxProcess(ready["base_url"], ready["admin_key"], ready["inference_key"])


@contextmanager
def spawned(command: list[str], env: Mapping[str, str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    """A process with pipes to stdin and from stdout, and stderr in a file; killed in the end if it still runs."""
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()


def line_of(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process ended"
    return line.decode()


def send(process: subprocess.Popen[bytes], message: Json | bytes) -> None:
    assert process.stdin is not None
    data = message if isinstance(message, bytes) else json.dumps({"jsonrpc": "2.0", **message}).encode()
    process.stdin.write(data + b"\n")
    process.stdin.flush()


def handshake(process: subprocess.Popen[bytes]) -> Json:
    send(process, {"id": 1, "method": "initialize", "params": INITIALIZE})
    answer: Json = json.loads(line_of(process))
    send(process, {"method": "notifications/initialized"})
    return answer


def ends_within(process: subprocess.Popen[bytes], seconds: float, number: signal.Signals | None) -> float:
    """Send the signal (or close stdin) and wait; how long it took."""
    started = time.monotonic()
    if number is not None:
        process.send_signal(number)
    elif process.stdin is not None:
        process.stdin.close()
    process.wait(timeout=seconds + 10)
    return time.monotonic() - started


def stdio(
    state_dir: Path, env: Mapping[str, str], log: TextIO, level: str = "debug"
) -> AbstractAsyncContextManager[Any]:
    """The transport to a fresh stdio server."""
    command = [*OURS, "--state-dir", str(state_dir), "--log-level", level]
    home = environment(state_dir.parent, **env)
    return stdio_client(StdioServerParameters(command=command[0], args=command[1:], env=home), errlog=log)


@dataclass(frozen=True)
class HttpServer:
    url: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1].split("/", 1)[0])


@contextmanager
def http_server(state_dir: Path, env: Mapping[str, str], *arguments: str) -> Generator[HttpServer]:
    """`venice-mcp serve --http` on a free port."""
    log = state_dir.parent / f"{state_dir.name}.log"
    command = [
        *OURS,
        "serve",
        "--http",
        "--port",
        "0",
        "--state-dir",
        str(state_dir),
        "--log-level",
        "debug",
        *arguments,
    ]
    with spawned(command, environment(state_dir.parent, **env), log) as process:
        yield HttpServer(_announced(process, log), log, process)


def wait_for(happened: Callable[[], bool]) -> None:
    """Return when it happened; only what another process does is waited for like this."""
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def _announced(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("Listening on http://"):
                return line.split()[2]
        time.sleep(0.02)
    raise AssertionError(f"it did not come up:\n{log.read_text()}")
