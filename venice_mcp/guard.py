"""No write without an approval: the only place that makes a `Consent`, and the journal of what became of it.

`carry_out` looks at policy and target a last time, spends the recorded approval and records the write in one
transaction, and only then makes the consent, sends the write and records what became of it. An approval of several
writes is spent by `begin`, and each of its steps is looked at and recorded in the same way by `carry_step`, once.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import anyio.to_thread

from venice_mcp.cases import Cases
from venice_mcp.consent import Consent, canonical
from venice_mcp.errors import AnswerLost, VeniceError
from venice_mcp.gatekeeping import request_of
from venice_mcp.models.wire import NewKeyData
from venice_mcp.policy.gate import Request
from venice_mcp.proposals import Approved, Case, Plan, Proposal, Target, differences, digest, recorded_plan
from venice_mcp.secrets import Secret
from venice_mcp.store import MAKING, MAKING_PACE, Outcome, Refusal, StoreError, this_process

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Guard(Cases):
    """Spends approvals, makes consents, and journals every write."""

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
        back = await anyio.to_thread.run_sync(
            lambda: self.store.journal.intend_back(write, account=account, data=data, now=self._now())
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
        for request in self.gate.requests(proposal):
            self.gate.check(request)
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

            about = case.proposal.about

            def spend() -> Refusal | None:
                return self.store.plans.begin(
                    case.code, how=approved.how, now=self._now(), undoes=about.get("undoes"), as_of=about.get("as_of")
                )

            refused = await anyio.to_thread.run_sync(spend)
            if refused is not None:
                if refused == "superseded":  # or it would be found again, and refused again
                    await self._settle(case, "superseded", "what it was to take back went on")
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
                "There is no plan of that name that could be carried on with this ADMIN key: it ended, its 24 hours are"
                " over, or it was approved with another one.",
                next_step="Call the tool again that made it; a person will be asked about what is left.",
                code="no_such_plan",
            )
        plan = Plan(code, recorded_plan(found.data))
        self.gate.check_offered(plan.tool)
        return plan

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
        self.gate.check(request_of(step, intent, current))
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
        # One that was only found by its name may be somebody else's; no approval of this plan was about it.
        if standing is None or standing.state != "open" or standing.key_id is None or standing.found:
            raise _unspendable("spent")
        self.gate.check(Request("deleteApiKey", {"id": standing.key_id}))
        return await self._journalled(await self._undo(plan.code, standing.write, standing.key_id), send)

    async def _journalled(self, consent: Consent, send: Callable[[Consent], Awaitable[T]]) -> T:
        try:
            result = await send(consent)
        except AnswerLost as lost:
            lost.write = consent.write
            await self.note(consent.write, "unknown", what=lost.what)
            self.changes.of_keys(_key_of(consent))
            raise
        except VeniceError as refused:
            await self.note(consent.write, "refused", what=refused.what, code=refused.code)
            raise
        if isinstance(result, NewKeyData):
            await self.note(consent.write, "made", id=result.id, last6=result.api_key.last6)
            self.changes.of_keys(result.id)
        else:
            await self.note(consent.write, "done")
            self.changes.of_keys(_key_of(consent))
        return result


def _key_of(consent: Consent) -> str | None:
    """The key that a write is about; a create has none yet."""
    found = consent.intent.get("id")
    return found if isinstance(found, str) else None


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
