"""Counting: creates per minute, failed requests, and the headers that tell a caller about it."""

from collections import deque
from datetime import datetime, timedelta

from venice_mcp.sandbox.refusal import Refusal

CREATES_PER_MINUTE = 20
FAILURES_ALLOWED = 20
FAILURE_WINDOW_S = 30
BLOCK_S = 30
BLOCK_TEXT = "Too many failed attempts (> 20) resulting in a non-success status code. Please wait 30s and try again."
# Shown in the headers only: Venice publishes no number for these operations, so none is enforced.
REQUESTS_PER_MINUTE = 500
TOKENS_PER_MINUTE = 1_000_000


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
        self._blocked_until: dict[str, datetime] = {}

    def refuse_blocked(self, caller: str, at: datetime) -> None:
        until = self._blocked_until.get(caller)
        if until is None:
            return
        if at < until:
            raise Refusal(429, BLOCK_TEXT, headers=_spent(FAILURES_ALLOWED, until))
        del self._blocked_until[caller]

    def failed(self, caller: str, at: datetime) -> bool:
        """Count a failed request; True when this one begins a block."""
        failures = self._failures.setdefault(caller, _Window(FAILURE_WINDOW_S))
        failures.add(at)
        if not self._on or failures.count(at) <= FAILURES_ALLOWED:
            return False
        self._blocked_until[caller] = at + timedelta(seconds=BLOCK_S)
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
            "x-ratelimit-reset-requests": _unix(requests.frees_at(at)),
            "x-ratelimit-limit-tokens": str(TOKENS_PER_MINUTE),
            "x-ratelimit-remaining-tokens": str(TOKENS_PER_MINUTE),
            "x-ratelimit-reset-tokens": "60",
            "x-ratelimit-type": "api_key",
        }


def _spent(limit: int, until: datetime) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": _unix(until),
        "x-ratelimit-type": "user",
    }


def _unix(at: datetime) -> str:
    """Rounded up, so that whoever waits until then has waited long enough."""
    return str(int(at.timestamp()) + (1 if at.microsecond else 0))
