"""What an earlier call left unaccounted for: settle it, acknowledge it, go on with a plan, or take it back."""

from typing import Annotated

import anyio.to_thread
from mcp_types import CallToolResult

from venice_mcp.app import App, Ctx, app_of
from venice_mcp.asking import asks_first, fingerprint
from venice_mcp.errors import VeniceError
from venice_mcp.models.results import OpenMatter, OpenPlan, Recovered
from venice_mcp.plan_questions import about_undoing
from venice_mcp.proposals import PLAN, Plan, Proposal, Verdict, recorded_plan
from venice_mcp.store import RecordedPlan, place_of
from venice_mcp.text import plain, plural, to_wire
from venice_mcp.tools.arguments import OneKey, Recover
from venice_mcp.tools.build import answer
from venice_mcp.tools.keys import revocation
from venice_mcp.tools.plans import carried_out, gone_on, lines_of, reread_all, running
from venice_mcp.workflows.recovering import Finding
from venice_mcp.workflows.undoing import undoing

_NEXT: dict[str, str] = {
    "wait": "Call venice_recover again in a minute.",
    "revoke": "Revoke it: venice_recover with revoke.",
    "acknowledge or revoke": "Ask the person: if it is stored, venice_recover with acknowledge; else with revoke.",
    "look": "Ask the person which; revoke it with venice_revoke_api_key, then acknowledge this entry.",
    "acknowledge": "Ask the person to look, then acknowledge this entry.",
}


async def propose_recovery(args: Recover, ctx: Ctx) -> Proposal | None:
    if args.undo is not None:
        return await _propose_undoing(args, args.undo, ctx)
    if args.revoke is None:
        return None
    app = app_of(ctx)
    matters = await app.recovery.open_matters()
    if args.revoke not in {matter.key_id for matter in matters}:
        raise VeniceError(
            "revoke: no open matter is about this key.",
            next_step="Call venice_recover without arguments first; revoke other keys with venice_revoke_api_key.",
            code="bad_argument",
        )
    lost = {item.key_id for item in matters if item.lost}
    return await revocation(
        app,
        OneKey(key_id=args.revoke),
        tool=venice_recover.__name__,
        fingerprint=lambda key_id: fingerprint(venice_recover.__name__, args, key_id),
        lost=args.revoke in lost,
    )


async def _propose_undoing(args: Recover, code: str, ctx: Ctx) -> Proposal:
    app, tool = app_of(ctx), venice_recover.__name__
    print_of_call = fingerprint(tool, args)
    begun = await running(ctx, print_of_call)
    if begun is not None:
        return begun
    recorded = await _recorded(app, code)
    plan = Plan(recorded.code, recorded_plan(recorded.data))
    if any(standing.state == "open" for standing in recorded.standings):
        await app.recovery.look(plan.code)  # settles what reading can settle
        recorded = await _recorded(app, code)
    if any(standing.state == "open" for standing in recorded.standings):
        raise VeniceError(
            "undo: what became of a step is not known yet, so the plan cannot be taken back now.",
            next_step="Call venice_recover without arguments in a minute and settle what it names, or resume the plan.",
            code="cannot_undo",
        )
    work = undoing(plan, recorded, await app.client.list_api_keys())
    own = [key for key in work.keys if await app.client.keys.runs_on(key.api_key_type, key.last6_chars)]
    if own:
        raise VeniceError(
            f"undo: this server itself runs on {plain(own[0].id, 40)}, which this would end or change.",
            next_step="Use the tools for one key, or configure the server with another key first.",
            code="own_key",
        )
    if not work.steps:
        raise VeniceError(
            " ".join(["undo: nothing of the plan can be taken back.", *(plain(each, 200) for each in work.cannot[:3])]),
            next_step="Drop it with give_up if it is still open.",
            code="cannot_undo",
        )
    kept = plan.proposal.about.get("replaces")
    return Proposal(
        tool=tool,
        fingerprint=print_of_call,
        operation=PLAN,
        intent={},
        question=about_undoing(plan.proposal.question.headline, work.revoked, work.changes, work.cannot, app.now()),
        target={key.id: key.settings() for key in work.keys},
        reread=reread_all(app, [key.id for key in work.keys]),
        steps=work.steps,
        # The old key of a rotation lives on for certain before the successor goes.
        in_order=plan.in_order,
        about={"undoes": recorded.code, "as_of": recorded.as_of, **({"needs": kept} if kept is not None else {})},
    )


