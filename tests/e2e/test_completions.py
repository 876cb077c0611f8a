"""What a host offers while somebody types, through a real client in both eras."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import httpx
import pytest
from mcp import Client
from mcp_types import Completion, PromptReference, ResourceTemplateReference

from tests.e2e.bench import (
    ADMIN_KEY,
    CREATE,
    ERAS,
    IDLE,
    INFERENCE_KEY,
    MADE,
    MODERN,
    Person,
    World,
    done,
    operated,
    world,
)
from venice_mcp.completions import KEPT_FOR, MOST

pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", ERAS)
PROMPT = PromptReference(name="rotate")
TEMPLATE = ResourceTemplateReference(uri="venice://keys/{id}")
PASTED = "VENICE_INFERENCE_KEY_q7Rk-2Zx_9vTnB4yLmWc8HsPd3Ge5UjA6FoKi1xCt"
AWKWARD = ("\0", "\ud83d\ude00" * 400, "(.*", "[", "%", "..", "...", " ", "\u202e", "-", "\\", "a b c d", "x" * 5_000)
Reference = PromptReference | ResourceTemplateReference


async def completed(client: Client, typed: str, argument: str = "key", ref: Reference = PROMPT) -> Completion:
    return (await client.complete(ref, {"name": argument, "value": typed})).completion


async def values(client: Client, typed: str, argument: str = "key", ref: Reference = PROMPT) -> list[str]:
    found = await completed(client, typed, argument, ref)
    assert (found.total, found.has_more) == (len(found.values), False)
    assert len(found.values) == len(set(found.values))
    return found.values


def names(venice: World, ids: list[str]) -> list[str]:
    return [str(venice.held()[key_id]["description"]) for key_id in ids]


# --- keys -----------------------------------------------------------------------------------------


@eras
async def test_a_key_is_found_by_description_id_or_ending(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    key_id = venice.id_of(IDLE)
    ending = str(venice.held()[key_id]["secret"])[-6:]
    async with venice.client(era) as client:
        for typed in (IDLE, IDLE.upper(), "mei l", "laptop mei", "ei lap", f"  {IDLE} ", key_id, key_id[:13]):
            assert await values(client, typed) == [key_id]
        for typed in (ending, f"...{ending}", ending[:5], ending.lower()):
            assert (await values(client, typed))[0] == key_id
        assert await values(client, "mei l", "id", TEMPLATE) == [key_id]
        assert await values(client, "no key is called so") == []


@eras
async def test_the_best_match_comes_first_and_among_equals_the_one_used_last(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path, scenario="empty")
    for name in ("the staging", "restaging", "staging two", "staging", "staging one"):
        await venice.venice("POST", "/api_keys", json={"apiKeyType": "INFERENCE", "description": name})
        venice.clock.advance(seconds=1)
    await venice.touch(venice.id_of("staging two"))
    async with venice.client(era) as client:
        assert names(venice, await values(client, "staging")) == [
            "staging",
            "staging two",
            "staging one",
            "the staging",
            "restaging",
        ]


@eras
async def test_every_prompt_completes_what_it_takes(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    async with venice.client(era) as client:
        taken = {
            (prompt.name, argument.name)
            for prompt in (await client.list_prompts()).prompts
            for argument in prompt.arguments or ()
        }
        assert {argument for _, argument in taken} >= {"key", "model", "request"}
        for prompt, argument in taken:
            found = await values(client, "", argument, PromptReference(name=prompt))
            assert bool(found) == (argument != "request")


@eras
async def test_of_many_a_hundred_are_offered_and_the_rest_is_told(tmp_path: Path, era: str) -> None:
    async with world(tmp_path, scenario="large").client(era) as client:
        found = await completed(client, "")
    assert (len(found.values), found.total, found.has_more) == (MOST, 500, True)


# --- what else ------------------------------------------------------------------------------------


@eras
async def test_models_and_key_types_are_offered(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    async with venice.client(era) as client:
        assert await values(client, "QWEN", "model") == ["qwen-edit", "qwen3-coder-480b"]
        assert await values(client, "coder", "model") == ["qwen3-coder-480b"]
        assert await values(client, "", "api_key_type") == ["INFERENCE", "ADMIN"]
        assert await values(client, "adm", "api_key_type") == ["ADMIN"]
    (request,) = venice.edge.sent
    assert "authorization" not in request.headers


@eras
async def test_what_cannot_be_completed_is_an_empty_list_and_no_error(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    async with venice.client(era) as client:
        assert await values(client, "test", "arg1", PromptReference(name="test_prompt_with_arguments")) == []
        assert await values(client, "", "request") == []
        assert await values(client, "", "id") == []
        assert await values(client, "", "key", TEMPLATE) == []
        assert await values(client, "", "id", ResourceTemplateReference(uri="venice://{id}")) == []
    assert not venice.edge.sent


@eras
async def test_without_an_admin_key_no_key_is_offered(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path, env={"VENICE_API_KEY": INFERENCE_KEY})
    async with venice.client(era) as client:
        assert await values(client, "") == []
        assert await values(client, "", "id", TEMPLATE) == []
        assert await values(client, "", "model")


async def test_what_the_operator_hides_is_not_offered(tmp_path: Path) -> None:
    venice = operated(tmp_path, "[tools]\nhide = ['venice_list_api_keys', 'venice_diag*']")
    async with venice.client() as client:
        assert await values(client, "") == []
        assert await values(client, "", "id", TEMPLATE) == []
        assert await values(client, "", "model") == []
    assert not venice.edge.sent


# --- how often Venice is asked --------------------------------------------------------------------


async def test_typing_asks_venice_once_in_half_a_minute_and_anew_after_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venice = world(tmp_path)
    loop = asyncio.get_running_loop()
    real, ahead_s = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + ahead_s)
    async with venice.client(MODERN, Person()) as client:
        for end in range(len(IDLE)):
            await values(client, IDLE[:end])
        assert len(venice.edge.sent) == 1
        ahead_s = KEPT_FOR.total_seconds() - 5
        await values(client, IDLE)
        assert len(venice.edge.sent) == 1
        venice.clock.advance(hours=-2)  # somebody sets the clock back
        ahead_s += 5
        await values(client, IDLE)
        assert len(venice.edge.sent) == 2
        made = done(await client.call_tool(CREATE.tool, CREATE.arguments))
        assert await values(client, MADE) == [made["id"]]


async def test_what_was_being_read_while_something_was_written_is_not_kept(tmp_path: Path) -> None:
    venice, reading, written = world(tmp_path), anyio.Event(), anyio.Event()

    async def slow(request: httpx.Request, forward: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        answer = await forward()
        if request.url.path.endswith("/api_keys") and request.method == "GET" and not reading.is_set():
            reading.set()
            await written.wait()
        return answer

    venice.edge.hook = slow
    async with venice.client(MODERN, Person()) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(values, client, MADE)
        await reading.wait()
        made = done(await client.call_tool(CREATE.tool, CREATE.arguments))
        written.set()
        assert await values(client, MADE) == [made["id"]]


async def test_a_venice_that_refuses_is_not_asked_with_every_letter(tmp_path: Path) -> None:
    async def refuse(request: httpx.Request, forward: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        return httpx.Response(401, json={"error": "Authentication failed"})

    venice = world(tmp_path)
    venice.edge.hook = refuse
    async with venice.client() as client:
        for typed in ("m", "me", "mei"):
            assert await values(client, typed) == []
            assert await values(client, typed, "model") == []
    assert [request.url.path for request in venice.edge.sent] == ["/api/v1/api_keys", "/api/v1/models"]


# --- what is typed --------------------------------------------------------------------------------


@eras
async def test_what_is_typed_goes_nowhere(tmp_path: Path, era: str, caplog: pytest.LogCaptureFixture) -> None:
    venice, said = world(tmp_path), ""
    for logger in ("mcp.server", "venice_mcp"):
        caplog.set_level(logging.DEBUG, logger)
    async with venice.client(era) as client:
        for typed in (PASTED, ADMIN_KEY, PASTED[21:], "correct-horse-battery"):
            for argument, ref in (("key", PROMPT), ("model", PROMPT), ("id", TEMPLATE), (typed, PROMPT)):
                said += f"{await completed(client, typed, argument, ref)!r}"
            said += f"{await completed(client, typed, 'key', PromptReference(name=typed))!r}"
            said += f"{await completed(client, typed, 'id', ResourceTemplateReference(uri=f'x://{typed}'))!r}"
    sent = "".join(f"{request.url} {request.content!r}" for request in venice.edge.sent)
    for typed in (PASTED, ADMIN_KEY, PASTED[21:], "correct-horse-battery"):
        assert typed not in said + sent + caplog.text
    assert len(venice.edge.sent) == 2


@eras
async def test_whatever_is_typed_only_keys_that_are_there_are_offered(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    async with venice.client(era) as client:
        for typed in AWKWARD:
            assert set(await values(client, typed)) <= set(venice.held())
            await values(client, typed, "model")
