"""How far a key reaches, measured so that two can be compared whatever they are spelled like.

Everything that cannot be read for certain counts as the widest: a cap that is no number is no cap, an expiry that
is not an unmistakable moment is none, a name that Venice may have added is the widest of its kind.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from venice_mcp.models.wire import PERIODS, PRIVACY, WINDOWS
from venice_mcp.policy.patterns import matches
from venice_mcp.policy.rules import CURRENCIES, Currency, KeyRules
from venice_mcp.text import exact, parse_time, plain, quoted

Aspect = Literal["usd", "diem", "expiry", "description", "privacy"]
ASPECTS: tuple[Aspect, ...] = ("usd", "diem", "expiry", "description", "privacy")

SKEW = timedelta(minutes=1)
"""Between choosing an expiry and judging it some time passes, and clocks differ."""
NEVER = datetime.max.replace(tzinfo=UTC)
# Without an offset, or as a mere date, Venice and we might mean different moments.
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass(frozen=True)
class Reach:
    """What a key may do.

    Attributes:
        caps: None is no cap. The deprecated VCU cap is none that counts: a change may drop it.
        period: the name of the caps' window.
        window: its place in PERIODS; -1, which resets more often than any, when it is unknown.
        end: when it expires.
        privacy: the place of its tier in PRIVACY, narrowest first.
    """

    caps: Mapping[Currency, float | None]
    period: str
    window: int
    end: datetime
    tier: str
    privacy: int
    description: str

    def capped(self, currency: Currency, ceiling: float, period: str) -> bool:
        """Whether it is held to a ceiling: a window that resets less often only lets through less."""
        cap = self.caps[currency]
        return cap is not None and cap <= ceiling and self.window >= PERIODS.index(period)

    def ends_within(self, days: float, now: datetime) -> bool:
        return self.end <= now + timedelta(days=days) + SKEW


def reach_of(settings: Mapping[str, Any]) -> Reach:
    """The reach of a new key's or an existing key's settings."""
    # Left out means Venice's own choice: a cap is per EPOCH, and which models may be used is not said.
    period, tier = settings.get("limit_period") or "EPOCH", settings.get("model_privacy") or "ALL"
    return Reach(
        caps={currency: _cap(settings.get(f"{currency}_cap")) for currency in CURRENCIES},
        period=str(period),
        window=_place(PERIODS, period, unknown=-1),
        end=_end(settings.get("expires_at")),
        tier=str(tier),
        privacy=_place(PRIVACY, tier, unknown=len(PRIVACY)),
        description=str(settings.get("description") or ""),
    )


def after_change(before: Mapping[str, Any], intent: Mapping[str, Any]) -> dict[str, Any]:
    """A key's settings once a change was sent, as `KeyChange.applied_to` has them."""
    after = {**before, **{name: value for name, value in intent.items() if name != "id"}}
    caps = {f"{currency}_cap" for currency in CURRENCIES}
    if caps & intent.keys():
        # Both are sent then, and one that was not given is sent as null.
        after |= {name: intent.get(name) for name in caps}
    return after


def wider(aspect: Aspect, before: Reach, after: Reach) -> bool:
    """Whether a key reaches further than before in one aspect; an unclear change counts as further."""
    if aspect == "expiry":
        return after.end > before.end
    if aspect == "description":
        return after.description != before.description
    if aspect == "privacy":
        return after.tier != before.tier and after.privacy >= before.privacy
    old, new = before.caps[aspect], after.caps[aspect]
    if old is None:
        return False
    return new is None or new > old or (after.period != before.period and after.window <= before.window)


def broken(rules: KeyRules, reach: Reach, now: datetime) -> dict[Aspect, str]:
    """What rules have against a reach, with what would pass."""
    found: dict[Aspect, str] = {}
    for currency in CURRENCIES:
        ceilings = {period: limits[currency] for period, limits in rules.max_cap.items() if currency in limits}
        if ceilings and not any(reach.capped(currency, ceiling, period) for period, ceiling in ceilings.items()):
            most = " or ".join(f"{exact(value)} {WINDOWS[period]}" for period, value in ceilings.items())
            found[currency] = f"the {currency.upper()} cap must be at most {most}"
        elif currency in rules.require_caps and reach.caps[currency] is None:
            found[currency] = f"a {currency.upper()} cap is required"
    if rules.max_days is not None and not reach.ends_within(rules.max_days, now):
        found["expiry"] = f"it must expire within {exact(rules.max_days)} days"
    if rules.description is not None and not matches(rules.description, reach.description):
        found["description"] = f"the description must match {quoted(rules.description, 200)}"
    if rules.model_privacy is not None and reach.privacy > PRIVACY.index(rules.model_privacy) != len(PRIVACY) - 1:
        tiers = PRIVACY[: PRIVACY.index(rules.model_privacy) + 1]
        found["privacy"] = f"model_privacy must be {' or '.join(tiers)}"
    return found


def _cap(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _end(value: object) -> datetime:
    moment = parse_time(value) if isinstance(value, str) and _MOMENT.fullmatch(value) else None
    return moment or NEVER


def _place(order: Sequence[str], value: object, *, unknown: int) -> int:
    return order.index(value) if isinstance(value, str) and value in order else unknown


def named(value: object) -> str:
    """A type or kind that somebody else wrote, for a sentence."""
    return plain(str(value), 20)
