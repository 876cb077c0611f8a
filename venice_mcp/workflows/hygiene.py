"""Key hygiene: what is wrong with the keys of an account, from the list of keys alone.

Age and last use are different things: an old key in daily use is no idle one, and each is measured by itself. What
Venice does not say is counted as not stated and never taken for zero or never.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from venice_mcp.models.wire import MAX_ACTIVE_KEYS, Key
from venice_mcp.policy.reach import Aspect, broken, reach_of
from venice_mcp.policy.rules import CURRENCIES, Currency, KeyRules
from venice_mcp.text import amount, away, plain, plural
from venice_mcp.workflows import remedies
from venice_mcp.workflows.facts import Facts, facts_of, not_stated, spread
from venice_mcp.workflows.remedies import Call

Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")

MEANINGS: Mapping[str, str] = {
    "no_cap": "no USD and no DIEM cap, so it can spend all the account has",
    "half_capped": "a USD or a DIEM cap only, so it can spend all the account has of the other",
    "policy_cap": "caps outside the operator's policy",
    "policy_privacy": "model_privacy wider than the operator's policy",
    "policy_expiry": "expiry outside the operator's policy",
    "policy_description": "description outside the operator's policy",
    "admin_count": "many ADMIN keys",
    "admin_age": "old ADMIN key",
    "unused": "not used for long",
    "never_used": "never used",
    "expiring_soon": "expires soon",
    "cap_reached": "cap used up",
    "cap_nearly_reached": "cap nearly reached",
    "no_expiry": "no expiry",
    "description_missing": "no description",
    "description_duplicate": "description shared with another key",
    "key_count": "near the most keys an account may have",
}
"""Every code, in the order of a report."""

_SOON = timedelta(days=3)
_LAST_KEYS = 10


@dataclass(frozen=True)
class Thresholds:
    """From when something is a finding. Bounds count: 30 days unused is unused for 30 days."""

    unused_days: float = 30
    never_used_days: float = 7
    expiring_days: float = 14
    cap_percent: float = 80
    admin_count: int = 2
    admin_age_days: float = 90
    key_count: int = 450


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `key` is None when it is about the account; `weight` orders findings of a code."""

    code: str
    severity: Severity
    key: Key | None
    own: bool
    evidence: str
    fix: Call
    weight: float = 0


@dataclass(frozen=True)
class Report:
    """Findings, worst first, and what they were measured with."""

    at: datetime
    thresholds: Thresholds
    total: int
    admin: int
    findings: tuple[Finding, ...]
    own: tuple[str, ...]
    ages: Mapping[str, int]
    uses: Mapping[str, int]
    not_stated: Mapping[str, int]

    def of(self, code: str | None = None, severity: str | None = None) -> list[Finding]:
        return [each for each in self.findings if code in (None, each.code) and severity in (None, each.severity)]


def examine(
    keys: Sequence[Key],
    *,
    own: frozenset[str],
    rules: Sequence[KeyRules],
    thresholds: Thresholds,
    now: datetime,
    folder: str = "~",
    no_diem: bool = False,
) -> Report:
    """The report on these keys.

    Args:
        keys: all of the account.
        own: ids that this server runs on.
        rules: the operator's.
        thresholds: from when something is a finding.
        now: aware.
        folder: where a rotated key may be saved.
        no_diem: whether the account is known to have no DIEM to spend.
    """
    every = [facts_of(key, own=key.id in own, now=now) for key in keys]
    limits = thresholds
    found = [
        *(finding for facts in every for check in _CHECKS for finding in check(facts, rules, limits)),
        *_duplicates(every, rules),
        *(finding for facts in every for finding in _old_admin(facts, limits, folder)),
        *_many_admins(every, limits),
        *_many_keys(every, limits),
    ]
    if no_diem:
        found = [each for each in found if each.code != "half_capped" or _lacks(each.key, "usd")]
    order = list(MEANINGS)
    # What this server runs on comes last: it is the one to touch last.
    found.sort(key=lambda each: (SEVERITIES.index(each.severity), order.index(each.code), each.own, -each.weight))
    return Report(
        at=now,
        thresholds=limits,
        total=len(every),
        admin=sum(_is_admin(facts) for facts in every),
        findings=tuple(found),
        own=tuple(facts.key.id for facts in every if facts.own),
        ages=spread(every, lambda facts: facts.created, none="not stated"),
        uses=spread(every, lambda facts: facts.used, none="never", odd="not legible"),
        not_stated=not_stated(every),
    )


