"""The state file: written whole and swapped into place, so that a killed sandbox leaves a readable one."""

import json
import os
import tempfile
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from venice_mcp.sandbox import scenarios
from venice_mcp.sandbox.call import JsonObject
from venice_mcp.sandbox.state import Account, Amount, Conditions, Inference, Key, LimitHit, UsageEntry

_VERSION = 1


class StateFileError(Exception):
    """The state file cannot be used; it is left as it is."""


def save(account: Account, path: Path) -> None:
    """Write the state beside the old file, then replace that in one step."""
    # A temporary file is made as 0600, and keeps that when it is moved.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(_state(account), file)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    account.unsaved = False


def load(path: Path) -> Account | None:
    """The account in the file, or None where there is no file yet.

    Raises:
        StateFileError: the file is not a state this version has written.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StateFileError(f"cannot read the state file {path}: {error}") from error
    try:
        return _account(cast("JsonObject", json.loads(text)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateFileError(f"{path} is not a state file of this sandbox; move it away to start afresh") from error


def _state(account: Account) -> JsonObject:
    return {
        "version": _VERSION,
        "scenario": account.scenario,
        "began_at": account.began_at.isoformat(),
        "admin_secret": account.admin_secret,
        "inference_secret": account.inference_secret,
        "signing_key": account.signing_key,
        "clock_offset_s": account.clock_offset_s,
        "usd_balance": account.usd_balance,
        "diem_balance": account.diem_balance,
        "diem_allocation": account.diem_allocation,
        "diem_epoch": _text(account.diem_epoch),
        "conditions": asdict(account.conditions),
        "charged": [asdict(entry) | {"at": entry.at.isoformat()} for entry in account.charged],
        "unstaked": sorted(account.unstaked),
        "keys": [_key_state(key) for key in account.keys.values()],
        "hits": [[hit.api_key_id, hit.model_id, hit.kind, hit.at.isoformat()] for hit in account.hits],
    }


def _account(state: JsonObject) -> Account:
    if state["version"] != _VERSION:
        raise ValueError("another version")
    # What a scenario begins with follows from its beginning, so it is made again, not stored.
    account = scenarios.build(str(state["scenario"]), datetime.fromisoformat(str(state["began_at"])), ("", ""))
    keys = [_key(item) for item in cast("list[JsonObject]", state["keys"])]
    hits = cast("list[list[str]]", state["hits"])
    # Files from before calls were charged have none of these.
    charged = [_entry(item) for item in cast("list[JsonObject]", state.get("charged", []))]
    conditions = cast("JsonObject | None", state.get("conditions"))
    diem = cast("float | None", state.get("diem_balance", account.diem_balance))
    return replace(
        account,
        admin_secret=str(state["admin_secret"]),
        inference_secret=str(state["inference_secret"]),
        signing_key=str(state["signing_key"]),
        clock_offset_s=float(cast("float", state["clock_offset_s"])),
        usd_balance=float(cast("float", state.get("usd_balance", account.usd_balance))),
        diem_balance=None if diem is None else float(diem),
        diem_allocation=float(cast("float", state.get("diem_allocation", account.diem_allocation))),
        diem_epoch=_moment(state.get("diem_epoch")),
        conditions=account.conditions if conditions is None else Conditions(**cast("dict[str, Any]", conditions)),
        usage=(*account.usage, *charged),
        charged=charged,
        unstaked=set(cast("list[str]", state["unstaked"])),
        keys={key.id: key for key in keys},
        hits=[LimitHit(key_id, model, kind, datetime.fromisoformat(at)) for key_id, model, kind, at in hits],
        unsaved=False,
    )


def _key_state(key: Key) -> JsonObject:
    return {
        "id": key.id,
        "secret": key.secret,
        "api_key_type": key.api_key_type,
        "description": key.description,
        "caps": key.caps,
        "limit_period": key.limit_period,
        "model_privacy": key.model_privacy,
        "created_at": _text(key.created_at),
        "expires_at": _text(key.expires_at),
        "last_used_at": _text(key.last_used_at),
        "ip_allowlist": list(key.ip_allowlist),
    }


def _key(state: JsonObject) -> Key:
    description = state["description"]
    return Key(
        id=str(state["id"]),
        secret=str(state["secret"]),
        api_key_type=str(state["api_key_type"]),
        description=None if description is None else str(description),
        caps=cast("dict[str, Amount]", state["caps"]),
        limit_period=str(state["limit_period"]),
        model_privacy=str(state["model_privacy"]),
        created_at=_moment(state["created_at"]),
        expires_at=_moment(state["expires_at"]),
        last_used_at=_moment(state["last_used_at"]),
        ip_allowlist=tuple(cast("list[str]", state["ip_allowlist"])),
    )


def _entry(state: JsonObject) -> UsageEntry:
    given = cast("dict[str, Any]", state)
    told = Inference(**given["inference"]) if given["inference"] else None
    members: dict[str, Any] = {**given, "at": datetime.fromisoformat(given["at"]), "inference": told}
    return UsageEntry(**members)


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _moment(text: object) -> datetime | None:
    return None if text is None else datetime.fromisoformat(str(text))
