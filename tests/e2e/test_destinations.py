"""Where a new secret goes: the question names it, a no leaves it as it was, and a failure costs the key its life."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import keyring
import pytest

from tests.e2e.bench import (
    CAPPED,
    ERAS,
    LEGACY,
    MADE,
    MINT,
    Forward,
    Json,
    Person,
    World,
    done,
    failed,
    operated,
    text_of,
)
from tests.test_sinks_keyrings import SERVICE, Memory

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="secrets go into no file and no command there"),
]
eras = pytest.mark.parametrize("era", ERAS)
CREATE = "venice_create_api_key"
makers = pytest.mark.parametrize("tool", [CREATE, MINT.tool])
NO = ("decline", "cancel", "wrong", "accept")
WILL_BE_REVOKED = "If saving fails, the key is revoked again."
GIT = shutil.which("git")


@pytest.fixture
def ring() -> Iterator[Memory]:
    before = keyring.get_keyring()
    backend = Memory()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@dataclass(frozen=True)
class Place:
    """A destination: how it is asked for, how the question and the result call it, and what it holds."""

    given: Json
    words: str
    held: Callable[[], str | None]


def script(folder: Path, body: str) -> Path:
    path = folder / "keeper"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return path


def text_at(path: Path) -> Callable[[], str | None]:
    return lambda: path.read_text() if path.exists() else None


def places(folder: Path, ring: Memory) -> dict[str, Place]:
    file, env, kept = folder / "new.key", folder / ".env", folder / "kept"
    return {
        "file": Place({"path": str(file)}, f'the new file "{file}"', text_at(file)),
        "dotenv": Place(
            {"kind": "dotenv", "path": str(env), "variable": "MY_KEY"}, f'MY_KEY in the file "{env}"', text_at(env)
        ),
        "keyring": Place(
            {"kind": "keyring", "variable": "MY_KEY"},
            f"the system keyring (service {SERVICE}, entry MY_KEY)",
            lambda: ring.entries.get((SERVICE, "MY_KEY")),
        ),
        "command": Place(
            {"kind": "command", "name": "keeper", "variable": "MY_KEY"},
            'the command "keeper" of this server\'s policy, for MY_KEY',
            text_at(kept),
        ),
    }


def world(folder: Path, body: str = "") -> World:
    """Its policy has a real command, and lets the keyring of these tests be used."""
    keeper = script(folder, body or f'cat > "{folder}/kept"; printf %s "$1" >> "{folder}/kept"')
    return operated(
        folder,
        f"[secrets]\nkeyring_backends = ['{Memory.__module__}.{Memory.__qualname__}']\n"
        f"[secrets.commands.keeper]\nargv = ['{keeper}', '{{variable}}']\n",
        scenario="empty",
    )


def to(place: Place) -> Json:
    return {**CAPPED, "deliver_to": place.given}


KINDS = ("file", "dotenv", "keyring", "command")
kinds = pytest.mark.parametrize("kind", KINDS)


@eras
@kinds
@makers
async def test_the_question_names_the_place_and_the_secret_goes_there_only(
    tmp_path: Path, ring: Memory, tool: str, kind: str, era: str
) -> None:
    venice, place, person = world(tmp_path), places(tmp_path, ring)[kind], Person()
    result = await venice.call(tool, to(place), era=era, person=person)
    (question,) = person.questions
    assert f"Its secret goes to {place.words}." in question.splitlines()
    assert WILL_BE_REVOKED in question.splitlines()
    assert place.words in text_of(result)
    secret, told = str(venice.described(MADE)[0]["secret"]), done(result)
    assert secret in (place.held() or "")
    assert secret not in result.model_dump_json()
    assert "api_key" not in told
    others = [each for name, each in places(tmp_path, ring).items() if name != kind]
    assert not any(secret in (each.held() or "") for each in others)


@makers
async def test_the_question_says_that_a_secret_will_stand_in_the_chat(tmp_path: Path, tool: str) -> None:
    venice, person = world(tmp_path), Person("decline")
    for arguments in (CAPPED, {**CAPPED, "deliver_to": {"kind": "display"}}):
        failed(await venice.call(tool, arguments, person=person))
        assert "Its secret will be shown in the chat, once, and stays in the chat's history." in person.questions[-1]
    assert len(person.questions) == 2


def look(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything in a folder but what the server keeps for itself."""
    return {
        str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "state" not in path.parts[len(folder.parts) :]
    }


