"""Balance, usage ledger and usage analytics of the account."""

import re
from collections import defaultdict
from typing import Annotated

from mcp_types import CallToolResult

from venice_mcp.app import Ctx, app_of
from venice_mcp.errors import ArgumentError
from venice_mcp.models.results import Balance, BillingUsage, DateRow, SpendRow, UsageAnalytics, UsageRow
from venice_mcp.models.wire import UsageEntry
from venice_mcp.text import amount, cell, plain, plural, table, to_wire
from venice_mcp.tools.arguments import GetBillingUsage, GetUsageAnalytics, NoArguments
from venice_mcp.tools.build import answer
from venice_mcp.tools.times import day, instant

_TOP = 15
_CURSOR = re.compile(r"[A-Za-z0-9_-]{1,512}")


async def venice_get_billing_balance(args: NoArguments, ctx: Ctx) -> Annotated[CallToolResult, Balance]:
    """Show the account's USD and DIEM balance, today's DIEM allocation and whether it can pay for calls now."""
    data = await app_of(ctx).client.get_billing_balance()
    result = Balance(
        can_consume=data.can_consume,
        consumption_currency=plain(data.consumption_currency, 30) if data.consumption_currency else None,
        usd=data.balances.usd,
        diem=data.balances.diem,
        diem_epoch_allocation=data.diem_epoch_allocation,
    )
    diem = (
        "not staking"
        if result.diem is None
        else f"{amount(result.diem)} of {amount(result.diem_epoch_allocation)} left today"
    )
    text = (
        f"{'Can' if result.can_consume else 'CANNOT'} pay for calls; drawing on"
        f" {result.consumption_currency or 'nothing'}."
        f" USD: {amount(result.usd)}. DIEM: {diem} (resets 00:00 UTC). Bundled credits are not reported here."
    )
    return answer(text, result)


async def venice_get_billing_usage(args: GetBillingUsage, ctx: Ctx) -> Annotated[CallToolResult, BillingUsage]:
    """Page through the account's usage ledger, oldest first: what was charged, when, in which currency. For recent
    charges give start. Entries do not name a key; for spend per key use venice_get_usage_analytics."""
    page = await app_of(ctx).client.get_billing_usage(_ledger_query(args))
    totals: dict[str, float] = defaultdict(float)
    for entry in page.data:
        totals[cell(entry.currency, 20)] += entry.amount
    result = BillingUsage(
        columns=list(UsageRow._fields),
        rows=[_usage_row(entry) for entry in page.data],
        totals={name: round(value, 6) for name, value in totals.items()},
        next_cursor=page.next_cursor if page.next_cursor and _CURSOR.fullmatch(page.next_cursor) else None,
    )
    spent = ", ".join(f"{amount(value)} {name}" for name, value in result.totals.items()) or "nothing"
    lines = [f"{plural(len(result.rows), 'entry').replace('entrys', 'entries')} on this page; sum: {spent}."]
    if result.rows:
        rows = [[str(value) if value is not None else "-" for value in row] for row in result.rows]
        lines.append(table(result.columns, rows))
    if page.next_cursor and not result.next_cursor:
        lines.append("There is more, but Venice's cursor for it is unusable; ask for a shorter time instead.")
    else:
        lines.append(f"More: cursor={result.next_cursor}" if result.next_cursor else "This is the last page.")
    return answer("\n".join(lines), result)


def _ledger_query(args: GetBillingUsage) -> dict[str, str]:
    if args.cursor is not None:
        # Venice refuses anything beside a cursor: page size and filters ride inside it.
        return {"cursor": args.cursor}
    query = {"pageSize": str(args.page_size)}
    start = instant(args.start, "start") if args.start else None
    end = instant(args.end, "end") if args.end else None
    if start and end and end <= start:
        raise ArgumentError("end", "must be later than start.", "Swap or correct them.")
    if start:
        query["startTimestamp"] = to_wire(start)
    if end:
        query["endTimestamp"] = to_wire(end)
    if args.currency:
        query["currency"] = args.currency
    return query


def _usage_row(entry: UsageEntry) -> UsageRow:
    details = entry.inference_details
    return UsageRow(
        cell(entry.timestamp, 30),
        cell(entry.sku, 80),
        entry.units,
        entry.amount,
        cell(entry.currency, 20),
        details.prompt_tokens if details else None,
        details.completion_tokens if details else None,
    )


async def venice_get_usage_analytics(args: GetUsageAnalytics, ctx: Ctx) -> Annotated[CallToolResult, UsageAnalytics]:
    """Sum up spend by day, model and key over the last days (default 7, at most 90) or between two dates."""
    if args.start_date and args.end_date:
        if day(args.end_date, "end_date") < day(args.start_date, "start_date"):
            raise ArgumentError("end_date", "must not be before start_date.", "Swap or correct them.")
        query = {"startDate": args.start_date, "endDate": args.end_date}
    else:
        query = {"lookback": f"{args.lookback_days or 7}d"}
    data = await app_of(ctx).client.get_usage_analytics(query)
    by_key = [
        SpendRow(cell(item.description or "web app", 64), item.total_usd, item.total_diem) for item in data.by_key
    ]
    by_model = [SpendRow(cell(item.model_name, 80), item.total_usd, item.total_diem) for item in data.by_model]
    result = UsageAnalytics(
        lookback=plain(data.lookback, 40),
        total_usd=round(sum(item.USD for item in data.by_date), 6),
        total_diem=round(sum(item.DIEM for item in data.by_date), 6),
        by_date=[DateRow(cell(item.date, 12), item.USD, item.DIEM) for item in data.by_date],
        by_model=_largest(by_model),
        by_key=_largest(by_key),
    )
    lines = [f"{result.lookback}: {amount(result.total_usd)} USD, {amount(result.total_diem)} DIEM in all."]
    for title, rows in (("day", result.by_date), ("model", result.by_model), ("key", result.by_key)):
        if rows:
            lines.append(table([title, "USD", "DIEM"], [[row[0], amount(row[1]), amount(row[2])] for row in rows]))
    return answer("\n".join(lines), result)


def _largest(rows: list[SpendRow]) -> list[SpendRow]:
    return sorted(rows, key=lambda row: row.usd + row.diem, reverse=True)[:_TOP]
