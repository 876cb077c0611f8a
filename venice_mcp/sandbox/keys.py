"""The five key operations and the two shapes a key has in answers."""

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from starlette.responses import JSONResponse, Response

from venice_mcp.sandbox import moments, usage
from venice_mcp.sandbox.call import Call, JsonObject, as_list, as_object
from venice_mcp.sandbox.refusal import Refusal, invalid
from venice_mcp.sandbox.rules import CAPS, CREATE, UPDATE
from venice_mcp.sandbox.state import MAX_ACTIVE_KEYS, Amount, Key, new_secret


def list_keys(call: Call) -> Response:
    spent = usage.by_key(call.account.usage, call.at)
    data = [key_shape(key) | spent.members(key) for key in call.account.active(call.at)]
    return JSONResponse({"object": "list", "data": data})


def create_key(call: Call) -> Response:
    given = CREATE.read(call.body, call.headers.get("content-type", ""), call.at)
    return add_key(call, given, default_description="")


def add_key(call: Call, given: JsonObject, *, default_description: str) -> Response:
    """Store a key made of a body that has passed its rules; shared with the wallet's mint."""
    call.limiter.admit_create(call.at)
    if len(call.account.active(call.at)) >= MAX_ACTIVE_KEYS:
        raise Refusal(400, f"Maximum number of active API keys ({MAX_ACTIVE_KEYS}) reached")
    api_key_type = str(given["apiKeyType"])
    blank = Key(
        id=str(uuid.uuid4()),
        secret=new_secret(api_key_type, secrets.SystemRandom()),
        api_key_type=api_key_type,
        description=default_description,
        caps={},
        # EPOCH is Venice's legacy default; for the privacy tier none is stated.
        limit_period="EPOCH",
        model_privacy="ALL",
        created_at=call.at,
    )
    key = changed(blank, given)
    call.account.put(key)
    call.limiter.created(call.at)
    return JSONResponse({"success": True, "data": new_key_shape(key)})


def update_key(call: Call) -> Response:
    given = UPDATE.read(call.body, call.headers.get("content-type", ""), call.at)
    key = changed(_known(call, str(given["id"])), given)
    call.account.put(key)
    return JSONResponse({"success": True, "data": key_shape(key)})


def delete_key(call: Call) -> Response:
    key_id = call.parameter("id")
    if not key_id:
        raise invalid({"id": ["Required"]})
    call.account.remove(_known(call, key_id).id)
    return JSONResponse({"success": True})


def get_key(call: Call) -> Response:
    key = call.account.find(call.path["id"], call.at)
    if key is None:
        raise Refusal(404, "API key not found")
    spent = usage.by_key(call.account.usage, call.at)
    return JSONResponse({"data": key_shape(key) | spent.members(key)})


def _known(call: Call, key_id: str) -> Key:
    key = call.account.find(key_id, call.at)
    if key is None:
        raise invalid({"id": ["API key not found"]})
    return key


def changed(key: Key, given: JsonObject) -> Key:
    """The key with every member that was given, and only those, replaced."""
    if "description" in given:
        key = replace(key, description=str(given["description"]))
    if "consumptionLimit" in given:
        # The whole object is replaced. Venice does not say whether it merges instead; a client that
        # leaves the other cap out would lose it under this reading, so it is the one worth testing with.
        key = replace(key, caps=_caps(as_object(given["consumptionLimit"]) or {}))
    if "limitPeriod" in given:
        key = replace(key, limit_period=str(given["limitPeriod"]))
    if "modelPrivacy" in given:
        key = replace(key, model_privacy=str(given["modelPrivacy"]))
    if "expiresAt" in given:
        key = replace(key, expires_at=_expiry(given["expiresAt"]))
    if "ipAllowlist" in given:
        key = replace(key, ip_allowlist=tuple(map(str, as_list(given["ipAllowlist"]) or [])))
    return key


def _caps(given: Mapping[str, object]) -> dict[str, Amount]:
    return {name: cap for name in CAPS if isinstance(cap := given.get(name), int | float)}


def _expiry(given: object) -> datetime | None:
    return moments.read_expiry(given) if isinstance(given, str) else None


def key_shape(key: Key) -> JsonObject:
    """A key as list, get and update show it; the usage members are added by those that show them."""
    shape: JsonObject = {
        "id": key.id,
        "apiKeyType": key.api_key_type,
        "consumptionLimits": _caps_shape(key),
        "limitPeriod": key.limit_period,
        "modelPrivacy": key.model_privacy,
        "createdAt": moments.wire_or_none(key.created_at),
        "expiresAt": moments.wire_or_none(key.expires_at),
        "last6Chars": key.secret[-6:],
        "lastUsedAt": moments.wire_or_none(key.last_used_at),
    }
    return shape | _optional_members(key)


def new_key_shape(key: Key) -> JsonObject:
    """A key as create and mint show it, with the secret that is never shown again."""
    shape: JsonObject = {
        "id": key.id,
        "apiKey": key.secret,
        "apiKeyType": key.api_key_type,
        "consumptionLimit": _caps_shape(key),
        "limitPeriod": key.limit_period,
        "modelPrivacy": key.model_privacy,
        "expiresAt": moments.wire_or_none(key.expires_at),
    }
    return shape | _optional_members(key)


def _caps_shape(key: Key) -> JsonObject:
    """Both ways of writing "no cap" occur: nothing at all without caps, null beside another cap."""
    if not key.caps:
        return {}
    return {"usd": None, "diem": None, **key.caps}


def _optional_members(key: Key) -> JsonObject:
    members: JsonObject = {}
    if key.description is not None:
        members["description"] = key.description
    if key.ip_allowlist:
        members["ipAllowlist"] = list(key.ip_allowlist)
    return members
