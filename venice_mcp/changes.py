"""What changed at Venice and in the record because of this server, told to whoever listens in this process."""

import logging
import uuid
from collections.abc import Callable

from mcp.shared.subscriptions import ResourceUpdated, ServerEvent

KEYS = "venice://keys"
AUDIT_LOG = "venice://audit-log"
Listener = Callable[[ServerEvent], None]
_log = logging.getLogger(__name__)


def key_uri(key_id: str) -> str | None:
    """The resource of one key; None for what is no key id, which may be anything, and is not to be sent around."""
    try:
        return f"{KEYS}/{key_id}" if str(uuid.UUID(key_id)) == key_id else None
    except ValueError:
        return None


class Changes:
    """Tells that resources changed, never what: no word of it is anybody's but a key's id.

    Telling neither waits nor fails, because it happens between a write and the account of it. It is the bus on which
    the SDK serves `subscriptions/listen`.
    """

    def __init__(self) -> None:
        self._listeners: dict[object, Listener] = {}

    def of_keys(self, key_id: str | None) -> None:
        """A write was sent to Venice, and that it changed nothing is not certain."""
        one = key_uri(key_id) if key_id is not None else None
        for uri in (KEYS, one):
            if uri is not None:
                self._tell(ResourceUpdated(uri))

    def of_record(self) -> None:
        """Something was recorded."""
        self._tell(ResourceUpdated(AUDIT_LOG))

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
