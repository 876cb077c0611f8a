"""No write without an approval: policy, the record of what was asked, and the only place that makes a `Consent`.

`open_case` freezes what a person will be shown; `judge` says whether the answer approves; `carry_out` looks at policy
and target a last time, spends the recorded approval and records the write in one transaction, and only then makes the
consent, sends the write and records what became of it. An approval of several writes is spent by `begin`, and each of
its steps is looked at and recorded in the same way by `carry_step`, once.
"""

import logging
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar, cast

import anyio.to_thread
from mcp.server.mcpserver.resolve import AcceptedElicitation, DeclinedElicitation

from venice_mcp.consent import Consent, canonical
from venice_mcp.errors import AnswerLost, ArgumentError, VeniceError
from venice_mcp.models.wire import NewKeyData
from venice_mcp.patience import DENIALS_COUNT_FOR, asking_again
from venice_mcp.policy.gate import Request, allowance_for, narrows_only, violations, why_not_allowed
from venice_mcp.proposals import (
    Answer,
    Approved,
    Case,
    Plan,
    Proposal,
    Standing,
    Step,
    Target,
    Unasked,
    Verdict,
    confirms,
    differences,
    digest,
    recorded_plan,
)
from venice_mcp.secrets import Redactor, Secret
from venice_mcp.settings import Settings
from venice_mcp.store import MAKING, MAKING_PACE, Approval, Budget, Outcome, Refusal, Store, StoreError, this_process

