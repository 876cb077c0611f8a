"""The value every write needs, and that only the guard can make.

A write method of `client` takes a `Consent`; leaving it out is a type error. A consent names one operation and
the exact intent a person approved, and it works once. A test shows that `guard` is the only place that makes one.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

Intent = Mapping[str, Any]
"""What will be asked of Venice, as JSON, without any secret."""


class ConsentError(Exception):
    """A write was attempted without a consent that covers it. A defect in our code, never a user's mistake."""


def canonical(value: Any) -> str:
    """JSON with one spelling for equal values, for comparing and digesting."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


class Consent:
    """Permission for one write, exactly as approved.

    Args:
        approval: the code of the recorded approval this consent was spent from.
        operation: the OpenAPI operationId it covers.
        intent: what was approved; the client sends this and nothing else.
        write: what the write is called in the journal, where it stands as intended already.
    """

    __slots__ = ("_intent", "_made", "_used", "approval", "operation", "write")

    def __init__(self, *, approval: str, operation: str, intent: Intent, write: str) -> None:
        self.approval: Final = approval
        self.write: Final = write
        self.operation: Final = operation
        self._intent = canonical(intent)
        self._used = False
        self._made: str | None = None

    @property
    def intent(self) -> dict[str, Any]:
        """What it covers, a copy."""
        covered: dict[str, Any] = json.loads(self._intent)
        return covered

    def claim(self, operation: str, intent: Intent) -> None:
        """Use the consent up for this write.

        Raises:
            ConsentError: it covers something else, or was used before.
        """
        if self._used:
            raise ConsentError("this consent was already used")
        self._used = True
        if operation != self.operation or canonical(intent) != self._intent:
            raise ConsentError(f"this consent does not cover this {operation}")

    def record_made(self, key_id: str) -> None:
        """Remember which key this consent's write made."""
        if not self._used:
            raise ConsentError("nothing can have been made with an unused consent")
        self._made = key_id

    def take_made(self) -> str:
        """The id of the key this consent's write made, once: whoever takes it may revoke it again."""
        if self._made is None:
            raise ConsentError("this consent made no key, or it was taken already")
        made, self._made = self._made, None
        return made
