"""Carrying out a plan that was approved: step by step, each once, for as long as one call may take.

What was done is read from the journal, so that a call goes on where the one before stopped, was cancelled or killed.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import anyio
import anyio.lowlevel
import anyio.to_thread

from venice_mcp.client.hurry import answered_within
from venice_mcp.consent import canonical
from venice_mcp.errors import Changed, VeniceError
from venice_mcp.models.requests import KeyChange
from venice_mcp.models.wire import MAX_ACTIVE_KEYS, Key
from venice_mcp.proposals import Plan, Step, digest
from venice_mcp.secrets.saved import clear_leftover, completed, saved
from venice_mcp.store import MAKING, PlanEnd, RecordedPlan, StepStanding
from venice_mcp.text import parse_time, plain, span, when
from venice_mcp.workflows.changing import Changer
from venice_mcp.workflows.finding_out import appeared, as_asked
from venice_mcp.workflows.making import Made, Maker
from venice_mcp.workflows.plan_rows import PlanReport, Row, standing_rows
from venice_mcp.workflows.recovering import SETTLES_AFTER, Finding, Recovery

CALL_S = 40.0
"""How long a call goes on before it tells how far it came. What it waits for then may take a few seconds more."""
_STEP_S = 12.0
"""With less time left than this no further step is begun."""
_MOST_FAILURES = 3
_AT_ONCE = timedelta(minutes=2)
"""Longer than a request may be under way; a key made outside of it is somebody else's."""
_AGAIN = "Call again with the same arguments to go on; nobody is asked again."
_ELSEWHERE = ("Another call is carrying out this plan.", _AGAIN)
_OF_THE_PLAN: Mapping[str, tuple[str, str]] = {
    "approval_spent": _ELSEWHERE,
    "create_pace": ("Venice allows 20 new keys in a minute.", _AGAIN),
    "approval_expired": (
        "The plan was ended meanwhile, or its 24 hours are over.",
        "If the person wants what is left, call again; they will be asked.",
    ),
}
"""What the guard refuses to a step, in words that fit a plan."""
_OF_ONE_KEY = frozenset({"refused", "not_found", "sink_unusable", "target_changed", "undone", "secret_lost"})
_OF_ONE_KEY_LOST = frozenset({"outcome_unknown", "probably_not_made", "probably_not_done"})

Progress = Callable[[int, int, str], Awaitable[None]]


@dataclass
class _Run:
    """One call's way through a plan."""

    plan: Plan
    rows: list[Row]
    keys: dict[str, Key]
    failures: int = 0
    notes: list[str] = field(default_factory=list[str])


class _Stop(Exception):
    """This call goes no further, for a reason that concerns more than one step."""

    def __init__(self, why: str, next_step: str) -> None:
        super().__init__(why)
        self.why, self.next_step = why, next_step


