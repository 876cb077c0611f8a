"""A host's own command line: found on PATH, and run as a list of words where nothing of a project is near."""

import os
import shutil
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from venice_mcp.installing.hosts import Host
from venice_mcp.secrets import Redactor
from venice_mcp.systems import kill_group
from venice_mcp.text import plain

if TYPE_CHECKING:
    from subprocess import Popen

_PATIENCE_S = 90
_LAST_WORDS_S = 1
_SHOWN = 300
_MOST_SAID = 1 << 20
_OF_THE_SHELL = {"PWD", "OLDPWD", "INIT_CWD"}  # some take these for the folder that they are in


class ProgramFailed(Exception):
    """How it ended."""


def program_of(host: Host) -> tuple[str, str]:
    """Where the host's command line is, else "" and why it is not run."""
    found = shutil.which(host.program) if host.program else None
    if not found or not os.path.isabs(found):
        return "", "is not on PATH"
    if found.lower().endswith((".cmd", ".bat")):  # they read quotes their own way
        return "", "is a batch file, which is not run"
    return found, ""


def run(words: tuple[str, ...], env: Mapping[str, str], home: str) -> None:
    """Run it to its end; whatever it started and left behind in its group ends too.

    Raises:
        ProgramFailed: it did not end well.
    """
    import subprocess

    # Some run code that they find in their folder or one above it. Only root writes to /, but not so on Windows.
    folder = home if sys.platform == "win32" else "/"
    # The host gets no key of ours: it needs none to write its file.
    own = {name: value for name, value in env.items() if not name.startswith("VENICE_") and name not in _OF_THE_SHELL}
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=own,
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramFailed(f"could not be started: {error.strerror}") from None
    said = bytearray()
    reader = threading.Thread(target=_read, args=(process, process.stdout, said), daemon=True)
    try:
        reader.start()
        status = process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"did not end within {_PATIENCE_S} s and was ended") from None
    finally:
        _end(process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_WORDS_S)
        if reader.ident:
            reader.join(_LAST_WORDS_S)
    if len(said) > _MOST_SAID:
        raise ProgramFailed("wrote without end and was ended")
    if status:
        text = said.decode("utf-8", "replace").strip()
        raise ProgramFailed(f"failed with status {status}: {plain(Redactor().redact(text), _SHOWN)}")


def _read(process: "Popen[bytes]", stream: IO[bytes] | None, said: bytearray) -> None:
    if stream is None:
        return
    with stream:
        while chunk := os.read(stream.fileno(), 1 << 16):
            said += chunk
            if len(said) > _MOST_SAID:
                _end(process)
                break


def _end(process: "Popen[bytes]") -> None:
    """Kill what is left of its group; while there is anybody in it, its number is given to no other."""
    with suppress(OSError):
        kill_group(process.pid)
