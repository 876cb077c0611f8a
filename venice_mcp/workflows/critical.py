"""Sections that must run to their end: a write that was sent, and the bookkeeping after it."""

from collections.abc import Generator
from contextlib import contextmanager

import anyio


class Critical:
    """Shields sections from cancellation and knows which are running, so that a shutdown can wait for them."""

    def __init__(self) -> None:
        self._running: dict[object, str] = {}
        self._idle: anyio.Event | None = None

    @property
    def running(self) -> list[str]:
        """What is being done right now, in words without secrets."""
        return list(self._running.values())

    @contextmanager
    def section(self, doing: str) -> Generator[None]:
        mark = object()
        self._running[mark] = doing
        try:
            with anyio.CancelScope(shield=True):
                yield
        finally:
            del self._running[mark]
            if not self._running and self._idle is not None:
                self._idle.set()

    async def wait_idle(self) -> None:
        """Return when no section is running, nor one that followed on it."""
        while self._running:
            self._idle = anyio.Event()
            await self._idle.wait()
