"""The exact call that would mend something about a key.

A call is a proposal: whoever makes it is still asked first. It never stops a key that is in use, and what is guessed
or can hurt is said in its caution.
"""

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from venice_mcp.models.wire import PERIODS, PRIVACY, Key
from venice_mcp.policy.patterns import matches
from venice_mcp.policy.reach import broken, reach_of
from venice_mcp.policy.rules import CURRENCIES, Currency, KeyRules, Period
from venice_mcp.questions import blocking
from venice_mcp.secrets import looks_like_secret
from venice_mcp.text import plain, quoted
from venice_mcp.workflows.facts import Facts

LOOK, LIST, AUDIT = "venice_get_api_key", "venice_list_api_keys", "venice_audit_api_keys"
UPDATE, REVOKE, ROTATE = "venice_update_api_key", "venice_revoke_api_key", "venice_rotate_api_key"
BULK = {UPDATE: "venice_update_api_keys", REVOKE: "venice_revoke_api_keys"}
MOST_IN_BULK = 50
EXPIRES_IN_DAYS = 90
PAUSE = 'consumption_limit={"usd":0,"diem":0}'
_GUESSED_CAP = 10
_MAX_CAP = 9_999_999_999
_LONGEST = 64
# The spend of a week, carried to the window and doubled; a whole week's spend may fall on one day.
_ROOM: Mapping[Period, float] = {"EPOCH": 1.25, "MONTH": 2 * 31 / 7, "LIFETIME": 2 * 365 / 7}
_WINDOWS: tuple[Period, ...] = ("MONTH", "EPOCH", "LIFETIME")
_OWN = "this server runs on it"


@dataclass(frozen=True)
class Call:
    """A tool with its arguments, and what to know before making the call."""

    tool: str
    arguments: Mapping[str, Any]
    caution: str = ""


# --- calls ----------------------------------------------------------------------------------------


def look(facts: Facts, caution: str) -> Call:
    """A read, where no write can be advised."""
    named = _by_id(facts.key) or _by_ending(facts.key)
    return Call(LOOK, named, caution) if named else Call(LIST, {}, caution)


def update(facts: Facts, change: Mapping[str, Any], caution: str) -> Call:
    named = _by_id(facts.key) or _by_ending(facts.key)
    if not named:
        return look(facts, "the tools take no such id as this key has")
    return Call(UPDATE, {**named, **change}, f"{_OWN}; {caution}" if facts.own else caution)


def revoke(facts: Facts) -> Call:
    """Only for a key that is not in use and that this server does not run on."""
    if facts.own:
        return look(facts, f"{_OWN}: never revoke it")
    if facts.in_use:
        return look(facts, "it is in use: find out by whom")
    named = _by_id(facts.key) or _by_ending(facts.key)
    return (
        Call(REVOKE, named, f"final; ask its holder, or pause it first: {UPDATE} {PAUSE}") if named else look(facts, "")
    )


def rotate(facts: Facts, folder: str) -> Call:
    """A successor whose secret goes to a new file in `folder`; where it really belongs only its holder knows."""
    named = _by_id(facts.key) or _by_ending(facts.key)
    if not named:
        return look(facts, "make a new one, put it in place, then revoke this")
    ending = _by_ending(facts.key).get("last6_chars") or "key"
    sink = {"kind": "file", "path": f"{folder.rstrip('/')}/venice-after-{ending}.key"}
    place = "where the old one is used"
    if facts.own:
        named = {**named, "own_key": True}
        place = "this server's configuration"
    caution = f"{f'{_OWN}; ' if facts.own else ''}deliver_to is a guess; put the new key in {place} within 24 hours"
    return Call(ROTATE, {**named, "deliver_to": sink}, caution)


def expire(facts: Facts, rules: Sequence[KeyRules]) -> Call:
    """An expiry as policy takes it; later than the one the key has, unless policy wants it sooner."""
    days = min([EXPIRES_IN_DAYS, *(each.max_days for each in rules if each.max_days is not None)])
    new = facts.now + timedelta(days=days)
    sooner = any("expiry" in broken(each, reach_of(facts.key.settings()), facts.now) for each in rules)
    if facts.end is not None and new - facts.end < timedelta(hours=1) and not sooner:
        return look(facts, "policy lets it live no longer: make its successor in time")
    extends = facts.end is not None and new > facts.end
    caution = "only if it is still needed" if extends else "it stops then unless it is extended in time"
    return update(facts, {"expires_in_days": int(days) if days == int(days) else days}, caution)


def narrow_privacy(facts: Facts, rules: Sequence[KeyRules]) -> Call:
    tiers = [PRIVACY.index(each.model_privacy) for each in rules if each.model_privacy is not None]
    return update(facts, {"model_privacy": PRIVACY[min(tiers)]}, "other models then fail with 403")


def describe(facts: Facts, rules: Sequence[KeyRules], *wanted: str) -> Call:
    """The first wording that Venice and policy take."""
    patterns = [each.description for each in rules if each.description is not None]
    for text in wanted:
        for form in dict.fromkeys((text, text.casefold(), "-".join(text.casefold().split()))):
            if _describes(form) and all(matches(pattern, form) for pattern in patterns):
                return update(facts, {"description": form}, "a guess: say what the key is for")
    must = f" and matches {quoted(patterns[0], 80)}" if patterns else ""
    return look(facts, f"choose a description that says what it is for{must}")


