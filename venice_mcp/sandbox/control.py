"""Routes that Venice does not have, for tests: they move the clock and change what a scenario began with."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from venice_mcp.sandbox import moments
from venice_mcp.sandbox.call import JsonObject, as_object, read_json
from venice_mcp.sandbox.catalogue import MODELS_BY_ID
from venice_mcp.sandbox.pace import KINDS
from venice_mcp.sandbox.state import STATES, Account, Key

_BAD = 400
ONLINE = "online"


def _is_balance(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e10


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 1e10


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


# Each member that an account takes, and what is right for it.
_ACCOUNT: Mapping[str, Callable[[object], bool]] = {
    "usd_balance": _is_balance,
    "diem_balance": lambda value: value is None or _is_balance(value),
    "can_consume": lambda value: value is None or _is_flag(value),
    "access_permitted": _is_flag,
    "subscription_active": _is_flag,
    "api_access": _is_flag,
}


def control_routes(
    account: Account, requests: Mapping[str, int], save: Callable[[], None], now: Callable[[], datetime]
) -> list[Route]:
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

    async def change_account(request: Request) -> Response:
        given = await _body(request)
        wrong = [name for name, value in given.items() if name not in _ACCOUNT or not _ACCOUNT[name](value)]
        if wrong or not given:
            return _bad(f"expected any of {', '.join(_ACCOUNT)}; wrong: {', '.join(wrong) or 'nothing given'}")
        _set(account, given, now())
        save()
        return JSONResponse(_conditions(account))

    async def change_model(request: Request) -> Response:
        body = await _body(request)
        model_id, state = str(body.get("id")), str(body.get("state"))
        if model_id not in MODELS_BY_ID or state not in (ONLINE, *STATES):
            return _bad(f"expected the id of a model and a state: {', '.join((ONLINE, *STATES))}")
        account.conditions.models.pop(model_id, None)
        if state != ONLINE:
            account.conditions.models[model_id] = state
        account.unsaved = True
        save()
        return JSONResponse(_conditions(account))

    async def change_limits(request: Request) -> Response:
        body = await _body(request)
        model_id = str(body.pop("model", None))
        if model_id not in MODELS_BY_ID or not body or not all(k in KINDS and _is_count(v) for k, v in body.items()):
            return _bad(f"expected the id of a model and any of {', '.join(KINDS)} as whole numbers, 1 or more")
        limits = account.conditions.limits.setdefault(model_id, {})
        limits.update({kind: int(str(amount)) for kind, amount in body.items()})
        account.unsaved = True
        save()
        return JSONResponse(_conditions(account))

    async def show(_request: Request) -> Response:
        keys = [masked(key) for key in account.keys.values()]
        return JSONResponse({"keys": keys, "requests": dict(requests)})

    return [
        Route("/clock", move_clock, methods=["POST"]),
        Route("/unstaked", unstake, methods=["POST"]),
        Route("/touch", touch, methods=["POST"]),
        Route("/account", change_account, methods=["POST"]),
        Route("/model", change_model, methods=["POST"]),
        Route("/limits", change_limits, methods=["POST"]),
        Route("/state", show, methods=["GET"]),
    ]


def _set(account: Account, given: JsonObject, at: datetime) -> None:
    for name, value in given.items():
        setattr(account if name.endswith("_balance") else account.conditions, name, value)
    if "diem_balance" in given:
        account.diem_epoch = moments.day_start(at)
        # Whoever has DIEM has been allotted as much.
        diem = account.diem_balance
        account.diem_allocation = 0.0 if diem is None else max(diem, account.diem_allocation)
    account.unsaved = True


def _conditions(account: Account) -> JsonObject:
    balances = {"usd_balance": account.usd_balance, "diem_balance": account.diem_balance}
    return {**balances, "diem_allocation": account.diem_allocation, **asdict(account.conditions)}


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
