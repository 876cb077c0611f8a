"""What a person is asked before a plan of several writes: all that it covers."""

from collections.abc import Sequence
from datetime import datetime

from venice_mcp.models.requests import KeyChange, NewKeySettings
from venice_mcp.models.wire import MAX_ACTIVE_KEYS, WINDOWS, Key
from venice_mcp.questions import (
    LOCKED_OUT,
    LOCKOUT_WORD,
    STOPPING,
    VCU_DROPPED,
    Question,
    caps,
    creation_risks,
    key_caps,
    label,
    named_key,
    shown,
    stopping,
    target_risks,
    warnings,
    widening,
)
from venice_mcp.secrets import Destination
from venice_mcp.secrets.delivery import described
from venice_mcp.store import MAKING_PACE, Replacement
from venice_mcp.text import away, exact, parse_time, plain, plural, quoted, when

_MANY = 10
"""More keys than this in one go are worth a typed word."""
_SAMPLE = 3
_UNSAVED = "A key that Venice made and whose secret could not be saved is revoked again, and another one made."


def about_rotation(
    key: Key,
    settings: NewKeySettings,
    *,
    destination: Destination,
    ending: str,
    leaked: bool,
    own: bool,
    at_once: bool,
    before: Replacement | None,
    now: datetime,
    notes: Sequence[str] = (),
) -> Question:
    """The question before a rotation. `ending` says in words when the old key ends."""
    # Whoever uses it has the grace period to change over; without one they fail at once.
    risks = [risk for risk in target_risks(key, now, in_use=own) if leaked or at_once or "used in the last" not in risk]
    risks += creation_risks(settings)
    if before is not None:
        # Whoever did not get the answer may ask for the same once more.
        made = f": ...{plain(before.last6, 6)}" if before.last6 else ""
        risks.append(f"a successor of it was made already, {away(before.at, now)}{made}")
    end = parse_time(settings.expires_at)
    if end is not None and end - now < STOPPING:
        risks.append("the successor expires within a day")
    if leaked:
        risks.append("it is revoked first, so whatever uses it fails until the new key is in its place")
    first = "First it is revoked, at once and for good. Then a" if leaked else "A"
    spend = caps(settings.usd_cap, settings.diem_cap, settings.limit_period)
    facts = [
        *warnings(notes),
        f"{first} successor is made: {spend}; expires {when(settings.expires_at, now)}.",
        f"Its secret goes to {described(destination)}.",
        "" if leaked else f"Once a read with it works, the old key ends: {ending}.",
        "Its cap counts from zero." if settings.usd_cap is not None or settings.diem_cap is not None else "",
        f"Old key: {key_caps(key)}; last used {when(key.last_used_at, now)};"
        f" expires {when(key.expires_at, now)}; id {plain(key.id, 40)}.",
        f"Models: {plain(settings.model_privacy or 'not stated', 20)}. Called {quoted(settings.description)}.",
        *_not_taken_over(key, settings, now),
        _UNSAVED,
    ]
    doing = "Revoke the leaked" if leaked else "Rotate the"
    after = " at once, then make a successor" if leaked else ""
    return Question(
        headline=f"{LOCKED_OUT if own else ''}{doing} {named_key(key)}{after}?",
        facts=tuple(fact for fact in facts if fact),
        risks=tuple(dict.fromkeys(risks)),
        word=LOCKOUT_WORD if own else ("ROTATE" if risks else None),
    )


def _not_taken_over(key: Key, settings: NewKeySettings, now: datetime) -> list[str]:
    found: list[str] = []
    if key.consumption_limits.vcu is not None:
        found.append("ATTENTION: its deprecated VCU cap cannot be given to the successor.")
    if key.ip_allowlist is None:
        found.append("Venice does not say for which addresses the old key is; the successor is for any.")
    elif settings.ip_allowlist:
        found.append(f"Addresses: {shown('ip_allowlist', list(settings.ip_allowlist), now)}.")
    return found


