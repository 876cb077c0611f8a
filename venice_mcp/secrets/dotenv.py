"""Delivery of a new key into one variable of a .env file: atomic, under a lock, and private afterwards."""

import os
import re
import stat
from typing import Final

from venice_mcp.secrets.envtext import changed, fits, found
from venice_mcp.secrets.exchange import BESIDE, install, locked, put_back, read, try_out
from venice_mcp.secrets.folders import Place, checked_place, named, open_folder, sync_folder
from venice_mcp.secrets.sinks import OneDelivery, SinkError, check_variable, reason
from venice_mcp.secrets.tracking import git_notes
from venice_mcp.secrets.types import Secret

REPLACES: Final = "replaces the value it has now"
LAST_OF_SEVERAL: Final = "the file sets it more than once; the last place, which programs go by, is changed"
NARROWS: Final = "only its owner can read the file from then on"

_NAME: Final = re.compile(r"\.env(?:\.[A-Za-z0-9_-][A-Za-z0-9_.-]*)?|[A-Za-z0-9_-][A-Za-z0-9_.-]*\.env")
_ATTEMPTS: Final = 3


class PreparedVariable(OneDelivery):
    """A variable of a .env file that can be set."""

    def __init__(
        self,
        place: Place,
        variable: str,
        folders: tuple[str, ...] | None,
        folder: os.stat_result,
        notes: tuple[str, ...],
    ) -> None:
        super().__init__(f"{variable} in {named(place.path)}", notes)
        self._at = place
        self._variable = variable
        self._folders = folders
        self._folder = folder

    def _deliver(self, secret: Secret) -> str | None:
        """Set the variable in the file as it is now, which may be another than was prepared for."""
        try:
            value = secret.reveal().encode()
        except UnicodeEncodeError:
            return "it is not valid text"
        if not fits(value):
            return "it has characters that a .env file could not hold safely"
        try:
            with locked(self._at, self._folders) as folder:
                if not os.path.samestat(os.fstat(folder), self._folder):
                    return "another folder took the place of its folder"
                return self._set(folder, value)
        except SinkError as error:
            return str(error)
        except OSError as error:
            return reason(error)

    def _set(self, folder: int, value: bytes) -> str | None:
        for _ in range(_ATTEMPTS):
            before = read(self._at, folder)
            after = changed(before.data, self._variable, value)
            if found(after, self._variable).value != value:
                return "the file cannot be edited safely"
            status = install(self._at, folder, after, before)
            if status is None:
                continue
            problem = self._problem_with(folder, status, value)
            if problem is not None:
                problem += put_back(self._at, folder, before, status)
            return problem
        return "another program keeps changing the file"

    def _problem_with(self, folder: int, status: os.stat_result, value: bytes) -> str | None:
        """What is wrong with the file that was put there, if anything."""
        try:
            sync_folder(folder)
            now = read(self._at, folder)
            if now.status is None or not os.path.samestat(now.status, status):
                return "another file took its place"
            # Only the value: somebody may have added a line to the new file already.
            if found(now.data, self._variable).value != value:
                return "reading it back gave something else"
            if not os.path.samestat(os.stat(self._at.path, follow_symlinks=False), status):
                return "another folder took the place of its folder"
        except SinkError as error:
            return str(error)
        except OSError as error:
            return reason(error)
        return None


def prepare_variable(path: str, variable: str, folders: tuple[str, ...] | None) -> PreparedVariable:
    """Find out whether `variable` can be set in the .env file at `path`, which need not exist; nothing is changed.

    Raises:
        SinkError: it cannot, or should not.
    """
    check_variable(variable)
    place = _checked(path)
    with locked(place, folders) as folder:
        content = read(place, folder)
        try:
            now = found(content.data, variable)
            # Shows that a line for it can be written, and that the file can be read back with it.
            changed(content.data, variable, b"value")
        except SinkError as error:
            raise SinkError(f"{named(path)} cannot be edited: {error}") from None
        try_out(place, folder, len(content.data))
        status = os.fstat(folder)
    notes = (
        *((REPLACES,) if now.value else ()),
        *((LAST_OF_SEVERAL,) if now.times > 1 else ()),
        *((NARROWS,) if content.status and stat.S_IMODE(content.status.st_mode) & 0o077 else ()),
        # Not under the lock, for which others wait only so long.
        *git_notes(status, place),
    )
    return PreparedVariable(place, variable, folders, status, notes)


def value_now(path: str, variable: str, folders: tuple[str, ...] | None) -> bytes | None:
    """What the file sets the variable to; None if it does not.

    Raises:
        SinkError: that cannot be told.
    """
    place = _checked(path)
    folder = open_folder(place, folders, sticky=False)
    try:
        return found(read(place, folder).data, variable).value
    finally:
        os.close(folder)


def _checked(path: str) -> Place:
    place = checked_place(path)
    if not _NAME.fullmatch(place.name) or place.name == BESIDE:
        raise SinkError(f"{named(path)} is not called .env, .env.NAME or NAME.env")
    return place
