"""Sections that must run to their end: a write that was sent, and the bookkeeping after it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio


@dataclass(eq=False)  # two sections with the same words are still two
class Section:
    """What is being done, in words without secrets, and what to undo on this machine if the process must end."""

    doing: str
    leftover: Callable[[], None] | None = None


class Critical:
    """Knows which sections are running, so that a shutdown can wait for them."""

    def __init__(self) -> None:
        self._running: list[Section] = []
        self._idle: anyio.Event | None = None

    @property
    def running(self) -> list[Section]:
        return list(self._running)

    @contextmanager
    def section(self, doing: str, *, shield: bool = True) -> Generator[Section]:
        """A section that a shutdown waits for; unless `shield` is False, nothing can cancel it."""
        section = Section(doing)
        self._running.append(section)
        try:
            with anyio.CancelScope(shield=shield):
                yield section
        finally:
            self._running.remove(section)
            if not self._running and self._idle is not None:
                self._idle.set()

    async def wait_idle(self) -> None:
        """Return when no section is running, nor one that followed on it."""
        while self._running:
            self._idle = anyio.Event()
            await self._idle.wait()
