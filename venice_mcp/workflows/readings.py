"""Reading all that tells what was spent, at the same time, each with a failure of its own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TypeVar

import anyio

from venice_mcp.client import VeniceClient
from venice_mcp.client.hurry import answered_within, time_is_left, time_left
from venice_mcp.client.pace import MAX_WAIT_S, backoff
from venice_mcp.errors import VeniceError
from venice_mcp.models.wire import BalanceAnswer, Key, UsageEntry
from venice_mcp.text import plural, to_wire
from venice_mcp.workflows.spending import Period, Spend, from_analytics, from_ledger, midnight

ANALYTICS = "usage analytics"
LEDGER_PAGES = 3
SPARE = 3
"""Requests for second tries and further pages, beside the first of each kind: four, and one to the ledger."""

_ANALYTICS_S, _LEDGER_S = 20.0, 10.0
"""One after the other they leave time for a chart."""

_HOPELESS = frozenset(
    {"blocked", "failure_budget", "forbidden", "key_missing", "rate_limited", "unauthenticated", "wrong_key_type"}
)
"""Refusals that the ledger would meet as well; to ask all the same would count as another failure."""

_AGAIN = frozenset({"rate_limited", "unreachable", "upstream"})
"""Failures that may pass; `too_slow`, by which Venice asks for less, is none of them."""

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


@dataclass
class _Reader:
    """Reads once, and once more what may have failed by chance, as long as there are requests to spare."""

    sleep: Callable[[float], Awaitable[None]]
    found: Readings = field(default_factory=Readings)
    spare: int = SPARE

    def may_ask_again(self) -> bool:
        """Whether there is another request to spare, which then is spent."""
        self.spare -= 1
        return self.spare >= 0

    async def read(self, what: str, read: Callable[[], Awaitable[T]]) -> T | None:
        """What came of it, or None, with the reason in `found.failed`."""
        try:
            return await read()
        except VeniceError as error:
            failure = error
        pause = backoff(0) if failure.wait_s is None else failure.wait_s
        in_time = time_is_left() and pause <= time_left(MAX_WAIT_S, 0.0)
        if failure.code in _AGAIN and in_time and self.may_ask_again():
            await self.sleep(pause)
            try:
                return await read()
            except VeniceError as error:
                failure = error
        self.found.failed[what] = failure
        return None


async def readings(client: VeniceClient, period: Period, sleep: Callable[[float], Awaitable[None]]) -> Readings:
    """Everything at the same time, with at most eight requests; each may fail on its own.

    Raises:
        VeniceError: nothing at all could be read.
    """
    reader = _Reader(sleep)
    found = reader.found

    async def now() -> None:
        found.now = await reader.read(ANALYTICS, _analytics(client, period.first, period.last, period.elapsed))
        error = found.failed.get(ANALYTICS)
        if error is not None and error.code not in _HOPELESS:
            found.now = await reader.read("the ledger", _ledger(client, period, reader))

    async def before() -> None:
        found.before = await reader.read("the period before", _analytics(client, *period.before, period.days))

    async def keys() -> None:
        found.keys = await reader.read("keys and caps", client.list_api_keys)

    async def balance() -> None:
        found.balance = await reader.read("the balance", client.get_billing_balance)

    async with anyio.create_task_group() as group:
        with answered_within(_ANALYTICS_S, tries=1):
            for each in (now, before, keys, balance):
                group.start_soon(each)
    if found.now is None and found.before is None and found.keys is None and found.balance is None:
        raise found.failed["keys and caps"]
    # In the same order whichever came first.
    found.failed = {what: found.failed[what] for what in sorted(found.failed, key=_ORDER.index)}
    return found


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


def _ledger(client: VeniceClient, period: Period, reader: _Reader) -> Callable[[], Awaitable[Spend]]:
    async def read() -> Spend:
        entries: list[UsageEntry] = []
        query = {
            "startTimestamp": to_wire(midnight(period.first)),
            # Not now: Venice is said to hang over windows of a few minutes, and refuses one that is empty.
            "endTimestamp": to_wire(midnight(period.last + timedelta(days=1))),
            "pageSize": "1000",
        }
        cut = False
        with answered_within(_LEDGER_S, tries=1):
            for number in range(LEDGER_PAGES):
                if number and not reader.may_ask_again():
                    break
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
            reader.found.notes.append(
                f"Only a sample of the ledger was read: {plural(len(entries), 'row')}, up to"
                f" {spend.until:%Y-%m-%d %H:%M} UTC; rates are of that time."
            )
        return spend

    return read
