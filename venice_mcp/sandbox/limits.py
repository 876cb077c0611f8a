"""Counting: creates per minute, failed requests, and the headers that tell a caller about it."""

from collections import deque
from datetime import datetime, timedelta

from venice_mcp.sandbox.refusal import Refusal

CREATES_PER_MINUTE = 20
FAILURES_ALLOWED = 20
FAILURE_WINDOW_S = 30
BLOCK_S = 30
UNSUPPORTED_ALLOWED = 200
# Shown in the headers only: Venice publishes no number for these operations, so none is enforced.
REQUESTS_PER_MINUTE = 500
TOKENS_PER_MINUTE = 1_000_000


def block_text(allowed: int) -> str:
    return (
        f"Too many failed attempts (> {allowed}) resulting in a non-success status code."
        f" Please wait {BLOCK_S}s and try again."
    )


class _Window:
    """Moments that are still younger than the window."""

    def __init__(self, seconds: int) -> None:
        self._span = timedelta(seconds=seconds)
        self._moments: deque[datetime] = deque()

    def add(self, at: datetime) -> None:
        self._moments.append(at)

    def count(self, at: datetime) -> int:
        while self._moments and at - self._moments[0] >= self._span:
            self._moments.popleft()
        return len(self._moments)

    def frees_at(self, at: datetime) -> datetime:
        return (self._moments[0] if self.count(at) else at) + self._span


class Limiter:
    def __init__(self, *, on: bool) -> None:
        self._on = on
        self._creates = _Window(60)
        self._requests: dict[str, _Window] = {}
        self._failures: dict[str, _Window] = {}
        self._unsupported: dict[str, _Window] = {}
        self._blocks: dict[str, tuple[datetime, int]] = {}

    @property
    def on(self) -> bool:
        return self._on

    def refuse_blocked(self, caller: str, at: datetime) -> None:
        until, allowed = self._blocks.get(caller, (None, 0))
        if until is None:
            return
        if at < until:
            budget = {"x-ratelimit-remaining": "0", "x-ratelimit-resets": unix(until)}
            raise Refusal(429, block_text(allowed), headers=_spent(allowed, until) | budget)
        del self._blocks[caller]

    def failed(self, caller: str, at: datetime) -> bool:
        """Count a failed request; True when this one begins a block."""
        return self._count(self._failures, FAILURES_ALLOWED, caller, at)

    def unsupported(self, caller: str, at: datetime) -> bool:
        """Count a request for what the model lacks; True when this one begins a block."""
        return self._count(self._unsupported, UNSUPPORTED_ALLOWED, caller, at)

    def _count(self, windows: dict[str, _Window], allowed: int, caller: str, at: datetime) -> bool:
        window = windows.setdefault(caller, _Window(FAILURE_WINDOW_S))
        window.add(at)
        if not self._on or window.count(at) <= allowed:
            return False
        self._blocks[caller] = (at + timedelta(seconds=BLOCK_S), allowed)
        return True

    def admit_create(self, at: datetime) -> None:
        if self._on and self._creates.count(at) >= CREATES_PER_MINUTE:
            headers = _spent(CREATES_PER_MINUTE, self._creates.frees_at(at))
            raise Refusal(429, "Rate limit exceeded", headers=headers)

    def created(self, at: datetime) -> None:
        self._creates.add(at)

    def headers(self, caller: str, at: datetime) -> dict[str, str]:
        """Count an authenticated request and describe what is left to its key."""
        requests = self._requests.setdefault(caller, _Window(60))
        requests.add(at)
        left = max(0, REQUESTS_PER_MINUTE - requests.count(at))
        return {
            "x-ratelimit-limit-requests": str(REQUESTS_PER_MINUTE),
            "x-ratelimit-remaining-requests": str(left),
            # The two resets differ in kind, as documented: a Unix timestamp here, seconds below.
            "x-ratelimit-reset-requests": unix(requests.frees_at(at)),
            "x-ratelimit-limit-tokens": str(TOKENS_PER_MINUTE),
            "x-ratelimit-remaining-tokens": str(TOKENS_PER_MINUTE),
            "x-ratelimit-reset-tokens": "60",
            "x-ratelimit-type": "api_key",
        }


def _spent(limit: int, until: datetime) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": unix(until),
        "x-ratelimit-type": "user",
    }


def unix(at: datetime) -> str:
    """Rounded up, so that whoever waits until then has waited long enough."""
    return str(int(at.timestamp()) + (1 if at.microsecond else 0))
