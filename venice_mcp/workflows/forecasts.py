"""When caps and balances will be used up at the present rate. Numbers in, forecast out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from venice_mcp.models.wire import window_end
from venice_mcp.policy.rules import CURRENCIES, Currency
from venice_mcp.workflows.facts import Facts
from venice_mcp.workflows.spending import Period, Since, Spend, days_between, midnight, sane, since

SOON = timedelta(days=14)
"""What has no window that ends (a LIFETIME cap, the USD balance) is warned of when it lasts no longer."""

_DAY = timedelta(days=1)
_FAR_DAYS = 3650.0
State = Literal["used up", "will be reached", "above threshold", "fine", "blocked on purpose", "spend not stated"]
_WARNED: tuple[State, ...] = ("used up", "will be reached", "above threshold")
_ORDER: dict[State, int] = {state: place for place, state in enumerate((*_WARNED, "fine"))}


@dataclass(frozen=True)
class Outlook:
    """What becomes of an amount that is used at a rate. Amounts in one currency.

    Attributes:
        per_day: None when it cannot be told.
        ends: when it starts again or nobody can use it any more.
        reached_at: when it is used up; None when that is not before `ends`, or more than ten years away.
        projected: percent of it that will be used when it `ends`.
    """

    used: float
    limit: float
    per_day: float | None
    ends: datetime | None
    reached_at: datetime | None
    projected: float | None

    @property
    def percent(self) -> float:
        return sane(self.used / self.limit * 100) if self.limit > 0 else 100.0


def outlook(used: float, limit: float, per_day: float | None, now: datetime, ends: datetime | None) -> Outlook:
    """At this rate from now on. `used` and `limit` are no less than 0."""
    reached = now if used >= limit else None
    projected = None
    if per_day is not None:
        days = (ends - now) / _DAY if ends is not None else None
        if days is not None and limit > 0:
            projected = sane((used + per_day * max(days, 0.0)) / limit * 100)
        left = limit - used
        # Compared before it is divided: a rate may be next to nothing.
        if reached is None and left <= per_day * (_FAR_DAYS if days is None else min(days, _FAR_DAYS)):
            at = now + timedelta(days=left / per_day)
            reached = at if ends is None or at < ends else None
    return Outlook(used, limit, per_day, ends, reached, projected)


# --- where rates begin ----------------------------------------------------------------------------


def named_alike(name: str, spend: Spend, every: Iterable[Facts]) -> set[str]:
    """The ids of all keys of this name; the web app's is empty."""
    spent = {each.key_id or "" for each in spend.keys or () if each.name == name}
    return spent | {facts.key.id for facts in every if facts.key.description == name}


def from_first_spending(spend: Spend, before: Spend | None, period: Period, every: Sequence[Facts]) -> Spend:
    """The same, with rates that leave out what lies before the first spending, as far as that is known.

    Days without spending count like others when there was spending in the period before.
    """
    made = {facts.key.id: facts.created for facts in every}
    oldest = min((at for at in made.values() if at), default=None) if None not in made.values() else None
    found: dict[Currency, Since] = {}
    for unit in CURRENCIES:
        first = min((day for day, amounts in spend.daily.items() if amounts[unit] > 0), default=None)
        if first is not None and not (before and before.total(unit) > 0):
            # The day is all that analytics tell; the oldest key may tell the hour.
            start = oldest if oldest and oldest.date() == first else midnight(first)
            if begun := since(start, spend.until or period.now, spend.days):
                found[unit] = begun
    keys: dict[str, Since] = {}
    for key_id, start in {**made, **_first_days(spend, before, every)}.items():
        start = max((each for each in (start, made.get(key_id)) if each), default=None)
        if start and (begun := since(start, period.now, spend.keys_days or spend.days)):
            keys[key_id] = begun
    return replace(spend, since=found, keys_since=keys)


def _first_days(spend: Spend, before: Spend | None, every: Sequence[Facts]) -> dict[str, datetime]:
    """When keys first spent anything, by id: those that cost most, have their name alone, and spent nothing before."""
    old = {each.key_id for each in (before.keys if before else None) or () if any(each.amounts.values())}
    found: dict[str, datetime] = {}
    for name, days in spend.by_name.items():
        alike = named_alike(name, spend, every)
        first = min((day for day, value in days.items() if value > 0), default=None)
        if first is not None and len(alike) == 1 and not alike & old:
            found[alike.pop()] = midnight(first)
    return found


