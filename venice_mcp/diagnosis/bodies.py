"""Errors in the bodies that Venice sends, and in what programs print around them: every shape it is known to use."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from venice_mcp.diagnosis.claims import CUT
from venice_mcp.diagnosis.notation import read

Shape = Literal[
    "nothing",
    "plain_text",
    "headers",
    "own_text",
    "string_error",
    "object_error",
    "sdk_text",
    "details",
    "sse",
    "truncated_json",
    "log_row",
    "html",
]
Members = Mapping[str, Any]

_MOST_FIELDS = 8
_MOST_VALUES = 2000
_DEEPEST_TEXT = 2
_STATUS_NAMES = ("status", "statusCode", "status_code", "http_status", "httpStatus")
# What these begin is what was asked or answered, not what went wrong: a prompt may hold anything.
_TALK = ("messages", "choices", "prompt", "input")
_LOG = {
    "apikeyid": "apiKeyId",
    "modelid": "modelId",
    "ratelimittype": "rateLimitType",
    "timestamp": "timestamp",
}
_WITH_STATUS = re.compile(r"([1-5][0-9]{2})\s+(?=\S)")


@dataclass(frozen=True)
class Trace:
    """One thing found in a paste. `at` is where; what is unknown is empty.

    Attributes:
        begins: it is how an account of an answer begins, so another answer may have ended before it.
        sent: when a row of the log is of.
        whole: `said` is the message as such, and not words found in some text.
    """

    at: int
    status: int | None = None
    said: str = ""
    code: str = ""
    shape: Shape = "nothing"
    begins: bool = False
    whole: bool = False
    wait_s: float | None = None
    model: str = ""
    key_id: str = ""
    fields: tuple[str, ...] = ()
    header: tuple[str, str] | None = None
    sent: str = ""

    @property
    def is_error(self) -> bool:
        return bool(self.said or self.code or self.fields or self.shape == "html")


def traces_in(text: str, at: int) -> tuple[list[Trace], int, bool]:
    """What the value that begins at `at` tells, in order; where it ends; and whether it was cut off."""
    found = read(text, at)
    walk = _Walk(at, cut=found.cut)
    return list(walk.value(found.value, None, 0)), found.end, found.cut


class _Walk:
    """Goes through one value, at most so far."""

    def __init__(self, at: int, *, cut: bool) -> None:
        self._at = at
        self._cut = cut
        self._left = _MOST_VALUES

    def value(self, value: Any, status: int | None, depth: int) -> Iterator[Trace]:
        self._left -= 1
        if self._left < 0:
            return
        if isinstance(value, str) and value.lstrip()[:1] == "{" and depth < _DEEPEST_TEXT:
            yield from self.value(read(value.lstrip(), 0).value, status, depth + 1)
        elif isinstance(value, list):
            items = cast("list[Any]", value)
            if rows := [row for item in items if isinstance(item, dict) for row in _log_rows(cast("Members", item))]:
                yield from self._log(rows)
                return
            for item in items:
                yield from self.value(item, status, depth)
        elif isinstance(value, dict):
            yield from self._members(cast("Members", value), status, depth)

    def _members(self, members: Members, status: int | None, depth: int) -> Iterator[Trace]:
        if rows := _log_rows(members):
            yield from self._log(rows)
            return
        if model := _text(members.get("model")):
            yield Trace(self._at, model=model)
        if any(isinstance(members.get(name), list) for name in _TALK):
            yield Trace(self._at)
            return
        own = _status(members)
        status = own or status
        error = self._error(members, status)
        if error is not None:
            yield error
        elif own is not None:
            yield Trace(self._at, status=own, shape="headers")
        told = () if error is None else ("error", "details", "issues", "errors")
        for name, item in members.items():
            if name not in told:
                yield from self.value(item, status, depth)

    def _error(self, members: Members, status: int | None) -> Trace | None:
        """The error that these members are about."""
        error, details = members.get("error"), members.get("details")
        inner = _object(error)
        shape: Shape = "string_error"
        if inner is not None and ("message" in inner or "code" in inner or "type" in inner):
            said, shape = _text(inner.get("message")), "object_error"
        elif isinstance(error, str) and error.lstrip()[:1] not in ("{", "<"):
            said = error
        elif first := _first(members.get("errors")):
            said, inner, shape = _text(first.get("message")), first, "object_error"
        elif "message" in members and ("code" in members or "type" in members or "name" in members):
            said, inner, shape = _text(members.get("message")), members, "object_error"
        elif isinstance(members.get("detail"), str):
            said = _text(members.get("detail"))
        else:
            return None
        inner = inner or {}
        code = _code(inner) or _code(members) or _text(inner.get("type"))
        fields = tuple(_problems(details)) or tuple(_issues(members.get("issues"))) or _param(inner)
        with_status = _WITH_STATUS.match(said)
        if with_status:
            status, said = status or int(with_status[1]), said[with_status.end() :]
        if not (said or code or fields):
            return None
        if said.startswith("Request failed with status code"):
            return Trace(self._at, status=_status({"status": said[-3:]}) or status, shape="headers")
        shape = "truncated_json" if self._cut else "details" if details is not None else shape
        after = [_seconds(each.get(name)) for each in (inner, members) for name in ("retry_after", "retryAfter")]
        return Trace(
            self._at,
            status=status,
            said=said,
            code="" if code.endswith(CUT) else code,
            shape=shape,
            whole=True,
            wait_s=next((each for each in after if each is not None), None),
            fields=fields[:_MOST_FIELDS],
        )

    def _log(self, rows: list[Members]) -> Iterator[Trace]:
        """Rows of the log, each an answer of its own, the latest last."""
        for row in sorted(rows, key=lambda row: _text(row.get("timestamp"))):
            yield Trace(
                self._at,
                code=_text(row.get("rateLimitType")),
                shape="log_row",
                begins=True,
                model=_text(row.get("modelId")),
                key_id=_text(row.get("apiKeyId")),
                sent=_text(row.get("timestamp")),
            )


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str) else ""


def _object(value: Any) -> Members | None:
    return cast("Members", value) if isinstance(value, dict) else None


def _first(value: Any) -> Members | None:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return _object(items[0]) if items else None


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


def _status(members: Members) -> int | None:
    for name in (*_STATUS_NAMES, "code"):
        value = members.get(name)
        if isinstance(value, str) and re.fullmatch("[1-5][0-9]{2}", value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
            return value
    inner = _object(members.get("error"))
    return _status(inner) if inner and "error" not in inner else None


def _code(members: Members) -> str:
    return _text(members.get("code")) or _text(members.get("error_code"))


def _param(inner: Members) -> tuple[str, ...]:
    name = _text(inner.get("param"))
    return (name,) if name else ()


def _problems(details: Any, *path: str) -> Iterator[str]:
    """The members that a tree of `_errors` names, dotted, each with its first message."""
    node = _object(details)
    if node is None or len(path) > 8:
        return
    errors = node.get("_errors")
    if isinstance(errors, list) and errors:
        yield f"{'.'.join(path) or 'body'}: {_text(cast('list[Any]', errors)[0])}".removesuffix(": ")
    for name, inner in node.items():
        if name != "_errors":
            yield from _problems(inner, *path, name)


def _issues(issues: Any) -> Iterator[str]:
    for issue in cast("list[Any]", issues)[:_MOST_FIELDS] if isinstance(issues, list) else []:
        members = _object(issue) or {}
        path = members.get("path")
        parts = cast("list[Any]", path) if isinstance(path, list) else []
        name = ".".join(str(part) for part in parts if isinstance(part, str | int))
        if name or _text(members.get("message")):
            yield f"{name or 'body'}: {_text(members.get('message'))}".removesuffix(": ")


# --- rows of the log -------------------------------------------------------------------------------


def _log_rows(members: Members) -> list[Members]:
    """These members as rows of the log: one as Venice lists it, or a table of them as our own tool does."""
    columns, rows = members.get("columns"), members.get("rows")
    if isinstance(columns, list) and isinstance(rows, list):
        names = [_text(name) for name in cast("list[Any]", columns)]
        lists = [cast("list[Any]", row) for row in cast("list[Any]", rows)[:50] if isinstance(row, list)]
        found = [dict(zip(names, row, strict=False)) for row in lists]
    else:
        found = [members]
    named = [
        {_LOG.get(name.replace("_", "").lower(), name): item for name, item in row.items()} for row in found if row
    ]
    return [row for row in named if _text(row.get("rateLimitType"))]
