"""No write without an approval: the record of what was asked, and the only place that makes a `Consent`.

`open_case` freezes what a person will be shown; `judge` says whether the answer approves; `redeem` compares the
target a last time, spends the recorded approval in one transaction, and only then makes the consent.
"""

import hashlib
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, cast

import anyio.to_thread
from mcp.server.mcpserver.resolve import (
    AcceptedElicitation,
    DeclinedElicitation,
    ElicitationResult,
)
from pydantic import BaseModel, Field, StrictBool

from venice_mcp.consent import Consent, Intent, canonical
from venice_mcp.errors import ArgumentError, VeniceError
from venice_mcp.questions import Question, label, recorded, shown
from venice_mcp.secrets import Redactor
from venice_mcp.store import MAKING_PACE, Approval, Refusal, Store

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
    """

    tool: str
    fingerprint: str
    operation: str
    intent: Intent
    question: Question
    target: Target | None = None
    reread: Callable[[], Awaitable[Target]] | None = None

    def frozen(self) -> dict[str, Any]:
        return {
            "tool": self.tool,
            "operation": self.operation,
            "intent": dict(self.intent),
            "target": digest(self.target),
            "headline": self.question.headline,
            "facts": list(self.question.facts),
            "risks": list(self.question.risks),
            "word": self.question.word,
        }

    def as_recorded(self, data: Mapping[str, Any]) -> "Proposal":
        """This proposal with what will be sent and what a person was shown taken from the record."""
        return replace(self, intent=data["intent"], question=recorded(data))


@dataclass(frozen=True)
class Case:
    """A proposal and the approval that was opened for it."""

    approval: Approval
    proposal: Proposal

    @property
    def code(self) -> str:
        return self.approval.code


@dataclass(frozen=True)
class Standing:
    """Why no question was asked: it is granted already, or this client cannot be asked."""

    reason: Literal["granted", "cannot_ask"]


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


class Guard:
    """Opens cases, judges answers and makes consents.

    Args:
        store: the record; without it nothing is written.
        account: whose keys these are; approvals of one account mean nothing for another.
        redactor: questions are redacted like everything else.
        now: the clock.
    """

    def __init__(
        self, store: Store, account: Callable[[], Awaitable[str]], redactor: Redactor, now: Callable[[], datetime]
    ) -> None:
        self.store = store
        self._account = account
        self._redactor = redactor
        self._now = now

    async def open_case(self, proposal: Proposal) -> Case:
        """The approval of exactly this call if one is open and its target has not changed, else a new one."""
        account = await self._account()
        return await anyio.to_thread.run_sync(self._open_case, proposal, account)

    def _open_case(self, proposal: Proposal, account: str) -> Case:
        now = self._now()
        found = self.store.open_for(account=account, fingerprint=proposal.fingerprint, now=now)
        if found is not None:
            if found.data["target"] == digest(proposal.target):
                return Case(found, proposal.as_recorded(found.data))
            self.store.settle(found.code, "superseded", "target changed", now)
        if self.store.refusal_to_tell(account=account, fingerprint=proposal.fingerprint, now=now):
            raise VeniceError(
                "The person refused this request on their terminal, so it was not done.",
                next_step="Do not ask again unless they want it.",
                code="declined",
            )
        frozen = proposal.frozen()
        # Only what a person reads may be altered: what will be sent must be what was asked for, or not be sent.
        data = self._redactor.redact_tree(frozen) | {"intent": frozen["intent"]}
        if self._redactor.redact_tree(frozen["intent"]) != frozen["intent"]:
            raise ArgumentError("arguments", "hold a secret.", "Leave it out; it was not sent anywhere.")
        approval = self.store.ask(account=account, fingerprint=proposal.fingerprint, data=data, now=now)
        return Case(approval, proposal.as_recorded(data))

    def question(self, case: Case) -> str:
        """The text of the question, without secrets that became known since it was frozen."""
        return self._redactor.redact(case.proposal.question.text(case.code))

    async def judge(self, verdict: Verdict) -> "Approved":
        """Whether the answer approves; nothing is used up yet.

        Raises:
            VeniceError: declined, unanswered or not confirmed.
        """
        case, outcome = verdict.case, verdict.outcome
        if isinstance(outcome, DeclinedElicitation):
            await self._settle(case, "denied", "declined in the client")
            raise VeniceError(
                "The person declined, so it was not done.",
                next_step="Do not ask again unless they want it.",
                code="declined",
            )
        if not isinstance(outcome, AcceptedElicitation):
            raise self._pending(case, "The question was closed without an answer.")
        data = cast("object", outcome.data)
        if isinstance(data, Standing):
            if data.reason == "cannot_ask":
                raise self._pending(case, "This client cannot ask a person.")
            return Approved(case, None)
        word = case.proposal.question.word
        if isinstance(data, Answer) and confirms(data, word):
            return Approved(case, "answered in the client")
        await self._settle(case, "denied", "not confirmed")
        missing = f"the word {word} was not typed" if word else "the box was not ticked"
        raise VeniceError(
            f"It was not approved: {missing}.",
            next_step="Call again only if the person wants to be asked again.",
            code="not_confirmed",
        )

    async def redeem(self, approved: "Approved") -> Consent:
        """Compare the target a last time, spend the approval, and make the one consent for it.

        Raises:
            VeniceError: the target changed meanwhile, or the approval expired or was already used.
        """
        case = approved.case
        proposal = case.proposal
        if proposal.reread is not None and proposal.target is not None:
            current = await proposal.reread()
            if canonical(current) != canonical(proposal.target):
                await self._settle(case, "superseded", "target changed")
                changes = differences(proposal.target, current, self._now())
                raise VeniceError(
                    f"The key changed while the question was open ({changes}), so the approval does not count.",
                    next_step="Call again; the person will be asked about the key as it is now.",
                    code="target_changed",
                )
        pace = MAKING_PACE if proposal.target is None else None

        def spend() -> Refusal | None:
            return self.store.spend(case.code, how=approved.how, now=self._now(), pace=pace)

        refused = await anyio.to_thread.run_sync(spend)
        if refused is not None:
            raise _unspendable(refused)
        return Consent(approval=case.code, operation=proposal.operation, intent=proposal.intent)

    def undo(self, consent: Consent) -> Consent:
        """Consent to revoke the very key that `consent` made, once: the person was told so when asked."""
        return Consent(approval=consent.approval, operation="deleteApiKey", intent={"id": consent.take_made()})

    async def _settle(self, case: Case, kind: Literal["denied", "superseded"], how: str) -> None:
        await anyio.to_thread.run_sync(lambda: self.store.settle(case.code, kind, how, self._now()))

    def _pending(self, case: Case, why: str) -> VeniceError:
        return self.unanswered(case.approval, why)

    def unanswered(self, approval: Approval, why: str) -> VeniceError:
        """What to tell when nobody answered: the request stays open, and how a person can approve it."""
        return VeniceError(
            f"{why} The request waits for a person's approval until {approval.expires_at:%H:%M} UTC.",
            next_step="Ask the person to run this in their own terminal, then call this tool again with the same"
            f" arguments: {approve_command(approval.code, self.store)}",
            code="approval_pending",
        )


def digest(target: Target | None) -> str | None:
    """A target in the record: enough to notice a change, and nothing to read."""
    return None if target is None else hashlib.sha256(canonical(target).encode()).hexdigest()


def approve_command(code: str, store: Store) -> str:
    """One complete command for another terminal. -P keeps the folder it is run in out of Python's search path."""
    return shlex.join([sys.executable, "-P", "-m", "venice_mcp", "approve", code, "--state-dir", str(store.folder)])


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


def _unspendable(state: Refusal) -> VeniceError:
    reasons = {
        "spent": "This approval was already used once, and an approval counts for one write only.",
        "expired": "The approval expired; it counts for 10 minutes.",
        "denied": "The request was declined.",
        "superseded": "The key changed meanwhile, so the approval does not count.",
        "pending": "Nobody has approved this yet.",
        "too_fast": "20 keys were made in the last minute, and Venice allows no more.",
    }
    later = state == "too_fast"
    return VeniceError(
        reasons.get(state, "The approval does not count."),
        next_step="Call again in a minute; the person will be asked again."
        if later
        else "Call again to ask anew, if the person wants it.",
        code="create_pace" if later else f"approval_{state}",
    )
