"""What the end-to-end tests stand on: a server, the Venice behind it, people who answer, and a way to look behind.

Nothing of ours is replaced. The network ends in `Edge`, which hands every request to the sandbox and can lose,
change or delay what comes back. The client is the SDK's, over streams, in either era.
"""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import httpx
from mcp import Client
from mcp.client._memory import InMemoryTransport  # pyright: ignore[reportPrivateUsage]
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types import CallToolResult, ElicitRequestFormParams, ElicitResult, InputRequiredResult, TextContent

from venice_mcp.app import App
from venice_mcp.sandbox import Sandbox, create_app
from venice_mcp.secrets import Redactor
from venice_mcp.server import build_app, build_server, is_offered
from venice_mcp.settings import load
from venice_mcp.tools import TOOLS

LEGACY, MODERN = "legacy", "2026-07-28"
ERAS = (LEGACY, MODERN)
ADMIN_KEY = "VENICE_ADMIN_KEY_SANDBOX_" + "A1b2C3d4E5f6G7h8" * 2
INFERENCE_KEY = "VENICE_INFERENCE_KEY_SANDBOX_" + "Z9y8X7w6V5u4T3s2" * 2
KEYS = {"VENICE_ADMIN_KEY": ADMIN_KEY, "VENICE_API_KEY": INFERENCE_KEY}
BASE_URL = "http://127.0.0.1:9/api/v1"
"""Nothing listens there: a request that went past the edge would fail."""
_SCHEMAS: dict[frozenset[str], dict[str, dict[str, Any] | None]] = {}
"""Of the results of tools, by the names of all that are offered."""

Json = dict[str, Any]
Forward = Callable[[], Awaitable[httpx.Response]]
Hook = Callable[[httpx.Request, Forward], Awaitable[httpx.Response]]
Step = Callable[[], Awaitable[object]]


class Clock:
    """Stands still at the present until it is moved, so that a real terminal beside it agrees on the time."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.at

    def advance(self, **span: float) -> None:
        self.at += timedelta(**span)


class Edge(httpx.AsyncBaseTransport):
    """Where the network would begin: remembers every request; `hook` decides what becomes of it."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.hook: Hook | None = None
        self.sent: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.sent.append(request)

        async def forward() -> httpx.Response:
            return await self._inner.handle_async_request(request)

        return await (self.hook(request, forward) if self.hook else forward())

    @property
    def writes(self) -> list[str]:
        return [request.method for request in self.sent if request.method != "GET"]


class Body(httpx.AsyncByteStream):
    """An answer's body as it comes over the wire; given as `content`, httpx would decode it too early."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


class Person:
    """Answers every question the same way and remembers the questions.

    `way` is one of: approve, accept (with nothing filled in), true (the word instead of the value), wrong,
    decline, cancel. `meanwhile` happens while the first question is open.
    """

    def __init__(self, way: str = "approve", meanwhile: Step | None = None) -> None:
        self.way = way
        self.meanwhile = meanwhile
        self.questions: list[str] = []
        self.forms: list[set[str]] = []

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        self.questions.append(params.message)
        asked = cast("Json", params.requested_schema["properties"])
        self.forms.append(set(asked))
        step, self.meanwhile = self.meanwhile, None
        if step is not None:
            await step()
        return reply(self.way, asked)


def reply(way: str, asked: Json) -> ElicitResult:
    if way in ("decline", "cancel"):
        return ElicitResult(action=cast("Any", way))
    if way == "accept":
        return ElicitResult(action="accept", content={})
    if "approve" in asked:
        value: Any = {"approve": True, "true": "true", "wrong": False}[way]
        return ElicitResult(action="accept", content={"approve": value})
    word = str(asked["word"]["description"]).split()[1]
    return ElicitResult(action="accept", content={"word": {"approve": word, "true": "true", "wrong": word[:-1]}[way]})


class Typing(Person):
    """Fills exactly this in, whatever the form asks for."""

    def __init__(self, **content: Any) -> None:
        super().__init__()
        self._content = content

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        await super().__call__(context, params)
        return ElicitResult(action="accept", content=self._content)


class _Outgoing:
    """A stream to the server that declares other capabilities than the SDK's client does."""

    def __init__(self, inner: Any, elicitation: Json) -> None:
        self._inner = inner
        self._elicitation = elicitation

    async def send(self, item: SessionMessage) -> None:
        params = getattr(item.message, "params", None)
        if isinstance(params, dict):
            self._declare(cast("Json", params))
        await self._inner.send(item)

    def _declare(self, params: Json) -> None:
        meta = cast("Json", params.get("_meta") or {})
        for holder, name in ((params, "capabilities"), (meta, "io.modelcontextprotocol/clientCapabilities")):
            if isinstance(holder.get(name), dict):
                holder[name] = holder[name] | {"elicitation": self._elicitation}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def __aenter__(self) -> "_Outgoing":
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self._inner.__aexit__(*error)


