"""What people and clients answer, for every write in both eras, judged by what the sandbox holds afterwards."""

from pathlib import Path

import pytest

from tests.e2e.bench import ERAS, EVERY, IDLE, MADE, WRITES, Json, Person, World, Write, done, failed, world

pytestmark = pytest.mark.anyio
URL_ONLY: Json = {"url": {}}
NO_YES: dict[str, str] = {
    "accept": "not approved",
    "true": "",
    "wrong": "not approved",
    "decline": "declined",
    "cancel": "a person must first approve",
}
eras = pytest.mark.parametrize("era", ERAS)
writes = pytest.mark.parametrize("name", WRITES)


def assert_done_once(venice: World, write: Write, before: dict[str, Json]) -> None:
    after = venice.held()
    assert venice.written == {write.operation: 1}
    untouched = {key_id: key for key_id, key in after.items() if before.get(key_id) == key}
    if write.target is None:
        (made,) = [key for key_id, key in after.items() if key_id not in before]
        assert made["description"] == MADE
        assert len(untouched) == len(before)
        return
    (changed,) = [key for key_id, key in before.items() if key_id not in untouched]
    assert changed["description"] == write.target
    assert len(after) == len(before) - (write.operation == "deleteApiKey")


@eras
@writes
async def test_an_approval_does_exactly_the_one_thing_asked_for(tmp_path: Path, era: str, name: str) -> None:
    venice, write, person = world(tmp_path), WRITES[name], Person()
    before = venice.held()
    done(await venice.call(write.tool, write.given(venice.id_of), era=era, person=person))
    assert len(person.questions) == 1
    assert person.forms == [{"word" if write.word else "approve"}]
    assert (f"Type {write.word} to approve" in person.questions[0]) == (write.word is not None)
    assert_done_once(venice, write, before)


@eras
@writes
async def test_anything_but_a_real_yes_changes_nothing(tmp_path: Path, era: str, name: str) -> None:
    venice, write = world(tmp_path), WRITES[name]
    before, arguments = venice.held(), write.given(venice.id_of)
    for way, words in NO_YES.items():
        person = Person(way)
        said = failed(await venice.call(write.tool, arguments, era=era, person=person))
        assert words in said
        assert ("Nothing was done" if way == "cancel" else "Nothing was changed at Venice.") in said
        assert (way, venice.written, venice.held()) == (way, {}, before)
        assert (way, len(person.questions)) == (way, 1)
        venice.clock.advance(minutes=61)  # whoever said no is left alone for a while


@eras
@pytest.mark.parametrize("name", EVERY)
async def test_a_client_that_cannot_ask_changes_nothing(tmp_path: Path, era: str, name: str) -> None:
    venice, write, person = world(tmp_path), WRITES[name], Person()
    before = venice.held()
    clients: list[tuple[Person | None, Json | None]] = [(None, None), (person, URL_ONLY)]
    for asked, declared in clients:
        async with venice.client(era, asked, declared) as connected:
            said = failed(await connected.call_tool(write.tool, write.given(venice.id_of)))
        assert "this client cannot ask a person" in said
        assert " -P -m venice_mcp approve " in said
        assert (venice.written, venice.held()) == ({}, before)
    assert not person.questions


@eras
@pytest.mark.parametrize("name", ["create", "revoke"])
async def test_a_declined_call_asks_anew_when_made_again(tmp_path: Path, era: str, name: str) -> None:
    venice, write = world(tmp_path), WRITES[name]
    before = venice.held()
    failed(await venice.call(write.tool, write.given(venice.id_of), era=era, person=Person("decline")))
    person = Person()
    venice.clock.advance(seconds=31)
    done(await venice.call(write.tool, write.given(venice.id_of), era=era, person=person))
    assert len(person.questions) == 1
    assert_done_once(venice, write, before)


@eras
async def test_a_yes_to_one_call_is_no_yes_to_the_next(tmp_path: Path, era: str) -> None:
    venice, write, person = world(tmp_path), EVERY["create"], Person()
    async with venice.client(era, person) as client:
        for _ in range(3):
            done(await client.call_tool(write.tool, write.given(venice.id_of)))
    assert len(person.questions) == 3
    assert venice.written == {"createApiKey": 3}


@eras
async def test_the_status_says_whether_this_client_can_be_asked(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    answers: list[bool] = []
    for person, declared in ((Person(), None), (None, None), (Person(), URL_ONLY)):
        async with venice.client(era, person, declared) as client:
            answers.append(bool(done(await client.call_tool("venice_status", {}))["can_ask"]))
    assert answers == [True, False, False]
    assert not venice.edge.sent


@eras
async def test_the_question_shows_what_venice_says_about_the_key(tmp_path: Path, era: str) -> None:
    venice, person = world(tmp_path), Person("decline")
    key_id = venice.id_of(IDLE)
    last6 = str(venice.held()[key_id]["secret"])[-6:]
    failed(await venice.call("venice_revoke_api_key", {"key_id": key_id}, era=era, person=person))
    first, second, *_ = person.questions[0].splitlines()
    assert first == f'Revoke the INFERENCE key "{IDLE}" ...{last6}?'
    assert second.startswith("Last used ")
    assert "created " in second
