"""Whoever said no is not asked again at once, and less and less soon, however the call is worded."""

import re
from pathlib import Path

import pytest

from tests.e2e.bench import (
    CAPPED,
    ERAS,
    IDLE,
    MINT,
    MODERN,
    REVOKE,
    UPDATE,
    Json,
    Person,
    World,
    begin,
    done,
    failed,
    world,
)
from tests.e2e.terminal import on_terminal
from tests.e2e.test_terminal import command_in
from venice_mcp.store import REFUSED_ON_TERMINAL

pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", ERAS)
CREATE = "venice_create_api_key"


async def says(venice: World, way: str, arguments: Json = CAPPED, *, tool: str = CREATE, era: str = MODERN) -> str:
    """What a call ends in whose question is surely asked, and answered like that."""
    person = Person(way)
    said = failed(await venice.call(tool, arguments, era=era, person=person))
    assert len(person.questions) == 1, said
    return said


async def left_alone(venice: World, arguments: Json = CAPPED, *, tool: str = CREATE, era: str = MODERN) -> str:
    """What a call is told that asks nobody, because somebody said no; it would have been approved."""
    person = Person()
    said = failed(await venice.call(tool, arguments, era=era, person=person))
    assert (person.questions, venice.written) == ([], {})
    assert "The person declined this a moment ago, so they are not asked again before " in said
    assert "Nothing was changed at Venice." in said
    return said


def named(number: int) -> Json:
    return {**CAPPED, "description": f"variant {number}"}


@eras
@pytest.mark.parametrize("way", ["decline", "wrong", "accept"])
async def test_the_same_call_waits_thirty_seconds_after_a_no(tmp_path: Path, way: str, era: str) -> None:
    venice = world(tmp_path)
    await says(venice, way, era=era)
    venice.clock.advance(seconds=29)
    await left_alone(venice, era=era)
    venice.clock.advance(seconds=1)
    done(await venice.call(CREATE, CAPPED, era=era))


async def test_the_second_no_counts_for_two_minutes(tmp_path: Path) -> None:
    venice = world(tmp_path)
    await says(venice, "decline")
    venice.clock.advance(seconds=30)
    await says(venice, "decline")
    venice.clock.advance(seconds=119)
    await left_alone(venice)
    venice.clock.advance(seconds=1)
    await says(venice, "cancel")


async def test_the_third_no_counts_for_ten_minutes(tmp_path: Path) -> None:
    venice = world(tmp_path)
    for seconds in (30, 120, 599):
        await says(venice, "decline")
        venice.clock.advance(seconds=seconds)
    await left_alone(venice)
    venice.clock.advance(seconds=1)
    await says(venice, "cancel")


async def test_the_third_no_counts_for_longer_than_the_second(tmp_path: Path) -> None:
    venice = world(tmp_path)
    for seconds in (30, 120, 121):
        await says(venice, "decline")
        venice.clock.advance(seconds=seconds)
    await left_alone(venice)


async def test_the_text_says_until_when(tmp_path: Path) -> None:
    venice = world(tmp_path)
    for seconds in (30, 120, 600):
        await says(venice, "decline")
        (told,) = re.findall(r"before (\d\d:\d\d:\d\d) UTC", await left_alone(venice))
        venice.clock.advance(seconds=seconds)
        assert told == f"{venice.clock():%H:%M:%S}"


async def test_other_arguments_do_not_get_round_three_denials_of_a_tool(tmp_path: Path) -> None:
    venice = world(tmp_path)
    for number in range(3):
        await says(venice, "decline", named(number))
    for seconds in (30, 120):
        await left_alone(venice, named(3))
        venice.clock.advance(seconds=seconds - 1)
        await left_alone(venice, {**named(4), "deliver_to": {"path": str(tmp_path / "new.key")}})
        venice.clock.advance(seconds=1)
        await says(venice, "decline", named(5 + seconds))
    venice.clock.advance(seconds=121)
    await left_alone(venice, named(6))


async def test_six_denials_of_anything_count_for_everything(tmp_path: Path) -> None:
    venice = world(tmp_path)
    idle, old = venice.id_of(IDLE), venice.id_of("old prototype")
    for number in range(2):
        for tool, arguments in (
            (CREATE, named(number)),
            (MINT.tool, named(number)),
            (REVOKE.tool, {"key_id": (idle, old)[number]}),
        ):
            await says(venice, "decline", arguments, tool=tool)
    await left_alone(venice, {"key_id": idle, "description": "renamed"}, tool=UPDATE.tool)
    venice.clock.advance(seconds=30)
    await says(venice, "cancel", {"key_id": idle, "description": "renamed"}, tool=UPDATE.tool)


