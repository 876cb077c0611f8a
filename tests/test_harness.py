"""The bench that the tests of the tools stand on, and proof that it is a real server and a real client.

Nothing of ours is replaced: the network ends in a transport that remembers what was sent and hands it to the
sandbox (or to whatever else a test wants Venice to be), and the client is the SDK's, over streams, in either era.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import anyio
import httpx
import pytest
from mcp import Client
from mcp.client._memory import InMemoryTransport  # pyright: ignore[reportPrivateUsage]
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage
from mcp_types import CallToolResult, ElicitRequestFormParams, ElicitResult, TextContent

from tests.contract.contract import check_request
from venice_mcp.app import App
from venice_mcp.sandbox import Sandbox, create_app
from venice_mcp.secrets import Redactor
from venice_mcp.server import build_app, build_server
from venice_mcp.settings import Settings, load

ROOT = Path(__file__).parent.parent
LEGACY, MODERN = "legacy", "2026-07-28"
ERAS = (LEGACY, MODERN)
# The middle of a month and of a day, so that no period is about to end.
NOON = datetime(2026, 11, 18, 12, 0, 0, tzinfo=UTC)
ADMIN_KEY = "VENICE_ADMIN_KEY_8tRq-Zk3vN1xYb_Lw6HsPd0eGmUjC4aFoT9iKxB2nQ"
INFERENCE_KEY = "VENICE_INFERENCE_KEY_5hWc_Jp7fEz-Ay1RtVoMu3BqXg8DkSlN6iZ0wTeC4"
WALLET_KEY = "0x8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
KEYS = {"VENICE_ADMIN_KEY": ADMIN_KEY, "VENICE_API_KEY": INFERENCE_KEY, "VENICE_WALLET_KEY": WALLET_KEY}
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"

Json = dict[str, Any]
T = TypeVar("T")


class Clock:
    """Stands still until it is moved."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def advance(self, **span: float) -> None:
        self.at += timedelta(**span)


@dataclass(frozen=True)
class Sent:
    """One request as it reached the edge of the network."""

    method: str
    url: httpx.URL
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.url.path

    def operation(self) -> str:
        """The operationId; fails when the request breaks the contract."""
        return check_request(self.method, self.path, self.url.params.multi_items(), self.headers, self.body or None)


Change = Callable[[Sent, httpx.Response], httpx.Response]


class Edge(httpx.AsyncBaseTransport):
    """Where the network would begin. Remembers every request; `change` may rewrite what Venice answers."""

    def __init__(self, inner: httpx.AsyncBaseTransport, change: Change | None = None) -> None:
        self._inner = inner
        self.change = change
        self.sent: list[Sent] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        sent = Sent(request.method, request.url, dict(request.headers), await request.aread())
        self.sent.append(sent)
        response = await self._inner.handle_async_request(request)
        return response if self.change is None else self.change(sent, await _whole(response))

    @property
    def writes(self) -> list[Sent]:
        return [each for each in self.sent if each.method != "GET"]


async def _whole(response: httpx.Response) -> httpx.Response:
    await response.aread()
    return httpx.Response(response.status_code, headers=response.headers, content=response.content)


class Person:
    """Answers questions as told and remembers them."""

    def __init__(self, action: str = "approve") -> None:
        self.action = action
        self.questions: list[str] = []

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        self.questions.append(params.message)
        if self.action in ("decline", "cancel"):
            return ElicitResult(action=cast("Any", self.action))
        asked = cast("Json", params.requested_schema["properties"])
        if "approve" in asked:
            return ElicitResult(action="accept", content={"approve": True})
        return ElicitResult(action="accept", content={"word": str(asked["word"]["description"]).split()[1]})


