"""A host's own command line: found on PATH, run as a list of words, and shown."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from venice_mcp.installing.hosts import Host
from venice_mcp.secrets import Redactor
from venice_mcp.systems import as_command
from venice_mcp.text import plain

_PATIENCE_S = 90
_SHOWN = 300


class CouldNot(Exception):
    """What hinders it and what to do; nothing was changed unless it says so. `paste` is text for the person to use."""

    def __init__(self, what: str, paste: str = "") -> None:
        super().__init__(what)
        self.paste = paste


@dataclass(frozen=True)
class Run:
    """A command line as words; no shell takes part."""

    words: tuple[str, ...]

    @property
    def shown(self) -> str:
        return as_command(self.words)


def program_of(host: Host) -> str:
    """Where the host's command line is; "" if it is not on PATH, or is a batch file, which reads quotes its own way."""
    found = shutil.which(host.program) if host.program else None
    if not found or not os.path.isabs(found) or found.lower().endswith((".cmd", ".bat")):
        return ""
    return found


def carry_out(host: Host, runs: list[Run], env: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Run one after the other and say what is run.

    Raises:
        CouldNot: one failed; the rest was not run.
    """
    import subprocess

    # The host gets no key of ours: it needs none to write its file.
    own = {name: value for name, value in env.items() if not name.startswith("VENICE_")}
    for count, run in enumerate(runs):
        say(f"$ {run.shown}")
        try:
            done = subprocess.run(
                run.words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                env=own,
                timeout=_PATIENCE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            told = "did not end" if isinstance(error, subprocess.TimeoutExpired) else "could not be started"
        else:
            if done.returncode == 0:
                continue
            said = plain(Redactor().redact(done.stderr.strip() or done.stdout.strip()), _SHOWN)
            told = f"failed with status {done.returncode}: {said}"
        before = " The old entry was taken out before that." if count else ""
        raise CouldNot(f"{host.program} {told}.{before} Mend that, or run it yourself:", run.shown)
