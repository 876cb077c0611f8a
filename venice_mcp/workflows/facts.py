"""One key as checks see it: times and amounts read once; what Venice does not say is neither zero nor never."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from venice_mcp.models.wire import Key, TrailingUsage
from venice_mcp.policy.rules import CURRENCIES, Currency
from venice_mcp.text import away, parse_time

RECENT = timedelta(days=7)
"""A key used or billed within it is in use, whatever a caller calls unused."""

_BANDS = {"under 7 d": 7, "7-29 d": 30, "30-89 d": 90, "90-364 d": 365}
_OLDEST = "365 d and more"


@dataclass(frozen=True)
class Facts:
    """A key as the checks see it. None is what Venice does not say, or not legibly.

    Attributes:
        own: whether this server itself runs on the key.
        never: Venice says that it was not used yet.
        week, period: spent in the last 7 days and in the current cap window, per currency.
    """

    key: Key
    own: bool
    now: datetime
    created: datetime | None
    used: datetime | None
    end: datetime | None
    week: Mapping[Currency, float | None] = field(default_factory=dict[Currency, float | None])
    period: Mapping[Currency, float | None] = field(default_factory=dict[Currency, float | None])

    @property
    def never(self) -> bool:
        return self.key.last_used_at is None

    @property
    def billed(self) -> bool:
        return any((self.week.get(currency) or 0) > 0 for currency in CURRENCIES)

    @property
    def in_use(self) -> bool:
        """Also when it cannot be ruled out."""
        return self.billed or (not self.never and (self.used is None or self.now - self.used < RECENT))

    def unused_for(self, days: float) -> bool:
        """Whether it was used once, and then not for so long."""
        return self.used is not None and not self.in_use and self.now - self.used >= timedelta(days=days)

    def never_used_for(self, days: float) -> bool:
        """Whether it was made so long ago and never used."""
        old = self.created is not None and self.now - self.created >= timedelta(days=days)
        return self.never and not self.billed and old

    def cap(self, currency: Currency) -> float | None:
        limits = self.key.consumption_limits
        return limits.usd if currency == "usd" else limits.diem

    def seen(self, currency: Currency) -> float:
        """The most that it is known to have spent."""
        return max(self.week.get(currency) or 0, self.period.get(currency) or 0)

    def age(self) -> str:
        return f"made {_day(self.created, self.now)}" if self.created else "creation date not stated"

    def use(self) -> str:
        if self.never:
            return "never used"
        return f"last used {_day(self.used, self.now)}" if self.used else "last use not legible"


def facts_of(key: Key, *, own: bool, now: datetime) -> Facts:
    """Times and amounts of a key, read once."""
    week = key.usage.trailing_seven_days if key.usage else None
    return Facts(
        key=key,
        own=own,
        now=now,
        created=parse_time(key.created_at),
        used=parse_time(key.last_used_at),
        end=parse_time(key.expires_at),
        week=_amounts(week),
        period=_amounts(key.current_period_usage),
    )


def _amounts(spent: TrailingUsage | None) -> dict[Currency, float | None]:
    stated = spent.model_fields_set if spent else frozenset[str]()
    return {each: _number(getattr(spent, each)) if each in stated else None for each in CURRENCIES}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _day(moment: datetime, now: datetime) -> str:
    return f"{moment:%Y-%m-%d} ({away(moment, now)})"


# --- many keys ------------------------------------------------------------------------------------


def spread(
    every: Sequence[Facts], moment: Callable[[Facts], datetime | None], *, none: str, odd: str | None = None
) -> dict[str, int]:
    """How many keys lie how far back."""
    found: Counter[str] = Counter()
    for facts in every:
        at = moment(facts)
        if at is None:
            found[none if odd is None or facts.never else odd] += 1
            continue
        days = (facts.now - at) / timedelta(days=1)
        found[next((name for name, top in _BANDS.items() if days < top), _OLDEST)] += 1
    names = [*_BANDS, _OLDEST, none, *([odd] if odd else [])]
    return {name: found[name] for name in names if found[name]}


def not_stated(every: Sequence[Facts]) -> dict[str, int]:
    """Checks that could not be made, and for how many keys."""
    capped = [facts for facts in every if any((facts.cap(each) or 0) > 0 for each in CURRENCIES)]
    counts = {
        "created_at": sum(facts.created is None for facts in every),
        "last_used_at": sum(facts.used is None and not facts.never for facts in every),
        "expires_at": sum(facts.end is None and facts.key.expires_at is not None for facts in every),
        "spend in 7 days": sum(all(value is None for value in facts.week.values()) for facts in every),
        "spend of the cap's window": sum(
            any((facts.cap(each) or 0) > 0 and facts.period.get(each) is None for each in CURRENCIES)
            for facts in capped
        ),
    }
    return {name: count for name, count in counts.items() if count}