# --- caps -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CapOutlook:
    """A key's cap and what becomes of it; `since` is where the rate begins when that is within the period."""

    facts: Facts
    currency: Currency
    cap: float
    state: State
    outlook: Outlook | None = None
    since: Since | None = None

    @property
    def warned(self) -> bool:
        return self.state in _WARNED


def caps_of(every: Sequence[Facts], spend: Spend | None, threshold: float) -> list[CapOutlook]:
    """Every cap of every key, worst first."""
    found = [
        _cap_of(facts, currency, cap, spend, threshold)
        for facts in every
        for currency in CURRENCIES
        if (cap := facts.cap(currency)) is not None
    ]
    return sorted(found, key=_badness)


def _cap_of(facts: Facts, currency: Currency, cap: float, spend: Spend | None, threshold: float) -> CapOutlook:
    used = facts.period.get(currency)
    if cap <= 0:
        return CapOutlook(facts, currency, 0.0, "blocked on purpose")
    if used is None:
        return CapOutlook(facts, currency, cap, "spend not stated")
    now = facts.now
    starts_again = window_end(facts.key.limit_period, now)
    ends = min((each for each in (starts_again, facts.end) if each is not None and each > now), default=None)
    begun = None
    if facts.key.limit_period == "EPOCH":
        # Its own day, not an average: what it did last week says little about today.
        today = midnight(now.date())
        per_day = sane(used) / days_between(max(today, facts.created or today), now)
    else:
        per_day = key_rate(facts.key.id, currency, spend)
        begun = spend.keys_since.get(facts.key.id) if spend else None
    found = outlook(sane(used), cap, per_day, now, ends)
    return CapOutlook(facts, currency, cap, _state(found, now, threshold), found, begun)


def _state(found: Outlook, now: datetime, threshold: float) -> State:
    if found.used >= found.limit:
        return "used up"
    if found.reached_at is not None and (found.ends is not None or found.reached_at - now <= SOON):
        return "will be reached"
    return "above threshold" if found.percent >= threshold else "fine"


def _badness(each: CapOutlook) -> tuple[int, float, float]:
    found = each.outlook
    if found is None:
        return len(_ORDER), 0.0, 0.0
    soon = found.reached_at.timestamp() if found.reached_at and each.state == "will be reached" else 0.0
    return _ORDER[each.state], soon, -max(found.percent, found.projected or 0.0)


def key_rate(key_id: str, currency: Currency, spend: Spend | None) -> float | None:
    """What a key spends a day: over the period, or since it began if that is shorter; None if nobody says."""
    if spend is None or spend.keys is None:
        return None
    begun = spend.keys_since.get(key_id)
    mine = next((each for each in spend.keys if each.key_id == key_id), None)
    if mine is None:
        # Analytics list everyone who spent anything; what keys say of themselves may be missing.
        return 0.0 if spend.source == "analytics" else None
    return mine.amounts[currency] / (begun.days if begun else spend.keys_days or spend.days)


# --- the account ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Account:
    """Today's DIEM and the USD balance. None is what could not be read, or what there is none of."""

    usd: Outlook | None
    diem: Outlook | None


def account_of(
    usd: float | None, diem: float | None, allocation: float | None, spend: Spend | None, now: datetime
) -> Account:
    """What becomes of the balances: USD at the rate of the period, DIEM at today's own pace since 00:00 UTC."""
    today = midnight(now.date())
    found_usd = found_diem = None
    if usd is not None:
        found_usd = outlook(0.0, sane(usd), spend.per_day("usd") if spend else None, now, None)
    if diem is not None:
        left = sane(diem)
        total = max(sane(allocation or 0.0), left)
        spent = total - left
        if not allocation and spend is not None:
            # Nobody says how much there was at 00:00, so what was spent since then does.
            spent = spend.daily.get(now.date(), dict[Currency, float]()).get("diem", 0.0)
            total = left + spent
        found_diem = outlook(spent, total, spent / days_between(today, now), now, today + _DAY)
    return Account(found_usd, found_diem)


def is_low(found: Outlook, now: datetime, threshold: float) -> bool:
    """Whether a balance is to be warned of."""
    if found.limit <= 0:
        return False
    soon = found.reached_at is not None and (found.ends is not None or found.reached_at - now <= SOON)
    return soon or found.percent >= threshold


def counted(states: Iterable[CapOutlook]) -> dict[State, int]:
    """How many caps are in each state."""
    found: dict[State, int] = {}
    for each in states:
        found[each.state] = found.get(each.state, 0) + 1
    return found
