"""Made-up traffic: thirty days of bills, and the bursts that ran into rate limits."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from venice_mcp.sandbox import moments
from venice_mcp.sandbox.catalogue import MODELS_BY_ID, Model
from venice_mcp.sandbox.state import Inference, LimitHit, UsageEntry

DAYS = 30
_TOKENS_PER_UNIT = 1_000_000


class Repeatable(random.Random):
    """The same choices for the same seed. Only for made-up data; nothing that must stay secret."""


@dataclass(frozen=True)
class Habit:
    """What one key (or, without one, the web app) does each day."""

    key_id: str | None
    model_id: str
    calls_per_day: float
    currencies: tuple[str, ...]
    # How large its calls are, in thousands of tokens or in pictures.
    size: float = 4.0


@dataclass(frozen=True)
class Burst:
    key_id: str
    model_id: str
    kind: str
    count: int
    ago: timedelta
    apart_s: float


def bills(habits: Sequence[Habit], began_at: datetime, chance: Repeatable) -> tuple[UsageEntry, ...]:
    """Entries in ascending order, the newest a minute or more before the scenario began."""
    entries: list[UsageEntry] = []
    for day in range(DAYS):
        for habit in habits:
            calls = int(habit.calls_per_day + chance.random())
            for _ in range(calls):
                ago = timedelta(days=day, milliseconds=chance.randrange(60_000, 86_000_000))
                at = moments.as_shown(began_at - ago)
                entries.extend(_call(habit, MODELS_BY_ID[habit.model_id], at, chance))
    return tuple(sorted(entries, key=lambda entry: (entry.at, entry.sku)))


def _call(habit: Habit, model: Model, at: datetime, chance: Repeatable) -> list[UsageEntry]:
    currency = chance.choice(habit.currencies)
    if model.type not in ("text", "embedding"):
        return [_picture(habit, model, at, currency, max(1, round(habit.size * chance.random())))]
    quantities = {
        "Input": round(habit.size * 1000 * (0.25 + chance.random())),
        "Output": round(habit.size * 300 * (0.25 + chance.random())),
    }
    if model.type == "embedding":
        del quantities["Output"]
    inference = Inference(
        request_id=f"chatcmpl-{chance.getrandbits(128):032x}",
        prompt_tokens=quantities["Input"],
        completion_tokens=quantities.get("Output"),
        execution_ms=chance.randrange(300, 20_000),
    )
    return token_entries(habit.key_id, model, at, currency, quantities, inference)


def token_entries(
    key_id: str | None,
    model: Model,
    at: datetime,
    currency: str,
    quantities: Mapping[str, int],
    inference: Inference,
) -> list[UsageEntry]:
    """The lines of one call; `quantities` are the tokens of each part, Input and Output."""
    return [_tokens(key_id, model, at, currency, part, count, inference) for part, count in quantities.items()]


def _tokens(
    key_id: str | None, model: Model, at: datetime, currency: str, part: str, count: int, inference: Inference
) -> UsageEntry:
    price = model.prices[part.lower()]
    units = count / _TOKENS_PER_UNIT
    return UsageEntry(
        at=at,
        key_id=key_id,
        model_id=model.id,
        part=part,
        sku=f"{model.id}-llm-{part.lower()}-mtoken",
        price_usd=price,
        units=units,
        quantity=count,
        cost=round(units * price, 8),
        currency=currency,
        inference=inference,
    )


def _picture(habit: Habit, model: Model, at: datetime, currency: str, count: int) -> UsageEntry:
    price = model.prices["generation"]
    return UsageEntry(
        at=at,
        key_id=habit.key_id,
        model_id=model.id,
        part="Generation",
        sku=f"{model.id}-{model.type}-unit",
        price_usd=price,
        units=count,
        quantity=count,
        cost=round(count * price, 8),
        currency=currency,
        inference=None,
    )


def hits(bursts: Sequence[Burst], began_at: datetime) -> list[LimitHit]:
    """Newest first."""
    found = [
        LimitHit(
            burst.key_id,
            burst.model_id,
            burst.kind,
            began_at - burst.ago - timedelta(seconds=burst.apart_s * number),
        )
        for burst in bursts
        for number in range(burst.count)
    ]
    return sorted(found, key=lambda hit: hit.at, reverse=True)
