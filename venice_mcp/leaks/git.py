"""Running git on a repository that may be hostile: plumbing only, and nothing that its settings name is run."""

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    import subprocess

# Settings of the repository that name programs, or that would fetch. Commands that read none of the others are
# chosen where they are called: no porcelain, no textconv, no filters, no external diff.
_SETTINGS: Final = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.untrackedCache=false",
    "core.alternateRefsCommand=",
    "core.quotePath=false",
    "submodule.recurse=false",
    "log.showSignature=false",
    "diff.ignoreSubmodules=all",
    "protocol.allow=never",
)
_ENVIRONMENT: Final = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_PAGER": "cat",
}


def program() -> str | None:
    """Where git is. A relative entry of PATH would take it from whatever folder this runs in."""
    import shutil

    found = shutil.which("git")
    return found if found is not None and os.path.isabs(found) else None


class Git:
    """git for one repository until a point in time, after which everything it started is killed."""

    def __init__(self, path: str, folder: str, deadline: float, *, git_dir: str | None = None) -> None:
        place = ["-C", folder] if git_dir is None else ["-C", folder, f"--git-dir={git_dir}", "--work-tree=."]
        self._command = [path, "--no-pager", *(part for setting in _SETTINGS for part in ("-c", setting)), *place]
        self._deadline = deadline

    @contextmanager
    def running(self, *arguments: str, stdin: IO[bytes] | int | None = None) -> "Generator[subprocess.Popen[bytes]]":
        """The process, with a pipe from its standard output; killed in the end if it still runs."""
        import subprocess

        kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CONFIG_HOME") if name in os.environ}
        process = subprocess.Popen(
            [*self._command, *arguments],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=kept | _ENVIRONMENT,
            bufsize=1 << 16,
        )
        guard = threading.Timer(max(0.0, self._deadline - time.monotonic()), process.kill)
        guard.daemon = True
        guard.start()
        try:
            yield process
        finally:
            guard.cancel()
            process.kill()
            for pipe in (process.stdout, process.stdin):
                if pipe is not None:
                    _close(pipe)
            process.wait()

    def is_usable(self) -> bool:
        """Whether git takes this for a repository that its user may read."""
        with self.running("rev-parse", "--git-dir") as process:
            _ = process.stdout.read() if process.stdout else b""
            return process.wait() == 0


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:  # what was still to be written went nowhere
        return
