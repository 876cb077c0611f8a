"""The findings as a Markdown report, and as few calls as mend them.

Descriptions are other people's words. In Markdown they stand in code spans, where nothing is a link, a tag, a heading
or the end of a cell; everything else is escaped.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from venice_mcp.text import cell, plain, plural
from venice_mcp.workflows.hygiene import MEANINGS, SEVERITIES, Finding, Report
from venice_mcp.workflows.remedies import BULK, MOST_IN_BULK, Call

# A dot before a letter would make a link of a bare host name.
_MARKUP = re.compile(r"\.(?=[A-Za-z])|[!\"#$&*+:<=>?@\[\\\]^_`{|}~]")


def in_bulk(findings: Sequence[Finding]) -> tuple[list[Call], list[int]]:
    """Calls that mend these findings, and for each finding the place of its call; what several keys share is one call.

    ADMIN keys are not mixed with others, and a key this server runs on stands alone.
    """
    alike: dict[str, list[int]] = {}
    for place, each in enumerate(findings):
        change = {name: value for name, value in each.fix.arguments.items() if name != "key_id"}
        shared = _in_bulk(each.fix) and not each.own
        kind = each.key.api_key_type if each.key else ""
        name = repr((each.code, each.fix.tool, change, each.fix.caution, kind)) if shared else f"alone {place}"
        alike.setdefault(name, []).append(place)
    calls: list[Call] = []
    where = [0] * len(findings)
    for places in alike.values():
        for start in range(0, len(places), MOST_IN_BULK):
            part = places[start : start + MOST_IN_BULK]
            fix = findings[part[0]].fix
            if len(part) > 1:
                ids = list(dict.fromkeys(findings[place].fix.arguments["key_id"] for place in part))
                change = {name: value for name, value in fix.arguments.items() if name != "key_id"}
                fix = Call(BULK[fix.tool], {"key_ids": ids, **change}, fix.caution)
            for place in part:
                where[place] = len(calls)
            calls.append(fix)
    return calls, where


def markdown(report: Report, place: str) -> str:
    """The whole report. `place` says which Venice it is about."""
    head = [
        "# Venice API key audit",
        "",
        f"{report.at:%Y-%m-%d %H:%M} UTC, {escaped(place)}: {plural(report.total, 'active key')}, {report.admin} ADMIN,"
        f" {plural(len(report.findings), 'finding')}. Every call below asks a person before it changes anything.",
        "",
        f"Age: {_listed(report.ages)}. Last use: {_listed(report.uses)}.",
    ]
    if report.not_stated:
        head += ["", f"Not stated by Venice, so not checked: {_listed(report.not_stated)}."]
    if report.own:
        head += ["", "This server runs on: " + ", ".join(coded(key_id, 40) for key_id in report.own) + "."]
    rows = [
        f"| {severity} | {code} | {len(found)} | {escaped(MEANINGS[code])} |"
        for severity in SEVERITIES
        for code in MEANINGS
        if (found := report.of(code, severity))
    ]
    head += ["", "| Severity | Code | Findings | Meaning |", "| --- | --- | --- | --- |", *rows] if rows else []
    return "\n".join([*head, *(line for code in MEANINGS for line in _section(report, code))]) + "\n"


def _section(report: Report, code: str) -> Iterator[str]:
    findings = report.of(code)
    if not findings:
        return
    calls, where = in_bulk(findings)
    yield from ("", f"## {code}: {escaped(MEANINGS[code])}", "")
    yield "| Severity | Key | Last six | Id | Evidence | Call |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for finding, call in zip(findings, where, strict=True):
        key = finding.key
        named = [coded(key.description, 64), coded(key.last6_chars, 6), coded(key.id, 40)] if key else ["all", "", ""]
        own = " (this server runs on it)" if finding.own else ""
        yield f"| {finding.severity} | {' | '.join(named)} | {escaped(finding.evidence)}{own} | {call + 1} |"
    for number, call in enumerate(calls, 1):
        caution = f" ({escaped(call.caution)})" if call.caution else ""
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        # JSON in one line: no line of it can end the fence.
        yield from ("", f"Call {number}: {escaped(call.tool)}{caution}", "", "```json", arguments, "```")


def coded(text: str, limit: int) -> str:
    """Somebody else's words in a code span, which nothing in them can end."""
    return f"`{cell(text, limit).replace('`', chr(39))}`"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in a line of its own or in a cell."""
    line = plain(text, 600).replace("@", "(at)")
    return _MARKUP.sub(lambda mark: f"\\{mark[0]}", line)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{escaped(name)}: {count}" for name, count in counts.items()) or "nothing"


def _in_bulk(fix: Call) -> bool:
    """Whether the same could be done to several keys at once; no two keys should be called the same."""
    return fix.tool in BULK and "key_id" in fix.arguments and "description" not in fix.arguments
