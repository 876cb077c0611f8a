"""Servers that are killed: a real one on stdio that ends at a chosen step, and what it leaves behind."""

import os

import pytest

if not hasattr(os, "fork"):  # not by sys.platform, which would hide this module from type checkers there
    raise pytest.skip.Exception("forks and signals are POSIX's", allow_module_level=True)

import json
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
from mcp import Client
from mcp.client._memory import InMemoryTransport  # pyright: ignore[reportPrivateUsage]

from tests.e2e.bench import MODERN, Json, Person, connect
from tests.e2e.forking import Forks, forked, forks
from tests.e2e.processes import INITIALIZE, UNUSED, SandboxProcess, environment, line_of, send
from venice_mcp.secrets import Redactor
from venice_mcp.server import build_app, build_server
from venice_mcp.settings import load
from venice_mcp.store import Store

# Once armed, a server kills itself at the n-th thing it does to the record, to a file or to a socket; each of these
# things is named in the log, by what of our code was doing it.
ARM = """
import os, signal, sys

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
"""


@dataclass(frozen=True)
class Beside(SandboxProcess):
    """The sandbox, for somebody else at work in the same account. With one client, because to make one is slow."""

    client: httpx.Client

    def state(self) -> tuple[dict[str, Json], Counter[str]]:
        shown: Json = self.client.get(f"{self.base_url}/__control/state").raise_for_status().json()
        keys = cast("list[Json]", shown["keys"])
        return {str(key["id"]): {**key, "lastUsedAt": None} for key in keys}, Counter(shown["requests"])

    def asked(self, method: str, path: str, key: str = "", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.admin_key}"}
        return self.client.request(method, f"{self.base_url}/{path}", headers=headers, **more)


@dataclass(frozen=True)
class Stage:
    """Where servers are killed: the Venice they write to, and the process that becomes a server again and again."""

    venice: Beside
    forks: Forks


@contextmanager
def stage(folder: Path) -> Generator[Stage]:
    """With a Venice in which there are few keys: whoever starts afresh reads them all."""
    few = ["sandbox", "--control", "--no-limits", "--scenario", "empty"]
    with (
        forks(folder) as parent,
        forked(parent, few, environment(folder), folder / "sandbox.log") as sandbox,
        httpx.Client(trust_env=False, verify=UNUSED) as client,
    ):
        assert parent is not None
        ready = json.loads(line_of(sandbox))
        yield Stage(Beside(ready["base_url"], ready["admin_key"], ready["inference_key"], client), parent)


@dataclass
class Killed:
    """What a killed server left: its folder, the Venice it wrote to, and the keys that were there before."""

    folder: Path
    venice: Beside
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
    armed, log, state = killed.folder / "armed", killed.folder / "log", str(killed.folder / "state")
    env = environment(killed.folder, **(killed.venice.env | {"VENICE_BASE_URL": killed.url}))
    if not asks:
        armed.touch()
    arming = f"{ARM}\narm({str(armed)!r}, {state!r}, {step})"
    with forked(on.forks, ["--state-dir", state], env, log, arming) as server:
        answer = _called(server, tool, arguments, armed if asks else None)
        if answer is not None and server.stdin is not None:
            server.stdin.close()
        server.wait()
    armed.unlink(missing_ok=True)
    assert server.returncode == (0 if answer is not None else -9), log.read_text()
    return answer


def _called(server: "subprocess.Popen[bytes]", tool: str, arguments: Json, armed: Path | None) -> Json | None:
    """Shake hands, call, and approve what is asked; None if the server ended before it answered."""
    assert server.stdout is not None
    try:
        send(server, {"id": 1, "method": "initialize", "params": INITIALIZE})
        if not server.stdout.readline():
            return None
        send(server, {"method": "notifications/initialized"})
        send(server, {"id": 2, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
        while line := server.stdout.readline():
            message: Json = json.loads(line)
            if message.get("method") == "elicitation/create":
                assert armed is not None, f"it asked again: {message}"
                armed.touch()
                (name, field), *_ = message["params"]["requestedSchema"]["properties"].items()
                value = True if name == "approve" else str(field["description"]).split()[1]
                send(server, {"id": message["id"], "result": {"action": "accept", "content": {name: value}}})
            elif message.get("id") == 2:
                return cast("Json", message["result"])
    except BrokenPipeError:
        pass
    return None


def made_by_hand(venice: Beside, **settings: object) -> Json:
    """A key that somebody made past our server, not used yet, with its secret."""
    body = {"apiKeyType": "INFERENCE", "description": "by hand", "consumptionLimit": {"usd": 100}, **settings}
    return cast("Json", venice.asked("POST", "api_keys", json=body).raise_for_status().json()["data"])


def revoked_by_hand(venice: Beside, key_id: str) -> None:
    venice.asked("DELETE", "api_keys", params={"id": key_id}).raise_for_status()


def works(venice: Beside, secret: str) -> bool:
    """Whether Venice answers a read with this key."""
    return venice.asked("GET", "api_keys/rate_limits", secret).is_success
