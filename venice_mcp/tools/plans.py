"""What the tools that carry out plans share: progress, continuing without a question, and one account of it all."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import anyio.to_thread
from mcp_types import CallToolResult

from venice_mcp.app import App, Ctx, app_of
from venice_mcp.errors import VeniceError
from venice_mcp.models.plans import PlanResult, PlanRow
from venice_mcp.proposals import Case, Plan, Proposal, Target, Verdict
from venice_mcp.secrets.delivery import described
from venice_mcp.text import cell, plain, plural, table
from venice_mcp.tools.build import answer
from venice_mcp.workflows.plan_rows import PlanReport, Row

MOST_ROWS = 50
_SHOWN = 12
_DOING = {"createApiKey": "create", "updateApiKey": "change", "deleteApiKey": "revoke"}
_ORDER = {"failed": 0, "open": 1, "left alone": 2, "to do": 3, "done": 4}


async def running(ctx: Ctx, fingerprint: str) -> Proposal | None:
    """The plan that this very call began before and that is not at its end: it goes on without a question."""
    begun = await app_of(ctx).guard.running(fingerprint)
    if begun is None:
        return None

    async def ended() -> Target:
        raise VeniceError(
            "The plan came to its end while this call was under way.",
            next_step="Call again to see what there is left to do.",
            code="target_changed",
        )

    # If another call brings it to its end before this one is looked at, it must not begin anew as it was.
    return replace(begun, target={}, reread=ended)


def reread_all(app: App, key_ids: list[str]) -> Callable[[], Awaitable[Target]]:
    """Reads the settings of these keys again, in one request."""

    async def reread() -> Target:
        listed = {key.id: key.settings() for key in await app.client.list_api_keys()}
        return {key_id: listed.get(key_id) for key_id in key_ids}

    return reread


async def carried_out(ctx: Ctx, verdict: Verdict) -> PlanReport:
    """Do what was approved, as far as one call may, and tell how far that was."""
    app = app_of(ctx)
    approved = await app.guard.judge(verdict)
    begun = await _begun_meanwhile(app, approved.case)
    if begun is not None:
        return await gone_on(ctx, begun)
    return await gone_on(ctx, await app.guard.begin(approved))


async def _begun_meanwhile(app: App, case: Case) -> Plan | None:
    """The plan that the same call, made at the same time, began under another question or under this very one."""
    account, now = await app.client.keys.account(), app.now()
    fingerprint = case.proposal.fingerprint
    found = await anyio.to_thread.run_sync(
        lambda: app.store.plans.running(account=account, fingerprint=fingerprint, now=now)
    )
    if found is None or case.begun:
        return None
    if found.code != case.code:
        await app.guard.set_aside(case, "the same was begun meanwhile")
    return await app.guard.resume(found.code)


async def gone_on(ctx: Ctx, plan: Plan) -> PlanReport:
    """Go on with a plan that was begun."""
    app = app_of(ctx)

    async def progress(done: int, total: int, doing: str) -> None:
        await ctx.report_progress(done, total, app.redactor.redact(doing))

    return await app.planner.run(plan, progress)


def nothing_to_do(already: Sequence[str], why: str) -> CallToolResult:
    """The answer when not one write is needed."""
    names = [plain(name, 64) for name in already]
    result = PlanResult(finished=True, done=0, left=0, already=names, columns=[], rows=[], notes=[why])
    return answer(f"{why} Nothing was changed.", result)


def told(report: PlanReport) -> CallToolResult:
    """A report in both channels."""
    result = result_of(report)
    return answer("\n".join(lines_of(report)), result)


def result_of(report: PlanReport) -> PlanResult:
    about = report.plan.proposal.about
    rows = sorted(report.rows, key=lambda row: (_ORDER[row.state], row.number))
    worth = {"failed", "open", "left alone"}
    if report.finished or len(rows) <= _SHOWN:
        worth.add("done")  # of a long plan only once, at its end
    return PlanResult(
        plan=report.plan.code,
        finished=report.finished,
        done=report.count("done"),
        left=report.count("failed", "open", "to do"),
        already=[plain(str(name), 64) for name in about.get("already", ())],
        columns=list(PlanRow._fields),
        rows=[_row(row, place="where" not in about) for row in rows if row.state in worth][:MOST_ROWS],
        notes=[*_where(report), *([report.stopped] if report.stopped else []), *_in_the_end(report)],
        next_step=None if report.finished else _decide(report) or report.next_step or _go_on(report),
    )


def lines_of(report: PlanReport) -> list[str]:
    """A report in words: of many steps only what did not go well."""
    result, total = result_of(report), len(report.rows)
    states = {state: sum(row.state == state for row in report.rows) for state in reversed(_ORDER)}
    counts = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    lines = [f"Plan {report.plan.code}, {plural(total, 'step')}: {counts}."]
    if result.already:
        lines.append(f"{len(result.already)} were so already and were left alone.")
    worth = result.rows if total <= _SHOWN else [row for row in result.rows if row.state != "done"]
    if worth:
        lines.append(table(["doing", "what", "key", "state", "note"], map(_cells, worth[:_SHOWN])))
    if len(worth) > _SHOWN:
        lines.append(f"... and {len(worth) - _SHOWN} more like these.")
    return [*lines, *result.notes, *([result.next_step] if result.next_step else [])]


def _decide(report: PlanReport) -> str:
    """What a person has to decide before it can go on; empty when nothing."""
    keys = [plain(row.key_id, 40) for row in report.rows if row.decide and row.key_id]
    if not any(row.decide for row in report.rows):
        return ""
    revoke = f" (revoke {', '.join(keys[:3])} if nobody else made it)" if keys else ""
    return f"A person has to decide about the open ones first: venice_recover{revoke}. Then call again, unchanged."


def _go_on(report: PlanReport) -> str:
    again = "Call again with the same arguments to try what is left; nobody is asked again."
    if report.count("open"):
        again = f"Wait a minute. {again}"
    return f"{again} To drop it: venice_recover with give_up {report.plan.code}."


def _in_the_end(report: PlanReport) -> list[str]:
    notes = report.plan.proposal.about.get("notes", ()) if report.finished else ()
    return [plain(str(note), 300) for note in notes]


def _where(report: PlanReport) -> list[str]:
    """Where the secrets of all keys are, said once."""
    where = report.plan.proposal.about.get("where")
    return [f"Secrets: in {plain(str(where), 300)}."] if where and report.count("done") else []


def _row(row: Row, *, place: bool) -> PlanRow:
    return PlanRow(
        _DOING.get(row.step.operation, row.step.operation),
        plain(row.step.label, 64),
        plain(row.key_id, 40) if row.key_id else None,
        plain(row.last6, 6) if row.last6 else None,
        row.state,
        _note(row, place=place),
    )


def _cells(row: PlanRow) -> list[str]:
    key = f"...{row.last6}" if row.last6 else (row.key_id or "-")
    return [row.doing, cell(row.what), cell(key), row.state, cell(row.note, 300)]


def _note(row: Row, *, place: bool) -> str:
    saved = row.step.destination if place and row.state == "done" else None
    parts = [f"secret in {described(saved)}" if saved is not None else "", row.note]
    return plain("; ".join(part for part in parts if part), 400)
