"""One step of a plan: whether it is its turn, done once, and told truthfully."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import anyio
import anyio.lowlevel
import anyio.to_thread

from venice_mcp.consent import canonical
from venice_mcp.errors import Changed, VeniceError
from venice_mcp.models.requests import KeyChange
from venice_mcp.models.wire import MAX_ACTIVE_KEYS, Key
from venice_mcp.proposals import Plan, Step, differences, digest
from venice_mcp.secrets.saved import clear_leftover, saved
from venice_mcp.store import MAKING, RecordedPlan, StepStanding
from venice_mcp.text import parse_time, plain, span, when
from venice_mcp.workflows.changing import Changer
from venice_mcp.workflows.making import NOT_PROVEN, Made, Maker
from venice_mcp.workflows.plan_rows import Row

_STEP_S = 12.0
"""With less time left than this no further step is begun."""
_AFTER_S = 5.0
"""For what comes after a command that took all its time."""
_MOST_FAILURES = 3
_SKEW_S = 600.0
_AGAIN = "Call again with the same arguments to go on; nobody is asked again."
ELSEWHERE = ("Another call is carrying out this plan.", _AGAIN)
_OF_THE_PLAN: Mapping[str, tuple[str, str]] = {
    "approval_spent": ELSEWHERE,
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
class Run:
    """One call's way through a plan."""

    plan: Plan
    rows: list[Row]
    keys: dict[str, Key]
    failures: int = 0
    over: bool = False


class Stop(Exception):
    """This call goes no further, for a reason that concerns more than one step."""

    def __init__(self, why: str, next_step: str) -> None:
        super().__init__(why)
        self.why, self.next_step = why, next_step


