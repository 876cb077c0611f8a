"""Delivery of a new key into one variable of a .env file: atomic, under a lock, and private afterwards."""

import os
import re
import stat
from typing import Final

from venice_mcp.secrets.envtext import Found, changed, fits, found
from venice_mcp.secrets.exchange import BESIDE, NARROWS, edited, locked, read, try_out
from venice_mcp.secrets.folders import Place, checked_place, named, open_folder
from venice_mcp.secrets.sinks import OneDelivery, SinkError, check_variable, reason, told_apart
from venice_mcp.secrets.tracking import git_notes
from venice_mcp.secrets.types import Secret

REPLACES: Final = "its secret replaces the value there"
LAST_OF_SEVERAL: Final = "the file sets it more than once; the last place, which programs go by, is changed"

_NAME: Final = re.compile(r"\.env(?:\.[A-Za-z0-9_-][A-Za-z0-9_.-]*)?|[A-Za-z0-9_-][A-Za-z0-9_.-]*\.env")


class PreparedVariable(OneDelivery):
    """A variable of a .env file that can be set."""

    def __init__(
        self,
        place: Place,
        variable: str,
        folders: tuple[str, ...] | None,
        folder: os.stat_result,
        now: Found,
        notes: tuple[str, ...],
    ) -> None:
        occupant = told_apart(now.value, f"{variable} {place.path}") if now.value else None
        super().__init__(f"{variable} in {named(place.path)}", notes, occupant)
        self._at = place
        self._variable = variable
        self._folders = folders
        self._folder = folder
        self._seen = now

    def _deliver(self, secret: Secret) -> str | None:
        """Set the variable in the file as it is now; all but the variable's value may have changed since."""
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
                return edited(
                    self._at, folder, lambda data: self._changed(data, value), lambda data: self._has(data, value)
                )
        except SinkError as error:
            return str(error)
        except OSError as error:
            return reason(error)

    def _changed(self, data: bytes, value: bytes) -> bytes:
        if (found(data, self._variable).value or None) != (self._seen.value or None):
            raise SinkError("its value was changed by somebody else meanwhile, and theirs is left as it is")
        return changed(data, self._variable, value)

    def _has(self, data: bytes, value: bytes) -> bool:
        return found(data, self._variable).value == value


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
    return PreparedVariable(place, variable, folders, status, now, notes)


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
