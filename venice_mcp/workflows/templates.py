"""Many keys from one template: their names, descriptions and the places of their secrets."""

import csv
import io
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

from pydantic_core import from_json

from venice_mcp.errors import ArgumentError
from venice_mcp.secrets import Destination
from venice_mcp.secrets.folders import checked_place, open_existing, open_folder
from venice_mcp.secrets.sinks import SinkError
from venice_mcp.text import plain, quoted

MOST_NAMES = 500
PLACEHOLDER = "{name}"
_MOST_BYTES = 1_000_000
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
PlaceKind = Literal["files", "csv", "json", "dotenv"]


def read_names(path: str, folders: tuple[str, ...] | None) -> list[str]:
    """The names in a JSON file (a list of texts, or of objects with `name`) or a CSV file (its column `name`, else the
    first one).

    Raises:
        ArgumentError: it cannot be read, lies where policy allows no file, or holds no names.
    """
    try:
        place = checked_place(path)
        folder = open_folder(place, folders, sticky=True)
        try:
            file = open_existing(place, folder)
        finally:
            os.close(folder)
    except SinkError as error:
        raise _unusable(str(error)) from None
    if file is None:
        raise _unusable("there is no such file")
    with os.fdopen(file, "rb") as stream:
        data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise _unusable("it is larger than 1 MB")
    try:
        text = data.decode("utf-8-sig")
        names = _from_json(text) if place.name.lower().endswith(".json") else _from_csv(text)
    except (ValueError, csv.Error, RecursionError):
        raise _unusable("it is not UTF-8 text in CSV or JSON form") from None
    found = [name.strip() for name in names if name.strip()]
    if not found:
        raise _unusable("it holds no names")
    return found


def _from_json(text: str) -> list[str]:
    rows: Any = from_json(text, allow_inf_nan=False)  # bounds the depth by itself
    if not isinstance(rows, list):
        raise ValueError
    names = [cast("Any", row).get("name") if isinstance(row, dict) else row for row in cast("list[Any]", rows)]
    if not all(isinstance(name, str) for name in names):
        raise ValueError
    return cast("list[str]", names)


def _from_csv(text: str) -> list[str]:
    rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    if not rows:
        return []
    header = [cell.strip().casefold() for cell in rows[0]]
    if "name" in header:
        at = header.index("name")
        return [row[at] if at < len(row) else "" for row in rows[1:]]
    return [row[0] for row in rows]


def _unusable(why: str) -> ArgumentError:
    return ArgumentError("names_file", f"cannot be used: {plain(why, 200)}.", "Give another file, or names.")


def descriptions(names: Sequence[str], template: str, check: Callable[[str], str]) -> list[str]:
    """What each key will be called; `check` refuses what no description may be, by ValueError.

    Raises:
        ArgumentError: one cannot be a description, or two are the same.
    """
    found: list[str] = []
    for number, name in enumerate(names, 1):
        if not name:
            raise ArgumentError("names", f"number {number} is blank.", "Leave it out.")
        try:
            found.append(check(template.replace(PLACEHOLDER, name)))
        except ValueError as error:
            raise ArgumentError("names", f"number {number} cannot be used: {error}.", "Correct it.") from None
    folded = [each.casefold() for each in found]
    twice = next((each for each in found if folded.count(each.casefold()) > 1), None)
    if twice is not None:
        raise ArgumentError("names", f"{quoted(twice)} is there twice.", "Name each key once, whatever its case.")
    return found


def places(kind: PlaceKind, path: str, variable: str, names: Sequence[str], called: Sequence[str]) -> list[Destination]:
    """Where each secret goes: `called` are the descriptions, in the order of the names.

    Raises:
        ArgumentError: two of them would go to the same place.
    """
    match kind:
        case "files":
            found = [Destination("file", f"{path.rstrip('/')}/{_file_name(name)}") for name in names]
        case "dotenv":
            found = [Destination("dotenv", path, variable.replace("{NAME}", _upper(name))) for name in names]
        case "csv" | "json":
            found = [Destination(kind, path, entry=each) for each in called]
    seen: dict[tuple[str | None, ...], str] = {}
    for name, place in zip(names, found, strict=True):
        # Some file systems take names that differ only in case for the same.
        spot = (place.path and place.path.casefold(), place.variable, place.entry)
        if spot in seen:
            raise ArgumentError(
                "deliver_to",
                f"the secrets of {quoted(seen[spot])} and {quoted(name)} would go to the same place.",
                "Choose names that differ in letters or digits, or kind csv or json.",
            )
        seen[spot] = name
    return found


def _file_name(name: str) -> str:
    return f"{_UNSAFE.sub('_', name).strip('.')[:100] or '_'}.key"


def _upper(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") or "_"


def where(kind: PlaceKind, path: str) -> str:
    """The place of all of them, in words."""
    shown = quoted(path, 200)
    return {
        "files": f"new files in {shown}, one each",
        "csv": f"the file {shown}",
        "json": f"the file {shown}",
        "dotenv": f"variables in the file {shown}",
    }[kind]
