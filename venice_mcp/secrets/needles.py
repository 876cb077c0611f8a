"""What to look for once a secret is known: its forms in the views of `folding`."""

import re
from binascii import b2a_base64
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Final, final

from venice_mcp.secrets.folding import ViewName, packed, undecoded
from venice_mcp.secrets.shapes import KEY_PREFIXES, KEY_SHAPE

SHORTEST: Final = 8
"""Shorter secrets would make redaction eat ordinary text."""

_GRAM: Final = SHORTEST
# With fewer needles `str.find` for each is quicker than one look at every position.
_FEW: Final = 256
_LEAD: Final = 6
_SHORTEST_WITH_LEAD: Final = 24
_HEX_DIGITS: Final = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{16,})")


@final
class Needle:
    """One form of a secret. No repr, no dict: nothing that prints objects prints it."""

    __slots__ = ("after", "before", "core", "lead", "marker", "view")

    def __init__(
        self, view: ViewName, core: str, marker: str, *, lead: str = "", before: int = 0, after: int = 0
    ) -> None:
        self.view: ViewName = view
        self.core = core
        self.marker = marker
        # What goes before the core in the whole form, and is taken along if it is there.
        self.lead = lead
        # Characters of base64 at either end that hold some bits of the secret and some of their neighbour.
        self.before = before
        self.after = after

    def around(self, text: str, at: int) -> tuple[int, int]:
        """All that belongs to the core found at `at`."""
        start = at
        for char in reversed(self.lead):
            if start == 0 or text[start - 1] != char:
                break
            start -= 1
        return max(start - self.before, 0), min(at + len(self.core) + self.after, len(text))


@final
class Haystack:
    """All the needles that are looked for in one view."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        self._needles = [needle for needle in needles if len(needle.core) >= SHORTEST]

    def __bool__(self) -> bool:
        return bool(self._needles)

    def find(self, text: str) -> Iterator[tuple[Needle, int]]:
        """Every occurrence, overlapping ones too."""
        if len(self._needles) > _FEW:
            yield from self._find_by_gram(text)
            return
        for needle in self._needles:
            at = text.find(needle.core)
            while at >= 0:
                yield needle, at
                at = text.find(needle.core, at + 1)

    def _find_by_gram(self, text: str) -> Iterator[tuple[Needle, int]]:
        grams = self._grams
        for at in range(len(text) - _GRAM + 1):
            for needle in grams.get(text[at : at + _GRAM], ()):
                start = at + _GRAM - len(needle.core)
                if start >= 0 and text.startswith(needle.core, start):
                    yield needle, start

    @cached_property
    def _grams(self) -> dict[str, list[Needle]]:
        grams: dict[str, list[Needle]] = {}
        for needle in self._needles:
            # The end of a form, because many keys begin alike.
            grams.setdefault(needle.core[-_GRAM:], []).append(needle)
        return grams

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted({form for needle in self._needles for form in (needle.lead + needle.core, needle.core)})

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._sorted), default=0)

    def begun(self, text: str) -> int:
        """Where the longest end of `text` starts that is the beginning of a form, but not all of it."""
        forms = self._sorted
        for at in range(max(0, len(text) - self._longest + 1), len(text)):
            beginning = text[at:]
            following = bisect_right(forms, beginning)
            if following < len(forms) and forms[following].startswith(beginning):
                return at
        return len(text)


def _split(form: str) -> tuple[str, str]:
    """`form` as lead and core, where the core alone is enough to call it the secret."""
    if KEY_SHAPE.fullmatch(form):
        lead = next(prefix for prefix in KEY_PREFIXES if form.startswith(prefix))
    else:
        lead = form[:_LEAD] if len(form) >= _SHORTEST_WITH_LEAD else ""
    return lead, form[len(lead) :]


def _in_base64(raw: bytes, marker: str) -> Iterator[Needle]:
    for offset in range(3):
        text = b2a_base64(bytes(offset) + raw, newline=False).decode()
        bits = 8 * (offset + len(raw))
        first, last = -(-8 * offset // 6), bits // 6
        yield Needle("base64", text[first:last], marker, before=offset > 0, after=bits % 6 > 0)


def _views(spelling: str) -> tuple[tuple[ViewName, str], ...]:
    return ("undecoded", undecoded(spelling)), ("packed", packed(spelling))


def needles_of(value: str, marker: str) -> Iterator[Needle]:
    """Every form of `value` that is looked for."""
    raw = value.encode("utf-8", "surrogatepass")
    spellings = {value, raw.decode("latin-1")}
    binaries = {raw}
    if KEY_SHAPE.fullmatch(value):
        lead, body = _split(value)
        binaries = {body.encode()}
        yield Needle("hexadecimal", body.encode().hex(), marker, lead=lead.encode().hex())
    else:
        yield Needle("hexadecimal", raw.hex(), marker)
    if digits := _HEX_DIGITS.fullmatch(value):
        # A wallet key: also without 0x, in capitals, and as the bytes that it stands for.
        yield Needle("hexadecimal", digits[1].lower(), marker)
        if len(digits[1]) % 2 == 0:
            meant = bytes.fromhex(digits[1])
            spellings.add(meant.decode("latin-1"))
            binaries.add(meant)
    for spelling in spellings:
        for view, form in _views(spelling):
            lead, core = _split(form)
            yield Needle(view, core, marker, lead=lead)
    if len(packed(value)) < SHORTEST or len(undecoded(value)) < SHORTEST:
        yield Needle("exact", value, marker)
    for binary in binaries:
        yield from _in_base64(binary, marker)
