"""Plans whose server is killed, at every kind of step: they are carried on unasked, and end as they were approved.

Of each plan one server lives, and its steps are named: by what our code was doing (which functions, for which entry of
the record) and to what (record, file, socket). A plan does most of them once per key, so one of each name is chosen to
be the place of a kill, in turn at the first key, the second and the third. What differs by key is what stands before,
and each of these states is met many times. Plans are killed at each place that decides something (see DECISIVE) and at
some of the rest; one that goes the same way as another plan only at some.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle, pairwise
from pathlib import Path
from typing import cast

import pytest

from tests.e2e.bench import Json, Person, done
from tests.e2e.forking import forked
from tests.e2e.killing import (
    Killed,
    Stage,
    assert_record_is_sound,
    made_by_hand,
    revoked_by_hand,
    run,
    stage,
    works,
)
from tests.e2e.processes import environment, handshake, line_of, send
from venice_mcp.text import parse_time

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's"),
]
NEVER = 10_000
THINLY = 99
"""For a plan that goes the same way as another one: every other of the places that decide something."""
MUTATIONS = ("createApiKey", "updateApiKey", "deleteApiKey")
GRACE_HOURS = 5
DECISIVE = (" secrets.", "journal.note", "plans.intend")
"""Steps at a destination, at the record of what became of a write, and between its record and itself."""
CHANGING_NOTHING = "os.remove secrets.exchange._beside"
"""It removes what is not there: who is killed at the next step has done no more than who is killed here."""


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    with stage(tmp_path_factory.mktemp("stage")) as found:
        yield found


@dataclass
class Ahead:
    """A plan about to be carried out: its call, and the keys it is about as they were before."""

    killed: Killed
    tool: str
    arguments: Json
    old: list[Json] = field(default_factory=list[Json])

    @property
    def now(self) -> dict[str, Json]:
        return self.killed.venice.state()[0]

    def made(self) -> dict[str, Json]:
        """What was made since, by id."""
        ours = {key["id"] for key in self.old}
        return {key_id: key for key_id, key in self.killed.new_keys().items() if key_id not in ours}


def called(killed: Killed) -> str:
    """A name for keys that nobody else at this Venice has."""
    return f"{killed.folder.parent.name[-12:]} {killed.folder.name}"


Start = Callable[[Killed], Ahead]
Check = Callable[[Ahead], None]


@dataclass(frozen=True)
class Kind:
    """A plan, what must be true of it at any moment, and what when it is finished.

    Attributes:
        every: at which of the kinds of steps that other plans have too its server is killed.
    """

    start: Start
    always: Check
    finished: Check
    every: int = 1


# --- rotation -------------------------------------------------------------------------------------


def rotating(place: Json, **more: object) -> Start:
    def start(killed: Killed) -> Ahead:
        name = called(killed)
        old = made_by_hand(killed.venice, description=name, consumptionLimit={"usd": 7}, limitPeriod="MONTH")
        path = killed.folder / (".env" if place["kind"] == "dotenv" else "new.key")
        if place["kind"] == "dotenv":
            path.write_text(f"A=1\nVENICE_API_KEY={old['apiKey']}\nB=2\n")
            path.chmod(0o600)
        to = {**place, "path": str(path)}
        arguments = {"key_id": old["id"], "deliver_to": to, **more}
        return Ahead(killed, "venice_rotate_api_key", arguments, [old])

    return start


def new_secret(ahead: Ahead) -> str | None:
    """What the destination of a rotation holds besides the old key."""
    path = Path(ahead.arguments["deliver_to"]["path"])
    text = path.read_text() if path.exists() else ""
    if path.name == ".env":
        first, found, last = text.splitlines()
        assert (first, last) == ("A=1", "B=2")
        text = found.removeprefix("VENICE_API_KEY=")
    secret = text.strip().strip("\0")
    return secret if secret and secret != ahead.old[0]["apiKey"] else None


def old_key_lives_until_its_successor_is_there(ahead: Ahead) -> None:
    (old,) = ahead.old
    now = ahead.now.get(old["id"])
    if now is not None and now["expiresAt"] is None:
        return
    secret = new_secret(ahead)
    successors = [key for key in ahead.made().values() if str(secret)[-6:] == key["secret"][-6:]]
    assert len(successors) == 1, "the old key was ended, and no successor is delivered"
    # The record has it in this order too, in which nothing is sent that was not intended before.
    entries = ahead.killed.store.trail.all()
    ending = next(at for at, entry in enumerate(entries) if entry.kind == "intended" and old["id"] in entry.data)
    assert "proven" in [entry.kind for entry in entries[:ending]]


def one_successor(ahead: Ahead) -> None:
    (successor,) = ahead.made().values()
    (old,) = ahead.old
    assert (successor["description"], successor["apiKeyType"]) == (old["description"], "INFERENCE")
    assert (successor["caps"], successor["limitPeriod"], successor["expiresAt"]) == ({"usd": 7}, "MONTH", None)
    secret = new_secret(ahead)
    assert secret is not None
    assert secret[-6:] == successor["secret"][-6:]
    assert works(ahead.killed.venice, secret)


def in_its_grace(ahead: Ahead) -> None:
    one_successor(ahead)
    (old,) = ahead.old
    assert works(ahead.killed.venice, old["apiKey"])
    end = parse_time(ahead.now[old["id"]]["expiresAt"])
    assert end is not None
    # The servers that carried on were sure that it was some minutes later.
    assert timedelta(hours=GRACE_HOURS - 0.1) < end - datetime.now(UTC) < timedelta(hours=GRACE_HOURS + 0.2)


def at_once(ahead: Ahead) -> None:
    one_successor(ahead)
    assert not works(ahead.killed.venice, ahead.old[0]["apiKey"])


def leaked_key_ends_first(ahead: Ahead) -> None:
    if ahead.made():
        assert ahead.old[0]["id"] not in ahead.now


# --- many keys ------------------------------------------------------------------------------------


def provisioning(kind: str) -> Start:
    def start(killed: Killed) -> Ahead:
        path = killed.folder / ("keys" if kind == "files" else f"keys.{kind}")
        if kind == "files":
            path.mkdir(mode=0o700)
        arguments: Json = {
            "names": ["a", "b", "c"],
            "description": f"{called(killed)}:{{name}}",
            "consumption_limit": {"usd": 5},
            "deliver_to": {"kind": kind, "path": str(path)},
        }
        return Ahead(killed, "venice_provision_api_keys", arguments)

    return start


def delivered(ahead: Ahead) -> dict[str, str]:
    """Secrets by name, as they were saved."""
    path = Path(ahead.arguments["deliver_to"]["path"])
    if path.is_dir():
        return {file.stem: file.read_text() for file in path.iterdir()}
    if not path.exists():
        return {}
    with path.open(newline="") as stream:
        return {row["description"].partition(":")[2]: row["api_key"] for row in csv.DictReader(stream)}


def nothing_delivered_is_lost(ahead: Ahead) -> None:
    alive = {key["secret"][-6:] for key in ahead.made().values()}
    for secret in delivered(ahead).values():
        if secret.strip("\0\n"):
            assert secret.strip("\0\n")[-6:] in alive
    assert len(alive) <= len(ahead.arguments["names"])


def each_key_once(ahead: Ahead) -> None:
    made = ahead.made().values()
    assert sorted(key["description"].partition(":")[2] for key in made) == ahead.arguments["names"]
    assert all(key["caps"] == {"usd": 5} for key in made)
    saved = delivered(ahead)
    assert {key["description"].partition(":")[2]: key["secret"][-6:] for key in made} == {
        name: secret.strip()[-6:] for name, secret in saved.items()
    }
    assert all(works(ahead.killed.venice, secret.strip()) for secret in saved.values())


def about_three(tool: str, **more: object) -> Start:
    def start(killed: Killed) -> Ahead:
        old = [made_by_hand(killed.venice, description=f"{called(killed)} {name}") for name in "abc"]
        return Ahead(killed, tool, {"key_ids": [key["id"] for key in old], **more}, old)

    return start


def no_other_is_touched(ahead: Ahead) -> None:
    now = ahead.now
    assert {key_id: now.get(key_id) for key_id in ahead.killed.before} == ahead.killed.before
    assert not ahead.made()


def all_gone(ahead: Ahead) -> None:
    assert not {key["id"] for key in ahead.old} & set(ahead.now)


def all_changed(ahead: Ahead) -> None:
    for key in ahead.old:
        now = ahead.now[key["id"]]
        assert (now["caps"], now["description"], now["expiresAt"]) == ({"usd": 3}, key["description"], None)


KINDS = {
    "rotation with grace into a .env that holds the old key": Kind(
        rotating({"kind": "dotenv", "variable": "VENICE_API_KEY"}, grace_hours=GRACE_HOURS),
        old_key_lives_until_its_successor_is_there,
        in_its_grace,
        6,
    ),
    "rotation at once into a new file": Kind(
        rotating({"kind": "file"}, grace_hours=0), old_key_lives_until_its_successor_is_there, at_once, THINLY
    ),
    "rotation of a leaked key": Kind(rotating({"kind": "file"}, leaked=True), leaked_key_ends_first, at_once, 12),
    "provisioning into a csv": Kind(provisioning("csv"), nothing_delivered_is_lost, each_key_once, 12),
    "provisioning into files": Kind(provisioning("files"), nothing_delivered_is_lost, each_key_once, THINLY),
    "revoking": Kind(about_three("venice_revoke_api_keys"), no_other_is_touched, all_gone, THINLY),
    "updating": Kind(
        about_three("venice_update_api_keys", consumption_limit={"usd": 3}), no_other_is_touched, all_changed, THINLY
    ),
}


# --- the tests ------------------------------------------------------------------------------------


def begin(kind: Kind, on: Stage, folder: Path) -> Ahead:
    folder.mkdir(mode=0o700)
    return kind.start(Killed(folder, on.venice, on.venice.base_url, on.venice.state()[0]))


def one_of_each(steps: list[str], every: int) -> list[int]:
    """The number of one step of each name, in turn one that comes early and one that comes late."""
    places: dict[str, list[int]] = {}
    for number, (before, name) in enumerate(pairwise(["", *steps]), 1):
        # A connection is made by a task of its own, so that only what went before tells what it is for.
        if not name.startswith(CHANGING_NOTHING):
            places.setdefault(f"{name} after {before}" if name.startswith("socket") else name, []).append(number)
    turn = cycle(range(3))
    chosen = sorted((found[next(turn) * (len(found) - 1) // 2], name) for name, found in places.items())
    return [
        number
        for at, (number, name) in enumerate(chosen)
        if at % every == 0 or (any(part in name for part in DECISIVE) and (every < THINLY or at % 2))
    ]


def forget(ahead: Ahead) -> None:
    """Leave no keys to those that come after, who would have to read them all."""
    for key_id in ahead.killed.new_keys():
        revoked_by_hand(ahead.killed.venice, key_id)


def only_found(ahead: Ahead) -> set[str]:
    """Keys that the record takes for made by the plan because of their name: no answer ever told so."""
    made = [json.loads(entry.data) for entry in ahead.killed.store.trail.all() if entry.kind == "made"]
    return {data["id"] for data in made if data.get("how") == "found in the list"}


async def carried_on(ahead: Ahead, kind: Kind, *, resume: bool) -> None:
    """Call again, or resume, until it is finished; nobody is asked about what was begun.

    But a key that was only found by its name may be another's, so that a person decides whether it is revoked.
    """
    entries = [entry.kind for entry in ahead.killed.store.trail.all()]
    begun, person = "begun" in entries, Person()
    if "ended" in entries:
        # Only the answer was lost: there is nothing to carry on.
        async with ahead.killed.afresh(person=person) as client:
            found = done(await client.call_tool("venice_recover", {}))
        assert not found["open"] + found["plans"] + person.questions
        return
    told: Json = {}
    decided = 0
    for minutes in range(6):
        async with ahead.killed.afresh(later=61 * minutes, person=person) as client:
            found = done(await client.call_tool("venice_recover", {}))
            for key_id in {item.get("key_id") for item in found["open"]} & only_found(ahead):
                assert key_id in ahead.made()
                done(await client.call_tool("venice_recover", {"revoke": key_id}))
                decided += 1
            if resume and begun:
                (plan,) = found["plans"]
                told = done(await client.call_tool("venice_recover", {"resume": plan["plan"]}))
                finished = not told["plans"]
            else:
                told = done(await client.call_tool(ahead.tool, ahead.arguments))
                finished = told["finished"]
            if finished:
                found = done(await client.call_tool("venice_recover", {}))
                assert not found["open"] + found["plans"], found
                assert not done(await client.call_tool("venice_status", {}))["open_matters"]
        kind.always(ahead)
        if finished:
            break
    else:
        raise AssertionError(told)
    assert decided <= 1
    assert len(person.questions) == decided + (0 if begun else 1)


@pytest.mark.parametrize("name", KINDS)
async def test_a_plan_ends_as_it_was_approved_wherever_the_server_is_killed(
    tmp_path: Path, on: Stage, name: str
) -> None:
    kind = KINDS[name]
    whole = begin(kind, on, tmp_path / "whole")
    answer = run(on, whole.killed, whole.tool, whole.arguments, NEVER)
    assert answer is not None
    assert answer["structuredContent"]["finished"], answer
    kind.finished(whole)
    forget(whole)
    steps = whole.killed.steps()
    for turn, number in enumerate(one_of_each(steps, kind.every)):
        ahead = begin(kind, on, tmp_path / f"{number}")
        try:
            assert run(on, ahead.killed, ahead.tool, ahead.arguments, number) is None
            kind.always(ahead)
            await carried_on(ahead, kind, resume=bool(turn % 2))
            kind.finished(ahead)
            assert_record_is_sound(ahead.killed)
        finally:
            forget(ahead)


def ended(server: "subprocess.Popen[bytes]") -> Json | None:
    """What is told of the plan. None if it was finished before: then the call is another one, to which a no is said."""
    message: Json = json.loads(line_of(server))
    if message.get("method") == "elicitation/create":
        send(server, {"id": message["id"], "result": {"action": "decline"}})
        message = json.loads(line_of(server))
        assert message["result"]["isError"]
    return cast("Json | None", message["result"].get("structuredContent"))


WRITES = {
    "rotation with grace into a .env that holds the old key": {"createApiKey": 1, "updateApiKey": 1},
    "provisioning into files": {"createApiKey": 6},
    "revoking": {"deleteApiKey": 3},
}


@pytest.mark.parametrize("name", WRITES)
async def test_a_plan_that_two_servers_carry_on_at_once_is_done_once(tmp_path: Path, on: Stage, name: str) -> None:
    kind = KINDS[name]
    whole = begin(kind, on, tmp_path / "whole")
    assert run(on, whole.killed, whole.tool, whole.arguments, NEVER) is not None
    begun = 1 + next(number for number, doing in enumerate(whole.killed.steps(), 1) if "plans.begin" in doing)
    ahead = begin(kind, on, tmp_path / "two")
    if "names" in ahead.arguments:
        ahead.arguments["names"] = list("abcdef")
    before = on.venice.state()[1]
    assert run(on, ahead.killed, ahead.tool, ahead.arguments, begun) is None
    params: Json = {"name": ahead.tool, "arguments": ahead.arguments}
    command = ["--state-dir", str(ahead.killed.folder / "state")]
    env = environment(ahead.killed.folder, **on.venice.env)
    with (
        forked(on.forks, command, env, tmp_path / "1.log") as first,
        forked(on.forks, command, env, tmp_path / "2.log") as second,
    ):
        for server in (first, second):
            handshake(server)
        told: list[Json | None] = []
        for number in range(2, 8):
            for server in (first, second):
                send(server, {"id": number, "method": "tools/call", "params": params})
            told = [ended(server) for server in (first, second)]
            kind.always(ahead)
            if any(each is not None and each["finished"] for each in told):
                break
            assert all(told), told
        else:
            raise AssertionError(told)
    kind.finished(ahead)
    written = on.venice.state()[1] - before
    assert {name: count for name, count in written.items() if name in MUTATIONS} == WRITES[name]
    assert_record_is_sound(ahead.killed)