class _Tapped:
    """A stream of what the server sends that keeps a copy of every frame."""

    def __init__(self, inner: Any, frames: list[str]) -> None:
        self._inner = inner
        self._frames = frames

    async def receive(self) -> SessionMessage | Exception:
        message: SessionMessage | Exception = await self._inner.receive()
        if isinstance(message, SessionMessage):
            self._frames.append(message.message.model_dump_json(by_alias=True, exclude_none=True))
        else:
            self._frames.append(repr(message))
        return message

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _TappedTransport:
    def __init__(self, inner: Any, frames: list[str]) -> None:
        self._inner = inner
        self._frames = frames

    async def __aenter__(self) -> TransportStreams:
        read, write = await self._inner.__aenter__()
        return cast("Any", _Tapped(read, self._frames)), write

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, trace)


class House:
    """One server, the Venice behind it, and the doors to both."""

    def __init__(self, app: App, edge: Edge, clock: Clock, sandbox: Sandbox | None) -> None:
        self.app = app
        self.edge = edge
        self.clock = clock
        self.sandbox = sandbox
        self.frames: list[str] = []
        self.server = build_server(app)

    @asynccontextmanager
    async def client(self, era: str, person: Person | None = None) -> AsyncGenerator[Client]:
        """A connected client; without a person it cannot be asked."""
        transport = cast("Any", _TappedTransport(InMemoryTransport(self.server), self.frames))
        async with Client(transport, mode=era, elicitation_callback=person, cache=None) as client:
            yield client

    def call(
        self, tool: str, arguments: Json | None = None, *, era: str = MODERN, person: Person | None = None
    ) -> CallToolResult:
        """One call over a connection of its own."""

        async def one() -> CallToolResult:
            async with self.client(era, person or Person()) as client:
                return await client.call_tool(tool, arguments or {})

        return self.run(one)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        async def and_close() -> T:
            try:
                return await work()
            finally:
                await self.app.client.transport.close()

        return asyncio.run(and_close())

    def made_keys(self) -> list[Json]:
        assert self.sandbox is not None
        return self.sandbox.keys()

    def id_of(self, description: str) -> str:
        return next(str(key["id"]) for key in self.made_keys() if key.get("description") == description)


def settings_in(folder: Path, environment: Mapping[str, str] = KEYS) -> Settings:
    return load({"VENICE_MCP_KEYRING": "0", **environment}, state_dir=folder)


def house(
    folder: Path,
    *,
    scenario: str = "demo",
    environment: Mapping[str, str] = KEYS,
    change: Change | None = None,
    venice: httpx.AsyncBaseTransport | None = None,
    limits: bool = False,
) -> House:
    """A server set up as if it were live, whose network ends in the sandbox (or in `venice`)."""
    clock = Clock()
    sandbox = None
    if venice is None:
        sandbox = create_app(
            scenario=scenario,
            admin_key=environment.get("VENICE_ADMIN_KEY"),
            inference_key=environment.get("VENICE_API_KEY"),
            limits=limits,
            now=clock,
        )
        venice = httpx.ASGITransport(app=sandbox)
    edge = Edge(venice, change)
    app = build_app(settings_in(folder, environment), Redactor(), transport=edge, now=clock)
    return House(app, edge, clock, sandbox)


def text_of(result: CallToolResult) -> str:
    """All text of a result."""
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


def data_of(result: CallToolResult) -> Json:
    """The structured part of a result that is no error."""
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


# --- the bench itself ------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
def test_the_bench_speaks_the_era_it_says(tmp_path: Path, era: str) -> None:
    bench = house(tmp_path)

    async def version() -> str:
        async with bench.client(era) as client:
            return client.protocol_version

    spoken = bench.run(version)
    assert (spoken >= MODERN) == (era == MODERN)


@pytest.mark.parametrize("era", ERAS)
def test_the_bench_asks_sends_and_records(tmp_path: Path, era: str) -> None:
    bench, person = house(tmp_path), Person()
    made = data_of(bench.call("venice_create_api_key", {"description": "bench"}, era=era, person=person))
    assert len(person.questions) == 1
    assert [each.method for each in bench.edge.writes] == ["POST"]
    assert bench.edge.sent[0].url.host == "api.venice.ai"
    assert any(made["api_key"] in frame for frame in bench.frames)
    assert any(person.questions[0].splitlines()[0].replace('"', '\\"') in frame for frame in bench.frames)
