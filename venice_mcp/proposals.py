"""What a write is from the moment it is thought of until it is approved: the values the guard works on."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from mcp.server.mcpserver.resolve import ElicitationResult
from pydantic import BaseModel, Field, StrictBool

from venice_mcp.consent import Intent, canonical
from venice_mcp.questions import Question, label, recorded, shown
from venice_mcp.secrets import Destination
from venice_mcp.store import Approval, Budget

Target = Mapping[str, Any]
"""The identity and settings of the key a write is about, never its use or spend."""


@dataclass(frozen=True)
class Proposal:
    """A write that is about to be asked for.

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

    def frozen(self) -> dict[str, Any]:
        return {
            "tool": self.tool,
            "operation": self.operation,
            "intent": dict(self.intent),
            "target": digest(self.target),
            "deliver_to": self.destination.as_data() if self.destination else None,
            "own_key": self.own_key,
            "headline": self.question.headline,
            "facts": list(self.question.facts),
            "risks": list(self.question.risks),
            "word": self.question.word,
        }

    def as_recorded(self, data: Mapping[str, Any]) -> "Proposal":
        """This proposal with what will be sent and what a person was shown taken from the record."""
        return replace(self, intent=data["intent"], question=recorded(data))

    def intended(self) -> dict[str, Any]:
        """The write as the journal has it before it is sent."""
        return {
            "tool": self.tool,
            "operation": self.operation,
            "intent": dict(self.intent),
            "target": dict(self.target) if self.target is not None else None,
            "deliver_to": self.destination.as_data() if self.destination else None,
        }


@dataclass(frozen=True)
class Unasked:
    """Why nobody needs to be asked: the operator's policy allows it, within a budget."""

    how: str
    budget: Budget | None = None


@dataclass(frozen=True)
class Case:
    """A proposal and the approval that was opened for it."""

    approval: Approval
    proposal: Proposal
    unasked: Unasked | None = None

    @property
    def code(self) -> str:
        return self.approval.code


@dataclass(frozen=True)
class Standing:
    """Why no question was asked: it is granted already, policy allows it, or this client cannot or may not ask."""

    reason: Literal["granted", "allowed", "cannot_ask", "terminal"]


class Answer(BaseModel):
    """What came back with an accepted question."""


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
