"""The forecast in one sentence."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from venice_mcp.policy.rules import CURRENCIES
from venice_mcp.text import amount, away, plain, plural, quoted, span
from venice_mcp.tools.forecast_data import NAME, Findings, money, since_words
from venice_mcp.workflows.forecasts import CapOutlook, Outlook, counted, key_rate


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
    a_day = f"{money(rate)} USD a day"
    since = since_words(found.spend.since.get("usd"))
    if usd is None:
        return f"{a_day} are spent{since}, and no USD balance is known"
    if not left:
        return f"{a_day} were spent{since}, and the USD balance is used up"
    return f"at {a_day}{since} {left} lasts {_lasting(usd, found.period.now)}"


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
    else:
        name = f"key {plain(found.key_id or '', 40)}"
    rates = {unit: key_rate(found.key_id or "", unit, found.spend) for unit in CURRENCIES}
    if None in rates.values():
        return [f"{name}: what it spends could not be read"]
    spent = [f"{money(rate)} {unit.upper()}" for unit, rate in rates.items() if rate]
    since = since_words(found.spend.keys_since.get(found.key_id or ""))
    a_day = f"{name} spends {' and '.join(spent)} a day{since}"
    return [a_day if spent else f"{name} spent nothing in {covered(found)}"]


def covered(found: Findings) -> str:
    return plural(round(found.spend.keys_days or found.period.days), "day")


_UNTOLD = Outlook(0.0, 0.0, 0.0, None, None, None)


def _cap_words(found: Findings) -> list[str]:
    if found.keys is None:
        return []
    if not found.caps:
        return ["it has no cap" if found.key_id else "there is no cap"]
    counts = counted(found.caps)
    will = [each for each in found.caps if each.state == "will be reached"]
    in_time = all(each.outlook and each.outlook.ends for each in will)
    words = {
        "used up": f"{_caps(counts.get('used up', 0))} used up",
        "will be reached": f"{_caps(len(will), 'will')} be reached {_before_the_end(will) if in_time else 'soon'}",
        "above threshold": f"{_caps(counts.get('above threshold', 0))} at {amount(found.threshold)} % or more",
    }
    told = [sentence for state, sentence in words.items() if any(each.state == state for each in found.caps)]
    untold = sum(each.state == "spend not stated" or (each.outlook or _UNTOLD).per_day is None for each in found.caps)
    if untold:
        told.append(f"of {_caps(untold, '').strip()} it cannot be told")
    if counts.get("blocked on purpose") and found.key_id:
        told.append(_blocked(found.caps))
    return told or _nothing_soon(found)


def _nothing_soon(found: Findings) -> list[str]:
    """When there is no cap to warn of: what becomes of those with a window, and of those without."""
    windowed = [each for each in found.caps if each.outlook and each.outlook.ends]
    lasting = [each for each in found.caps if each.outlook and not each.outlook.ends]
    told = [f"no cap will be reached {_before_the_end(windowed, of_each=True)}"] if windowed else []
    reached = sorted(each.outlook.reached_at for each in lasting if each.outlook and each.outlook.reached_at)
    if reached:
        kind = "lifetime " if all(each.facts.key.limit_period == "LIFETIME" for each in lasting) else ""
        first = away(reached[0], found.period.now)
        many = f"{len(reached)} {kind}caps will be reached, the first {first}"
        told.append(f"one {kind}cap will be reached {first}" if len(reached) == 1 else many)
    return told or [
        "no cap will be reached within ten years" if lasting else "every cap is 0, which blocks its currency on purpose"
    ]


def _blocked(caps: Sequence[CapOutlook]) -> str:
    """What caps of 0 of one key do: each blocks its own currency, and only both together the key."""
    zero = [each.currency for each in caps if each.state == "blocked on purpose"]
    other = [each.upper() for each in CURRENCIES if each not in zero]
    if not other:
        return "caps of 0 block it on purpose"
    return f"a cap of 0 blocks {zero[0].upper()} on purpose; it may go on with {other[0]}"


def _before_the_end(caps: Sequence[CapOutlook], *, of_each: bool = False) -> str:
    expiring = any(each.outlook and each.outlook.ends == each.facts.end for each in caps)
    if of_each or len(caps) == 1:
        return f"before its window ends{' or its key expires' if expiring else ''}"
    return f"before their windows end{' or their keys expire' if expiring else ''}"


def _caps(count: int, verb: str = "") -> str:
    number = "one cap" if count == 1 else f"{count} caps"
    return f"{number} {verb or ('is' if count == 1 else 'are')}"
