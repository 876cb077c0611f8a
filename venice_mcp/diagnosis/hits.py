"""The log of limit hits, read: which model ran into which limit, how often, and whether in bursts or all the time.

The log shows refusals only, never what was let through, so nothing here is a rate of requests.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from venice_mcp.models.wire import LogRow
from venice_mcp.text import parse_time, plain, sparkline
from venice_mcp.text import span as duration

Pattern = Literal["single", "burst", "sustained"]

SAMPLE = 50
"""Venice keeps the last 50 rows of the account: of a full log only the newest part is known."""
SKEW = timedelta(minutes=5)
"""A row this far in the future is our clock's fault or Venice's; further ahead it is no time at all."""
EPISODE_GAP = timedelta(minutes=5)
"""Limits per minute forget within one. Five quiet windows mean that demand fell, not that a client backed off."""
SUSTAINED = timedelta(minutes=10)
MANY_MINUTES = 5
"""A pile of work that came at once drains within some windows; refused for ten minutes, it is demand that goes on."""
BUSY_SLOTS = 3
BUSY_HOURS = 3
"""An hourly job and its retries touch one or two slots of five minutes in an hour, demand above the limit touches more.
Three such hours, and most of those that passed between first and last, are no coincidence."""
DAYS_APART = timedelta(hours=12)
"""Hits of a daily limit on both sides of midnight are one exhaustion; Venice does not state when its day begins."""
MAX_BINS = 24
_MINUTE, _SLOT, _HOUR, _DAY = 60, 300, 3600, 86400
_MINUTES, _HOURS, _DAYS = (1, 5, 15, 30), (1, 3, 6, 12), (1, 2, 7, 30)
_WIDTHS_S = (10, 30, *(n * _MINUTE for n in _MINUTES), *(n * _HOUR for n in _HOURS), *(n * _DAY for n in _DAYS))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR = 2000
_IN_MS = 1e11


class Hit(NamedTuple):
    """A refusal. `kind` is RPM, TPM, RPD, FAILED_REQUESTS, UNSUPPORTED_FEATURE_REQUESTS or a word of Venice's in upper
    case; `model` may be `endpoint:...` or `model:unknown`. All are made harmless."""

    at: datetime
    kind: str
    model: str
    key_id: str


def read_hits(rows: Sequence[LogRow], now: datetime) -> tuple[list[Hit], int]:
    """The readable rows, oldest first, and how many had no legible time."""
    hits = [
        Hit(
            at,
            plain(row.rate_limit_type.upper(), 40) or "UNKNOWN",
            plain(row.model_id) or "model:unknown",
            plain(row.api_key_id, 40),
        )
        for row in rows
        if (at := _moment(row.timestamp, now)) is not None
    ]
    return sorted(hits, key=lambda hit: hit.at), len(rows) - len(hits)


def _moment(value: str, now: datetime) -> datetime | None:
    # A date alone is no moment of a day.
    at = parse_time(value) if "T" in value.upper() or ":" in value else _of_epoch(value)
    # Year 1 and the like stand for no time.
    if at is None or at.year < _FIRST_YEAR or at - now > SKEW:
        return None
    return min(at, now)


def _of_epoch(value: str) -> datetime | None:
    """A Unix time in seconds or milliseconds."""
    if not re.fullmatch(r"[0-9]{10}(?:[0-9]{3})?(?:\.[0-9]{1,9})?", value):
        return None
    number = float(value)
    return _EPOCH + timedelta(seconds=number / 1000 if number >= _IN_MS else number)


def is_sample(rows: Sequence[LogRow]) -> bool:
    """Whether the log is full, so that older hits are unknown and every count is of a sample."""
    return len(rows) >= SAMPLE


# --- groups ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """The hits of one limit of one model.

    Attributes:
        keys: how many hits each key had, the most first.
        pattern: `sustained` if an episode (hits no more than 5 minutes apart) lasted 10 minutes or most hours are busy;
            for RPD if most days from the first to the last had hits, two at least. `single` is one hit, the rest is
            `burst`.
        longest_s: how long the longest episode lasted.
        busy_hours: hours with hits in three slots of five minutes or more.
        cut: the log is full and reaches back too little to tell a burst from sustained demand.
    """

    model: str
    kind: str
    count: int
    keys: tuple[tuple[str, int], ...]
    first: datetime
    last: datetime
    pattern: Pattern
    episodes: int
    longest_s: float
    busy_hours: int
    cut: bool


def grouped(hits: Sequence[Hit], *, full: bool = False, oldest: datetime | None = None) -> list[Group]:
    """The hits by model and kind, the most hit first.

    `full` says that the log was (`is_sample`); `oldest` is its oldest hit, if only some of its hits are given.
    """
    found: dict[tuple[str, str], list[Hit]] = {}
    for hit in sorted(hits, key=lambda hit: hit.at):
        found.setdefault((hit.model, hit.kind), []).append(hit)
    reaches_back = (oldest or min((hit.at for hit in hits), default=None)) if full else None
    groups = [_group(some, reaches_back) for some in found.values()]
    return sorted(groups, key=lambda group: (-group.count, -group.last.timestamp(), group.model, group.kind))


def _group(hits: Sequence[Hit], reaches_back: datetime | None) -> Group:
    times = [hit.at for hit in hits]
    first, last = times[0], times[-1]
    kind = hits[0].kind
    episodes = _episodes(times)
    busy = _busy_hours(times)
    sustained = _on_most_days(times) if kind == "RPD" else _goes_on(episodes) or _in_most_hours(times, busy)
    pattern: Pattern = "sustained" if sustained else "burst" if len(hits) > 1 else "single"
    needed = DAYS_APART if kind == "RPD" else SUSTAINED
    return Group(
        model=hits[0].model,
        kind=kind,
        count=len(hits),
        keys=tuple(Counter(hit.key_id for hit in hits).most_common()),
        first=first,
        last=last,
        pattern=pattern,
        episodes=len(episodes),
        longest_s=max((some[-1] - some[0]).total_seconds() for some in episodes),
        busy_hours=busy,
        cut=not sustained and reaches_back is not None and last - reaches_back < needed,
    )


def _episodes(times: Sequence[datetime]) -> list[list[datetime]]:
    found = [[times[0]]]
    for at in times[1:]:
        if at - found[-1][-1] > EPISODE_GAP:
            found.append([])
        found[-1].append(at)
    return found


def _distinct(times: Iterable[datetime], width_s: int) -> set[int]:
    return {_seconds(at) // width_s for at in times}


def _busy_hours(times: Sequence[datetime]) -> int:
    slots = Counter(slot * _SLOT // _HOUR for slot in _distinct(times, _SLOT))
    return sum(count >= BUSY_SLOTS for count in slots.values())


def _goes_on(episodes: Iterable[Sequence[datetime]]) -> bool:
    return any(
        some[-1] - some[0] >= SUSTAINED and len(_distinct(some, _MINUTE)) >= MANY_MINUTES for some in episodes
    )  # fmt: skip


def _in_most_hours(times: Sequence[datetime], busy: int) -> bool:
    passed = _seconds(times[-1]) // _HOUR - _seconds(times[0]) // _HOUR + 1
    return busy >= BUSY_HOURS and 2 * busy > passed


def _on_most_days(times: Sequence[datetime]) -> bool:
    days = _distinct(times, _DAY)
    return len(days) > 1 and 2 * len(days) > max(days) - min(days) + 1 and times[-1] - times[0] >= DAYS_APART


def _seconds(at: datetime) -> int:
    return math.floor((at - _EPOCH).total_seconds())


# --- the timeline ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timeline:
    """Hits in at most 24 bins of equal width up to `end`; `older` ones fell before them."""

    starts: tuple[datetime, ...]
    width_s: int
    counts: tuple[int, ...]
    end: datetime
    older: int = 0

    def line(self) -> str:
        """`14:00 |bars| 15:00 UTC, 5 min each`; with dates if it leaves the day; nothing without hits."""
        if not self.starts:
            return ""
        begin, end = self.starts[0], self.end
        clock = "%H:%M:%S" if self.width_s < _MINUTE else "%H:%M"
        within_a_day = clock if begin.date() == end.date() else f"%Y-%m-%d {clock}"
        form = "%Y-%m-%d" if self.width_s >= _DAY else within_a_day
        each = duration(timedelta(seconds=self.width_s))
        return f"{begin:{form}} |{sparkline(self.counts)}| {end:{form}} UTC, {each} each"


def timeline(hits: Iterable[Hit], now: datetime, *, span: timedelta | None = None) -> Timeline:
    """Bins from the oldest hit to now, as narrow as 24 of them allow; of the last `span` only, if that is given."""
    now = now.astimezone(UTC)
    all_times = [min(hit.at, now) for hit in hits]
    times = [_seconds(at) for at in all_times if span is None or now - at <= span]
    older = len(all_times) - len(times)
    if not times:
        return Timeline((), _WIDTHS_S[0], (), now, older)
    oldest, newest = min(times), _seconds(now)
    width = next((width for width in _WIDTHS_S if newest // width - oldest // width < MAX_BINS), None)
    if width is None:
        width = _WIDTHS_S[-1] * math.ceil((newest - oldest) / (_WIDTHS_S[-1] * (MAX_BINS - 1)))
    first = oldest // width
    counts = [0] * (newest // width - first + 1)
    for at in times:
        counts[at // width - first] += 1
    starts = tuple(_EPOCH + timedelta(seconds=(first + place) * width) for place in range(len(counts)))
    return Timeline(starts, width, tuple(counts), now, older)
