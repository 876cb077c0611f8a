"""A person at a real terminal: a pseudo-terminal on which the printed command runs, far from our environment."""

import os
import sys

import pytest

if not hasattr(os, "fork"):  # not by sys.platform, which would hide this module from type checkers there
    raise pytest.skip.Exception("pseudo-terminals are POSIX's", allow_module_level=True)

import pty
import select
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 30.0


class Terminal:
    """What was printed so far, and a keyboard."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self._process = process
        self._master = master
        self.screen = ""

    def read_until(self, words: str | None) -> str:
        """Everything on the screen once `words` are there; with None, once the command has ended."""
        end = time.monotonic() + PATIENCE_S
        while words is None or words not in self.screen:
            ready, _, _ = select.select([self._master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"waited in vain for {words!r}; the screen shows:\n{self.screen}"
            try:
                data = os.read(self._master, 65536)
            except OSError:  # how Linux tells that nobody has the other end open any more
                data = b""
            if not data:
                break
            self.screen += data.decode()
        assert words is None or words in self.screen, self.screen
        return self.screen

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def status(self) -> int:
        self.read_until(None)
        return self._process.wait(timeout=PATIENCE_S)


@contextmanager
def terminal(command: str, folder: Path) -> Generator[Terminal]:
    """Runs `command` as a person would paste it into a shell in `folder`, with an empty environment."""
    if sys.platform == "win32":
        raise NotImplementedError
    master, slave = pty.openpty()
    with subprocess.Popen(
        ["/usr/bin/env", "-i", "/bin/sh", "-c", command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        start_new_session=True,
        preexec_fn=_own_terminal,
    ) as process:
        os.close(slave)
        try:
            yield Terminal(process, master)
        finally:
            if process.poll() is None:
                process.kill()
            os.close(master)


def _own_terminal() -> None:
    """Make the pseudo-terminal the controlling one, so that Ctrl-C typed on it is one."""
    if sys.platform == "win32":
        raise NotImplementedError
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def on_terminal(command: str, folder: Path, typed: str, prompt: str = "anything else to refuse: ") -> tuple[int, str]:
    """Run the command, type at its prompt; the exit status and all that was shown."""
    with terminal(command, folder) as here:
        here.read_until(prompt)
        here.type(typed)
        return here.status(), here.screen


def at_once(command: str, folder: Path) -> tuple[int, str]:
    """Run a command that asks nothing."""
    with terminal(command, folder) as here:
        return here.status(), here.screen
