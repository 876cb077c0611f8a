"""Provisioning end to end, struck at every request: each name gets one key, and each key's secret is in its place."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("secrets go into no file and no command there", allow_module_level=True)

import csv
import io
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
from mcp_types import CallToolResult

from tests.e2e.bench import ERAS, MODERN, Forward, Json, Person, World, done, failed, operated, text_of, world
from tests.e2e.striking import (
    FAULTS,
    FEW,
    MOST_CALLS,
    ON_READS,
    Story,
    Struck,
    alive,
    assert_accounted_for,
    key_made,
    quick_folder,
    to_the_end,
    trials,
)
from tests.test_sinks_dotenv import AS_ROOT, fill, small_disk

pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", ERAS)
PROVISION = "venice_provision_api_keys"
KINDS = ("files", "csv", "json", "dotenv")
kinds = pytest.mark.parametrize("kind", KINDS)
NAMES = ["acme", "Beta Ltd", "c-3"]
CAP: Json = {"consumption_limit": {"usd": 5}}


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as path:
        yield path


@dataclass
class Provisioning:
    """A world, a list of names, and where the secrets go."""

    venice: World
    kind: str
    place: Path
    names: list[str]
    struck: Struck = field(init=False)

    def __post_init__(self) -> None:
        self.struck = Struck(self.venice)

    @classmethod
    def of(
        cls, folder: Path, kind: str, names: list[str] = NAMES, at: Path | None = None, policy: str = ""
    ) -> "Provisioning":
        inside = at or folder
        place = inside / {"files": "keys", "dotenv": ".env"}.get(kind, f"keys.{kind}")
        if kind == "files":
            place.mkdir(mode=0o700)
        return cls(operated(folder, policy, scenario="empty"), kind, place, names)

    def arguments(self, **more: Any) -> Json:
        to: Json = {"kind": self.kind, "path": str(self.place)}
        return {"names": self.names, "description": "cust:{name}", "deliver_to": to, **CAP, **more}

    def saved(self) -> dict[str, str]:
        """Every secret at the destination, by what it is filed under."""
        if self.kind == "files":
            return {path.stem: path.read_text().removesuffix("\n") for path in self.place.iterdir()}
        text = self.place.read_text() if self.place.exists() else ""
        if self.kind == "json":
            return json.loads(text or "{}")
        if self.kind == "dotenv":
            return dict(line.split("=", 1) for line in text.splitlines())
        return dict(list(csv.reader(io.StringIO(text)))[1:])

    async def assert_provisioned(self, story: Story, *, asking: bool = True) -> None:
        """One key for each name and no other, and exactly its secret where it should be."""
        made = {key["description"]: secret for secret, key in alive(self.venice).items()}
        mine = {name: secret for name, secret in made.items() if name.startswith("cust:")}
        assert sorted(mine) == sorted(f"cust:{name}" for name in self.names)
        assert len(alive(self.venice)) == 2 + len(self.names)
        held = self.saved()
        for name in self.names:
            assert mine[f"cust:{name}"] in held.values()
        assert sorted(held.values()) == sorted(mine.values())
        paths = list(self.place.iterdir()) if self.kind == "files" else [self.place]
        assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
        await assert_accounted_for(self.struck, story, asking=asking)


_methods: dict[str, list[str]] = {}


async def methods() -> dict[str, list[str]]:
    """Those of all requests, by era, when nothing goes wrong."""
    for era in ERAS if not _methods else ():
        with quick_folder() as folder:
            work = Provisioning.of(folder, "json")
            await work.assert_provisioned(await to_the_end(work.struck, PROVISION, work.arguments(), era=era))
            _methods[era] = [request.method for request in work.venice.edge.sent]
    return _methods


async def second_create() -> int:
    """Which request of an undisturbed call makes the second key."""
    posts = [at for at, method in enumerate((await methods())[MODERN], 1) if method == "POST"]
    return posts[1]


@pytest.mark.parametrize("fault", FEW)
async def test_provisioning_struck_at_any_request_ends_as_it_should(fault: str) -> None:
    for at, era, last in trials(await methods(), fault, ON_READS[-1:]):
        with quick_folder() as folder:
            work = Provisioning.of(folder, KINDS[at % len(KINDS)])
            work.struck.fault, work.struck.at = FAULTS[fault], at
            story = await to_the_end(work.struck, PROVISION, work.arguments(), era=era)
            assert work.struck.hit is not None
            await work.assert_provisioned(story, asking=last)


# --- where secrets go -----------------------------------------------------------------------------


@kinds
async def test_each_secret_is_filed_under_its_own_name(folder: Path, kind: str) -> None:
    work = Provisioning.of(folder, kind)
    await work.assert_provisioned(await to_the_end(work.struck, PROVISION, work.arguments()))
    by_name = {key["description"].removeprefix("cust:"): secret for secret, key in alive(work.venice).items()}
    under = {
        "files": ["acme", "Beta_Ltd", "c-3"],
        "dotenv": ["VENICE_KEY_ACME", "VENICE_KEY_BETA_LTD", "VENICE_KEY_C_3"],
    }.get(kind, ["cust:acme", "cust:Beta Ltd", "cust:c-3"])
    assert work.saved() == {filed: by_name[name] for filed, name in zip(under, NAMES, strict=True)}


@kinds
async def test_a_destination_that_vanishes_costs_only_the_key_that_was_being_made(folder: Path, kind: str) -> None:
    (folder / "app").mkdir(mode=0o700)
    work = Provisioning.of(folder, kind, at=folder / "app")
    moved = folder / "moved"

    def spoil() -> None:
        (folder / "app").rename(moved)

    def mend() -> None:
        if moved.exists():
            moved.rename(folder / "app")

    work.struck.after_first_post = spoil
    await work.assert_provisioned(await to_the_end(work.struck, PROVISION, work.arguments(), mend=mend))
    assert work.venice.written == {"createApiKey": 4, "deleteApiKey": 1}


@AS_ROOT
@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
@kinds
async def test_a_disk_that_fills_up_costs_at_most_the_key_that_was_being_made(folder: Path, kind: str) -> None:
    with small_disk(folder / "disk") as disk:
        work = Provisioning.of(folder, kind, at=disk)
        work.struck.after_first_post = lambda: fill(disk)

        def mend() -> None:
            (disk / "filler").unlink(missing_ok=True)

        await work.assert_provisioned(await to_the_end(work.struck, PROVISION, work.arguments(), mend=mend))
        assert work.venice.written["createApiKey"] <= 4


# --- what is there already ------------------------------------------------------------------------


@eras
async def test_keys_that_are_there_already_are_left_alone_and_told(folder: Path, era: str) -> None:
    work, person = Provisioning.of(folder, "csv"), Person()
    there = await key_made(work.venice, "cust:acme")
    told = done(await work.venice.call(PROVISION, work.arguments(), era=era, person=person))
    assert (told["done"], told["already"]) == (2, ["cust:acme"])
    assert "There already under such a name, and left alone: 1 key." in person.questions[0]
    assert work.venice.described("cust:acme") == [there]
    again = done(await work.venice.call(PROVISION, work.arguments(), era=era, person=person))
    assert (again["finished"], again.get("plan"), len(again["already"]), len(person.questions)) == (True, None, 3, 1)
    assert work.venice.written["createApiKey"] == 3


@eras
async def test_too_many_keys_are_refused_before_the_first_of_them(folder: Path, era: str) -> None:
    venice, person = world(folder, scenario="large"), Person()
    for spare in list(venice.held())[-2:]:
        await venice.venice("DELETE", "/api_keys", params={"id": spare})
    arguments: Json = {"names": NAMES, "deliver_to": {"kind": "csv", "path": str(folder / "k.csv")}, **CAP}
    said = failed(await venice.call(PROVISION, arguments, era=era, person=person))
    assert "The account has 498 active keys of 500 allowed: no room for 3 more." in said
    assert (person.questions, venice.edge.writes, (folder / "k.csv").exists()) == ([], [], False)
    done(await venice.call(PROVISION, {**arguments, "names": NAMES[:2]}, era=era))
    assert len(alive(venice)) == 500


async def test_the_question_tells_count_caps_exposure_and_a_sample(folder: Path) -> None:
    names, person = [f"c{number}" for number in range(12)], Person("decline")
    work = Provisioning.of(folder, "json", names)
    limits = {"consumption_limit": {"usd": 2.5, "diem": 1}, "limit_period": "MONTH"}
    failed(await work.venice.call(PROVISION, work.arguments(**limits), person=person))
    (question,) = person.questions
    assert question.startswith("Create 12 new INFERENCE keys?")
    for words in ("Together: at most 30 USD and 12 DIEM per UTC month", '"cust:c0"', '"cust:c11"', "and will have 14"):
        assert words in question
    assert "CREATE" in question.splitlines()[-1]
    assert "takes about" not in question


async def test_the_question_tells_what_a_cap_in_one_currency_leaves_open(folder: Path) -> None:
    work, person = Provisioning.of(folder, "json", [f"c{number}" for number in range(41)]), Person("decline")
    failed(await work.venice.call(PROVISION, work.arguments(consumption_limit={"usd": 5}), person=person))
    (question,) = person.questions
    assert "Each: 5 USD per UTC day; DIEM: no cap; expires never." in question
    assert "Together: at most 205 USD per UTC day and all the account's DIEM." in question
    assert "At 20 a minute this takes about 2 min." in question


# --- pace, cancellation, two at once --------------------------------------------------------------


async def test_45_keys_never_meet_a_limit_and_no_call_takes_longer_than_45_s(folder: Path) -> None:
    names = [f"c{number}" for number in range(45)]
    work, person = Provisioning.of(folder, "json", names), Person()
    told: list[tuple[float, float | None, str | None]] = []
    results: list[CallToolResult] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with work.venice.client(person=person) as client:
        for _ in range(MOST_CALLS):
            began_at = work.venice.clock()
            results.append(await client.call_tool(PROVISION, work.arguments(), progress_callback=note))
            assert (work.venice.clock() - began_at).total_seconds() <= 45
            if done(results[-1])["finished"]:
                break
            assert "nobody is asked again" in text_of(results[-1])
    assert 429 not in work.struck.statuses
    assert len(person.questions) == 1
    await work.assert_provisioned(Story(person, results))
    assert [at for at, _, _ in told] == sorted(at for at, _, _ in told)
    assert {total for _, total, _ in told} == {45}
    assert any("Venice allows 20 new keys in a minute" in (message or "") for _, _, message in told)


@eras
@kinds
async def test_a_call_that_is_cancelled_loses_no_key(folder: Path, kind: str, era: str) -> None:
    work, person = Provisioning.of(folder, kind), Person()
    gone = anyio.Event()

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward()
        if request.method == "POST" and not gone.is_set():
            gone.set()
            scope.cancel()
            await anyio.lowlevel.checkpoint_if_cancelled()
        return response

    work.venice.edge.hook = hook
    async with work.venice.client(era, person) as client, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            await client.call_tool(PROVISION, work.arguments())
        tasks.cancel_scope.cancel()
    work.struck = Struck(work.venice)
    story = await to_the_end(work.struck, PROVISION, work.arguments(), era=era, person=person)
    assert work.venice.written["createApiKey"] == 3
    await work.assert_provisioned(story)


async def test_two_calls_of_one_plan_at_once_make_nothing_twice(folder: Path) -> None:
    """In files of their own: what one call prepared is not taken for what a crash left."""
    work, person = Provisioning.of(folder, "files"), Person()
    work.struck.fault, work.struck.at = FAULTS["429"], await second_create()
    results = [await work.venice.call(PROVISION, work.arguments(), person=person)]
    work.venice.clock.advance(seconds=61)

    async def again() -> None:
        results.append(await work.venice.call(PROVISION, work.arguments(), person=person))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(again)
    work.venice.clock.advance(seconds=61)
    story = await to_the_end(work.struck, PROVISION, work.arguments(), person=person)
    assert work.venice.written == {"createApiKey": 3}
    await work.assert_provisioned(Story(person, [*results, *story.results]))
