"""Folders and files opened so that nobody else can put something in their place."""

import os
import stat
import sys
from contextlib import suppress
from typing import Final, NamedTuple

from venice_mcp.secrets.shapes import KEY_SHAPE
from venice_mcp.secrets.sinks import SinkError, reason
from venice_mcp.systems import effective_user, flush
from venice_mcp.text import quoted

PRIVATE: Final = 0o600
OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
SHOWN_PATH: Final = 300
"""Longer paths are refused: what a person approves must be seen whole."""
NO_PRIVATE_FILES: Final = (
    "this system offers no way to make a private file safely; a secret can go to the keyring or be displayed"
)


class Place(NamedTuple):
    """A path that was expanded and taken apart; nothing was looked up yet."""

    path: str
    parent: str
    name: str


def named(path: str) -> str:
    """A path for a message."""
    return quoted(path, SHOWN_PATH)


def checked_place(path: str) -> Place:
    """The place that `path` (absolute, or beginning with ~) names.

    Raises:
        SinkError: it names no file, or cannot be shown to a person as it is.
    """
    if KEY_SHAPE.search(path):
        raise SinkError("the path contains a key; give the path of a file")
    if not path.isprintable():
        raise SinkError("the path contains control or invisible characters")
    if sys.platform == "win32" or os.open not in os.supports_dir_fd:
        raise SinkError(NO_PRIVATE_FILES)
    expanded = os.path.expanduser(path)
    if not os.path.isabs(expanded):
        raise SinkError(f"{named(path)} is not an absolute path and does not begin with ~/")
    if len(expanded) > SHOWN_PATH:
        raise SinkError(f"the path is too long; at most {SHOWN_PATH} characters can be shown to a person")
    if named(expanded) != f'"{expanded}"':
        raise SinkError("the path contains quotes, repeated spaces or characters that cannot be shown as they are")
    parent, name = os.path.split(expanded)
    if name in ("", ".", ".."):
        raise SinkError(f"{named(path)} does not name a file")
    return Place(expanded, parent, name)


def open_folder(place: Place, allowed: tuple[str, ...] | None, *, sticky: bool) -> int:
    """A descriptor of the folder, which is one of `allowed` or lies within one.

    Args:
        place: in it.
        allowed: real and symbolic paths, ~ included; None is any.
        sticky: whether a folder like /tmp will do, where others may write but not replace what is ours.

    Raises:
        SinkError: it cannot be opened, others may write to it, or it is not allowed.
    """
    parent = place.parent
    if sys.platform == "win32":
        raise SinkError(NO_PRIVATE_FILES)
    try:
        folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SinkError(f"the folder {named(parent)} cannot be opened: {reason(error)}") from None
    try:
        _refuse_shared(parent, os.fstat(folder), sticky)
        if allowed is not None:
            _refuse_outside(parent, folder, allowed)
    except BaseException:
        os.close(folder)
        raise
    return folder


def _refuse_shared(parent: str, status: os.stat_result, sticky: bool) -> None:
    # In a sticky folder such as /tmp only the owners of the file and of the folder can replace the file.
    protected = sticky and status.st_mode & stat.S_ISVTX and status.st_uid in (0, effective_user())
    if status.st_mode & OTHERS_MAY_WRITE and not protected:
        raise SinkError(f"others may write to the folder {named(parent)}; choose a folder that only you can write to")


def _refuse_outside(parent: str, folder: int, allowed: tuple[str, ...]) -> None:
    names = ", ".join(named(each) for each in allowed) or "none at all"
    outside = SinkError(
        f"the folder {named(parent)} is not within the folders that this server's policy allows: {names}"
    )
    try:
        real = os.path.realpath(parent, strict=True)
        found = os.lstat(real)
    except OSError:
        raise outside from None
    # The path was followed twice, by open() and now: only if both led to the same folder is `real` its name.
    if not os.path.samestat(found, os.fstat(folder)) or not any(_is_within(real, each) for each in allowed):
        raise outside


def _is_within(real: str, allowed: str) -> bool:
    root = os.path.expanduser(allowed)
    return os.path.isabs(root) and os.path.commonpath([real, top := os.path.realpath(root)]) == top


def create(name: str, folder: int) -> int:
    """A descriptor of a new empty file for the owner only, whatever umask and inherited rights say.

    Raises:
        OSError: there is one already, even if it is a symbolic link that leads nowhere, or none can be made.
    """
    if sys.platform == "win32":
        raise SinkError(NO_PRIVATE_FILES)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(name, flags, PRIVATE, dir_fd=folder)
    try:
        os.fchmod(file, PRIVATE)
    except OSError:
        os.close(file)
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
        raise
    return file


def reserve(file: int, size: int) -> None:
    """Take space for `size` bytes, so that a full disk is noticed before there is a key to lose.

    Raises:
        OSError: there is not enough.
    """
    from errno import EINVAL, ENOSYS, ENOTSUP, EOPNOTSUPP

    if sys.platform == "win32":
        return
    if sys.platform == "darwin" or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in (EINVAL, ENOSYS, ENOTSUP, EOPNOTSUPP):
            raise


def write_all(file: int, data: bytes) -> None:
    """Make `data` all that the file holds, on disk."""
    rest = data
    while rest:
        rest = rest[os.write(file, rest) :]
    os.ftruncate(file, len(data))
    flush(file)


def sync_folder(folder: int) -> None:
    """Make what was made, renamed or removed in the folder last."""
    from errno import EINVAL, ENOTSUP

    try:
        flush(folder)
    except OSError as error:
        # Some file systems cannot, and then a folder needs no sync of its own.
        if error.errno not in (EINVAL, ENOTSUP):
            raise


def open_existing(place: Place, folder: int) -> int | None:
    """A descriptor of the file to read; None if there is none.

    Raises:
        SinkError: it is not a plain file of this user that has only this name.
    """
    if sys.platform == "win32":
        raise SinkError(NO_PRIVATE_FILES)
    try:
        # Looked at before it is opened: opening a device can act on it, and opening a pipe waits.
        kind = os.stat(place.name, dir_fd=folder, follow_symlinks=False)
        _refuse_odd(place, kind)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(place.name, flags, dir_fd=folder)
    except FileNotFoundError:
        return None
    except SinkError:
        raise
    except OSError as error:
        raise SinkError(f"{named(place.path)} cannot be opened: {reason(error)}") from None
    try:
        _refuse_odd(place, os.fstat(file))
    except SinkError:
        os.close(file)
        raise
    return file


def _refuse_odd(place: Place, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise SinkError(f"{named(place.path)} is a symbolic link; name the file itself")
    if not stat.S_ISREG(status.st_mode):
        raise SinkError(f"{named(place.path)} is not a plain file")
    if status.st_uid != effective_user():
        raise SinkError(f"{named(place.path)} belongs to another user")
    if status.st_nlink > 1:
        raise SinkError(f"{named(place.path)} has other names (hard links), under which the secret would be missing")
