"""Finding out what became of a create whose answer was lost, by comparing the keys before and after."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from venice_mcp.errors import AnswerLost, Changed, VeniceError
from venice_mcp.models.wire import Key
from venice_mcp.text import parse_time, plain, plural, quoted

_MARK = 8
_CLOCKS_APART = timedelta(minutes=10)
_MOST_WAITED = timedelta(minutes=15)


def marks(keys: Sequence[Key] | None) -> str | None:
    """Which keys there were, in so few characters that the record can hold 500 of them."""
    return None if keys is None else "".join(sorted(_mark(key.id) for key in keys))


def _mark(key_id: str) -> str:
    return hashlib.sha256(key_id.encode()).hexdigest()[:_MARK]


def appeared(keys: Sequence[Key], before: str | None, since: datetime, description: str, kind: str) -> list[Key]:
    """The keys that may have been made by a write of that time, the likeliest first: those with this very description
    and type.

    Both count: whether the key was there before (if the list could be read then), and when it was made, with room for
    clocks that differ. A key of a day later is somebody else's, whatever it is called.
    """
    known = {before[at : at + _MARK] for at in range(0, len(before or ""), _MARK)} if before else set[str]()
    found = [key for key in keys if _mark(key.id) not in known and _about_then(key, since)]
    return sorted(found, key=lambda key: not as_asked(key, description, kind))


def as_asked(key: Key, description: str, kind: str) -> bool:
    return (key.description, key.api_key_type) == (description, kind)


def _about_then(key: Key, since: datetime) -> bool:
    made = parse_time(key.created_at)
    return made is None or since - _CLOCKS_APART <= made <= since + _MOST_WAITED + _CLOCKS_APART


def named(keys: Sequence[Key]) -> str:
    return ", ".join(
        f"{plain(key.id, 40)} (...{plain(key.last6_chars, 6)}) {quoted(key.description)}" for key in keys[:5]
    )


def account_of_loss(lost: AnswerLost, description: str, new: list[Key] | None, *, ours: bool) -> VeniceError:
    """What to tell: `new` are the keys that appeared; None when that could not be read.

    `ours` is False when the key may belong to another account, whose list this is not: absence then says nothing.
    """
    if new is None or (not new and not ours):
        return VeniceError(
            f"{lost.what} Whether a key was made could not be found out.",
            next_step=f"Call venice_recover in a minute, before calling again: if there is a new key"
            f" {quoted(description)}, it is to be revoked, because its secret is lost.",
            changed=Changed.UNKNOWN,
            code="outcome_unknown",
        )
    if not new:
        return VeniceError(
            f"{lost.what} The list of keys shows no new one.",
            next_step="Call venice_recover in a minute; call again if it is still not there.",
            changed=Changed.UNKNOWN,
            code="probably_not_made",
        )
    return VeniceError(
        f"{lost.what} The list of keys shows {plural(len(new), 'new key')}: {named(new)}."
        " If it is the one asked for, its secret is lost.",
        next_step="Revoke it with venice_revoke_api_key unless somebody else made it, then call again.",
        changed=Changed.UNKNOWN if len(new) > 1 else Changed.SOMETHING,
        code="secret_lost",
    )
