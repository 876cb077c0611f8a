"""The forecast in one sentence."""

from datetime import datetime, timedelta

from venice_mcp.policy.rules import CURRENCIES
from venice_mcp.text import amount, away, plain, plural, quoted, span
from venice_mcp.tools.forecast_data import NAME, Findings, money
from venice_mcp.workflows.forecasts import Outlook, counted, key_rate


def in_a_sentence(found: Findings) -> str:
    parts = [*_key_words(found), *_cap_words(found)] if found.key_id else _account_words(found)
    sentence = "; ".join(part for part in parts if part)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _account_words(found: Findings) -> list[str]:
    return [_usd_words(found), _diem_words(found), *_cap_words(found)]


def _usd_words(found: Findings) -> str:
    usd, rate = found.account.usd, found.spend.per_day("usd")
    left = f"the balance of {money(usd.limit)} USD" if usd and usd.limit > 0 else ""
    if not found.known:
        return "what is spent a day could not be read" + (f", so nobody can tell how long {left} lasts" if left else "")
    if rate <= 0:
        days = plural(found.period.days, "day")
        return f"no USD was spent in {days}" + (f", so {left} stays" if left else "")
    if usd is None:
        return f"{money(rate)} USD a day are spent, and no USD balance is known"
    if not left:
        return f"{money(rate)} USD a day were spent, and the USD balance is used up"
    return f"at {money(rate)} USD a day {left} lasts {_lasting(usd, found.period.now)}"


def _lasting(found: Outlook, now: datetime) -> str:
    if found.reached_at is None:
        return "more than ten years"
    left = found.reached_at - now
    # As `span` counts them, so that the same time is not two numbers in one answer.
    days = round(left / timedelta(days=1)) if left >= timedelta(days=14) else left.days
    return plural(days, "day") if days >= 2 else span(left)


def _diem_words(found: Findings) -> str:
    diem, now = found.account.diem, found.period.now
    if diem is None or diem.limit <= 0:
        return ""
    if diem.reached_at is None:
        return f"today's {money(diem.limit - diem.used)} DIEM last until the reset"
    if diem.reached_at <= now:
        return "today's DIEM is used up until the reset"
    return f"today's DIEM ends at {diem.reached_at:%H:%M} UTC ({away(diem.reached_at, now)}), before the reset"


def _key_words(found: Findings) -> list[str]:
    if found.key is not None:
        name = f"key {quoted(found.key.key.description, NAME)} ...{plain(found.key.key.last6_chars, 6)}"
        rates = {unit: key_rate(found.key, unit, found.spend) for unit in CURRENCIES}
    else:
        name = f"key {plain(found.key_id or '', 40)}"
        mine = next((each.spender.amounts for each in found.spenders), dict.fromkeys(CURRENCIES, 0.0))
        rates = {unit: mine[unit] / found.spend.days for unit in CURRENCIES}
    if found.spend.keys is None or None in rates.values():
        return [f"{name}: what it spends could not be read"]
    spent = [f"{money(rate)} {unit.upper()}" for unit, rate in rates.items() if rate]
    return [f"{name} spends {' and '.join(spent)} a day" if spent else f"{name} spent nothing in {covered(found)}"]


def covered(found: Findings) -> str:
    return plural(round(found.spend.keys_days or found.period.days), "day")


_TOLD = Outlook(0.0, 0.0, 0.0, None, None, None)


def _cap_words(found: Findings) -> list[str]:
    if found.keys is None:
        return []
    counts = counted(found.caps)
    will = [each.outlook for each in found.caps if each.state == "will be reached" and each.outlook]
    when = " before its window ends" if len(will) == 1 else " before their windows end"
    words = [
        f"{_caps(counts.get('used up', 0))} used up",
        f"{_caps(len(will), 'will')} be reached{when if all(each.ends for each in will) else ' soon'}",
        f"{_caps(counts.get('above threshold', 0))} at {amount(found.threshold)} % or more",
    ]
    told = [
        words[place]
        for place, state in enumerate(("used up", "will be reached", "above threshold"))
        if any(each.state == state for each in found.caps)
    ]
    untold = sum(each.state == "spend not stated" or (each.outlook or _TOLD).per_day is None for each in found.caps)
    blocked = counts.get("blocked on purpose", 0)
    if untold:
        told.append(f"of {_caps(untold, '').strip()} it cannot be told")
    if blocked and found.key_id:
        told.append("a cap of 0 blocks it on purpose")
    if not found.caps:
        return ["it has no cap" if found.key_id else "there is no cap"]
    return told or ["no cap will be reached before its window ends"]


def _caps(count: int, verb: str = "") -> str:
    number = "one cap" if count == 1 else f"{count} caps"
    return f"{number} {verb or ('is' if count == 1 else 'are')}"
