"""`Redactor`: takes every known secret, in every usual encoding, out of text that leaves the process."""

import re
from collections.abc import Collection, Iterable, Iterator
from threading import Lock
from typing import Any, Final, NamedTuple, cast

from venice_mcp.secrets.folding import Folded, ViewName
from venice_mcp.secrets.needles import SHORTEST, Haystack, Needle, needles_of
from venice_mcp.secrets.shapes import KEY_PREFIXES, KEY_SHAPE, jwt_spans
from venice_mcp.secrets.types import Secret

_MOST_SECRETS: Final = 2000
_DEEPEST_TREE: Final = 200
_LABEL: Final = re.compile(r"[A-Za-z0-9 _-]{1,40}")
_PLAIN_LABEL: Final = "secret"
_ANONYMOUS: Final = "[redacted]"
# A private-use character that no view drops: it keeps offsets and matches nothing.
_MASK: Final = "\ue000"
_ENOUGH_TO_HIDE: Final = 8
_ENOUGH_TO_HOLD: Final = 4
# How far back a beginning is looked for; far longer than any key, encoded twice and split.
_TAIL: Final = 16_384
_LONGEST_CLEAN: Final = 64
_MOST_CLEAN: Final = 10_000
_VIEWS: Final[tuple[ViewName, ...]] = ("exact", "undecoded", "packed", "base64", "hexadecimal")

_WORD = "[A-Za-z0-9_-]"
_GROWING_KEY: Final = re.compile(rf"VENICE_(?:INFERENCE|ADMIN)_KEY_{_WORD}*\Z")
_ESCAPE_START: Final = re.compile(r"[%\\]")
_GROWING_JWT: Final = re.compile(rf"(?:ey?|eyJ{_WORD}*+(?:\.(?:ey?)?|\.eyJ{_WORD}*+(?:\.{_WORD}*+)?)?)\Z")
_AFTER_WORD: Final = re.compile(rf"(?<={_WORD})")


class Span(NamedTuple):
    """A stretch of text to be replaced by its marker."""

    start: int
    end: int
    marker: str
    known: bool


class Beginning(NamedTuple):
    """The end of a text that could be the beginning of a secret."""

    start: int
    hold: bool
    hide: bool


def _marker(secret: Secret, label: str) -> str:
    if KEY_SHAPE.fullmatch(secret.reveal()):
        return f"[redacted ...{secret.last6}]"
    if label == _PLAIN_LABEL or not _LABEL.fullmatch(label):
        return _ANONYMOUS
    return f"[redacted {label}]"


def render(text: str, spans: Iterable[Span], start: int, end: int) -> str:
    """`text[start:end]` with `spans` replaced; they are in order and apart, and may begin before `start`."""
    parts: list[str] = []
    at = start
    for span in spans:
        if span.end <= start or span.start >= end:
            continue
        parts += (text[at : max(span.start, at)], span.marker)
        at = span.end
    parts.append(text[at:end])
    return "".join(parts)


def _merged(spans: list[Span]) -> list[Span]:
    """`spans` in order and apart; the marker of a known secret wins, then that of the longest."""
    merged: list[Span] = []
    best = 0, 0
    for span in sorted(spans):
        rank = int(span.known), span.end - span.start
        if not merged or span.start >= merged[-1].end:
            merged.append(span)
            best = rank
            continue
        last = merged[-1]
        marker = span.marker if rank > best else last.marker
        best = max(best, rank)
        merged[-1] = Span(last.start, max(last.end, span.end), marker, last.known or span.known)
    return merged


def _public_part(beginning: str) -> int:
    """How much of the beginning of a key is the prefix that all keys share."""
    return max((len(p) if beginning.startswith(p) else len(beginning) * p.startswith(beginning)) for p in KEY_PREFIXES)


def _overlap(text: str, prefix: str) -> int:
    """The length of the longest end of `text` with which `prefix` begins."""
    return next((size for size in range(len(prefix), 0, -1) if text.endswith(prefix[:size])), 0)


