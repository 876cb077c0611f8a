"""A report for people, in a new private file: no secret, but put where a secret could be put, and as carefully."""

import os
from contextlib import suppress
from typing import Final

from venice_mcp.secrets.folders import Place, checked_place, create, named, open_folder, sync_folder, write_all
from venice_mcp.secrets.sinks import SinkError, reason

_SUFFIX: Final = ".md"


def checked_report(path: str) -> Place:
    """The place of a report, before there is anything to write.

    Raises:
        SinkError: it does not name a Markdown file, or cannot be shown to a person.
    """
    place = checked_place(path)
    # Nothing that runs or configures a program is called so.
    if not place.name.endswith(_SUFFIX) or place.name.startswith("."):
        raise SinkError(f"{named(place.path)} is no name for a report; it must end in {_SUFFIX} and begin with no dot")
    return place


def write_report(path: str, text: str, folders: tuple[str, ...] | None) -> str:
    """Make a new file at `path`, for its owner only, and return where it is.

    Raises:
        SinkError: the path is unsuitable, taken or not within `folders`, or the file could not be written; no file
            of ours is left there.
    """
    place = checked_report(path)
    folder = open_folder(place, folders, sticky=True)
    try:
        _write(place, folder, text.encode(errors="replace"))
    finally:
        os.close(folder)
    return place.path


def _write(place: Place, folder: int, data: bytes) -> None:
    try:
        file = create(place.name, folder)
    except FileExistsError:
        raise SinkError(f"{named(place.path)} already exists, and nothing is overwritten") from None
    except OSError as error:
        raise SinkError(f"{named(place.path)} cannot be made: {reason(error)}") from None
    try:
        write_all(file, data)
        sync_folder(folder)
    except OSError as error:
        with suppress(OSError):
            if os.path.samestat(os.stat(place.name, dir_fd=folder, follow_symlinks=False), os.fstat(file)):
                os.unlink(place.name, dir_fd=folder)
        raise SinkError(f"{named(place.path)} was not written: {reason(error)}") from None
    finally:
        os.close(file)
