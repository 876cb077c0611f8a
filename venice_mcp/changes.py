"""What changed at Venice and in the record because of this server, told to whoever listens in this process."""

import logging
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio
import anyio.to_thread
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent

from venice_mcp.store import Store, StoreError

KEYS = "venice://keys"
AUDIT_LOG = "venice://audit-log"
Listener = Callable[[ServerEvent], None]
_LOOKED_AT_WITHIN_S = 0.5
"""Another process may hold the record; an answer waits no longer for it."""
_untold: ContextVar[dict[str, None] | None] = ContextVar("resources that the request at hand changed", default=None)
_log = logging.getLogger(__name__)


def key_uri(key_id: str) -> str | None:
    """The resource of one key; None for what is no key id, which may be anything, and is not to be sent around."""
    try:
        return f"{KEYS}/{key_id}" if str(uuid.UUID(key_id)) == key_id else None
    except ValueError:
        return None


def is_told(uri: str) -> bool:
    """Whether anybody would hear that a resource changed: what is read anew each time has no news."""
    return uri in (KEYS, AUDIT_LOG) or key_uri(uri.rpartition("/")[2]) == uri


class Changes:
    """Tells that resources changed, never what: no word of it is anybody's but a key's id.

    Noting a change neither waits nor fails, because it happens between a write and the account of it. It is the bus on
    which the SDK serves `subscriptions/listen`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: dict[object, Listener] = {}
        self._at_once: list[Callable[[], None]] = []
        self._told_up_to: int | None = None
        self._looking = anyio.Lock()

    @asynccontextmanager
    async def told_at_the_end(self) -> AsyncGenerator[None]:
        """Tell what changed meanwhile when it is over, each resource once.

        The audit trail changed if it has more entries than when it was last told, whoever made them and wherever.
        """
        if self._told_up_to is None:
            await self._trail_moved(beginning=True)
        untold: dict[str, None] = {}
        token = _untold.set(untold)
        try:
            yield
        finally:
            _untold.reset(token)
            with anyio.CancelScope(shield=True):
                if await self._trail_moved():
                    untold[AUDIT_LOG] = None
            for uri in untold:
                self._tell(ResourceUpdated(uri))

    def of_keys(self, key_id: str | None) -> None:
        """A write was sent to Venice, and that it changed nothing is not certain."""
        for forget in self._at_once:
            forget()
        one = key_uri(key_id) if key_id is not None else None
        changed = dict.fromkeys([KEYS, one] if one is not None else [KEYS])
        untold = _untold.get()
        if untold is not None:
            untold.update(changed)
            return
        for uri in changed:
            self._tell(ResourceUpdated(uri))

    def forgetting(self, forget: Callable[[], None]) -> None:
        """Call `forget`, which must not fail, as soon as keys may have changed: what was read before is stale."""
        self._at_once.append(forget)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every change, on the event loop; returns what ends it."""
        token = object()
        self._listeners[token] = listener

        def unsubscribe() -> None:
            self._listeners.pop(token, None)

        return unsubscribe

    async def publish(self, event: ServerEvent) -> None:
        """What the SDK wants told."""
        self._tell(event)

    def _tell(self, event: ServerEvent) -> None:
        for listener in list(self._listeners.values()):
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - whoever cannot listen must not break a write
                _log.exception("A change could not be told to one listener")

    async def _trail_moved(self, *, beginning: bool = False) -> bool:
        """Whether the trail went on since this was last asked; the first time (`beginning`) it only finds out where
        the trail stands. A record that cannot be read in time is looked at again the next time.
        """
        with anyio.move_on_after(_LOOKED_AT_WITHIN_S):
            async with self._looking:
                if beginning and self._told_up_to is not None:
                    return False
                last = await anyio.to_thread.run_sync(_last_entry, self._store, abandon_on_cancel=True)
                if last is not None:
                    before, self._told_up_to = self._told_up_to, last
                    return before is not None and last != before
        return False


def _last_entry(store: Store) -> int | None:
    """The number of the newest entry; looking makes no record."""
    try:
        return store.trail.checkpoint().seq if store.record.exists() else 0
    except (StoreError, OSError):
        return None  # said by whatever needs the record
