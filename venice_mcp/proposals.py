"""What a write is from the moment it is thought of until it is approved: the values the guard works on."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from mcp.server.mcpserver.resolve import ElicitationResult
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from venice_mcp.consent import Intent, canonical
from venice_mcp.questions import Question, label, recorded, shown
from venice_mcp.secrets import Destination
from venice_mcp.store import Approval, Budget
from venice_mcp.text import parse_time, to_wire

Target = Mapping[str, Any]
"""The identity and settings of the key a write is about, never its use or spend."""


PLAN = "plan"
"""What stands in place of an operation in a proposal of several writes."""


@dataclass(frozen=True)
class Step:
    """One write of a plan, frozen like everything else a person approves.

    Attributes:
        operation, intent, destination, own_key, occupant: as in a proposal.
        target: the digest of the key's settings when the person was asked; None for a new key.
        label: what the step is called in accounts of it: a key's description.
        ends_after_s: the key's expiry is set so many seconds after the step begins, but never later than the
            `expires_at` of the intent, if it has one.
    """

    operation: str
    intent: Intent
    label: str
    target: str | None = None
    destination: Destination | None = None
    own_key: bool = False
    occupant: str | None = None
    ends_after_s: float | None = None

    def intent_at(self, now: datetime) -> dict[str, Any]:
        """What will be asked of Venice if the step begins now."""
        intent = dict(self.intent)
        if self.ends_after_s is None:
            return intent
        end, latest = now + timedelta(seconds=self.ends_after_s), parse_time(intent.get("expires_at"))
        return intent | {"expires_at": to_wire(min(end, latest) if latest else end)}

    def as_data(self) -> dict[str, Any]:
        members = {name: getattr(self, name) for name in _STEP_MEMBERS if getattr(self, name) not in (None, False)}
        place = {"deliver_to": self.destination.as_data()} if self.destination else {}
        return members | {"intent": dict(self.intent)} | place

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Step":
        place = data.get("deliver_to")
        members = {name: value for name, value in data.items() if name != "deliver_to"}
        return cls(**members, destination=Destination.from_data(place) if place else None)


_STEP_MEMBERS = ("operation", "label", "target", "own_key", "occupant", "ends_after_s")


@dataclass(frozen=True)
class Proposal:
    """A write, or a plan of several, that is about to be asked for.

    Attributes:
        tool: the tool's name.
        fingerprint: tells calls apart: the tool and its exact arguments.
        operation: OpenAPI operationId.
        intent: what will be asked of Venice, without secrets.
        question: what the person is shown.
        target: the key as Venice has it now; None when the write makes a new one.
        reread: reads the target again.
        destination: where the new key's secret goes; None when there is none.
        own_key: this server itself runs on the target.
        occupant: what stands at the destination and would be replaced, as `Prepared.occupant` tells it.
        steps: of a plan, whose operation is PLAN.
        in_order: each step of the plan only once the one before is done, and nothing is ended before a key that was
            made before it is proven to work.
        about: what else belongs to the plan, for accounts of it.
    """

    tool: str
    fingerprint: str
    operation: str
    intent: Intent
    question: Question
    target: Target | None = None
    reread: Callable[[], Awaitable[Target]] | None = None
    destination: Destination | None = None
    own_key: bool = False
    occupant: str | None = None
    steps: tuple[Step, ...] = ()
    in_order: bool = False
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def frozen(self) -> dict[str, Any]:
        return {
            "tool": self.tool,
            "operation": self.operation,
            "intent": dict(self.intent),
            "target": digest(self.target),
            "deliver_to": self.destination.as_data() if self.destination else None,
            "own_key": self.own_key,
            "occupant": self.occupant,
            "headline": self.question.headline,
            "facts": list(self.question.facts),
            "risks": list(self.question.risks),
            "word": self.question.word,
            **({"steps": [step.as_data() for step in self.steps], "in_order": self.in_order} if self.steps else {}),
            **({"about": dict(self.about)} if self.about else {}),
        }

    def as_recorded(self, data: Mapping[str, Any]) -> "Proposal":
        """This proposal with what will be sent and what a person was shown taken from the record."""
        return replace(
            self,
            intent=data["intent"],
            question=recorded(data),
            occupant=data.get("occupant"),
            steps=tuple(map(Step.from_data, data.get("steps", ()))),
            in_order=data.get("in_order", False),
            about=data.get("about", {}),
        )

    def deeds(self) -> list[tuple[str, Intent]]:
        """Every operation with its intent."""
        return [(step.operation, step.intent) for step in self.steps] or [(self.operation, self.intent)]

    def intended(self) -> dict[str, Any]:
        """The write as the journal has it before it is sent."""
        return {
            "tool": self.tool,
            "operation": self.operation,
            "intent": dict(self.intent),
            "target": dict(self.target) if self.target is not None else None,
            "deliver_to": self.destination.as_data() if self.destination else None,
        }


def recorded_plan(data: Mapping[str, Any]) -> Proposal:
    """A plan from the record alone: what it covers and how it was shown. It can be carried on, not asked for."""
    bare = Proposal(data["tool"], "", PLAN, {}, recorded(data))
    return bare.as_recorded(data)


@dataclass(frozen=True)
class Plan:
    """A plan that was approved and begun; only the guard makes one. It covers its recorded steps, each done once."""

    code: str
    proposal: Proposal

    @property
    def tool(self) -> str:
        return self.proposal.tool

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.proposal.steps

    @property
    def in_order(self) -> bool:
        return self.proposal.in_order


@dataclass(frozen=True)
class Unasked:
    """Why nobody needs to be asked: the operator's policy allows it, within a budget."""

    how: str
    budget: Budget | None = None


@dataclass(frozen=True)
class Case:
    """A proposal and the approval that was opened for it. `begun`: a plan that is being carried out already."""

    approval: Approval
    proposal: Proposal
    unasked: Unasked | None = None
    begun: bool = False

    @property
    def granted(self) -> bool:
        """Whether nobody needs to be asked any more."""
        return self.begun or self.approval.state == "granted"

    @property
    def code(self) -> str:
        return self.approval.code


@dataclass(frozen=True)
class Standing:
    """Why no question was asked: it is granted already, policy allows it, or this client cannot or may not ask."""

    reason: Literal["granted", "allowed", "cannot_ask", "terminal"]


class Answer(BaseModel):
    """What came back with an accepted question."""

    model_config = ConfigDict(defer_build=True)


class Tick(Answer):
    approve: StrictBool = Field(default=False, title="Approve", description="Tick to approve")


@dataclass(frozen=True)
class Verdict:
    case: Case
    outcome: ElicitationResult[Answer]


@dataclass(frozen=True)
class Approved:
    """A case whose answer says yes; `how` is None when it was granted on a terminal before."""

    case: Case
    how: str | None


def digest(target: Target | None) -> str | None:
    """A target in the record: enough to notice a change, and nothing to read."""
    return None if target is None else hashlib.sha256(canonical(target).encode()).hexdigest()


def confirms(answer: Answer, word: str | None) -> bool:
    """Whether an accepted form really says yes: a ticked box, or the very word."""
    if word is None:
        return isinstance(answer, Tick) and answer.approve is True
    typed = getattr(answer, "word", None)
    return isinstance(typed, str) and typed.strip().upper() == word


def differences(before: Target, after: Target, now: datetime) -> str:
    """Which settings differ, with both values."""
    changed = [name for name in before if canonical(before[name]) != canonical(after.get(name))]
    return "; ".join(
        f"{label(name)}: {shown(name, before[name], now)} -> {shown(name, after[name], now)}" for name in changed
    )
