"""A diagnosis as a result: the answer first, as much besides as fits, and no call that policy does not offer."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from mcp_types import CallToolResult, ContentBlock

from venice_mcp.diagnosis.causes import BILLING_PAGE, Cause, Remedy
from venice_mcp.diagnosis.evidence import Evidence
from venice_mcp.diagnosis.report import Report, instant
from venice_mcp.models.diagnosis import CauseFound, Diagnosis, HitRow, Hits, PaceAdvice, PastedError, RemedyCall
from venice_mcp.policy.rules import Policy
from venice_mcp.text import cell, plain
from venice_mcp.tools.build import answer

MOST = 3_600
"""Characters of text and data together: 900 tokens."""
_HELD_KEY = "The pasted text held what looks like a key; it stands in this conversation now, so revoke that key."
_BY_ITSELF = "Only that key itself could tell whether Venice accepts it from its address, and what balances it sees."
# How much is shown, from all to as little as always fits: causes, whether with hits and log, characters of a reason.
_FITS = ((4, True, 120), (3, True, 120), (2, True, 120), (2, False, 60), (1, False, 60), (1, False, 12))


def answered(found: Report, policy: Policy, *, chart: ContentBlock | str | None) -> CallToolResult:
    """The result; causes and details are left out from the end until it fits."""
    every = [_offered(cause, policy) for cause in found.causes]
    text, result = "", None
    for most, details, reason in _FITS:
        evidence = found.evidence
        unread = {str(source): plain(why, reason) for source, why in evidence.unread.items()}
        result = _result(found, every[:most], unread, details=details)
        text = _text(found, every, most, unread, details=details)
        if _size(text, result) <= MOST:
            break
    if result is None:
        raise AssertionError("there is always a smallest form")
    if isinstance(chart, str):
        text = f"{text}\n{chart}"
    return answer(text, result, *([] if chart is None or isinstance(chart, str) else [chart]))


def _offered(cause: Cause, policy: Policy) -> Cause:
    """The cause with a remedy that this server offers."""
    remedy = cause.remedy
    if not remedy.tool or (policy.offers(remedy.tool) and not policy.read_only):
        return cause
    instead = f"the operator's policy does not offer that here, but a person can at {BILLING_PAGE}"
    words = f"{remedy.words.rstrip('.')}; {instead}."
    return replace(cause, remedy=Remedy(words))


def _size(text: str, result: Diagnosis) -> int:
    data = result.model_dump(mode="json", exclude_none=True)
    return sum(len(json.dumps(part, ensure_ascii=False, separators=(",", ":"))) for part in (text, data))


# --- in words -------------------------------------------------------------------------------------


def _text(found: Report, causes: Sequence[Cause], most: int, unread: dict[str, str], *, details: bool) -> str:
    evidence, now = found.evidence, found.evidence.now
    lines = [f"{causes[0].sentence}. {_told(causes[0], now)}"]
    lines += [f"Also ({each.state}, {each.sure}): {each.sentence}. {_told(each, now)}" for each in causes[1:most]]
    if len(causes) > most:
        lines.append(f"Left out: {len(causes) - most} less likely.")
    if details and len(found.timeline.starts) > 1:
        lines.append(f"Refusals in the log: {found.timeline.line()}.")
    lines += found.advice if details else found.advice[:3]
    if evidence.subject.kind is None and evidence.key is not None:
        lines.append(_BY_ITSELF)
    if unread:
        lines.append(f"Not read: {_by_reason(unread)}.")
    if evidence.pasted is not None and evidence.pasted.had_secret:
        lines.append(_HELD_KEY)
    return "\n".join(lines)


def _told(cause: Cause, now: datetime) -> str:
    """When it ends, what to do with the exact call, and how sure it is."""
    ends, remedy = cause.ending(now), cause.remedy
    do = remedy.words.rstrip(".")
    if remedy.tool:
        arguments = " ".join(f"{name}={_compact(value)}" for name, value in remedy.arguments.items())
        caution = f" ({remedy.caution})" if remedy.caution else ""
        do = f"{do}: {remedy.tool} {arguments}{caution}"
    sure = "" if cause.sure == "certain" else f"This is {cause.sure}."
    return " ".join(part for part in (f"Ends: {ends}." if ends else "", f"Do: {do}.", sure) if part)


def _compact(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _by_reason(unread: dict[str, str]) -> str:
    reasons: dict[str, list[str]] = {}
    for source, why in unread.items():
        reasons.setdefault(why, []).append(source)
    return "; ".join(f"{', '.join(sources)} ({why.rstrip('.')})" for why, sources in reasons.items())


# --- for programs ---------------------------------------------------------------------------------


def _result(found: Report, causes: Sequence[Cause], unread: dict[str, str], *, details: bool) -> Diagnosis:
    evidence = found.evidence
    return Diagnosis(
        key=evidence.subject.name(evidence.key) if evidence.subject.kind or evidence.subject.key_id else None,
        key_id=plain(evidence.key.id, 40) if evidence.key is not None else evidence.subject.key_id or None,
        model=plain(evidence.model, 80) if evidence.model else None,
        causes=[_cause(cause) for cause in causes],
        hits=_hits(found) if details and found.hits else None,
        pace=_pace(found),
        pasted=_pasted(evidence),
        unread=unread,
    )


def _cause(cause: Cause) -> CauseFound:
    remedy = cause.remedy
    call = RemedyCall(tool=remedy.tool, arguments=dict(remedy.arguments), caution=remedy.caution or None)
    return CauseFound(
        code=cause.code,
        state=cause.state,
        sure=cause.sure,
        sentence=f"{cause.sentence}.",
        numbers=dict(cause.numbers),
        ends_at=instant(cause.free_at) if cause.free_at is not None else None,
        ends=cause.ends or None,
        remedy=remedy.words,
        call=call if remedy.tool else None,
    )


def _hits(found: Report) -> Hits:
    line = found.timeline
    rows = [
        HitRow(cell(group.model, 60), group.kind, group.count, group.pattern, instant(group.last))
        for group in found.groups[:4]
    ]
    return Hits(
        total=len(found.hits),
        sample=found.full,
        columns=list(HitRow._fields),
        rows=rows,
        start=instant(line.starts[0]) if line.starts else None,
        width_s=line.width_s if line.starts else None,
        counts=list(line.counts),
    )


def _pace(found: Report) -> PaceAdvice | None:
    if found.pace is None or found.pace.pace.impossible:
        return None
    pace = found.pace.pace
    return PaceAdvice(
        model=cell(found.pace.model, 80),
        bound_by=pace.bound_by,
        requests_per_minute=pace.requests_per_minute,
        spacing_s=pace.spacing_s,
        concurrency=pace.concurrency,
        at_once=pace.burst,
        tokens_per_request=pace.tokens_per_request,
        latency_s=pace.latency_s,
    )


def _pasted(evidence: Evidence) -> PastedError | None:
    pasted = evidence.pasted
    if pasted is None:
        return None
    return PastedError(
        status=pasted.status,
        said=plain(pasted.said, 100) or None,
        read_as=pasted.shape,
        had_secret=pasted.had_secret,
    )
