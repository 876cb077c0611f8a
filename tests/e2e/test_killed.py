"""A server that is killed, at every step it takes after a person said yes: no key is lost and nothing is done twice."""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from mcp import Client
from mcp.client._memory import InMemoryTransport  # pyright: ignore[reportPrivateUsage]

from tests.e2e.bench import MODERN, Json, Person, connect, done
from tests.e2e.processes import (
    SandboxProcess,
    environment,
    handshake,
    line_of,
    sandbox_process,
    send,
    spawned,
)
from tests.e2e.test_ended_midwrite import slow_venice
from venice_mcp.secrets import Redactor
from venice_mcp.server import build_app, build_server
from venice_mcp.settings import load
from venice_mcp.store import Store

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's"),
]

# Once armed, the process kills itself at the n-th thing it does to the record, to a file or to a socket.
RUNNER = """
import os, signal, sys
armed, state, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
seen = 0
def watch(event, args):
    global seen
    if event == "open":
        writing = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not writing or str(args[0]).startswith(state):
            return
    elif event not in ("sqlite3.connect", "os.rename", "os.remove", "os.truncate", "socket.connect"):
        return
    if os.path.exists(armed):
        seen += 1
        if seen == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
sys.argv[1:] = sys.argv[4:]
from venice_mcp.__main__ import main
main()
"""
MOST_STEPS = 40
CAPPED: Json = {"description": "killed", "consumption_limit": {"usd": 5}}
MAKING: dict[str, tuple[str, str]] = {
    "create into a file": ("venice_create_api_key", "file"),
    "create into a .env": ("venice_create_api_key", "dotenv"),
    "create for display": ("venice_create_api_key", "display"),
    "mint into a file": ("venice_create_web3_api_key", "file"),
}


@pytest.fixture(scope="module")
def venice(tmp_path_factory: pytest.TempPathFactory) -> Generator[SandboxProcess]:
    with sandbox_process(tmp_path_factory.mktemp("sandbox")) as process:
        yield process


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

    def new_keys(self) -> dict[str, Json]:
        return {key_id: key for key_id, key in self.venice.state()[0].items() if key_id not in self.before}

    def delivered(self, key: Json) -> bool:
        path = self.destination
        return path.exists() and path.read_text().strip().endswith(str(key["secret"])[-6:])

    @asynccontextmanager
    async def afresh(self, *, later: float = 0) -> AsyncGenerator[Client]:
        """A client of a new server on the same record, which is sure that it is so much later."""
        env = {"VENICE_MCP_KEYRING": "0", **self.venice.env, "VENICE_BASE_URL": self.url}
        settings = load(env, state_dir=self.folder / "state", config_dir=self.folder / "none")
        app = build_app(settings, Redactor(), now=lambda: datetime.now(UTC) + timedelta(seconds=later))
        async with connect(InMemoryTransport(build_server(app)), MODERN, Person()) as client:
            yield client
        await app.client.transport.close()


def arguments_for(tool: str, kind: str, folder: Path) -> Json:
    place: Json = {"kind": kind}
    if kind != "display":
        place["path"] = str(folder / ".env")
    if kind == "dotenv":
        place["variable"] = "VENICE_API_KEY"
    return {**CAPPED, "description": f"killed {folder.name}", "deliver_to": place}