# --- one key --------------------------------------------------------------------------------------


def _uncapped(facts: Facts, rules: Sequence[KeyRules], _: Thresholds) -> Iterator[Finding]:
    limits = facts.key.consumption_limits
    if limits.usd is None and limits.diem is None and limits.vcu is None:
        spent = [f"{amount(value)} {each.upper()}" for each, value in facts.week.items() if value is not None]
        evidence = f"spent {', '.join(spent) or 'not stated'} in 7 days; {facts.use()}"
        weight = sum(value or 0 for value in facts.week.values())
        yield _finding(
            "no_cap", "high" if facts.in_use else "medium", facts, evidence,
            remedies.put_cap(facts, rules, CURRENCIES), weight,
        )  # fmt: skip


def _half_capped(facts: Facts, rules: Sequence[KeyRules], _: Thresholds) -> Iterator[Finding]:
    lacking: list[Currency] = [each for each in CURRENCIES if facts.cap(each) is None]
    reach = reach_of(facts.key.settings())
    if len(lacking) != 1 or any(lacking[0] in broken(each, reach, facts.now) for each in rules):
        return  # what policy asks for is a finding of its own
    without, capped = lacking[0], CURRENCIES[lacking[0] == CURRENCIES[0]]
    spent = facts.week.get(without)
    has = f"{amount(facts.cap(capped))} {capped.upper()} per {plain(facts.key.limit_period, 20)}"
    evidence = (
        f"{has}, no {without.upper()} cap;"
        f" spent {'not stated' if spent is None else f'{amount(spent)} {without.upper()}'} in 7 days; {facts.use()}"
    )
    yield _finding("half_capped", "low", facts, evidence, remedies.put_cap(facts, rules, lacking), spent or 0)


def _endless(facts: Facts, rules: Sequence[KeyRules], _: Thresholds) -> Iterator[Finding]:
    if facts.key.expires_at is None:
        severity: Severity = "medium" if _is_admin(facts) else "low"
        evidence = f"{facts.age()}; {facts.use()}"
        yield _finding(
            "no_expiry", severity, facts, evidence, remedies.expire(facts, rules), _days(facts.created, facts)
        )


def _ending(facts: Facts, rules: Sequence[KeyRules], limits: Thresholds) -> Iterator[Finding]:
    if facts.end is None or facts.end - facts.now > timedelta(days=limits.expiring_days):
        return
    soon = facts.end - facts.now <= _SOON
    severity: Severity = ("high" if soon else "medium") if facts.in_use else "low"
    evidence = f"expires {facts.end:%Y-%m-%d} ({away(facts.end, facts.now)}); {facts.use()}"
    yield _finding("expiring_soon", severity, facts, evidence, remedies.expire(facts, rules), _days(facts.end, facts))


def _idle(facts: Facts, _: Sequence[KeyRules], limits: Thresholds) -> Iterator[Finding]:
    evidence = f"{facts.use()}; {facts.age()}"
    severity: Severity = "high" if _is_admin(facts) else "medium"
    if facts.unused_for(limits.unused_days):
        yield _finding("unused", severity, facts, evidence, remedies.revoke(facts), _days(facts.used, facts))
    if facts.never_used_for(limits.never_used_days):
        yield _finding("never_used", severity, facts, evidence, remedies.revoke(facts), _days(facts.created, facts))


def _old_admin(facts: Facts, limits: Thresholds, folder: str) -> Iterator[Finding]:
    if not _is_admin(facts) or facts.created is None:
        return
    if facts.now - facts.created >= timedelta(days=limits.admin_age_days):
        evidence = f"{facts.age()}; {facts.use()}"
        fix = remedies.revoke(facts) if _is_idle(facts, limits) else remedies.rotate(facts, folder)
        yield _finding("admin_age", "medium", facts, evidence, fix, _days(facts.created, facts))