@asynccontextmanager
async def declaring(transport: AbstractAsyncContextManager[Any], elicitation: Json | None) -> AsyncGenerator[Any]:
    """The transport; with `elicitation` the client declares exactly that, whatever it could do."""
    async with transport as (read, write):
        yield read, (write if elicitation is None else _Outgoing(write, elicitation))


def connect(
    transport: AbstractAsyncContextManager[Any], era: str, person: Person | None, elicitation: Json | None = None
) -> Client:
    """A client; without a person it does not declare that it can ask."""
    return Client(declaring(transport, elicitation), mode=era, elicitation_callback=person, cache=None)


@dataclass
class World:
    """One server, and the Venice behind it."""

    app: App
    edge: Edge
    clock: Clock
    sandbox: Sandbox
    state_dir: Path
    slept: list[float] = field(default_factory=list[float])

    @cached_property
    def server(self) -> MCPServer[App]:
        return build_server(self.app)

    @asynccontextmanager
    async def client(
        self, era: str = MODERN, person: Person | None = None, elicitation: Json | None = None
    ) -> AsyncGenerator[Client]:
        async with connect(InMemoryTransport(self.server), era, person, elicitation) as client:
            await self._tell_schemas(client)
            yield client

    async def _tell_schemas(self, client: Client) -> None:
        """What results must look like. In every session a client would list all tools for that after the first call,
        which took a tenth of a test; what a listing says is looked at by tests of its own.
        """
        offered = frozenset(spec.name for spec in TOOLS if is_offered(spec, self.app.settings))
        if offered not in _SCHEMAS:
            _SCHEMAS[offered] = {tool.name: tool.output_schema for tool in await self.server.list_tools()}
        client.session._tool_output_schemas.update(_SCHEMAS[offered])  # pyright: ignore[reportPrivateUsage]

    async def call(
        self, tool: str, arguments: Json | None = None, *, era: str = MODERN, person: Person | None = None
    ) -> CallToolResult:
        """One call over a connection of its own, with a person who approves unless another one is given."""
        async with self.client(era, person or Person()) as client:
            return await client.call_tool(tool, arguments or {})

    async def venice(self, method: str, path: str, **options: Any) -> Json:
        """Somebody else at work in the same account, past our server."""
        transport = httpx.ASGITransport(app=self.sandbox)
        headers = {"Authorization": f"Bearer {self.sandbox.admin_key}"}
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=headers) as other:
            response = await other.request(method, path, **options)
        assert response.is_success, response.text
        return cast("Json", response.json())

    async def touch(self, key_id: str) -> None:
        used = self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        await self.venice("POST", "/__control/touch", json={"id": key_id, "last_used_at": used})

    def held(self) -> dict[str, Json]:
        """Every key by id as the sandbox has it, but for when it was used."""
        keys = self.sandbox.keys()
        return {str(key["id"]): {**key, "lastUsedAt": None} for key in keys}

    def id_of(self, description: str) -> str:
        return str(self.described(description)[0]["id"])

    def described(self, description: str) -> list[Json]:
        held = self.sandbox.keys()
        return [key for key in held if key["description"] == description]

    @property
    def requests(self) -> Counter[str]:
        return self.sandbox.requests

    @property
    def written(self) -> dict[str, int]:
        """How often each write reached the sandbox."""
        names = ("createApiKey", "updateApiKey", "deleteApiKey", "postApiKeyGenerateWeb3Key")
        return {name: self.requests[name] for name in names if self.requests[name]}


def world(
    folder: Path,
    *,
    scenario: str = "demo",
    env: Mapping[str, str] = KEYS,
    state: str = "state",
    limits: bool = True,
    share: World | None = None,
    policy: str | None = None,
) -> World:
    """A server whose network ends in a sandbox: its own, or that of the world it shares.

    `policy` is the text of the operator's policy.toml; without it there is none, whoever runs the tests.
    """
    clock = share.clock if share else Clock()
    sandbox = share.sandbox if share else None
    if sandbox is None:
        sandbox = create_app(
            scenario=scenario, admin_key=ADMIN_KEY, inference_key=INFERENCE_KEY, limits=limits, control=True, now=clock
        )
    edge = Edge(httpx.ASGITransport(app=sandbox))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds=seconds)

    operator = folder / "operator"
    if policy is not None:
        operator.mkdir(mode=0o700, exist_ok=True)
        (operator / "policy.toml").write_text(policy)
        (operator / "policy.toml").chmod(0o600)
    variables = {"VENICE_MCP_KEYRING": "0", "VENICE_BASE_URL": BASE_URL, **env}
    settings = load(variables, state_dir=folder / state, config_dir=operator)
    app = build_app(settings, Redactor(), transport=edge, now=clock, sleep=sleep)
    return World(app, edge, clock, sandbox, settings.state_dir, slept)


