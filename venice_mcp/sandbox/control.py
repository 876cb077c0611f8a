"""Routes that Venice does not have: they move the clock, unstake wallets and touch keys, for tests."""

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from venice_mcp.sandbox import moments
from venice_mcp.sandbox.call import JsonObject, as_object, read_json
from venice_mcp.sandbox.state import Account, Key

_BAD = 400


def control_routes(account: Account, requests: Mapping[str, int], save: Callable[[], None]) -> list[Route]:
    async def move_clock(request: Request) -> Response:
        seconds = (await _body(request)).get("advance_s")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e10:
            return _bad("advance_s: expected seconds, not negative")
        account.advance(seconds)
        save()
        return JSONResponse({"advanced_s": account.clock_offset_s})

    async def unstake(request: Request) -> Response:
        address = (await _body(request)).get("address")
        if not isinstance(address, str):
            return _bad("address: expected string")
        account.mark_unstaked(address)
        save()
        return JSONResponse({"unstaked": sorted(account.unstaked)})

    async def touch(request: Request) -> Response:
        body = await _body(request)
        at = moments.read_timestamp(str(body.get("last_used_at")))
        key_id = str(body.get("id"))
        if at is None or key_id not in account.keys:
            return _bad("expected the id of a key and last_used_at as a UTC timestamp with a Z")
        account.touch(key_id, at)
        save()
        return JSONResponse({"touched": key_id})

    async def show(_request: Request) -> Response:
        keys = [masked(key) for key in account.keys.values()]
        return JSONResponse({"keys": keys, "requests": dict(requests)})

    return [
        Route("/clock", move_clock, methods=["POST"]),
        Route("/unstaked", unstake, methods=["POST"]),
        Route("/touch", touch, methods=["POST"]),
        Route("/state", show, methods=["GET"]),
    ]


async def _body(request: Request) -> JsonObject:
    try:
        return as_object(read_json(await request.body())) or {}
    except ValueError:
        return {}


def _bad(text: str) -> Response:
    return JSONResponse({"error": text}, _BAD)


def masked(key: Key) -> JsonObject:
    return {
        "id": key.id,
        "secret": f"...{key.secret[-6:]}",
        "apiKeyType": key.api_key_type,
        "description": key.description,
        "caps": dict(key.caps),
        "limitPeriod": key.limit_period,
        "modelPrivacy": key.model_privacy,
        "createdAt": moments.wire_or_none(key.created_at),
        "expiresAt": moments.wire_or_none(key.expires_at),
        "lastUsedAt": moments.wire_or_none(key.last_used_at),
        "ipAllowlist": list(key.ip_allowlist),
    }
