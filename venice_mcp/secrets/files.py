"""Delivery of a new key to a private file that is made before the key, so that a bad path costs no key."""

import os
import stat
import sys
from contextlib import suppress
from typing import Final

from venice_mcp.secrets.folders import (
    PRIVATE,
    Place,
    checked_place,
    create,
    named,
    open_existing,
    open_folder,
    reserve,
    sync_folder,
    write_all,
)
from venice_mcp.secrets.sinks import OneDelivery, SinkError, reason
from venice_mcp.secrets.tracking import git_notes
from venice_mcp.secrets.types import Secret

# More than any key.
_RESERVED: Final = 4096


class PreparedFile(OneDelivery):
    """A new, empty file that only its owner can read, waiting for one secret."""

    def __init__(self, place: Place, folder: int, file: int, notes: tuple[str, ...]) -> None:
        super().__init__(named(place.path), notes)
        self.path = place.path
        self._name = place.name
        self._folder = folder
        self._file = file

    def _deliver(self, secret: Secret) -> str | None:
        """Write the secret and a line feed, and make sure that they are on disk, at `path`, for the owner only."""
        try:
            data = (secret.reveal() + "\n").encode()
        except UnicodeEncodeError:
            return "it is not valid text"
        try:
            write_all(self._file, data)
            sync_folder(self._folder)
            os.lseek(self._file, 0, os.SEEK_SET)
            if os.read(self._file, len(data) + 1) != data:
                return "reading it back gave something else"
            if not self._is_ours(os.stat(self.path, follow_symlinks=False)):
                return "another file took its place"
            if stat.S_IMODE(os.fstat(self._file).st_mode) != PRIVATE:
                return "its permissions were changed"
        except OSError as error:
            return reason(error)
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


class FileSink:
    """Makes the private file for a secret that does not exist yet."""

    @staticmethod
    def prepare(path: str, folders: tuple[str, ...] | None = None) -> PreparedFile:
        """Make a new empty file at `path` (absolute, or beginning with ~) that only its owner can read.

        Raises:
            SinkError: the path is unsuitable, taken or not within `folders`; nothing was changed.
        """
        place = checked_place(path)
        folder = open_folder(place, folders, sticky=True)
        try:
            notes = git_notes(os.fstat(folder), place)
            file = _create(place, folder)
        except BaseException:
            os.close(folder)
            raise
        prepared = PreparedFile(place, folder, file, notes)
        try:
            if not hold(file):
                raise SinkError(f"another program uses {named(path)}")
            reserve(file, _RESERVED)
        except SinkError:
            prepared.discard()
            raise
        except OSError as error:
            prepared.discard()
            raise SinkError(f"{named(path)} cannot be prepared: {reason(error)}") from None
        return prepared


def file_notes(path: str, folders: tuple[str, ...] | None, *, over_leftover: bool) -> tuple[str, ...]:
    """What to know about a file that does not exist yet, or only as one that a crash left before it had a secret.

    Raises:
        SinkError: the path is unsuitable, taken or not within `folders`.
    """
    place = checked_place(path)
    folder = open_folder(place, folders, sticky=True)
    try:
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder):
            raise SinkError(f"{named(path)} cannot be made: its folder is not writable")
        try:
            os.stat(place.name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return git_notes(os.fstat(folder), place)
        except OSError as error:
            raise SinkError(f"{named(path)} cannot be made: {reason(error)}") from None
        notes = git_notes(os.fstat(folder), place)
    finally:
        os.close(folder)
    if not (over_leftover and _is_left(path, folders)):
        raise SinkError(f"{named(path)} already exists, and nothing is overwritten")
    return notes


def _is_left(path: str, folders: tuple[str, ...] | None) -> bool:
    try:
        data = content(path, folders)
    except SinkError:
        return False
    return data is not None and is_leftover(data)


def hold(file: int) -> bool:
    """Lock a file that was prepared, for as long as it is open: so it can be told from one that a crash has left.

    False if another program holds it; where there are no locks, nobody does.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _create(place: Place, folder: int) -> int:
    try:
        return create(place.name, folder)
    except FileExistsError:
        raise SinkError(f"{named(place.path)} already exists, and nothing is overwritten") from None
    except OSError as error:
        raise SinkError(f"{named(place.path)} cannot be made: {reason(error)}") from None


def content(path: str, folders: tuple[str, ...] | None) -> bytes | None:
    """What the file holds, as far as a secret would reach; None if there is no file.

    Raises:
        SinkError: it cannot be read, or is not a private file as this module makes it.
    """
    place = checked_place(path)
    folder = open_folder(place, folders, sticky=True)
    try:
        file = open_existing(place, folder)
        if file is None:
            return None
        try:
            if stat.S_IMODE(os.fstat(file).st_mode) != PRIVATE:
                raise SinkError(f"{named(path)} is not for its owner only")
            return os.read(file, _RESERVED + 1)
        except OSError as error:
            raise SinkError(f"{named(path)} cannot be read: {reason(error)}") from None
        finally:
            os.close(file)
    finally:
        os.close(folder)


def clear(path: str) -> None:
    """Remove the file if it was prepared, never written, and nobody is about to write it.

    Raises:
        SinkError: it cannot be looked at.
    """
    place = checked_place(path)
    folder = open_folder(place, None, sticky=True)
    try:
        file = open_existing(place, folder)
        if file is None:
            return
        try:
            status = os.fstat(file)
            private = stat.S_IMODE(status.st_mode) == PRIVATE
            if private and hold(file) and is_leftover(os.read(file, _RESERVED + 1)):
                found = os.stat(place.name, dir_fd=folder, follow_symlinks=False)
                if os.path.samestat(found, status):
                    os.unlink(place.name, dir_fd=folder)
        finally:
            os.close(file)
    finally:
        os.close(folder)


def is_leftover(data: bytes) -> bool:
    """Whether this is what a file holds that was prepared and never written: nothing, or the space reserved."""
    return len(data) <= _RESERVED and not data.strip(b"\0")