def about_provisioning(
    settings: Sequence[NewKeySettings],
    *,
    where: str,
    skipped: int,
    active: int,
    now: datetime,
    notes: Sequence[str] = (),
) -> Question:
    """The question before many keys are made from one template. `skipped` are there already."""
    first, count = settings[0], len(settings)
    risks = list(creation_risks(first))
    if count > _MANY:
        risks.append(f"it makes {count} keys")
    spend = caps(first.usd_cap, first.diem_cap, first.limit_period)
    sample = [quoted(each.description) for each in settings[:_SAMPLE]]
    more = f" ... {quoted(settings[-1].description)}" if count > _SAMPLE else ""
    # At the pace at which Venice lets keys be made; fewer take no time worth telling.
    minutes = (count - 1) // MAKING_PACE.most
    facts = [
        *warnings(notes),
        f"Each: {spend}; expires {when(first.expires_at, now)}. Together: {_exposure(first, count)}.",
        f"Their secrets go to {where}, never into the chat.",
        f"They are called {', '.join(sample)}{more}.",
        f"There already under such a name, and left alone: {plural(skipped, 'key')}." if skipped else "",
        f"The account has {active} active keys and will have {active + count}; Venice allows {MAX_ACTIVE_KEYS}."
        + (f" At {MAKING_PACE.most} a minute this takes about {minutes} min." if minutes else ""),
        f"Models: {first.model_privacy}." if first.model_privacy else "",
        f"Addresses: {shown('ip_allowlist', list(first.ip_allowlist), now)}." if first.ip_allowlist else "",
        _UNSAVED,
    ]
    return Question(
        headline=f"Create {plural(count, f'new {first.api_key_type} key')}?",
        facts=tuple(fact for fact in facts if fact),
        risks=tuple(risks),
        word="CREATE" if risks else None,
    )


def _exposure(settings: NewKeySettings, count: int) -> str:
    """What all of them together may spend in one window."""
    caps_of = {"USD": settings.usd_cap, "DIEM": settings.diem_cap}
    parts = [f"{exact(value * count)} {unit}" for unit, value in caps_of.items() if value is not None]
    if not parts:
        return "whatever the account holds"
    window = WINDOWS.get(settings.limit_period or "EPOCH", "")
    others = "".join(f" and all the account's {unit}" for unit, value in caps_of.items() if value is None)
    return f"at most {' and '.join(parts)} {window}{others}"


def about_revoking(keys: Sequence[Key], now: datetime) -> Question:
    """The question before several keys are revoked, each with its last use as it was just read."""
    risks = _risks_of(keys, now)
    lines = [
        f"{named_key(key)}, last used {when(key.last_used_at, now)}, {key_caps(key)}, id {plain(key.id, 40)}."
        for key in keys
    ]
    return Question(
        headline=f"Revoke {plural(len(keys), 'key')}?",
        facts=("Whatever uses them fails at once, and they cannot be brought back.", *lines),
        risks=risks,
        word="REVOKE" if risks else None,
    )


def about_updating(changes: Sequence[tuple[Key, KeyChange]], now: datetime, *, same: int) -> Question:
    """The question before several keys are changed alike, with before and after of each."""
    lines: list[str] = []
    risks: dict[str, None] = {}
    for key, change in changes:
        before, after = key.settings(), change.applied_to(key)
        table = "; ".join(
            f"{label(name)} {shown(name, before[name], now)} -> {shown(name, after[name], now)}"
            for name in after
            if before[name] != after[name]
        )
        lines.append(f"{named_key(key)}: {table}. Last used {when(key.last_used_at, now)}, id {plain(key.id, 40)}.")
        risks |= dict.fromkeys([*widening(before, after), *stopping(before, after, now)])
        if before["vcu_cap"] is not None and "usd_cap" in change.model_fields_set:
            risks |= {VCU_DROPPED: None}
    risks |= dict.fromkeys(_risks_of([key for key, _ in changes], now))
    already = f"Set so already, and left alone: {plural(same, 'key')}." if same else ""
    return Question(
        headline=f"Change {plural(len(changes), 'key')}?",
        facts=tuple(fact for fact in (already, *lines) if fact),
        risks=tuple(risks),
        word="CHANGE" if risks else None,
    )


def _risks_of(keys: Sequence[Key], now: datetime) -> tuple[str, ...]:
    """The risks of all keys, each once, with how many it is true of."""
    found: dict[str, int] = {}
    for key in keys:
        for risk in target_risks(key, now):
            found[risk] = found.get(risk, 0) + 1
    many = (f"it is about {len(keys)} keys",) if len(keys) > _MANY else ()
    return (*(f"{risk} ({count} of {len(keys)})" for risk, count in found.items()), *many)


def about_undoing(
    headline: str,
    revoked: Sequence[Key],
    changes: Sequence[tuple[Key, KeyChange]],
    cannot: Sequence[str],
    now: datetime,
) -> Question:
    """The question before a plan's work is taken back."""
    parts = [
        *([about_revoking(revoked, now)] if revoked else []),
        *([about_updating(changes, now, same=0)] if changes else []),
    ]
    risks = dict.fromkeys(risk for part in parts for risk in part.risks)
    facts = [line for part in parts for line in (part.headline.replace("?", ":"), *part.facts)]
    return Question(
        headline=f"Take back what was done under {quoted(headline, 120)}?",
        facts=(*facts, *(plain(each, 200) for each in cannot[:5])),
        risks=tuple(risks),
        word="UNDO" if risks else None,
    )
