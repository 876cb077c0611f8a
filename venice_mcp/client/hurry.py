"""A bound on everything one call does over the network, for calls that must answer in time."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import anyio

_LEAST_S = 2.0
"""What is begun at all gets so long."""


@dataclass
class _Hurry:
    seconds: float
    until: float
    tries: int | None


# Not a mere number: whoever begins the time anew may do so in another task of the same call.
_hurry: ContextVar[_Hurry | None] = ContextVar("when a call must have its answers", default=None)


@contextmanager
def answered_within(seconds: float, *, tries: int | None = None) -> Generator[None]:
    """Requests made in here are given up when so many seconds are over; reads are tried so often at most."""
    token = _hurry.set(_Hurry(seconds, anyio.current_time() + seconds, tries))
    try:
        yield
    finally:
        _hurry.reset(token)


def begin_anew() -> None:
    """Count from now: a person took their time, and that is not the call's."""
    hurry = _hurry.get()
    if hurry is not None:
        hurry.until = anyio.current_time() + hurry.seconds


def time_left(otherwise: float, least: float = _LEAST_S) -> float:
    """How long the next request may take, in seconds: `otherwise`, or less in a hurry, but not under `least`."""
    hurry = _hurry.get()
    return otherwise if hurry is None else min(otherwise, max(least, hurry.until - anyio.current_time()))


def tries_allowed(otherwise: int) -> int:
    """How often a read may be tried."""
    hurry = _hurry.get()
    return otherwise if hurry is None or hurry.tries is None else min(otherwise, hurry.tries)


def time_is_left() -> bool:
    """Whether there is time to try something again."""
    return time_left(_LEAST_S * 2, 0.0) > _LEAST_S
