"""Approving in another terminal, for clients that cannot ask: the printed command, pasted as it is."""

import shlex
import subprocess
from datetime import timedelta
from pathlib import Path

import anyio.to_thread
import pytest

from tests.e2e.bench import (
    EVERY,
    IDLE,
    LEGACY,
    MADE,
    MODERN,
    RISKY_CREATE,
    WRITES,
    Json,
    Person,
    World,
    done,
    failed,
    text_of,
)
from tests.e2e.bench import world as open_world
from tests.e2e.terminal import at_once, on_terminal
from venice_mcp import cli, operating

pytestmark = pytest.mark.anyio
YES = "YES\n"
# A folder that a careless command line would not survive.
STATE = "it's the $HOME; state"


def world(folder: Path) -> World:
    return open_world(folder, state=STATE)


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds traps for a Python which looks for modules where it is run."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in ("venice_mcp.py", "json.py", "sqlite3.py"):
        (folder / name).write_text("raise SystemExit('imported from the folder it was run in')\n")
    return folder


def command_in(said: str) -> str:
    """The one command that a result prints, on a line of its own."""
    (line,) = [line for line in said.splitlines() if " -m venice_mcp approve " in line]
    return line


async def pending(venice: World, name: str, era: str = MODERN, asked: bool = False) -> str:
    """The command that a call printed because nobody answered (`asked`) or nobody could be asked."""
    write = WRITES[name]
    async with venice.client(era, Person("cancel") if asked else None) as client:
        return command_in(failed(await client.call_tool(write.tool, write.given(venice.id_of))))


async def told_of_the_refusal(venice: World, name: str) -> None:
    """The next call after a refusal is told of it, once."""
    write = WRITES[name]
    async with venice.client(MODERN, None) as client:
        said = failed(await client.call_tool(write.tool, write.given(venice.id_of)))
    assert "The person refused this request on their terminal" in said
    assert "Nothing was changed at Venice." in said
    venice.clock.advance(seconds=45)  # whoever said no is left alone for a while


async def typing(command: str, folder: Path, typed: str) -> tuple[int, str]:
    return await anyio.to_thread.run_sync(on_terminal, command, folder, typed)


async def running(command: str, folder: Path) -> tuple[int, str]:
    return await anyio.to_thread.run_sync(at_once, command, folder)


@pytest.mark.parametrize(
    ("name", "era", "asked"),
    [("create", LEGACY, True), ("revoke", MODERN, False), ("mint", MODERN, True)],
)
async def test_a_call_approved_on_a_terminal_goes_through_exactly_once(
    tmp_path: Path, elsewhere: Path, name: str, era: str, asked: bool
) -> None:
    venice, write = world(tmp_path), WRITES[name]
    arguments = write.given(venice.id_of)
    status, screen = await typing(await pending(venice, name, era, asked), elsewhere, YES)
    assert (status, "Approved, once" in screen) == (0, True)
    assert venice.written == {}
    person = Person("cancel")
    async with venice.client(era, person if asked else None) as client:
        done(await client.call_tool(write.tool, arguments))
        assert (venice.written, person.questions) == ({write.operation: 1}, [])
        again = await client.call_tool(write.tool, arguments)
    assert again.is_error
    assert venice.written == {write.operation: 1}
    if name in ("create", "mint"):
        assert "a person must first approve" in failed(again)
        assert len(person.questions) == (1 if asked else 0)


async def test_what_a_model_relays_says_what_waits_who_approves_it_and_for_how_long(tmp_path: Path) -> None:
    venice = world(tmp_path)
    end = venice.clock() + timedelta(minutes=10)
    async with venice.client() as client:
        said = failed(await client.call_tool(EVERY["create"].tool, EVERY["create"].arguments))
        first, command, last = said.splitlines()
        assert first == (
            "Nothing was done: this client cannot ask a person, so a person must first approve *Create a new INFERENCE"
            f' key "{MADE}"* by running the next line in a terminal of their own (not you) within 10 min,'
            f" until {end:%H:%M} UTC:"
        )
        assert last == "When they say it is approved, call this tool again with the same arguments."
        status = await client.call_tool("venice_status", {})
    told = done(status)
    assert [each["command"] for each in told["pending"]] == [command]
    listing = told["approve_command"]
    assert shlex.split(command) == [*shlex.split(listing)[:6], told["pending"][0]["code"], *shlex.split(listing)[6:]]
    assert f"`{listing}` lists what waits." in text_of(status)
    # A host without the program on its PATH has nothing else to run.
    assert "venice-mcp approve" not in said + text_of(status)


