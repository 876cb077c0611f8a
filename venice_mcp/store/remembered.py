"""Keys that this record knows of although Venice may not list them any more: made or revoked from here."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from venice_mcp.store.journal import place_of
from venice_mcp.store.record import Record

_MADE = (
    "SELECT m.account, m.at, m.data, i.data FROM events m JOIN events i ON i.subject = m.subject"
    " AND i.kind = 'intended' WHERE m.kind = 'made' ORDER BY m.seq"
)
_REVOKED = (
    "SELECT i.account, c.at, i.data FROM events i JOIN events c ON c.subject = i.subject AND (c.kind = 'done'"
    " OR (c.kind GLOB 'settled*' AND json_extract(c.data, '$.as') = 'done'))"
    " WHERE i.kind = 'intended' AND json_extract(i.data, '$.operation') = 'deleteApiKey' ORDER BY c.seq"
)


@dataclass(frozen=True)
class Remembered:
    """A key of the past. Texts are as Venice or a caller gave them then; empty when not on record."""

    key_id: str
    last6: str = ""
    description: str = ""
    api_key_type: str = ""
    expires_at: str | None = None
    made_at: datetime | None = None
    revoked_at: datetime | None = None


def remembered(record: Record, account: str, fits: Callable[[Remembered], bool]) -> list[Remembered]:
    """The keys of this Venice that fit, the latest last. Looking makes no record where there is none.

    Raises:
        StoreError: the record cannot be read.
    """
    if not record.exists():
        return []
    found: dict[str, Remembered] = {}
    with record.transaction() as db:
        for tag, at, made, intended in db.rows(_MADE):
            if place_of(tag) == place_of(account):
                known, intent = _members(made), _part(intended, "intent")
                key_id = str(known.get("id") or "")
                found[key_id] = Remembered(
                    key_id,
                    str(known.get("last6") or ""),
                    str(intent.get("description") or ""),
                    str(intent.get("api_key_type") or ""),
                    str(intent.get("expires_at") or "") or None,
                    made_at=datetime.fromisoformat(at),
                )
        for tag, at, intended in db.rows(_REVOKED):
            if place_of(tag) == place_of(account):
                target, key_id = _part(intended, "target"), str(_part(intended, "intent").get("id") or "")
                before = found.pop(key_id, Remembered(key_id))
                found[key_id] = replace(
                    before,
                    last6=str(target.get("last6_chars") or before.last6),
                    description=str(target.get("description") or before.description),
                    api_key_type=str(target.get("api_key_type") or before.api_key_type),
                    revoked_at=datetime.fromisoformat(at),
                )
    return [each for each in found.values() if fits(each)]


def _part(text: str, name: str) -> dict[str, Any]:
    part = _members(text).get(name)
    return cast("dict[str, Any]", part) if isinstance(part, dict) else {}


def _members(text: str) -> dict[str, Any]:
    data: Any = json.loads(text)
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}
