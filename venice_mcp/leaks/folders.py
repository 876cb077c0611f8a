"""Opening the folders that a scan was asked for."""

import os
import sys
from functools import cache
from typing import Final

from venice_mcp.leaks.walking import FOLDER_FLAGS

# File systems whose files are not stored anywhere: reading them may never end, or do something.
_PSEUDO: Final = frozenset(
    [
        "proc",
        "sysfs",
        "devtmpfs",
        "devpts",
        "cgroup",
        "cgroup2",
        "debugfs",
        "tracefs",
        "securityfs",
        "bpf",
        "configfs",
        "pstore",
        "mqueue",
        "autofs",
        "binfmt_misc",
        "efivarfs",
        "fusectl",
        "nsfs",
        "selinuxfs",
        "rpc_pipefs",
    ]
)


def can_walk() -> bool:
    """Whether this system opens files relative to a folder, without which no walk is safe."""
    return (
        sys.platform != "win32"
        and os.open in os.supports_dir_fd
        and os.scandir in os.supports_fd
        and hasattr(os, "O_NOFOLLOW")
    )


def expanded(folder: str) -> str | None:
    """`folder` with ~ put in full; None unless it is absolute then."""
    path = os.path.expanduser(folder)
    return os.path.normpath(path) if os.path.isabs(path) else None


def open_folder(path: str) -> int:
    """A handle of a real folder on a real file system.

    Raises:
        FolderError: it cannot be scanned; the text says why, in words that follow the folder's name.
    """
    try:
        handle = os.open(path, FOLDER_FLAGS)
    except OSError:
        raise FolderError(_problem(path)) from None
    if _kind(os.fstat(handle).st_dev) in _PSEUDO:
        os.close(handle)
        raise FolderError("is made up by the system and holds no files; name another")
    return handle


class FolderError(Exception):
    """Why a folder cannot be scanned."""


def _problem(path: str) -> str:
    if os.path.islink(path):
        return "is a symbolic link, and none is followed; name the folder it leads to"
    if not os.path.lexists(path):
        return "does not exist"
    return "is not a folder" if not os.path.isdir(path) else "may not be read"


def _kind(device: int) -> str | None:
    if sys.platform == "win32":
        return None
    return _kinds().get((os.major(device), os.minor(device)))


@cache
def _kinds() -> dict[tuple[int, int], str]:
    """The kind of every mounted file system by its device, where the system tells (Linux)."""
    kinds: dict[tuple[int, int], str] = {}
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                fields = line.split()
                major, _, minor = fields[2].partition(":")
                kinds[int(major), int(minor)] = fields[fields.index("-") + 1]
    except (OSError, ValueError, IndexError):
        return kinds
    return kinds


def enclosing_repository(path: str) -> str | None:
    """The folder above `path` that holds a .git, if any."""
    above = os.path.dirname(os.path.realpath(path))
    while True:
        if os.path.lexists(os.path.join(above, ".git")):
            return above
        if above == os.path.dirname(above):
            return None
        above = os.path.dirname(above)
