"""What the operator's policy says about a proposal: the one gate, and whether anybody needs to be asked at all."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from venice_mcp.errors import VeniceError
from venice_mcp.operating import command
from venice_mcp.policy.gate import Request, allowance_for, narrows_only, violations, why_not_allowed
from venice_mcp.proposals import Case, Proposal, Step, Target, Unasked
from venice_mcp.settings import Settings
from venice_mcp.store import Budget, Store

_log = logging.getLogger(__name__)


class Gatekeeper:
    """Looks at what will be sent, whoever asks for it and however it was approved."""

    def __init__(self, settings: Settings, store: Store, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._store = store
        self._now = now

    @property
    def on_terminal_only(self) -> bool:
        """Whether policy takes approvals from a terminal only, whatever a client says it can do."""
        return self._settings.policy.how == "terminal"

    def requests(self, proposal: Proposal) -> list[Request]:
        """What will be sent, as policy looks at it."""
        if not proposal.steps:
            return [request_of(proposal, proposal.intent, proposal.target)]
        now, targets = self._now(), proposal.target or {}
        return [
            request_of(step, step.intent_at(now), targets.get(str(step.intent.get("id")))) for step in proposal.steps
        ]

    def check(self, request: Request) -> None:
        """Pass, or say what policy has against it.

        Raises:
            VeniceError: it may not be sent.
        """
        if self._settings.policy_problem:
            raise VeniceError(
                f"Nothing is written while the policy cannot be used: {self._settings.policy_problem}",
                next_step=f"The operator mends the file and restarts the server; `{command('doctor')}` checks it.",
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

    def check_offered(self, tool: str) -> None:
        """Pass if policy offers a tool: what it began must not go on without it.

        Raises:
            VeniceError: it does not.
        """
        if not self._settings.policy.offers(tool):
            raise VeniceError(
                f"The operator's policy does not offer {tool}, which this plan is of.",
                next_step="Drop the plan with give_up, or tell the person; only the operator changes the policy.",
                code="policy",
            )

    def unasked(self, proposal: Proposal, account: str) -> Unasked | None:
        """Whether policy lets this go without a question."""
        policy, now = self._settings.policy, self._now()
        if not self._settings.allowances_hold or proposal.own_key or proposal.steps:
            return None
        request = request_of(proposal, proposal.intent, proposal.target)
        if policy.narrowing_unasked and narrows_only(request, now):
            return Unasked("narrowing, which policy allows unasked")
        allowance = allowance_for(policy, request, now, self._made_under(account))
        if allowance is None:
            return None
        budget = Budget(_how(allowance.name), allowance.per_day)
        left = self._store.approvals.left(budget, account=account, now=now)
        return Unasked(budget.how, budget) if left > 0 else None

    def _made_under(self, account: str) -> Callable[[str], str | None]:
        """Tells the name of the allowance under which a key of this Venice was made."""

        def look(key_id: str) -> str | None:
            how = self._store.journal.made_under(key_id, account) or ""
            return how.removeprefix(_how("")) if how.startswith(_how("")) else None

        return look

    def lacking(self, case: Case) -> str:
        """What the nearest allowance lacks for going unasked; empty when none is for this."""
        proposal = case.proposal
        made_under = self._made_under(case.approval.account)
        request = request_of(proposal, proposal.intent, proposal.target)
        return why_not_allowed(self._settings.policy, request, self._now(), made_under)


def request_of(part: Proposal | Step, intent: Mapping[str, Any], target: Target | None) -> Request:
    """What policy looks at: one write, as it will be sent."""
    return Request(part.operation, intent, target, part.destination, part.own_key)


def _how(allowance: str) -> str:
    return f"allowance {allowance}"
