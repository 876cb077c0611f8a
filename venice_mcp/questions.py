"""What a person is asked before a write, and how much care the answer needs.

The decisive facts stand in the first three lines, because a dialog may show no more. Everything in a question
comes from Venice or from the validated request, never from what a model says about it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from venice_mcp.models.wire import PERIODS, PRIVACY, Key, KeyChange, NewKeySettings
from venice_mcp.text import amount, parse_time, quoted, when

RECENT_USE = timedelta(hours=24)
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
        if self.risks:
            lines.append("HIGH RISK: " + "; ".join(self.risks) + ".")
        return "\n".join([*lines, *facts[1:], f"{how} Anything else changes nothing. Approval {code}."])


def caps(usd: float | None, diem: float | None, period: str | None) -> str:
    """`50 USD and 10 DIEM per MONTH`, `no cap`, `0 USD (blocked) per EPOCH`."""
    parts = [
        f"{amount(value)} {unit}" + (" (blocked)" if value == 0 else "")
        for unit, value in (("USD", usd), ("DIEM", diem))
        if value is not None
    ]
    if not parts:
        return "no cap"
    window = {"LIFETIME": "in its lifetime"}.get(period or "", f"per {period}" if period else "per EPOCH")
    return " and ".join(parts) + f" {window}"


def about_create(settings: NewKeySettings, *, destination: str | None, now: datetime) -> Question:
    """The question before createApiKey."""
    risks = _creation_risks(settings)
    return Question(
        headline=f"Create a new {settings.api_key_type} key {quoted(settings.description)}?",
        facts=_creation_facts(settings, destination, now),
        risks=risks,
        word="CREATE" if risks else None,
    )


def about_mint(settings: NewKeySettings, *, address: str, destination: str | None, now: datetime) -> Question:
    """The question before postApiKeyGenerateWeb3Key."""
    risks = _creation_risks(settings)
    facts = _creation_facts(settings, destination, now)
    return Question(
        headline=f"Mint a new {settings.api_key_type} key {quoted(settings.description)} with wallet {address}?",
        facts=(*facts, "The wallet signs a token from Venice; it moves no funds."),
        risks=risks,
        word="MINT" if risks else None,
    )


def about_revoke(key: Key, now: datetime) -> Question:
    """The question before deleteApiKey."""
    risks = target_risks(key, now)
    return Question(
        headline=f"Revoke the {key.api_key_type} key {quoted(key.description)} ...{key.last6_chars}?",
        facts=(
            f"Last used {when(key.last_used_at, now)}; created {when(key.created_at, now, 'unknown')}.",
            "Whatever uses it fails at once, and it cannot be brought back.",
            f"Caps: {_key_caps(key)}. Expires: {when(key.expires_at, now)}. Id {key.id}.",
        ),
        risks=risks,
        word="REVOKE" if risks else None,
    )


def about_update(key: Key, change: KeyChange, now: datetime) -> Question:
    """The question before updateApiKey, with before and after."""
    before, after = key.settings(), change.applied_to(key)
    lines = [
        f"{label(name)}: {shown(name, before[name], now)} -> {shown(name, after[name], now)}"
        for name in after
        if name != "id" and before[name] != after[name]
    ]
    risks = (*widening(before, after), *stopping(before, after, now), *target_risks(key, now))
    return Question(
        headline=f"Change the {key.api_key_type} key {quoted(key.description)} ...{key.last6_chars}?",
        facts=(
            "; ".join(lines) + ".",
            f"Last used {when(key.last_used_at, now)}; created {when(key.created_at, now, 'unknown')}. Id {key.id}.",
        ),
        risks=risks,
        word="CHANGE" if risks else None,
    )


# --- how risky ------------------------------------------------------------------------------------


def target_risks(key: Key, now: datetime) -> tuple[str, ...]:
    """What makes any write on this key worth a typed word."""
    risks: list[str] = []
    if key.api_key_type != "INFERENCE":
        risks.append(f"it is an {key.api_key_type[:20]} key")
    used = parse_time(key.last_used_at)
    if used is not None and now - used < RECENT_USE:
        risks.append("it was used in the last 24 hours")
    elif key.last_used_at and used is None:
        risks.append("when it was last used cannot be read")
    return tuple(risks)


def widening(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """In which ways the key could do more than before."""
    found: list[str] = []
    for name in ("usd_cap", "diem_cap"):
        old, new = before[name], after[name]
        if old is not None and (new is None or new > old):
            found.append(f"{label(name)} is {'removed' if new is None else 'raised'}")
    capped = after["usd_cap"] is not None or after["diem_cap"] is not None
    if capped and _rank(PERIODS, after["limit_period"]) < _rank(PERIODS, before["limit_period"]):
        found.append("the cap resets more often")
    old_end, new_end = parse_time(before["expires_at"]), parse_time(after["expires_at"])
    if before["expires_at"] is not None and (new_end is None or old_end is None or new_end > old_end):
        found.append("it lives for ever" if new_end is None else "it lives longer")
    if _rank(PRIVACY, after["model_privacy"]) > _rank(PRIVACY, before["model_privacy"]):
        found.append("less private models are allowed")
    old_ips, new_ips = before["ip_allowlist"], after["ip_allowlist"]
    if old_ips and (not new_ips or not _within(new_ips, old_ips)):
        found.append("more addresses are allowed" if new_ips else "every address is allowed")
    return tuple(found)


def stopping(before: Mapping[str, Any], after: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    """In which ways the key would stop working."""
    found = [
        f"{label(name)} of 0 blocks it" for name in ("usd_cap", "diem_cap") if after[name] == 0 and before[name] != 0
    ]
    end = parse_time(after["expires_at"])
    if end is not None and after["expires_at"] != before["expires_at"] and end - now < STOPPING:
        found.append("it expires within a day")
    if after["ip_allowlist"] and not before["ip_allowlist"]:
        found.append("callers from other addresses are locked out")
    return tuple(found)


def _creation_risks(settings: NewKeySettings) -> tuple[str, ...]:
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
    import ipaddress

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
    return {"usd_cap": "USD cap", "diem_cap": "DIEM cap"}.get(name, name.replace("_", " "))


def shown(name: str, value: Any, now: datetime) -> str:
    """A setting's value for a person."""
    if name in ("usd_cap", "diem_cap"):
        return "no cap" if value is None else amount(value)
    if name in ("expires_at", "created_at"):
        return when(value, now)
    if name == "ip_allowlist":
        listed = ", ".join(str(item) for item in value[:5]) + (f" and {len(value) - 5} more" if len(value) > 5 else "")
        return listed or "any address"
    return quoted(str(value)) if name == "description" else str(value)


def _key_caps(key: Key) -> str:
    return caps(key.consumption_limits.usd, key.consumption_limits.diem, key.limit_period)


def _creation_facts(settings: NewKeySettings, destination: str | None, now: datetime) -> tuple[str, ...]:
    spend = caps(settings.usd_cap, settings.diem_cap, settings.limit_period)
    place = (
        f"Its secret goes to the new file {quoted(destination, 200)}; if saving fails, the key is revoked again."
        if destination
        else "Its secret will be shown in the chat, once, and stays in the chat's history."
    )
    more = [f"Models: {settings.model_privacy}"] if settings.model_privacy else []
    if settings.ip_allowlist:
        more.append(f"Addresses: {shown('ip_allowlist', list(settings.ip_allowlist), now)}")
    return (
        f"Cap: {spend}. Expires: {when(settings.expires_at, now)}.",
        place,
        *(f"{item}." for item in more),
    )