class Redactor:
    """Knows the secrets of this process and replaces them in any encoding; threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[Secret, tuple[Needle, ...]] = {}
        self._haystacks: dict[ViewName, Haystack] | None = None
        # Short texts that held nothing: in a list of keys the same names and words come again in every key.
        self._clean: set[str] = set()

    def add(self, secret: Secret, *, label: str = "secret") -> None:
        """Replace `secret` from now on; the newest 2,000 are kept, and none shorter than 8 characters."""
        value = secret.reveal()
        if len(value) < SHORTEST:
            return
        needles = tuple(needles_of(value, _marker(secret, label)))
        with self._lock:
            self._known.pop(secret, None)
            self._known[secret] = needles
            while len(self._known) > _MOST_SECRETS:
                del self._known[next(iter(self._known))]
            self._haystacks = None
            # A new set: whoever looks at a text just now, without this secret, notes it in the old one.
            self._clean = set()

    def redact(self, text: str, shown: Collection[Secret] = ()) -> str:
        """`text` without secrets; those in `shown` may stay where they stand exactly as they are."""
        return render(text, self.spans(text, shown), 0, len(text))

    def redact_tree(self, value: Any, shown: Collection[Secret] = ()) -> Any:
        """`value` with every text in dicts, lists and tuples redacted; the same object if nothing changed."""
        return self._redact_tree(value, shown, 0)

    def _redact_tree(self, value: Any, shown: Collection[Secret], depth: int) -> Any:
        if isinstance(value, str):
            redacted = self.redact(value, shown)
            return value if redacted == value else redacted
        if not isinstance(value, (dict, list, tuple)):
            return value
        if depth >= _DEEPEST_TREE:
            return "[redacted: nested too deeply]"
        if isinstance(value, dict):
            return self._redact_dict(cast(dict[Any, Any], value), shown, depth)
        old = cast("list[Any] | tuple[Any, ...]", value)
        new = [self._redact_tree(item, shown, depth + 1) for item in old]
        if all(a is b for a, b in zip(old, new, strict=True)):
            return old
        return new if isinstance(old, list) else tuple(new)

    def _redact_dict(self, old: dict[Any, Any], shown: Collection[Secret], depth: int) -> dict[Any, Any]:
        new: dict[Any, Any] = {}
        changed = False
        for key, item in old.items():
            new_key = name = self._redact_tree(key, shown, depth + 1)
            count = 1
            while new_key in new or (new_key is not key and new_key in old):
                count += 1
                new_key = f"{name} ({count})"
            new[new_key] = self._redact_tree(item, shown, depth + 1)
            changed = changed or new_key is not key or new[new_key] is not item
        return new if changed else old

    def spans(self, text: str, shown: Collection[Secret] = ()) -> list[Span]:
        """What `redact` would replace in `text`, in order and without overlaps."""
        clean = self._clean
        if len(text) < SHORTEST or text in clean:
            return []
        folded = Folded(self._masked(text, shown) if shown else text)
        found = [*self._known_spans(folded), *self._shaped_spans(folded)]
        if not found and not shown and len(text) <= _LONGEST_CLEAN and len(clean) < _MOST_CLEAN:
            clean.add(text)
        return _merged(found) if found else found

    def _known_spans(self, folded: Folded) -> Iterator[Span]:
        for name, haystack in self._index().items():
            if name == "undecoded" and folded.packed is folded.undecoded:
                continue
            view = folded.view(name)
            for needle, at in haystack.find(view.text):
                yield Span(*view.origin(*needle.around(view.text, at)), needle.marker, known=True)

    def _shaped_spans(self, folded: Folded) -> Iterator[Span]:
        packed = folded.packed
        for rough in KEY_SHAPE.finditer(packed.text):
            # Packed, a key swallows the words after it; it really ends where the first white space is.
            offset, end = packed.origin(*rough.span())
            spaced = Folded(folded.exact.text[offset:end]).spaced
            for match in KEY_SHAPE.finditer(spaced.text):
                start, end = spaced.origin(*match.span())
                yield Span(offset + start, offset + end, f"[redacted ...{match[0][-6:]}]", known=False)
        if next(jwt_spans(packed.text), None):
            for start, end in jwt_spans(folded.spaced.text):
                yield Span(*folded.spaced.origin(start, end), _ANONYMOUS, known=False)

    def _index(self) -> dict[ViewName, Haystack]:
        with self._lock:
            if self._haystacks is None:
                needles = [needle for group in self._known.values() for needle in group]
                haystacks: dict[ViewName, Haystack] = {}
                for name in _VIEWS:
                    if haystack := Haystack(n for n in needles if n.view == name):
                        haystacks[name] = haystack
                self._haystacks = haystacks
            return self._haystacks

    def _masked(self, text: str, shown: Collection[Secret]) -> str:
        """`text` with `shown` masked where it is plain, but not inside a longer secret that is not shown."""
        values = sorted({secret.reveal() for secret in shown} - {""}, key=len, reverse=True)
        with self._lock:
            others = [secret.reveal() for secret in self._known if secret not in shown]
        kept = [
            match.span()
            for longer in others
            if any(value in longer for value in values)
            for match in re.finditer(re.escape(longer), text)
        ]
        for value in values:
            parts: list[str] = []
            at = 0
            for match in re.finditer(re.escape(value), text):
                inside = any(start <= match.start() and match.end() <= end for start, end in kept)
                parts += (text[at : match.start()], match[0] if inside else _MASK * len(value))
                at = match.end()
            text = "".join((*parts, text[at:]))
        return text

    def beginning(self, text: str, spans: Iterable[Span]) -> Beginning:
        """The end of `text` that later text could complete to a secret; `spans` are those found in `text`.

        It starts at `len(text)` if there is none. `hold` says not to pass it on yet: any length counts in
        an unfinished line, after a line break only what is surely more than chance. `hide` says that it is
        already too much of a secret to be shown.
        """
        offset = max(0, len(text) - _TAIL)
        tail = text[offset:]
        ended = text.endswith(("\n", "\r"))
        folded = Folded(tail, growing=True)
        best = Beginning(len(tail), hold=False, hide=False)
        for start, size, public, least in self._beginnings(folded, tail):
            hold = size >= least if not ended else size >= _ENOUGH_TO_HOLD and size > public
            hide = size - public >= _ENOUGH_TO_HIDE
            best = Beginning(min(best.start, start), best.hold or hold, best.hide or hide)
        complete = {(span.start, span.end) for span in spans if span.known}
        spaced = folded.spaced
        for pattern in (_GROWING_KEY, _GROWING_JWT):
            if match := pattern.search(spaced.text):
                start, end = spaced.origin(*match.span())
                # The e of "the" begins nothing likely: it goes out, but is remembered.
                likely = len(match[0]) > 2 or not _AFTER_WORD.match(spaced.text, match.start())
                if (offset + start, offset + end) not in complete:
                    best = Beginning(min(best.start, start), best.hold or likely, best.hide)
        return best._replace(start=offset + best.start)

    def _beginnings(self, folded: Folded, tail: str) -> Iterator[tuple[int, int, int, int]]:
        """The start, size, public part and least size to hold of what each view ends with."""
        for name, haystack in self._index().items():
            view = folded.view(name)
            at = haystack.begun(view.text)
            if at < len(view.text):
                public = _public_part(view.text[at:])
                least = _ENOUGH_TO_HOLD if name in ("base64", "hexadecimal") else 1
                yield view.origin(at, len(view.text))[0], len(view.text) - at, public, least
        spaced = folded.spaced
        if size := max(_overlap(spaced.text, prefix) for prefix in KEY_PREFIXES):
            end = len(spaced.text)
            yield spaced.origin(end - size, end)[0], size, size, 1
        packed = folded.packed
        done = packed.origin(len(packed.text) - 1, len(packed.text))[1] if packed.text else 0
        if escape := _ESCAPE_START.search(tail, done):
            yield escape.start(), 1, 0, 1
