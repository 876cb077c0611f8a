"""The audit of all keys: a summary that costs little, details by page, and a report in a file if asked for."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import anyio.to_thread
from mcp_types import CallToolResult
from pydantic import AfterValidator, Field

from venice_mcp.app import App, Ctx, app_of
from venice_mcp.client.hurry import answered_within
from venice_mcp.errors import ArgumentError, VeniceError
from venice_mcp.models.hygiene import Audit, FindingRow, Fix
from venice_mcp.models.wire import Key
from venice_mcp.secrets import SinkError
from venice_mcp.secrets.folders import SHOWN_PATH
from venice_mcp.secrets.reports import checked_report, write_report
from venice_mcp.text import cell, plain, plural, quoted, table
from venice_mcp.tools.arguments import Arguments
from venice_mcp.tools.build import answer
from venice_mcp.tools.fields import Days, problem
from venice_mcp.tools.keys import runs_on
from venice_mcp.workflows.facts import RECENT, facts_of
from venice_mcp.workflows.hygiene import MEANINGS, SEVERITIES, Finding, Report, Thresholds, examine
from venice_mcp.workflows.hygiene_report import in_bulk, markdown
from venice_mcp.workflows.remedies import Call

SUMMARY_CHARACTERS = 7_700
"""Of text and data together, so that with its frame a default answer stays below 8,000."""

_OWN_SHOWN = 5
_BALANCE_WITHIN_S = 5.0
_SHORT, _LONG = 120, 400


def _known(code: str) -> str:
    if code not in MEANINGS:
        raise problem(f"must be one of {', '.join(MEANINGS)}")
    return code


def _past_recent(days: float) -> float:
    if days < RECENT.days:
        raise problem(f"must be at least {RECENT.days}: a key used since then is in use")
    return days


class AuditApiKeys(Arguments):
    code: (
        Annotated[str, Field(max_length=40, description="Details of a code of the summary"), AfterValidator(_known)]
        | None
    ) = None
    severity: Annotated[Literal["high", "medium", "low"], Field(description="Details of these")] | None = None
    page: Annotated[int, Field(ge=1, le=500, description="Details; 1 is the first page")] | None = None
    limit: Annotated[int, Field(ge=1, le=50)] = 20
    report_path: (
        Annotated[str, Field(max_length=SHOWN_PATH, description="New .md file, absolute or ~/, for all findings")]
        | None
    ) = None
    unused_days: Annotated[Days, AfterValidator(_past_recent), Field(description="At least 7")] = Thresholds.unused_days
    never_used_days: Days = Thresholds.never_used_days
    expiring_days: Days = Thresholds.expiring_days
    cap_percent: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = Thresholds.cap_percent
    admin_count: Annotated[int, Field(ge=0, le=500)] = Thresholds.admin_count
    admin_age_days: Days = Thresholds.admin_age_days
    key_count: Annotated[int, Field(ge=1, le=500)] = Thresholds.key_count

    def thresholds(self) -> Thresholds:
        return Thresholds(
            unused_days=self.unused_days,
            never_used_days=self.never_used_days,
            expiring_days=self.expiring_days,
            cap_percent=self.cap_percent,
            admin_count=self.admin_count,
            admin_age_days=self.admin_age_days,
            key_count=self.key_count,
        )


async def venice_audit_api_keys(args: AuditApiKeys, ctx: Ctx) -> Annotated[CallToolResult, Audit]:
    """Audit the hygiene of all keys (caps, expiry, use, ADMIN keys, descriptions, policy), each finding with evidence
    and the call that mends it. Without page, code or severity: a summary. *_days, *_percent and *_count set from when
    something is found. Changes no key; report_path writes a new file. Show findings before making any call."""
    app = app_of(ctx)
    if args.report_path is not None:
        _check_report(app, args.report_path)
    keys = await app.client.list_api_keys()
    report = examine(
        keys,
        own=frozenset([key.id for key in keys if await runs_on(app, key)]),
        rules=app.settings.policy.keys,
        thresholds=args.thresholds(),
        now=app.now(),
        folder=(app.settings.policy.folders or ("~",))[0],
        no_diem=await _no_diem(app, keys),
    )
    written = None
    if args.report_path is not None:
        written = await _write_report(app, report, args.report_path)
    if args.code is None and args.severity is None and args.page is None:
        return _summary(app, report, written)
    return _details(app, report, args, written)


async def _no_diem(app: App, keys: Sequence[Key]) -> bool:
    """Whether the account is known to have no DIEM; Venice is asked only where it matters and no key spent any."""
    limits = [key.consumption_limits for key in keys]
    if all(each.diem is not None or each.usd is None for each in limits):
        return False
    if any((facts_of(key, own=False, now=app.now()).seen("diem")) > 0 for key in keys):
        return False
    try:
        # It only sharpens one finding, so it is not waited for as the audit's own reads are.
        with answered_within(_BALANCE_WITHIN_S, tries=1):
            balance = await app.client.get_billing_balance()
    except VeniceError:
        return False
    stated = "diem" in balance.balances.model_fields_set
    return stated and balance.balances.diem is None and not balance.diem_epoch_allocation


# --- the file -------------------------------------------------------------------------------------


def _check_report(app: App, path: str) -> None:
    """Before anything is read: whether a report may be written there, as far as can be told."""
    if app.settings.policy.read_only:
        # So it is while a policy cannot be used, and then nobody knows which folders it would allow.
        why = app.settings.policy_problem or "the operator's policy is read only, also for files."
        raise ArgumentError("report_path", why, "Leave it out.")
    try:
        checked_report(path)
    except SinkError as error:
        raise _unfit(error) from None


async def _write_report(app: App, report: Report, path: str) -> str:
    text = app.redactor.redact(markdown(report, app.settings.mode))
    folders = app.settings.policy.folders
    try:
        return await anyio.to_thread.run_sync(write_report, path, text, folders)
    except SinkError as error:
        raise _unfit(error) from None


def _unfit(error: SinkError) -> ArgumentError:
    return ArgumentError("report_path", f"{error}.", "Give another path, or leave it out and page through the details.")


# --- the answer -----------------------------------------------------------------------------------


def _summary(app: App, report: Report, written: str | None) -> CallToolResult:
    """Every code with its count and its worst finding; calls, then findings, are left out from the end to fit."""
    groups = [(code, found) for code in MEANINGS if (found := report.of(code))]
    groups.sort(key=lambda group: SEVERITIES.index(group[1][0].severity))
    shown = with_calls = len(groups)
    while True:
        worst = [found[0] for _, found in groups]
        calls = [each.fix for each in worst[:with_calls]]
        where = [place if place < with_calls else None for place in range(shown)]
        rows = [_row(each, place, short=True) for each, place in zip(worst[:shown], where, strict=True)]
        result = _audit(app, report, rows, calls, report.findings, written)
        text = "\n".join([*_head(report, result), *_groups(groups, rows, calls), _more(report), *result.notes])
        if _size(text, result) <= SUMMARY_CHARACTERS or not shown:
            return answer(text, result)
        with_calls, shown = max(0, with_calls - 1), shown if with_calls > 1 else shown - 1


def _size(text: str, result: Audit) -> int:
    data = result.model_dump(mode="json", exclude_none=True)
    return sum(len(json.dumps(part, ensure_ascii=False, separators=(",", ":"))) for part in (text, data))


def _groups(
    groups: Sequence[tuple[str, list[Finding]]], rows: Sequence[FindingRow], calls: Sequence[Call]
) -> list[str]:
    lines: list[str] = []
    for place, (code, found) in enumerate(groups):
        each = Counter(finding.severity for finding in found)
        line = f"{code}, {MEANINGS[code]}: {', '.join(f'{each[name]} {name}' for name in SEVERITIES if each[name])}."
        if place < len(rows):
            row = rows[place]
            which = f"{quoted(row.description or '', 32)} ...{row.last6_chars}: " if row.key_id else ""
            line += f" Worst: {which}{row.evidence}."
            line += f" Mend: {_told(calls[row.fix], short=True)}" if row.fix is not None else ""
        lines.append(line)
    return lines


def _more(report: Report) -> str:
    if not report.findings:
        return "Nothing to mend."
    return "Every finding with its call: page=1; only some: code=... or severity=..."


def _details(app: App, report: Report, args: AuditApiKeys, written: str | None) -> CallToolResult:
    found, page = report.of(args.code, args.severity), args.page or 1
    start = (page - 1) * args.limit
    part = found[start : start + args.limit]
    calls, where = in_bulk(part)
    rows = [_row(each, place) for each, place in zip(part, where, strict=True)]
    result = _audit(app, report, rows, calls, found, written)
    result.page, result.next_page = page, page + 1 if start + args.limit < len(found) else None
    lines = [table(["severity", "code", "id", "description", "last6", "evidence", "call"], map(_cells, rows))]
    lines += [f"Call {number}: {_told(call)}" for number, call in enumerate(calls)]
    if not rows:
        lines = ["No such finding; try page 1 or another filter."]
    if result.next_page:
        lines.append(f"More: page={result.next_page}.")
    return answer("\n".join([*_head(report, result), *lines, *result.notes]), result)


def _cells(row: FindingRow) -> list[str]:
    words = (row.severity, row.code, row.key_id, row.description, row.last6_chars, row.evidence)
    return [*(cell(word or "-", _LONG) for word in words), str(row.fix)]


def _row(each: Finding, place: int | None, *, short: bool = False) -> FindingRow:
    key = each.key
    return FindingRow(
        each.code,
        each.severity,
        plain(key.id, 40) if key else None,
        plain(key.last6_chars, 6) if key else None,
        plain(key.description, 32 if short else 64) if key else None,
        plain(each.evidence, _SHORT if short else _LONG),
        place,
    )


def _audit(
    app: App,
    report: Report,
    rows: list[FindingRow],
    calls: Sequence[Call],
    matching: Sequence[Finding],
    written: str | None,
) -> Audit:
    counts = Counter(each.code for each in report.findings)
    severities = Counter(each.severity for each in report.findings)
    return Audit(
        total=report.total,
        admin=report.admin,
        severities={name: severities[name] for name in SEVERITIES if severities[name]},
        counts={code: counts[code] for code in MEANINGS if counts[code]},
        ages=dict(report.ages),
        last_uses=dict(report.uses),
        not_stated=dict(report.not_stated),
        own=[plain(key_id, 40) for key_id in report.own[:_OWN_SHOWN]],
        matching=len(matching),
        columns=list(FindingRow._fields),
        rows=rows,
        fixes=[
            Fix(tool=call.tool, arguments=dict(call.arguments), caution=plain(call.caution, _LONG) or None)
            for call in calls
        ],
        notes=_notes(app, calls, written),
        report=written,
    )


def _notes(app: App, calls: Sequence[Call], written: str | None) -> list[str]:
    notes = [f"All of it stands in {quoted(written, SHOWN_PATH)}, readable by you only."] if written else []
    if app.settings.policy.read_only:
        notes.append("The operator's policy is read only: the calls cannot be made from here.")
    elif hidden := sorted({call.tool for call in calls if not app.settings.policy.offers(call.tool)}):
        notes.append(f"The operator's policy does not offer {', '.join(hidden)}: that is for the operator to do.")
    return notes


def _head(report: Report, result: Audit) -> list[str]:
    """What every answer begins with."""
    by = ", ".join(f"{count} {name}" for name, count in result.severities.items()) or "none"
    lines = [
        f"{plural(report.total, 'active key')}, {report.admin} ADMIN. {plural(len(report.findings), 'finding')}: {by}.",
        f"Made: {_counted(report.ages)}. Last used: {_counted(report.uses)}.",
    ]
    if report.not_stated:
        lines.append(f"Not stated by Venice, so not checked: {_counted(report.not_stated)}.")
    if report.own:
        more = f" and {len(report.own) - _OWN_SHOWN} more" if len(report.own) > _OWN_SHOWN else ""
        never = "that" if len(report.own) == 1 else "those"
        lines.append(f"This server runs on {', '.join(result.own)}{more}; never revoke {never}.")
    return lines


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"


def _told(call: Call, *, short: bool = False) -> str:
    """A call in one line."""
    parts = [
        f"{name}={value if isinstance(value, str) and ' ' not in value else _compact(value)}"
        for name, value in call.arguments.items()
    ]
    caution = f" ({plain(call.caution, _SHORT if short else _LONG)})" if call.caution else ""
    return f"{call.tool} {' '.join(parts)}{caution}"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