def run(killed: Killed, tool: str, arguments: Json, step: int) -> Json | None:
    """Make the call on a server that dies at this step; its answer, if it lived long enough to give one."""
    state, armed = killed.folder / "state", killed.folder / "armed"
    command = [sys.executable, "-P", "-c", RUNNER, str(armed), str(state), str(step), "--state-dir", str(state)]
    env = environment(killed.folder, **(killed.venice.env | {"VENICE_BASE_URL": killed.url}))
    with spawned(command, env, killed.folder / "log") as server:
        handshake(server)
        send(server, {"id": 2, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
        question = json.loads(line_of(server))
        assert question["method"] == "elicitation/create", question
        armed.touch()
        send(server, {"id": question["id"], "result": {"action": "accept", "content": {"approve": True}}})
        assert server.stdout is not None
        answer = server.stdout.readline()
        if answer:
            return cast("Json", json.loads(answer)["result"])
        server.wait(timeout=10)
        assert server.returncode == -9, (killed.folder / "log").read_text()
    return None


def at_every_step(
    tmp_path: Path, venice: SandboxProcess, tool: str, arguments: Callable[[Path], Json]
) -> Iterator[tuple[Killed, Json | None]]:
    """Kill a fresh server at its first step, the next one at its second, until one lives to answer."""
    for step in range(1, MOST_STEPS):
        folder = tmp_path / f"{step}"
        folder.mkdir(mode=0o700)
        killed = Killed(folder, venice, venice.base_url, venice.state()[0])
        answer = run(killed, tool, arguments(folder), step)
        yield killed, answer
        if answer is not None:
            assert step > 4, "it was hardly ever killed"
            return
    raise AssertionError("it never came to its end")


async def recovered(killed: Killed, **arguments: Any) -> Json:
    # Nobody's word is taken on a write that may still take effect.
    async with killed.afresh(later=61 if "acknowledge" in arguments else 0) as client:
        found = done(await client.call_tool("venice_recover", arguments))
    if any("in a minute" in item["next_step"] for item in found["open"]):
        async with killed.afresh(later=61) as client:
            found = done(await client.call_tool("venice_recover", {}))
    return found


async def status(killed: Killed) -> Json:
    async with killed.afresh() as client:
        return done(await client.call_tool("venice_status", {}))


def assert_record_is_sound(killed: Killed) -> None:
    store = Store(killed.folder / "state")
    assert store.trail.verify().broken is None
    held = b"".join(path.read_bytes() for path in store.folder.iterdir())
    assert b"KEY_SANDBOX_" not in held


async def assert_no_key_is_lost(killed: Killed) -> None:
    """Each new key is where it should be, or is named and can be revoked; then nothing is open any more."""
    new = killed.new_keys()
    assert len(new) <= 1
    undelivered = {key_id for key_id, key in new.items() if not killed.delivered(key)}
    if undelivered:
        assert (await status(killed))["open_matters"]
    found = await recovered(killed)
    for item in found["open"]:
        if "key_id" not in item:
            # A wallet's key that is not here may be in another account, so a person must have the last word.
            assert "belongs to another account" in item["what"]
            found = await recovered(killed, acknowledge=item["name"])
    assert {item["key_id"] for item in found["open"]} == undelivered
    for key_id in undelivered:
        found = await recovered(killed, revoke=key_id)
        assert key_id not in killed.venice.state()[0]
    assert not found["open"]
    assert not (await status(killed))["open_matters"]
    assert_record_is_sound(killed)


@pytest.mark.parametrize("name", MAKING)
async def test_no_key_is_lost_wherever_the_server_is_killed(tmp_path: Path, venice: SandboxProcess, name: str) -> None:
    tool, kind = MAKING[name]
    made = 0
    for killed, answer in at_every_step(tmp_path, venice, tool, lambda at: arguments_for(tool, kind, at)):
        made += len(killed.new_keys())
        if answer is not None and kind == "display":
            # It was shown, and nobody said that it was stored.
            assert answer["structuredContent"]["api_key"]
        await assert_no_key_is_lost(killed)
    assert made > 1, "it was never killed after the key was made"


async def test_an_update_is_told_as_it_is_wherever_the_server_is_killed(tmp_path: Path, venice: SandboxProcess) -> None:
    key_id = made_by_hand(venice)
    for cap, (killed, answer) in enumerate(
        at_every_step(
            tmp_path,
            venice,
            "venice_update_api_key",
            lambda at: {"key_id": key_id, "consumption_limit": {"usd": 100 - int(at.name)}},
        ),
        1,
    ):
        was_done = killed.venice.state()[0][key_id]["caps"]["usd"] == 100 - cap
        assert was_done or answer is None
        found = await recovered(killed)
        assert not found["open"]
        assert all(("It was done." in text) is was_done for text in found["settled"])
        assert_record_is_sound(killed)


async def test_a_revocation_is_told_as_it_is_wherever_the_server_is_killed(
    tmp_path: Path, venice: SandboxProcess
) -> None:
    victims: list[str] = []

    def next_victim(_: Path) -> Json:
        victims.append(made_by_hand(venice))
        return {"key_id": victims[-1]}

    for killed, answer in at_every_step(tmp_path, venice, "venice_revoke_api_key", next_victim):
        gone = victims[-1] not in killed.venice.state()[0]
        assert gone or answer is None
        found = await recovered(killed)
        assert not found["open"]
        assert all(("It was done" in text) is gone for text in found["settled"])
        assert_record_is_sound(killed)


def made_by_hand(venice: SandboxProcess) -> str:
    """A key that somebody made past our server, not used yet."""
    made = httpx.post(
        f"{venice.base_url}/api_keys",
        json={"apiKeyType": "INFERENCE", "description": "by hand", "consumptionLimit": {"usd": 100}},
        headers={"Authorization": f"Bearer {venice.admin_key}"},
        trust_env=False,
    )
    return str(made.raise_for_status().json()["data"]["id"])


@pytest.mark.parametrize("tool", ["venice_create_api_key", "venice_create_web3_api_key"])
async def test_a_key_whose_answer_was_still_on_its_way_is_found(
    tmp_path: Path, venice: SandboxProcess, tool: str
) -> None:
    with slow_venice(venice, "POST .*") as slow:
        url = f"http://127.0.0.1:{slow.server_address[1]}/api/v1"
        killed = Killed(tmp_path, venice, url, venice.state()[0])
        state = str(tmp_path / "state")
        command = [sys.executable, "-P", "-m", "venice_mcp", "--state-dir", state]
        env = environment(tmp_path, **(venice.env | {"VENICE_BASE_URL": url}))
        with spawned(command, env, tmp_path / "log") as server:
            handshake(server)
            call = {"name": tool, "arguments": arguments_for(tool, "file", tmp_path)}
            send(server, {"id": 2, "method": "tools/call", "params": call})
            question = json.loads(line_of(server))
            send(server, {"id": question["id"], "result": {"action": "accept", "content": {"approve": True}}})
            assert slow.reached.wait(20)
            server.kill()
            server.wait()
        slow.answering.set()
        assert len(killed.new_keys()) == 1
        found = await recovered(killed)
        assert "An empty file is left" in found["open"][0]["what"]
        await assert_no_key_is_lost(killed)


async def test_another_process_finds_what_the_killed_one_left(tmp_path: Path, venice: SandboxProcess) -> None:
    """The same with two real servers: the second is started after the first was killed."""
    killed = Killed(tmp_path, venice, venice.base_url, venice.state()[0])
    for step in range(1, MOST_STEPS):
        if killed.new_keys():
            break
        (tmp_path / "armed").unlink(missing_ok=True)
        assert run(killed, "venice_create_api_key", arguments_for("", "display", tmp_path), step) is None
    (key_id,) = killed.new_keys()
    command = [sys.executable, "-P", "-m", "venice_mcp", "--state-dir", str(tmp_path / "state")]
    with spawned(command, environment(tmp_path, **venice.env), tmp_path / "second.log") as server:
        handshake(server)
        assert key_id in asked_of(server, "venice_recover")
        assert "Not accounted for" in asked_of(server, "venice_status")


def asked_of(server: "subprocess.Popen[bytes]", tool: str) -> str:
    send(server, {"id": tool, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
    return line_of(server)