@dataclass(frozen=True)
class Steps:
    """Does steps of plans."""

    maker: Maker
    changer: Changer

    async def one(self, run: Run, number: int, progress: Progress, left_s: Callable[[], float]) -> None:
        """Try one step; its row tells what became of it.

        Raises:
            Stop: nothing further is to be tried in this call.
        """
        await anyio.lowlevel.checkpoint()  # whoever cancels the call stops it between two steps
        step = run.plan.steps[number - 1]
        before = run.rows[number - 2] if number > 1 else None
        if run.plan.in_order and before is not None:
            await self._check_turn(run, before)
        if step.operation in MAKING:
            await self._keep_pace(run, progress, left_s)
        if left_s() < self._needs_s(step):
            raise Stop("One call takes no longer than this.", _AGAIN)
        await progress(sum(row.state == "done" for row in run.rows), len(run.rows), plain(step.label, 64))
        try:
            run.rows[number - 1] = await self._attempt(run, number, step)
            run.failures = 0
        except VeniceError as error:
            run.rows[number - 1] = await self._failed(run, number, error)
            run.failures += 1
            if error.code not in _OF_ONE_KEY | _OF_ONE_KEY_LOST:
                raise Stop(*_OF_THE_PLAN.get(error.code, (error.what, error.next_step))) from None
            if run.failures >= _MOST_FAILURES:
                raise Stop(
                    f"{_MOST_FAILURES} steps failed one after the other.",
                    "Look at what they say and mend it; call again with the same arguments to try the rest.",
                ) from None

    def _needs_s(self, step: Step) -> float:
        """With less time left than this a step is not begun."""
        command = self.maker.limits.commands.get((step.destination.name if step.destination else None) or "")
        return _STEP_S if command is None else max(_STEP_S, command.timeout_s + _AFTER_S)

    async def _keep_pace(self, run: Run, progress: Progress, left_s: Callable[[], float]) -> None:
        wait = await self.maker.pace_wait_s()
        if not wait:
            return
        waiting = f"waiting {_for(wait)}: Venice allows 20 new keys in a minute"
        await progress(sum(row.state == "done" for row in run.rows), len(run.rows), waiting)
        # Whoever calls again at once should not have to wait by itself, so as much of it as fits is waited here.
        room = max(0.0, left_s() - _STEP_S)
        await self.maker.sleep(min(wait, room))
        if wait > room:
            raise Stop("Venice allows 20 new keys in a minute.", _AGAIN)

    async def _check_turn(self, run: Run, before: Row) -> None:
        """In a plan that goes in order: whether the step before is done, and a new key proven."""
        if before.state == "left alone":
            raise Stop(
                f"What comes next is not done under this approval: {before.note}",
                "Look at the key; what is still wanted is to be done with the tools for one key."
                if "undoes" in run.plan.proposal.about
                else "Look at the key; if the person still wants it, call again, and they will be asked.",
            )
        if before.state != "done":
            raise Stop("The next step waits until the one before is done.", _AGAIN)
        if before.step.operation not in MAKING:
            return
        run.keys = {key.id: key for key in await self.maker.client.list_api_keys()}
        if before.key_id not in run.keys:
            run.over = True
            raise Stop(
                "The new key is not in the list of active keys any more, so the old one was left alone.",
                "If the person still wants a rotation, call again; they will be asked.",
            )
        if before.proven:
            return
        doubt = before.doubt or await self._proven_now(run, before)
        if doubt is not None:
            raise Stop(
                f"The old key was left alone, because the new one is not proven to work: {doubt}",
                "Use the new key once from where it belongs, then call again with the same arguments.",
            )
        run.rows[before.number - 1] = replace(before, proven=True)

    async def _proven_now(self, run: Run, before: Row) -> str | None:
        """None if the new key is seen to work, by its use or by a read with the secret as it was saved."""
        key = run.keys[before.key_id or ""]
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
            standing = (await self.recorded(run.plan)).standings[before.number - 1]
            await self.maker.guard.note(standing.write, "proven")
        return doubt

    async def _attempt(self, run: Run, number: int, step: Step) -> Row:
        row = replace(run.rows[number - 1], note="")
        if step.operation in MAKING:
            return await self._make(run, number, step, row)
        needed = run.plan.proposal.about.get("needs")
        if needed is not None and needed not in run.keys:
            return replace(row, state="left alone", note="The key that would be left is gone.")
        key = await self._as_it_is(run, str(step.intent["id"]))
        if key is None:
            gone = step.operation == "deleteApiKey"
            return replace(row, state="done" if gone else "left alone", note="It was gone already.")
        row = replace(row, last6=key.last6_chars)
        if not step.own_key and await self.maker.client.keys.runs_on(key.api_key_type, key.last6_chars):
            return replace(row, state="left alone", note="This server itself runs on it now.")
        current = key.settings()
        if digest(current) != step.target:
            if step.operation == "updateApiKey" and _shows(key, step, self.maker.now()):
                return replace(row, state="done", note="It was so already.")
            again = run.plan.in_order and number > 1
            anew = "handle it by itself" if again or "undoes" in run.plan.proposal.about else "ask for it anew"
            return replace(row, state="left alone", note=f"It was changed since this was approved; {anew}.")
        if step.ends_after_s is not None:
            self._check_clock()
        if step.operation == "deleteApiKey":
            await self._check_places(run.plan, number)
            notes = await self.changer.revoke_step(run.plan, number, current)
            del run.keys[key.id]
        else:
            after, notes = await self.changer.update_step(run.plan, number, current)
            run.keys[key.id] = after
            if step.ends_after_s is not None:
                notes = (f"It ends {when(after.expires_at, self.maker.now())}.", *notes)
            else:
                notes = (f"{differences(current, after.settings(), self.maker.now())}.", *notes)
        return replace(row, state="done", note=" ".join(notes))

    async def _as_it_is(self, run: Run, key_id: str) -> Key | None:
        """The key read by itself, right before something is done to it; None if it is gone."""
        listed = run.keys.get(key_id)
        if listed is None:
            return None
        try:
            key = await self.maker.client.get_api_key(key_id)
        except VeniceError as error:
            if error.code == "not_found":
                return None
            raise
        # Not both endpoints must state the addresses; what was shown came from the list.
        stated = key.ip_allowlist is not None and listed.ip_allowlist is not None
        return key if stated else key.model_copy(update={"ip_allowlist": listed.ip_allowlist})

    async def _check_places(self, plan: Plan, number: int) -> None:
        """Before a key is revoked whose successor comes after it: whether that one could be saved."""
        for step in plan.steps[number:] if plan.in_order else ():
            if step.operation in MAKING and step.destination is not None:
                await anyio.to_thread.run_sync(clear_leftover, step.destination)
                await self.maker.check_place(step.destination, step.occupant)

    def _check_clock(self) -> None:
        """An expiry is reckoned from this machine's time, and Venice goes by its own."""
        skew = self.maker.client.transport.skew_s or 0.0
        if abs(skew) > _SKEW_S:
            raise Stop(
                f"This machine's clock is {_for(abs(skew))} {'ahead of' if skew > 0 else 'behind'} Venice's, so the"
                " grace period would not be what was approved.",
                f"Set the clock. {_AGAIN}",
            )

    async def _make(self, run: Run, number: int, step: Step, row: Row) -> Row:
        if len(run.keys) >= MAX_ACTIVE_KEYS:
            raise Stop(
                f"The account has {len(run.keys)} active keys, and Venice allows {MAX_ACTIVE_KEYS}.",
                "Revoke keys nobody uses, then call again with the same arguments.",
            )
        if not run.plan.in_order and any(key.description == step.intent["description"] for key in run.keys.values()):
            return replace(row, state="left alone", note="A key of this description is there already.")
        if step.destination is not None:
            # What another call of this plan prepared a moment ago is no leftover.
            if (await self.recorded(run.plan)).standings[number - 1].state not in ("todo", "refused"):
                raise Stop(*ELSEWHERE)
            await anyio.to_thread.run_sync(clear_leftover, step.destination)
        made = await self.maker.create_step(run.plan, number, list(run.keys.values()))
        run.keys[made.id] = _as_key(made, step)
        doubted = [NOT_PROVEN.format(made.doubt)] if made.doubt else []
        row = replace(row, state="done", key_id=made.id, last6=made.last6, note=" ".join([*made.notes, *doubted]))
        return replace(row, doubt=made.doubt, proven=run.plan.in_order and made.doubt is None)

    async def _failed(self, run: Run, number: int, error: VeniceError) -> Row:
        """The row of a step that failed; a key whose secret got lost on the way is revoked at once."""
        row = run.rows[number - 1]
        standing = (await self.recorded(run.plan)).standings[number - 1]
        if (
            standing.state == "open"
            and error.code == "secret_lost"
            and await self.taken_back(run.plan, number, standing)
        ):
            return replace(row, state="failed", note=f"{error.what} It was revoked again; call again to make another.")
        if standing.state == "open" or error.changed is Changed.UNKNOWN:
            row = replace(row, key_id=standing.key_id or row.key_id, last6=standing.last6, decide=standing.found)
            return replace(row, state="open", note=error.what)
        return replace(row, state="failed", note=_OF_THE_PLAN.get(error.code, (error.what,))[0])

    async def taken_back(self, plan: Plan, number: int, standing: StepStanding) -> bool:
        """Whether the key that a step made, and whose secret nobody has, could be revoked."""
        # One that was only found by its name may be somebody else's, and a person decides.
        if standing.key_id is None or standing.found:
            return False
        try:
            await self.changer.undo_step(plan, number, standing.key_id)
        except VeniceError:
            return False
        return True

    async def recorded(self, plan: Plan) -> RecordedPlan:
        found = await anyio.to_thread.run_sync(self.maker.store.plans.get, plan.code)
        if found is None:
            raise VeniceError("The plan is not on record.", next_step="Call again.", code="no_such_plan")
        return found


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