async def test_what_waits_is_listed_with_the_whole_command_for_each(tmp_path: Path, elsewhere: Path) -> None:
    venice = world(tmp_path)
    command = await pending(venice, "create")
    words = shlex.split(command)
    status, screen = await running(shlex.join([word for word in words if word != words[6]]), elsewhere)
    assert status == 0
    assert command_in(screen).strip() == f"to decide: {command}"


async def test_a_request_is_found_in_the_usual_folder_whatever_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    venice = world(tmp_path)
    words = shlex.split(await pending(venice, "create"))
    # Only where the account has its home, which no test may write to, is replaced.
    for module in (operating, cli):
        monkeypatch.setattr(module, "trusted_state_dir", lambda: venice.app.store.folder)
    assert operating.approve_command(words[6], venice.app.store.folder) == shlex.join(words[:7])
    monkeypatch.setenv("VENICE_MCP_STATE_DIR", str(tmp_path / "another"))
    assert cli.run(["approve"]) == 0
    assert words[6] in capsys.readouterr().out
    assert cli.run(["approve", words[6].lower()]) == 2
    assert "only a person at one can approve" in capsys.readouterr().err
    assert cli.run(["approve", words[6], "--state-dir", str(tmp_path / "another")]) == 2
    assert "Nothing was ever asked for" in capsys.readouterr().err
    assert not (tmp_path / "another").exists()
    # Without a code all that waits is listed, wherever it is.
    (tmp_path / "third").mkdir()
    third = world(tmp_path / "third")
    also = shlex.split(await pending(third, "create"))[6]
    monkeypatch.setenv("VENICE_MCP_STATE_DIR", str(third.app.store.folder))
    assert cli.run(["approve"]) == 0
    listed = capsys.readouterr().out
    assert words[6] in listed
    assert also in listed


async def test_the_terminal_shows_what_was_frozen_and_not_what_is_now(tmp_path: Path, elsewhere: Path) -> None:
    venice, person = world(tmp_path), Person("cancel")
    said = failed(await venice.call("venice_revoke_api_key", {"key_id": venice.id_of(IDLE)}, person=person))
    await venice.touch(venice.id_of(IDLE))
    status, screen = await typing(command_in(said), elsewhere, "no\n")
    assert status == 1
    for line in person.questions[0].splitlines()[:-1]:
        assert line in screen
    assert "Type YES to approve" in screen


async def test_a_high_risk_needs_its_word_on_the_terminal_too(tmp_path: Path, elsewhere: Path) -> None:
    venice = world(tmp_path)
    status, screen = await typing(await pending(venice, "risky create"), elsewhere, YES)
    assert "HIGH RISK: an ADMIN key" in screen
    assert "Type CREATE to approve" in screen
    assert status == 1
    assert "Refused." in screen
    await told_of_the_refusal(venice, "risky create")
    status, screen = await typing(await pending(venice, "risky create"), elsewhere, "CREATE\n")
    assert status == 0
    async with venice.client() as client:
        done(await client.call_tool(RISKY_CREATE.tool, RISKY_CREATE.arguments))
    assert [key["apiKeyType"] for key in venice.described(MADE)] == ["ADMIN"]


@pytest.mark.parametrize("typed", ["\n", "yes please\n"], ids=["nothing", "almost"])
async def test_a_refusal_on_the_terminal_closes_the_request(tmp_path: Path, elsewhere: Path, typed: str) -> None:
    venice = world(tmp_path)
    command = await pending(venice, "create")
    status, screen = await typing(command, elsewhere, typed)
    assert (status, "Refused. Nothing will be changed." in screen) == (1, True)
    await told_of_the_refusal(venice, "create")
    assert await pending(venice, "create") != command
    if typed == "\n":
        status, screen = await running(command, elsewhere)
        assert (status, "it is denied" in screen) == (1, True)
    assert venice.written == {}


