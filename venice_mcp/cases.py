"""Questions: what a person will be shown is frozen on record, and their answer judged. Nothing is used up here."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Literal, cast

import anyio.to_thread
from mcp.server.mcpserver.resolve import AcceptedElicitation, DeclinedElicitation

from venice_mcp.changes import Changes
from venice_mcp.errors import ApprovalPending, ArgumentError, VeniceError
from venice_mcp.gatekeeping import Gatekeeper
from venice_mcp.operating import approve_command
from venice_mcp.patience import DENIALS_COUNT_FOR, asking_again
from venice_mcp.proposals import Answer, Approved, Case, Proposal, Standing, Verdict, confirms, digest
from venice_mcp.secrets import Redactor
from venice_mcp.settings import Settings
from venice_mcp.store import Approval, Store
from venice_mcp.text import plain, span

_SENT = ("intent", "deliver_to", "steps")
"""What of a proposal reaches Venice or a destination, and so may not be altered after it was shown."""


class Cases:
    """Opens cases and judges answers.

    Args:
        store: the record; without it nothing is written.
        settings: whose policy is the gate that every write passes.
        account: whose keys these are; approvals of one account mean nothing for another.
        redactor: questions are redacted like everything else.
        now: the clock.
        changes: who is told of what changes.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        account: Callable[[], Awaitable[str]],
        redactor: Redactor,
        now: Callable[[], datetime],
        changes: Changes,
    ) -> None:
        self.store = store
        self.gate = Gatekeeper(settings, store, now)
        self._account = account
        self._redactor = redactor
        self._now = now
        self.changes = changes

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
        for request in self.gate.requests(proposal):
            self.gate.check(request)
        found = approvals.open_for(account=account, fingerprint=proposal.fingerprint, now=now)
        if found is not None:
            # What one server runs on another may not; the word that locks it out must be asked for by its own question.
            asked_alike = bool(found.data.get("own_key")) or not proposal.own_key
            if found.data["target"] == digest(proposal.target) and asked_alike:
                recorded = proposal.as_recorded(found.data)
                return Case(found, recorded, self.gate.unasked(recorded, account) if found.state == "pending" else None)
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
        unasked = self.gate.unasked(proposal, account)
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

    async def is_asked(self, fingerprint: str) -> bool:
        """Whether a question of exactly this call is open or granted."""
        account, now = await self._account(), self._now()
        find = self.store.approvals.open_for
        return await anyio.to_thread.run_sync(
            lambda: find(account=account, fingerprint=fingerprint, now=now) is not None
        )

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
            raise self.unanswered(case.approval, "the question was closed without an answer")
        data = cast("object", outcome.data)
        if isinstance(data, Standing):
            return self._judge_unasked(case, data)
        word = case.proposal.question.word
        if isinstance(data, Answer) and confirms(data, word) and not self.gate.on_terminal_only:
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
        lacking = self.gate.lacking(case)
        why = (
            "policy takes approvals from a terminal only"
            if standing.reason == "terminal"
            else "this client cannot ask a person"
        )
        raise self.unanswered(case.approval, why, lacking)

    def unanswered(self, approval: Approval, why: str, lacking: str = "") -> VeniceError:
        """What to tell when nobody answered: the request stays open, and how a person can approve it.

        Args:
            approval: the request.
            why: nobody answered, without a full stop.
            lacking: what an allowance lacks to go unasked, as a sentence.
        """
        headline = self._redactor.redact(plain(str(approval.data["headline"]), 200)).rstrip("?")
        end = approval.expires_at
        return ApprovalPending(
            f"Nothing was done: {why}, so a person must first approve *{headline}* by running the next line in a"
            f" terminal of their own (not you) within {span(end - self._now())}, until {end:%H:%M} UTC:"
            f"\n{approve_command(approval.code, self.store.folder)}",
            next_step=f"When they say it is approved, call this tool again with the same arguments. {lacking}".strip(),
            code="approval_pending",
        )

    async def set_aside(self, case: Case, why: str) -> None:
        """Make an approval that is not spent count for nothing: what it was given for is no longer so."""
        await self._settle(case, "superseded", why)

    async def _settle(self, case: Case, kind: Literal["denied", "superseded"], how: str) -> None:
        await anyio.to_thread.run_sync(lambda: self.store.approvals.settle(case.code, kind, how, self._now()))
