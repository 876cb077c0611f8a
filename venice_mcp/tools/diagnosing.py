"""Why is a key limited: the answer, its evidence, when it ends and what to do."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import anyio.to_thread
from mcp_types import CallToolResult, ContentBlock
from pydantic import AfterValidator, Field, model_validator

from venice_mcp.app import App, Ctx, app_of
from venice_mcp.errors import VeniceError
from venice_mcp.models.diagnosis import Diagnosis
from venice_mcp.settings import KeyKind
from venice_mcp.store import StoreError
from venice_mcp.store.remembered import Remembered, remembered
from venice_mcp.tools.arguments import Arguments
from venice_mcp.tools.fields import KeyId, KeyType, clean_text, problem_at

if TYPE_CHECKING:
    from venice_mcp.diagnosis.evidence import Subject
    from venice_mcp.diagnosis.pasted import Pasted
    from venice_mcp.diagnosis.report import Report

_PASTE = 20_000


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
    # Its tables of words take a start-up without a diagnosis 35 ms.
    from venice_mcp.diagnosis.evidence import gather
    from venice_mcp.diagnosis.pasted import read_pasted
    from venice_mcp.diagnosis.report import report
    from venice_mcp.tools.diagnosis_answer import answered

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
    return answered(found, app.settings.policy, chart=await _chart(found) if args.chart else None)


async def _chart(found: "Report") -> ContentBlock | str:
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


async def _subject(app: App, args: Diagnose, pasted: "Pasted | None") -> "Subject | None":
    """The key that was named, or that the error names, or the weakest one at hand; without any, an error may still
    tell something."""
    from venice_mcp.diagnosis.evidence import Subject  # see venice_diagnose

    held = {
        kind: secret.last6
        for kind in ("INFERENCE", "ADMIN")
        if (secret := (await app.client.keys.get(kind)).secret) is not None
    }
    key_id = args.key_id
    if key_id is None and args.api_key_type is None and pasted is not None and "ADMIN" in held:
        key_id = pasted.key_id
    if key_id is not None:
        seen = app.client.seen.get(key_id)
        if seen is not None and held.get(seen.api_key_type) == seen.last6_chars:
            return Subject("ADMIN" if seen.api_key_type == "ADMIN" else "INFERENCE", key_id, seen.last6_chars)
        return Subject(None, key_id)
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


async def _past(app: App, subject: "Subject") -> tuple[Remembered, ...]:
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
