"""Taking a plan's work back: the keys it made are revoked, the settings it changed are put back; nothing is guessed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from venice_mcp.consent import canonical
from venice_mcp.errors import VeniceError
from venice_mcp.models.requests import KeyChange
from venice_mcp.models.wire import Key
from venice_mcp.proposals import Plan, Step, digest
from venice_mcp.secrets.delivery import described
from venice_mcp.store import MAKING, RecordedPlan
from venice_mcp.text import quoted


@dataclass(frozen=True)
class Undoing:
    """What would take a plan back.

    Attributes:
        steps: in the order in which they are to be done.
        keys: that they are about.
        changes: of the keys that get settings back.
        revoked: keys that they would end.
        cannot: what stays, one sentence each.
    """

    steps: tuple[Step, ...]
    keys: tuple[Key, ...]
    changes: tuple[tuple[Key, KeyChange], ...]
    revoked: tuple[Key, ...]
    cannot: tuple[str, ...]


def undoing(plan: Plan, recorded: RecordedPlan, keys: Sequence[Key]) -> Undoing:
    """What would take back what is done of a plan, the last step first.

    Raises:
        VeniceError: a rotation whose old key is gone or cannot get its expiry back, so that taking it back would leave
            no key in the end.
    """
    if "undoes" in plan.proposal.about:
        raise VeniceError(
            "That plan took another one back, and that is not taken back in turn.",
            next_step="What is wanted again is to be asked for with its own tool.",
            code="cannot_undo",
        )
    listed = {key.id: key for key in keys}
    replaced = plan.proposal.about.get("replaces")
    if replaced is not None and replaced not in listed:
        raise _none_left()
    steps: list[Step] = []
    changes: list[tuple[Key, KeyChange]] = []
    revoked: list[Key] = []
    cannot: list[str] = []
    for step, standing in reversed(list(zip(plan.steps, recorded.standings, strict=True))):
        if standing.state != "done":
            continue
        if step.operation == "deleteApiKey":
            if plan.in_order:
                raise _none_left()
            cannot.append(f"{quoted(step.label)}: it is revoked, and that cannot be taken back.")
            continue
        key = listed.get(standing.key_id or str(step.intent.get("id")))
        if key is None:
            continue
        if step.operation in MAKING:
            steps.append(Step("deleteApiKey", {"id": key.id}, key.description, target=digest(key.settings())))
            revoked.append(key)
            if step.occupant is not None and step.destination is not None:
                cannot.append(f"What its secret replaced, {described(step.destination)}, is not put back.")
            continue
        change = _back(standing.intended, key)
        if change is None and plan.in_order:
            raise VeniceError(
                f"{quoted(step.label)} was changed again since, so it cannot get its former expiry back.",
                next_step="Set its expiry with venice_update_api_key, then revoke the successor if it is not wanted.",
                code="cannot_undo",
            )
        if change is None:
            cannot.append(f"{quoted(step.label)}: it was changed again since, or what it was before is not known.")
            continue
        steps.append(Step("updateApiKey", change.intent(), key.description, target=digest(key.settings())))
        changes.append((key, change))
    return Undoing(
        tuple(steps), (*revoked, *(key for key, _ in changes)), tuple(changes), tuple(revoked), tuple(cannot)
    )


def _none_left() -> VeniceError:
    return VeniceError(
        "The old key is gone already; taking the rotation back would leave no key at all.",
        next_step="Make a new key with venice_create_api_key if the successor is not wanted.",
        code="cannot_undo",
    )


def _back(intended: Mapping[str, Any], key: Key) -> KeyChange | None:
    """The change that gives a key its former settings back, if it still has those that the plan gave it."""
    before: Mapping[str, Any] = intended.get("target") or {}
    sent = KeyChange.model_validate(intended["intent"])
    if canonical(sent.applied_to(key)) != canonical(key.settings()):
        return None
    names = sent.model_fields_set - {"id"}
    if any(name not in before for name in names) or ("ip_allowlist" in names and before["ip_allowlist"] is None):
        return None
    return KeyChange.model_validate({"id": key.id, **{name: before[name] for name in names}})
