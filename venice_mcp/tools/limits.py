"""What a key may do per minute and day, and which limits were hit."""

from collections import Counter
from typing import Annotated

from mcp_types import CallToolResult

from venice_mcp.app import App, Ctx, app_of
from venice_mcp.models.results import LimitGroup, LogRow, RateLimitLog, RateLimits
from venice_mcp.models.wire import ModelLimits
from venice_mcp.settings import KeyKind
from venice_mcp.text import amount, cell, plain, plural, table, when
from venice_mcp.tools.arguments import GetRateLimitLog, GetRateLimits
from venice_mcp.tools.build import answer


async def venice_get_rate_limits(args: GetRateLimits, ctx: Ctx) -> Annotated[CallToolResult, RateLimits]:
    """Show the rate limits per model (RPM, RPD, TPM), tier, balances and expiry of the configured INFERENCE or ADMIN
    key. Venice tells this only for the calling key, not for others."""
    app = app_of(ctx)
    result = await limits_of(app, args.api_key_type, args.model or "")
    now = app.now()
    balances = ", ".join(f"{amount(value)} {name}" for name, value in result.balances.items()) or "none stated"
    access = "permitted" if result.access_permitted else "NOT permitted"
    head = [
        f"{result.api_key_type} key ...{result.last6_chars}: access {access}, tier {result.api_tier}."
        f" Balances: {balances}.",
        f"Key expires: {when(result.key_expiration, now)}."
        f" Next epoch: {when(result.next_epoch_begins, now, 'unknown')}.",
    ]
    rows = [
        [
            ", ".join(f"{amount(value)} {name}" for name, value in group.limits.items()),
            ", ".join(group.models),
        ]
        for group in result.groups
    ]
    return answer("\n".join([*head, table(["limits", "models"], rows) if rows else "No model fits."]), result)


async def limits_of(app: App, api_key_type: KeyKind | None, model: str) -> RateLimits:
    """The limits of a configured key, INFERENCE unless said otherwise, for models whose ids hold `model`."""
    kind = api_key_type or await _weakest_held(app)
    data = await app.client.get_rate_limits(kind)
    secret = (await app.client.keys.get(kind)).secret
    return RateLimits(
        api_key_type=kind,
        last6_chars=secret.last6 if secret else "",
        access_permitted=data.access_permitted,
        api_tier=plain(data.api_tier.id, 40),
        is_charged=data.api_tier.is_charged,
        balances={plain(name, 20): value for name, value in list(data.balances.items())[:10]},
        key_expiration=plain(data.key_expiration, 40) if data.key_expiration else None,
        next_epoch_begins=plain(data.next_epoch_begins, 40) if data.next_epoch_begins else None,
        groups=_grouped([item for item in data.rate_limits if model in (item.api_model_id or "")]),
    )


async def _weakest_held(app: App) -> KeyKind:
    """INFERENCE, which is the one to ask for when there is none at all, unless only an ADMIN key is held."""
    only_admin = (await app.client.keys.get("INFERENCE")).secret is None
    only_admin = only_admin and (await app.client.keys.get("ADMIN")).secret is not None
    return "ADMIN" if only_admin else "INFERENCE"


def _grouped(models: list[ModelLimits]) -> list[LimitGroup]:
    """Models with equal limits together: most of them share a handful of sets."""
    groups: dict[tuple[tuple[str, float], ...], list[str]] = {}
    for item in models:
        limits = tuple((plain(limit.type, 20), limit.amount) for limit in item.rate_limits)
        groups.setdefault(limits, []).append(cell(item.api_model_id or "default", 80))
    return [LimitGroup(models=names, limits=dict(limits)) for limits, names in groups.items()]


async def venice_get_rate_limit_log(args: GetRateLimitLog, ctx: Ctx) -> Annotated[CallToolResult, RateLimitLog]:
    """Show the account's latest rate limit hits (at most 50, a sample): when, which limit, model and key. Use it when
    calls fail with 429."""
    app = app_of(ctx)
    rows = await app.client.get_rate_limit_log()
    shown = [
        LogRow(
            cell(row.timestamp, 30),
            cell(row.rate_limit_type, 40),
            cell(row.model_id, 80),
            cell(row.api_key_id, 40),
            cell(row.rate_limit_tier, 20),
            _listed_as(app, row.api_key_id),
        )
        for row in sorted(rows, key=lambda row: row.timestamp, reverse=True)[: args.limit]
    ]
    counts = Counter(f"{cell(row.rate_limit_type, 40)} {cell(row.model_id, 80)}" for row in rows)
    result = RateLimitLog(
        total=len(rows), counts=dict(counts.most_common(20)), columns=list(LogRow._fields), rows=shown
    )
    if not shown:
        return answer("No rate limit was hit lately.", result)
    most = ", ".join(f"{name}: {count}" for name, count in counts.most_common(5))
    newest = f", the newest {len(shown)} below" if len(shown) < len(rows) else ""
    head = f"{plural(len(rows), 'hit')} in the log (Venice keeps the last 50){newest}. Most: {most}."
    lines = [
        [row.timestamp, row.rate_limit_type, row.model_id, row.key or row.api_key_id, row.rate_limit_tier]
        for row in shown
    ]
    return answer(f"{head}\n{table(['time', 'limit', 'model', 'key', 'tier'], lines)}", result)


def _listed_as(app: App, key_id: str) -> str | None:
    """A key's description and ending, if it was listed before; nothing is asked for that."""
    key = app.client.seen.get(key_id)
    return f"{cell(key.description, 40)} ...{cell(key.last6_chars, 6)}" if key is not None else None