def operated(folder: Path, rules: str, **more: Any) -> World:
    """A world with rules of its operator, who also says where state is kept, so that allowances hold."""
    return world(folder, policy=f"state_dir = '{folder / 'state'}'\n{rules}", **more)


@dataclass(frozen=True)
class Round:
    """The first half of a call of 2026: the question came back in a result, and here is how to answer it."""

    client: Client
    tool: str
    arguments: Json
    question: str
    answers: dict[str, ElicitResult]
    state: str | None

    async def send(
        self, tool: str | None = None, arguments: Json | None = None
    ) -> CallToolResult | InputRequiredResult | MCPError:
        """Send the answer, with the call it belongs to or with another one, and take whatever comes back."""
        try:
            return await self._send(tool, arguments)
        except MCPError as error:
            return error

    async def finish(self) -> CallToolResult:
        """Send the answer and expect the result."""
        result = await self._send(None, None)
        assert isinstance(result, CallToolResult), "it asked again"
        return result

    async def _send(self, tool: str | None, arguments: Json | None) -> CallToolResult | InputRequiredResult:
        return await self.client.session.call_tool(
            tool or self.tool,
            self.arguments if arguments is None else arguments,
            input_responses=cast("Any", self.answers),
            request_state=self.state,
            allow_input_required=True,
        )


async def begin(client: Client, tool: str, arguments: Json, way: str = "approve") -> Round:
    result = await client.session.call_tool(tool, arguments, allow_input_required=True)
    assert isinstance(result, InputRequiredResult), result
    ((name, request),) = (result.input_requests or {}).items()
    assert isinstance(request.params, ElicitRequestFormParams)
    answer = reply(way, cast("Json", request.params.requested_schema["properties"]))
    return Round(client, tool, arguments, request.params.message, {name: answer}, result.request_state)


# --- the four writes -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Write:
    """A call that asks first: which request it ends in, and the word a person must type, if any."""

    tool: str
    operation: str
    arguments: Json
    target: str | None = None
    word: str | None = None

    def given(self, id_of: Callable[[str], str]) -> Json:
        return dict(self.arguments) if self.target is None else {"key_id": id_of(self.target), **self.arguments}


MADE = "made by a test"
CAPPED: Json = {"description": MADE, "consumption_limit": {"usd": 5}}
_CREATE = ("venice_create_api_key", "createApiKey")
_UPDATE = ("venice_update_api_key", "updateApiKey")
_REVOKE = ("venice_revoke_api_key", "deleteApiKey")
_MINT = ("venice_create_web3_api_key", "postApiKeyGenerateWeb3Key")
IDLE, BUSY = "Mei laptop", "staging"
"""Both INFERENCE keys with a cap: one not used for 200 days, one used 95 minutes ago."""

CREATE = Write(*_CREATE, CAPPED)
UPDATE = Write(*_UPDATE, {"consumption_limit": {"usd": 10}}, IDLE)
REVOKE = Write(*_REVOKE, {}, IDLE)
MINT = Write(*_MINT, CAPPED)
RISKY_CREATE = Write(*_CREATE, {"description": MADE, "api_key_type": "ADMIN"}, word="CREATE")
RISKY_UPDATE = Write(*_UPDATE, {"consumption_limit": {"usd": 900}}, IDLE, "CHANGE")
RISKY_REVOKE = Write(*_REVOKE, {}, BUSY, "REVOKE")
RISKY_MINT = Write(*_MINT, {"description": MADE}, word="MINT")
WRITES: dict[str, Write] = {
    "create": CREATE,
    "update": UPDATE,
    "revoke": REVOKE,
    "mint": MINT,
    "risky create": RISKY_CREATE,
    "risky update": RISKY_UPDATE,
    "risky revoke": RISKY_REVOKE,
    "risky mint": RISKY_MINT,
}
EVERY: dict[str, Write] = {name: WRITES[name] for name in ("create", "update", "revoke", "mint")}


def text_of(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


def done(result: CallToolResult) -> Json:
    """The structured part of a result that is no error."""
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


def changed_nothing(said: str) -> bool:
    """Whether an answer tells that nothing came of the call."""
    return any(f"Nothing was {what}" in said for what in ("changed at Venice.", "sent to Venice", "done: "))


def failed(result: CallToolResult) -> str:
    """The text of a result that is an error."""
    assert result.is_error, text_of(result)
    return text_of(result)
