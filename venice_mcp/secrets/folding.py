"""Views of a text with escapes decoded and gaps taken out, each with the way back to the original."""

import re
from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Final, Literal

# Control characters that are not white space, and everything that is drawn with no width.
_INVISIBLE = (
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0000-\U000e01ef"
)
# A shell's line continuation, unless an escape goes on after the line break. The lookbehind and `++` let a run
# of backslashes be tried once only.
_CONTINUED = rf"(?<!\\)\\++\r?\n(?![\s{_INVISIBLE}]*+[uUx])"
_H = "[0-9A-Fa-f]"
_PERCENT = "%(?:25)*"
_FOLLOWING = rf"{_PERCENT}[89ABab]{_H}"

_GAPS: Final = re.compile(rf"[\s{_INVISIBLE}]+")
_GAPS_CONTINUED: Final = re.compile(rf"{_CONTINUED}|[\s{_INVISIBLE}]+")
_UNSEEN: Final = re.compile(rf"[{_INVISIBLE}]+")
_UNSEEN_CONTINUED: Final = re.compile(rf"{_CONTINUED}|[{_INVISIBLE}]+")
_BACKSLASHES: Final = re.compile(r"\\+")
# Begins with a set so that the regex engine skips plain text quickly.
_ESCAPES: Final = re.compile(
    rf"[%\\](?:"
    rf"(?<=%)(?:25)*(?:[CDcd]{_H}{_FOLLOWING}|[Ee]{_H}(?:{_FOLLOWING}){{2}}|[Ff][0-7](?:{_FOLLOWING}){{3}}|{_H}{{2}})"
    rf"|(?<=\\)(?<!\\\\)\\*+(?:u[Dd][89ABab]{_H}{{2}}\\++u[Dd][C-Fc-f]{_H}{{2}}|u{_H}{{4}}|U{_H}{{8}}|x{_H}{{2}}|[nrtfv]))"
)
_UNFINISHED_ESCAPE: Final = re.compile(
    rf"(?:{_PERCENT}[C-Fc-f]{_H}(?:{_FOLLOWING}){{0,2}}(?:{_PERCENT}{_H}?)?|{_PERCENT}{_H}?"
    rf"|(?<!\\)\\++(?:u{_H}{{0,3}}|u[Dd][89ABab]{_H}{{2}}(?:\\++(?:u{_H}{{0,3}})?)?|U{_H}{{0,7}}|x{_H}?)?)\Z"
)
_HEX_SEPARATORS: Final = re.compile(r"[:,;.\-]{1,2}(?:0x)?(?=[0-9a-f])")
_UNFINISHED_SEPARATOR: Final = re.compile(r"(?<=[0-9a-f])[:,;.\-]{1,2}(?:0x?)?\Z")

# An escape of an escape of an escape; whoever nests deeper is not a program printing a key.
_DEPTH: Final = 6
_LOWER_HEX: Final = str.maketrans("ABCDEFX", "abcdefx")
_STANDARD_BASE64: Final = str.maketrans("-_", "+/")


@lru_cache(maxsize=4096)
def _decode(token: str) -> str:
    if token[0] == "%":
        raw = bytes(int(part[-2:], 16) for part in token[1:].split("%"))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw.decode("latin-1")
    code = token.lstrip("\\")
    if code in "nrtfv":
        return "\n"
    if code[0] == "u" and len(code) > 5:
        high, low = int(code[1:5], 16), int(code[-4:], 16)
        return chr(0x10000 + (high - 0xD800) * 0x400 + low - 0xDC00)
    point = int(code[1:], 16)
    return chr(point) if point <= 0x10FFFF else "\ufffd"


class _Pass:
    """One substitution, remembering enough to find the source of any character of its result."""

    __slots__ = ("_pattern", "_segments", "_source", "_write")

    def __init__(self, source: str, pattern: re.Pattern[str], write: Callable[[str], str] | None) -> None:
        self._source = source
        self._pattern = pattern
        # What is written for a token; None if tokens are dropped.
        self._write = write
        self._segments: tuple[list[int], list[int], dict[int, int]] | None = None

    def back(self, start: int, end: int) -> tuple[int, int]:
        # Only texts with something to redact get here, so the map is made on first use.
        if self._segments is None:
            self._segments = self._map_dropped() if self._write is None else self._map_written(self._write)
        folded, starts, ends = self._segments
        first = bisect_right(folded, start) - 1
        last = bisect_right(folded, end - 1) - 1
        # A token (it has an end) counts as a whole, a literal stretch character by character.
        return (
            starts[first] if first in ends else starts[first] + start - folded[first],
            ends[last] if last in ends else starts[last] + end - folded[last],
        )

    def _map_dropped(self) -> tuple[list[int], list[int], dict[int, int]]:
        tokens = [match.span() for match in self._pattern.finditer(self._source)]
        dropped = accumulate(end - start for start, end in tokens)
        folded = [end - so_far for (_, end), so_far in zip(tokens, dropped, strict=True)]
        return [0, *folded], [0, *(end for _, end in tokens)], {}

    def _map_written(self, write: Callable[[str], str]) -> tuple[list[int], list[int], dict[int, int]]:
        folded, starts, ends = [0], [0], dict[int, int]()
        at = written = 0
        for match in self._pattern.finditer(self._source):
            start, end = match.span()
            written += start - at
            ends[len(folded)] = at = end
            folded.append(written)
            starts.append(start)
            written += len(write(match[0]))
            folded.append(written)
            starts.append(end)
        return folded, starts, ends


