"""What was asked stands still; identity and settings decide whether it still counts, use and spend never do."""

from pathlib import Path

import httpx
import pytest

from tests.e2e.bench import ERAS, IDLE, MODERN, REVOKE, UPDATE, Forward, Person, Write, begin, done, failed, world

pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", ERAS)
targeted = pytest.mark.parametrize("write", [UPDATE, REVOKE], ids=["update", "revoke"])


@eras
@targeted
async def test_a_call_made_again_asks_the_very_same_question(tmp_path: Path, era: str, write: Write) -> None:
    venice, person = world(tmp_path), Person("cancel")
    arguments = write.given(venice.id_of)
    failed(await venice.call(write.tool, arguments, era=era, person=person))
    venice.clock.advance(minutes=3)
    await venice.touch(venice.id_of(IDLE))
    failed(await venice.call(write.tool, arguments, era=era, person=person))
    assert person.questions[0] == person.questions[1]
    assert person.forms == [{"approve"}, {"approve"}]


async def test_every_round_of_one_call_asks_the_very_same_question(tmp_path: Path) -> None:
    venice = world(tmp_path)
    async with venice.client(MODERN, Person()) as client:
        rounds = [await begin(client, REVOKE.tool, REVOKE.given(venice.id_of))]
        for minutes in (1, 2):
            venice.clock.advance(minutes=minutes)
            await venice.touch(venice.id_of(IDLE))
            rounds.append(await begin(client, REVOKE.tool, REVOKE.given(venice.id_of)))
        assert len({each.question for each in rounds}) == 1
        done(await rounds[-1].finish())
    assert venice.written == {"deleteApiKey": 1}


@eras
@targeted
async def test_use_while_the_question_is_open_is_no_change(tmp_path: Path, era: str, write: Write) -> None:
    venice = world(tmp_path)
    key_id = venice.id_of(IDLE)

    async def use() -> None:
        venice.clock.advance(seconds=40)
        await venice.touch(key_id)

    person = Person(meanwhile=use)
    done(await venice.call(write.tool, write.given(venice.id_of), era=era, person=person))
    assert len(person.questions) == 1
    assert venice.written == {write.operation: 1}


@eras
@targeted
async def test_a_key_changed_before_the_answer_is_asked_about_anew(tmp_path: Path, era: str, write: Write) -> None:
    venice = world(tmp_path)
    key_id = venice.id_of(IDLE)

    async def rename() -> None:
        await venice.venice("PATCH", "/api_keys", json={"id": key_id, "description": "payments production"})

    person = Person(meanwhile=rename)
    before = venice.written
    done(await venice.call(write.tool, write.given(venice.id_of), era=era, person=person))
    assert before == {}
    old, new = person.questions
    assert IDLE in old
    assert "payments production" in new
    assert IDLE not in new
    assert venice.written == {"updateApiKey": 2} if write is UPDATE else {"updateApiKey": 1, "deleteApiKey": 1}


@eras
async def test_a_no_to_the_question_asked_anew_changes_nothing(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    key_id = venice.id_of(IDLE)
    person = Person()

    async def rename_and_think_again() -> None:
        await venice.venice("PATCH", "/api_keys", json={"id": key_id, "description": "payments production"})

        async def refuse() -> None:
            person.way = "decline"

        person.meanwhile = refuse

    person.meanwhile = rename_and_think_again
    failed(await venice.call(REVOKE.tool, REVOKE.given(venice.id_of), era=era, person=person))
    assert len(person.questions) == 2
    assert venice.requests["deleteApiKey"] == 0


@eras
@targeted
async def test_a_key_changed_right_before_the_write_is_left_alone(tmp_path: Path, era: str, write: Write) -> None:
    venice = world(tmp_path)
    key_id, arguments = venice.id_of(IDLE), write.given(venice.id_of)
    reads: list[str] = []

    async def change_before_the_last_look(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "GET":
            reads.append(request.url.path)
        if len(reads) == 3:  # one to ask, one when the answer comes, one right before the write
            await venice.venice("PATCH", "/api_keys", json={"id": key_id, "consumptionLimit": {"usd": 14}})
            reads.append("changed")
        return await forward()

    venice.edge.hook = change_before_the_last_look
    said = failed(await venice.call(write.tool, arguments, era=era, person=(first := Person())))
    assert "USD cap: 15 -> 14" in said
    assert "Nothing was changed at Venice." in said
    assert len(first.questions) == 1
    assert venice.edge.writes == []
    second = Person()
    done(await venice.call(write.tool, arguments, era=era, person=second))
    assert len(second.questions) == 1
    assert "14" in second.questions[0]
    assert len(venice.edge.writes) == 1


@eras
async def test_a_key_revoked_by_somebody_else_meanwhile_is_reported(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    key_id = venice.id_of(IDLE)

    async def revoke() -> None:
        await venice.venice("DELETE", "/api_keys", params={"id": key_id})

    said = failed(
        await venice.call("venice_revoke_api_key", {"key_id": key_id}, era=era, person=Person(meanwhile=revoke))
    )
    assert "no active key" in said
    assert venice.edge.writes == []
