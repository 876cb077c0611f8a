"""Sections that must run to their end: a write that was sent, and the bookkeeping after it."""

from collections.abc import Generator
from contextlib import contextmanager

import anyio


class Critical:
    """Shields sections from cancellation and tells when none is running, so that a shutdown can wait for them."""

    def __init__(self) -> None:
        self._running = 0
        self._idle: anyio.Event | None = None

    @contextmanager
    def section(self) -> Generator[None]:
        self._running += 1
        try:
            with anyio.CancelScope(shield=True):
                yield
        finally:
            self._running -= 1
            if not self._running and self._idle is not None:
                self._idle.set()

    async def wait_idle(self) -> None:
        """Return when no section is running, nor one that followed on it."""
        while self._running:
            self._idle = anyio.Event()
            await self._idle.wait()
