"""A pasted error, read: whatever mixture of bodies, headers, dumps and words it is, and without any secret in it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from venice_mcp.client.pace import seconds_until, wait_asked_for
from venice_mcp.diagnosis.accounts import Account, accounts
from venice_mcp.diagnosis.bodies import Shape
from venice_mcp.diagnosis.claims import Codes, claims, moment, number
from venice_mcp.diagnosis.traces import KEY_ID, MODEL, PATH, SENT, WAIT, last_words, shape_of
from venice_mcp.secrets import Redactor, mask_pasted, mask_unreadable
from venice_mcp.text import parse_time, plain

_LONGEST_WAIT_S = 31 * 86_400.0
_LONGEST_FIELD = 40
_MOST_FIELDS = 4
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+=-]{0,79}")
_UUID = re.compile(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
# What curl -v prints for a body that it sends or gets, which would open a bracket.
_CURL_DATA = re.compile(r"(?m)^[{}] \[[0-9]{1,9} bytes data\]$")
_PIECES = re.compile(r"([0-9]{1,6})\s?(ms|mil|s|min|h|d)")
_PIECE_S = {"ms": 0.001, "mil": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_COUNTS = ("limit-requests", "remaining-requests", "limit-tokens", "remaining-tokens")
_FAST_CLOCK = timedelta(minutes=5)
"""How far ahead of ours the clock of whoever wrote down a time may be."""
_MARK = "[redacted"


@dataclass(frozen=True)
class Pasted:
    """What a pasted text tells of the last error in it. Every text is redacted, plain and short.

    Attributes:
        sent: when the last error came, if a Date header, a row of the log or a log line in UTC tells; never after now.
        said: Venice's own words, or of a proxy's page its title and whose it seems to be.
        fields: the members that `details` name, dotted, each with its first message; at most four, 40 characters each.
        headers: names in lower case; only those of rate limits, retry-after, x-venice-*, cf-ray and date.
        wait_s: in how many seconds from now it may be tried again; 0 when that time is over.
        limits: limit_requests, remaining_requests, limit_tokens, remaining_tokens, as far as known.
        had_secret: what may well be a key, a token or a password was taken out, here or before.
        from_proxy: it is no answer of Venice, but of something on the way.
        claims: the codes of the causes it speaks for, the likeliest first.
        others: what the errors before the last one spoke for besides.
        shape: what it was read as.
    """

    status: int | None = None
    sent: datetime | None = None
    code: str = ""
    said: str = ""
    model: str | None = None
    key_id: str | None = None
    fields: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    wait_s: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    from_proxy: bool = False
    had_secret: bool = False
    claims: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    shape: Shape = "nothing"


def read_pasted(text: str, redactor: Redactor, now: datetime) -> Pasted:
    """Read what somebody pasted; a text that tells nothing gives a `Pasted` of shape `nothing`. Never raises."""
    # A second time for who called this with a text as it came.
    clean = _CURL_DATA.sub("", mask_pasted(text, redactor))
    found = accounts(clean)
    errors = [each for each in found if each.is_error] or [
        each for each in found if each.status is None and each.headers
    ]
    last = errors[-1] if errors else found[-1] if found else Account()
    return _Reader(clean, redactor, now, had_secret=_MARK in clean).read(last, errors)


# --- what of it is kept ----------------------------------------------------------------------------


class _Reader:
    def __init__(self, text: str, redactor: Redactor, now: datetime, *, had_secret: bool) -> None:
        self._text = text
        self._redactor = redactor
        self._now = now
        self._had_secret = had_secret

    def read(self, last: Account, errors: list[Account]) -> Pasted:
        headers = {name: self._kept(value, 80) for name, value in last.headers.items() if name != "content-type"}
        from_proxy = last.shape == "html" or ("content-type" in last.headers and not last.told)
        said = self._kept(last.said or (last_words(self._text) if last.is_error and not from_proxy else ""), 200)
        code = self._fitting(_CODE, last.code) or ""
        path = self._kept(_last(PATH, self._text), 100).rstrip(".")
        told = self._sent(last, headers)
        sent = told or self._now
        spoken = claims(last.status, said, "not_json" if from_proxy else code, path=path, headers=headers, now=sent)
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
            sent=told,
            code=code,
            said=said,
            model=self._fitting(_MODEL_ID, self._model(last)),
            key_id=self._fitting(_UUID, last.key_id or _last(KEY_ID, self._text)),
            fields=tuple(kept for each in last.fields[:_MOST_FIELDS] if (kept := self._field(each))),
            headers=headers,
            wait_s=self._wait(last, headers, sent, spoken if limited else ()),
            limits={name: count for name, count in limits.items() if count is not None},
            from_proxy=from_proxy or "not_from_venice" in spoken,
            claims=spoken,
            others=tuple(dict.fromkeys(others))[:8],
            shape=shape_of(self._text, last.shape, with_headers=bool(headers)),
            had_secret=self._had_secret,
        )

    def _kept(self, text: str, limit: int) -> str:
        """Masked once more, because what was escaped is readable only now; then plain, then cut."""
        safe = mask_unreadable(mask_pasted(text, self._redactor))
        self._had_secret = self._had_secret or _MARK in safe
        return plain(safe, limit)

    def _field(self, text: str) -> str:
        """A member and what is wrong with it, for a sentence in which it may stand between quotes."""
        return self._kept(text, _LONGEST_FIELD).replace('"', "'")

    def _fitting(self, pattern: re.Pattern[str], text: str) -> str | None:
        kept = self._kept(text, 100)
        return kept if pattern.fullmatch(kept) else None

    def _model(self, last: Account) -> str:
        """The model in the message itself, else the one in its body, else the last one named."""
        named = _last(MODEL, last.said) or last.model or _last(MODEL, self._text)
        return "" if named.startswith(("endpoint:", "model:")) else named.rstrip(".,;:")

    def _sent(self, last: Account, headers: Mapping[str, str]) -> datetime | None:
        """When the last error came, as far as something tells that."""
        told = moment(headers.get("date", "")) or parse_time(last.sent) or parse_time(_last(SENT, self._text))
        return min(told, self._now) if told is not None and told - self._now <= _FAST_CLOCK else None

    def _wait(self, last: Account, headers: Mapping[str, str], sent: datetime, hit: Codes) -> float | None:
        """How long to wait from now. What Venice counts, it counts from when it answered."""
        wait_s = next((each for each in self._ways(last, headers, sent, hit) if each is not None), None)
        if wait_s is None or wait_s > _LONGEST_WAIT_S:
            return None
        return max(0.0, wait_s - (self._now - sent).total_seconds())

    def _ways(self, last: Account, headers: Mapping[str, str], sent: datetime, hit: Codes) -> Iterator[float | None]:
        """The ways in which an answer tells how long to wait, the most exact first, in seconds from `sent`."""
        yield wait_asked_for({"retry-after": headers.get("retry-after", "")}, sent)
        milliseconds = number(headers.get("retry-after-ms", ""))
        yield None if milliseconds is None else milliseconds / 1000
        yield last.wait_s
        resets = number(headers.get("x-ratelimit-resets", ""))
        if hit and resets is not None and number(headers.get("x-ratelimit-remaining", "0")) == 0:
            yield seconds_until(resets, sent, longest_s=120)
        if hit:
            # Of two limits that are used up, the one that is claimed first.
            other = {"requests_per_minute": "tokens", "requests_per_day": "tokens", "tokens_per_minute": "requests"}
            not_hit = f"x-ratelimit-reset-{other.get(hit[0], '')}"
            yield wait_asked_for({name: value for name, value in headers.items() if name != not_hit}, sent)
        yield _in_words(last.said) or (_in_words(self._text) if last.shape in ("own_text", "plain_text") else None)


def _last(pattern: re.Pattern[str], text: str) -> str:
    found = [next(filter(None, match.groups()), "") for match in pattern.finditer(text)]
    return found[-1] if found else ""


def _in_words(text: str) -> float | None:
    """`wait 30s`, `try again in 2 minutes`: seconds, of the last such words."""
    if not (named := _last(WAIT, text)):
        return None
    return sum(int(count) * _PIECE_S[unit] for count, unit in _PIECES.findall(named.lower()))
