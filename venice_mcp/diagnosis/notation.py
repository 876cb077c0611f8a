"""Values as programs print them, whole or cut off: JSON, Python's repr, Node's inspect, JSON inside a quoted text.

One forgiving reader for all of them, because what people paste is a mixture. It never fails and takes linear time.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from venice_mcp.diagnosis.claims import CUT

_DEEPEST = 60
_LONGEST_WORDS = 400

# Strings may run over line ends, because terminals break lines. Quotes that a backslash precedes are a whole string of
# escaped JSON; any other backslash takes its neighbour along, so that no quote is tried twice.
_TOKEN = re.compile(
    r"""(?sx)
      [bBrRuUfF]{0,2} (?P<quote>["'`]) (?P<text>(?:(?!(?P=quote))[^\\]|\\.)*+) (?P<end>(?P=quote))?
    | \\{1,8}" (?P<inner>[^"\\]*+(?:\\{1,8}[^"\\][^"\\]*+)*+) (?: (?P<stop>\\{1,8}") | \\{0,8}\Z )
    | \\.
    | (?P<open>[{\[(])
    | (?P<close>[}\])])
    | (?P<comma>,)
    | (?P<colon>=>|[:=])
    | (?P<word>[^\s"'`{}\[\](),:=\\]+(?:'[^\s"'`{}\[\](),:=\\]+)*)
    """
)
_PAIRS = {"}": "{", "]": "[", ")": "("}
_ESCAPE = re.compile(r"(?s)\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))")
_CONSTANTS = {
    "true": True, "True": True, "false": False, "False": False,
    "null": None, "None": None, "undefined": None,
}  # fmt: skip
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?")


class Found(NamedTuple):
    """A value and where it ends. `cut` is set when the text ended first."""

    value: Any
    end: int
    cut: bool


class Word(str):
    """A text that stood without quotes."""

    __slots__ = ()


@dataclass
class _Open:
    """A bracket that is not closed yet."""

    bracket: str
    pairs: dict[str, Any] = field(default_factory=dict[str, Any])
    items: list[Any] = field(default_factory=list[Any])
    name: str | None = None
    # The last value, which a colon would make the name of the next one.
    held: Any = None
    holds: bool = False

    def hold(self, value: Any) -> None:
        if self.holds and isinstance(self.held, Word) and isinstance(value, Word):
            value = Word(f"{self.held} {value}") if len(self.held) < _LONGEST_WORDS else self.held
        elif self.holds and isinstance(self.held, dict | list):
            # Two values without a comma, as in `Object [Headers] {...}`: neither is lost.
            self.items.append(cast("Any", self.held))
        self.held, self.holds = value, True

    def comma(self) -> None:
        if self.holds and self.name is not None:
            self.pairs[self.name] = self.held
        elif self.holds:
            self.items.append(self.held)
        self.name, self.holds = None, False

    def colon(self) -> None:
        if self.holds and isinstance(self.held, str) and self.name is None:
            self.name, self.holds = str(self.held), False

    def value(self) -> Any:
        self.comma()
        if self.bracket != "{" and not self.pairs:
            return self.items
        # What has no name is kept under the empty one.
        return self.pairs | {"": self.items} if self.items else self.pairs


def read(text: str, at: int) -> Found:
    """The value that begins with the bracket at `at`; members whose value was lost are left out."""
    stack = [_Open("")]
    too_deep = 0
    for match in _TOKEN.finditer(text, at):
        kind = match.lastgroup
        if kind == "open":
            if len(stack) <= _DEEPEST:
                stack.append(_Open(match[0]))
            else:
                too_deep += 1
        elif kind == "close" and too_deep:
            too_deep -= 1
        elif kind == "close":
            _close(stack, _PAIRS[match[0]])
            if len(stack) == 1:
                return Found(stack[0].held, match.end(), cut=False)
        elif kind == "comma":
            stack[-1].comma()
        elif kind == "colon":
            stack[-1].colon()
        elif kind is not None:
            _scalar(stack[-1], match, ends_text=match.end() == len(text))
    while len(stack) > 1:
        _close(stack, stack[-1].bracket)
    return Found(stack[0].held, len(text), cut=True)


def _close(stack: list[_Open], bracket: str) -> None:
    """Close the innermost `bracket` and whatever was left open inside; a bracket that nothing opened is no bracket."""
    if all(frame.bracket != bracket for frame in stack):
        return
    while True:
        closed = stack.pop()
        stack[-1].hold(closed.value())
        if closed.bracket == bracket:
            return


def _scalar(frame: _Open, match: re.Match[str], *, ends_text: bool) -> None:
    word = match["word"]
    if word is None:
        text = match["text"] if match["text"] is not None else match["inner"]
        text = _ESCAPE.sub(_unescaped, text)
        open_ended = match["end"] is None and match["stop"] is None
        # The beginning of a name names nothing, and the beginning of a message is marked as one.
        if not open_ended or frame.name is not None:
            frame.hold(text + CUT if open_ended else text)
    elif not ends_text:
        # At the end, 42 may be what is left of 429.
        frame.hold(_plain_value(word))


def _plain_value(word: str) -> Any:
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if _NUMBER.fullmatch(word):
        return float(word) if "." in word else int(word)
    return Word(word)


def _unescaped(match: re.Match[str]) -> str:
    digits = match[1] or match[2]
    if digits:
        return chr(int(digits, 16))
    return " " if match[3] in "nrtbf" else match[3]