async def venice_recover(
    args: Recover, ctx: Ctx, verdict: Annotated[Verdict | None, asks_first(propose_recovery)]
) -> Annotated[CallToolResult, Recovered]:
    """Find out what interrupted calls left behind (writes of unknown outcome, keys whose secret reached nobody,
    unfinished plans) and settle it by reading Venice. Use it when venice_status names open matters. revoke ends such a
    key after a person approved it; acknowledge notes that the person stored a displayed secret; resume goes on with an
    approved plan."""
    app = app_of(ctx)
    done: list[str] = []
    if args.resume is not None:
        done += lines_of(await gone_on(ctx, await app.guard.resume(args.resume)))
    if args.undo is not None and verdict is not None:
        done += lines_of(await carried_out(ctx, verdict))
    if args.give_up is not None:
        plan = await _recorded(app, args.give_up, of_any_key=True)
        if plan.end is not None:
            raise VeniceError(
                f"Plan {plan.code} came to its end already, so there is nothing to drop.",
                next_step="To take back what it did: venice_recover with undo.",
                code="no_such_plan",
            )
        await app.planner.end(plan.code, "given up")
        done.append(f"Plan {plan.code} is dropped. What it did stays as it is.")
    if args.acknowledge is not None:
        matter = await app.recovery.acknowledge(args.acknowledge)
        done.append(f"Acknowledged {matter.write}; it is no longer listed.")
    if verdict is not None and args.revoke is not None:
        notes = await app.changer.revoke(verdict)
        done += [f"Revoked {args.revoke}. It cannot be brought back.", *notes]
    try:
        findings = await app.recovery.look()
    except VeniceError as error:
        if not done:
            raise
        # What was done must not be told as an error that says that nothing was.
        findings = []
        done.append(f"What else is open could not be looked into: {error.what}")
    plans = await open_plans(app)
    result = Recovered(
        done=done,
        settled=[item.what for item in findings if item.remedy == "none"],
        open=[_open(item) for item in findings if item.remedy != "none"],
        plans=plans,
    )
    lines = [*result.done, *result.settled]
    lines += [f"OPEN {item.name}: {item.what} {item.next_step}" for item in result.open]
    lines += [f"UNFINISHED {item.plan}: {item.what} {item.next_step}" for item in plans]
    return answer("\n".join(lines) or "Nothing is open: every write and every secret is accounted for.", result)


async def open_plans(app: App) -> list[OpenPlan]:
    """Plans of this Venice that were begun and not ended, from the record alone."""
    account = await app.client.keys.account()
    found = await anyio.to_thread.run_sync(app.store.plans.open, account)
    return [_plan(plan, app, account) for plan in found]


def _plan(plan: RecordedPlan, app: App, account: str) -> OpenPlan:
    done = sum(standing.state == "done" for standing in plan.standings)
    left = len(plan.standings) - done
    what = f"{plain(str(plan.data['headline']), 160)} {plural(done, 'step')} done, {left} not."
    tool = plain(str(plan.data["tool"]), 60)
    if plan.account != account:
        theirs = "It was approved with another ADMIN key; go on with that one configured, or drop it with give_up."
        return OpenPlan(plan=plan.code, what=what, tool=tool, done=done, left=left, next_step=theirs)
    how = (
        f"Go on until {to_wire(plan.expires_at)}: venice_recover with resume {plan.code};"
        if plan.runs(app.now())
        else "It is too old to go on with;"
    )
    return OpenPlan(
        plan=plan.code,
        what=what,
        tool=tool,
        done=done,
        left=left,
        next_step=f"{how} take it back with undo, or drop it with give_up.",
    )


async def _recorded(app: App, code: str, *, of_any_key: bool = False) -> RecordedPlan:
    """A plan that was begun here and not taken back; `of_any_key`: also with another ADMIN key of this Venice."""
    account = await app.client.keys.account()
    found = await anyio.to_thread.run_sync(app.store.plans.get, code)
    known_by = place_of if of_any_key else str
    if found is None or known_by(found.account) != known_by(account) or found.end == "undone":
        raise VeniceError(
            "There is no such plan of this ADMIN key, or it was taken back before.",
            next_step="Call venice_recover without arguments to see which are open.",
            code="no_such_plan",
        )
    return found


def _open(item: Finding) -> OpenMatter:
    return OpenMatter(name=item.write, what=item.what, key_id=item.key_id, next_step=_NEXT[item.remedy])