_SENT = ("intent", "deliver_to", "steps")
"""What of a proposal reaches Venice or a destination, and so may not be altered after it was shown."""
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Guard:
    """Opens cases, judges answers, makes consents, and journals every write.

    Args:
        store: the record; without it nothing is written.
        settings: whose policy is the gate that every write passes.
        account: whose keys these are; approvals of one account mean nothing for another.
        redactor: questions are redacted like everything else.
        now: the clock.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        account: Callable[[], Awaitable[str]],
        redactor: Redactor,
        now: Callable[[], datetime],
    ) -> None:
        self.store = store
        self._settings = settings
        self._account = account
        self._redactor = redactor
        self._now = now

    @property
    def on_terminal_only(self) -> bool:
        """Whether policy takes approvals from a terminal only, whatever a client says it can do."""
        return self._settings.policy.how == "terminal"

    # --- asking -------------------------------------------------------------------------------

    async def open_case(self, proposal: Proposal) -> Case:
        """The approval of exactly this call if one is open and its target has not changed, else a new one.

        Raises:
            VeniceError: policy forbids it, or a person said no to it a moment ago.
        """
        account = await self._account()
        return await anyio.to_thread.run_sync(self._open_case, proposal, account)

    def _open_case(self, proposal: Proposal, account: str) -> Case:
        now = self._now()
        approvals = self.store.approvals
        begun = self._begun(proposal, account, now)
        if begun is not None:
            return begun
        for request in self._requests(proposal):
            self._check_policy(request)
        found = approvals.open_for(account=account, fingerprint=proposal.fingerprint, now=now)
        if found is not None:
            # What one server runs on another may not; the word that locks it out must be asked for by its own question.
            asked_alike = bool(found.data.get("own_key")) or not proposal.own_key
            if found.data["target"] == digest(proposal.target) and asked_alike:
                recorded = proposal.as_recorded(found.data)
                return Case(found, recorded, self._unasked(recorded, account) if found.state == "pending" else None)
            approvals.settle(found.code, "superseded", "target changed" if asked_alike else "own key", now)
        if approvals.refusal_to_tell(account=account, fingerprint=proposal.fingerprint, now=now):
            raise VeniceError(
                "The person refused this request on their terminal, so it was not done.",
                next_step="Do not ask again unless they want it.",
                code="declined",
            )
        frozen = proposal.frozen()
        # Only what a person reads may be altered: what will be sent must be what was asked for, or not be sent.
        sent = {name: frozen[name] for name in _SENT if name in frozen}
        data = self._redactor.redact_tree(frozen) | sent
        if self._redactor.redact_tree(sent) != sent:
            raise ArgumentError("arguments", "hold a secret.", "Leave it out; it was not sent anywhere.")
        unasked = self._unasked(proposal, account)
        if unasked is None:
            self._check_patience(proposal, account, now)
        approval = approvals.find_or_ask(account=account, fingerprint=proposal.fingerprint, data=data, now=now)
        # That of another process, if it asked meanwhile: what its question says was asked.
        return Case(approval, proposal.as_recorded(approval.data), unasked)

    def _begun(self, proposal: Proposal, account: str, now: datetime) -> Case | None:
        """The plan that this very call began before: it covers what is left of it, and nothing else."""
        if not proposal.steps:
            return None
        plan = self.store.plans.running(account=account, fingerprint=proposal.fingerprint, now=now)
        approval = self.store.approvals.get(plan.code, now) if plan is not None else None
        return Case(approval, proposal.as_recorded(approval.data), begun=True) if approval is not None else None

    def question(self, case: Case) -> str:
        """The text of the question, without secrets that became known since it was frozen."""
        return self._redactor.redact(case.proposal.question.text(case.code))

    def _check_patience(self, proposal: Proposal, account: str, now: datetime) -> None:
        """Whoever said no is not asked again at once, and less and less soon."""
        # One from a clock that was ahead says nothing about when it was.
        until = now + timedelta(minutes=1)
        denials = self.store.approvals.denials(account=account, since=now - DENIALS_COUNT_FOR, until=until)
        end = asking_again(denials, proposal)
        if end is not None and end > now:
            raise VeniceError(
                f"The person declined this a moment ago, so they are not asked again before {end:%H:%M:%S} UTC.",
                next_step="Tell them so, and call again then only if they want it.",
                code="asked_too_often",
            )

    # --- policy -------------------------------------------------------------------------------

    def _requests(self, proposal: Proposal) -> list[Request]:
        """What will be sent, as policy looks at it."""
        if not proposal.steps:
            return [_request(proposal, proposal.intent, proposal.target)]
        now, targets = self._now(), proposal.target or {}
        return [_request(step, step.intent_at(now), targets.get(str(step.intent.get("id")))) for step in proposal.steps]

    def _check_policy(self, request: Request) -> None:
        """The one gate: what will be sent, whoever asks for it and however it was approved."""
        if self._settings.policy_problem:
            raise VeniceError(
                f"Nothing is written while the policy cannot be used: {self._settings.policy_problem}",
                next_step="The operator mends the file and restarts the server; `venice-mcp doctor` checks it.",
                code="policy_unusable",
            )
        broken = violations(self._settings.policy, request, self._now())
        if broken:
            _log.warning("Policy refused a %s: %s", request.operation, "; ".join(broken))
            raise VeniceError(
                f"The operator's policy forbids this: {'; '.join(broken)}.",
                next_step="Ask for something the policy allows, or tell the person; only the operator changes it.",
                code="policy",
            )

    def _unasked(self, proposal: Proposal, account: str) -> Unasked | None:
        """Whether policy lets this go without a question."""
        policy, now = self._settings.policy, self._now()
        if not self._settings.allowances_hold or proposal.own_key or proposal.steps:
            return None
        request = _request(proposal, proposal.intent, proposal.target)
        if policy.narrowing_unasked and narrows_only(request, now):
            return Unasked("narrowing, which policy allows unasked")
        allowance = allowance_for(policy, request, now, self._made_under(account))
        if allowance is None:
            return None
        budget = Budget(_how(allowance.name), allowance.per_day)
        left = self.store.approvals.left(budget, account=account, now=now)
        return Unasked(budget.how, budget) if left > 0 else None

    def _made_under(self, account: str) -> Callable[[str], str | None]:
        """Tells the name of the allowance under which a key of this Venice was made."""

        def look(key_id: str) -> str | None:
            how = self.store.journal.made_under(key_id, account) or ""
            return how.removeprefix(_how("")) if how.startswith(_how("")) else None

        return look

    # --- judging ------------------------------------------------------------------------------

    async def judge(self, verdict: Verdict) -> Approved:
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
            raise self.unanswered(case.approval, "The question was closed without an answer.")
        data = cast("object", outcome.data)
        if isinstance(data, Standing):
            return self._judge_unasked(case, data)
        word = case.proposal.question.word
        if isinstance(data, Answer) and confirms(data, word) and not self.on_terminal_only:
            return Approved(case, "answered in the client")
        await self._settle(case, "denied", "not confirmed")
        missing = f"the word {word} was not typed" if word else "the box was not ticked"
        raise VeniceError(
            f"It was not approved: {missing}.",
            next_step="Call again only if the person wants to be asked again.",
            code="not_confirmed",
        )

    def _judge_unasked(self, case: Case, standing: Standing) -> Approved:
        if standing.reason == "granted":
            return Approved(case, None)
        if standing.reason == "allowed" and case.unasked is not None:
            return Approved(case, case.unasked.how)
        proposal = case.proposal
        lacking = why_not_allowed(
            self._settings.policy,
            _request(proposal, proposal.intent, proposal.target),
            self._now(),
            self._made_under(case.approval.account),
        )
        why = (
            "Policy takes approvals from a terminal only."
            if standing.reason == "terminal"
            else "This client cannot ask a person."
        )
        raise self.unanswered(case.approval, f"{lacking} {why}".strip())

    def unanswered(self, approval: Approval, why: str) -> VeniceError:
        """What to tell when nobody answered: the request stays open, and how a person can approve it."""
        return VeniceError(
            f"{why} The request waits for a person's approval until {approval.expires_at:%H:%M} UTC.",
            next_step="Ask the person to run this in their own terminal, then call this tool again with the same"
            f" arguments: {approve_command(approval.code, self.store)}",
            code="approval_pending",
        )

    # --- writing ------------------------------------------------------------------------------

    async def carry_out(
        self,
        approved: Approved,
        send: Callable[[Consent], Awaitable[T]],
        noting: Mapping[str, Any] | None = None,
    ) -> tuple[T, Consent]:
        """Spend the approval, record the write, send it once, and record what became of it.

        `noting` goes into the record with what is intended.

        Raises:
            AnswerLost: with `write` naming it in the record; it may have taken effect.
            VeniceError: policy or target changed meanwhile, the approval expired or was used, or Venice refused.
        """
        consent = await self._redeem(approved, noting or {})
        return await self._journalled(consent, send), consent

    async def take_back(self, consent: Consent, send: Callable[[Consent], Awaitable[T]]) -> T:
        """Revoke the very key that `consent` made, once: the person was told so when asked.

        Raises:
            VeniceError: as for `carry_out`; also when it cannot be recorded, and then nothing was sent.
        """
        undoing = await self._undo(consent.approval, consent.write, consent.take_made())
        return await self._journalled(undoing, send)

    async def _undo(self, approval: str, write: str, key_id: str) -> Consent:
        intent = {"id": key_id}
        data = {"operation": "deleteApiKey", "intent": intent, "undoes": write, "process": this_process()}
        account = await self._account()
        back = f"{write}/back"
        await anyio.to_thread.run_sync(
            lambda: self.store.journal.intend(back, account=account, data=data, now=self._now())
        )
        return Consent(approval=approval, operation="deleteApiKey", intent=intent, write=back)

    def know(self, secret: Secret) -> None:
        """Have a secret that was read back redacted wherever it might appear."""
        self._redactor.add(secret, label="key")

    async def note(self, write: str, outcome: Outcome, **data: Any) -> bool:
        """Record what became of a write or its secret. It is done by then, so a failure here is only logged."""
        harmless = self._redactor.redact_tree(data)
        try:
            await anyio.to_thread.run_sync(lambda: self.store.journal.note(write, outcome, harmless, self._now()))
        except StoreError as error:
            _log.error("Write %s is %s, but that could not be recorded: %s", write, outcome, error.what)
            return False
        return True

    async def _redeem(self, approved: Approved, noting: Mapping[str, Any]) -> Consent:
        case = approved.case
        proposal = case.proposal
        await self._look_again(case)
        intended = self._redactor.redact_tree(proposal.intended()) | {"intent": dict(proposal.intent)}
        intended |= {**noting, "process": this_process()}
        budget = case.unasked.budget if case.unasked is not None and approved.how == case.unasked.how else None

        def spend() -> Refusal | None:
            return self.store.approvals.spend(
                case.code,
                how=approved.how,
                now=self._now(),
                pace=MAKING_PACE if proposal.target is None else None,
                budget=budget,
                intended=intended,
            )

        refused = await anyio.to_thread.run_sync(spend)
        if refused is not None:
            raise _unspendable(refused)
        return Consent(approval=case.code, operation=proposal.operation, intent=proposal.intent, write=f"{case.code}/1")

    async def _look_again(self, case: Case) -> None:
        """Right before an approval is spent: whether policy still allows it and its target is what was shown."""
        proposal = case.proposal
        for request in self._requests(proposal):
            self._check_policy(request)
        if proposal.reread is None or proposal.target is None:
            return
        current = await proposal.reread()
        if canonical(current) == canonical(proposal.target):
            return
        await self._settle(case, "superseded", "target changed")
        if proposal.steps:
            what = "Some of the keys changed while the question was open"
        else:
            changes = differences(proposal.target, current, self._now())
            what = f"The key changed while the question was open ({changes})"
        raise VeniceError(
            f"{what}, so the approval does not count.",
            next_step="Call again; the person will be asked about the state as it is now.",
            code="target_changed",
        )

    # --- plans --------------------------------------------------------------------------------

    async def begin(self, approved: Approved) -> Plan:
        """Spend the approval of a plan, unless this very plan was begun before.

        Raises:
            VeniceError: policy or a target changed meanwhile, or the approval expired or was used.
        """
        case = approved.case
        if not case.begun:
            await self._look_again(case)

            def spend() -> Refusal | None:
                return self.store.approvals.spend(case.code, how=approved.how, now=self._now())

            refused = await anyio.to_thread.run_sync(spend)
            if refused is not None:
                raise _unspendable(refused)
        return Plan(case.code, case.proposal.as_recorded(case.approval.data))

    async def running(self, fingerprint: str) -> Proposal | None:
        """The plan that exactly this call began before and that may be carried on; None if there is none."""
        account, now = await self._account(), self._now()
        plan = await anyio.to_thread.run_sync(
            lambda: self.store.plans.running(account=account, fingerprint=fingerprint, now=now)
        )
        return replace(recorded_plan(plan.data), fingerprint=fingerprint) if plan is not None else None

    async def resume(self, code: str) -> Plan:
        """A plan that was begun, to be carried on without the call that began it.

        Raises:
            VeniceError: there is none of that name, or it ended or expired.
        """
        account = await self._account()
        found = await anyio.to_thread.run_sync(self.store.plans.get, code)
        if found is None or found.account != account or not found.runs(self._now()):
            raise VeniceError(
                "There is no plan of that name that could be carried on: it ended, or its 24 hours are over.",
                next_step="Call the tool again that made it; a person will be asked about what is left.",
                code="no_such_plan",
            )
        return Plan(code, recorded_plan(found.data))

    async def carry_step(
        self,
        plan: Plan,
        number: int,
        current: Target | None,
        send: Callable[[Consent], Awaitable[T]],
        noting: Mapping[str, Any] | None = None,
    ) -> tuple[T, Consent]:
        """Record one step of a plan (counted from 1), send it once, and record what became of it.

        `current` are the key's settings as Venice has them now; they must be what the person was shown.

        Raises:
            AnswerLost: with `write` naming it in the record; it may have taken effect.
            VeniceError: policy or the key changed meanwhile, it is not its turn, or Venice refused.
        """
        step = plan.steps[number - 1]
        intent = step.intent_at(self._now())
        if digest(current) != step.target:
            raise VeniceError(
                "The key is no longer as it was when this was approved, so it was left alone.",
                next_step="Look at it and ask for it anew.",
                code="target_changed",
            )
        self._check_policy(_request(step, intent, current))
        intended = {"tool": plan.tool, "operation": step.operation, "label": step.label, "target": current}
        intended = self._redactor.redact_tree({**intended, **(noting or {})})
        place = step.destination.as_data() if step.destination else None
        intended |= {"intent": intent, "deliver_to": place, "process": this_process()}
        pace = MAKING_PACE if step.operation in MAKING else None
        write, refused = await anyio.to_thread.run_sync(
            lambda: self.store.plans.intend(plan.code, number, data=intended, pace=pace, now=self._now())
        )
        if refused is not None:
            raise _unspendable(refused)
        consent = Consent(approval=plan.code, operation=step.operation, intent=intent, write=write)
        return await self._journalled(consent, send), consent

    async def undo_step(self, plan: Plan, number: int, send: Callable[[Consent], Awaitable[T]]) -> T:
        """Revoke the key that a step made and whose secret nobody has: the person was told so when asked.

        `send` learns the key's id from the consent's intent.

        Raises:
            VeniceError: the record knows no such key; otherwise as for `carry_step`.
        """
        found = await anyio.to_thread.run_sync(self.store.plans.get, plan.code)
        standing = found.standings[number - 1] if found is not None else None
        if standing is None or standing.state != "open" or standing.key_id is None:
            raise _unspendable("spent")
        return await self._journalled(await self._undo(plan.code, standing.write, standing.key_id), send)

    async def _journalled(self, consent: Consent, send: Callable[[Consent], Awaitable[T]]) -> T:
        try:
            result = await send(consent)
        except AnswerLost as lost:
            lost.write = consent.write
            await self.note(consent.write, "unknown", what=lost.what)
            raise
        except VeniceError as refused:
            await self.note(consent.write, "refused", what=refused.what, code=refused.code)
            raise
        if isinstance(result, NewKeyData):
            await self.note(consent.write, "made", id=result.id, last6=result.api_key.last6)
        else:
            await self.note(consent.write, "done")
        return result

    async def set_aside(self, case: Case, why: str) -> None:
        """Make an approval that is not spent count for nothing: what it was given for is no longer so."""
        await self._settle(case, "superseded", why)

    async def _settle(self, case: Case, kind: Literal["denied", "superseded"], how: str) -> None:
        await anyio.to_thread.run_sync(lambda: self.store.approvals.settle(case.code, kind, how, self._now()))


def approve_command(code: str, store: Store) -> str:
    """One complete command for another terminal. -P keeps the folder it is run in out of Python's search path."""
    return shlex.join([sys.executable, "-P", "-m", "venice_mcp", "approve", code, "--state-dir", str(store.folder)])


def _request(part: Proposal | Step, intent: Mapping[str, Any], target: Target | None) -> Request:
    return Request(part.operation, intent, target, part.destination, part.own_key)


def _how(allowance: str) -> str:
    return f"allowance {allowance}"


def _unspendable(state: Refusal) -> VeniceError:
    reasons = {
        "spent": "This approval was already used once, and an approval counts for one write only.",
        "expired": "The approval expired; it counts for 10 minutes.",
        "denied": "The request was declined.",
        "superseded": "What it was given for changed meanwhile, so the approval does not count.",
        "pending": "Nobody has approved this yet.",
        "too_fast": "20 keys were made in the last minute, and Venice allows no more.",
        "over_budget": "The allowance's budget for these 24 hours is used up.",
    }
    next_steps = {
        "too_fast": "Call again in a minute; the person will be asked again.",
        "over_budget": "Call again; a person will be asked instead.",
    }
    codes = {"too_fast": "create_pace", "over_budget": "allowance_spent"}
    return VeniceError(
        reasons.get(state, "The approval does not count."),
        next_step=next_steps.get(state, "Call again to ask anew, if the person wants it."),
        code=codes.get(state, f"approval_{state}"),
    )
