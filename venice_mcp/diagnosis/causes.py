"""The causes a caller can be limited by: stable codes, and what is said of each when only Venice's answer names it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from venice_mcp.operating import command
from venice_mcp.text import away, plain, quoted

State = Literal["now", "lately", "soon", "past"]
"""In force now; within the last quarter of an hour; going to be; within the last day."""

Sure = Literal["certain", "likely", "possible"]

BILLING_PAGE = "https://venice.ai/settings/api"
SUPPORT = "support@venice.ai"
PARTNERS = "api@venice.ai"


@dataclass(frozen=True)
class Remedy:
    """What to do: in words, and as the exact call where there is one. `caution` belongs with the call."""

    words: str
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    caution: str = ""


@dataclass(frozen=True)
class Cause:
    """One cause. `sentence` says it with its numbers; `numbers` are the evidence for programs.

    Attributes:
        ends_at, ends: when it is over: the moment, or words where there is none.
        claimed: whether the pasted error speaks for it.
    """

    code: str
    sentence: str
    remedy: Remedy
    state: State = "now"
    sure: Sure = "certain"
    numbers: Mapping[str, float | str] = field(default_factory=dict[str, float | str])
    ends_at: datetime | None = None
    ends: str = ""
    claimed: bool = False

    @property
    def free_at(self) -> datetime | None:
        """`ends_at` as it is shown, in whole seconds: never before it is true."""
        end = self.ends_at
        return end if end is None or not end.microsecond else end.replace(microsecond=0) + timedelta(seconds=1)

    def ending(self, now: datetime) -> str:
        """When it ends, absolute and relative."""
        if self.free_at is None:
            return self.ends
        moment = f"{self.free_at:%Y-%m-%d %H:%M:%S} UTC ({away(self.free_at, now)})"
        return f"{moment}, {self.ends}" if self.ends else moment


class Known(NamedTuple):
    """What a code means, when it ends and what helps, as far as that is so for everybody."""

    meaning: str
    ends: str
    remedy: str
    lasts_s: float | None = None
    after: str = ""
    """The remedy when it is over already."""

    def helps(self, state: State) -> str:
        return self.after if self.after and state != "now" else self.remedy


_WAIT = "Wait until then"
_NEVER = "not by itself"
_HALF_MINUTE = 30.0
_MINUTE = 60.0

# In the order in which they come first when several are equally sure: what stops every call before what slows some.
KNOWN: Mapping[str, Known] = {
    "no_key_sent": Known(
        "the request carried no key at all",
        _NEVER,
        "Send the header Authorization: Bearer <key>; look whether the program really has its key.",
    ),
    "unreachable": Known(
        "Venice cannot be reached from this machine", "when the network is mended", f"Run {command('doctor')}."
    ),
    "key_expired": Known("the key has expired", _NEVER, "Make a new key; an expired one does not come back."),
    "key_revoked": Known("the key was revoked", _NEVER, "Make a new key and replace this one where it is used."),
    "key_not_accepted": Known(
        "Venice does not accept the key: it is revoked, expired or mistyped, and Venice does not say which",
        _NEVER,
        "See by its last six characters whether the account still lists it; make a new key if it does not.",
    ),
    "subscription_inactive": Known(
        "the account's Pro subscription is inactive", "when it is renewed", f"Renew it at {BILLING_PAGE}."
    ),
    "address_not_listed": Known(
        "the request came from an address that is not in the key's list",
        _NEVER,
        "Call from a listed address, or add this one to the key's ip_allowlist.",
    ),
    "access_not_permitted": Known(
        "API access is switched off for the account", "when Venice permits it again", f"Write to {SUPPORT}."
    ),
    "wrong_key_type": Known(
        "the call needs an ADMIN key and was made with an INFERENCE key",
        _NEVER,
        "Use an ADMIN key for it (VENICE_ADMIN_KEY); calls of models do not need one.",
    ),
    "pro_only_model": Known("the model is for Pro accounts only", "when the account is Pro", "Use another model."),
    "failed_requests": Known(
        "too many requests failed within 30 s, so Venice refuses all of the key's for 30 s",
        "",
        "Send nothing for 30 s, and mend what makes requests fail; retrying a 4xx other than 429 prolongs it.",
        _HALF_MINUTE,
        "Mend what made requests fail; retrying a 4xx other than 429 brings it back.",
    ),
    "unsupported_feature": Known(
        "more than 200 requests within 30 s asked a model for a feature it lacks",
        "",
        "Send nothing for 30 s; leave out the feature (tools, images, ...) or use a model that has it.",
        _HALF_MINUTE,
        "Leave out the feature (tools, images, ...) or use a model that has it.",
    ),
    "cap_zero": Known("the key may not spend anything, by its own caps", _NEVER, "Raise the cap of the key."),
    "key_diem_cap": Known(
        "the key has reached its own DIEM cap", "when the cap's window ends", "Raise the cap, or wait."
    ),
    "key_usd_cap": Known(
        "the key has reached its own USD cap", "when the cap's window ends", "Raise the cap, or wait."
    ),
    "account_empty": Known(
        "the account has nothing left to pay with", "at 00:00 UTC if it stakes DIEM", f"Add credits at {BILLING_PAGE}."
    ),
    "account_out_of_diem": Known(
        "the account's DIEM of today is used up", "at 00:00 UTC", f"Wait, or let the key spend USD; {BILLING_PAGE}."
    ),
    "account_out_of_usd": Known(
        "the account has no USD left", "when credits are added", f"Add credits at {BILLING_PAGE}."
    ),
    "cannot_consume": Known(
        "Venice says that the account cannot pay for calls", "not stated", f"Look at {BILLING_PAGE}."
    ),
    "model_unknown": Known("Venice lists no model of that name", _NEVER, "Correct the model id."),
    "model_privacy": Known(
        "the model is outside the key's privacy tier", _NEVER, "Use a private model, or widen the key's model_privacy."
    ),
    "model_offline": Known("the model is offline", "not stated", "Use another model, or try again later."),
    "model_at_capacity": Known("the model is at capacity", "not stated", "Try again with backoff, or another model."),
    "model_overloaded": Known(
        "the model is overloaded", "", "Wait as long as Retry-After says, or use another model.", _HALF_MINUTE
    ),
    "requests_per_day": Known(
        "the model's requests per day are used up", "within a day", "Spread the work, or use another model."
    ),
    "requests_per_minute": Known(
        "too many requests per minute for the model", "", "Space the requests out (see pace).", _MINUTE
    ),
    "tokens_per_minute": Known(
        "too many tokens per minute for the model", "", "Space the requests out or make them smaller.", _MINUTE
    ),
    "creation_pace": Known(
        "20 keys were made within a minute, which is as many as Venice allows",
        "",
        "Wait a minute; many keys made with one call keep the pace by themselves.",
        _MINUTE,
    ),
    "rate_limited": Known(
        "Venice refused it with 429 and does not say which limit was hit",
        "mostly within a minute",
        "Wait a minute, then go on with growing pauses; the headers of the answer would tell which limit it was.",
    ),
    "too_many_keys": Known(
        "the account has its 500 active keys, so no more can be made", _NEVER, "Revoke keys that nobody uses."
    ),
    "wallet_not_staked": Known(
        "the wallet has no staked VVV on Base, so it cannot mint a key", "when VVV is staked", "Stake VVV on Base."
    ),
    "invalid_request": Known("the request itself is wrong", _NEVER, "Correct the request; do not send it again as is."),
    "venice_failed": Known("Venice itself failed", "not stated", "Try again with backoff; quote CF-RAY to support."),
    "not_from_venice": Known(
        "the answer is not Venice's but a proxy's or firewall's",
        "not stated",
        "Look at the proxy between you and Venice, then try again.",
    ),
    "key_expires_soon": Known("the key expires soon", _NEVER, "Extend it."),
    "undetermined": Known("it could not be found out", "", "Paste the whole error, headers included."),
    "nothing_wrong": Known("nothing limits the key", "", "If a call fails, paste its whole error."),
}

_STATES: tuple[State, ...] = ("now", "lately", "soon", "past")
_SURE: tuple[Sure, ...] = ("certain", "likely", "possible")


BESIDE = frozenset({"too_many_keys", "creation_pace"})
"""Causes that keep keys from being made, while calls still work."""

_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,79}")


def model_name(name: str) -> str:
    """A model's name as it may stand in a sentence: what is no id of one is quoted."""
    shown = plain(name, 80)
    return shown if _MODEL_ID.fullmatch(shown) else quoted(name, 60)


def ranked(causes: list[Cause]) -> list[Cause]:
    """One of each code, first what the pasted error speaks for, then what is in force, then what is surest."""
    best: dict[str, Cause] = {}
    for cause in sorted(causes, key=_rank):
        known = best.setdefault(cause.code, cause)
        if cause.claimed and not known.claimed:
            best[cause.code] = replace(known, claimed=True)
    return sorted(best.values(), key=_rank)


def _rank(cause: Cause) -> tuple[bool, bool, bool, int, int, int]:
    # Neither a mere possibility of what was pasted, nor what is over, stands before what is known and in force.
    asked_for = cause.claimed and cause.sure != "possible" and cause.state != "past"
    idle = cause.state in ("soon", "past")
    place = _SURE.index(cause.sure), _STATES.index(cause.state), list(KNOWN).index(cause.code)
    return not asked_for, idle, cause.code in BESIDE, *place


def over(code: str, since: datetime) -> datetime | None:
    """When a limit hit at `since` is free again, where that is the same for everybody."""
    lasts = KNOWN[code].lasts_s
    return since + timedelta(seconds=lasts) if lasts is not None else None