@eras
@kinds
async def test_a_no_leaves_everything_as_it_was(tmp_path: Path, ring: Memory, kind: str, era: str) -> None:
    venice, place = world(tmp_path), places(tmp_path, ring)[kind]
    (tmp_path / ".env").write_text("# precious\r\nMY_KEY='old'\nOTHER=1")
    (tmp_path / ".env").chmod(0o640)
    before = look(tmp_path)
    for way in NO:
        failed(await venice.call(CREATE, to(place), era=era, person=Person(way)))
        venice.clock.advance(minutes=11)
    async with venice.client(era) as client:
        failed(await client.call_tool(CREATE, to(place)))
    assert (look(tmp_path), ring.entries, venice.written) == (before, {}, {})


async def test_the_question_says_that_a_value_is_replaced_and_others_could_read_it(tmp_path: Path) -> None:
    venice, env, person = world(tmp_path), tmp_path / ".env", Person()
    env.write_text("A=1\nMY_KEY=old\nB=2\nMY_KEY=older\n")
    env.chmod(0o644)
    done(
        await venice.call(
            CREATE,
            {**CAPPED, "deliver_to": {"kind": "dotenv", "path": str(env), "variable": "MY_KEY"}},
            person=person,
        )
    )
    (question,) = person.questions
    for words in ("its secret replaces the value there", "sets it more than once", "only its owner can read the file"):
        assert words in question
    secret = venice.described(MADE)[0]["secret"]
    assert env.read_text() == f"A=1\nMY_KEY=old\nB=2\nMY_KEY={secret}\n"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600


async def test_the_question_names_keys_of_the_same_description_and_the_one_it_overwrites(tmp_path: Path) -> None:
    venice, person = world(tmp_path), Person()
    arguments = {**CAPPED, "deliver_to": {"kind": "dotenv", "path": str(tmp_path / ".env"), "variable": "MY_KEY"}}
    first = done(await venice.call(CREATE, arguments, person=person))
    second = done(await venice.call(CREATE, {**arguments, "description": MADE.upper()}, person=person))
    ending = first["last6_chars"]
    assert f"there already under this description: 1 key ...{ending}" in person.questions[1]
    assert f"its secret replaces the value there, the key ...{ending}, which lives on" in person.questions[1]
    assert "there already" not in person.questions[0]
    assert any(first["id"] in note and "lives on" in note for note in second["notes"])
    assert venice.requests["getApiKeys"] == 4, "asked for and looked at again before, as ever"


async def test_a_variable_that_is_free_replaces_nothing(tmp_path: Path, ring: Memory) -> None:
    venice, person = world(tmp_path), Person("decline")
    (tmp_path / ".env").write_text("OTHER=1\n")
    (tmp_path / ".env").chmod(0o600)
    failed(await venice.call(CREATE, to(places(tmp_path, ring)["dotenv"]), person=person))
    assert "replaces" not in person.questions[0]
    assert "git" not in person.questions[0]


