"""Rotations that stop, or ask anew: the old key changed, the new one cannot be proven, or the old one goes first."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("secrets go into no file and no command there", allow_module_level=True)

from collections.abc import Iterator
from pathlib import Path

from tests.e2e.bench import ERAS, MODERN, Person, done, text_of
from tests.e2e.striking import FAULTS, alive, quick_folder, to_the_end
from tests.e2e.test_rotation import COURSES, OLD, ROTATE, Rotation, methods_of

pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", ERAS)


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as path:
        yield path


async def test_a_successor_that_cannot_be_proven_leaves_the_old_key_until_it_was_used(folder: Path) -> None:
    """Only from addresses that are not ours: nothing can be read with it from here."""
    rotation = await Rotation.of(folder, ipAllowlist=["203.0.113.0/24"])
    rotation.struck.watch = lambda request: None
    arguments, person = rotation.arguments(grace_hours=0), Person()
    for _ in range(2):
        result = await rotation.venice.call(ROTATE, arguments, person=person)
        assert done(result)["finished"] is False
        assert "not proven to work" in text_of(result)
    assert rotation.old["secret"] in alive(rotation.venice)
    await rotation.venice.touch(rotation.successors()[0]["id"])
    story = await to_the_end(rotation.struck, ROTATE, arguments, person=person)
    assert rotation.old["secret"] not in alive(rotation.venice)
    await rotation.assert_rotated(story)


@eras
async def test_a_leaked_key_goes_first_and_the_question_says_so(folder: Path, era: str) -> None:
    rotation, person = await Rotation.of(folder, leaked=True), Person()
    await to_the_end(rotation.struck, ROTATE, rotation.arguments(), era=era, person=person)
    assert rotation.venice.edge.writes == ["DELETE", "POST"]
    headline, first = person.questions[0].splitlines()[:2]
    assert headline.startswith("Revoke the leaked INFERENCE key")
    assert first.startswith("First it is revoked, at once and for good.")


@eras
async def test_a_key_that_changed_while_the_question_was_open_is_asked_about_anew(folder: Path, era: str) -> None:
    rotation = await Rotation.of(folder)

    async def change() -> None:
        body = {"id": rotation.old["id"], "consumptionLimit": {"usd": 7}}
        await rotation.venice.venice("PATCH", "/api_keys", json=body)

    person = Person(meanwhile=change)
    await rotation.venice.call(ROTATE, rotation.arguments(), era=era, person=person)
    assert ["5 USD" in question for question in person.questions] == [True, False]
    assert [key["caps"] for key in rotation.successors()] == [{"usd": 7}]


@pytest.mark.parametrize("course", ["with grace", "at once"])
async def test_a_key_that_changed_between_two_calls_is_left_alone(folder: Path, course: str) -> None:
    kind, arguments, _ = COURSES[course]
    rotation = await Rotation.of(folder, kind)
    rotation.struck.fault, rotation.struck.at = FAULTS["429"], len((await methods_of(course))[MODERN])
    person = Person()
    assert done(await rotation.venice.call(ROTATE, rotation.arguments(**arguments), person=person))["left"] == 1
    await rotation.venice.venice("PATCH", "/api_keys", json={"id": rotation.old["id"], "description": OLD + " 2"})
    result = await rotation.venice.call(ROTATE, rotation.arguments(**arguments), person=person)
    assert "changed since this was approved" in text_of(result)
    assert (len(person.questions), rotation.old["secret"] in alive(rotation.venice)) == (1, True)
    assert len(rotation.successors()) == 1
    # What was approved is at its end, so a further call asks about the key as it is now.
    await rotation.venice.call(ROTATE, rotation.arguments(**arguments), person=Person("decline"))
    assert len(rotation.successors()) == 1