async def test_a_no_to_ending_a_key_counts_however_it_would_be_ended(tmp_path: Path) -> None:
    venice = world(tmp_path)
    key_id = venice.id_of(IDLE)
    await says(venice, "decline", {"key_id": key_id}, tool=REVOKE.tool)
    last6 = str(venice.held()[key_id]["secret"])[-6:]
    others: list[tuple[str, Json]] = [
        (REVOKE.tool, {"last6_chars": last6}),
        (UPDATE.tool, {"key_id": key_id, "consumption_limit": {"usd": 0}}),
        (UPDATE.tool, {"key_id": key_id, "expires_in_days": 0.1}),
    ]
    for tool, arguments in others:
        await left_alone(venice, arguments, tool=tool)
    await says(venice, "cancel", {"key_id": key_id, "description": "renamed"}, tool=UPDATE.tool)


async def test_two_denials_say_nothing_about_other_arguments(tmp_path: Path) -> None:
    venice = world(tmp_path)
    for number in range(2):
        await says(venice, "decline", named(number))
    await says(venice, "cancel", named(2))


async def test_another_tool_may_still_ask(tmp_path: Path) -> None:
    venice = world(tmp_path)
    for number in range(4):
        person = Person("decline")
        failed(await venice.call(CREATE, named(number), person=person))
    await left_alone(venice, named(4))
    for write in (MINT, UPDATE, REVOKE):
        await says(venice, "cancel", write.given(venice.id_of), tool=write.tool)


@eras
async def test_a_closed_question_is_no_denial(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    for _ in range(4):
        await says(venice, "cancel", era=era)
    done(await venice.call(CREATE, CAPPED, era=era))


async def test_a_client_that_cannot_ask_denies_nothing(tmp_path: Path) -> None:
    venice = world(tmp_path)
    async with venice.client() as client:
        for number in range(4):
            assert "cannot ask a person" in failed(await client.call_tool(CREATE, named(number)))
    done(await venice.call(CREATE, named(4)))


async def test_a_refusal_on_the_terminal_counts(tmp_path: Path) -> None:
    venice = world(tmp_path)
    command = command_in(await says(venice, "cancel"))
    status, screen = on_terminal(command, tmp_path, "no\n")
    assert (status, "Refused." in screen) == (1, True)
    assert "refused this request on their terminal" in failed(await venice.call(CREATE, CAPPED))
    await left_alone(venice)
    venice.clock.advance(seconds=40)  # a real terminal's clock went on meanwhile
    done(await venice.call(CREATE, CAPPED))


async def test_what_is_pending_can_still_be_approved(tmp_path: Path) -> None:
    venice = world(tmp_path)
    await says(venice, "cancel", named(0))
    for number in range(1, 4):
        await says(venice, "decline", named(number))
    await left_alone(venice, named(4))
    (pending,) = [item for item in venice.app.store.approvals.waiting(venice.clock()) if item.state == "pending"]
    venice.app.store.approvals.settle(pending.code, "granted", "approved on a terminal", venice.clock())
    person = Person("decline")
    done(await venice.call(CREATE, named(0), person=person))
    assert person.questions == []


async def test_a_question_that_is_open_can_still_be_answered(tmp_path: Path) -> None:
    venice = world(tmp_path)
    async with venice.client(MODERN, Person()) as client:
        call = await begin(client, CREATE, named(0))
        for number in range(1, 4):
            await says(venice, "decline", named(number))
        done(await call.finish())
    assert venice.written == {"createApiKey": 1}


async def test_a_restart_forgets_no_denial(tmp_path: Path) -> None:
    venice = world(tmp_path)
    await says(venice, "decline")
    again = world(tmp_path, share=venice)
    await left_alone(again)


async def test_denials_of_one_key_are_none_of_another(tmp_path: Path) -> None:
    venice = world(tmp_path)
    await says(venice, "decline", {"key_id": venice.id_of(IDLE)}, tool=REVOKE.tool)
    await says(venice, "cancel", {"key_id": venice.id_of("old prototype")}, tool=REVOKE.tool)


async def test_the_refusal_is_told_before_the_waiting_begins(tmp_path: Path) -> None:
    venice = world(tmp_path)
    await says(venice, "cancel")
    (pending,) = venice.app.store.approvals.waiting(venice.clock())
    venice.app.store.approvals.settle(pending.code, "denied", REFUSED_ON_TERMINAL, venice.clock())
    assert "refused this request on their terminal" in failed(await venice.call(CREATE, CAPPED))
    await left_alone(venice)
