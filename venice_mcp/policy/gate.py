"""Whether a request may be made at all, and whether it may be made unasked: the one place where rules are applied.

What is judged is the final request, exactly as it will be sent, whichever tool or workflow it comes from.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from venice_mcp.models.requests import KeyChange, NewKeySettings
from venice_mcp.models.wire import WINDOWS
from venice_mcp.policy.patterns import matches
from venice_mcp.policy.reach import ASPECTS, after_change, broken, named, reach_of, wider
from venice_mcp.policy.rules import CURRENCIES, PATH_KINDS, Act, Allowance, KeyRules, Policy, within
from venice_mcp.questions import stopping, widening
from venice_mcp.secrets.destinations import DISPLAY, Destination
from venice_mcp.text import exact, quoted

MadeUnder = Callable[[str], str | None]
"""The name of the allowance that a key id was made under."""

_ACTS: Mapping[str, Act] = {
    "createApiKey": "create",
    "postApiKeyGenerateWeb3Key": "mint",
    "deleteApiKey": "revoke",
}
_UPDATE = "updateApiKey"
_CREATED_WITH = frozenset(NewKeySettings.model_fields) | {"address"}
_CHANGED_WITH = frozenset(KeyChange.model_fields)


@dataclass(frozen=True)
class Request:
    """One write, as it will be sent.

    Attributes:
        operation: createApiKey, postApiKeyGenerateWeb3Key, updateApiKey or deleteApiKey; any other is refused.
        intent: what will be asked of Venice, as in `Proposal.intent`.
        target: `Key.settings()` as Venice has them now; None when the write makes a new key.
        destination: where a new secret goes; None means that it is displayed.
        own_key: whether this server itself runs on the key.
    """

    operation: str
    intent: Mapping[str, Any]
    target: Mapping[str, Any] | None = None
    destination: Destination | None = None
    own_key: bool = False

    @property
    def makes(self) -> bool:
        """Whether there will be a new key, and so a new secret."""
        return _ACTS.get(self.operation) in ("create", "mint")

    @property
    def place(self) -> Destination:
        return self.destination or DISPLAY

    @cached_property
    def folder(self) -> str | None:
        """Where a file with the secret would be made, with links followed: a link can lead out of any folder."""
        path = os.path.expanduser(self.place.path or "")
        try:
            return os.path.realpath(os.path.dirname(path)) if os.path.isabs(path) else None
        except (OSError, ValueError):
            return None


# --- allowed at all -------------------------------------------------------------------------------


def violations(policy: Policy, request: Request, now: datetime) -> tuple[str, ...]:
    """What the rules have against a request, each as a clause that says what would pass; empty when it is allowed."""
    if policy.read_only:
        return ("nothing may be created, changed or revoked (read_only)",)
    if request.operation not in _ACTS and request.operation != _UPDATE:
        return ("no rule knows this operation",)
    found: list[str] = []
    if request.makes:
        found += _against_secret(policy, request)
    for rules in policy.keys:
        found += _against_key(rules, request, now)
    return tuple(dict.fromkeys(found))


def _against_key(rules: KeyRules, request: Request, now: datetime) -> Iterator[str]:
    if request.makes:
        if not request.intent.keys() <= _CREATED_WITH:
            yield "it holds a setting that no rule knows"
        kind = request.intent.get("api_key_type")
        if rules.types is not None and kind not in rules.types:
            yield f"no {named(kind)} key may be made, only {' or '.join(rules.types) or 'none at all'}"
        yield from broken(rules, reach_of(request.intent), now).values()
    elif request.operation == _UPDATE:
        if not request.intent.keys() <= _CHANGED_WITH:
            yield "it holds a setting that no rule knows"
        before, after = request.target, reach_of(after_change(request.target or {}, request.intent))
        stands = broken(rules, reach_of(before), now) if before is not None else {}
        for aspect, clause in broken(rules, after, now).items():
            # A key that was made before the rule may keep what it has or come closer, so that it can be mended.
            if before is None or aspect not in stands or wider(aspect, reach_of(before), after):
                yield clause


def _against_secret(policy: Policy, request: Request) -> Iterator[str]:
    place = request.place
    for rules in policy.secrets:
        if rules.sinks is not None and place.kind not in rules.sinks:
            yield f"its secret may go to {' or '.join(rules.sinks) or 'no place at all'}, not to {named(place.kind)}"
    folders = policy.folders
    if folders is not None and place.kind in PATH_KINDS:
        folder = request.folder
        if folder is None or not any(within(folder, each) for each in folders):
            allowed = " or ".join(quoted(each, 200) for each in folders) or "no folder at all"
            yield f"its secret must be saved in {allowed}"
    if place.kind == "command" and place.name not in policy.commands:
        yield "the policy has no command of that name"


# --- allowed unasked ------------------------------------------------------------------------------


def allowance_for(policy: Policy, request: Request, now: datetime, made_under: MadeUnder) -> Allowance | None:
    """The first allowance that covers a request, its budget aside. None for whatever the rules forbid."""
    if violations(policy, request, now):
        return None
    return next((each for each in policy.allowances if not _lacking(each, request, now, made_under)), None)


def why_not_allowed(policy: Policy, request: Request, now: datetime, made_under: MadeUnder) -> str:
    """What the nearest allowance lacks, as one sentence; empty when none is for this, or one covers it."""
    act = _ACTS.get(request.operation)
    lacks = [(each, _lacking(each, request, now, made_under)) for each in policy.allowances if act in each.operations]
    if not lacks or not all(missing for _, missing in lacks):
        return ""
    nearest, missing = min(lacks, key=lambda item: len(item[1]))
    return f"The allowance {nearest.name} does not cover it: {'; '.join(missing)}."


def _lacking(allowance: Allowance, request: Request, now: datetime, made_under: MadeUnder) -> list[str]:
    """Why an allowance does not cover a request; empty when it does."""
    act = _ACTS.get(request.operation)
    if act not in allowance.operations:
        return ["it is for other operations"]
    if request.own_key:
        return ["this server itself runs on that key"]
    if act == "revoke":
        return list(_lacking_revoke(allowance, request, made_under))
    return list(_lacking_new(allowance, request, now))


def _lacking_revoke(allowance: Allowance, request: Request, made_under: MadeUnder) -> Iterator[str]:
    target = request.target or {}
    key_id = request.intent.get("id")
    if target.get("api_key_type") != "INFERENCE":
        yield "it is for INFERENCE keys only"
    if not isinstance(key_id, str) or key_id != target.get("id") or made_under(key_id) != allowance.name:
        yield "the key was not made under it"


def _lacking_new(allowance: Allowance, request: Request, now: datetime) -> Iterator[str]:
    if request.intent.get("api_key_type") != "INFERENCE":
        yield "it is for INFERENCE keys only"
    if not request.intent.keys() <= _CREATED_WITH:
        yield "it holds a setting that no rule knows"
    reach = reach_of(request.intent)
    for currency in CURRENCIES:
        most = allowance.max_cap.get(currency, 0.0)
        if not math.isinf(most) and not reach.capped(currency, most, allowance.limit_period):
            yield f"the {currency.upper()} cap must be at most {exact(most)} {WINDOWS[allowance.limit_period]}"
    if not reach.ends_within(allowance.max_days, now):
        yield f"it must expire within {exact(allowance.max_days)} days"
    if allowance.description is not None and not matches(allowance.description, reach.description):
        yield f"the description must match {quoted(allowance.description, 200)}"
    if request.place.kind not in allowance.sinks:
        yield f"its secret must go to {' or '.join(allowance.sinks)}"


def narrows_only(request: Request, now: datetime) -> bool:
    """Whether an update only takes something away from an INFERENCE key, and stops nobody at once.

    Another window is left to a person: with one that resets less often, a key may be past its cap already. So is
    an address list, which locks out whoever is not on it, and a VCU cap, which the change may drop.
    """
    before = request.target
    if request.operation != _UPDATE or request.own_key or before is None or not request.intent.keys() <= _CHANGED_WITH:
        return False
    after = after_change(before, request.intent)
    left_alone = ("id", "api_key_type", "limit_period", "ip_allowlist", "description")
    if before.get("api_key_type") != "INFERENCE" or before.get("vcu_cap") is not None:
        return False
    if request.intent.get("id") != before.get("id") or any(after.get(name) != before.get(name) for name in left_alone):
        return False
    old, new = reach_of(before), reach_of(after)
    if old == new or any(wider(aspect, old, new) for aspect in ASPECTS):
        return False
    # What a person would be warned of must not pass unasked either, whoever measures it.
    return not widening(before, after) and not stopping(before, after, now)
