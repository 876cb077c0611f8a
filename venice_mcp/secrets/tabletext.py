"""The text of a file that holds many keys: CSV with a header, or one JSON object, by the keys' descriptions.

CSV is RFC 4180 but for its lines, which end in a line feed where they are ours: a shell would take the carriage return
for a part of the key. Descriptions are other people's text, and a spreadsheet runs what begins like a formula: such a
description gets an apostrophe in front, with which spreadsheets mark text.
"""

import io
import re
from typing import Final, Literal

from venice_mcp.secrets.sinks import SinkError

TableKind = Literal["csv", "json"]
Entries = list[tuple[str, str]]
"""Descriptions and keys, in the order of the file."""

_HEADER: Final = ["description", "api_key"]
_BOM: Final = b"\xef\xbb\xbf"
# The wide ones too, which some spreadsheets take for the narrow ones; the apostrophe, so that the mark can be told.
_MARKED: Final = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20'")
# What could begin another cell where a semicolon or the like separates them is put in quotes.
_UNQUOTED: Final = re.compile(r"[\w.:/'=+@-][\w .:/'=+@-]*")


def entries(kind: TableKind, data: bytes) -> Entries:
    """What a file holds; one that is empty holds nothing.

    Raises:
        SinkError: it is no such file, or could not be written again as it is. The message never holds its text.
    """
    try:
        text = data.removeprefix(_BOM).decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise SinkError("it is not a text file in UTF-8")
    return _of_csv(text) if kind == "csv" else _of_json(text)


def with_entry(kind: TableKind, data: bytes, entry: str, value: str) -> bytes:
    """`data` with one more entry at its end: every byte of CSV stays, and every value of JSON, which is laid out anew.

    Raises:
        SinkError: the file is none that `entries` takes, or has the entry.
    """
    before = entries(kind, data)
    if any(name == entry for name, _ in before):
        raise SinkError("it already has an entry of this name, and nothing is overwritten")
    after = _csv_with(data, entry, value) if kind == "csv" else _json_with(before, entry, value)
    if entries(kind, after) != [*before, (entry, value)]:
        raise SinkError("it cannot be edited safely")
    return after


def _of_csv(text: str) -> Entries:
    import csv

    rows: list[list[str]]
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error:
        rows = [[]]
    # Raised outside of the handler, because its error may hold the text.
    if rows and (rows[0] != _HEADER or any(len(row) != len(_HEADER) for row in rows)):
        raise SinkError("it is not CSV with the header description,api_key and two cells in each row")
    return [(_unmarked(name), value) for name, value in rows[1:]]


def _csv_with(data: bytes, entry: str, value: str) -> bytes:
    line_end = "\r\n" if b"\r\n" in data else "\n"
    lines = "" if data.removeprefix(_BOM)[-1:] in (b"", b"\n", b"\r") else line_end
    if not data.removeprefix(_BOM).strip():
        lines += _row(_HEADER, line_end)
    return data + (lines + _row([_marked(entry), value], line_end)).encode()


def _row(cells: list[str], line_end: str) -> str:
    import csv

    out = io.StringIO(newline="")
    plain = _UNQUOTED.fullmatch(cells[0])
    csv.writer(out, lineterminator=line_end, quoting=csv.QUOTE_MINIMAL if plain else csv.QUOTE_ALL).writerow(cells)
    return out.getvalue()


def _marked(name: str) -> str:
    return f"'{name}" if begins_formula(name) else name


def _unmarked(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and begins_formula(cell[1:]) else cell


def begins_formula(value: str) -> bool:
    """Whether a spreadsheet could take a cell for more than text; a key cannot be marked, for it would be another."""
    return value.lstrip().startswith(_MARKED)


# Possessive, and content with a string that never ends: otherwise a file could make the search take for ever.
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def _of_json(text: str) -> Entries:
    import json

    pairs: object = None
    try:
        if not text.strip():
            return []
        rest = _STRING.sub("", text)
        if "[" in rest or rest.count("{") > 1:
            # Not one flat object; and one that is deep enough would take the process down with the parser.
            raise ValueError
        # A list of pairs, so that a name that stands there twice is not lost unseen.
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        pass
    if not isinstance(pairs, _Pairs) or not all(isinstance(value, str) for _, value in pairs):
        raise SinkError("it is not one JSON object whose values are all text")
    if len(dict(pairs)) != len(pairs):
        raise SinkError("it names an entry twice")
    return [(name, str(value)) for name, value in pairs]


class _Pairs(list[tuple[str, object]]):
    """A JSON object, told apart from a JSON array."""


def _json_with(before: Entries, entry: str, value: str) -> bytes:
    import json

    after = dict([*before, (entry, value)])
    try:
        return f"{json.dumps(after, indent=2, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:
        # Half a character, which JSON can spell and UTF-8 cannot.
        return f"{json.dumps(after, indent=2)}\n".encode()
