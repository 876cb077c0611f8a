"""What Venice reports of a key after a write, and what is told of it."""

from collections.abc import Callable
from pathlib import Path

import anyio
import httpx
import pytest
from mcp.client._memory import InMemoryTransport  # pyright: ignore[reportPrivateUsage]
from mcp_types import ElicitResult, ErrorData

from tests.e2e.bench import KEYS, LEGACY, MADE, Forward, Json, World, connect, done, failed, text_of, world
from tests.e2e.test_terminal import command_in

pytestmark = pytest.mark.anyio
LISTED: Json = {"description": MADE, "consumption_limit": {"usd": 5}, "ip_allowlist": ["203.0.113.7", "10.0.0.0/8"]}


def reporting(venice: World, change: Callable[[Json], None]) -> None:
    """Venice describes each key otherwise than the sandbox does."""

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward()
        await response.aread()
        one = request.method in ("GET", "PATCH") and "/api_keys" in request.url.path and "rate" not in request.url.path
        if not one or not response.is_success:
            return response
        body = response.json()
        for key in body["data"] if isinstance(body["data"], list) else [body["data"]]:
            change(key)
        return httpx.Response(response.status_code, json=body)

    venice.edge.hook = hook


def with_prefix_lengths(key: Json) -> None:
    if "ipAllowlist" in key:
        key["ipAllowlist"] = [item if "/" in item else f"{item}/32" for item in reversed(key["ipAllowlist"])]


def without_addresses(key: Json) -> None:
    key.pop("ipAllowlist", None)


def without_caps(key: Json) -> None:
    key["consumptionLimits"] = {"usd": None, "diem": None}


@pytest.mark.parametrize("spelling", [with_prefix_lengths, without_addresses])
async def test_an_address_list_spelled_otherwise_or_left_out_is_no_reason_for_a_warning(
    tmp_path: Path, spelling: Callable[[Json], None]
) -> None:
    venice = world(tmp_path)
    reporting(venice, spelling)
    made = done(await venice.call("venice_create_api_key", LISTED))
    assert not [note for note in made["notes"] if "ATTENTION" in note]
    change = {"key_id": made["id"], "ip_allowlist": ["10.0.0.0/8"]}
    assert done(await venice.call("venice_update_api_key", change))["notes"] == []
    cleared = await venice.call("venice_update_api_key", {"key_id": made["id"], "clear": ["ip_allowlist"]})
    assert not cleared.is_error, text_of(cleared)
    assert not venice.described(MADE)[0].get("ipAllowlist")


async def test_a_cap_that_venice_did_not_set_is_told_at_once(tmp_path: Path) -> None:
    venice = world(tmp_path)
    reporting(venice, without_caps)
    made = done(await venice.call("venice_create_api_key", LISTED))
    assert any("ATTENTION: Venice set USD cap to no cap, not 5 as asked for." in note for note in made["notes"])
    assert made["api_key"], "the key exists, so its secret must be handed over"


@pytest.mark.parametrize("failure", ["404", "an exception of another kind", "nothing"])
async def test_a_read_back_that_fails_keeps_no_secret_from_its_owner(tmp_path: Path, failure: str) -> None:
    venice = world(tmp_path)

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "GET" and len(request.url.path) > len("/api/v1/api_keys/"):
            if failure == "404":
                return httpx.Response(404, json={"error": "no such key"})
            if failure == "nothing":
                raise httpx.ReadTimeout("slow")
            raise RuntimeError("not foreseen")
        return await forward()

    venice.edge.hook = hook
    made = done(await venice.call("venice_create_api_key", {"description": MADE, "consumption_limit": {"usd": 5}}))
    assert made["api_key"].startswith("VENICE_INFERENCE_KEY_")
    assert any("could not be read back" in note for note in made["notes"])


async def test_a_mint_without_an_admin_key_does_not_complain_that_it_cannot_look(tmp_path: Path) -> None:
    venice = world(tmp_path, env={name: value for name, value in KEYS.items() if name != "VENICE_ADMIN_KEY"})
    made = done(await venice.call("venice_create_web3_api_key", {"description": MADE, "consumption_limit": {"usd": 5}}))
    assert not [note for note in made["notes"] if "read back" in note]


async def test_two_calls_whose_client_fails_to_ask_are_each_given_their_own_command(tmp_path: Path) -> None:
    venice = world(tmp_path)
    both = anyio.Event()
    waiting: list[str] = []

    async def fail(_context: object, params: object) -> ElicitResult | ErrorData:
        waiting.append(str(getattr(params, "message", "")))
        if len(waiting) == 2:
            both.set()
        await both.wait()
        return ErrorData(code=-32603, message="no screen here")

    commands: dict[str, str] = {}

    async def create(description: str) -> None:
        async with connect(InMemoryTransport(venice.server), LEGACY, fail) as client:  # pyright: ignore[reportArgumentType]
            arguments = {"description": description, "consumption_limit": {"usd": 5}}
            commands[description] = command_in(failed(await client.call_tool("venice_create_api_key", arguments)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(create, "first")
        tasks.start_soon(create, "second")
    assert venice.written == {}
    asked = {item.code: str(item.data["headline"]) for item in venice.app.store.approvals.waiting(venice.clock())}
    for description, command in commands.items():
        (code,) = [code for code in asked if code in command]
        assert f'"{description}"' in asked[code]
