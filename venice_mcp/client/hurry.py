"""A bound on everything one call does over the network, for calls that must answer in time."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import anyio

_LEAST_S = 2.0
"""What is begun at all gets so long."""
_until: ContextVar[float | None] = ContextVar("when a call must have its answers", default=None)


@contextmanager
def answered_within(seconds: float) -> Generator[None]:
    """Requests made in here are given up when so many seconds are over."""
    token = _until.set(anyio.current_time() + seconds)
    try:
        yield
    finally:
        _until.reset(token)


def time_left(otherwise: float) -> float:
    """How long the next request may take, in seconds: `otherwise`, or less in a hurry."""
    until = _until.get()
    return otherwise if until is None else min(otherwise, max(_LEAST_S, until - anyio.current_time()))


def time_is_left() -> bool:
    """Whether there is time to try something again."""
    until = _until.get()
    return until is None or until - anyio.current_time() > _LEAST_S
