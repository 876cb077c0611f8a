"""Usage added up by day, model and key. Every number is a sum over the same entries as the history."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.responses import JSONResponse, Response

from venice_mcp.sandbox import moments
from venice_mcp.sandbox.call import Call, JsonObject
from venice_mcp.sandbox.catalogue import MODELS_BY_ID
from venice_mcp.sandbox.refusal import invalid
from venice_mcp.sandbox.state import Account, UsageEntry

MAX_DAYS = 90
TOP = 8
WEB_APP = "Web App"
_LOOKBACK = re.compile(r"[1-9][0-9]{0,5}d")
_UNIT_TYPES = {"text": "tokens", "embedding": "tokens", "image": "images", "video": "seconds"}
_MODEL_TYPES = {"text": "LLM", "embedding": "Embedding", "image": "Image", "video": "Video"}


@dataclass(frozen=True)
class Span:
    label: str
    first: datetime
    last: datetime

    @property
    def days(self) -> list[datetime]:
        count = (self.last - self.first).days + 1
        return [self.first + timedelta(days=number) for number in range(count)]


def get_usage_analytics(call: Call) -> Response:
    span = _span(call)
    entries = [entry for entry in call.account.usage if span.first <= moments.day_start(entry.at) <= span.last]
    by_day = _grouped(entries, lambda entry: moments.wire(moments.day_start(entry.at))[:10])
    by_model = _grouped(entries, lambda entry: MODELS_BY_ID[entry.model_id].name)
    by_key = _grouped(entries, lambda entry: entry.key_id or "")
    by_key_name = _grouped(entries, lambda entry: _key_name(call.account, entry.key_id))
    top_models, top_keys = _top(by_model), _top(by_key_name)
    days = list(reversed(span.days))
    return JSONResponse(
        {
            "lookback": span.label,
            "byDate": [_day_row(day, by_day) for day in days],
            "byModel": [_model_row(name, group) for name, group in by_model.items()],
            "byModelDaily": [_daily_row(day, by_model, top_models) for day in days],
            "topModels": top_models,
            "byKey": [_key_row(call.account, key_id or None, group) for key_id, group in by_key.items()],
            "byKeyDaily": [_daily_row(day, by_key_name, top_keys) for day in days],
            "topKeyNames": top_keys,
        }
    )


def _span(call: Call) -> Span:
    start_text, end_text = call.parameter("startDate"), call.parameter("endDate")
    if start_text is None and end_text is None:
        return _looking_back(call.parameter_or("lookback", "7d"), call.at)
    if start_text is None or end_text is None:
        missing = "startDate" if start_text is None else "endDate"
        raise invalid({missing: ["startDate and endDate must be given together"]})
    if call.parameter("lookback") is not None:
        raise invalid({"lookback": ["Not allowed together with startDate and endDate"]})
    start, end = moments.read_date(start_text), moments.read_date(end_text)
    if start is None or end is None:
        raise invalid({"startDate" if start is None else "endDate": ["Invalid date"]})
    if not 0 <= (end - start).days < MAX_DAYS:
        raise invalid({"endDate": [f"Expected 1 to {MAX_DAYS} days from startDate on"]})
    return Span(f"{start_text}:{end_text}", start, end)


def _looking_back(lookback: str, at: datetime) -> Span:
    days = int(lookback[:-1]) if _LOOKBACK.fullmatch(lookback) else 0
    if not 1 <= days <= MAX_DAYS:
        raise invalid({"lookback": [f"Expected 1d to {MAX_DAYS}d"]})
    today = moments.day_start(at)
    return Span(lookback, today - timedelta(days=days - 1), today)


Groups = dict[str, list[UsageEntry]]


def _grouped(entries: Sequence[UsageEntry], name: Callable[[UsageEntry], str]) -> Groups:
    groups: defaultdict[str, list[UsageEntry]] = defaultdict(list)
    for entry in entries:
        groups[name(entry)].append(entry)
    return dict(sorted(groups.items(), key=lambda item: -_spent(item[1])))


def _top(groups: Groups) -> list[str]:
    return list(groups)[:TOP]


def _cost(entries: Iterable[UsageEntry], currency: str) -> float:
    return round(sum(entry.cost for entry in entries if entry.currency == currency), 8)


def _spent(entries: Sequence[UsageEntry]) -> float:
    """USD and DIEM together; bundled credits have no member in analytics."""
    return round(_cost(entries, "USD") + _cost(entries, "DIEM"), 8)


def _totals(entries: Sequence[UsageEntry]) -> JsonObject:
    return {
        "totalUsd": _cost(entries, "USD"),
        "totalDiem": _cost(entries, "DIEM"),
        "totalUnits": sum(entry.quantity for entry in entries),
    }


def _day_row(day: datetime, by_day: Groups) -> JsonObject:
    date = moments.wire(day)[:10]
    entries = by_day.get(date, [])
    return {"date": date, "USD": _cost(entries, "USD"), "DIEM": _cost(entries, "DIEM")}


def _model_row(name: str, entries: Sequence[UsageEntry]) -> JsonObject:
    kind = MODELS_BY_ID[entries[0].model_id].type
    row: JsonObject = {
        "modelName": name,
        "unitType": _UNIT_TYPES.get(kind, "units"),
        "modelType": _MODEL_TYPES.get(kind),
        **_totals(entries),
    }
    parts = _grouped(entries, lambda entry: entry.part)
    if len(parts) > 1:
        row["breakdown"] = [
            {
                "type": part,
                "usd": _cost(group, "USD"),
                "diem": _cost(group, "DIEM"),
                "units": sum(entry.quantity for entry in group),
            }
            for part, group in parts.items()
        ]
    return row


def _key_row(account: Account, key_id: str | None, entries: Sequence[UsageEntry]) -> JsonObject:
    return {"apiKeyId": key_id, "description": _key_name(account, key_id), **_totals(entries)}


def _key_name(account: Account, key_id: str | None) -> str:
    if key_id is None:
        return WEB_APP
    key = account.keys.get(key_id)
    return (key.description if key else None) or "Deleted API Key"


def _daily_row(day: datetime, groups: Groups, names: Sequence[str]) -> JsonObject:
    row: JsonObject = {"date": int(day.timestamp() * 1000)}
    for name in names:
        row[name] = _spent([entry for entry in groups[name] if moments.day_start(entry.at) == day])
    return row