def _nearly_spent(facts: Facts, rules: Sequence[KeyRules], limits: Thresholds) -> Iterator[Finding]:
    near: dict[Currency, float] = {}
    said: list[str] = []
    for each in CURRENCIES:
        cap, spent = facts.cap(each), facts.period.get(each)
        if cap is None or cap <= 0 or spent is None or spent * 100 < cap * limits.cap_percent:
            continue
        near[each] = min(spent / cap * 100, 9999)
        said.append(f"{amount(spent)} of {amount(cap)} {each.upper()} ({near[each] + 1e-9:.0f} %)")
    if near:
        evidence = f"spent {', '.join(said)} this {plain(facts.key.limit_period, 20)}; {facts.use()}"
        used_up = max(near.values()) >= 100
        code, severity = ("cap_reached", "high") if used_up else ("cap_nearly_reached", "medium")
        yield _finding(code, severity, facts, evidence, remedies.raise_cap(facts, rules, near), max(near.values()))


def _nameless(facts: Facts, rules: Sequence[KeyRules], _: Thresholds) -> Iterator[Finding]:
    if not plain(facts.key.description):
        ending = plain(facts.key.last6_chars, 6) or plain(facts.key.id, 8)
        fix = remedies.describe(facts, rules, f"unknown use ({ending})")
        yield _finding("description_missing", "low", facts, f"{facts.use()}; {facts.age()}", fix)


def _beyond_policy(facts: Facts, rules: Sequence[KeyRules], _: Thresholds) -> Iterator[Finding]:
    reach = reach_of(facts.key.settings())
    clauses: dict[Aspect, str] = {}
    for each in rules:
        for aspect, clause in broken(each, reach, facts.now).items():
            clauses[aspect] = f"{clauses[aspect]} and {clause}" if aspect in clauses else clause
    caps: list[Currency] = [each for each in CURRENCIES if each in clauses]
    if caps:
        has = [f"{amount(facts.cap(each))} {each.upper()}" for each in CURRENCIES if facts.cap(each) is not None]
        window = f" per {plain(facts.key.limit_period, 20)}" if has else ""
        evidence = f"has {' and '.join(has) or 'no cap'}{window}; {'; '.join(clauses[each] for each in caps)}"
        severity: Severity = "high" if facts.in_use else "medium"
        yield _finding("policy_cap", severity, facts, evidence, remedies.put_cap(facts, rules, caps))
    if "privacy" in clauses:
        evidence = f"has {plain(facts.key.model_privacy, 20)}; {clauses['privacy']}"
        yield _finding("policy_privacy", "high", facts, evidence, remedies.narrow_privacy(facts, rules))
    if "expiry" in clauses:
        has_end = f"{facts.end:%Y-%m-%d} ({away(facts.end, facts.now)})" if facts.end else "none that counts"
        evidence = f"expiry {has_end}; {clauses['expiry']}"
        yield _finding("policy_expiry", "medium", facts, evidence, remedies.expire(facts, rules))
    if "description" in clauses:
        fix = remedies.describe(facts, rules, plain(facts.key.description, 64))
        yield _finding("policy_description", "low", facts, clauses["description"], fix)


_CHECKS: tuple[Callable[[Facts, Sequence[KeyRules], Thresholds], Iterator[Finding]], ...] = (
    _uncapped,
    _half_capped,
    _beyond_policy,
    _idle,
    _ending,
    _nearly_spent,
    _endless,
    _nameless,
)


# --- many keys ------------------------------------------------------------------------------------


