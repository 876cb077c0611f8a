"""The MCP server: tools on an `App`, and one boundary that everything crosses on its way out."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    SERVER_INFO_META_KEY,
    RequestId,
    RequestParamsMeta,
)
from pydantic import BaseModel, ValidationError

from venice_mcp import HOMEPAGE, __version__
from venice_mcp.app import App, showing
from venice_mcp.changes import Changes, is_told
from venice_mcp.client import VeniceClient
from venice_mcp.client.keys import ConfiguredKeys
from venice_mcp.client.transport import Transport
from venice_mcp.completions import add_completions
from venice_mcp.guard import Guard
from venice_mcp.icons import ICON
from venice_mcp.instructions import instructions_for
from venice_mcp.prompts import add_prompts
from venice_mcp.resources import add_resources
from venice_mcp.secrets import Redactor, looks_like_secret
from venice_mcp.secrets.logs import request_logged
from venice_mcp.settings import Settings
from venice_mcp.store import Store
from venice_mcp.subscriptions import MOST, Audience, ListeningServer
from venice_mcp.tools import TOOLS
from venice_mcp.tools.build import ToolSpec, build
from venice_mcp.workflows.critical import Critical

if TYPE_CHECKING:
    import httpx

_ALSO_READING = frozenset(
    {
        # Mostly reads, and whoever may only read must learn what is unaccounted for all the same.
        "venice_recover",
        # Refuses to write its report where policy is read only, and reads without.
        "venice_audit_api_keys",
    }
)
_NOT_SHOWN, _URI_NOT_SHOWN = "name-not-shown", "venice://uri-not-shown"
_NO_RESOURCE = (
    "No such resource; resources/list and resources/templates/list have the URIs. A key is named by its id, as"
    " venice://keys lists it, never by itself."
)
_TRACE_CONTEXT = ("traceparent", "tracestate", "baggage")
_STATIC_METHODS = frozenset({"initialize", "server/discover", "tools/list", "prompts/list", "ping"})
_INTRODUCED_BY = frozenset({"icons", "websiteUrl"})
_caller_s_id: ContextVar[RequestId | None] = ContextVar("what the caller named this request", default=None)
_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


def build_app(
    settings: Settings,
    redactor: Redactor,
    *,
    transport: "httpx.AsyncBaseTransport | None" = None,
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    reached_over: str = "stdio",
) -> App:
    """Everything the tools share. `transport` replaces the network, `now` and `sleep` the clock.

    `reached_over` says in the audit trail how clients reach this server.
    """
    store = Store(settings.state_dir)
    keys = ConfiguredKeys(settings, redactor)
    client = VeniceClient(keys, Transport(settings, handler=transport, now=now, sleep=sleep), redactor)
    guard = Guard(store, settings, keys.account, redactor, now, Changes(store))
    return App(settings, redactor, store, client, guard, now, sleep, Critical(), reached_over)


def build_server(app: App) -> MCPServer[App]:
    """The server for one app."""

    @asynccontextmanager
    async def lifespan(_: MCPServer[App]) -> AsyncGenerator[App]:
        yield app

    offered = [spec for spec in TOOLS if is_offered(spec, app.settings)]
    tools = frozenset(spec.name for spec in offered)
    server = ListeningServer(
        "venice-mcp",
        title="Venice API keys",
        instructions=instructions_for(tools, app.settings),
        website_url=HOMEPAGE,
        icons=[ICON],
        version=__version__,
        tools=[build(spec) for spec in offered],
        lifespan=lifespan,
        subscriptions=app.guard.changes,
        log_level="WARNING",
    )
    names = {"tools/call": tools, "prompts/get": add_prompts(server, app, tools)}
    known = add_resources(server, app, tools)
    add_completions(server, app, tools)
    audience = Audience(app.guard.changes, known)
    server.serve(audience)
    boundary = Boundary(app.redactor, names, known, app.guard.changes, audience)
    # Outside and inside of the tracing of the SDK: its spans would carry what a caller sent and what an exception says.
    server.middleware.insert(0, boundary)
    server.middleware.append(boundary.before_tracing)
    return server


def is_offered(spec: ToolSpec, settings: Settings) -> bool:
    """Whether policy offers a tool. What would be refused anyway is not worth its words in a model's context."""
    policy = settings.policy
    # While the policy cannot be used nothing is written, but whoever tries must be told why.
    writes = not policy.read_only or bool(settings.policy_problem)
    return policy.offers(spec.name) and (spec.read_only or writes or spec.name in _ALSO_READING)


