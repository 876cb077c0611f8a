"""A host's configuration file: read with care, copied, and replaced as a whole or not at all."""

import os
import stat
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from venice_mcp.systems import effective_user, flush, kept_private
from venice_mcp.text import plain

_MOST = 256 * 1024 * 1024  # some hosts keep whole conversations beside their settings
_PATIENCE_S = 5.0
_PAUSE_S = 0.02
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
    group: int | None = None

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
            return ConfigFile(real, opened.read(_MOST + 1), stat.S_IMODE(found.st_mode), found.st_gid)
    except FileNotFoundError:
        return ConfigFile(real, None, _NEW_FILE)
    except (OSError, RuntimeError) as error:  # the second: links in a circle
        raise Untouchable(f"it cannot be read: {getattr(error, 'strerror', None) or 'links in a circle'}") from None


def _neither_following_nor_waiting(path: str, flags: int) -> int:
    """Opens what is there itself, and does not block on a pipe that nobody writes."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """Holds a lock of the folder, so that of several that do so one works at a time; not on Windows.

    Raises:
        Untouchable: another one works for long.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        file = os.open(folder, os.O_RDONLY)
    except OSError:  # what needs it says more
        yield
        return
    try:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Untouchable("another venice-mcp install is at work") from None
                time.sleep(_PAUSE_S)
                continue
            except OSError:  # of a file system without locks
                pass
            break
        yield
    finally:
        os.close(file)


def keep_copy(path: Path, config: ConfigFile) -> Path | None:
    """A copy for its owner beside the file as it is named, in place of an earlier one; None if there is no file.

    Raises:
        Untouchable: none could be made.
    """
    if config.data is None:
        return None
    copy = path.with_name(f"{path.name}.venice-mcp.bak")
    _replace(copy, config.data, _NEW_FILE)
    return copy


def write(config: ConfigFile, text: str) -> None:
    """Replace the file as a whole, with the mode and group that it had.

    Raises:
        Untouchable: it could not be, or somebody changed it meanwhile; it is as it was.
    """
    before = config.data or b""
    start = _BOM if before.startswith(_BOM.encode()) else ""
    _replace(config.path, (start + text).encode(), config.mode, config)


def _replace(path: Path, data: bytes, mode: int, expected: ConfigFile | None = None) -> None:
    new = ""
    try:
        _check_folder(path.parent)
        file, new = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(file, "wb") as opened:
            if sys.platform != "win32":
                if expected and expected.group is not None and not _given_to(file, expected.group):
                    mode &= ~stat.S_IRWXG
                os.fchmod(file, mode)
            opened.write(data)
            opened.flush()
            flush(file)
        if expected and read(path).data != expected.data:
            raise Untouchable("another program changed it at this moment; try again")
        os.replace(new, path)
    except BaseException as error:
        if new:
            with suppress(OSError):  # it has its place already
                os.unlink(new)
        if isinstance(error, OSError):
            raise Untouchable(f"{plain(path.name)} cannot be written: {error.strerror}") from None
        raise


def _given_to(file: int, group: int) -> bool:
    if sys.platform != "win32":
        try:
            os.fchown(file, -1, group)
        except OSError:
            return False
    return True


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
