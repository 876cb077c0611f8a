"""The audit trail as people and hosts get it: `audit-log` and `purge` as processes, and the resource over MCP."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("its terminal is a pseudo-terminal of POSIX", allow_module_level=True)

import json
import os
import pwd
import shlex
import sqlite3
import subprocess
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from mcp import Client
from mcp.client._memory import InMemoryTransport  # pyright: ignore[reportPrivateUsage]
from mcp.shared.exceptions import MCPError
from mcp_types import Implementation, TextResourceContents

from tests.e2e.bench import ADMIN_KEY, CAPPED, CREATE, ERAS, MADE, MODERN, Json, Person, World, done, failed, world
from tests.e2e.forking import COMMANDS, Forks, completed, forks
from tests.e2e.processes import OURS, environment
from tests.e2e.terminal import on_terminal, terminal
from tests.e2e.test_terminal import command_in
from tests.test_harness import NOON
from venice_mcp.operating import command
from venice_mcp.store import Store, actor

pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", ERAS)
RESOURCE = "venice://audit-log"
FILE = "state.sqlite3"
EVERY_COMMAND = [["audit-log", "show"], ["audit-log", "verify"], ["audit-log", "export"], ["purge"]]
commands = pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
TYPE_PURGE = "Type PURGE to remove it for good: "
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Said = Callable[..., str]
HOSTILE = (
    "good\x1b[2J\x1b]0;owned\x07\n     1 2020-01-01T00:00:00 granted  AAAA-AAAA terminal, user root\r"
    "\u202eevil\u2066\u200b\u2028\x00\x9b1mend\U000e0041"
)
"""Clears the screen, sets a title, forges a line, writes backwards."""


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Generator[Forks | None]:
    with forks(tmp_path_factory.mktemp("forks"), COMMANDS) as found:
        yield found


@pytest.fixture
def run(parent: Forks | None) -> Run:
    """A command of ours to its end, with no terminal around it."""

    def running(state: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return completed(parent, [*arguments, "--state-dir", str(state)], environment(state.parent), "PURGE\n")

    return running


@pytest.fixture
def said(run: Run) -> Said:
    """What a command prints that succeeds and has nothing to complain about."""

    def saying(state: Path, *arguments: str) -> str:
        ended = run(state, *arguments)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    return saying


def lines(text: str) -> list[Json]:
    return [json.loads(line) for line in text.splitlines()]


def filled(state: Path, entries: int = 5) -> Store:
    """A record of some questions."""
    store = Store(state)
    token = actor.set('client "of a test" 1 over stdio')
    for number in range(entries):
        data = {"tool": "venice_create_api_key", "headline": f"Question {number}?"}
        store.approvals.ask(account="a", fingerprint="f", data=data, now=NOON)
    actor.reset(token)
    return store


def tamper(store: Store, statement: str) -> None:
    """What somebody does who can write to the file and takes away what protects it."""
    db = sqlite3.connect(store.path)
    for kind in ("update", "insert", "delete"):
        db.execute(f"DROP TRIGGER append_only_{kind}")
    db.execute(statement)
    db.commit()
    db.close()


@asynccontextmanager
async def called(venice: World, name: str, era: str = MODERN, person: Person | None = None) -> AsyncGenerator[Client]:
    """A client that gives itself this name."""
    info = Implementation(name=name, version="1")
    transport = InMemoryTransport(venice.server)
    async with Client(transport, mode=era, elicitation_callback=person, client_info=info, cache=None) as client:
        yield client


async def resource(venice: World, era: str = MODERN, name: str = "reader") -> list[Json]:
    async with called(venice, name, era) as client:
        (content,) = (await client.read_resource(RESOURCE)).contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "application/x-ndjson"
    return lines(content.text)


# --- show -----------------------------------------------------------------------------------------


async def test_show_tells_who_did_what_in_the_order_it_happened(tmp_path: Path, said: Said) -> None:
    venice = world(tmp_path, scenario="empty")
    async with called(venice, "my editor", person=Person()) as client:
        key_id = done(await client.call_tool(CREATE.tool, CAPPED))["id"]
    shown = said(venice.state_dir, "audit-log", "show").splitlines()
    assert [line.split()[2] for line in shown] == ["asked", "granted", "spent", "intended", "made", "displayed"]
    assert [int(line.split()[0]) for line in shown] == [1, 2, 3, 4, 5, 6]
    assert all('client "my editor" 1 over stdio' in line for line in shown)
    assert MADE in shown[0]
    assert "answered in the client" in shown[1]
    assert key_id in shown[4]
    assert said(venice.state_dir, "audit-log", "show", "--limit", "2").splitlines() == shown[-2:]


def test_the_state_folder_may_be_named_anywhere_in_the_command(tmp_path: Path, parent: Forks | None) -> None:
    state = filled(tmp_path / "state").folder
    words = ["--state-dir", str(state)]
    shown: set[str] = set()
    for line in ([*words, "audit-log", "show"], ["audit-log", *words, "show"], ["audit-log", "show", *words]):
        ended = completed(parent, line, environment(tmp_path))
        assert ended.returncode == 0, ended.stderr
        shown.add(ended.stdout)
    assert len(shown) == 1
    assert "Question 4?" in shown.pop()


@pytest.mark.parametrize("limit", ["0", "-1", "100001", "many", "\u0663", "1e3"])
def test_a_limit_that_is_none_is_bad_usage(tmp_path: Path, limit: str, run: Run) -> None:
    ended = run(filled(tmp_path / "state").folder, "audit-log", "show", f"--limit={limit}")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "a number from 1 to 100000" in ended.stderr


async def test_a_client_with_a_hostile_name_does_nothing_to_whoever_reads_the_trail(tmp_path: Path, said: Said) -> None:
    venice = world(tmp_path, scenario="empty")
    async with called(venice, HOSTILE, person=Person()) as client:
        done(await client.call_tool(CREATE.tool, CAPPED))
    entries = len(venice.app.store.trail.all())
    for text in (
        said(venice.state_dir, "audit-log", "show"),
        said(venice.state_dir, "audit-log", "export"),
        "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in await resource(venice)),
    ):
        assert len(text.splitlines()) in (entries, entries + 1)  # an export ends with its checkpoint
        assert text.isprintable() or set(filter(lambda char: not char.isprintable(), text)) == {"\n"}
        assert "\\u202e" not in text
        assert "good" in text
    # It may say what it likes, but in quotes.
    assert {entry.actor.partition('"')[0] for entry in venice.app.store.trail.all()} == {"client "}


async def test_a_client_cannot_pass_for_a_person_at_a_terminal(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="empty")
    for name in ("terminal, user root", '" 1 over stdio, terminal, user "root'):
        async with called(venice, name) as client:
            failed(await client.call_tool(CREATE.tool, {**CAPPED, "description": f"by {len(name)}"}))
    for entry in venice.app.store.trail.all():
        assert entry.actor.startswith('client "')
        assert entry.actor.endswith('" 1 over stdio')
        assert entry.actor.count('"') == 2


async def test_a_secret_in_a_clients_name_is_not_recorded(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="empty")
    for name in (ADMIN_KEY, f"editor {ADMIN_KEY}", "x" * 30 + ADMIN_KEY):
        async with called(venice, name, person=Person()) as client:
            done(await client.call_tool(CREATE.tool, CAPPED))
    held = b"".join(path.read_bytes() for path in venice.state_dir.iterdir())
    body = ADMIN_KEY.rpartition("_")[2].encode()
    assert not [part for at in range(len(body) - 6) if (part := body[at : at + 7]) in held], "more than its last six"


def test_letters_that_the_terminal_has_not_are_replaced(tmp_path: Path) -> None:
    store = filled(tmp_path / "state")
    token = actor.set('client "\u65e5\u672c" 1 over stdio')
    store.approvals.ask(account="a", fingerprint="f", data={"headline": "?"}, now=NOON)
    actor.reset(token)
    ended = subprocess.run(
        [*OURS, "audit-log", "show", "--state-dir", str(store.folder)],
        env=environment(tmp_path, PYTHONIOENCODING="latin-1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert 'client "??" 1 over stdio' in ended.stdout


# --- export and verify ----------------------------------------------------------------------------


def test_an_export_holds_every_entry_as_it_is_and_ends_with_a_checkpoint(tmp_path: Path, said: Said) -> None:
    store = filled(tmp_path / "state", 30)
    *entries, last = lines(said(store.folder, "audit-log", "export"))
    assert [entry["seq"] for entry in entries] == list(range(1, 31))
    for given, held in zip(entries, store.trail.all(), strict=True):
        assert json.dumps(given.pop("data"), separators=(",", ":")) == held.data
        assert given == {name: getattr(held, name) for name in given}
        assert len(given) == 8
    assert last == {"checkpoint": {"seq": 30, "hash": entries[-1]["hash"]}}
    assert lines(said(store.folder, "audit-log", "export", "--only-checkpoint")) == [last]


@pytest.mark.parametrize("only", [[], ["--only-checkpoint"]], ids=["all", "only the checkpoint"])
def test_an_export_kept_elsewhere_shows_what_is_cut_off_later(
    tmp_path: Path, only: Sequence[str], run: Run, said: Said
) -> None:
    store, kept = filled(tmp_path / "state"), tmp_path / "kept.jsonl"
    kept.write_text(said(store.folder, "audit-log", "export", *only))
    check = ("audit-log", "verify", "--checkpoint", str(kept))
    assert said(store.folder, *check) == "Intact: 5 entries, and it agrees with the checkpoint at 5.\n"
    filled(store.folder, 2)
    assert said(store.folder, *check) == "Intact: 7 entries, and it agrees with the checkpoint at 5.\n"
    tamper(store, "DELETE FROM events WHERE seq > 4")
    assert said(store.folder, "audit-log", "verify").startswith("Intact: 4 entries.\nWhether its end was cut off")
    ended = run(store.folder, *check)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "BROKEN: the record ends at entry 4, and the checkpoint is at 5.\n"


def test_an_empty_record_can_be_checked_and_exported(tmp_path: Path, said: Said) -> None:
    store = Store(tmp_path / "state")
    assert store.approvals.waiting(NOON) == []
    assert said(store.folder, "audit-log", "show") == ""
    (only,) = lines(said(store.folder, "audit-log", "export"))
    assert only["checkpoint"]["seq"] == 0
    (tmp_path / "kept").write_text(json.dumps(only))
    filled(store.folder, 1)
    check = ("audit-log", "verify", "--checkpoint", str(tmp_path / "kept"))
    assert said(store.folder, *check) == "Intact: 1 entry, and it agrees with the checkpoint at 0.\n"


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE events SET actor = 'somebody else' WHERE seq = 3", "entry 3 was altered, or one before it removed"),
        ("UPDATE events SET data = '{\"headline\": ' WHERE seq = 2", "entry 2 was altered, or one before it removed"),
        ("UPDATE events SET data = '[' || data || ']' WHERE seq = 2", "entry 2 was altered, or one before it removed"),
        ("UPDATE events SET data = x'00ff1b5b324a' WHERE seq = 1", "entry 1 was altered, or one before it removed"),
        ("UPDATE events SET at = 7, kind = x'80', subject = 1.5 WHERE seq = 5", "entry 5 was altered"),
        ("UPDATE events SET actor = 'a' || char(27) || '[2J' || char(10) || 'b' WHERE seq = 4", "entry 4 was altered"),
        ("DELETE FROM events WHERE seq = 2", "entry 2 is missing"),
    ],
)
def test_what_was_altered_is_named_and_can_still_be_read(
    tmp_path: Path, statement: str, why: str, run: Run, said: Said
) -> None:
    store = filled(tmp_path / "state")
    tamper(store, statement)
    ended = run(store.folder, "audit-log", "verify")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"BROKEN: {why}")
    left = len(store.trail.all())
    shown = said(store.folder, "audit-log", "show")
    assert len(shown.splitlines()) == left
    assert "\x1b" not in shown
    assert len(lines(said(store.folder, "audit-log", "export"))) == left + 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"no JSON\n",
        b"{}\n",
        b"[1]\n",
        b'{"checkpoint": 5}\n',
        b'{"checkpoint": {"seq": "5", "hash": "0"}}\n',
        b'{"checkpoint": {"seq": true, "hash": "0"}}\n',
        b'{"checkpoint": {"seq": 5}}\n',
        b"\xff\xfe\x00",
        b"[" * 50_000,
        b'{"checkpoint": {"seq": 1, "hash": "0"}}\nand more\n',
    ],
)
def test_a_file_that_holds_no_checkpoint_is_bad_usage(tmp_path: Path, content: bytes, run: Run) -> None:
    store, kept = filled(tmp_path / "state"), tmp_path / "kept"
    kept.write_bytes(content)
    ended = run(store.folder, "audit-log", "verify", "--checkpoint", str(kept))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"{kept} holds no checkpoint; make one with: {command('audit-log', 'export')}\n"


def test_a_checkpoint_of_another_record_is_told(tmp_path: Path, run: Run, said: Said) -> None:
    store, other = filled(tmp_path / "state"), filled(tmp_path / "other")
    (tmp_path / "kept").write_text(said(other.folder, "audit-log", "export"))
    ended = run(store.folder, "audit-log", "verify", "--checkpoint", str(tmp_path / "kept"))
    assert (ended.returncode, ended.stderr) == (1, "BROKEN: entry 5 is not the one in the checkpoint.\n")


# --- a record that is not there, or is none -------------------------------------------------------


@commands
def test_looking_for_a_record_makes_none(tmp_path: Path, command: Sequence[str], said: Said) -> None:
    assert said(tmp_path / "state", *command) == f"There is no record in {tmp_path / 'state'}.\n"
    assert not (tmp_path / "state").exists()
    (tmp_path / "state").mkdir()
    assert said(tmp_path / "state", *command) == f"There is no record in {tmp_path / 'state'}.\n"
    assert list((tmp_path / "state").iterdir()) == []


def test_a_record_that_is_gone_shows_against_a_checkpoint(tmp_path: Path, run: Run, said: Said) -> None:
    store, kept = filled(tmp_path / "state"), tmp_path / "kept"
    kept.write_text(said(store.folder, "audit-log", "export"))
    store.record.purge()
    ended = run(store.folder, "audit-log", "verify", "--checkpoint", str(kept))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"BROKEN: there is no record in {store.folder}, and the checkpoint is at 5.\n"
    assert not store.record.exists()


def _somebody_elses(path: Path) -> None:
    path.write_bytes(b"these are the notes of somebody else\n" * 200)


def _damaged(path: Path) -> None:
    filled(path.parent, 200)
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\x00" * 8192 + data[12288:])


def _newer(path: Path) -> None:
    filled(path.parent)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


def _a_link(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")


def _a_folder(path: Path) -> None:
    path.mkdir()


def _open_to_others(path: Path) -> None:
    filled(path.parent)
    path.parent.chmod(0o777)


@commands
@pytest.mark.parametrize("spoil", [_somebody_elses, _damaged, _newer, _a_link, _a_folder, _open_to_others])
def test_a_record_that_cannot_be_used_is_told_in_a_sentence(
    tmp_path: Path, command: Sequence[str], spoil: Callable[[Path], None], run: Run
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    spoil(state / FILE)
    words = shlex.join([*OURS, *command, "--state-dir", str(state)])
    if command == ["purge"]:
        with terminal(words, tmp_path) as here:
            status, shown = here.status(), here.screen
    else:
        ended = run(state, *command)
        status, shown = ended.returncode, ended.stdout + ended.stderr
    assert status == 1
    assert "cannot be used" in shown
    assert "Traceback" not in shown
    assert "--state-dir" in " ".join(shown.split())
    assert (state / FILE).is_symlink() or (state / FILE).exists()


# --- where it is printed to -----------------------------------------------------------------------


@pytest.mark.parametrize("command", ["show --limit 5000", "export"])
def test_a_reader_that_has_seen_enough_is_no_reason_for_a_traceback(tmp_path: Path, command: str) -> None:
    store = filled(tmp_path / "state", 1)
    with store.record.transaction() as db:
        for number in range(3000):  # more than a pipe takes before it is read
            db.append(f"MANY-{number}", "asked", account="a", data={"headline": "x" * 100}, now=NOON)
    words = [*OURS, "audit-log", *command.split(), "--state-dir", str(store.folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=environment(tmp_path), stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("command", ["show", "verify", "export"])
def test_an_output_that_cannot_be_written_is_told(tmp_path: Path, command: str) -> None:
    store = filled(tmp_path / "state")
    words = [*OURS, "audit-log", command, "--state-dir", str(store.folder)]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            words, env=environment(tmp_path), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == "The output could not be written: No space left on device.\n"


# --- purge ----------------------------------------------------------------------------------------


def purging(state: Path, typed: str) -> tuple[int, str]:
    return on_terminal(shlex.join([*OURS, "purge", "--state-dir", str(state)]), state.parent, typed, TYPE_PURGE)


@pytest.mark.parametrize("typed", ["PURGE\n", "  PURGE \n"])
def test_a_person_at_a_terminal_can_remove_the_record(tmp_path: Path, typed: str, said: Said) -> None:
    store = filled(tmp_path / "state")
    held = sqlite3.connect(store.path)
    held.execute("SELECT * FROM events").fetchall()  # leaves what SQLite keeps beside the file
    status, screen = purging(store.folder, typed)
    held.close()
    assert status == 0
    assert "holds 5 entries: approvals that wait" in " ".join(screen.split())
    assert "Removed." in screen
    assert list(store.folder.iterdir()) == []
    assert said(store.folder, "audit-log", "verify").startswith("There is no record")


@pytest.mark.parametrize("typed", ["\n", "purge\n", "yes\n", "PURGE!\n", "\x04", "\x03\n"], ids=repr)
def test_anything_else_removes_nothing(tmp_path: Path, typed: str) -> None:
    store = filled(tmp_path / "state")
    kept = store.trail.checkpoint()
    status, screen = purging(store.folder, typed)
    assert status != 0
    assert "Nothing was removed." in screen
    assert "Traceback" not in screen
    assert store.trail.checkpoint() == kept


@pytest.mark.parametrize("around", ["echo PURGE | {}", "{} < /dev/null", "{} | cat", "{} <&-"])
def test_without_a_person_at_a_terminal_nothing_is_removed(tmp_path: Path, around: str) -> None:
    store = filled(tmp_path / "state")
    kept = store.trail.checkpoint()
    command = shlex.join([*OURS, "purge", "--state-dir", str(store.folder)])
    with terminal(f"PATH=/bin:/usr/bin; {around.format(command)}", tmp_path) as here:
        status = here.status()
    assert "only a person at one can purge" in here.screen
    assert "Traceback" not in here.screen
    assert status == 2 or "| cat" in around
    assert store.trail.checkpoint() == kept


async def test_a_server_goes_on_after_a_purge_and_remembers_no_approval(tmp_path: Path, said: Said) -> None:
    venice, person = world(tmp_path, scenario="empty"), Person("cancel")
    async with called(venice, "editor", person=person) as client:
        code = command_in(failed(await client.call_tool(CREATE.tool, CAPPED))).split(" approve ")[1].split()[0]
        assert venice.app.store.approvals.settle(code, "granted", "approved on a terminal", venice.clock()) == "granted"
        status, _ = await anyio.to_thread.run_sync(purging, venice.state_dir, "PURGE\n")
        assert status == 0
        failed(await client.call_tool(CREATE.tool, CAPPED))
        assert (len(person.questions), venice.written) == (2, {})
        person.way = "approve"
        done(await client.call_tool(CREATE.tool, CAPPED))
    assert said(venice.state_dir, "audit-log", "verify").startswith("Intact: 6 entries.")


# --- the resource ---------------------------------------------------------------------------------


@eras
async def test_the_resource_gives_the_newest_entries_and_who_acted(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path, scenario="empty")
    assert await resource(venice, era) == []
    for number in range(4):
        async with called(venice, f"editor {number}", era, Person()) as client:
            done(await client.call_tool(CREATE.tool, {**CAPPED, "description": f"{MADE} {number}"}))
    held = venice.app.store.trail.all()
    given = await resource(venice, era)
    assert [entry["seq"] for entry in given] == [entry.seq for entry in held[-20:]]
    assert [entry["hash"] for entry in given] == [entry.hash for entry in held[-20:]]
    assert given[-1]["kind"] == "displayed"
    assert [given[at]["actor"] for at in (0, -1)] == [
        'client "editor 0" 1 over stdio',
        'client "editor 3" 1 over stdio',
    ]
    assert venice.app.store.trail.all() == held, "reading is no event"


@eras
async def test_the_resource_is_listed_in_both_eras(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path, scenario="empty")
    async with called(venice, "reader", era) as client:
        (listed,) = [each for each in (await client.list_resources()).resources if str(each.uri) == RESOURCE]
    assert listed.mime_type == "application/x-ndjson"
    assert "how it was approved" in (listed.description or "")


@eras
@pytest.mark.parametrize("kind", ["display", "file"])
async def test_the_resource_holds_no_secret(tmp_path: Path, era: str, kind: str) -> None:
    venice = world(tmp_path, scenario="empty")
    place: Json = {"kind": kind} | ({"path": str(tmp_path / "new.key")} if kind == "file" else {})
    done(await venice.call(CREATE.tool, {**CAPPED, "deliver_to": place}, era=era))
    given, held = json.dumps(await resource(venice, era)), venice.sandbox.keys()
    secrets = [str(key["secret"]) for key in held]
    assert len(secrets) == 3
    for secret in secrets:
        assert secret not in given
        assert secret.rpartition("_")[2] not in given
    (made,) = venice.described(MADE)
    assert f'"last6": "{str(made["secret"])[-6:]}"' in given


@eras
async def test_an_approval_on_a_terminal_names_the_user_of_the_terminal(tmp_path: Path, era: str, said: Said) -> None:
    venice = world(tmp_path, scenario="empty")
    async with called(venice, "editor", era) as client:
        command = command_in(failed(await client.call_tool(CREATE.tool, CAPPED)))
        # What the environment calls the user says nothing.
        status, screen = await anyio.to_thread.run_sync(
            on_terminal, f"LOGNAME=mallory USER=mallory {command}", tmp_path, "YES\n"
        )
        assert status == 0, screen
        done(await client.call_tool(CREATE.tool, CAPPED))
    by = {entry["kind"]: entry["actor"] for entry in await resource(venice, era)}
    who = pwd.getpwuid(os.getuid()).pw_name
    assert by["granted"] == f"terminal, user {who}"
    assert {actor for kind, actor in by.items() if kind != "granted"} == {'client "editor" 1 over stdio'}
    shown = said(venice.state_dir, "audit-log", "show")
    assert f"terminal, user {who}" in shown
    assert "mallory" not in shown


async def test_the_resource_is_about_the_account_in_use(tmp_path: Path) -> None:
    first = world(tmp_path, scenario="empty")
    done(await first.call(CREATE.tool, CAPPED))
    other = world(tmp_path, scenario="empty", env={"VENICE_BASE_URL": "http://127.0.0.1:10/api/v1"})
    done(await other.call("venice_status"))
    assert await resource(other) == []
    assert len(await resource(first)) == 6


@eras
async def test_a_record_that_cannot_be_read_is_an_error_with_a_sentence(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path, scenario="empty")
    venice.state_dir.mkdir(mode=0o700)
    (venice.state_dir / FILE).write_bytes(b"these are the notes of somebody else\n" * 200)
    async with called(venice, "reader", era) as client:
        with pytest.raises(MCPError, match="cannot be used"):
            await client.read_resource(RESOURCE)


@eras
async def test_a_damaged_entry_does_not_hide_the_others(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path, scenario="empty")
    done(await venice.call(CREATE.tool, CAPPED))
    tamper(venice.app.store, "UPDATE events SET data = x'ff1b5b' WHERE seq = 3")
    assert [entry["seq"] for entry in await resource(venice, era)] == [1, 2, 3, 4, 5, 6]
