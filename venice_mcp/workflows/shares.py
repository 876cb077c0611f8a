"""Who spends what: the keys and models that cost most, and what changed against the period before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from venice_mcp.policy.rules import CURRENCIES, Currency
from venice_mcp.workflows.facts import Facts
from venice_mcp.workflows.spending import Amounts, Spender, sane

WEEK_DAYS = 7.0


@dataclass(frozen=True)
class Share:
    """A key's or model's part: percent of all in each currency, and how its rate changed."""

    spender: Spender
    percent: Mapping[Currency, float]
    change: Mapping[Currency, str | None]

    @property
    def weight(self) -> float:
        """Its larger share: the two currencies have no common measure."""
        return max(self.percent.values(), default=0.0)


def from_keys(every: Sequence[Facts]) -> list[Spender]:
    """What keys say of the last 7 days, where it is stated."""
    return [
        Spender(
            facts.key.description,
            {unit: sane(facts.week[unit] or 0.0) for unit in CURRENCIES},
            facts.key.id,
        )
        for facts in every
        if any(facts.week[unit] is not None for unit in CURRENCIES)
    ]


def shares(
    spenders: Sequence[Spender], days: float, before: Sequence[Spender] | None, days_before: float
) -> list[Share]:
    """Whoever spent anything now, largest share first, then whoever only did before."""
    sums = {unit: sane(sum(each.amounts[unit] for each in spenders)) for unit in CURRENCIES}
    old = {_same(each): each for each in before or ()}
    found: list[Share] = []
    for each in spenders:
        if not _spent(each.amounts):
            continue
        then = old.pop(_same(each), None)
        percent: dict[Currency, float] = {
            unit: each.amounts[unit] / sums[unit] * 100 if sums[unit] > 0 else 0.0 for unit in CURRENCIES
        }
        found.append(Share(each, percent, _changes(each.amounts, days, then, days_before, known=before is not None)))
    nothing: Amounts = dict.fromkeys(CURRENCIES, 0.0)
    gone = [
        Share(Spender(then.name, nothing, then.key_id), nothing, _changes(nothing, days, then, days_before, known=True))
        for then in old.values()
        if _spent(then.amounts)
    ]
    return sorted(found, key=lambda share: share.weight, reverse=True) + sorted(gone, key=_gone_first(old))


def _gone_first(old: Mapping[str, Spender]) -> Callable[[Share], float]:
    return lambda share: -max(old[_same(share.spender)].amounts.values())


def _same(each: Spender) -> str:
    return each.key_id or f" {each.name}"


def _spent(amounts: Amounts) -> bool:
    return any(amounts[unit] > 0 for unit in CURRENCIES)


def _changes(
    amounts: Amounts, days: float, then: Spender | None, days_before: float, *, known: bool
) -> dict[Currency, str | None]:
    if not known:
        return dict.fromkeys(CURRENCIES)
    return {
        unit: change(amounts[unit] / days, (then.amounts[unit] if then else 0.0) / days_before) for unit in CURRENCIES
    }


def change(now: float, before: float) -> str | None:
    """How a rate differs: new, gone, +12 %, x15; None when there was and is nothing."""
    if now <= 0:
        return "gone" if before > 0 else None
    if before <= 0:
        return "new"
    # By the ratio, not by the difference: it may be next to nothing.
    ratio = min(now / before, 9999.0) if now < before * 9999 else 9999.0
    return f"x{ratio:.0f}" if ratio >= 10 else f"{round((ratio - 1) * 100):+d} %".replace("+0 %", "0 %")
