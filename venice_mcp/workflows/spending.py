"""What was spent, by day, key and model, out of any of the places where Venice tells it. USD and DIEM stay apart."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from venice_mcp.models.wire import AnalyticsAnswer, ByKey, ByModel, UsageEntry
from venice_mcp.policy.rules import CURRENCIES, Currency
from venice_mcp.text import parse_time

LEAST = timedelta(hours=1)
"""A rate is told for no less than this, so that a day that has just begun does not look like a flood."""

_MOST = 1e12
_DAY = timedelta(days=1)
_CURRENCY: Mapping[str, Currency] = {each: each for each in CURRENCIES}
_PART = re.compile(r"-llm-[a-z-]+-mtoken$")

Amounts = Mapping[Currency, float]


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def days_between(since: datetime, now: datetime) -> float:
    """Days of spending for a rate: never none."""
    return max(now - since, LEAST) / _DAY


@dataclass(frozen=True)
class Period:
    """So many UTC days, the last of them today, which counts for the part that is over."""

    days: int
    now: datetime

    @property
    def last(self) -> date:
        return self.now.date()

    @property
    def first(self) -> date:
        return self.last - timedelta(days=self.days - 1)

    @property
    def dates(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range(self.days)]

    @property
    def elapsed(self) -> float:
        """Days of it that are over."""
        return days_between(midnight(self.first), self.now)

    @property
    def before(self) -> tuple[date, date]:
        """First and last day of the equally long period before."""
        return self.first - timedelta(days=self.days), self.first - _DAY


@dataclass(frozen=True)
class Spender:
    """A key or a model and what it cost. A key without an id is the web app."""

    name: str
    amounts: Amounts
    key_id: str | None = None


class Since(NamedTuple):
    """Where a rate begins that is of fewer days than the rest, and how many those are."""

    day: date
    days: float


def since(start: datetime, end: datetime, days: float) -> Since | None:
    """The time from `start` on, but a day at least; None when that is all of the `days` up to `end`."""
    start = min(start, end)
    counted = max((end - start) / _DAY, 1.0)
    return Since(start.date(), counted) if counted < days else None


@dataclass(frozen=True)
class Spend:
    """What was spent in `days` days. `keys` or `models` are None when the source does not tell them.

    Attributes:
        daily: by day; days without an entry are days without spending.
        keys_days: how many days the amounts of `keys` are for, when it is not `days`.
        until: where a sample ends; later spending is in none of the numbers.
        since, keys_since: where the rates of a currency and of a key begin, if that is later.
    """

    source: str
    days: float
    daily: Mapping[date, Amounts]
    keys: Sequence[Spender] | None
    models: Sequence[Spender] | None
    keys_days: float | None = None
    until: datetime | None = None
    by_name: Mapping[str, Mapping[date, float]] = field(default_factory=dict[str, dict[date, float]])
    since: Mapping[Currency, Since] = field(default_factory=dict[Currency, Since])
    keys_since: Mapping[str, Since] = field(default_factory=dict[str, Since])

    def total(self, currency: Currency) -> float:
        return sane(math.fsum(each.get(currency, 0.0) for each in self.daily.values()))

    def per_day(self, currency: Currency) -> float:
        begun = self.since.get(currency)
        return self.total(currency) / (begun.days if begun else self.days)


def sane(value: float) -> float:
    """An amount that can be reckoned with: no less than nothing, and no more than anybody spends."""
    return 0.0 if math.isnan(value) else min(max(value, 0.0), _MOST)


def _amounts(usd: float, diem: float) -> Amounts:
    return {"usd": sane(usd), "diem": sane(diem)}


def _day_of(text: str) -> date | None:
    """A day: Venice writes `2026-11-18`, a time, or (in the daily rows) milliseconds since 1970."""
    digits = text.removesuffix(".0")
    if len(digits) > 8 and digits.isdecimal() and digits.isascii():
        try:
            return datetime.fromtimestamp(int(digits) / 1000, UTC).date()
        except (ValueError, OverflowError, OSError):
            return None
    moment = parse_time(text)
    return moment.date() if moment else None


# --- analytics ------------------------------------------------------------------------------------


def from_analytics(answer: AnalyticsAnswer, dates: Sequence[date], days: float) -> Spend | None:
    """The analytics of some days, or None when none of its days can be read."""
    daily: dict[date, Amounts] = {}
    legible = not answer.by_date
    for row in answer.by_date:
        day = _day_of(row.date)
        legible = legible or day is not None
        if day is not None and day in dates:
            daily[day] = _amounts(row.USD, row.DIEM)
    if not legible:
        return None
    return Spend(
        "analytics",
        days,
        daily,
        _added_up([_key(row) for row in answer.by_key]),
        _added_up([_model(row) for row in answer.by_model]),
        by_name=_by_name(answer, dates),
    )


def _key(row: ByKey) -> Spender:
    return Spender(row.description or "web app", _amounts(row.total_usd, row.total_diem), row.api_key_id)


def _model(row: ByModel) -> Spender:
    return Spender(row.model_name, _amounts(row.total_usd, row.total_diem))


def _added_up(spenders: Iterable[Spender]) -> list[Spender]:
    """Each once: a model may have a row for each unit it is billed in, and deleted keys may share a name."""
    found: dict[str, Spender] = {}
    for each in spenders:
        known = found.get(each.key_id or f" {each.name}")
        if known is not None:
            amounts = _amounts(*(known.amounts[unit] + each.amounts[unit] for unit in CURRENCIES))
            each = Spender(each.name, amounts, each.key_id)
        found[each.key_id or f" {each.name}"] = each
    return list(found.values())


def _by_name(answer: AnalyticsAnswer, dates: Sequence[date]) -> dict[str, dict[date, float]]:
    """What the keys that cost most spent each day, in whatever currency: Venice adds both up here."""
    series: defaultdict[str, dict[date, float]] = defaultdict(dict)
    for row in answer.by_key_daily:
        at = row.get("date")
        day = _day_of(f"{at:.0f}") if at is not None and abs(at) < 1e15 else None
        if day is not None and day in dates:
            for name in answer.top_key_names:
                series[name][day] = sane(row.get(name) or 0.0)
    return dict(series)


# --- the ledger -----------------------------------------------------------------------------------


def from_ledger(entries: Sequence[UsageEntry], period: Period, *, cut: bool) -> Spend:
    """The ledger's entries of a period, oldest first. They name no key; `cut` says that there are more."""
    daily: dict[date, dict[Currency, float]] = {}
    models: dict[str, dict[Currency, float]] = {}
    until: datetime | None = None
    for entry in entries:
        at = parse_time(entry.timestamp)
        currency = _CURRENCY.get(entry.currency.casefold())
        until = at or until
        if at is None or currency is None or not period.first <= at.date() <= period.last:
            continue
        for sums in (
            daily.setdefault(at.date(), dict.fromkeys(CURRENCIES, 0.0)),
            models.setdefault(_PART.sub("", entry.sku), dict.fromkeys(CURRENCIES, 0.0)),
        ):
            sums[currency] += sane(-entry.amount)
    days = days_between(midnight(period.first), until) if cut and until else period.elapsed
    return Spend(
        "ledger",
        days,
        daily,
        None,
        [Spender(name, _amounts(sums["usd"], sums["diem"])) for name, sums in models.items()],
        until=until if cut else None,
    )
