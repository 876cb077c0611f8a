"""What differs between operating systems: whose a file is, ending a group of processes, quoting for a shell.

Type checkers and readers see by `sys.platform` which branch is for which system; docs/PLATFORMS.md has the outcome.
"""

import ntpath
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

Folder = Literal["profile", "local"]

_KNOWN_FOLDERS: Final[dict[Folder, str]] = {
    "profile": "{5E6C858F-0E22-4760-9AFE-EA3317B67173}",
    "local": "{F1B32785-6FBA-4FCF-9D55-7B8E7F157091}",
}
# What cmd.exe and PowerShell take as it stands.
_BARE: Final = re.compile(r"[\w\\:.-]+")
# What means nothing to either of them within double quotes: no %, $, ` nor what PowerShell takes for a double quote.
_QUOTABLE: Final = re.compile(r"[\w\\:./ ~()+,=@#\[\]{}'&;!^-]+")
# All that PowerShell takes for a single quote; doubled, each stands for itself.
_SINGLE_QUOTES: Final = re.compile("(['\u2018\u2019\u201a\u201b])")


def effective_user() -> int:
    """The number of the user whose rights this process has; -1, which owns nothing, where there are none."""
    if sys.platform == "win32":
        return -1
    return os.geteuid()


def kill_group(leader: int) -> None:
    """Kill a process that leads its group, with all of the group; on Windows only the process itself.

    Raises:
        OSError: there is none, or it may not be killed.
    """
    import signal

    if sys.platform == "win32":
        os.kill(leader, signal.SIGTERM)  # which ends it at once there
    else:
        os.killpg(leader, signal.SIGKILL)


def flush(file: int) -> None:
    """Make what was written to a file last, also when the power fails.

    Raises:
        OSError: it could not be made sure.
    """
    if sys.platform == "darwin":
        import fcntl
        from contextlib import suppress

        # There fsync only hands it to the drive. File systems that know no better raise.
        with suppress(OSError):
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)
            return
    os.fsync(file)


def known_folder(which: Folder) -> Path | None:
    """This user's profile or local application data as Windows has it, not the environment; None elsewhere."""
    if sys.platform != "win32":
        return None
    import ctypes
    import uuid
    from ctypes import wintypes

    found = wintypes.LPWSTR()
    identifier = (ctypes.c_byte * 16).from_buffer_copy(uuid.UUID(_KNOWN_FOLDERS[which]).bytes_le)
    try:
        failed = ctypes.windll.shell32.SHGetKnownFolderPath(ctypes.byref(identifier), 0, None, ctypes.byref(found))
        return Path(found.value) if not failed and found.value else None
    finally:
        ctypes.windll.ole32.CoTaskMemFree(found)


def home() -> Path | None:
    """This user's home as the system has it, not the environment; None when it knows none."""
    if sys.platform == "win32":
        return known_folder("profile")
    import pwd

    try:
        folder = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return None
    return Path(folder) if os.path.isabs(folder) else None


def kept_private(folder: Path) -> bool:
    """On Windows, whether a folder lies in this user's profile, where others may not write unless they were let.

    Its access list is not read. Elsewhere True: there owner and permissions are looked at, which say more.
    """
    if sys.platform != "win32":
        return True
    real = os.path.realpath(folder)
    mine = [known for which in _KNOWN_FOLDERS if (known := known_folder(which)) is not None]
    return any(is_within(real, os.path.realpath(known)) for known in mine)


def is_within(path: str, folder: str) -> bool:
    """Whether a full path of Windows names the folder or something in it; letter case means nothing there."""
    inner, outer = (ntpath.normcase(ntpath.normpath(each)) for each in (path, folder))
    return inner == outer or inner.startswith(outer.rstrip("\\") + "\\")


def as_command(words: Sequence[str], *, windows: bool = sys.platform == "win32") -> str:
    """One line that runs a program when a person pastes it into a shell; on Windows into cmd.exe or PowerShell.

    Their rules of quoting differ, so a line must mean the same by both. It may not run anything else, whatever a
    folder is called: somebody else may have named it.
    """
    if not windows:
        return shlex.join(words)
    usual = all(_QUOTABLE.fullmatch(word) for word in words)
    if usual and _BARE.fullmatch(words[0]):
        return " ".join(word if _BARE.fullmatch(word) else _double_quoted(word) for word in words)
    # PowerShell takes a quoted program for a text unless & stands before it, and cmd.exe does not know that.
    call = "& " + " ".join(word if re.fullmatch(r"[\w.-]+", word) else _single_quoted(word) for word in words)
    if usual:
        return f'powershell -NoProfile -Command "{call}"'
    from base64 import b64encode

    # Names with %, $ or odd quotes have no spelling that both leave alone.
    return f"powershell -NoProfile -EncodedCommand {b64encode(call.encode('utf-16-le')).decode()}"


def _double_quoted(word: str) -> str:
    # Programs read \" as a quote that belongs to the word.
    trailing = len(word) - len(word.rstrip("\\"))
    return '"' + word + "\\" * trailing + '"'


def _single_quoted(word: str) -> str:
    return "'" + _SINGLE_QUOTES.sub(r"\1\1", word) + "'"
