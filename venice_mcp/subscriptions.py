"""Changes told to clients on 2025-era connections, which name resources with `resources/subscribe`.

Of that the SDK only knows the words; `subscriptions/listen`, which took its place in 2026, it serves by itself.
"""

import logging
from collections.abc import Callable
from typing import Any

import anyio
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent
from mcp_types import INVALID_PARAMS, EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams

from venice_mcp.app import App
from venice_mcp.changes import Changes

MOST = 1_000
"""Resources that one connection may subscribe to."""
_SENT_WITHIN_S = 0.5
"""A client that does not read what it is sent holds up the answer to another one no longer, and once only."""
_log = logging.getLogger(__name__)


class Audience:
    """Connections and what they subscribed to. What they are to be told waits until the request at hand is done."""

    def __init__(self, changes: Changes, known: Callable[[str], bool]) -> None:
        """`known` says whether a URI is one of a resource."""
        self._known = known
        self._wanted: dict[Connection, set[str]] = {}
        self._untold: dict[Connection, dict[str, None]] = {}
        changes.subscribe(self._hear)

    async def subscribe(self, ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
        if not self._known(params.uri):
            raise MCPError(code=INVALID_PARAMS, message="No such resource; resources/list has their URIs")
        connection = _connection_of(ctx)
        if connection not in self._wanted:
            connection.exit_stack.callback(self._forget, connection)
        wanted = self._wanted.setdefault(connection, set())
        if len(wanted) >= MOST and params.uri not in wanted:
            raise MCPError(code=INVALID_PARAMS, message=f"One connection may subscribe to {MOST} resources at most")
        wanted.add(params.uri)
        return EmptyResult()

    async def unsubscribe(self, ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams) -> EmptyResult:
        connection = _connection_of(ctx)
        self._wanted.get(connection, set[str]()).discard(params.uri)
        self._untold.get(connection, dict[str, None]()).pop(params.uri, None)
        return EmptyResult()

    async def tell(self) -> None:
        """Send what is untold. It never fails; what cannot be sent in time is dropped with its connection."""
        untold, self._untold = self._untold, {}
        if untold:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as tasks:
                    for connection, uris in untold.items():
                        tasks.start_soon(self._send, connection, list(uris))

    async def _send(self, connection: Connection, uris: list[str]) -> None:
        with anyio.move_on_after(_SENT_WITHIN_S) as sending:
            try:
                for uri in uris:
                    await connection.send_resource_updated(uri)
            except Exception:  # noqa: BLE001 - whatever a transport does, the request at hand must have its answer
                _log.exception("A change could not be told to a client")
        if sending.cancelled_caught:
            self._forget(connection)

    def _hear(self, event: ServerEvent) -> None:
        if isinstance(event, ResourceUpdated):
            for connection, wanted in self._wanted.items():
                if event.uri in wanted:
                    self._untold.setdefault(connection, {})[event.uri] = None

    def _forget(self, connection: Connection) -> None:
        self._wanted.pop(connection, None)
        self._untold.pop(connection, None)


def _connection_of(ctx: ServerRequestContext[Any, Any]) -> Connection:
    # The SDK has no public way yet from a request to its connection, which outlives it.
    return ctx.session._connection  # pyright: ignore[reportPrivateUsage]


class ListeningServer(MCPServer[App]):
    """A server that takes subscriptions of 2025 besides those of 2026."""

    def serve(self, audience: Audience) -> None:
        add = self._lowlevel_server.add_request_handler
        add("resources/subscribe", SubscribeRequestParams, audience.subscribe)
        add("resources/unsubscribe", UnsubscribeRequestParams, audience.unsubscribe)
