"""What a person is asked before a write, and how much care the answer needs.

The decisive facts stand in the first three lines, because a dialog may show no more. Everything in a question
comes from Venice or from the validated request, never from what a model says about it.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from venice_mcp.models.requests import KeyChange, NewKeySettings
from venice_mcp.models.wire import PERIODS, PRIVACY, WINDOWS, Key
from venice_mcp.secrets import Destination
from venice_mcp.secrets.delivery import described
from venice_mcp.text import exact, parse_time, plain, quoted, when

RECENT_USE = timedelta(hours=24)
_RANGES_SHOWN = 10
_LINE = 96
CAPS = ("usd_cap", "diem_cap")
LOCKED_OUT = "This would lock this server itself out. "
LOCKOUT_WORD = "LOCKOUT"
"""Asked for apart from every other approval: no plan, allowance or tick covers it."""
VCU_DROPPED = "its deprecated VCU cap may be dropped"
STOPPING = timedelta(hours=24)
"""An expiry closer than this stops the key rather than limits it."""


@dataclass(frozen=True)
class Question:
    """A question as it will be asked, frozen: `word` must be typed for a high-risk act, else a box is ticked."""

    headline: str
    facts: tuple[str, ...]
    risks: tuple[str, ...] = ()
    word: str | None = None

    def text(self, code: str) -> str:
        how = f"Type {self.word} to approve." if self.word else "Tick the box to approve."
        facts = list(self.facts)
        lines = [self.headline, *facts[:1]]
        lines += [f"HIGH RISK: {line}." for line in packed(self.risks, "; ")]
        return "\n".join([*lines, *facts[1:], f"{how} Anything else changes nothing. Approval {code}."])


def recorded(data: Mapping[str, Any]) -> Question:
    """The question as it was frozen in the record."""
    return Question(data["headline"], tuple(data["facts"]), tuple(data["risks"]), data["word"])


def caps(usd: float | None, diem: float | None, period: str | None, vcu: float | None = None) -> str:
    """`50 USD and 10 DIEM per UTC month`, `no cap`, `0 USD (blocked) per UTC day; DIEM: no cap`."""
    parts = [
        f"{exact(value)} {unit}" + (" (blocked)" if value == 0 else "")
        for unit, value in (("USD", usd), ("DIEM", diem), ("VCU (deprecated)", vcu))
        if value is not None
    ]
    if not parts:
        return "no cap"
    window = WINDOWS.get(period or "EPOCH") or f"per {plain(period or '', 20)}"
    # Each currency is capped by itself, and DIEM is charged first.
    without = [unit for unit, value in (("USD", usd), ("DIEM", diem)) if value is None]
    return f"{' and '.join(parts)} {window}" + (f"; {without[0]}: no cap" if len(without) == 1 else "")


def about_create(
    settings: NewKeySettings, *, destination: Destination, now: datetime, notes: Sequence[str] = ()
) -> Question:
    """The question before createApiKey."""
    risks = creation_risks(settings)
    return Question(
        headline=f"Create a new {settings.api_key_type} key {quoted(settings.description)}?",
        facts=_creation_facts(settings, destination, now, notes=notes),
        risks=risks,
        word="CREATE" if risks else None,
    )


def about_mint(
    settings: NewKeySettings,
    *,
    address: str,
    destination: Destination,
    can_revoke: bool,
    now: datetime,
    notes: Sequence[str] = (),
) -> Question:
    """The question before postApiKeyGenerateWeb3Key. `can_revoke`: whether an ADMIN key is there to undo it with."""
    risks = creation_risks(settings)
    facts = _creation_facts(settings, destination, now, can_revoke=can_revoke, notes=notes)
    return Question(
        headline=f"Mint a new {settings.api_key_type} key {quoted(settings.description)} with wallet {address}?",
        facts=(*facts, "The wallet signs a token from Venice; it moves no funds."),
        risks=risks,
        word="MINT" if risks else None,
    )


def about_revoke(key: Key, now: datetime, *, in_use: bool = False, lost: bool = False) -> Question:
    """The question before deleteApiKey. `in_use`: this server itself runs on the key; `lost`: nobody has its secret."""
    risks = target_risks(key, now, in_use=in_use)
    return Question(
        headline=f"{LOCKED_OUT if in_use else ''}Revoke the {named_key(key)}"
        f"{', whose secret is lost' if lost else ''}?",
        facts=(
            f"Last used {when(key.last_used_at, now)}; created {when(key.created_at, now, 'unknown')}.",
            "Whatever uses it fails at once, and it cannot be brought back.",
            f"Caps: {key_caps(key)}. Expires: {when(key.expires_at, now)}. Id {plain(key.id, 40)}.",
        ),
        risks=risks,
        word=LOCKOUT_WORD if in_use else ("REVOKE" if risks else None),
    )


def about_update(key: Key, change: KeyChange, now: datetime, *, in_use: bool = False) -> Question:
    """The question before updateApiKey, with before and after."""
    before, after = key.settings(), change.applied_to(key)
    # What it is called comes last: it may be long, and decides least.
    changed = sorted((name for name in after if name != "id" and before[name] != after[name]), key="description".__eq__)
    lines = [f"{label(name)}: {shown(name, before[name], now)} -> {shown(name, after[name], now)}." for name in changed]
    risks = [*target_risks(key, now, in_use=in_use), *widening(before, after), *stopping(before, after, now)]
    if before["vcu_cap"] is not None and "usd_cap" in change.model_fields_set:
        risks.append(VCU_DROPPED)
    locked_out = in_use and bool(lockout(before, after))
    return Question(
        headline=f"{LOCKED_OUT if locked_out else ''}Change the {named_key(key)}?",
        facts=(
            # In few lines what decides: a dialog may show only three.
            *(packed(lines, " ") or [""]),
            f"Last used {when(key.last_used_at, now)}; created {when(key.created_at, now, 'unknown')}."
            f" Id {plain(key.id, 40)}.",
        ),
        risks=tuple(risks),
        word=LOCKOUT_WORD if locked_out else ("CHANGE" if risks else None),
    )


# --- how risky ------------------------------------------------------------------------------------


def target_risks(key: Key, now: datetime, *, in_use: bool = False) -> tuple[str, ...]:
    """What makes any write on this key worth a typed word."""
    risks = ["this server itself uses it"] if in_use else []
    if key.api_key_type != "INFERENCE":
        risks.append(f"it is an {plain(key.api_key_type, 20)} key")
    used = parse_time(key.last_used_at)
    if used is not None and now - used < RECENT_USE:
        risks.append("it was used in the last 24 hours")
    elif key.last_used_at and used is None:
        risks.append("when it was last used cannot be read")
    return tuple(risks)


def widening(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """In which ways the key could do more than before."""
    found: list[str] = []
    for name in CAPS:
        old, new = before[name], after[name]
        if old is not None and (new is None or new > old):
            found.append(f"{label(name)} is {'removed' if new is None else 'raised'}")
    capped = after["usd_cap"] is not None or after["diem_cap"] is not None
    if capped and _rank(PERIODS, after["limit_period"]) < _rank(PERIODS, before["limit_period"]):
        found.append("the cap resets more often")
    old_end, new_end = parse_time(before["expires_at"]), parse_time(after["expires_at"])
    changed_end = before["expires_at"] is not None and before["expires_at"] != after["expires_at"]
    if changed_end and (new_end is None or old_end is None or new_end > old_end):
        found.append("it lives for ever" if new_end is None else "it lives longer")
    if _rank(PRIVACY, after["model_privacy"]) > _rank(PRIVACY, before["model_privacy"]):
        found.append("less private models are allowed")
    old_ips, new_ips = before["ip_allowlist"], after["ip_allowlist"]
    if old_ips and new_ips != old_ips and (not new_ips or not _within(new_ips, old_ips)):
        found.append("more addresses are allowed" if new_ips else "every address is allowed")
    return tuple(found)


def stopping(before: Mapping[str, Any], after: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    """In which ways the key would stop working."""
    found = blocking({name: after[name] for name in CAPS if after[name] == 0 and before[name] != 0}, after)
    end = parse_time(after["expires_at"])
    if end is not None and after["expires_at"] != before["expires_at"] and end - now < STOPPING:
        found.append("it expires within a day")
    if after["ip_allowlist"] and not before["ip_allowlist"]:
        found.append("callers from other addresses are locked out")
    return tuple(found)


def blocking(zero: Iterable[str], after: Mapping[str, Any]) -> list[str]:
    """What the new caps of 0 named by `zero` block: the key only if the other currency is at 0 too."""
    if all(after[name] == 0 for name in CAPS):
        named = " and ".join(f"{label(name)} of 0" for name in zero)
        return [f"{named} {'block' if ' and ' in named else 'blocks'} it"] if named else []
    units = {"usd_cap": ("USD", "DIEM"), "diem_cap": ("DIEM", "USD")}
    return [f"{label(name)} of 0 blocks {units[name][0]} only; it may go on with {units[name][1]}" for name in zero]


def lockout(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """In which ways whoever runs on the key would be cut off from Venice, now or later."""
    found = [f"{label(name)} of 0" for name in CAPS if after[name] == 0 and before[name] != 0]
    old, new = parse_time(before["expires_at"]), parse_time(after["expires_at"])
    if after["expires_at"] != before["expires_at"] and after["expires_at"] and not (old and new and new >= old):
        found.append("an expiry")
    if after["ip_allowlist"] and after["ip_allowlist"] != before["ip_allowlist"]:
        found.append("an address list")
    return tuple(found)


def creation_risks(settings: NewKeySettings) -> tuple[str, ...]:
    risks: list[str] = []
    if settings.api_key_type == "ADMIN":
        risks.append("an ADMIN key can do everything to the account, keys and billing included")
    if settings.usd_cap is None and settings.diem_cap is None:
        risks.append("it has no spending cap")
    return tuple(risks)


def _rank(order: Sequence[str], value: object) -> int:
    """Where a value stands from narrow to wide; a value we do not know counts as widest."""
    return order.index(value) if value in order else len(order)


def _within(inner: Sequence[str], outer: Sequence[str]) -> bool:
    try:
        wide = [ipaddress.ip_network(item, strict=False) for item in outer]
        narrow = [ipaddress.ip_network(item, strict=False) for item in inner]
    except ValueError:
        return False
    return all(
        any(a.version == b.version and a.subnet_of(b) for b in wide)  # pyright: ignore[reportArgumentType] - same version
        for a in narrow
    )


# --- wording --------------------------------------------------------------------------------------


def label(name: str) -> str:
    return {"usd_cap": "USD cap", "diem_cap": "DIEM cap", "vcu_cap": "VCU cap"}.get(name, name.replace("_", " "))


def shown(name: str, value: Any, now: datetime) -> str:
    """A setting's value for a person."""
    if name in ("usd_cap", "diem_cap", "vcu_cap"):
        return "no cap" if value is None else exact(value)
    if name in ("expires_at", "created_at"):
        return when(value, now)
    if name == "ip_allowlist" and value is None:
        return "not stated"
    if name == "ip_allowlist":
        widest = sorted((plain(str(item), 50) for item in value), key=_size, reverse=True)
        more = f" and {len(widest) - _RANGES_SHOWN} smaller" if len(widest) > _RANGES_SHOWN else ""
        return ", ".join(widest[:_RANGES_SHOWN]) + more or "any address"
    return quoted(str(value)) if name == "description" else plain(str(value), 40)


