"""A file of moderate size, exchanged as a whole: locked, read, replaced by a new private file, or put back."""

import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from venice_mcp.secrets.folders import (
    NO_PRIVATE_FILES,
    Place,
    create,
    named,
    open_existing,
    open_folder,
    reserve,
    sync_folder,
    write_all,
)
from venice_mcp.secrets.sinks import SinkError, reason

NARROWS: Final = "only its owner can read the file from then on"

_MOST_BYTES: Final = 1 << 20
_ATTEMPTS: Final = 3
# Besides the file as it is: room for a line with any key.
_RESERVED: Final = 4096
# What a file that was small enough may have grown to when it is read again.
_MOST_READ: Final = _MOST_BYTES + (1 << 16)
# One per folder, because the lock is the folder's: whoever holds it may remove one that a crash has left. The name
# is among those that ignore files for .env files often cover.
BESIDE: Final = ".env.venice-mcp-tmp"
_PATIENCE_S: Final = 5.0
_PAUSE_S: Final = 0.02


class Content(NamedTuple):
    """The file as it was read; `status` is None where there is none."""

    data: bytes
    status: os.stat_result | None


@contextmanager
def locked(place: Place, folders: tuple[str, ...] | None) -> Generator[int]:
    """A descriptor of the folder, locked among all who edit a file in it by this module."""
    if sys.platform == "win32":
        raise SinkError(NO_PRIVATE_FILES)
    import fcntl

    folder = open_folder(place, folders, sticky=False)
    try:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise SinkError(f"another program keeps the folder {named(place.parent)} locked") from None
            except OSError as error:
                raise SinkError(f"the folder {named(place.parent)} cannot be locked: {reason(error)}") from None
            time.sleep(_PAUSE_S)
        yield folder
    finally:
        # Closing unlocks.
        os.close(folder)


def read(place: Place, folder: int) -> Content:
    """The file as it is now.

    Raises:
        SinkError: it cannot be read, or could not be replaced.
    """
    file = open_existing(place, folder)
    if file is None:
        return Content(b"", None)
    try:
        status = os.fstat(file)
        if status.st_dev != os.fstat(folder).st_dev:
            raise SinkError(f"{named(place.path)} is mounted by itself and cannot be replaced")
        data = b""
        while len(data) <= _MOST_READ and (more := os.read(file, _MOST_READ + 1 - len(data))):
            data += more
    except SinkError:
        raise
    except OSError as error:
        raise SinkError(f"{named(place.path)} cannot be read: {reason(error)}") from None
    finally:
        os.close(file)
    if len(data) > _MOST_READ:
        raise _too_large(place)
    return Content(data, status)


def _too_large(place: Place) -> SinkError:
    return SinkError(f"{named(place.path)} is larger than 1 MiB")


def try_out(place: Place, folder: int, size: int) -> None:
    """Make and remove a file as large as the edited one could be.

    Raises:
        SinkError: it cannot be made, or the file is too large to be edited.
    """
    if size > _MOST_BYTES:
        raise _too_large(place)
    try:
        file = _beside(folder)
        try:
            reserve(file, size + _RESERVED)
        finally:
            os.close(file)
            os.unlink(BESIDE, dir_fd=folder)
    except OSError as error:
        raise SinkError(f"{named(place.path)} cannot be prepared: {reason(error)}") from None


def _beside(folder: int) -> int:
    """A new empty file next to the one to be replaced; one that a crash has left is removed."""
    with suppress(FileNotFoundError):
        os.unlink(BESIDE, dir_fd=folder)
    return create(BESIDE, folder)


def edited(place: Place, folder: int, change: Callable[[bytes], bytes], has_it: Callable[[bytes], bool]) -> str | None:
    """Put what `change` makes of the file in its place and read it back; the problem, if any, and then it is undone.

    Args:
        place: the file.
        folder: locked.
        change: called again if another program changed the file meanwhile.
        has_it: whether a file of this content has what it was changed for.

    Raises:
        SinkError, OSError: nothing was changed.
    """
    for _ in range(_ATTEMPTS):
        before = read(place, folder)
        after = change(before.data)
        if not has_it(after):
            return "the file cannot be edited safely"
        status = install(place, folder, after, before)
        if status is None:
            continue
        problem = _problem_with(place, folder, status, has_it)
        if problem is not None:
            problem += put_back(place, folder, before, status)
        return problem
    return "another program keeps changing the file"


def _problem_with(place: Place, folder: int, status: os.stat_result, has_it: Callable[[bytes], bool]) -> str | None:
    """What is wrong with the file that was put there, if anything."""
    try:
        sync_folder(folder)
        now = read(place, folder)
        if now.status is None or not os.path.samestat(now.status, status):
            return "another file took its place"
        # Not all of it: somebody may have added a line to the new file already.
        if not has_it(now.data):
            return "reading it back gave something else"
        if not os.path.samestat(os.stat(place.path, follow_symlinks=False), status):
            return "another folder took the place of its folder"
    except SinkError as error:
        return str(error)
    except OSError as error:
        return reason(error)
    return None


def install(place: Place, folder: int, data: bytes, before: Content) -> os.stat_result | None:
    """Put `data` in the place of what was read before, and return the new file; None if that has changed meanwhile.

    Raises:
        OSError: it cannot be done; nothing was changed.
    """
    file = _beside(folder)
    try:
        write_all(file, data)
        if not _is_unchanged(place, folder, before.status):
            _wipe(file, folder)
            return None
        status = os.fstat(file)
        # The last step: what fails after it must not wipe the file that is now in its place.
        os.rename(BESIDE, place.name, src_dir_fd=folder, dst_dir_fd=folder)
        return status
    except OSError:
        _wipe(file, folder)
        raise
    finally:
        os.close(file)


def _wipe(file: int, folder: int) -> None:
    with suppress(OSError):
        os.ftruncate(file, 0)
    with suppress(OSError):
        os.unlink(BESIDE, dir_fd=folder)


def _is_unchanged(place: Place, folder: int, before: os.stat_result | None) -> bool:
    try:
        now = os.stat(place.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return before is None
    if before is None:
        return False
    same = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
    return all(getattr(now, name) == getattr(before, name) for name in same)


def put_back(place: Place, folder: int, before: Content, ours: os.stat_result) -> str:
    """Undo what was installed, unless somebody has put another file there; words to add if that failed."""
    try:
        now = os.stat(place.name, dir_fd=folder, follow_symlinks=False)
        if not os.path.samestat(now, ours):
            return ""
        if before.status is None:
            os.unlink(place.name, dir_fd=folder)
        elif install(place, folder, before.data, Content(b"", now)) is None:
            return "; what it held before could not be put back"
        sync_folder(folder)
    except FileNotFoundError:
        return ""
    except OSError:
        return "; what it held before could not be put back"
    return ""
