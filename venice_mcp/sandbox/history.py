"""Usage history: ascending pages of entries behind a signed cursor, as JSON or CSV."""

import base64
import csv
import hashlib
import hmac
import io
import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

from starlette.responses import JSONResponse, Response

from venice_mcp.sandbox import moments
from venice_mcp.sandbox.call import Call, JsonObject, as_object
from venice_mcp.sandbox.refusal import Problems, Refusal, invalid
from venice_mcp.sandbox.state import UsageEntry

CURRENCIES = ("USD", "DIEM", "BUNDLED_CREDITS")
MIN_PAGE, MAX_PAGE = 10, 1000
MAX_TIMESTAMP_LENGTH = 40
MAX_CURSOR_LENGTH = 512
# Cursors do expire at Venice; after how long is not stated.
CURSOR_LIFE = timedelta(hours=1)
_MAC_LENGTH = 16
_COLUMNS = (
    "timestamp",
    "sku",
    "pricePerUnitUsd",
    "units",
    "amount",
    "currency",
    "notes",
    "requestId",
    "promptTokens",
    "completionTokens",
    "inferenceExecutionTime",
)


@dataclass(frozen=True)
class Position:
    """Where a walk stands, with everything it was asked for."""

    start: float | None
    end: float | None
    currency: str | None
    size: int
    skip: int
    expires: float


def get_usage_history(call: Call) -> Response:
    position = _follow_up(call) if call.parameter("cursor") is not None else _first_page(call)
    matching = [entry for entry in call.account.usage if _matches(entry, position)]
    page = matching[position.skip : position.skip + position.size]
    end = position.skip + len(page)
    cursor = None
    if end < len(matching):
        onward = replace(position, skip=end, expires=_expiry(call.at))
        cursor = _sealed(onward, call.account.signing_key)
    data = [_shape(entry) for entry in page]
    if "text/csv" in call.headers.get("accept", "").lower():
        return _csv(data, cursor, call.at)
    return JSONResponse({"data": data, "nextCursor": cursor})


def _first_page(call: Call) -> Position:
    problems = Problems()
    bounds: dict[str, float | None] = {"startTimestamp": None, "endTimestamp": None}
    for name in bounds:
        given = call.parameter(name)
        if given is not None:
            at = moments.read_timestamp(given) if len(given) <= MAX_TIMESTAMP_LENGTH else None
            bounds[name] = at.timestamp() if at else None
            if at is None:
                problems.add((name,), "Invalid datetime")
    start, end = bounds["startTimestamp"], bounds["endTimestamp"]
    if start is not None and end is not None and start >= end:
        problems.add(("endTimestamp",), "endTimestamp must be later than startTimestamp")
    currency = call.parameter("currency")
    if currency is not None and currency not in CURRENCIES:
        problems.add(("currency",), "Invalid enum value")
    size = call.parameter_or("pageSize", str(MAX_PAGE))
    if not (size.isascii() and size.isdigit() and len(size) <= 4 and MIN_PAGE <= int(size) <= MAX_PAGE):
        problems.add(("pageSize",), f"Expected an integer from {MIN_PAGE} to {MAX_PAGE}")
    problems.settle()
    return Position(start, end, currency, int(size), 0, _expiry(call.at))


def _follow_up(call: Call) -> Position:
    others = sorted({name for name, _ in call.query} - {"cursor"})
    if others:
        raise invalid({name: ["Not allowed together with cursor"] for name in others})
    position = _unsealed(call.parameter_or("cursor", ""), call.account.signing_key)
    if position is None or call.at.timestamp() >= position.expires:
        raise invalid({"cursor": ["Invalid or expired cursor"]})
    return position


def _expiry(at: datetime) -> float:
    return (at + CURSOR_LIFE).timestamp()


def _sealed(position: Position, signing_key: str) -> str:
    payload = json.dumps(asdict(position), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_mac(payload, signing_key) + payload).rstrip(b"=").decode()


def _unsealed(cursor: str, signing_key: str) -> Position | None:
    if not 0 < len(cursor) <= MAX_CURSOR_LENGTH:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    # Decoding forgives stray bits in the last character; an altered cursor must not pass because of it.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != cursor:
        return None
    mac, payload = raw[:_MAC_LENGTH], raw[_MAC_LENGTH:]
    if not hmac.compare_digest(mac, _mac(payload, signing_key)):
        return None
    return Position(**json.loads(payload))


def _mac(payload: bytes, signing_key: str) -> bytes:
    return hmac.new(signing_key.encode(), b"usage-history:" + payload, hashlib.sha256).digest()[:_MAC_LENGTH]


def _matches(entry: UsageEntry, position: Position) -> bool:
    at = entry.at.timestamp()
    return (
        (position.start is None or at >= position.start)
        and (position.end is None or at < position.end)
        and position.currency in (None, entry.currency)
    )


def _shape(entry: UsageEntry) -> JsonObject:
    inference = entry.inference
    return {
        "amount": -entry.cost,
        "currency": entry.currency,
        "inferenceDetails": None
        if inference is None
        else {
            "completionTokens": inference.completion_tokens,
            "inferenceExecutionTime": inference.execution_ms,
            "promptTokens": inference.prompt_tokens,
            "requestId": inference.request_id,
        },
        "notes": "API Inference" if entry.key_id else "Web App",
        "pricePerUnitUsd": entry.price_usd,
        "sku": entry.sku,
        "timestamp": moments.wire(entry.at),
        "units": entry.units,
    }


def _csv(data: list[JsonObject], cursor: str | None, at: datetime) -> Response:
    out = io.StringIO()
    # The columns are ours: Venice names none.
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for entry in data:
        flat: JsonObject = entry | (as_object(entry["inferenceDetails"]) or {})
        writer.writerow([flat.get(column) for column in _COLUMNS])
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S") + f"{at.microsecond // 1000:03d}Z"
    headers = {"Content-Disposition": f"attachment; filename=billing-usage-history-{stamp}.csv"}
    if cursor is not None:
        headers["x-next-cursor"] = cursor
    return Response(out.getvalue(), headers=headers, media_type="text/csv")


def get_sunset_usage(_call: Call) -> Response:
    headers = {
        "Deprecation": "@1783555200",
        "Sunset": "Wed, 16 Sep 2026 00:00:00 GMT",
        "Link": '</api/v1/billing/usage-history>; rel="successor-version"',
    }
    raise Refusal(410, "This endpoint is gone; use /api/v1/billing/usage-history", headers=headers)
