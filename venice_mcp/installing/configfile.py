"""A host's configuration file: read with care, and replaced whole with a backup beside it, or not at all."""

import os
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from venice_mcp.systems import effective_user, flush, kept_private

_MOST = 8 * 1024 * 1024
_BOM = "\ufeff"
_NEW_FILE = 0o600


class Untouchable(Exception):
    """A file that is not written, and why; nothing was changed."""


@dataclass(frozen=True)
class ConfigFile:
    """What was read. `path` is where the file really is; `data` is None if there is no file."""

    path: Path
    data: bytes | None
    mode: int

    @property
    def text(self) -> str:
        """Its text; empty if there is no file.

        Raises:
            Untouchable: it is not UTF-8.
        """
        try:
            return (self.data or b"").decode("utf-8").removeprefix(_BOM)
        except UnicodeDecodeError:
            raise Untouchable("it is not UTF-8 text") from None


def read(path: Path) -> ConfigFile:
    """The file that a path leads to, over links too, if it is one that this user may be expected to change.

    Raises:
        Untouchable: it is somebody else's, write-protected, too large, or no file.
    """
    real = path
    try:
        real = path.resolve()
        if path.is_symlink() and not real.exists():
            raise Untouchable("it is a link that leads nowhere")
        with open(real, "rb", opener=_neither_following_nor_waiting) as opened:
            found = os.fstat(opened.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise Untouchable("it is not a file")
            if found.st_size > _MOST:
                raise Untouchable("it is larger than any configuration")
            _check_owner(found, real.parent)
            return ConfigFile(real, opened.read(_MOST + 1), stat.S_IMODE(found.st_mode))
    except FileNotFoundError:
        return ConfigFile(real, None, _NEW_FILE)
    except (OSError, RuntimeError) as error:  # the second: links in a circle
        raise Untouchable(f"it cannot be read: {getattr(error, 'strerror', None) or 'links in a circle'}") from None


def _neither_following_nor_waiting(path: str, flags: int) -> int:
    """Opens what is there itself, and does not block on a pipe that nobody writes."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def write(config: ConfigFile, text: str, now: datetime) -> Path | None:
    """Replace the file as a whole, with the mode that it had; where its backup is, if there was one to back up.

    Raises:
        Untouchable: it could not be, or somebody changed it meanwhile; it is as it was.
    """
    before = config.data or b""
    data = (_BOM if before.startswith(_BOM.encode()) else "").encode() + text.encode("utf-8")
    backup: Path | None = None
    new: str | None = None
    try:
        _check_folder(config.path.parent)
        if config.data is not None:
            if not config.mode & stat.S_IWUSR:
                raise Untouchable("it is write-protected")
            backup = _backup(config, now)
        file, new = tempfile.mkstemp(prefix=f".{config.path.name}.", dir=config.path.parent)
        with open(file, "wb") as opened:
            if sys.platform != "win32":
                os.fchmod(file, config.mode)
            opened.write(data)
            opened.flush()
            flush(file)
        if read(config.path).data != config.data:
            raise Untouchable("another program changed it at this moment; try again")
        os.replace(new, config.path)
    except BaseException as error:
        for left in (new, backup):
            if left is not None:
                with suppress(OSError):
                    os.unlink(left)
        if isinstance(error, OSError):
            raise Untouchable(f"it cannot be written: {error.strerror}") from None
        raise
    return backup


def _backup(config: ConfigFile, now: datetime) -> Path:
    """A copy beside it, under a name that nothing has yet."""
    stem = f"{config.path.name}.{now:%Y%m%d-%H%M%S}"
    for count in range(1, 100):
        path = config.path.with_name(f"{stem}.bak" if count == 1 else f"{stem}-{count}.bak")
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _NEW_FILE)
        except FileExistsError:
            continue
        with open(file, "wb") as opened:
            if sys.platform != "win32":
                os.fchmod(file, config.mode)
            opened.write(config.data or b"")
            opened.flush()
            flush(file)
        return path
    raise Untouchable("there are too many backups beside it")


def _check_owner(found: os.stat_result, folder: Path) -> None:
    if sys.platform != "win32":
        if found.st_uid != effective_user():
            raise Untouchable("it belongs to another user")
        if found.st_nlink > 1:
            raise Untouchable("it has several hard links, and replacing it would part them")
    _check_folder(folder)


def _check_folder(folder: Path) -> None:
    if not kept_private(folder):
        raise Untouchable("its folder is outside your profile")
    if sys.platform != "win32":
        found = folder.stat()
        if found.st_uid != effective_user():
            raise Untouchable("its folder belongs to another user")
        if found.st_mode & stat.S_IWOTH:
            raise Untouchable("everybody may write to its folder")
