"""Regular expressions that can be trusted to finish: a policy's pattern runs before every write.

Python's matcher tries every way in which a pattern could fit, and some patterns have more ways than there is time
for. How many there can be is estimated from how the pattern is built, and one with too many is refused.
"""

import re
import warnings
from dataclasses import dataclass
from math import comb

MAX_PATTERN = 200
MAX_DESCRIPTION = 64
"""Longer descriptions are not Venice's, and match nothing."""
_MAX_WAYS = 1 << 20
_TOKEN = re.compile(
    r"""(?P<refused>\(\?(?!:)|\\[0-9])
    |(?P<atom>\\.|\[\^?\]?(?:\\.|[^\]\\])*\])
    |(?P<open>\((?:\?:)?)
    |(?P<close>\))
    |(?P<or>\|)
    |(?P<fixed>\{[0-9]+\})
    |(?P<maybe>(?:\?|\{0?,1\})[?+]?)
    |(?P<repeat>(?:[*+]|\{[0-9]*,[0-9]*\})[?+]?)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


class PatternError(ValueError):
    """A pattern that cannot be used: why not."""


def checked(pattern: str) -> str:
    """The pattern, if it is one that surely finishes.

    Raises:
        PatternError: it is too long, not a regular expression, or could take for ever.
    """
    if len(pattern) > MAX_PATTERN:
        raise PatternError(f"must be at most {MAX_PATTERN} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python only warns of is most likely not what was meant
            re.compile(pattern)
    except (re.error, Warning, OverflowError, RecursionError):
        raise PatternError("is not a regular expression") from None
    if _ways(pattern) > _MAX_WAYS:
        raise PatternError("could take too long to match: use fewer of * + ? {m,n} and |")
    return pattern


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text fits."""
    return len(text) <= MAX_DESCRIPTION and re.fullmatch(pattern, text) is not None


@dataclass
class _Group:
    """A group while it is read.

    Attributes:
        before: the ways of its finished alternatives.
        ways: those of the alternative being read, without its last atom.
        last: those of its last atom.
        chooses: whether there is more than one way in it.
        last_chooses: whether there is in its last atom.
    """

    before: int = 0
    ways: int = 1
    last: int = 1
    chooses: bool = False
    last_chooses: bool = False

    def add(self, ways: int = 1, *, chooses: bool = False) -> None:
        self.ways *= self.last
        self.last, self.last_chooses = ways, chooses
        self.chooses |= chooses

    def choose(self, more: int = 0) -> None:
        self.last += more
        self.chooses = self.last_chooses = True

    def alternative(self) -> None:
        self.before += self.ways * self.last
        self.ways = self.last = 1
        self.chooses, self.last_chooses = True, False

    def all(self) -> int:
        return self.before + self.ways * self.last


def _ways(pattern: str) -> int:
    """An upper estimate of the ways to match a description, which all repeats share between them."""
    groups = [_Group()]
    repeats = 0
    for token in _TOKEN.finditer(pattern):
        group, kind = groups[-1], token.lastgroup
        if kind == "refused":
            raise PatternError("may hold neither (?...) other than (?:...) nor back references")
        if kind == "open":
            groups.append(_Group())
        elif kind == "close" and len(groups) > 1:
            groups.pop()
            groups[-1].add(group.all(), chooses=group.chooses)
        elif kind == "or":
            group.alternative()
        elif kind == "maybe":
            group.choose(1)
        elif kind in ("fixed", "repeat"):
            if group.last_chooses:
                raise PatternError("may not repeat a group that holds a repeat, an option or an alternative")
            if any(int(count) > MAX_DESCRIPTION for count in re.findall("[0-9]+", token[0])):
                raise PatternError(f"may not count beyond {MAX_DESCRIPTION}, the length of a description")
            repeats += kind == "repeat"
            group.choose()
        else:
            group.add()
    return sum(group.all() for group in groups) * comb(MAX_DESCRIPTION + repeats, repeats)
