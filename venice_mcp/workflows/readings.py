"""Reading all that tells what was spent, at the same time, each with a failure of its own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TypeVar

import anyio

from venice_mcp.client import VeniceClient
from venice_mcp.client.hurry import answered_within
from venice_mcp.errors import VeniceError
from venice_mcp.models.wire import BalanceAnswer, Key, UsageEntry
from venice_mcp.text import plural, to_wire
from venice_mcp.workflows.spending import Period, Spend, from_analytics, from_ledger, midnight

ANALYTICS = "usage analytics"
LEDGER_PAGES = 3
_ANALYTICS_S, _LEDGER_S = 20.0, 10.0
"""One after the other they leave time for a chart."""

_HOPELESS = frozenset(
    {"blocked", "failure_budget", "forbidden", "key_missing", "rate_limited", "unauthenticated", "wrong_key_type"}
)
"""Refusals that the ledger would meet as well; to ask all the same would count as another failure."""

_ORDER = (ANALYTICS, "the ledger", "the period before", "keys and caps", "the balance")
T = TypeVar("T")


@dataclass
class Readings:
    """What could be read; `failed` says of the rest why not."""

    now: Spend | None = None
    before: Spend | None = None
    keys: list[Key] | None = None
    balance: BalanceAnswer | None = None
    failed: dict[str, VeniceError] = field(default_factory=dict[str, VeniceError])
    notes: list[str] = field(default_factory=list[str])


async def readings(client: VeniceClient, period: Period) -> Readings:
    """Everything at the same time; each may fail on its own.

    Raises:
        VeniceError: nothing at all could be read.
    """
    found = Readings()

    async def now() -> None:
        recent = _analytics(client, period.first, period.last, period.elapsed)
        found.now = await _tried(found, ANALYTICS, recent)
        error = found.failed.get(ANALYTICS)
        if error is not None and error.code not in _HOPELESS:
            found.now = await _tried(found, "the ledger", _ledger(client, period, found))

    async def before() -> None:
        found.before = await _tried(found, "the period before", _analytics(client, *period.before, period.days))

    async def keys() -> None:
        found.keys = await _tried(found, "keys and caps", client.list_api_keys)

    async def balance() -> None:
        found.balance = await _tried(found, "the balance", client.get_billing_balance)

    async with anyio.create_task_group() as group:
        with answered_within(_ANALYTICS_S, tries=2):
            for each in (now, before, keys, balance):
                group.start_soon(each)
    if found.now is None and found.before is None and found.keys is None and found.balance is None:
        raise found.failed["keys and caps"]
    # In the same order whichever came first.
    found.failed = {what: found.failed[what] for what in sorted(found.failed, key=_ORDER.index)}
    return found


async def _tried(found: Readings, what: str, read: Callable[[], Awaitable[T]]) -> T | None:
    try:
        return await read()
    except VeniceError as error:
        found.failed[what] = error
        return None


def _analytics(client: VeniceClient, first: date, last: date, days: float) -> Callable[[], Awaitable[Spend]]:
    async def read() -> Spend:
        query = {"startDate": first.isoformat(), "endDate": last.isoformat()}
        dates = Period((last - first).days + 1, midnight(last)).dates
        spend = from_analytics(await client.get_usage_analytics(query), dates, days)
        if spend is None:
            raise VeniceError(
                "Venice's answer names no days that can be read.",
                next_step="Call again.",
                code="unexpected_answer",
            )
        return spend

    return read


def _ledger(client: VeniceClient, period: Period, found: Readings) -> Callable[[], Awaitable[Spend]]:
    async def read() -> Spend:
        entries: list[UsageEntry] = []
        query = {
            "startTimestamp": to_wire(midnight(period.first)),
            # Not now: Venice is said to hang over windows of a few minutes, and refuses one that is empty.
            "endTimestamp": to_wire(midnight(period.last + timedelta(days=1))),
            "pageSize": "1000",
        }
        cut = False
        with answered_within(_LEDGER_S, tries=2):
            for number in range(LEDGER_PAGES):
                try:
                    page = await client.get_billing_usage(query)
                except VeniceError:
                    if not number:
                        raise
                    break
                entries += page.data
                cut = page.next_cursor is not None
                if page.next_cursor is None:
                    break
                query = {"cursor": page.next_cursor}
        spend = from_ledger(entries, period, cut=cut)
        if spend.until is not None:
            found.notes.append(
                f"Only a sample of the ledger was read: {plural(len(entries), 'row')}, up to"
                f" {spend.until:%Y-%m-%d %H:%M} UTC; rates are of that time."
            )
        return spend

    return read
