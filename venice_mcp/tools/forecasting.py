"""How fast money is spent, and when caps and balances will be used up."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Annotated

from mcp_types import CallToolResult, ContentBlock
from pydantic import Field

from venice_mcp.app import Ctx, app_of
from venice_mcp.client.refusals import not_found
from venice_mcp.models.spending import SpendForecast
from venice_mcp.models.wire import BalanceAnswer
from venice_mcp.policy.rules import CURRENCIES
from venice_mcp.text import plain
from venice_mcp.tools.arguments import Arguments
from venice_mcp.tools.build import answer
from venice_mcp.tools.fields import KeyId
from venice_mcp.tools.forecast_data import Findings
from venice_mcp.tools.forecast_text import told
from venice_mcp.workflows.facts import Facts, facts_of
from venice_mcp.workflows.forecasts import Account, account_of, caps_of, from_first_spending, is_low, named_alike
from venice_mcp.workflows.readings import ANALYTICS, Readings, readings
from venice_mcp.workflows.shares import WEEK_DAYS, from_keys, shares
from venice_mcp.workflows.spending import Period, Spend, Spender


class ForecastSpend(Arguments):
    lookback_days: Annotated[int, Field(ge=1, le=45, description="UTC days, today included")] = 7
    threshold_percent: Annotated[
        float, Field(ge=1, le=100, allow_inf_nan=False, description="Warn of caps and DIEM used so far")
    ] = 80
    key_id: KeyId | None = None
    chart: Annotated[bool, Field(description="Add a PNG of the days")] = False


async def venice_forecast_spend(args: ForecastSpend, ctx: Ctx) -> Annotated[CallToolResult, SpendForecast]:
    """Forecast spending: burn rate in USD and DIEM, when the balance and each key's cap will be used up, and which keys
    and models cost most. Compares with the period before. Use it for "how long will it last" and "who spends it"; for
    why calls fail now use venice_diagnose. Changes nothing."""
    app = app_of(ctx)
    period = Period(args.lookback_days, app.now())
    found = _found(args, period, await readings(app.client, period, app.sleep))
    more: list[ContentBlock] = []
    if args.chart:
        part = await _chart(found)
        if isinstance(part, str):
            found = replace(found, notes=[*found.notes, part])
        else:
            more.append(part)
    text, data = told(found)
    return answer(text, data, *more)


async def _chart(found: Findings) -> ContentBlock | str:
    if not found.series:
        return "No chart: there are no days to draw."
    from venice_mcp.charts import chart_part  # only when one is asked for

    title = f"Spend a day, {found.dates[0]} to {found.dates[-1]} (UTC)"
    return await chart_part(title, [day[5:] for day in found.dates], found.series, y_label=None)


# --- putting it together --------------------------------------------------------------------------


def _found(args: ForecastSpend, period: Period, read: Readings) -> Findings:
    every = [facts_of(key, own=False, now=period.now) for key in read.keys or ()]
    spend = read.now or Spend("none", float(args.lookback_days), {}, None, None)
    if spend.keys is None and read.keys is not None:
        spend = replace(spend, keys=from_keys(every), keys_days=WEEK_DAYS)
    spend = from_first_spending(spend, read.before, period, every)
    balance = read.balance.balances if read.balance else None
    allocation = read.balance.diem_epoch_allocation if read.balance else None
    known = spend if read.now else None
    account = account_of(balance.usd, balance.diem, allocation, known, period.now) if balance else Account(None, None)
    before = read.before if spend.source == "analytics" else None
    spenders = spend.keys or ()
    found = Findings(
        period=period,
        threshold=args.threshold_percent,
        spend=spend,
        before=read.before if read.now else None,
        account=account,
        keys={facts.key.id: facts for facts in every} if read.keys is not None else None,
        caps=caps_of(every, spend, args.threshold_percent),
        spenders=shares(spenders, spend.keys_days or spend.days, before.keys if before else None, period.days),
        models=None
        if spend.models is None
        else shares(spend.models, spend.days, before.models if before else None, period.days),
        series=_series(spend, period),
        dates=[str(day) for day in _days(spend, period)],
        warnings=_warnings(args, account, read.balance, period),
        notes=[*_unread(read), *read.notes],
    )
    return found if args.key_id is None else _of_one_key(found, args.key_id)


def _days(spend: Spend, period: Period) -> Sequence[date]:
    """The days that the numbers are of: a sample may end before today."""
    return [day for day in period.dates if spend.until is None or day <= spend.until.date()]


def _series(spend: Spend, period: Period) -> dict[str, list[float]]:
    return {
        unit.upper(): [spend.daily.get(day, {unit: 0.0})[unit] for day in _days(spend, period)]
        for unit in CURRENCIES
        if spend.total(unit) > 0
    }


def _unread(read: Readings) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for what, error in read.failed.items():
        reasons.setdefault(plain(error.what, 160), []).append(what)
    notes = [f"Could not read {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    if ANALYTICS in read.failed:
        notes.append("Spend comes from the ledger, which names no key." if read.now else "")
        notes.append("What keys spent is what they say of the last 7 days." if read.keys is not None else "")
    return [note for note in notes if note]


def _warnings(args: ForecastSpend, account: Account, balance: BalanceAnswer | None, period: Period) -> list[str]:
    warnings: list[str] = []
    if balance is not None and not balance.can_consume:
        warnings.append("Venice says that the account cannot pay for calls now.")
    for unit, found in (("DIEM", account.diem), ("USD", account.usd)):
        if found is not None and is_low(found, period.now, args.threshold_percent):
            if found.reached_at is not None and found.reached_at <= period.now:
                warnings.append(f"Today's {unit} is used up; it starts again at 00:00 UTC.")
            elif found.reached_at is not None:
                warnings.append(f"{unit} will be used up at {found.reached_at:%Y-%m-%d %H:%M} UTC.")
            else:
                warnings.append(f"{round(found.percent)} % of today's {unit} is used.")
    return warnings


def _of_one_key(found: Findings, key_id: str) -> Findings:
    """The same, of one key.

    Raises:
        VeniceError: the account has no such key, nor had it in this time.
    """
    facts = (found.keys or {}).get(key_id)
    mine = [each for each in found.spenders if each.spender.key_id == key_id]
    if facts is None and not mine and found.keys is not None:
        raise not_found(key_id)
    notes = [*found.notes, "Venice does not tell which models a key used."]
    if facts is None:
        notes.append("The key is not in the list of active keys." if found.keys is not None else "")
    series, why = _key_series(found, facts, mine[0].spender if mine else None)
    return replace(
        found,
        caps=[each for each in found.caps if each.facts.key.id == key_id],
        spenders=mine,
        models=None,
        series=series,
        notes=[note for note in (*notes, why) if note],
        key_id=key_id,
        key=facts,
    )


def _key_series(found: Findings, facts: Facts | None, mine: Spender | None) -> tuple[dict[str, list[float]], str]:
    """A key's days, or why there are none: Venice names them by description, and adds both currencies up."""
    name = mine.name if mine else facts.key.description if facts else ""
    rows = found.spend.by_name.get(name)
    if mine is None or rows is None:
        return {}, "Its days are not shown: Venice tells them only of the keys that cost most."
    if len(named_alike(name, found.spend, (found.keys or {}).values())) > 1:
        return {}, "Its days are not shown: other keys have the same description, and Venice adds them up."
    spent = [unit.upper() for unit in CURRENCIES if mine.amounts[unit] > 0]
    label, why = spent[0] if spent else "USD", ""
    if len(spent) > 1:
        label, why = "USD and DIEM", "Its days are USD and DIEM together, as Venice adds them up."
    return {label: [rows.get(day, 0.0) for day in found.period.dates]}, why
