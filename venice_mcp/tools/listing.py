"""The list of keys: filtered, sorted, paged."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

from mcp_types import CallToolResult

from venice_mcp.app import Ctx, app_of
from venice_mcp.models.results import KeyPage, KeyRow
from venice_mcp.models.wire import Key
from venice_mcp.questions import caps
from venice_mcp.text import away, cell, parse_time, plain, plural, table
from venice_mcp.tools.arguments import ListApiKeys
from venice_mcp.tools.build import answer


async def venice_list_api_keys(args: ListApiKeys, ctx: Ctx) -> Annotated[CallToolResult, KeyPage]:
    """List active Venice API keys with caps, last use and expiry; never secrets. Filter and page instead of
    listing all. To act on a key take its id from here; if several fit, ask the person which."""
    app = app_of(ctx)
    now = app.now()
    keys = await app.client.list_api_keys()
    found = sorted((key for key in keys if _fits(key, args, now)), key=_order(args.sort))
    start = (args.page - 1) * args.limit
    rows = [row_of(key) for key in found[start : start + args.limit]]
    page = KeyPage(
        total=len(keys),
        matching=len(found),
        inference=sum(key.api_key_type == "INFERENCE" for key in keys),
        admin=sum(key.api_key_type == "ADMIN" for key in keys),
        without_cap=sum(_uncapped(key) for key in keys),
        page=args.page,
        next_page=args.page + 1 if start + args.limit < len(found) else None,
        columns=list(KeyRow._fields),
        rows=rows,
    )
    return answer(_list_text(page, now), page)


def _list_text(page: KeyPage, now: datetime) -> str:
    head = (
        f"{plural(page.total, 'active key')} ({page.inference} INFERENCE, {page.admin} ADMIN,"
        f" {page.without_cap} without cap); {page.matching} match, {len(page.rows)} shown."
    )
    if not page.rows:
        return f"{head} Try another filter or page 1."
    rows = [
        [
            row.id,
            cell(row.description),
            row.api_key_type,
            row.last6_chars,
            caps(row.usd_cap, row.diem_cap, row.limit_period),
            row.last_used or "never",
            _with_distance(row.expires, now),
        ]
        for row in page.rows
    ]
    more = f"\nMore: page={page.next_page}." if page.next_page else ""
    return f"{head}\n{table(['id', 'description', 'type', 'last6', 'cap', 'last used', 'expires'], rows)}{more}"


def _with_distance(day: str | None, now: datetime) -> str:
    end = parse_time(day)
    return f"{day} ({away(end, now)})" if end else (day or "never")


def row_of(key: Key) -> KeyRow:
    """A key in a list; every text in it made harmless."""
    return KeyRow(
        plain(key.id, 40),
        plain(key.description, 64),
        plain(key.api_key_type, 20),
        plain(key.last6_chars, 6),
        key.consumption_limits.usd,
        key.consumption_limits.diem,
        plain(key.limit_period, 20),
        _day(key.last_used_at),
        _day(key.expires_at),
    )


def _day(value: str | None) -> str | None:
    moment = parse_time(value)
    return f"{moment:%Y-%m-%d}" if moment else (plain(value, 10) if value else None)


def _fits(key: Key, args: ListApiKeys, now: datetime) -> bool:
    if args.api_key_type and key.api_key_type != args.api_key_type:
        return False
    if args.text and args.text.casefold() not in key.description.casefold():
        return False
    if args.last6_chars and not key.last6_chars.endswith(args.last6_chars):
        return False
    if args.without_cap and not _uncapped(key):
        return False
    if args.unused_for_days is not None:
        # A key that was never used is unused since it was made.
        since = parse_time(key.last_used_at) or parse_time(key.created_at)
        if since is not None and now - since < timedelta(days=args.unused_for_days):
            return False
    if args.expiring_within_days is not None:
        end = parse_time(key.expires_at)
        if end is None or end - now > timedelta(days=args.expiring_within_days):
            return False
    return True


def _uncapped(key: Key) -> bool:
    limits = key.consumption_limits
    return limits.usd is None and limits.diem is None and limits.vcu is None


def _order(sort: str) -> Callable[[Key], Any]:
    def stamp(value: str | None) -> float:
        moment = parse_time(value)
        return moment.timestamp() if moment else float("-inf")

    def spent(key: Key) -> float:
        week = key.usage.trailing_seven_days if key.usage else None
        try:
            return float(week.usd) + float(week.diem) if week else 0.0
        except ValueError:
            return 0.0

    orders: dict[str, Callable[[Key], Any]] = {
        "created": lambda key: -stamp(key.created_at),
        "last_used": lambda key: -stamp(key.last_used_at),
        "expires": lambda key: stamp(key.expires_at) if key.expires_at else float("inf"),
        "description": lambda key: key.description.casefold(),
        "usage": lambda key: -spent(key),
    }
    return orders[sort]