# The line break after Ctrl-C wakes a Python that was hit between showing the prompt and reading.
@pytest.mark.parametrize("typed", ["\x03\n", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
async def test_leaving_the_terminal_without_an_answer_records_nothing(
    tmp_path: Path, elsewhere: Path, typed: str
) -> None:
    venice = world(tmp_path)
    command = await pending(venice, "create")
    status, screen = await typing(command, elsewhere, typed)
    assert status != 0
    assert "the request still waits" in screen
    assert "Traceback" not in screen
    assert await pending(venice, "create") == command
    assert venice.written == {}


async def test_a_program_without_a_terminal_cannot_approve(tmp_path: Path, elsewhere: Path) -> None:
    venice = world(tmp_path)
    command = await pending(venice, "create")
    ended = await anyio.run_process(shlex.split(command), input=b"YES\n", check=False, cwd=elsewhere, env={})
    assert ended.returncode != 0
    assert b"Approved" not in ended.stdout + ended.stderr
    status, screen = await running(f"echo YES | {command}", elsewhere)
    assert (status, "only a person at one can approve" in screen) == (2, True)
    status, screen = await running(f"{command} | /bin/cat", elsewhere)
    assert "only a person at one can approve" in screen
    assert await pending(venice, "create") == command


async def test_an_unknown_code_is_refused(tmp_path: Path, elsewhere: Path) -> None:
    venice = world(tmp_path)
    words = shlex.split(await pending(venice, "create"))
    words[words.index("approve") + 1] = "2222-\x1b[2J22"
    status, screen = await running(shlex.join(words), elsewhere)
    assert status == 2
    assert "There is no request" in screen
    assert "\x1b" not in screen


async def test_an_expired_request_cannot_be_approved(tmp_path: Path, elsewhere: Path) -> None:
    venice = world(tmp_path)
    venice.clock.advance(minutes=-10, seconds=-1)
    status, screen = await running(await pending(venice, "create"), elsewhere)
    assert (status, "it is expired" in screen) == (1, True)


@pytest.mark.parametrize(
    ("name", "era"), [("create", LEGACY), ("revoke", MODERN), ("mint", LEGACY), ("update", MODERN)]
)
async def test_an_approval_lasts_ten_minutes(tmp_path: Path, era: str, name: str) -> None:
    venice, write = world(tmp_path), WRITES[name]
    arguments = write.given(venice.id_of)
    code = shlex.split(await pending(venice, name, era))[6]
    venice.clock.advance(minutes=5)
    assert venice.app.store.approvals.settle(code, "granted", "approved on a terminal", venice.clock()) == "granted"
    venice.clock.advance(minutes=5)
    assert await pending(venice, name, era) != ""
    assert venice.written == {}
    code = shlex.split(await pending(venice, name, era))[6]
    venice.app.store.approvals.settle(code, "granted", "approved on a terminal", venice.clock())
    venice.clock.advance(minutes=9, seconds=59)
    async with venice.client(era) as client:
        done(await client.call_tool(write.tool, arguments))
    assert venice.written == {write.operation: 1}


async def test_an_approval_does_not_survive_a_change_of_its_key(tmp_path: Path) -> None:
    venice, write = world(tmp_path), EVERY["revoke"]
    code = shlex.split(await pending(venice, "revoke"))[6]
    venice.app.store.approvals.settle(code, "granted", "approved on a terminal", venice.clock())
    key_id = venice.id_of(IDLE)
    await venice.venice("PATCH", "/api_keys", json={"id": key_id, "description": "payments production"})
    async with venice.client() as client:
        said = failed(await client.call_tool(write.tool, {"key_id": key_id}))
    assert "a person must first approve" in said
    assert venice.requests["deleteApiKey"] == 0


async def test_an_approval_counts_for_its_exact_arguments_only(tmp_path: Path) -> None:
    venice, write = world(tmp_path), EVERY["create"]
    code = shlex.split(await pending(venice, "create"))[6]
    venice.app.store.approvals.settle(code, "granted", "approved on a terminal", venice.clock())
    others: list[Json] = [
        {**write.arguments, "consumption_limit": {"usd": 6}},
        {**write.arguments, "api_key_type": "ADMIN"},
        {**write.arguments, "deliver_to": {"path": str(tmp_path / "x.key")}},
        {**write.arguments, "description": "another"},
    ]
    async with venice.client() as client:
        for arguments in others:
            failed(await client.call_tool(write.tool, arguments))
        assert venice.written == {}
        done(await client.call_tool(write.tool, write.arguments))


async def test_what_waits_is_listed_with_and_without_a_terminal(tmp_path: Path, elsewhere: Path) -> None:
    venice = world(tmp_path)
    words = shlex.split(await pending(venice, "create"))
    code = words.pop(words.index("approve") + 1)
    ended = await anyio.run_process(words, cwd=elsewhere, env={}, stderr=subprocess.STDOUT)
    assert f"{code}  Create a new INFERENCE key" in ended.stdout.decode()
    status = done(await venice.call("venice_status"))
    assert [item["code"] for item in status["pending"]] == [code]
