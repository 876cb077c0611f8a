"""Rotation end to end, struck at every request: never a gap in service, an orphan or a duplicate."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("secrets go into no file and no command there", allow_module_level=True)

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.bench import ERAS, LEGACY, MODERN, Json, Person, World, done, failed, world
from tests.e2e.striking import (
    FAULTS,
    FEW,
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
from venice_mcp.text import parse_time, to_wire

pytestmark = pytest.mark.anyio
ROTATE = "venice_rotate_api_key"
OLD = "staging backend"


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as path:
        yield path


@dataclass
class Rotation:
    """A world with one key to rotate, and what must hold at every moment of it.

    Attributes:
        kind: of the destination; a .env file holds the old secret before, and whoever uses the key reads it there.
        leaked: the old key goes first, so service has a gap by design.
    """

    venice: World
    old: Json
    place: Path
    kind: str
    leaked: bool
    struck: Struck = field(init=False)

    @classmethod
    async def of(
        cls, folder: Path, kind: str = "file", *, place: Path | None = None, leaked: bool = False, **settings: Any
    ) -> "Rotation":
        venice = world(folder, scenario="empty")
        place = (place or folder) / ("new.key" if kind == "file" else ".env")
        rotation = cls(venice, await key_made(venice, **({"description": OLD} | settings)), place, kind, leaked)
        if kind == "dotenv":
            place.write_text(f"A=1\nKEY={rotation.old['secret']}\n")
            place.chmod(0o600)
        rotation.struck = Struck(venice, watch=rotation.watch)
        return rotation

    def arguments(self, **more: Any) -> Json:
        to: Json = {"kind": self.kind, "path": str(self.place)}
        if self.kind == "dotenv":
            to["variable"] = "KEY"
        return {"key_id": self.old["id"], "deliver_to": to, "leaked": self.leaked, **more}

    def saved(self) -> str | None:
        """The secret at the destination."""
        text = self.place.read_text() if self.place.exists() else ""
        return text.strip("\0\n").rpartition("\n")[2].removeprefix("KEY=") or None

    def watch(self, request: httpx.Request | None) -> None:
        works, saved = alive(self.venice), self.saved()
        if self.leaked:
            return
        assert self.old["secret"] in works or saved in works, "a gap in service"
        if self.kind == "dotenv":
            assert saved in works, "what the application reads does not work"
        if request is not None and self._ends_old(request):
            assert saved in works, "the old key was about to end without a successor"
            used = {each.headers["authorization"].removeprefix("Bearer ") for each in self.struck.acted}
            assert saved in used, "the old key was about to end without a successor that is proven"

    def _ends_old(self, request: httpx.Request) -> bool:
        named = f"{request.url.query.decode()} {request.content.decode()}"
        return request.method in ("PATCH", "DELETE") and str(self.old["id"]) in named

    def now(self) -> Json:
        """The old key as it is now."""
        held = self.venice.sandbox.keys()
        return next(key for key in held if key["id"] == self.old["id"])

    def successors(self) -> list[Json]:
        return [key for key in self.venice.described(OLD) if key["id"] != self.old["id"]]

    async def assert_rotated(self, story: Story, *, asking: bool = True) -> Json:
        """The old key is replaced by exactly one that works and whose secret is where it should be."""
        (new,) = self.successors()
        assert self.saved() == new["secret"]
        assert new["secret"] in alive(self.venice)
        assert self.place.stat().st_mode & 0o777 == 0o600
        await assert_accounted_for(self.struck, story, asking=asking)
        return new


COURSES: dict[str, tuple[str, Json, bool]] = {
    "with grace": ("file", {"grace_hours": 24}, False),
    "at once": ("dotenv", {"grace_hours": 0}, False),
    "leaked": ("file", {}, True),
}


_methods: dict[str, dict[str, list[str]]] = {}


async def methods_of(course: str) -> dict[str, list[str]]:
    """Those of all requests, by era, when nothing goes wrong."""
    kind, arguments, leaked = COURSES[course]
    for era in ERAS if course not in _methods else ():
        with quick_folder() as folder:
            work = await Rotation.of(folder, kind, leaked=leaked)
            await work.assert_rotated(await to_the_end(work.struck, ROTATE, work.arguments(**arguments), era=era))
            _methods.setdefault(course, {})[era] = [request.method for request in work.venice.edge.sent]
    return _methods[course]


@pytest.mark.parametrize(
    ("course", "fault"),
    [(course, fault) for course in COURSES for fault in (FAULTS if course == "with grace" else FEW[:4])],
)
async def test_a_rotation_struck_at_any_request_ends_as_it_should(course: str, fault: str) -> None:
    kind, arguments, leaked = COURSES[course]
    on_reads = ON_READS[2:] if course == "with grace" else ("dark after acting",)
    for at, era, last in trials(await methods_of(course), fault, on_reads):
        with quick_folder() as folder:
            rotation = await Rotation.of(folder, kind, leaked=leaked)
            struck = rotation.struck
            struck.fault, struck.at = FAULTS[fault], at
            story = await to_the_end(struck, ROTATE, rotation.arguments(**arguments), era=era)
            assert struck.hit is not None
            await rotation.assert_rotated(story, asking=last)


async def rotated(rotation: Rotation, **more: Any) -> Json:
    return await rotation.assert_rotated(await to_the_end(rotation.struck, ROTATE, rotation.arguments(**more)))


# --- destinations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "kind", "era"),
    [
        ("another folder", "file", LEGACY),
        ("another folder", "dotenv", MODERN),
        ("no folder", "file", MODERN),
        ("no folder", "dotenv", LEGACY),
    ],
)
async def test_a_destination_that_vanishes_costs_only_the_new_key(folder: Path, kind: str, how: str, era: str) -> None:
    (folder / "app").mkdir(mode=0o700)
    rotation = await Rotation.of(folder, kind, place=folder / "app")
    before = rotation.place.read_bytes() if kind == "dotenv" else None

    def spoil() -> None:
        rotation.place.parent.rename(folder / "moved")
        if how == "another folder":
            rotation.place.parent.mkdir(mode=0o700)

    def mend() -> None:
        if not (folder / "moved").exists():
            return
        shutil.rmtree(rotation.place.parent, ignore_errors=True)
        (folder / "moved").rename(rotation.place.parent)
        assert (rotation.place.read_bytes() if rotation.place.exists() else None) == before

    rotation.struck.after_first_post = spoil
    # What the application reads is gone for a while, but not because of us.
    rotation.struck.watch = lambda request: None
    story = await to_the_end(rotation.struck, ROTATE, rotation.arguments(), era=era, mend=mend)
    assert rotation.venice.edge.writes == ["POST", "DELETE", "POST", "PATCH"]
    await rotation.assert_rotated(story)


@AS_ROOT
@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
@pytest.mark.parametrize("kind", ["file", "dotenv"])
@pytest.mark.parametrize("when", ["before the key", "after the key"])
async def test_a_full_disk_leaves_the_old_key_alone(folder: Path, kind: str, when: str) -> None:
    with small_disk(folder / "disk") as disk:
        rotation = await Rotation.of(folder, kind, place=disk)
        struck = rotation.struck
        if when == "after the key":
            struck.after_first_post = lambda: fill(disk)

        async def fill_it() -> None:
            if when == "before the key":
                fill(disk)

        person = Person(meanwhile=fill_it)
        mend = lambda: (disk / "filler").unlink(missing_ok=True)  # noqa: E731
        story = await to_the_end(struck, ROTATE, rotation.arguments(), mend=mend, person=person)
        # A file reserves its space before there is a key; a .env file is written anew.
        lost = when == "after the key" and kind == "dotenv"
        assert rotation.venice.edge.writes == [*(["POST", "DELETE"] if lost else []), "POST", "PATCH"]
        await rotation.assert_rotated(story)


# --- what the successor is ------------------------------------------------------------------------

SETTINGS: dict[str, Json] = {
    "USD a day": {},
    "no cap": {"consumptionLimit": {}},
    "blocked": {"consumptionLimit": {"usd": 0}},
    "DIEM": {"consumptionLimit": {"diem": 2.5}, "limitPeriod": "MONTH"},
    "both, for ever": {"consumptionLimit": {"usd": 40, "diem": 1}, "limitPeriod": "LIFETIME"},
    "private": {"modelPrivacy": "PRIVATE_ONLY"},
    "ADMIN": {"apiKeyType": "ADMIN", "consumptionLimit": {}},
    "addresses": {"ipAllowlist": ["127.0.0.0/8", "2001:db8::/32"]},
    "64 characters": {"description": "x" * 64},
    "64 units of emoji": {"description": "\U0001f511" * 32},
    "markup": {"description": 'a "b" | <c> \\ `d`'},
    "no description": {"description": ""},
}
ALIKE = ("apiKeyType", "caps", "limitPeriod", "modelPrivacy", "ipAllowlist", "description")


@pytest.mark.parametrize("name", SETTINGS)
async def test_a_successor_is_set_as_the_old_key_was(folder: Path, name: str) -> None:
    rotation = await Rotation.of(folder, **SETTINGS[name])
    story = await to_the_end(rotation.struck, ROTATE, rotation.arguments())
    held = rotation.venice.sandbox.keys()
    (new,) = [key for key in held if key["secret"] == rotation.saved()]
    wanted = {member: rotation.old[member] for member in ALIKE}
    assert {member: new[member] for member in ALIKE} == wanted | {"description": wanted["description"] or "unnamed key"}
    assert new["expiresAt"] is None
    await assert_accounted_for(rotation.struck, story)


async def test_whoever_calls_again_after_the_key_is_gone_hears_of_its_successor(folder: Path) -> None:
    rotation = await Rotation.of(folder, leaked=True)
    arguments = rotation.arguments()
    done(await rotation.venice.call(ROTATE, arguments))
    held = rotation.venice.sandbox.keys()
    (new,) = [key["id"] for key in held if key["secret"] == rotation.saved()]
    person = Person()
    said = failed(await rotation.venice.call(ROTATE, arguments, person=person))
    assert (
        f"rotated already, just now, and is gone; its successor {new} ...{str(rotation.saved())[-6:]} is active."
        in said
    )
    done(await rotation.venice.call("venice_revoke_api_key", {"key_id": new}))
    said = failed(await rotation.venice.call(ROTATE, arguments, person=person))
    assert "is not active any more either. " in said
    assert not person.questions


async def test_a_successor_lives_as_long_as_the_old_key_was_given(folder: Path) -> None:
    end = to_wire(world(folder).clock() + timedelta(days=90))
    rotation = await Rotation.of(folder, expiresAt=end)
    rotation.venice.clock.advance(days=80)
    new, now = await rotated(rotation), rotation.venice.clock()
    assert abs(parse_time(new["expiresAt"]) - now - timedelta(days=90)) < timedelta(seconds=2)  # pyright: ignore
    assert rotation.now()["expiresAt"] < end


@pytest.mark.parametrize(("grace", "left"), [(24, 1.0), (24, 23.9), (24, 24.5), (0.5, 1.0), (2160, 30.0)])
async def test_the_old_key_never_ends_later_than_it_would_have(folder: Path, grace: float, left: float) -> None:
    end = world(folder).clock() + timedelta(hours=left)
    rotation = await Rotation.of(folder, expiresAt=to_wire(end))
    began_at = rotation.venice.clock()
    await rotated(rotation, grace_hours=grace)
    was, ends = parse_time(rotation.old["expiresAt"]), parse_time(rotation.now()["expiresAt"])
    assert was is not None
    assert ends is not None
    assert ends <= was
    assert ends <= began_at + timedelta(hours=grace) or ends == was
    assert rotation.venice.edge.writes == (["POST"] if left <= grace else ["POST", "PATCH"])


async def test_a_rotation_that_was_held_up_does_not_let_the_old_key_live_longer(folder: Path) -> None:
    rotation = await Rotation.of(folder, expiresAt=to_wire(world(folder).clock() + timedelta(hours=24.5)))
    struck, arguments = rotation.struck, rotation.arguments(grace_hours=24)
    struck.fault, struck.at = FAULTS["429"], len((await methods_of("with grace"))[MODERN])
    person = Person()
    assert done(await rotation.venice.call(ROTATE, arguments, person=person))["left"] == 1
    rotation.venice.clock.advance(hours=1)
    await rotation.assert_rotated(await to_the_end(struck, ROTATE, arguments, person=person))
    assert rotation.now()["expiresAt"] == rotation.old["expiresAt"]


async def test_with_grace_both_keys_work_until_venice_ends_the_old_one(folder: Path) -> None:
    rotation = await Rotation.of(folder)
    new = await rotated(rotation, grace_hours=24)
    rotation.venice.clock.advance(hours=23.9)
    assert {rotation.old["secret"], new["secret"]} <= alive(rotation.venice).keys()
    rotation.venice.clock.advance(hours=0.2)
    assert new["secret"] in alive(rotation.venice)
    assert rotation.old["secret"] not in alive(rotation.venice)
