"""Where this user's folders are as the system has them; HOME and the like are not asked.

A project that configures Claude Code sets variables for what the plugin starts. If those decided, a project could bring
the server's environment along, or turn off what asks before a write. Standard library only.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

_IDS = {
    "profile": "{5E6C858F-0E22-4760-9AFE-EA3317B67173}",
    "local": "{F1B32785-6FBA-4FCF-9D55-7B8E7F157091}",
}


def home() -> Path | None:
    """This user's home; None if the system knows none."""
    if sys.platform == "win32":
        return _known_folder("profile")
    import pwd

    try:
        folder = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return None
    return Path(folder) if os.path.isabs(folder) else None


def data_folder() -> Path | None:
    """Where the server's environment is."""
    return _in(_known_folder("local"), "venice-keys") or _in(home(), ".local/share/venice-keys")


def operator_file(name: str) -> Path | None:
    """A file beside the operator's policy, whether it exists or not (the same place as in venice_mcp.policy.places)."""
    below = "Library/Application Support" if sys.platform == "darwin" else ".config"
    return _in(_known_folder("local"), f"venice-mcp/{name}") or _in(home(), f"{below}/venice-mcp/{name}")


def is_the_operators(path: Path) -> bool:
    """Whether there is such a file, and nobody but this user and root can have made it.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if sys.platform == "win32":  # in the user's profile, where others may not write
        return stat.S_ISREG(found.st_mode)
    others = stat.S_IWGRP | stat.S_IWOTH
    both = (found, path.parent.stat())
    return stat.S_ISREG(found.st_mode) and all(
        each.st_uid in (0, os.getuid()) and not each.st_mode & others for each in both
    )


def _in(folder: Path | None, below: str) -> Path | None:
    return folder / below if folder else None


def _known_folder(which: str) -> Path | None:
    """A folder of Windows; None elsewhere."""
    if sys.platform != "win32":
        return None
    import ctypes
    import uuid
    from ctypes import wintypes

    found = wintypes.LPWSTR()
    identifier = (ctypes.c_byte * 16).from_buffer_copy(uuid.UUID(_IDS[which]).bytes_le)
    try:
        failed = ctypes.windll.shell32.SHGetKnownFolderPath(ctypes.byref(identifier), 0, None, ctypes.byref(found))
        return Path(found.value) if not failed and found.value else None
    finally:
        ctypes.windll.ole32.CoTaskMemFree(found)
