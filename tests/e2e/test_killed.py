"""A server that is killed, at every step it takes after a person said yes: no key is lost and nothing is done twice."""

import json
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bench import Json, done
from tests.e2e.forking import forked
from tests.e2e.killing import Killed, Stage, assert_record_is_sound, made_by_hand, run, stage
from tests.e2e.processes import (
    OURS,
    environment,
    handshake,
    line_of,
    send,
    spawned,
)
from tests.e2e.test_ended_midwrite import slow_venice

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's"),
]

NEVER = 10_000
CHANGING_NOTHING = ("os.remove secrets.exchange._beside", "store.approvals.written_since")
"""Steps that look, or remove what is not there: who is killed at the next one has done no more than at this one."""
CAPPED: Json = {"description": "killed", "consumption_limit": {"usd": 5}}
MAKING: dict[str, tuple[str, str]] = {
    "create into a file": ("venice_create_api_key", "file"),
    "create into a .env": ("venice_create_api_key", "dotenv"),
    "create for display": ("venice_create_api_key", "display"),
    "mint into a file": ("venice_create_web3_api_key", "file"),
}


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    with stage(tmp_path_factory.mktemp("stage")) as found:
        yield found


def arguments_for(tool: str, kind: str, folder: Path) -> Json:
    place: Json = {"kind": kind}
    if kind != "display":
        place["path"] = str(folder / ".env")
    if kind == "dotenv":
        place["variable"] = "VENICE_API_KEY"
    return {**CAPPED, "description": f"killed {folder.name}", "deliver_to": place}


def at_every_step(
    tmp_path: Path, on: Stage, tool: str, arguments: Callable[[Path], Json]
) -> Iterator[tuple[Killed, Json | None]]:
    """Let one server live and answer, and kill a fresh one at each of the steps that it took."""
    steps = [(NEVER, "")]
    while steps:
        step, _ = steps.pop(0)
        folder = tmp_path / f"{step % NEVER}"
        folder.mkdir(mode=0o700)
        killed = Killed(folder, on.venice, on.venice.base_url, on.venice.state()[0])
        answer = run(on, killed, tool, arguments(folder), step)
        assert (answer is not None) == (step == NEVER)
        if step == NEVER:
            took = list(enumerate(killed.steps(), 1))
            steps = [(number, name) for number, name in took if not any(part in name for part in CHANGING_NOTHING)]
            assert len(steps) > 3, "it is hardly ever killed"
        yield killed, answer


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
async def test_no_key_is_lost_wherever_the_server_is_killed(tmp_path: Path, on: Stage, name: str) -> None:
    tool, kind = MAKING[name]
    made = 0
    for killed, answer in at_every_step(tmp_path, on, tool, lambda at: arguments_for(tool, kind, at)):
        made += len(killed.new_keys())
        if answer is not None and kind == "display":
            # It was shown, and nobody said that it was stored.
            assert answer["structuredContent"]["api_key"]
        await assert_no_key_is_lost(killed)
    assert made > 1, "it was never killed after the key was made"


async def test_an_update_is_told_as_it_is_wherever_the_server_is_killed(tmp_path: Path, on: Stage) -> None:
    key_id = str(made_by_hand(on.venice)["id"])
    for killed, answer in at_every_step(
        tmp_path,
        on,
        "venice_update_api_key",
        lambda at: {"key_id": key_id, "consumption_limit": {"usd": 99 - int(at.name)}},
    ):
        was_done = killed.venice.state()[0][key_id]["caps"]["usd"] == 99 - int(killed.folder.name)
        assert was_done or answer is None
        found = await recovered(killed)
        assert not found["open"]
        assert all(("It was done." in text) is was_done for text in found["settled"])
        assert_record_is_sound(killed)


async def test_a_revocation_is_told_as_it_is_wherever_the_server_is_killed(tmp_path: Path, on: Stage) -> None:
    victims: list[str] = []

    def next_victim(_: Path) -> Json:
        victims.append(str(made_by_hand(on.venice)["id"]))
        return {"key_id": victims[-1]}

    for killed, answer in at_every_step(tmp_path, on, "venice_revoke_api_key", next_victim):
        gone = victims[-1] not in killed.venice.state()[0]
        assert gone or answer is None
        found = await recovered(killed)
        assert not found["open"]
        assert all(("It was done" in text) is gone for text in found["settled"])
        assert_record_is_sound(killed)


@pytest.mark.parametrize("tool", ["venice_create_api_key", "venice_create_web3_api_key"])
async def test_a_key_whose_answer_was_still_on_its_way_is_found(tmp_path: Path, on: Stage, tool: str) -> None:
    with slow_venice(on.venice, "POST .*") as slow:
        url = f"http://127.0.0.1:{slow.server_address[1]}/api/v1"
        killed = Killed(tmp_path, on.venice, url, on.venice.state()[0])
        env = environment(tmp_path, **(on.venice.env | {"VENICE_BASE_URL": url}))
        with forked(on.forks, ["--state-dir", str(tmp_path / "state")], env, tmp_path / "log") as server:
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


async def test_another_process_finds_what_the_killed_one_left(tmp_path: Path, on: Stage) -> None:
    """The same with two real servers: the second is started after the first was killed."""
    venice, arguments = on.venice, arguments_for("", "display", tmp_path)
    whole = Killed(tmp_path, venice, venice.base_url, venice.state()[0])
    assert run(on, whole, "venice_create_api_key", arguments, NEVER) is not None
    made = next(number for number, name in enumerate(whole.steps(), 1) if "journal.note made" in name)
    killed = Killed(tmp_path, venice, venice.base_url, venice.state()[0])
    assert run(on, killed, "venice_create_api_key", arguments, made) is None
    (key_id,) = killed.new_keys()
    command = [*OURS, "--state-dir", str(tmp_path / "state")]
    with spawned(command, environment(tmp_path, **venice.env), tmp_path / "second.log") as server:
        handshake(server)
        assert key_id in asked_of(server, "venice_recover")
        assert "Not accounted for" in asked_of(server, "venice_status")


def asked_of(server: "subprocess.Popen[bytes]", tool: str) -> str:
    send(server, {"id": tool, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
    return line_of(server)
