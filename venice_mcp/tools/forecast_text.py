"""The forecast as text and data, cut to what a model should have to read."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from venice_mcp.models.spending import SpendForecast
from venice_mcp.policy.rules import CURRENCIES, Currency
from venice_mcp.text import amount, away, cell, sparkline, table
from venice_mcp.tools.forecast_data import (
    NAME,
    Findings,
    account_table,
    cap_table,
    cap_text,
    caps_in_words,
    change_of,
    daily,
    facts_of_share,
    key_table,
    model_table,
    money,
    since_words,
)
from venice_mcp.tools.forecast_summary import covered, in_a_sentence
from venice_mcp.workflows.facts import Facts
from venice_mcp.workflows.forecasts import CapOutlook, counted, key_rate
from venice_mcp.workflows.shares import Share

MOST_CHARACTERS = 3_600
"""Of text and data together as they are sent, for a week; every further day has a row of its own."""

_DAY_CHARACTERS = 40


def _at(moment: datetime, now: datetime) -> str:
    far = moment - now > timedelta(days=14)
    return f"{moment:%Y-%m-%d}{'' if far else f' {moment:%H:%M} UTC'} ({away(moment, now)})"


def _percent(value: float) -> str:
    # 99.6 is not all of it.
    return f"{amount(round(value))} %" if value < 99 or value >= 100 else "99 %"


def told(found: Findings) -> tuple[str, SpendForecast]:
    """Text and data; rows of which there are many are left out, and counted, until both are short enough."""
    warned = sum(each.warned for each in found.caps)
    room = MOST_CHARACTERS + _DAY_CHARACTERS * max(0, len(found.dates) - 7)
    shown = {"caps": min(max(warned, 3), 8), "keys": 5, "models": 5}
    fewer = [
        ("caps", min(warned, 8)),
        ("models", 3),
        ("keys", 3),
        ("models", 1),
        ("keys", 1),
        *dict.fromkeys(shown, 0).items(),
    ]
    while True:
        text, data = _told(found, **shown)
        cut = next((name for name, least in fewer if shown[name] > least), None)
        if cut is None or _size(text, data) <= room:
            return text, data
        shown[cut] -= 1


def _size(text: str, data: SpendForecast) -> int:
    held = (text, data.model_dump(mode="json", exclude_none=True))
    return sum(len(json.dumps(part, ensure_ascii=False, separators=(",", ":"))) for part in held)


def _told(found: Findings, caps: int, keys: int, models: int) -> tuple[str, SpendForecast]:
    units: list[Currency] = [unit for unit in CURRENCIES if _occurs(found, unit)]
    summary = in_a_sentence(found)
    shown_caps = found.caps[:caps] if found.key_id is None else found.caps
    data = SpendForecast(
        summary=summary,
        period=f"{found.period.first}..{found.period.last}",
        before=f"{found.period.before[0]}..{found.period.before[1]}" if found.before else None,
        source=found.spend.source,
        key_id=found.key_id,
        account=account_table(found),
        daily=daily(found),
        caps=cap_table(found, shown_caps),
        keys=key_table(found, units, keys),
        models=model_table(found, units, models),
        warnings=list(found.warnings),
        notes=list(found.notes),
    )
    lines = [summary, *(f"WARNING: {warning}" for warning in found.warnings)]
    if found.key_id is not None:
        lines += [_key_line(found, unit) for unit in CURRENCIES]
        lines += [f"Key {name} {_spark(found, name)}" for name in found.series if name.lower() not in CURRENCIES]
    lines += [_account_line(found, unit) for unit in CURRENCIES]
    lines += _caps_text(found, shown_caps)
    lines += _shares_text("Key", found.spenders[:keys], units, found)
    lines += _shares_text("Model", (found.models or ())[:models], units, found)
    more = [
        f"{count} more {name}"
        for name, count in (("keys", data.keys.left_out), ("models", data.models.left_out if data.models else 0))
        if count
    ]
    if more:
        lines.append(f"Not shown: {', '.join(more)}.")
    return "\n".join([*(line for line in lines if line), *found.notes]), data


def _occurs(found: Findings, unit: Currency) -> bool:
    return any(each.spender.amounts[unit] > 0 or each.change[unit] for each in (*found.spenders, *(found.models or ())))


def _spark(found: Findings, name: str) -> str:
    values = found.series.get(name)
    return f"{found.dates[0]} {sparkline(values)} {found.dates[-1]}" if values else ""


def _key_line(found: Findings, unit: Currency) -> str:
    """What the key that was asked about spends."""
    rate, spark = key_rate(found.key_id or "", unit, found.spend), _spark(found, unit.upper())
    if rate is None or not found.spenders or not _occurs(found, unit):
        return ""
    mine = found.spenders[0]
    begun, changed = found.spend.keys_since.get(found.key_id or ""), mine.change[unit]
    return (
        f"Key {unit.upper()}{f' {spark}' if spark else ''}: {money(mine.spender.amounts[unit])} spent"
        f"{f' in {covered(found)}' if found.spend.keys_days else ''}, {money(rate)} a day{since_words(begun)}"
        f"{f' ({changed})' if changed else ''}."
    )


def _account_line(found: Findings, unit: Currency) -> str:
    parts: list[str] = []
    if found.known and (found.spend.total(unit) > 0 or change_of(found, unit)):
        changed = change_of(found, unit)
        parts.append(
            f"{money(found.spend.total(unit))} spent, {money(found.spend.per_day(unit))} a day"
            f"{since_words(found.spend.since.get(unit))}"
            f"{f' ({changed})' if changed else ''}"
        )
    balance, now = (found.account.usd if unit == "usd" else found.account.diem), found.period.now
    if balance is not None and unit == "usd":
        until = f", until {_at(balance.reached_at, now)}" if balance.reached_at and balance.limit > 0 else ""
        parts.append(f"{money(balance.limit)} left{until}")
    if balance is not None and unit == "diem":
        pace = _percent(balance.projected or 0.0)
        parts.append(
            f"{money(balance.limit - balance.used)} of {money(balance.limit)} left today; at today's pace {pace} used"
            f" at the reset, 00:00 UTC"
        )
    # The days that are drawn are the key's, if one was asked about.
    spark = _spark(found, unit.upper()) if found.key_id is None else ""
    name = unit.upper() if found.key_id is None else f"Account {unit.upper()}"
    return f"{name}{f' {spark}' if spark else ''}: {'; '.join(parts)}." if parts else ""


def _caps_text(found: Findings, shown: Sequence[CapOutlook]) -> list[str]:
    if not found.caps:
        return []
    now = found.period.now
    rows = [[_named(each.facts), _used(each), _future(each, now)] for each in shown]
    lines = [table(["Caps, worst first", "used", "at this rate"], rows)] if rows else []
    rest = counted(found.caps[len(shown) :])
    if rest:
        lines.append(f"More caps: {', '.join(f'{count} {state}' for state, count in rest.items())}.")
    return lines


def _named(facts: Facts) -> str:
    return f"{cell(facts.key.description, NAME)} ...{cell(facts.key.last6_chars, 6)}"


def _used(each: CapOutlook) -> str:
    if each.outlook is None:
        return cell(cap_text(each), 60)
    return f"{money(each.outlook.used)} of {cell(cap_text(each), 60)} ({_percent(each.outlook.percent)})"


def _future(each: CapOutlook, now: datetime) -> str:
    found = each.outlook
    if found is None:
        return each.state
    if each.state == "used up":
        again = found.ends is not None and found.ends != each.facts.end
        return f"used up; starts again {_at(found.ends, now)}" if again and found.ends else "used up"
    if found.per_day is None:
        return "rate not known"
    rate = f"{money(found.per_day)} a day{since_words(each.since)}: "
    if found.reached_at is not None:
        return f"{rate}reached {_at(found.reached_at, now)}"
    if found.ends is None:
        return f"{rate}not reached within ten years"
    ending = "the key expires" if found.ends == each.facts.end else "its window ends"
    return f"{rate}{_percent(found.projected or 0.0)} when {ending} {away(found.ends, now)}"


def _shares_text(what: str, shown: Sequence[Share], units: Sequence[Currency], found: Findings) -> list[str]:
    if not shown:
        return []
    rows: list[list[str]] = []
    for each in shown:
        facts = facts_of_share(found, each)
        name = _named(facts) if facts else cell(each.spender.name, NAME)
        caps = [cell(caps_in_words(found, each) or "-", 60)] if what == "Key" else []
        rows.append([name, *(_part(each, unit) for unit in units), *caps])
    days = f", {covered(found)}" if what == "Key" and found.spend.keys_days else ""
    return [table([f"{what}{days}", *(unit.upper() for unit in units), *(["cap"] if what == "Key" else [])], rows)]


def _part(each: Share, unit: Currency) -> str:
    spent, changed = each.spender.amounts[unit], each.change[unit]
    if spent <= 0:
        return changed or "-"
    return f"{money(spent)} ({_percent(each.percent[unit])}{f', {changed}' if changed else ''})"
