"""How to call a model so that it stays inside its limits: spacing and concurrency."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from venice_mcp.models.wire import RateLimitsData, UsageEntry

Bound = Literal["RPM", "TPM", "RPD"]

HEADROOM = 0.9
"""Clocks differ, and requests arrive less evenly than they were sent: a tenth is left for that."""
SHORTEST_DAY_S = 3600.0
"""If the day's requests last less than an hour at the pace per minute, it is the day that sets the pace."""
FEWEST = 3
"""A median of fewer requests says nothing."""
_MINUTE_S, _DAY_S = 60.0, 86400.0


def _usable(value: float | None, below: float = math.inf) -> float | None:
    return value if value is not None and 0 < value < below else None


# --- limits ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """Requests a minute and a day, tokens a minute; None where Venice states none."""

    rpm: float | None = None
    rpd: float | None = None
    tpm: float | None = None


def limits_for(data: RateLimitsData, model: str) -> Limits | None:
    """What Venice states for the model: the exact id, else in any case. Of several entries of a type the lowest."""
    entries = [item for item in data.rate_limits if model and item.api_model_id == model]
    if not entries:
        folded = model.casefold()
        entries = [item for item in data.rate_limits if folded and (item.api_model_id or "").casefold() == folded]
    found: dict[str, float] = {}
    for limit in (limit for item in entries for limit in item.rate_limits):
        name, value = limit.type.strip().upper(), _usable(limit.amount)
        if name in ("RPM", "RPD", "TPM") and value is not None:
            found[name] = min(value, found.get(name, value))
    return Limits(found.get("RPM"), found.get("RPD"), found.get("TPM")) if found else None


# --- the size of requests --------------------------------------------------------------------------


@dataclass(frozen=True)
class Typical:
    """Requests of a model as the ledger has them. Tokens are prompt and completion together; None where fewer than
    three requests tell. For a pace take `tokens_p90` (a minute's requests may all be large) and `latency_median_s`."""

    count: int
    tokens_median: float | None
    tokens_p90: float | None
    latency_median_s: float | None
    latency_p90_s: float | None


class _Request(NamedTuple):
    prompt: int
    completion: int
    milliseconds: int

    def with_row(self, other: "_Request") -> "_Request":
        return _Request(*(max(pair) for pair in zip(self, other, strict=True)))


def typical(entries: Iterable[UsageEntry], model: str) -> Typical | None:
    """Median and 90th percentile over the requests of a model; None below three.

    A request has several rows (input, output, cache), which share its id and each repeat its details. Rows without an
    id cannot be told apart and are left out.
    """
    requests: dict[str, _Request] = {}
    for entry in entries:
        details = entry.inference_details
        if details is None or not details.request_id or not _bills(entry.sku, model):
            continue
        row = _Request(
            details.prompt_tokens or 0, details.completion_tokens or 0, details.inference_execution_time or 0
        )
        known = requests.get(details.request_id)
        requests[details.request_id] = known.with_row(row) if known else row
    if len(requests) < FEWEST:
        return None
    tokens = [some.prompt + some.completion for some in requests.values()]
    seconds = [some.milliseconds / 1000 for some in requests.values()]
    return Typical(len(requests), *_middle_and_p90(tokens), *_middle_and_p90(seconds))


def _bills(sku: str, model: str) -> bool:
    """Whether a sku is of the model: `<id>-llm-input-mtoken` (the id may be followed by -api) or `<id>-image-unit`.

    kimi-k2 is not billed by kimi-k2-6-llm-input-mtoken, so with `-llm-` all before it must be the id.
    """
    sku, model = sku.casefold(), model.casefold()
    served, llm, _ = sku.rpartition("-llm-")
    if not model:
        return False
    return served in (model, f"{model}-api") if llm else sku == model or sku.startswith(f"{model}-")


def _middle_and_p90(values: Iterable[float]) -> tuple[float | None, float | None]:
    known = sorted(value for value in values if value > 0)
    if len(known) < FEWEST:
        return None, None
    return float(statistics.median(known)), float(known[math.ceil(0.9 * len(known)) - 1])


# --- the pace --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pace:
    """How requests may follow each other. Windows slide; requests and tokens count when a request starts.

    Attributes:
        allowed: requests a second that each limit allows, headroom taken off. A limit whose part is unknown is missing.
        impossible: one request alone is above TPM, so no pace fits; the numbers below are then 0 or None.
        requests_per_minute: rounded down; below 1 if a request must wait longer than a minute.
        spacing_s: from the start of one request to the start of the next.
        concurrency: how many are under way at once at that spacing if each takes `latency_s`.
        keep_spacing: whether so many workers without a spacing could still run into the limit. Only true of requests
            that take `latency_s` or longer.
        burst: how many may start at once after a quiet minute, if none follows for a minute.
        requests_per_day: RPD with headroom.
        all_day_spacing_s: the spacing that lasts for 24 h, no closer than `spacing_s`.
        day_lasts_s: how long `requests_per_day` last at the pace that RPM and TPM allow, 86400 at most.
        tokens_allowed: if the size of requests is unknown, what each may have at this pace without exceeding TPM.
    """

    bound_by: Bound
    allowed: Mapping[Bound, float]
    impossible: bool = False
    requests_per_minute: float = 0.0
    spacing_s: float | None = None
    concurrency: int | None = None
    keep_spacing: bool | None = None
    burst: int = 0
    requests_per_day: int | None = None
    all_day_spacing_s: float | None = None
    day_lasts_s: float | None = None
    tokens_per_request: float | None = None
    latency_s: float | None = None
    tokens_allowed: int | None = None


