"""Why is a key limited: the answer, its evidence, when it ends and what to do."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import anyio.to_thread
from mcp_types import CallToolResult, ContentBlock
from pydantic import AfterValidator, Field, model_validator

from venice_mcp.app import App, Ctx, app_of
from venice_mcp.diagnosis.causes import Cause
from venice_mcp.diagnosis.evidence import Evidence, Subject, gather
from venice_mcp.diagnosis.pasted import Pasted, read_pasted
from venice_mcp.diagnosis.report import Report, report, since
from venice_mcp.errors import VeniceError
from venice_mcp.models.diagnosis import (
    CauseFound,
    Diagnosis,
    HitRow,
    Hits,
    PaceAdvice,
    PastedError,
    RemedyCall,
)
from venice_mcp.settings import KeyKind
from venice_mcp.store import StoreError
from venice_mcp.store.remembered import Remembered, remembered
from venice_mcp.text import cell, plain
from venice_mcp.tools.arguments import Arguments
from venice_mcp.tools.build import answer
from venice_mcp.tools.fields import KeyId, KeyType, clean_text, problem_at

MOST = 3_600
"""Characters of text and data together: 900 tokens."""
_PASTE = 20_000
_MARK = "[redacted"
_HELD_KEY = "The pasted text held what looks like a key; it stands in this conversation now, so revoke that key."
_BY_ITSELF = (
    "Only that key itself could tell whether Venice accepts it from its own address, and what balances it sees."
)


class Diagnose(Arguments):
    PASTED_FIELDS = frozenset({"error"})

    model: (
        Annotated[str, Field(max_length=120, description="Model id of the failing calls"), AfterValidator(clean_text)]
        | None
    ) = None
    error: (
        Annotated[
            str,
            Field(max_length=_PASTE, description="The error as it came: status, headers, body, e.g. curl -i output"),
        ]
        | None
    ) = None
    api_key_type: Annotated[KeyType, Field(description="The key this server holds; default INFERENCE")] | None = None
    key_id: Annotated[KeyId, Field(description="Or any other key of the account")] | None = None
    tokens_per_request: (
        Annotated[float, Field(gt=0, le=1e8, description="For the pace; default: from usage")] | None
    ) = None
    latency_s: Annotated[float, Field(gt=0, le=86400, description="Likewise")] | None = None

    chart: Annotated[bool, Field(description="Add a PNG of the refusals")] = False

    @model_validator(mode="after")
    def _one_key(self) -> "Diagnose":
        if self.key_id is not None and self.api_key_type is not None:
            raise problem_at("key_id", "give key_id or api_key_type, not both")
        return self


async def venice_diagnose(args: Diagnose, ctx: Ctx) -> Annotated[CallToolResult, Diagnosis]:
    """Answer why calls fail with 401, 402, 403, 429 or 503 or are slow to be let in: ranked causes with evidence, when
    each ends, what to do, and a pace that fits. Pass the whole error when there is one. Changes nothing."""
    app = app_of(ctx)
    pasted = read_pasted(args.error, app.redactor, app.now()) if args.error else None
    subject = await _subject(app, args, pasted)
    if subject is None:
        raise VeniceError(
            "This server holds no key to ask Venice with, and no error was pasted.",
            next_step="Pass the error, or configure a key (venice_status says how).",
            code="key_missing",
        )
    evidence = await gather(
        app.client,
        subject,
        model=args.model or (pasted.model if pasted is not None else None),
        pasted=pasted,
        past=await _past(app, subject),
        with_usage=args.tokens_per_request is None or args.latency_s is None,
    )
    found = report(evidence, tokens_per_request=args.tokens_per_request, latency_s=args.latency_s)
    had_secret = pasted is not None and (pasted.had_secret or _MARK in (args.error or ""))
    return _answer(found, had_secret=had_secret, chart=await _chart(found) if args.chart else None)


async def _chart(found: Report) -> ContentBlock | str:
    """Refusals in the log over time, by limit; or why there is no such picture."""
    if not found.hits:
        return "No chart: no refusal in the log concerns this key."
    from venice_mcp.charts import chart_part  # only when one is asked for

    line = found.timeline
    labels = [f"{start:%m-%d %H:%M}" if line.width_s >= 60 else f"{start:%H:%M:%S}" for start in line.starts]
    series: dict[str, list[float]] = {}
    for hit in found.hits:
        bars = series.setdefault(hit.kind, [0.0] * len(labels))
        bars[bisect_right(line.starts, hit.at) - 1] += 1
    return await chart_part("Refusals in Venice's log (UTC)", labels, series, y_label="refusals")


# --- which key ------------------------------------------------------------------------------------


async def _subject(app: App, args: Diagnose, pasted: Pasted | None) -> Subject | None:
    """The key that was named, or the weakest one at hand; without any, an error may still tell something."""
    held = {
        kind: secret.last6
        for kind in ("INFERENCE", "ADMIN")
        if (secret := (await app.client.keys.get(kind)).secret) is not None
    }
    if args.key_id is not None:
        return Subject(None, args.key_id)
    wanted: Sequence[KeyKind] = (args.api_key_type,) if args.api_key_type is not None else ("INFERENCE", "ADMIN")
    for kind in wanted:
        if kind in held:
            return Subject(kind, last6=held[kind])
    if args.api_key_type is not None:
        raise VeniceError(
            f"This server holds no {args.api_key_type} key.",
            next_step="venice_status tells which keys it holds; name another key by key_id.",
            code="key_missing",
        )
    return Subject(None) if pasted is not None else None


async def _past(app: App, subject: Subject) -> tuple[Remembered, ...]:
    """What the local record knows of the key, should Venice not list it any more."""

    def fits(each: Remembered) -> bool:
        if subject.key_id:
            return each.key_id == subject.key_id
        return bool(subject.last6) and each.last6 == subject.last6 and each.api_key_type in ("", subject.kind)

    try:
        account = await app.client.keys.account()
        return tuple(await anyio.to_thread.run_sync(remembered, app.store.record, account, fits))
    except StoreError:
        return ()


# --- the answer -----------------------------------------------------------------------------------


def _answer(found: Report, *, had_secret: bool, chart: ContentBlock | str | None) -> CallToolResult:
    """As much as fits: causes, then details, are left out from the end."""
    shown, details = min(4, len(found.causes)), True
    while True:
        result = _result(found, found.causes[:shown], details=details, had_secret=had_secret)
        text = _text(found, found.causes[:shown], details=details, had_secret=had_secret)
        if _size(text, result) <= MOST or (shown == 1 and not details):
            if isinstance(chart, str):
                text = f"{text}\n{chart}"
            return answer(text, result, *([] if chart is None or isinstance(chart, str) else [chart]))
        shown, details = (shown - 1, details) if shown > 2 else (shown, False) if details else (1, False)


def _size(text: str, result: Diagnosis) -> int:
    data = result.model_dump(mode="json", exclude_none=True)
    return sum(len(json.dumps(part, ensure_ascii=False, separators=(",", ":"))) for part in (text, data))


def _text(found: Report, causes: Sequence[Cause], *, details: bool, had_secret: bool) -> str:
    now, evidence = found.evidence.now, found.evidence
    lines = [f"{causes[0].sentence}. {_told(causes[0], now)}"]
    lines += [f"Also ({cause.state}, {cause.sure}): {cause.sentence}. {_told(cause, now)}" for cause in causes[1:]]
    if len(found.causes) > len(causes):
        lines.append(f"{len(found.causes) - len(causes)} lesser ones are left out.")
    if len(found.timeline.starts) > 1 and details:
        lines.append(f"Refusals in the log: {found.timeline.line()}.")
    lines += found.advice if details else found.advice[:3]
    if evidence.subject.kind is None and evidence.key is not None:
        lines.append(_BY_ITSELF)
    if unread := _unread(evidence):
        lines.append(f"Not read: {unread}.")
    if had_secret:
        lines.append(_HELD_KEY)
    return "\n".join(lines)


def _told(cause: Cause, now: datetime) -> str:
    """When it ends, what to do with the exact call, and how sure it is."""
    ends = cause.ending(now)
    remedy = cause.remedy
    do = remedy.words.rstrip(".")
    if remedy.tool:
        arguments = " ".join(f"{name}={_compact(value)}" for name, value in remedy.arguments.items())
        caution = f" ({remedy.caution})" if remedy.caution else ""
        do = f"{do}: {remedy.tool} {arguments}{caution}"
    parts = [
        f"Ends: {ends}." if ends else "",
        f"Do: {do}.",
        "" if cause.sure == "certain" else f"This is {cause.sure}.",
    ]
    return " ".join(part for part in parts if part)


def _compact(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _unread(evidence: Evidence) -> str:
    """What could not be read, by reason."""
    reasons: dict[str, list[str]] = {}
    for source, why in evidence.unread.items():
        reasons.setdefault(why, []).append(source)
    return "; ".join(f"{', '.join(sources)} ({why.rstrip('.')})" for why, sources in reasons.items())


def _result(found: Report, causes: Sequence[Cause], *, details: bool, had_secret: bool) -> Diagnosis:
    evidence, pasted, pace = found.evidence, found.evidence.pasted, found.pace
    return Diagnosis(
        answer=f"{causes[0].sentence}.",
        key=evidence.subject.name(evidence.key) if evidence.subject.kind or evidence.subject.key_id else None,
        key_id=plain(evidence.key.id, 40) if evidence.key is not None else evidence.subject.key_id or None,
        model=plain(evidence.model, 80) if evidence.model else None,
        causes=[_cause(cause, found) for cause in causes],
        hits=_hits(found) if details and found.hits else None,
        pace=None
        if pace is None or pace.impossible
        else PaceAdvice(
            bound_by=pace.bound_by,
            requests_per_minute=pace.requests_per_minute,
            spacing_s=pace.spacing_s,
            concurrency=pace.concurrency,
            tokens_per_request=pace.tokens_per_request,
            latency_s=pace.latency_s,
        ),
        pasted=None
        if pasted is None
        else PastedError(
            status=pasted.status,
            said=plain(pasted.said, 100) or None,
            read_as=pasted.shape,
            had_secret=had_secret,
        ),
        unread={str(source): why for source, why in evidence.unread.items()},
    )


def _cause(cause: Cause, found: Report) -> CauseFound:
    remedy = cause.remedy
    return CauseFound(
        code=cause.code,
        state=cause.state,
        sure=cause.sure,
        sentence=f"{cause.sentence}.",
        numbers=dict(cause.numbers),
        ends_at=since(cause.free_at) if cause.free_at is not None else None,
        ends=cause.ends or None,
        remedy=remedy.words,
        call=RemedyCall(tool=remedy.tool, arguments=dict(remedy.arguments), caution=remedy.caution or None)
        if remedy.tool
        else None,
    )


def _hits(found: Report) -> Hits:
    line = found.timeline
    rows = [
        HitRow(cell(group.model, 60), group.kind, group.count, group.pattern, since(group.last))
        for group in found.groups[:4]
    ]
    return Hits(
        total=len(found.hits),
        sample=found.full,
        columns=list(HitRow._fields),
        rows=rows,
        start=since(line.starts[0]) if line.starts else None,
        width_s=line.width_s if line.starts else None,
        counts=list(line.counts),
    )