def _duplicates(every: Sequence[Facts], rules: Sequence[KeyRules]) -> Iterator[Finding]:
    """Each key whose description another one has, but for the one that was used last."""
    groups: dict[str, list[Facts]] = {}
    for facts in every:
        if name := " ".join(plain(facts.key.description, 200).casefold().split()):
            groups.setdefault(name, []).append(facts)
    for group in groups.values():
        first, *others = sorted(group, key=lambda each: -(each.used.timestamp() if each.used else float("-inf")))
        for facts in others:
            evidence = (
                f"shared by {plural(len(group), 'key')}; {facts.use()};"
                f" ...{plain(first.key.last6_chars, 6)} {first.use()}"
            )
            fix = remedies.describe(facts, rules, remedies.distinct(facts.key))
            yield _finding("description_duplicate", "low", facts, evidence, fix, len(group))


def _many_admins(every: Sequence[Facts], limits: Thresholds) -> Iterator[Finding]:
    admins = [facts for facts in every if _is_admin(facts)]
    if len(admins) <= limits.admin_count:
        return
    dated = [facts for facts in admins if facts.created is not None]
    oldest = max(dated, key=lambda facts: _days(facts.created, facts), default=None)
    idle = [facts for facts in admins if _is_idle(facts, limits)]
    evidence = (
        f"{plural(len(admins), 'ADMIN key')}, wanted at most {limits.admin_count}; oldest"
        f" {oldest.age() if oldest else 'not stated'}; {len(idle)} idle"
    )
    fix = _fewer(idle, {"api_key_type": "ADMIN", "sort": "last_used"})
    yield Finding("admin_count", "medium", None, False, evidence, fix, len(admins))


def _many_keys(every: Sequence[Facts], limits: Thresholds) -> Iterator[Finding]:
    if len(every) < limits.key_count:
        return
    idle = Counter(
        "never_used" if facts.never else "unused"
        for facts in every
        if _is_idle(facts, limits) and remedies.revoke(facts).tool == remedies.REVOKE
    )
    severity: Severity = "high" if len(every) > MAX_ACTIVE_KEYS - _LAST_KEYS else "medium"
    evidence = f"{len(every)} of {MAX_ACTIVE_KEYS} active keys; {idle.total()} idle"
    if idle:
        most = idle.most_common(1)[0][0]
        changed = {name: value for name, value in vars(limits).items() if value != getattr(Thresholds, name)}
        fix = Call(remedies.AUDIT, {"code": most, **changed}, "names the calls that revoke idle keys")
    else:
        fix = _none_idle({"sort": "last_used"})
    yield Finding("key_count", severity, None, False, evidence, fix, len(every))


def _fewer(idle: Sequence[Facts], otherwise: Mapping[str, str]) -> Call:
    """The idle keys revoked; a list to choose from when there is none that may be."""
    calls = [call for facts in idle if (call := remedies.revoke(facts)).tool == remedies.REVOKE]
    ids = [call.arguments["key_id"] for call in calls if "key_id" in call.arguments][: remedies.MOST_IN_BULK]
    if len(ids) > 1:
        return Call(remedies.BULK[remedies.REVOKE], {"key_ids": ids}, calls[0].caution)
    return calls[0] if calls else _none_idle(otherwise)


def _none_idle(arguments: Mapping[str, str]) -> Call:
    return Call(remedies.LIST, arguments, "no idle key may be revoked: ask who needs which")


# --- shared ---------------------------------------------------------------------------------------


def _finding(code: str, severity: Severity, facts: Facts, evidence: str, fix: Call, weight: float = 0) -> Finding:
    return Finding(code, severity, facts.key, facts.own, evidence, fix, weight)


def _is_admin(facts: Facts) -> bool:
    return facts.key.api_key_type == "ADMIN"


def _lacks(key: Key | None, currency: Currency) -> bool:
    """Whether a key has no cap in a currency."""
    return key is not None and getattr(key.consumption_limits, currency) is None


def _is_idle(facts: Facts, limits: Thresholds) -> bool:
    return facts.unused_for(limits.unused_days) or facts.never_used_for(limits.never_used_days)


def _days(moment: datetime | None, facts: Facts) -> float:
    """Days ago; negative for what lies ahead, 0 for what is not stated."""
    return (facts.now - moment) / timedelta(days=1) if moment else 0