def distinct(key: Key) -> str:
    """The description with something that tells the key from others."""
    mark = f" ({plain(key.last6_chars, 6) or plain(key.id, 8)})"
    base = plain(key.description, _LONGEST)
    while len((base + mark).encode("utf-16-le")) // 2 > _LONGEST:
        base = base[:-1]
    return base.rstrip() + mark


def _describes(text: str) -> bool:
    return (
        text == plain(text, _LONGEST) != ""
        and len(text.encode("utf-16-le")) <= 2 * _LONGEST
        and not (looks_like_secret(text))
    )


def put_cap(facts: Facts, rules: Sequence[KeyRules], lacking: Sequence[Currency]) -> Call:
    """Caps above what the key spends, as policy takes them; the window stays where there is one."""
    settings = facts.key.settings()
    capped: list[Currency] = [each for each in CURRENCIES if facts.cap(each) is not None]
    own_window: list[Period] = [period for period in _WINDOWS if capped and period == facts.key.limit_period]
    for period in dict.fromkeys((*own_window, *_WINDOWS)):
        kept = period in own_window
        change: list[Currency] = [
            each for each in CURRENCIES if each in lacking or not capped or (not kept and each in capped)
        ]
        caps: dict[Currency, float] = {each: _fitting(facts, each, period, rules, keep=kept) for each in change}
        after = settings | {f"{each}_cap": value for each, value in caps.items()} | {"limit_period": period}
        if any({"usd", "diem"} & broken(each, reach_of(after), facts.now).keys() for each in rules):
            continue
        arguments = {"consumption_limit": caps} | ({} if kept else {"limit_period": period})
        moved = "" if kept or not capped else f"window changed from {plain(facts.key.limit_period, 20)}; "
        return update(facts, arguments, moved + _about_caps(facts, caps, period))
    return look(facts, "no cap passes all of the policy's rules: ask the operator")


def raise_cap(facts: Facts, rules: Sequence[KeyRules], near: Iterable[Currency]) -> Call:
    """Twice the cap, or what policy takes."""
    caps: dict[Currency, float] = {}
    for each in near:
        cap = facts.cap(each) or 0
        twice = _rounded_up(2 * max(cap, facts.period.get(each) or 0))
        caps[each] = _whole(min(twice, _most(rules, each, facts.key.limit_period), _MAX_CAP))
        if caps[each] <= max(cap, facts.period.get(each) or 0):
            return look(facts, "policy allows no higher cap: slow its use down or ask the operator")
    return update(facts, {"consumption_limit": caps}, "it may spend more: only if the spending is right")


def _about_caps(facts: Facts, caps: Mapping[Currency, float], period: str) -> str:
    said: list[str] = []
    if guessed := [each.upper() for each in caps if facts.cap(each) is None and not facts.week.get(each)]:
        said.append(f"{' and '.join(guessed)} cap a guess, no spend known")
    if low := [each.upper() for each in caps if caps[each] <= facts.seen(each)]:
        said.append(f"{' and '.join(low)} cap NOT above what it spent, policy allows no more: it may stop")
    if blocked := [each for each in caps if caps[each] == 0 and facts.cap(each) != 0]:
        after = {f"{each}_cap": caps.get(each, facts.cap(each)) for each in CURRENCIES}
        said += blocking([f"{each}_cap" for each in blocked], after)
    if lower := [each.upper() for each in caps if caps[each] < (facts.cap(each) or 0)]:
        said.append(f"{' and '.join(lower)} cap lower than now")
    if period == "LIFETIME":
        said.append("it never resets")
    if facts.key.consumption_limits.vcu is not None:
        said.append("its VCU cap may be dropped")
    return "; ".join(said) or "above its spend of 7 days"


def _fitting(facts: Facts, currency: Currency, period: Period, rules: Sequence[KeyRules], *, keep: bool) -> float:
    has = facts.cap(currency) if keep else None
    spent = facts.week.get(currency) or 0
    wanted = max(has, 0) if has is not None else _rounded_up(max(1, spent * _ROOM[period]) if spent else _GUESSED_CAP)
    return _whole(min(wanted, _most(rules, currency, period), _MAX_CAP))


def _most(rules: Sequence[KeyRules], currency: Currency, period: str) -> float:
    """The highest cap that the rules take for this window; a ceiling for one that resets more often holds too."""
    window = PERIODS.index(period) if period in PERIODS else -1
    most = math.inf
    for each in rules:
        tops = {name: top[currency] for name, top in each.max_cap.items() if currency in top}
        if tops:
            most = min(most, max((top for name, top in tops.items() if PERIODS.index(name) <= window), default=0))
    return most


def _rounded_up(value: float) -> float:
    """To two digits."""
    if not 0 < value < _MAX_CAP:
        return min(value, _MAX_CAP)
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / step) * step, 12)


def _whole(value: float) -> float:
    """Whole numbers without a point."""
    return int(value) if value == int(value) else value


def _by_id(key: Key) -> dict[str, str]:
    try:
        return {"key_id": key.id} if len(key.id) == 36 and uuid.UUID(key.id) else {}
    except ValueError:
        return {}


def _by_ending(key: Key) -> dict[str, str]:
    ending = key.last6_chars
    fits = len(ending) == 6 and all(char.isascii() and (char.isalnum() or char in "_-") for char in ending)
    return {"last6_chars": ending} if fits else {}
