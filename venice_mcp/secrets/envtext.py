"""The text of a .env file: where the value of a variable stands, and that value exchanged with every other byte kept.

Own code, because libraries write the whole line anew: python-dotenv's `set_key` loses `export`, the spaces, the kind
of quotes, the comment behind the value and CRLF, and cannot read a file that is not UTF-8 (tried with 1.2.4).
Lines and quotes are understood as python-dotenv does; what a shell or Node's dotenv would take for other lines is
ambiguous and refused, because a secret in the wrong line may end up in the wrong program.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from venice_mcp.secrets.sinks import SinkError

_BOM: Final = b"\xef\xbb\xbf"
_BLANK = rb"[ \t\f\v]"
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BINDING: Final = re.compile(rb"%b*+(?:export%b++)?+([^=#\s]++)%b*+=" % (_BLANK, _BLANK, _BLANK))
_PLAIN_KEY: Final = re.compile(rb"[A-Za-z0-9_.-]+")
# python-dotenv lets a name stand in single quotes, with all that this brings; harmless only in this form.
_QUOTED_KEY: Final = re.compile(rb"%b*+(?:export%b++)?'(?![^'=#\s]++'%b*+=)" % (_BLANK, _BLANK, _BLANK))
_BLANKS: Final = re.compile(_BLANK + rb"*+")
_NOTHING_ELSE: Final = re.compile(_BLANK + rb"*+(?:#.*)?", re.DOTALL)
# Starting only where a run of blanks starts keeps the search linear.
_COMMENT: Final = re.compile(rb"(?<!%b)%b++#" % (_BLANK, _BLANK))
_QUOTES: Final = (b"'", b'"', b"`")
# Where a quote ends: in python-dotenv, and in programs where one backslash takes away the meaning of another.
_CLOSINGS: Final = {
    b"'": (re.compile(rb"(?:\\'|[^'])*+'"), re.compile(rb"[^']*+'")),
    b'"': (re.compile(rb'(?:\\"|[^"])*+"'), re.compile(rb'(?:\\.|[^"\\])*+"', re.DOTALL)),
    b"`": (re.compile(rb"(?:\\`|[^`])*+`"), re.compile(rb"[^`]*+`")),
}
_CONTINUED: Final = re.compile(rb"(?<!\\)(?:\\\\)*+\\(?:\r\n|\r|\n)?\Z")
_COLON: Final = re.compile(rb"(?:\A|[\r\n])%b*+(?:export%b++)?[A-Za-z0-9_.-]++:\s*+\Z" % (_BLANK, _BLANK))
# JavaScript takes these for the end of a line, even of a comment.
_SEPARATED: Final = re.compile(rb"\xe2\x80[\xa8\xa9]([^\r\n]*+)")
_UNSEEN_COMMENT: Final = re.compile(rb"\xc2\xa0\s*#")
# Only what no program takes for a quote, a comment, a reference to another variable or the end of the value.
_VALUE: Final = re.compile(rb"[A-Za-z0-9_.:/+=@-]+")


@dataclass(frozen=True)
class _Line:
    """A line of text, or several that a quoted value joins.

    Attributes:
        key: of the variable that it sets; None if it sets none, or one with a name that programs read differently.
        start, end: of the value, without its quotes.
        quote: around the value.
        odd: something follows the quoted value that is no comment.
        after: where the next line begins.
    """

    at: int
    after: int
    key: bytes | None = None
    start: int = 0
    end: int = 0
    quote: bytes = b""
    odd: bool = False


@dataclass(frozen=True, repr=False)
class Found:
    """How often a file sets a variable, and the text of the last value, between its quotes; None if it never does."""

    times: int
    value: bytes | None


def found(data: bytes, variable: str) -> Found:
    """What a file sets a variable to.

    Raises:
        SinkError: that depends on which program reads it. The message names the line, never its text.
    """
    places = _places(data, variable)
    return Found(len(places), data[places[-1].start : places[-1].end] if places else None)


def changed(data: bytes, variable: str, value: bytes) -> bytes:
    """`data` with the variable set, in its last place or in a new line at the end, and all else as it was.

    Raises:
        SinkError: the file is ambiguous. The message names the line, never its text.
    """
    places = _places(data, variable)
    _refuse_what_swallows(data, places[-1].at if places else len(data))
    if places:
        last = places[-1]
        # "NAME=# why" would otherwise become a value with a number sign in it.
        gap = b" " if not last.quote and data[last.end : last.end + 1] == b"#" else b""
        return data[: last.start] + value + gap + data[last.end :]
    ending = _LINE_END.search(data)
    line_end = ending[0] if ending else b"\n"
    missing = b"" if data.removeprefix(_BOM)[-1:] in (b"", b"\n", b"\r") else line_end
    return data + missing + variable.encode() + b"=" + value + line_end


def _refuse_what_swallows(data: bytes, at: int) -> None:
    """Refuse a line before ours that some program takes ours for a part of."""
    before = data[:at].removeprefix(_BOM)
    if _CONTINUED.search(before):
        raise _ambiguous(data, max(at - 1, 0), "ends in a backslash, with which a shell joins the next one to it")
    if _COLON.search(before):
        raise _ambiguous(
            data, max(at - 1, 0), "ends in a colon, after which Node's dotenv takes the next one for its value"
        )


def fits(value: bytes) -> bool:
    """Whether every program reads `value` as it is, with quotes around it or without."""
    return _VALUE.fullmatch(value) is not None


def _places(data: bytes, variable: str) -> list[_Line]:
    name = variable.encode()
    if b"\0" in data:
        raise SinkError("it is not a text file")
    mentioned = re.compile(rb"(?<![A-Za-z0-9_])%b(?![A-Za-z0-9_])" % re.escape(name))
    # Each line is searched once, from its first separator on: a file of nothing but separators must not take hours.
    hidden = next((each for each in _SEPARATED.finditer(data) if mentioned.search(data, *each.span(1))), None)
    if hidden:
        raise _ambiguous(data, hidden.start(), "names the variable after a separator that is a line end to JavaScript")
    places: list[_Line] = []
    for line in _lines(data):
        if line.key == name:
            if not line.quote and _UNSEEN_COMMENT.search(data, line.start, line.end):
                raise _ambiguous(data, line.at, "has a comment after a blank that programs read differently")
            if line.odd or line.quote == b"`":
                raise _ambiguous(data, line.at, "sets the variable in a way that programs read differently")
            places.append(line)
        elif line.key is None and mentioned.search(data, line.at, line.after):
            raise _ambiguous(data, line.at, "names the variable in a way that programs read differently")
    return places


def _lines(data: bytes) -> Iterator[_Line]:
    """Every line but blank ones and comments."""
    at = len(_BOM) if data.startswith(_BOM) else 0
    while at < len(data):
        end, after = _end_of_line(data, at)
        binding = _BINDING.match(data, at, end)
        if _QUOTED_KEY.match(data, at, end):
            raise _ambiguous(data, at, "begins with a quote")
        if binding:
            line = _bound(data, at, end, after, binding)
            yield line
            after = line.after
        elif not _NOTHING_ELSE.fullmatch(data, at, end):
            _refuse_open_quotes(data, at, end, at)
            yield _Line(at, after)
        at = after


def _end_of_line(data: bytes, at: int) -> tuple[int, int]:
    ending = _LINE_END.search(data, at)
    return ending.span() if ending else (len(data), len(data))


def _bound(data: bytes, at: int, end: int, after: int, binding: re.Match[bytes]) -> _Line:
    key = binding[1] if _PLAIN_KEY.fullmatch(binding[1]) else None
    blanks = _BLANKS.match(data, binding.end(), end)
    start = blanks.end() if blanks else binding.end()
    quote = data[start : start + 1]
    if start < end and quote in _QUOTES:
        close = _closing(data, start, quote, at)
        end, after = _end_of_line(data, close)
        odd = not _NOTHING_ELSE.fullmatch(data, close + 1, end)
        if odd:
            # 'one''two"three: python-dotenv skips such a line, and others go on reading quotes.
            _refuse_open_quotes(data, close + 1, end, at)
        return _Line(at, after, key, start + 1, close, quote, odd)
    if start == end or quote == b"#":
        # The value goes right behind the equals sign: a shell takes "NAME= value" for a command.
        return _Line(at, after, key, binding.end(), binding.end())
    comment = _COMMENT.search(data, start, end)
    text = data[start : comment.start() if comment else end].rstrip(b" \t\f\v")
    return _Line(at, after, key, start, start + len(text))


def _closing(data: bytes, start: int, quote: bytes, at: int) -> int:
    """Where the quote that begins at `start` ends, if programs agree on the line."""
    closings = [pattern.match(data, start + 1) for pattern in _CLOSINGS[quote]]
    ends = [closing.end() - 1 for closing in closings if closing]
    if len(ends) < len(closings):
        raise _ambiguous(data, at, "begins a quote that is never closed")
    # Only Node's dotenv lets backticks span lines.
    earliest = start if quote == b"`" else min(ends)
    if _LINE_END.search(data, earliest, max(ends)):
        raise _ambiguous(data, at, "holds a quote that programs end in different lines")
    return ends[0]


def _refuse_open_quotes(data: bytes, start: int, end: int, at: int) -> None:
    """Refuse a stretch that sets nothing if a program could go on reading in it as if it were quoted."""
    if any(data.count(quote, start, end) % 2 for quote in _QUOTES):
        raise _ambiguous(data, at, "holds a quote that is never closed")


def _ambiguous(data: bytes, at: int, what: str) -> SinkError:
    return SinkError(f"line {len(_LINE_END.findall(data, 0, at)) + 1} {what}; mend the file first")