def advise(
    limits: Limits, *, tokens_per_request: float | None, latency_s: float | None, headroom: float = HEADROOM
) -> Pace | None:
    """The pace that stays inside the limits; None if they and the request's size tell nothing to go by.

    Raises:
        ValueError: headroom is not within 0 (excluded) and 1.
    """
    if not 0 < headroom <= 1:
        raise ValueError("headroom must be above 0 and at most 1")
    tokens, latency = _usable(tokens_per_request), _usable(latency_s, _DAY_S)
    rpm, tpm, rpd = _usable(limits.rpm), _usable(limits.tpm), _usable(limits.rpd)
    tokens = max(tokens, 1.0) if tokens is not None else None
    # Whole requests: two of 0.6 TPM do not fit a minute, though 1.5 of them would on average.
    whole: dict[Bound, float] = {}
    if rpm is not None:
        whole["RPM"] = _whole(rpm)
    if tpm is not None and tokens is not None:
        whole["TPM"] = math.floor(tpm / tokens)
    day = _whole(rpd) if rpd is not None else None
    allowed: dict[Bound, float] = {name: count * headroom / _MINUTE_S for name, count in whole.items()}
    if day is not None:
        allowed["RPD"] = day * headroom / _DAY_S
    if whole.get("TPM") == 0:
        return Pace("TPM", allowed, impossible=True, tokens_per_request=tokens, latency_s=latency)
    if not allowed:
        return None

    bound: Bound = min(whole, key=lambda name: whole[name]) if whole else "RPD"
    minute_spacing = _up(_MINUTE_S / (whole[bound] * headroom)) if whole else 0.0
    a_day = max(1, math.floor(day * headroom)) if day is not None else None
    all_day = max(minute_spacing, _up(_DAY_S / (day * headroom))) if day is not None else None
    lasts = min(_DAY_S, a_day * minute_spacing) if a_day is not None and whole else None
    spacing, window_s, most = minute_spacing, _MINUTE_S, whole.get(bound, 0.0)
    if all_day is not None and day is not None and (lasts is None or lasts < SHORTEST_DAY_S):
        bound, spacing, window_s, most = "RPD", all_day, _DAY_S, day
    concurrency = max(1, math.ceil(round(latency / spacing, 9))) if latency is not None else None
    burst = max(1, math.floor(min(whole.values()) * headroom)) if whole else 1
    return Pace(
        bound_by=bound,
        allowed=allowed,
        requests_per_minute=_down(_MINUTE_S / spacing),
        spacing_s=spacing,
        concurrency=concurrency,
        keep_spacing=_overtakes(concurrency, latency, window_s, most),
        burst=min(burst, a_day) if a_day is not None else burst,
        requests_per_day=a_day,
        all_day_spacing_s=all_day,
        day_lasts_s=lasts,
        tokens_per_request=tokens,
        latency_s=latency,
        tokens_allowed=_share(tpm, spacing, headroom) if tpm is not None and tokens is None else None,
    )


def _whole(limit: float) -> float:
    """A window holds whole requests only. A limit below 1, which Venice does not set, is taken as a rate."""
    return math.floor(limit) if limit >= 1 else max(limit, 0.001)


def _up(seconds: float) -> float:
    """Rounded up to 0.01 s, and below 0.1 s, where that would cost too much, to 0.001 s."""
    steps = 100 if seconds >= 0.1 else 1000
    return max(1, math.ceil(round(seconds * steps, 9))) / steps


def _down(per_minute: float) -> float:
    """Rounded down to a whole number, below 10 to a tenth, below 1 to two digits."""
    places = 0 if per_minute >= 10 else 1 if per_minute >= 1 else 1 - math.floor(math.log10(per_minute))
    return math.floor(round(per_minute * 10**places, 6)) / 10**places


def _overtakes(concurrency: int | None, latency_s: float | None, window_s: float, most: float) -> bool | None:
    """Whether workers that start a request when the last has ended could start more than `most` within a window."""
    if concurrency is None or latency_s is None:
        return None
    return concurrency * math.ceil(window_s / max(latency_s, 0.001)) > most


def _share(tpm: float, spacing_s: float, headroom: float) -> int:
    return math.floor(tpm * headroom / math.ceil(round(_MINUTE_S / spacing_s, 9)))
