"""Delivery of a new key to a private file that is made before the key, so that a bad path costs no key."""

import os
import stat
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from venice_mcp.secrets.shapes import KEY_SHAPE
from venice_mcp.secrets.types import Secret

_MODE: Final = 0o600
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
# More than any key: with the space reserved, a full disk is noticed before there is a key to lose.
_RESERVED: Final = 4096


class SinkError(OSError):
    """A secret could not be delivered. The message names the reason and never the secret."""


def _reason(error: OSError) -> str:
    # Not str(error), which ends with the raw path.
    return os.strerror(error.errno) if error.errno else "unknown reason"


class PreparedFile:
    """A new, empty file that only its owner can read, waiting for one secret.

    As a context manager it removes the file again unless the secret was written.
    """

    def __init__(self, path: str, name: str, folder: int, file: int) -> None:
        self.path = path
        self._name = name
        self._folder = folder
        self._file = file
        self._open = True
        self._written = False

    def write(self, secret: Secret) -> None:
        """Write `secret` and a line feed, and make sure that they are on disk, at `path`, for the owner only.

        Raises:
            SinkError: any of this failed; the file is wiped and removed.
        """
        if not self._open:
            raise SinkError("this file was already written or discarded; nothing was written now")
        problem = self._deliver(secret)
        if problem:
            self.discard()
            raise SinkError(f"the secret was not saved to {_quoted(self.path)}: {problem}")
        self._written = True
        self._close()

    def _deliver(self, secret: Secret) -> str | None:
        """The problem, if any; returned, because an exception would carry the secret in its context."""
        try:
            data = (secret.reveal() + "\n").encode()
        except UnicodeEncodeError:
            return "it is not valid text"
        try:
            rest = data
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.ftruncate(self._file, len(data))
            os.fsync(self._file)
            _sync_folder(self._folder)
            if os.pread(self._file, len(data) + 1, 0) != data:
                return "reading it back gave something else"
            if not self._is_ours(os.stat(self.path, follow_symlinks=False)):
                return "another file took its place"
            if stat.S_IMODE(os.fstat(self._file).st_mode) != _MODE:
                return "its permissions were changed"
        except OSError as error:
            return _reason(error)
        return None

    def discard(self) -> None:
        """Wipe, close and remove the file, unless the secret was written; whatever took its place stays."""
        if not self._open:
            return
        with suppress(OSError):
            os.ftruncate(self._file, 0)
        with suppress(OSError):
            if self._is_ours(os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)):
                os.unlink(self._name, dir_fd=self._folder)
        self._close()

    def _is_ours(self, found: os.stat_result) -> bool:
        return os.path.samestat(found, os.fstat(self._file))

    def _close(self) -> None:
        self._open = False
        for descriptor in (self._file, self._folder):
            with suppress(OSError):
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard()


class FileSink:
    """Makes the private file for a secret that does not exist yet."""

    @staticmethod
    def prepare(path: str) -> PreparedFile:
        """Make a new empty file at `path` (absolute, or beginning with ~) that only its owner can read.

        Raises:
            SinkError: the path is unsuitable or taken; nothing was changed.
        """
        path, parent, name = _checked(path)
        folder = _open_folder(parent)
        try:
            file = _create(path, name, folder)
        except BaseException:
            os.close(folder)
            raise
        prepared = PreparedFile(path, name, folder, file)
        try:
            # umask may have taken permissions away, and an inherited ACL may have granted some.
            os.fchmod(file, _MODE)
            _reserve(file)
        except OSError as error:
            prepared.discard()
            raise SinkError(f"{_quoted(path)} cannot be prepared: {_reason(error)}") from None
        return prepared


def _quoted(path: str) -> str:
    return repr(path if len(path) <= 200 else path[:200] + "...")


def _checked(path: str) -> tuple[str, str, str]:
    """The expanded path, its folder and its name."""
    if KEY_SHAPE.search(path):
        raise SinkError("the path contains a key; give the path of a file that does not exist yet")
    if not path.isprintable():
        raise SinkError("the path contains control or invisible characters")
    if not hasattr(os, "fchmod") or os.open not in os.supports_dir_fd:
        raise SinkError("this system offers no way to make a private file safely")
    expanded = os.path.expanduser(path)
    if not os.path.isabs(expanded):
        raise SinkError(f"{_quoted(path)} is not an absolute path")
    parent, name = os.path.split(expanded)
    if name in ("", ".", ".."):
        raise SinkError(f"{_quoted(path)} does not name a file")
    return expanded, parent, name


def _open_folder(parent: str) -> int:
    try:
        folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SinkError(f"the folder {_quoted(parent)} cannot be opened: {_reason(error)}") from None
    status = os.fstat(folder)
    shared = status.st_mode & _WRITABLE_BY_OTHERS
    # In a sticky folder such as /tmp only the owners of the file and of the folder can replace the file.
    protected = status.st_mode & stat.S_ISVTX and status.st_uid in (0, os.geteuid())
    if shared and not protected:
        os.close(folder)
        raise SinkError(f"others may write to the folder {_quoted(parent)}; choose a folder that only you can write to")
    return folder


def _create(path: str, name: str, folder: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, _MODE, dir_fd=folder)
    except FileExistsError:
        raise SinkError(f"{_quoted(path)} already exists, and nothing is overwritten") from None
    except OSError as error:
        raise SinkError(f"{_quoted(path)} cannot be made: {_reason(error)}") from None


def _reserve(file: int) -> None:
    from errno import EINVAL, ENOSYS, ENOTSUP, EOPNOTSUPP

    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, _RESERVED)
    except OSError as error:
        if error.errno not in (EINVAL, ENOSYS, ENOTSUP, EOPNOTSUPP):
            raise


def _sync_folder(folder: int) -> None:
    from errno import EINVAL, ENOTSUP

    try:
        os.fsync(folder)
    except OSError as error:
        # Some file systems cannot, and then a folder needs no sync of its own.
        if error.errno not in (EINVAL, ENOTSUP):
            raise
