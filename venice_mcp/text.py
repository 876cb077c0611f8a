"""Text that people and models read: other people's words made harmless, tables, points in time.

Everything Venice, a file or a model sends is somebody else's text. It may only appear in a question, a
result, an error or a terminal after `plain` or `quoted` has taken out whatever could act on the reader.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# Cc control, Cf format (bidi, zero-width, tags), Cs surrogates, Co private use, Cn unassigned, Zl/Zp line breaks.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")  # drawn as nothing although they are letters
_BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_MAX_MARKS = 2  # combining marks in a row; more ("zalgo") would draw over the lines around them


def plain(text: str, limit: int = 80) -> str:
    """One line of visible characters, at most `limit` long, an ellipsis marking what was cut."""
    text = _ANSI.sub("", text[: limit * 20])
    out: list[str] = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        if category in _UNSEEN or char in _BLANK_LETTERS:
            if char in "\t\n\r\x0b\x0c\x85\u2028\u2029":
                out.append(" ")
            continue
        marks = marks + 1 if category.startswith("M") else 0
        if marks <= _MAX_MARKS:
            out.append(char)
    line = " ".join("".join(out).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "\u2026"


def quoted(text: str, limit: int = 80) -> str:
    """`plain` text between double quotes, with quotes inside made single so that it cannot end early."""
    return '"' + plain(text, limit).replace('"', "'") + '"'


def cell(text: str, limit: int = 64) -> str:
    """`plain` text for a table: the column mark cannot be forged."""
    return plain(text, limit).replace("|", "\u00a6") or "-"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under one header line, fields parted by ` | `. Fields must have been through `cell`."""
    return "\n".join([" | ".join(columns), *(" | ".join(row) for row in rows)])


def amount(value: float | None) -> str:
    """A number without an exponent: 50, 0.25, 0.00001; a dash for none. Float noise past ten digits is dropped."""
    if value is None:
        return "-"
    return f"{Decimal(f'{value:.10g}'):f}"


def exact(value: float) -> str:
    """A number as it is sent, without an exponent: what a person approves must not be rounded."""
    return f"{Decimal(repr(value)):f}".removesuffix(".0")


def sparkline(values: Sequence[float]) -> str:
    """One bar a value, from nothing (a low line) to the largest of them."""
    top = max(values, default=0.0)
    if top <= 0:
        return _BARS[0] * len(values)
    # Anything above nothing is seen: only zero has the lowest bar.
    return "".join(_BARS[0 if value <= 0 else max(1, round(value / top * (len(_BARS) - 1)))] for value in values)


def plural(count: int, noun: str) -> str:
    """1 key, 2 keys."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


# --- points in time -------------------------------------------------------------------------------


def parse_time(value: str | None) -> datetime | None:
    """A time Venice sent, as an aware UTC datetime; None for none and for anything that is not a time."""
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # the second: an offset that leads out of the calendar
        return None


def to_wire(moment: datetime) -> str:
    """The form Venice takes in requests: UTC, whole seconds, Z."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def span(delta: timedelta) -> str:
    """A duration in its two largest units, rounded to the smaller one: 3 d 4 h, 12 min, 40 s.

    Three days that began a moment ago are 3 d, not 2 d 23 h.
    """
    exactly = abs(delta.total_seconds())
    minutes, hours = round(exactly / 60), round(exactly / 3600)
    if round(exactly) < 60:
        return f"{round(exactly)} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    if hours < 14 * 24:
        return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"
    return f"{round(exactly / 86400)} d"


def away(moment: datetime, now: datetime) -> str:
    """`in 3 d 4 h`, `12 min ago`, or `just now` within half a second."""
    delta = moment - now
    if round(abs(delta.total_seconds())) == 0:
        return "just now"
    return f"in {span(delta)}" if delta > timedelta(0) else f"{span(delta)} ago"


def when(value: str | None, now: datetime, none: str = "never") -> str:
    """A time from Venice in UTC with how far away it is: `2026-12-01 10:00 UTC (in 8 d)`."""
    if value is None:
        return none
    moment = parse_time(value)
    if moment is None:
        return quoted(value, 40)
    return f"{moment:%Y-%m-%d %H:%M} UTC ({away(moment, now)})"
