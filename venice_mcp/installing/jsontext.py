"""Changes to the text of a JSON file that leave every other byte of it alone."""

import json
from typing import Any, NamedTuple, NoReturn, cast

from pydantic_core import from_json

_DECODER = json.JSONDecoder()
_SPACE = " \t\n\r"


class NotPlainJson(Exception):
    """A text that is not rewritten, and why."""


class _Part(NamedTuple):
    """One member of an object or item of an array: where it starts, its value starts, and it ends."""

    key: str | None
    start: int
    value: int
    end: int


def load(text: str) -> dict[str, Any]:
    """The object that a text holds.

    Raises:
        NotPlainJson: it has comments, trailing commas or a name twice, or holds something else.
    """
    try:
        # It bounds the depth by itself; json counts against a limit that other libraries raise until the process ends.
        from_json(text)
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise NotPlainJson("it is not plain JSON (comments and trailing commas are not)") from None
    if not isinstance(found, dict):
        raise NotPlainJson("it holds no JSON object")
    return cast("dict[str, Any]", found)


def put(text: str, path: tuple[str, ...], value: object) -> str:
    """Set the member at a path of names, with the objects on the way made where they are missing.

    Raises:
        NotPlainJson: something on the way is not an object.
    """
    at = _past_space(text, 0)
    for depth, name in enumerate(path):
        if text[at] != "{":
            raise NotPlainJson(f'"{path[depth - 1]}" in it is not an object')
        part = next((part for part in _parts(text, at)[0] if part.key == name), None)
        if part is None:
            for outer in reversed(path[depth + 1 :]):
                value = {outer: value}
            return _add(text, at, name, value)
        if depth == len(path) - 1:
            return text[: part.value] + _spelled(text, value, _lead(text, part.start)) + text[part.end :]
        at = part.value
    raise ValueError("an empty path")


def append(text: str, name: str, value: object) -> str:
    """Add an item to the array that is the member `name`, which is made if it is missing.

    Raises:
        NotPlainJson: it is not an array.
    """
    root = _past_space(text, 0)
    part = next((part for part in _parts(text, root)[0] if part.key == name), None)
    if part is None:
        return _add(text, root, name, [value])
    if text[part.value] != "[":
        raise NotPlainJson(f'"{name}" in it is not an array')
    return _add(text, part.value, None, value)


def drop(text: str, path: tuple[str | int, ...]) -> str:
    """Take out the member or item that a path leads to; it must exist."""
    at = _past_space(text, 0)
    for name in path[:-1]:
        at = _find(text, at, name)[0].value
    part, parts, close = _find(text, at, path[-1])
    where = parts.index(part)
    if len(parts) == 1:
        return text[: at + 1] + text[close:]
    if where == len(parts) - 1:
        return text[: parts[where - 1].end] + text[part.end :]
    return text[: part.start] + text[parts[where + 1].start :]


def _find(text: str, at: int, name: str | int) -> tuple[_Part, list[_Part], int]:
    parts, close = _parts(text, at)
    return next(part for index, part in enumerate(parts) if name in (part.key, index)), parts, close


def _parts(text: str, at: int) -> tuple[list[_Part], int]:
    """What is in the object or array that begins at `at`, and where it ends; the text is known to be valid."""
    closing = "}" if text[at] == "{" else "]"
    found: list[_Part] = []
    at = _past_space(text, at + 1)
    while text[at] != closing:
        start, key = at, None
        if closing == "}":
            key, at = cast("tuple[str, int]", _DECODER.raw_decode(text, at))
            at = _past_space(text, _past_space(text, at) + 1)
        value = at
        at = _DECODER.raw_decode(text, at)[1]
        found.append(_Part(key, start, value, at))
        at = _past_space(text, at)
        if text[at] == ",":
            at = _past_space(text, at + 1)
    return found, at


def _add(text: str, at: int, key: str | None, value: object) -> str:
    """One more part at the end of an object or array, in the style of the file."""
    parts, close = _parts(text, at)
    name = "" if key is None else f"{json.dumps(key, ensure_ascii=False)}: "
    if parts:
        last = parts[-1]
        lead = _lead(text, last.start)
        before = ", " if lead is None else f",{_line_end(text)}{lead}"
        return text[: last.end] + before + name + _spelled(text, value, lead) + text[last.end :]
    if "\n" not in text and text.strip() != "{}":
        return text[: at + 1] + name + _spelled(text, value, None) + text[close:]
    line = text[text.rfind("\n", 0, at) + 1 : at]
    outer = line[: len(line) - len(line.lstrip(_SPACE))]
    inner = outer + _unit(text)
    end = _line_end(text)
    return f"{text[: at + 1]}{end}{inner}{name}{_spelled(text, value, inner)}{end}{outer}{text[close:]}"


def _spelled(text: str, value: object, lead: str | None) -> str:
    """A value as JSON, on lines that begin with `lead`, or on one line."""
    if lead is None:
        return json.dumps(value, ensure_ascii=False)
    lines = json.dumps(value, ensure_ascii=False, indent=_unit(text)).split("\n")
    return (_line_end(text) + lead).join(lines)


def _lead(text: str, at: int) -> str | None:
    """The white space between the start of the line and `at`; None if something else stands there too."""
    line = text.rfind("\n", 0, at)
    lead = text[line + 1 : at]
    return None if line < 0 or lead.strip(_SPACE) else lead


def _unit(text: str) -> str:
    """What one level is indented by."""
    parts, _ = _parts(text, _past_space(text, 0))
    return (_lead(text, parts[0].start) if parts else None) or "  "


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _past_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotPlainJson("a name stands in it twice")
    return found


def _refuse(word: str) -> NoReturn:
    raise NotPlainJson(f"{word} is not JSON")
