"""The environment the plugin's server runs in: where it is, whether it is whole, and what was said while it was made.

`making` makes it. Each version of the plugin in each place has one of its own, so that none runs another's code.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = Path(__file__).resolve().parent / "requirements.lock"
_READ = 64 * 1024
_TAIL = 600
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_ADDRESS = re.compile(r"(\w+://)([^\s'\"`<>]*)")
_PATH_OF_ADDRESS = re.compile(r"(url|['\"]): /\S*")


def folder(data: Path) -> Path:
    """Where it is. Its name tells what is in it: these packages, and a pointer to this version of the plugin."""
    content = LOCK.read_bytes() + b"\n" + os.fsencode(str(ROOT))
    return data / f"env-{hashlib.sha256(content).hexdigest()[:12]}"


def python(data: Path) -> Path:
    return folder(data) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def stamp(data: Path) -> Path:
    """A file that is there when the environment is whole, and as old as its last use."""
    return folder(data) / "whole"


def pointer(data: Path) -> Path:
    """The file that has the environment import this version of the plugin.

    Raises:
        OSError: the environment has no place for it.
    """
    if os.name == "nt":
        return folder(data) / "Lib" / "site-packages" / "venice_keys.pth"
    for packages in folder(data).glob("lib/python*/site-packages"):
        return packages / "venice_keys.pth"
    raise FileNotFoundError("no site-packages")


def state(data: Path) -> str:
    """What the stamp holds: which Python the environment was made with, and for which of its versions.

    Raises:
        OSError: something of it is gone.
    """
    real = os.path.realpath(python(data))
    about, place = os.stat(real), pointer(data)
    place.stat()
    return ascii([real, about.st_size, about.st_mtime_ns, str(place.relative_to(folder(data)))])


def is_ready(data: Path) -> bool:
    """Whether the environment was found to be whole, and its Python is still the one that it was then."""
    try:
        return stamp(data).read_text(encoding="ascii") == state(data)
    except (OSError, ValueError):
        return False


def command(data: Path) -> list[str]:
    """What runs the server. -I: nothing is imported from the folder a person works in, or from where a project says."""
    with suppress(OSError):  # the folder may be one that only others write to
        os.utime(stamp(data))
    return [str(python(data)), "-I", "-m", "venice_mcp"]


# --- what was said --------------------------------------------------------------------------------


def log(data: Path) -> Path:
    return data / "install.log"


def problem(data: Path) -> str:
    """What the last attempt said at its end, on one line, for a model to read."""
    try:
        with log(data).open("rb") as file:
            begin = max(file.seek(0, os.SEEK_END) - _READ, 0)
            file.seek(begin)
            said = file.read(_READ).decode("utf-8", errors="replace")
    except OSError:
        return "nothing was said"
    # A line that was cut could lack what tells that a part of it is a secret.
    return presentable(said.partition("\n")[2] if begin else said)[-_TAIL:] or "nothing was said"


def presentable(text: str) -> str:
    """On one line, without control characters, and of each address only its host: the rest may hold a token."""
    shown = "".join(each if each.isprintable() else " " for each in _ESCAPES.sub("", text))
    shown = _PATH_OF_ADDRESS.sub(r"\1: /***", _ADDRESS.sub(_host_only, shown))
    return " ".join(re.sub(r"\?\S*=\S*", "?***", shown).split())


def _host_only(found: re.Match[str]) -> str:
    place = re.split("[/?#]", found[2], maxsplit=1)[0]
    rest = found[2][len(place) :]
    host = "***" if "@" in rest else place.rpartition("@")[2]
    return f"{found[1]}{host}{'/***' if rest.strip('/') else ''}"