def _size(item: str) -> int:
    """How many addresses a range holds; what is not a range counts as the largest, so that it is seen."""
    try:
        return ipaddress.ip_network(item, strict=False).num_addresses
    except ValueError:
        return 1 << 128


def attention(notes: Sequence[str]) -> str:
    """What to know about a destination, as one sentence; empty when there is nothing."""
    return f"ATTENTION: {'; '.join(notes)}." if notes else ""


def warnings(notes: Sequence[str]) -> list[str]:
    """The same for a question, in lines that stay short."""
    return [attention([line]) for line in packed(notes, "; ")]


def packed(parts: Sequence[str], between: str) -> list[str]:
    """Parts put together to as few lines as stay short: a terminal may cut what is longer than it is wide."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(between) + len(part) <= _LINE:
            lines[-1] += between + part
        else:
            lines.append(part)
    return lines


def named_key(key: Key) -> str:
    return f"{plain(key.api_key_type, 20)} key {quoted(key.description)} ...{plain(key.last6_chars, 6)}"


def key_caps(key: Key) -> str:
    limits = key.consumption_limits
    return caps(limits.usd, limits.diem, key.limit_period, limits.vcu)


def _creation_facts(
    settings: NewKeySettings,
    destination: Destination,
    now: datetime,
    *,
    can_revoke: bool = True,
    notes: Sequence[str] = (),
) -> tuple[str, ...]:
    spend = caps(settings.usd_cap, settings.diem_cap, settings.limit_period)
    place = "Its secret will be shown in the chat, once, and stays in the chat's history"
    more = [f"Models: {settings.model_privacy}"] if settings.model_privacy else []
    if settings.ip_allowlist:
        more.append(f"Addresses: {shown('ip_allowlist', list(settings.ip_allowlist), now)}")
    if destination.kind != "display":
        place = f"Its secret goes to {described(destination)}"
        undone = "revoked again" if can_revoke else "lost and must be revoked by hand"
        more.append(f"If saving fails, the key is {undone}")
    return (
        # In lines of their own, and first.
        *warnings(notes),
        f"Cap: {spend}. Expires: {when(settings.expires_at, now)}.",
        f"{place}.",
        *(f"{item}." for item in more),
    )
