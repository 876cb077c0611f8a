"""A pasted error, read: whatever mixture of bodies, headers, dumps and words it is, and without any secret in it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from venice_mcp.client.pace import seconds_until, wait_asked_for
from venice_mcp.diagnosis.accounts import Account, accounts
from venice_mcp.diagnosis.bodies import Shape
from venice_mcp.diagnosis.claims import claims, moment, number
from venice_mcp.diagnosis.traces import KEY_ID, MODEL, PATH, WAIT, last_words, shape_of
from venice_mcp.secrets import Redactor, mask_pasted
from venice_mcp.text import plain

MAX_PASTED = 20_000
"""Characters that are read, the last of what was pasted."""

Whose = Literal["user", "api_key", "global"]

_LONGEST_WAIT_S = 31 * 86_400.0
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,79}")
_UUID = re.compile(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_LEAST_KEY = 40
"""Characters behind the prefix; Venice makes 42 or more."""
_WRAPPED_KEY = re.compile(
    rf"VENICE_(?:INFERENCE|ADMIN)_KEY_([A-Za-z0-9_-]{{0,{_LEAST_KEY}}}(?:\n[A-Za-z0-9_-]{{1,60}}){{1,3}})"
)
# What curl -v prints for a body that it sends or gets, which would open a bracket.
_CURL_DATA = re.compile(r"(?m)^[{}] \[[0-9]{1,9} bytes data\]$")
_PIECES = re.compile(r"([0-9]{1,6})\s?(ms|mil|s|min|h|d)")
_PIECE_S = {"ms": 0.001, "mil": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_COUNTS = ("limit-requests", "remaining-requests", "limit-tokens", "remaining-tokens")
_WHOSE: tuple[Whose, ...] = ("user", "api_key", "global")


@dataclass(frozen=True)
class Pasted:
    """What a pasted text tells of the last error in it. Every text is redacted, plain and short.

    Attributes:
        said: Venice's own words, or of a proxy's page its title and whose it seems to be.
        fields: the members that `details` name, dotted, each with its first message.
        headers: names in lower case; only those of rate limits, retry-after, x-venice-*, cf-ray and date.
        wait_s: in how many seconds from now it may be tried again; 0 when that time is over.
        limits: limit_requests, remaining_requests, limit_tokens, remaining_tokens, as far as known.
        whose: whose limit it was.
        had_secret: a secret was taken out, here or before.
        from_proxy: it is no answer of Venice, but of something on the way.
        claims: the codes of the causes it speaks for, the likeliest first.
        errors: how many errors were pasted.
        others: what the errors before the last one spoke for besides.
        shape: what it was read as.
    """

    status: int | None = None
    code: str = ""
    said: str = ""
    model: str | None = None
    key_id: str | None = None
    path: str | None = None
    fields: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    wait_s: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    whose: Whose | None = None
    from_proxy: bool = False
    had_secret: bool = False
    claims: tuple[str, ...] = ()
    errors: int = 0
    others: tuple[str, ...] = ()
    shape: Shape = "nothing"


def read_pasted(text: str, redactor: Redactor, now: datetime) -> Pasted:
    """Read what somebody pasted; a text that tells nothing gives a `Pasted` of shape `nothing`. Never raises."""
    clean = _cleaned(text, redactor)
    found = accounts(clean)
    errors = [each for each in found if each.is_error] or [
        each for each in found if each.status is None and each.headers
    ]
    last = errors[-1] if errors else found[-1] if found else Account()
    return _Reader(clean, redactor, now, redacted="[redacted" in clean).read(last, errors)


# --- making it harmless ---------------------------------------------------------------------------


def _cleaned(text: str, redactor: Redactor) -> str:
    """Lines of visible characters without secrets. Colours go first, or they would hide a secret from its redactor."""
    text = _CURL_DATA.sub("", _LINE_ENDS.sub("\n", _ESCAPES.sub("", text)))
    text = "\n".join(plain(line, max(1, len(line))) for line in text.split("\n"))
    return mask_pasted(redactor.redact(_WRAPPED_KEY.sub(_rejoined, text)))[-MAX_PASTED:]


def _rejoined(match: re.Match[str]) -> str:
    """A key that is broken over lines, also one that the redactor was never told of: as many of them as make up one."""
    length = 0
    lines = match[1].split("\n")
    for place, line in enumerate(lines):
        length += len(line)
        if place and length >= _LEAST_KEY:
            return "\n".join(["[redacted]", *lines[place + 1 :]])
    return match[0]


# --- what of it is kept ----------------------------------------------------------------------------


class _Reader:
    def __init__(self, text: str, redactor: Redactor, now: datetime, *, redacted: bool) -> None:
        self._text = text
        self._redactor = redactor
        self._now = now
        self._had_secret = redacted

    def read(self, last: Account, errors: list[Account]) -> Pasted:
        headers = {name: self._kept(value, 80) for name, value in last.headers.items() if name != "content-type"}
        from_proxy = last.shape == "html" or ("content-type" in last.headers and not last.told)
        said = self._kept(last.said or (last_words(self._text) if last.is_error and not from_proxy else ""), 200)
        code = self._fitting(_CODE, last.code) or ""
        path = self._path()
        sent = min(moment(headers.get("date", "")) or self._now, self._now)
        spoken = claims(
            last.status, said, "not_json" if from_proxy else code, path=path or "", headers=headers, now=sent
        )
        limited = last.status in (None, 429) and bool(spoken)
        others = [
            each
            for one in errors[:-1]
            for each in claims(one.status, one.said, one.code, headers=one.headers, now=sent)
            if each not in spoken
        ]
        limits = {name.replace("-", "_"): number(headers.get(f"x-ratelimit-{name}", "")) for name in _COUNTS}
        return Pasted(
            status=last.status,
            code=code,
            said=said,
            model=self._fitting(_MODEL_ID, self._model(last)),
            key_id=self._fitting(_UUID, last.key_id or _last(KEY_ID, self._text)),
            path=path,
            fields=tuple(filter(None, (self._kept(each, 120) for each in last.fields))),
            headers=headers,
            wait_s=self._wait(last, headers, sent, limited=limited),
            limits={name: count for name, count in limits.items() if count is not None},
            whose=next((each for each in _WHOSE if each == headers.get("x-ratelimit-type")), None),
            from_proxy=from_proxy or "not_from_venice" in spoken,
            claims=spoken,
            errors=len(errors),
            others=tuple(dict.fromkeys(others))[:8],
            shape=shape_of(self._text, last.shape, with_headers=bool(headers)),
            had_secret=self._had_secret,
        )

    def _kept(self, text: str, limit: int) -> str:
        """Redacted once more, because what was escaped is readable only now; then plain, then cut."""
        text = plain(text, max(1, len(text)))
        safe = mask_pasted(self._redactor.redact(text))
        self._had_secret = self._had_secret or safe != text
        return plain(safe, limit)

    def _fitting(self, pattern: re.Pattern[str], text: str) -> str | None:
        kept = self._kept(text, 100)
        return kept if pattern.fullmatch(kept) else None

    def _model(self, last: Account) -> str:
        """The model in the message itself, else the one in its body, else the last one named."""
        named = _last(MODEL, last.said) or last.model or _last(MODEL, self._text)
        return "" if named.startswith(("endpoint:", "model:")) else named.rstrip(".,;:")

    def _path(self) -> str | None:
        path = self._kept(_last(PATH, self._text), 100).rstrip(".")
        return path or None

    def _wait(self, last: Account, headers: Mapping[str, str], sent: datetime, *, limited: bool) -> float | None:
        """How long to wait from now. What Venice counts, it counts from when it answered."""
        ways = self._ways(last, headers, sent, limited=limited)
        wait_s = next((each for each in ways if each is not None), None)
        if wait_s is None or wait_s > _LONGEST_WAIT_S:
            return None
        return max(0.0, wait_s - (self._now - sent).total_seconds())

    def _ways(
        self, last: Account, headers: Mapping[str, str], sent: datetime, *, limited: bool
    ) -> Iterator[float | None]:
        """The ways in which an answer tells how long to wait, the most exact first, in seconds from `sent`."""
        yield wait_asked_for({"retry-after": headers.get("retry-after", "")}, sent)
        milliseconds = number(headers.get("retry-after-ms", ""))
        yield None if milliseconds is None else milliseconds / 1000
        yield last.wait_s
        resets = number(headers.get("x-ratelimit-resets", ""))
        if limited and resets is not None and number(headers.get("x-ratelimit-remaining", "0")) == 0:
            yield seconds_until(resets, sent, longest_s=120)
        if limited:
            yield wait_asked_for(headers, sent)
        yield _in_words(last.said) or (_in_words(self._text) if last.shape in ("own_text", "plain_text") else None)


def _last(pattern: re.Pattern[str], text: str) -> str:
    found = [next(filter(None, match.groups()), "") for match in pattern.finditer(text)]
    return found[-1] if found else ""


def _in_words(text: str) -> float | None:
    """`wait 30s`, `try again in 2 minutes`: seconds, of the last such words."""
    if not (named := _last(WAIT, text)):
        return None
    return sum(int(count) * _PIECE_S[unit] for count, unit in _PIECES.findall(named.lower()))