def git(folder: Path, *arguments: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run([GIT or "git", "-C", str(folder), *arguments], check=True, capture_output=True, env=environment)


@pytest.mark.skipif(GIT is None, reason="needs git")
@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (["add", ".env"], "git tracks this file"),
        (["status"], "git does not ignore this file"),
    ],
)
async def test_the_question_warns_of_git(tmp_path: Path, ring: Memory, prepare: list[str], words: str) -> None:
    venice, person = world(tmp_path), Person()
    (tmp_path / ".env").write_text("MY_KEY=old\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, *prepare)
    result = await venice.call(CREATE, to(places(tmp_path, ring)["dotenv"]), person=person)
    assert words in person.questions[0]
    # The destination stands in the first three lines, which every dialog shows.
    assert words in "\n".join(person.questions[0].splitlines()[:3])
    assert any(words in note for note in done(result)["notes"])


@pytest.mark.skipif(GIT is None, reason="needs git")
async def test_an_ignored_file_is_warned_of_no_further(tmp_path: Path, ring: Memory) -> None:
    venice, person = world(tmp_path), Person("decline")
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text(".env\n")
    failed(await venice.call(CREATE, to(places(tmp_path, ring)["dotenv"]), person=person))
    assert "git" not in person.questions[0]


# --- what fails once the key exists ---------------------------------------------------------------


def another_folder(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.mkdir(mode=0o700)


def no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def a_link_instead(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.unlink()
        path.symlink_to(folder.with_name("elsewhere"))


SPOILING = {"another folder": another_folder, "no folder": no_folder, "a link": a_link_instead}


def after_the_post(venice: World, spoil: Callable[[], object]) -> list[str]:
    """Spoils the destination once the key exists; the secrets that were made until then."""
    secrets: list[str] = []

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward()
        if request.method == "POST":
            secrets.extend(str(key["secret"]) for key in venice.described(MADE))
            spoil()
        return response

    venice.edge.hook = hook
    return secrets


async def assert_taken_back(venice: World, tool: str, arguments: Json, era: str, spoil: Callable[[], object]) -> str:
    """The key is made and revoked again, its secret is nowhere, and the result, which is returned, says so."""
    before, secrets = venice.held(), after_the_post(venice, spoil)
    result = await venice.call(tool, arguments, era=era)
    said = failed(result)
    assert "was made, but its secret could not be saved: " in said
    assert "It was revoked again. Nothing was changed at Venice." in said
    assert venice.edge.writes == ["POST", "DELETE"]
    assert venice.held() == before
    (secret,) = secrets
    assert secret not in result.model_dump_json()
    assert secret.encode() not in everywhere(venice.state_dir.parent)
    assert done(await venice.call("venice_recover"))["open"] == []
    return said


def everywhere(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@eras
@makers
@pytest.mark.parametrize("kind", ["file", "dotenv"])
@pytest.mark.parametrize("how", SPOILING)
async def test_a_place_that_is_gone_after_the_key_was_made_costs_the_key(
    tmp_path: Path, ring: Memory, how: str, kind: str, tool: str, era: str
) -> None:
    venice, folder = world(tmp_path), tmp_path / "app"
    folder.mkdir(mode=0o700)
    if kind == "dotenv":
        (folder / ".env").write_text("OTHER=1\n")
    arguments = to(places(folder, ring)[kind])
    await assert_taken_back(venice, tool, arguments, era, lambda: SPOILING[how](folder))


@eras
@makers
@pytest.mark.parametrize(
    ("body", "words"),
    [("cat > /dev/null; exit 1", "it ended with status 1"), ("kill -9 $$", "it was ended by signal 9")],
)
async def test_a_command_that_fails_costs_the_key(
    tmp_path: Path, ring: Memory, tool: str, body: str, words: str, era: str
) -> None:
    venice = world(tmp_path, body)
    arguments = to(places(tmp_path, ring)["command"])
    assert words in await assert_taken_back(venice, tool, arguments, era, list)


@makers
@pytest.mark.parametrize("failing", ["set", "get"])
async def test_a_keyring_that_fails_costs_the_key(tmp_path: Path, ring: Memory, tool: str, failing: str) -> None:
    venice = world(tmp_path)
    arguments = to(places(tmp_path, ring)["keyring"])
    await assert_taken_back(venice, tool, arguments, LEGACY, lambda: ring.fail_on.add(failing))
    assert ring.entries == {}


async def test_a_value_put_there_meanwhile_is_replaced_and_nothing_else(tmp_path: Path, ring: Memory) -> None:
    """Somebody adds to the .env file while the key is made: their lines stay."""
    venice, env = world(tmp_path), tmp_path / ".env"
    env.write_text("A=1\n")

    def add() -> None:
        env.write_text("A=1\nB=2\n")

    after_the_post(venice, add)
    done(await venice.call(CREATE, to(places(tmp_path, ring)["dotenv"])))
    assert env.read_text() == f"A=1\nB=2\nMY_KEY={venice.described(MADE)[0]['secret']}\n"


# --- what a person was told of the place ----------------------------------------------------------

CHANGED = "The destination changed while the question was open: "
OLD_LINE, NEW_LINE, NO_LINE = "MY_KEY=old", "MY_KEY=somebody-elses", "MY_KEY="
changes = pytest.mark.parametrize(
    ("before", "after"), [(NO_LINE, NEW_LINE), (OLD_LINE, NEW_LINE), (OLD_LINE, NO_LINE), ("A=1", NEW_LINE)]
)


def private(path: Path, line: str) -> None:
    path.write_text(f"{line}\n")
    path.chmod(0o600)


@eras
async def test_a_value_that_appeared_since_the_question_is_not_replaced_unsaid(
    tmp_path: Path, ring: Memory, era: str
) -> None:
    """Two keys for one variable: whoever said yes to the first question was not told of a value that is replaced."""
    venice, arguments = world(tmp_path), to(places(tmp_path, ring)["dotenv"])
    others: list[Json] = []

    async def another() -> None:
        others.append(done(await venice.call(CREATE, {**arguments, "description": "another"})))

    person = Person(meanwhile=another)
    said = failed(await venice.call(CREATE, arguments, era=era, person=person))
    assert said.startswith(f'{CHANGED}MY_KEY in the file "{tmp_path / ".env"}" no longer holds what it held')
    assert "Nothing was changed at Venice." in said
    (held,) = venice.described("another")
    assert (tmp_path / ".env").read_text() == f"MY_KEY={held['secret']}\n"
    assert venice.edge.writes == ["POST"]
    assert others[0]["id"] == held["id"]
    assert done(await venice.call("venice_recover"))["open"] == []
    # The call made again asks about the value as it is now, and then it is replaced.
    done(await venice.call(CREATE, arguments, era=era, person=person))
    assert [question.count("its secret replaces the value there") for question in person.questions] == [0, 1]
    assert (tmp_path / ".env").read_text() == f"MY_KEY={venice.described(MADE)[0]['secret']}\n"


@eras
@makers
@changes
async def test_any_other_value_than_the_one_asked_about_stops_the_write(
    tmp_path: Path, ring: Memory, tool: str, before: str, after: str, era: str
) -> None:
    venice, env = world(tmp_path), tmp_path / ".env"
    private(env, before)

    async def change() -> None:
        private(env, after)

    arguments = to(places(tmp_path, ring)["dotenv"])
    assert failed(await venice.call(tool, arguments, era=era, person=Person(meanwhile=change))).startswith(CHANGED)
    assert (venice.edge.writes, env.read_text()) == ([], f"{after}\n")
    assert [entry.kind for entry in venice.app.store.trail.all()] == ["asked", "superseded"]


@changes
async def test_an_approval_from_a_terminal_counts_for_the_value_that_was_shown_there(
    tmp_path: Path, ring: Memory, before: str, after: str
) -> None:
    venice, env, arguments = world(tmp_path), tmp_path / ".env", to(places(tmp_path, ring)["dotenv"])
    private(env, before)
    async with venice.client() as nobody:
        failed(await nobody.call_tool(CREATE, arguments))
        (waiting,) = venice.app.store.approvals.waiting(venice.clock())
        venice.app.store.approvals.settle(waiting.code, "granted", "approved on a terminal", venice.clock())
        private(env, after)
        assert failed(await nobody.call_tool(CREATE, arguments)).startswith(CHANGED)
        assert venice.app.store.approvals.waiting(venice.clock()) == []
        assert "a person must first approve" in failed(await nobody.call_tool(CREATE, arguments))
    (anew,) = venice.app.store.approvals.waiting(venice.clock())
    assert ("replaces" in str(anew.data["facts"])) is (after == NEW_LINE)
    assert (venice.edge.writes, env.read_text()) == ([], f"{after}\n")


@eras
async def test_what_changed_beside_the_value_does_not_stop_the_write(tmp_path: Path, ring: Memory, era: str) -> None:
    venice, env = world(tmp_path), tmp_path / ".env"
    private(env, OLD_LINE)

    async def change() -> None:
        private(env, f"# why\n{OLD_LINE}\nB=2")

    done(await venice.call(CREATE, to(places(tmp_path, ring)["dotenv"]), era=era, person=Person(meanwhile=change)))
    assert env.read_text() == f"# why\nMY_KEY={venice.described(MADE)[0]['secret']}\nB=2\n"


@makers
@changes
async def test_a_value_that_changed_after_the_key_was_made_stays_and_costs_the_key(
    tmp_path: Path, ring: Memory, tool: str, before: str, after: str
) -> None:
    env, arguments = tmp_path / ".env", to(places(tmp_path, ring)["dotenv"])
    private(env, before)
    said = await assert_taken_back(world(tmp_path), tool, arguments, LEGACY, lambda: private(env, after))
    assert "its value was changed by somebody else meanwhile" in said
    assert env.read_text() == f"{after}\n"


async def test_of_two_keys_for_one_variable_made_at_once_one_stays_and_its_secret_with_it(
    tmp_path: Path, ring: Memory
) -> None:
    venice, arguments = world(tmp_path), to(places(tmp_path, ring)["dotenv"])

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "POST":
            venice.edge.hook = None
            done(await venice.call(CREATE, {**arguments, "description": "another"}))
        return await forward()

    venice.edge.hook = hook
    assert "It was revoked again." in failed(await venice.call(CREATE, arguments))
    assert venice.described(MADE) == []
    assert (tmp_path / ".env").read_text() == f"MY_KEY={venice.described('another')[0]['secret']}\n"


@eras
async def test_an_entry_of_the_keyring_that_appeared_meanwhile_is_not_replaced(
    tmp_path: Path, ring: Memory, era: str
) -> None:
    venice, arguments = world(tmp_path), to(places(tmp_path, ring)["keyring"])

    async def another() -> None:
        done(await venice.call(CREATE, {**arguments, "description": "another"}))

    said = failed(await venice.call(CREATE, arguments, era=era, person=Person(meanwhile=another)))
    assert "already has an entry MY_KEY" in said
    assert ring.entries == {(SERVICE, "MY_KEY"): venice.described("another")[0]["secret"]}
    assert venice.edge.writes == ["POST"]


async def test_the_record_tells_values_apart_and_holds_none(tmp_path: Path, ring: Memory) -> None:
    venice, env = world(tmp_path), tmp_path / ".env"
    seen: set[str] = set()
    for value in ("hunter2-kept", "hunter3-kept"):
        private(env, f"MY_KEY={value}")
        failed(await venice.call(CREATE, to(places(tmp_path, ring)["dotenv"]), person=Person("cancel")))
        (waiting,) = venice.app.store.approvals.waiting(venice.clock())
        assert len(waiting.data["occupant"]) == 4
        seen.add(waiting.data["occupant"])
        assert value.encode() not in everywhere(venice.state_dir)
        venice.clock.advance(minutes=11)
    assert len(seen) == 2
