"""An approval counts once: replayed, sent eight times at once, or carried over to another call."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, InputRequiredResult

from tests.e2e.bench import EVERY, MADE, MODERN, WRITES, Json, Person, Round, begin, done, text_of, world

pytestmark = pytest.mark.anyio
TIMES = 8


Outcome = CallToolResult | InputRequiredResult | MCPError


def is_yes(result: Outcome) -> bool:
    return isinstance(result, CallToolResult) and not result.is_error


@pytest.mark.parametrize("name", EVERY)
async def test_a_finished_call_sent_again_does_nothing(tmp_path: Path, name: str) -> None:
    venice, write = world(tmp_path), WRITES[name]
    async with venice.client(MODERN, Person()) as client:
        call = await begin(client, write.tool, write.given(venice.id_of))
        results = [await call.send() for _ in range(3)]
    assert [is_yes(result) for result in results] == [True, False, False]
    assert venice.written == {write.operation: 1}


@pytest.mark.parametrize("name", EVERY)
async def test_a_finished_call_sent_eight_times_at_once_is_done_once(tmp_path: Path, name: str) -> None:
    venice, write = world(tmp_path), WRITES[name]
    results: list[Outcome] = []

    async def send(call: Round) -> None:
        results.append(await call.send())

    async with venice.client(MODERN, Person()) as client:
        call = await begin(client, write.tool, write.given(venice.id_of))
        async with anyio.create_task_group() as tasks:
            for _ in range(TIMES):
                tasks.start_soon(send, call)
    assert len(results) == TIMES
    assert venice.written == {write.operation: 1}
    assert sum(map(is_yes, results)) == 1


async def test_the_secret_of_a_new_key_is_not_in_the_answer_to_a_replay(tmp_path: Path) -> None:
    venice, write = world(tmp_path), EVERY["create"]
    async with venice.client(MODERN, Person()) as client:
        call = await begin(client, write.tool, write.given(venice.id_of))
        secret = str(done(await call.finish())["api_key"])
        again = await call.send()
    assert not is_yes(again)
    assert secret not in repr(again)


async def test_an_answer_does_not_count_for_other_arguments(tmp_path: Path) -> None:
    venice = world(tmp_path)
    other: Json = {"description": MADE, "consumption_limit": {"usd": 9_000}}
    async with venice.client(MODERN, Person()) as client:
        call = await begin(client, "venice_create_api_key", EVERY["create"].arguments)
        assert not is_yes(await call.send(arguments=other))
        assert not is_yes(await call.send(arguments={**other, "api_key_type": "ADMIN"}))
    assert venice.written == {}


async def test_an_answer_does_not_count_for_another_key(tmp_path: Path) -> None:
    venice = world(tmp_path)
    before = venice.held()
    async with venice.client(MODERN, Person()) as client:
        call = await begin(client, "venice_revoke_api_key", EVERY["revoke"].given(venice.id_of))
        assert not is_yes(await call.send(arguments={"key_id": venice.id_of("old prototype")}))
    assert (venice.written, venice.held()) == ({}, before)


async def test_an_answer_does_not_count_for_another_tool(tmp_path: Path) -> None:
    venice = world(tmp_path)
    before = venice.held()
    async with venice.client(MODERN, Person()) as client:
        call = await begin(client, "venice_create_api_key", EVERY["create"].arguments)
        assert not is_yes(await call.send(tool="venice_create_web3_api_key"))
        assert not is_yes(await call.send(tool="venice_revoke_api_key", arguments=EVERY["revoke"].given(venice.id_of)))
    assert (venice.written, venice.held()) == ({}, before)


@pytest.mark.parametrize("name", EVERY)
async def test_an_answer_nobody_was_asked_for_approves_nothing(tmp_path: Path, name: str) -> None:
    venice, write = world(tmp_path), WRITES[name]
    before = venice.held()
    async with venice.client(MODERN, Person()) as client:
        arguments = write.given(venice.id_of)
        call = await begin(client, write.tool, arguments)
        for state in (None, "AAAA" + (call.state or "")):
            forged = Round(client, write.tool, arguments, call.question, call.answers, state)
            assert not is_yes(await forged.send())
    assert (venice.written, venice.held()) == ({}, before)


async def test_an_answer_given_too_late_does_not_count(tmp_path: Path) -> None:
    venice = world(tmp_path)
    async with venice.client(MODERN, Person()) as client:
        call = await begin(client, "venice_create_api_key", EVERY["create"].arguments)
        venice.clock.advance(minutes=10)
        assert not is_yes(await call.send())
    assert venice.written == {}


async def test_two_servers_on_one_state_folder_share_the_single_use(tmp_path: Path) -> None:
    """The same approval code redeemed through two servers at the same moment."""
    first = world(tmp_path)
    second = world(tmp_path, share=first)
    write = EVERY["create"]
    async with first.client(MODERN) as client:
        said = text_of(await client.call_tool(write.tool, write.arguments))
    code = said.split(" -m venice_mcp approve ")[1].split()[0]
    assert first.app.store.approvals.settle(code, "granted", "approved on a terminal", first.clock()) == "granted"
    results: list[CallToolResult] = []

    async def call(client: Any) -> None:
        results.append(await client.call_tool(write.tool, write.arguments))

    async with first.client(MODERN) as one, second.client(MODERN) as two, anyio.create_task_group() as tasks:
        for client in (one, two, one, two):
            tasks.start_soon(call, client)
    assert sum(not result.is_error for result in results) == 1
    assert first.written == {"createApiKey": 1}