class Boundary:
    """Takes secrets out of everything that leaves, but for what this one request may show; keeps names and ids that
    a caller sent, which might be pasted secrets, out of errors, logs and traces. What a request logs carries its id.
    """

    def __init__(
        self,
        redactor: Redactor,
        names: Mapping[str, frozenset[str]],
        resource: Callable[[str], bool],
        changes: Changes,
        audience: Audience,
    ) -> None:
        """`names`: what there is to name, for each method that names something. `resource`: whether a URI is of one.
        What `changes` during a request is told when it is done; `audience` is those to whom the SDK does not tell it.
        """
        self._redactor = redactor
        self._names = names
        self._resource = resource
        self._changes = changes
        self._audience = audience

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        with showing() as allowed, request_logged() as request_id:
            if self._unsafe(ctx.method):
                if ctx.request_id is None:
                    return None  # a notification, which has no answer
                raise MCPError(code=METHOD_NOT_FOUND, message="Method not found")
            token = _caller_s_id.set(ctx.request_id)
            try:
                async with self._changes.told_at_the_end() if ctx.method == "tools/call" else nullcontext():
                    result = await call_next(self._traceable(self._without_unknown_names(ctx), request_id))
            except MCPError as error:
                raise self._redacted(error) from None
            finally:
                _caller_s_id.reset(token)
                await self._audience.tell()
            if isinstance(result, dict):
                result = _honest(result) if ctx.method == "server/discover" else _lean(result)
            if result is None or ctx.method in _STATIC_METHODS:
                return result
            if isinstance(result, BaseModel):
                result = result.model_dump(mode="json", by_alias=True, exclude_none=True)
            redacted: dict[str, Any] = self._redactor.redact_tree(result, allowed)
            return redacted

    async def before_tracing(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """The innermost layer: errors as they may stand in a span, which keeps the text of every exception."""
        params = ctx.params or {}
        if ctx.method == "prompts/get" and params.get("name") == _NOT_SHOWN:
            raise MCPError(code=INVALID_PARAMS, message="Unknown prompt; prompts/list has the names")
        if ctx.method == "resources/read" and params.get("uri") == _URI_NOT_SHOWN:
            raise MCPError(code=INVALID_PARAMS, message=_NO_RESOURCE, data={"uri": _URI_NOT_SHOWN})
        if ctx.method == "subscriptions/listen":
            # Every message of the stream is known to the client by the id that it gave to its request.
            ctx = replace(ctx, request_id=_caller_s_id.get())
        try:
            return await call_next(ctx)
        except MCPError as error:
            raise self._redacted(error) from None
        except ValidationError:  # for which the SDK has words of its own
            raise
        except Exception:  # noqa: BLE001 - a defect, whatever it is: its text may hold anything
            _log.exception("A request of the kind %s ended unexpectedly", ctx.method)
            raise MCPError(code=INTERNAL_ERROR, message="Internal error; see the server's log") from None

    def _redacted(self, error: MCPError) -> MCPError:
        return MCPError(
            code=error.error.code,
            message=self._redactor.redact(error.error.message),
            data=self._redactor.redact_tree(error.error.data),
        )

    def _without_unknown_names(self, ctx: ServerRequestContext[Any, Any]) -> ServerRequestContext[Any, Any]:
        params = dict(ctx.params or {})
        known, name = self._names.get(ctx.method), params.get("name")
        if known is not None and not (isinstance(name, str) and name in known):
            return replace(ctx, params=params | {"name": _NOT_SHOWN})
        if known is None and "name" in params:
            # No other method knows such a parameter, but a span is named after it.
            del params["name"]
            ctx = replace(ctx, params=params)
        uri = params.get("uri")
        if ctx.method.startswith("resources/") and isinstance(uri, str) and not self._resource(uri):
            return replace(ctx, params=params | {"uri": _URI_NOT_SHOWN})
        wanted = params.get("notifications")
        if ctx.method == "subscriptions/listen" and isinstance(wanted, dict):
            known_ones = self._known_subscriptions(cast("dict[str, Any]", wanted))
            return replace(ctx, params=params | {"notifications": known_ones})
        return ctx

    def _known_subscriptions(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Of what a client wants to hear of, which is confirmed to it, what it will hear of."""
        uris = wanted.get("resourceSubscriptions")
        if isinstance(uris, list):
            known = [uri for uri in cast("list[Any]", uris) if isinstance(uri, str) and self._resource(uri)]
            uris = [uri for uri in known if is_told(uri)][:MOST]
        return {"resourceSubscriptions": uris} if uris is not None else {}

    def _traceable(self, ctx: ServerRequestContext[Any, Any], request_id: str) -> ServerRequestContext[Any, Any]:
        """`ctx` under our id instead of the caller's (the answer goes by another copy), and in no unsafe trace."""
        if ctx.request_id is not None:
            ctx = replace(ctx, request_id=request_id)
        told = [str((ctx.meta or {}).get(member, "")) for member in _TRACE_CONTEXT]
        if ctx.meta and any(map(self._unsafe, told)):
            kept = {member: value for member, value in ctx.meta.items() if member not in _TRACE_CONTEXT}
            ctx = replace(ctx, meta=cast("RequestParamsMeta", kept))
        return ctx

    def _unsafe(self, text: str) -> bool:
        return looks_like_secret(text) or self._redactor.redact(text) != text


def _honest(discovered: dict[str, Any]) -> dict[str, Any]:
    """What `server/discover` says, without the lists of tools, prompts and resources that the SDK says may change."""
    offered = dict(cast("dict[str, dict[str, Any]]", discovered.get("capabilities", {})))
    for name in offered.keys() & {"tools", "prompts", "resources"}:
        offered[name] = {**offered[name], "listChanged": False}
    return {**discovered, "capabilities": offered}


def _lean(result: dict[str, Any]) -> dict[str, Any]:
    """A result without the picture of the server, which the SDK repeats in every one of 2026; discovery has it."""
    meta = result.get("_meta")
    info = cast("dict[str, Any]", meta).get(SERVER_INFO_META_KEY) if isinstance(meta, dict) else None
    if not isinstance(info, dict):
        return result
    lean = {name: value for name, value in cast("dict[str, Any]", info).items() if name not in _INTRODUCED_BY}
    return {**result, "_meta": {**cast("dict[str, Any]", meta), SERVER_INFO_META_KEY: lean}}
