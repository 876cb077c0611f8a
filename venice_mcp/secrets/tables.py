"""Delivery of new keys into one private file of many, CSV or JSON: atomic, under a lock, never replacing an entry."""

import os
import re
import stat
from typing import Final

from venice_mcp.secrets.envtext import fits
from venice_mcp.secrets.exchange import NARROWS, edited, locked, read, try_out
from venice_mcp.secrets.folders import Place, checked_place, named, open_folder
from venice_mcp.secrets.shapes import looks_like_secret
from venice_mcp.secrets.sinks import OneDelivery, SinkError, reason
from venice_mcp.secrets.tabletext import TableKind, begins_formula, entries, with_entry
from venice_mcp.secrets.tracking import git_notes
from venice_mcp.secrets.types import Secret
from venice_mcp.text import plain, quoted

LONGEST_ENTRY: Final = 64
_MOST_ENTRIES: Final = 1000
# A file with a dot in front is some program's, and not one of keys.
_NAME: Final = re.compile(r"[^.].*\.(csv|json)", re.DOTALL)
# As long as any key, so that a file that is nearly full is noticed before there is one.
_SAMPLE: Final = "x" * 256


class PreparedRow(OneDelivery):
    """A file that can take one more entry."""

    def __init__(
        self,
        place: Place,
        kind: TableKind,
        entry: str,
        folders: tuple[str, ...] | None,
        folder: os.stat_result,
        notes: tuple[str, ...],
    ) -> None:
        super().__init__(f"{quoted(entry, LONGEST_ENTRY)} in {named(place.path)}", notes)
        self._at = place
        self._kind: TableKind = kind
        self._entry = entry
        self._folders = folders
        self._folder = folder

    def _deliver(self, secret: Secret) -> str | None:
        """Add the entry to the file as it is now, which may have got others since."""
        value = secret.reveal()
        if not (value.isascii() and fits(value.encode())) or begins_formula(value):
            return "it has characters that not every program would read as they are"
        try:
            with locked(self._at, self._folders) as folder:
                if not os.path.samestat(os.fstat(folder), self._folder):
                    return "another folder took the place of its folder"
                return edited(
                    self._at,
                    folder,
                    lambda data: with_entry(self._kind, data, self._entry, value),
                    lambda data: (self._entry, value) in entries(self._kind, data),
                )
        except SinkError as error:
            return str(error)
        except OSError as error:
            return reason(error)


def prepare_row(path: str, kind: TableKind, entry: str, folders: tuple[str, ...] | None) -> PreparedRow:
    """Find out whether the file at `path`, which need not exist, can take one more entry; nothing is changed.

    Raises:
        SinkError: it cannot, or should not.
    """
    _check_entry(entry)
    place = _checked(path, kind)
    with locked(place, folders) as folder:
        content = read(place, folder)
        try:
            if len(entries(kind, content.data)) >= _MOST_ENTRIES:
                raise SinkError(f"it has {_MOST_ENTRIES} entries or more; name another file")
            trial = with_entry(kind, content.data, entry, _SAMPLE)
        except SinkError as error:
            raise SinkError(f"{named(path)} cannot take {quoted(entry, LONGEST_ENTRY)}: {error}") from None
        try_out(place, folder, len(trial))
        status = os.fstat(folder)
    notes = (
        *((NARROWS,) if content.status and stat.S_IMODE(content.status.st_mode) & 0o077 else ()),
        # Not under the lock, for which others wait only so long.
        *git_notes(status, place),
    )
    return PreparedRow(place, kind, entry, folders, status, notes)


def ends_with(path: str, kind: TableKind, entry: str, tail: str, folders: tuple[str, ...] | None) -> bool:
    """Whether the file has an entry of this name with a key that ends so.

    Raises:
        SinkError: that cannot be told.
    """
    place = _checked(path, kind)
    folder = open_folder(place, folders, sticky=False)
    try:
        found = entries(kind, read(place, folder).data)
    finally:
        os.close(folder)
    return any(name == entry and value.endswith(tail) for name, value in found)


def _checked(path: str, kind: TableKind) -> Place:
    place = checked_place(path)
    found = _NAME.fullmatch(place.name)
    if not found or found[1] != kind:
        raise SinkError(f"{named(path)} is not called NAME.{kind}")
    return place


def _check_entry(entry: str) -> None:
    if looks_like_secret(entry):
        raise SinkError("the entry looks like a key; give the name under which the key shall be kept")
    if len(entry) > LONGEST_ENTRY or not entry.isprintable() or not plain(entry):
        raise SinkError(
            f"the entry {quoted(entry, LONGEST_ENTRY)} is not a name of at most {LONGEST_ENTRY} visible characters"
        )