class View:
    """A text as seen through passes; `origin` leads back to the text they began with."""

    __slots__ = ("_passes", "text")

    def __init__(self, text: str, passes: tuple[_Pass, ...] = ()) -> None:
        self.text = text
        self._passes = passes

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the original that became `text[start:end]`, which must not be empty."""
        for step in reversed(self._passes):
            start, end = step.back(start, end)
        return start, end

    def translated(self, table: dict[int, int]) -> "View":
        return View(self.text.translate(table), self._passes)

    def cut(self, end: int) -> "View":
        return View(self.text[:end], self._passes)

    def without(self, pattern: re.Pattern[str]) -> "View":
        return self._after(pattern, pattern.subn("", self.text), None)

    def decoded(self) -> "View":
        if "%" not in self.text and "\\" not in self.text:
            return self
        return self._after(_ESCAPES, _ESCAPES.subn(lambda m: _decode(m[0]), self.text), _decode)

    def _after(
        self, pattern: re.Pattern[str], substituted: tuple[str, int], write: Callable[[str], str] | None
    ) -> "View":
        text, count = substituted
        return View(text, (*self._passes, _Pass(self.text, pattern, write))) if count else self


def _joined(view: View, gaps: re.Pattern[str], continued: re.Pattern[str]) -> View:
    return view.without(continued if "\\" in view.text and "\n" in view.text else gaps)


def _decode_all(view: View, gaps: re.Pattern[str], continued: re.Pattern[str], *, growing: bool) -> View:
    """`view`, which is joined, with escapes decoded until nothing changes; the backslashes left over go last.

    Of a `growing` text, an escape that breaks off at the end is dropped, at every level of nesting.
    """
    for _ in range(_DEPTH):
        if growing and (tail := _UNFINISHED_ESCAPE.search(view.text)):
            view = view.cut(tail.start())
        decoded = view.decoded()
        if decoded is view:
            break
        view = _joined(decoded, gaps, continued)
    return view.without(_BACKSLASHES)


ViewName = Literal["exact", "undecoded", "packed", "base64", "hexadecimal"]


class Folded:
    """The views of one text in which secrets are looked for."""

    def __init__(self, text: str, *, growing: bool = False) -> None:
        self.exact = View(text)
        self._growing = growing

    @cached_property
    def _dense(self) -> View:
        return _joined(self.exact, _GAPS, _GAPS_CONTINUED)

    @cached_property
    def undecoded(self) -> View:
        """White space, invisible characters and backslashes dropped."""
        return self._dense.without(_BACKSLASHES)

    @cached_property
    def packed(self) -> View:
        """Escapes decoded and white space, invisible characters and stray backslashes dropped."""
        return _decode_all(self._dense, _GAPS, _GAPS_CONTINUED, growing=self._growing)

    @cached_property
    def spaced(self) -> View:
        """Like `packed`, with white space kept, so that separate words stay apart."""
        joined = _joined(self.exact, _UNSEEN, _UNSEEN_CONTINUED)
        return _decode_all(joined, _UNSEEN, _UNSEEN_CONTINUED, growing=self._growing)

    @cached_property
    def base64(self) -> View:
        """`packed` in the standard alphabet of base64."""
        return self.packed.translated(_STANDARD_BASE64)

    @cached_property
    def hexadecimal(self) -> View:
        """`packed` in lower case, with the separators of hex dumps dropped."""
        lower = self.packed.translated(_LOWER_HEX)
        if self._growing and (tail := _UNFINISHED_SEPARATOR.search(lower.text)):
            lower = lower.cut(tail.start())
        return lower.without(_HEX_SEPARATORS)

    def view(self, name: ViewName) -> View:
        match name:
            case "exact":
                return self.exact
            case "undecoded":
                return self.undecoded
            case "packed":
                return self.packed
            case "base64":
                return self.base64
            case "hexadecimal":
                return self.hexadecimal


def packed(text: str) -> str:
    """`text` as it appears in `Folded.packed`."""
    return Folded(text).packed.text


def undecoded(text: str) -> str:
    """`text` as it appears in `Folded.undecoded`."""
    return Folded(text).undecoded.text


def drop_invisible(text: str) -> str:
    """`text` without characters that are drawn with no width."""
    return _UNSEEN.sub("", text)
