"""Waiting the right amount: retries of reads, Venice's reset headers, and the budget of failed requests."""

import random
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_S = 20.0
"""No single wait is longer; past it the caller is told when to come back instead."""
FAILURE_WINDOW_S = 30.0
BLOCK_S = 30.0
FAILURE_BUDGET = 12
"""Venice blocks everything for 30 s after more than 20 failed requests in 30 s. This stays below, also when all the
requests that are under way (six reads and two writes) fail."""


def backoff(attempt: int, rng: Callable[[], float] = random.random) -> float:
    """Seconds before the next try of a read: 0.5, 1, 2 ... with half of it random, so clients do not march in step."""
    full = min(0.5 * 2**attempt, 8.0)
    return full / 2 + full / 2 * rng()


def wait_asked_for(headers: Mapping[str, str], now: datetime) -> float | None:
    """How long Venice wants us to wait, in seconds: `Retry-After`, else the reset headers; None if it says nothing.

    Sources disagree on the unit of the reset headers, so it is inferred from the magnitude.
    """
    if (after := headers.get("retry-after", "").strip()) and (seconds := _retry_after(after, now)) is not None:
        return seconds
    for kind in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{kind}", "").strip() not in ("", "0"):
            continue
        reset = _number(headers.get(f"x-ratelimit-reset-{kind}", ""))
        if reset is not None:
            return seconds_until(reset, now, longest_s=120 if kind == "tokens" else 3600)
    return None


def seconds_until(reset: float, now: datetime, *, longest_s: float) -> float:
    """A reset value as seconds from now: a Unix time in s or ms, else a duration, in ms if longer than `longest_s`."""
    if reset >= 1e12:
        return max(0.0, reset / 1000 - now.timestamp())
    if reset >= 1e9:
        return max(0.0, reset - now.timestamp())
    return reset if reset <= longest_s else reset / 1000


def _retry_after(value: str, now: datetime) -> float | None:
    seconds = _number(value)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < 1e15 else None


class Blocks:
    """Callers whom Venice refuses for a while, because too many of their requests had failed: who asks on in that
    time only prolongs it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[Hashable, float] = {}

    def record(self, caller: Hashable, seconds: float) -> None:
        self._until[caller] = self._clock() + seconds

    def wait_s(self, caller: Hashable) -> float:
        """Seconds until Venice takes requests of this caller again; 0 when it does."""
        left = self._until.get(caller, 0.0) - self._clock()
        if left <= 0:
            self._until.pop(caller, None)
        return max(0.0, left)


class FailureBudget:
    """Counts failed requests in the last 30 s, so that we never trip Venice's block of the whole account."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: deque[float] = deque()

    def record(self) -> None:
        self._failed.append(self._clock())

    def wait_s(self) -> float:
        """Seconds until another request may fail without coming near the block; 0 when it may now."""
        now = self._clock()
        while self._failed and now - self._failed[0] >= FAILURE_WINDOW_S:
            self._failed.popleft()
        if len(self._failed) < FAILURE_BUDGET:
            return 0.0
        return FAILURE_WINDOW_S - (now - self._failed[len(self._failed) - FAILURE_BUDGET])
