"""How close provisioning comes to the pace that Venice allows, with a clock that is moved instead of waited for."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
from mcp import Client
from mcp_types import ElicitResult

from bench.budgets import Line, tokens
from bench.stdio import ServerError
from venice_mcp.sandbox import create_app
from venice_mcp.secrets import Redactor
from venice_mcp.server import build_app, build_server
from venice_mcp.settings import load

TOOL = "venice_provision_api_keys"
COUNT = 100
A_MINUTE = 20
WITHIN = 1.05
LONGEST_CALL_S = 45
_ADMIN = "VENICE_ADMIN_KEY_SANDBOX_" + "A1b2C3d4E5f6G7h8" * 2
_BASE_URL = "http://127.0.0.1:9/api/v1"


class _Venice(httpx.AsyncBaseTransport):
    """The sandbox, and when each key was made and how often it said that this was too fast."""

    def __init__(self, clock: "_Clock") -> None:
        sandbox = create_app(scenario="empty", admin_key=_ADMIN, now=clock)
        self._inner = httpx.ASGITransport(app=sandbox)
        self._clock = clock
        self.made_at: list[datetime] = []
        self.too_fast = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if request.method == "POST" and response.status_code == 200:
            self.made_at.append(self._clock())
        self.too_fast += response.status_code == 429
        return response


class _Clock:
    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


async def _approve(context: Any, params: Any) -> ElicitResult:
    asked = params.requested_schema["properties"]
    if "approve" in asked:
        return ElicitResult(action="accept", content={"approve": True})
    return ElicitResult(action="accept", content={"word": str(asked["word"]["description"]).split()[1]})


@asynccontextmanager
async def _client(folder: Path, venice: _Venice, clock: _Clock) -> AsyncGenerator[Client]:
    settings = load(
        {"VENICE_MCP_KEYRING": "0", "VENICE_BASE_URL": _BASE_URL, "VENICE_ADMIN_KEY": _ADMIN},
        state_dir=folder / "provision-state",
        config_dir=folder / "no-policy",
    )
    app = build_app(settings, Redactor(), transport=venice, now=clock, sleep=clock.sleep)
    async with Client(build_server(app), elicitation_callback=_approve, cache=None) as client:
        yield client


async def _measure(folder: Path) -> list[Line]:
    clock = _Clock()
    venice, began = _Venice(clock), clock.at
    names = [f"customer-{number:03}" for number in range(COUNT)]
    place = {"kind": "json", "path": str(folder / "keys.json")}
    arguments = {"names": names, "consumption_limit": {"usd": 5}, "deliver_to": place}
    calls, longest, cost, finished = 0, 0.0, 0, False
    async with _client(folder, venice, clock) as client:
        while not finished:
            at = clock.at
            result = await client.call_tool(TOOL, arguments)
            if result.is_error or result.structured_content is None:
                raise ServerError(f"{TOOL} failed: {result.content}")
            calls, finished = calls + 1, bool(result.structured_content["finished"])
            longest = max(longest, (clock.at - at).total_seconds())
            cost = max(cost, tokens(result.model_dump_json(exclude_none=True)))
    took = (venice.made_at[-1] - began).total_seconds()
    # The first twenty may be made at once, and twenty more whenever a minute has passed.
    allowed = (COUNT - 1) // A_MINUTE * 60
    saved = len(json.loads((folder / "keys.json").read_text()))
    return [
        Line(
            "keys provisioned, secrets saved",
            f"{COUNT}",
            f"{len(venice.made_at)}, {saved}",
            len(venice.made_at) == saved == COUNT,
        ),
        Line(
            f"time for them against {A_MINUTE} a minute",
            f"{WITHIN:.2f} x",
            f"{took / allowed:.3f} x ({took:.0f} : {allowed} s of the moved clock)",
            took <= allowed * WITHIN,
        ),
        Line("answers 429 on the way", "0", f"{venice.too_fast}", venice.too_fast == 0),
        Line(
            "longest call of those",
            f"{LONGEST_CALL_S} s",
            f"{longest:.1f} s ({calls} calls, at most {cost:,} tokens each)",
            longest <= LONGEST_CALL_S,
        ),
    ]


def provision(home: Path) -> list[Line]:
    """A hundred keys from one template, called again and again until it is finished."""
    home.chmod(0o700)
    return anyio.run(_measure, home)
