"""Carrying out a plan that was approved: step by step, each once, for as long as one call may take.

What was done is read from the journal, so that a call goes on where the one before stopped, was cancelled or killed.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime

import anyio
import anyio.to_thread

from venice_mcp.client.hurry import time_left
from venice_mcp.errors import VeniceError
from venice_mcp.proposals import Plan, Step
from venice_mcp.secrets.saved import completed
from venice_mcp.store import PlanEnd, StepStanding, StoreError
from venice_mcp.workflows.finding_out import appeared, as_asked
from venice_mcp.workflows.plan_rows import PlanReport, standing_rows
from venice_mcp.workflows.plan_steps import ELSEWHERE, Progress, Run, Steps, Stop
from venice_mcp.workflows.recovering import SETTLES_AFTER, Finding, Recovery

CALL_S = 38.0
"""How long a call goes on before it tells how far it came."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planner:
    """Carries plans out."""

    steps: Steps
    recovery: Recovery

    async def run(self, plan: Plan, progress: Progress) -> PlanReport:
        """Do as many steps as one call may take; none while another call here carries out the same plan.

        Raises:
            VeniceError: not even the state of the plan could be found out.
        """
        with self.steps.maker.store.plans.alone(plan.code) as alone:
            if not alone:
                return replace(await self.report(plan), stopped=ELSEWHERE[0], next_step=ELSEWHERE[1])
            return await self._run(plan, progress)

    async def _run(self, plan: Plan, progress: Progress) -> PlanReport:
        began_at, began_s = self.steps.maker.now(), anyio.current_time()

        def left_s() -> float:
            # Both clocks: the one that is injected also counts what was slept with it.
            gone = max((self.steps.maker.now() - began_at).total_seconds(), anyio.current_time() - began_s)
            return time_left(CALL_S - gone, 0.0)

        open_rows = await self._settle(plan)
        run = Run(plan, [], {key.id: key for key in await self.steps.maker.client.list_api_keys()})
        run.rows = standing_rows(plan, await self.steps.recorded(plan), open_rows)
        try:
            for number in range(1, len(plan.steps) + 1):
                if run.rows[number - 1].state in ("done", "left alone", "open"):
                    continue
                await self.steps.one(run, number, progress, left_s)
            stopped = Stop("", "")
        except Stop as stop:
            stopped = stop
        report = PlanReport(plan, tuple(run.rows), stopped.why, stopped.next_step)
        # What comes after a step that was left alone may not be done under this approval any more; nor is a rotation
        # whose new key is gone again. A new call must be able to ask.
        over = run.over or (plan.in_order and report.count("left alone") > 0)
        if report.finished or over:
            try:
                await self.end(plan.code, "done" if report.finished else "given up")
            except StoreError as error:
                # What was done must not be told as an error that says that nothing was.
                _log.error("Plan %s is at its end, but that could not be recorded: %s", plan.code, error.what)
        return report

    async def report(self, plan: Plan) -> PlanReport:
        """How far a plan came, from the record alone."""
        return PlanReport(plan, tuple(standing_rows(plan, await self.steps.recorded(plan), {})))

    async def end(self, code: str, how: PlanEnd) -> None:
        """Nothing more is done under it.

        Raises:
            StoreError: that could not be recorded.
        """
        await anyio.to_thread.run_sync(lambda: self.steps.maker.store.plans.end(code, how, self.steps.maker.now()))

    # --- what is known before -----------------------------------------------------------------

    async def _settle(self, plan: Plan) -> dict[int, Finding]:
        """Find out what earlier calls left open; a key whose secret nobody has is revoked, as the plan says."""
        left: dict[int, Finding] = {}
        standings = (await self.steps.recorded(plan)).standings
        if not any(standing.state == "open" for standing in standings):
            return left
        findings = {finding.write: finding for finding in await self.recovery.look(plan.code)}
        sent_at = {matter.write: matter.at for matter in await self.recovery.open_matters()}
        standings = (await self.steps.recorded(plan)).standings
        for number, standing in enumerate(standings, 1):
            finding = findings.get(standing.write)
            if standing.state != "open" or finding is None or finding.remedy == "none":
                continue
            if finding.remedy == "revoke" and await self.steps.taken_back(plan, number, standing):
                continue
            if finding.remedy == "acknowledge or revoke" and await self._completed(plan.steps[number - 1], standing):
                continue
            at = sent_at.get(finding.write)
            if finding.remedy == "look" and at is not None and await self._never_made(plan, standing, at):
                continue
            left[number] = finding
        return left

    async def _never_made(self, plan: Plan, standing: StepStanding, sent_at: datetime) -> bool:
        """Whether none of the keys that came up meanwhile can be the one that a step was to make.

        Outside of plans that go in order no key is called as the new one before, so one that this step made would be;
        unless somebody renamed it, but then it has all the other settings.
        """
        if plan.in_order or self.steps.maker.now() - sent_at < SETTLES_AFTER:
            return False
        intent = standing.intended["intent"]
        name, kind = intent["description"], intent["api_key_type"]
        account = await self.steps.maker.client.keys.account()
        ours = await anyio.to_thread.run_sync(self.steps.maker.store.journal.made_ids, account)
        try:
            keys = [key for key in await self.steps.maker.client.list_api_keys() if key.id not in ours]
        except VeniceError:
            return False
        for key in appeared(keys, None, sent_at, name, kind):
            named_so = key.model_copy(update={"description": name})
            if as_asked(key, name, kind) or self.steps.maker.is_exactly(named_so, intent):
                return False
        settled = {"as": "not done", "how": "no key of its name"}
        return await self.steps.maker.guard.note(standing.write, "settled", **settled)

    async def _completed(self, step: Step, standing: StepStanding) -> bool:
        """Whether the secret of a step is in its file, and only the file's last cut was missing."""
        place, last6 = step.destination, standing.last6 or ""
        if place is None or not await anyio.to_thread.run_sync(completed, place, self.steps.maker.limits, last6):
            return False
        return await self.steps.maker.guard.note(standing.write, "delivered", to=place.as_data(), how="completed there")