@dataclass(frozen=True)
class Planner:
    """Carries plans out."""

    maker: Maker
    changer: Changer
    recovery: Recovery

    async def run(self, plan: Plan, progress: Progress) -> PlanReport:
        """Do as many steps as one call may take; none while another call here carries out the same plan.

        Raises:
            VeniceError: not even the state of the plan could be found out.
        """
        with self.maker.store.plans.alone(plan.code) as alone:
            if not alone:
                return replace(await self.report(plan), stopped=_ELSEWHERE[0], next_step=_ELSEWHERE[1])
            return await self._run(plan, progress)

    async def _run(self, plan: Plan, progress: Progress) -> PlanReport:
        began_at, began_s = self.maker.now(), anyio.current_time()

        def left_s() -> float:
            # Both clocks: the one that is injected also counts what was slept with it.
            gone = max((self.maker.now() - began_at).total_seconds(), anyio.current_time() - began_s)
            return CALL_S - gone

        with answered_within(CALL_S):
            open_rows = await self._settle(plan)
            run = _Run(plan, [], {key.id: key for key in await self.maker.client.list_api_keys()})
            run.rows = standing_rows(plan, await self._recorded(plan), open_rows)
            try:
                for number in range(1, len(plan.steps) + 1):
                    if run.rows[number - 1].state in ("done", "left alone", "open"):
                        continue
                    await self._one(run, number, progress, left_s)
                stopped = _Stop("", "")
            except _Stop as stop:
                stopped = stop
        report = PlanReport(plan, tuple(run.rows), stopped.why, stopped.next_step, tuple(run.notes))
        if report.finished:
            await self.end(plan.code, "done")
        elif plan.in_order and report.count("left alone"):
            # What comes after it may not be done under this approval any more; a new call must be able to ask.
            await self.end(plan.code, "given up")
        return report

    async def report(self, plan: Plan) -> PlanReport:
        """How far a plan came, from the record alone."""
        return PlanReport(plan, tuple(standing_rows(plan, await self._recorded(plan), {})))

    async def end(self, code: str, how: PlanEnd) -> None:
        await anyio.to_thread.run_sync(lambda: self.maker.store.plans.end(code, how, self.maker.now()))

    # --- what is known before -----------------------------------------------------------------

    async def _recorded(self, plan: Plan) -> RecordedPlan:
        found = await anyio.to_thread.run_sync(self.maker.store.plans.get, plan.code)
        if found is None:
            raise VeniceError("The plan is not on record.", next_step="Call again.", code="no_such_plan")
        return found

    async def _settle(self, plan: Plan) -> dict[int, Finding]:
        """Find out what earlier calls left open; a key whose secret nobody has is revoked, as the plan says."""
        left: dict[int, Finding] = {}
        standings = (await self._recorded(plan)).standings
        if not any(standing.state == "open" for standing in standings):
            return left
        findings = {finding.write: finding for finding in await self.recovery.look(plan.code)}
        sent_at = {matter.write: matter.at for matter in await self.recovery.open_matters()}
        standings = (await self._recorded(plan)).standings
        for number, standing in enumerate(standings, 1):
            finding = findings.get(standing.write)
            if standing.state != "open" or finding is None or finding.remedy == "none":
                continue
            if finding.remedy == "revoke" and await self._taken_back(plan, number, standing):
                continue
            if finding.remedy == "acknowledge or revoke" and await self._completed(plan.steps[number - 1], standing):
                continue
            if finding.remedy == "look" and await self._never_made(plan, standing, sent_at[finding.write]):
                continue
            left[number] = finding
        return left

    async def _never_made(self, plan: Plan, standing: StepStanding, sent_at: datetime) -> bool:
        """Whether none of the keys that came up meanwhile can be the one that a step was to make.

        Outside of plans that go in order no key is called as the new one before, so one that this step made would be;
        unless somebody renamed it, but then it has all the other settings.
        """
        if plan.in_order or self.maker.now() - sent_at < SETTLES_AFTER:
            return False
        intent = standing.intended["intent"]
        name, kind = intent["description"], intent["api_key_type"]
        account = await self.maker.client.keys.account()
        ours = await anyio.to_thread.run_sync(self.maker.store.journal.made_ids, account)
        try:
            keys = [key for key in await self.maker.client.list_api_keys() if key.id not in ours]
        except VeniceError:
            return False
        for key in appeared(keys, None, sent_at, name, kind):
            named_so = key.model_copy(update={"description": name})
            if as_asked(key, name, kind) or self.maker.is_exactly(named_so, intent):
                return False
        settled = {"as": "not done", "how": "no key of its name"}
        return await self.maker.guard.note(standing.write, "settled", **settled)

    async def _completed(self, step: Step, standing: StepStanding) -> bool:
        """Whether the secret of a step is in its file, and only the file's last cut was missing."""
        place, last6 = step.destination, standing.last6 or ""
        if place is None or not await anyio.to_thread.run_sync(completed, place, self.maker.limits, last6):
            return False
        return await self.maker.guard.note(standing.write, "delivered", to=place.as_data(), how="completed there")

    async def _taken_back(self, plan: Plan, number: int, standing: StepStanding) -> bool:
        """Whether the key that a step made, and whose secret nobody has, could be revoked."""
        if standing.key_id is None:
            return False
        try:
            keys = {key.id: key for key in await self.maker.client.list_api_keys()}
            key = keys.get(standing.key_id)
            if key is None or (standing.found and not self._surely_ours(key, standing)):
                return False
            await self.changer.undo_step(plan, number, standing.key_id)
        except VeniceError:
            return False
        return True

    def _surely_ours(self, key: Key, standing: StepStanding) -> bool:
        """Whether a key that was only found by its name can be the one that was asked for and nobody else's: in every
        setting, made at that moment, and never used. Else a person decides.
        """
        made, sent = parse_time(key.created_at), standing.intended_at
        at_once = made is not None and sent is not None and abs(made - sent) <= _AT_ONCE
        return at_once and key.last_used_at is None and self.maker.is_exactly(key, standing.intended["intent"])

    # --- one step -----------------------------------------------------------------------------

    async def _one(self, run: _Run, number: int, progress: Progress, left_s: Callable[[], float]) -> None:
        """Try one step; its row tells what became of it.

        Raises:
            _Stop: nothing further is to be tried in this call.
        """
        await anyio.lowlevel.checkpoint()  # whoever cancels the call stops it between two steps
        step = run.plan.steps[number - 1]
        before = run.rows[number - 2] if number > 1 else None
        if run.plan.in_order and before is not None:
            await self._check_turn(run, before)
        if step.operation in MAKING:
            await self._keep_pace(run, progress, left_s)
        if left_s() < _STEP_S:
            raise _Stop("One call takes no longer than this.", _AGAIN)
        await progress(sum(row.state == "done" for row in run.rows), len(run.rows), plain(step.label, 64))
        try:
            run.rows[number - 1] = await self._attempt(run, number, step)
            run.failures = 0
        except VeniceError as error:
            run.rows[number - 1] = await self._failed(run, number, error)
            run.failures += 1
            if error.code not in _OF_ONE_KEY | _OF_ONE_KEY_LOST:
                raise _Stop(*_OF_THE_PLAN.get(error.code, (error.what, error.next_step))) from None
            if run.failures >= _MOST_FAILURES:
                raise _Stop(
                    f"{_MOST_FAILURES} steps failed one after the other.",
                    "Look at what they say and mend it; call again with the same arguments to try the rest.",
                ) from None

    async def _keep_pace(self, run: _Run, progress: Progress, left_s: Callable[[], float]) -> None:
        wait = await self.maker.pace_wait_s()
        if not wait:
            return
        waiting = f"waiting {_for(wait)}: Venice allows 20 new keys in a minute"
        await progress(sum(row.state == "done" for row in run.rows), len(run.rows), waiting)
        # Whoever calls again at once should not have to wait by itself, so as much of it as fits is waited here.
        room = max(0.0, left_s() - _STEP_S)
        await self.maker.sleep(min(wait, room))
        if wait > room:
            raise _Stop("Venice allows 20 new keys in a minute.", _AGAIN)

    async def _check_turn(self, run: _Run, before: Row) -> None:
        """In a plan that goes in order: whether the step before is done, and a new key proven."""
        if before.state == "left alone":
            raise _Stop(
                f"What comes next is not done under this approval: {before.note}",
                "Look at the key; if the person still wants it, call again, and they will be asked.",
            )
        if before.state != "done":
            why = before.note or "the step before is not done"
            raise _Stop(f"The next step waits: {why}", "Call again with the same arguments; nobody is asked again.")
        if before.step.operation not in MAKING or before.proven:
            return
        doubt = before.doubt or await self._proven_now(run, before)
        if doubt is not None:
            raise _Stop(
                f"The old key was left alone, because the new one is not proven to work: {doubt}",
                "Use the new key once from where it belongs, then call again with the same arguments.",
            )
        run.rows[before.number - 1] = replace(before, proven=True)

    async def _proven_now(self, run: _Run, before: Row) -> str | None:
        """None if the new key is seen to work, by its use or by a read with the secret as it was saved."""
        key = run.keys.get(before.key_id or "")
        if key is None:
            return "it is not in the list of active keys."
        doubt: str | None = "its secret could not be read back from where it was saved."
        if key.last_used_at is not None:
            doubt = None
        elif before.step.destination is not None:
            place, last6 = before.step.destination, before.last6 or ""
            secret = await anyio.to_thread.run_sync(saved, place, self.maker.limits, last6)
            if secret is not None:
                self.maker.guard.know(secret)
                doubt = await self.maker.proof(secret)
        if doubt is None:
            standing = (await self._recorded(run.plan)).standings[before.number - 1]
            await self.maker.guard.note(standing.write, "proven")
        return doubt

    async def _attempt(self, run: _Run, number: int, step: Step) -> Row:
        row = replace(run.rows[number - 1], note="")
        if step.operation in MAKING:
            return await self._make(run, number, step, row)
        key = run.keys.get(str(step.intent["id"]))
        if key is None:
            gone = step.operation == "deleteApiKey"
            return replace(row, state="done" if gone else "left alone", note="It was gone already.")
        row = replace(row, last6=key.last6_chars)
        current = key.settings()
        if digest(current) != step.target:
            if step.operation == "updateApiKey" and _shows(key, step, self.maker.now()):
                return replace(row, state="done", note="It was so already.")
            anew = "if it is to end, revoke it by itself" if run.plan.in_order and number > 1 else "ask for it anew"
            return replace(row, state="left alone", note=f"It was changed since this was approved; {anew}.")
        if step.operation == "deleteApiKey":
            notes = await self.changer.revoke_step(run.plan, number, current)
            del run.keys[key.id]
        else:
            after, notes = await self.changer.update_step(run.plan, number, current)
            run.keys[key.id] = after
            if step.ends_after_s is not None:
                notes = (f"It ends {when(after.expires_at, self.maker.now())}.", *notes)
        return replace(row, state="done", note=" ".join(notes))

    async def _make(self, run: _Run, number: int, step: Step, row: Row) -> Row:
        if len(run.keys) >= MAX_ACTIVE_KEYS:
            raise _Stop(
                f"The account has {len(run.keys)} active keys, and Venice allows {MAX_ACTIVE_KEYS}.",
                "Revoke keys nobody uses, then call again with the same arguments.",
            )
        if not run.plan.in_order and any(key.description == step.intent["description"] for key in run.keys.values()):
            return replace(row, state="left alone", note="A key of this description is there already.")
        if step.destination is not None:
            # What another call of this plan prepared a moment ago is no leftover.
            if (await self._recorded(run.plan)).standings[number - 1].state not in ("todo", "refused"):
                raise _Stop(*_ELSEWHERE)
            await anyio.to_thread.run_sync(clear_leftover, step.destination)
        made = await self.maker.create_step(run.plan, number, list(run.keys.values()))
        run.keys[made.id] = _as_key(made, step)
        row = replace(row, state="done", key_id=made.id, last6=made.last6, note=" ".join(made.notes))
        return replace(row, doubt=made.doubt, proven=run.plan.in_order and made.doubt is None)

    async def _failed(self, run: _Run, number: int, error: VeniceError) -> Row:
        """The row of a step that failed; a key whose secret got lost on the way is revoked at once."""
        row = run.rows[number - 1]
        standing = (await self._recorded(run.plan)).standings[number - 1]
        if (
            standing.state == "open"
            and error.code == "secret_lost"
            and await self._taken_back(run.plan, number, standing)
        ):
            return replace(row, state="failed", note=f"{error.what} It was revoked again; call again to make another.")
        if standing.state == "open" or error.changed is Changed.UNKNOWN:
            return replace(
                row, state="open", key_id=standing.key_id or row.key_id, last6=standing.last6, note=error.what
            )
        return replace(row, state="failed", note=error.what)


def _shows(key: Key, step: Step, now: datetime) -> bool:
    """Whether a key has everything already that a change asks for; one that ends sooner than asked has."""
    if step.ends_after_s is not None:
        end, wanted = parse_time(key.expires_at), parse_time(step.intent_at(now)["expires_at"])
        return end is not None and wanted is not None and end <= wanted
    after = KeyChange.model_validate(step.intent).applied_to(key)
    return canonical(after) == canonical(key.settings())


def _for(seconds: float) -> str:
    return span(timedelta(seconds=int(seconds) + 1))


def _as_key(made: Made, step: Step) -> Key:
    """A new key as far as counting and comparing keys needs it."""
    kind, description = step.intent["api_key_type"], step.intent["description"]
    return Key(id=made.id, api_key_type=kind, description=description, last6_chars=made.last6)
