"""The journal: every write as it was intended, what became of it, and whose secret is still unaccounted for.

A write is `intended` before it is sent. Then it is `done`, `made` (a new key), `refused` or `unknown`. A made key's
secret is `delivered`, `displayed` or `lost`; a displayed one stays open until it is `acknowledged`. Whatever is found
out later is `settled`. What is missing when a process was killed is exactly what is still open.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from venice_mcp.store.record import Record, Transaction

Outcome = Literal["done", "made", "refused", "unknown", "delivered", "displayed", "lost", "acknowledged", "settled"]
Standing = Literal["unknown", "undelivered", "displayed"]
UNDER_WAY = timedelta(seconds=60)
"""A write takes at most 45 s; one of a process that still runs is not looked into before."""

_MADE_IDS = "SELECT json_extract(data, '$.id') FROM events WHERE kind = 'made'"
_NOT_CLOSED = (
    "SELECT subject FROM events i WHERE kind = 'intended' AND account = ? AND NOT EXISTS (SELECT 1 FROM events e"
    " WHERE e.subject = i.subject AND e.kind IN ('done', 'refused', 'delivered', 'acknowledged', 'settled'))"
    " ORDER BY seq"
)
MAKING = ("createApiKey", "postApiKeyGenerateWeb3Key")


@dataclass(frozen=True)
class Matter:
    """A write that is not accounted for.

    Attributes:
        write: its name in the record.
        standing: "unknown" (whether it was done), "undelivered" (a key was made, its secret reached nobody that the
            record knows of), "displayed" (the secret was shown, and nobody said that it was stored).
        intended: what was recorded before it was sent.
        at: when that was.
        key_id, last6: the key it made, if that is known.
        under_way: it may still be going on in another process.
    """

    write: str
    standing: Standing
    intended: Mapping[str, Any]
    at: datetime
    key_id: str | None
    last6: str | None
    under_way: bool
    made_at: datetime | None

    @property
    def operation(self) -> str:
        return str(self.intended["operation"])


class Journal:
    """Writes and their outcomes."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def intend(self, write: str, *, account: str, data: Mapping[str, Any], now: datetime) -> None:
        """Record a write that follows from another one, before it is sent."""
        with self._record.transaction() as db:
            db.append(write, "intended", account=account, data=dict(data), now=now)

    def note(self, write: str, outcome: Outcome, data: Mapping[str, Any], now: datetime) -> None:
        """Record what became of a write; what was already recorded stays."""
        with self._record.transaction() as db:
            entries = {entry.kind: entry for entry in db.entries("subject = ?", (write,))}
            first = entries.get("intended")
            if first is None or outcome in entries:
                return
            db.append(write, outcome, account=first.account, fingerprint=first.fingerprint, data=dict(data), now=now)
            if outcome in ("done", "settled"):
                self._close_revoked(db, json.loads(first.data), data, first.account, now)

    def open_matters(self, account: str, now: datetime) -> list[Matter]:
        """What is not accounted for, oldest first."""
        with self._record.transaction() as db:
            return self._open(db, account, now)

    def elsewhere(self, account: str, now: datetime) -> int:
        """How many matters are open for other keys of the same Venice: an ADMIN key that was replaced, for example."""
        place = account.rpartition(":")[0]
        with self._record.transaction() as db:
            tags = [tag for (tag,) in db.rows("SELECT DISTINCT account FROM events WHERE kind = 'intended'")]
            return sum(
                len(self._open(db, tag, now)) for tag in tags if tag != account and tag.rpartition(":")[0] == place
            )

    def made_under(self, key_id: str) -> str | None:
        """How the making of this key was approved, if it was made from here."""
        query = (
            "SELECT g.data FROM events m JOIN events g ON g.subject = substr(m.subject, 1, instr(m.subject, '/') - 1)"
            " AND g.kind = 'granted' WHERE m.kind = 'made' AND json_extract(m.data, '$.id') = ?"
        )
        with self._record.transaction() as db:
            rows = db.rows(query, (key_id,))
        return str(json.loads(rows[0][0]).get("how", "")) if rows else None

    def made_ids(self) -> set[str]:
        """Every key that is known to have been made from here."""
        with self._record.transaction() as db:
            return {str(key_id) for (key_id,) in db.rows(_MADE_IDS)}

    def _open(self, db: Transaction, account: str, now: datetime) -> list[Matter]:
        return [self._matter(db, write, now) for (write,) in db.rows(_NOT_CLOSED, (account,))]

    @staticmethod
    def _matter(db: Transaction, write: str, now: datetime) -> Matter:
        entries = {entry.kind: entry for entry in db.entries("subject = ?", (write,))}
        first = entries["intended"]
        intended = json.loads(first.data)
        at = datetime.fromisoformat(first.at)
        made = entries.get("made")
        known: Mapping[str, Any] = json.loads(made.data) if made else {}
        standing: Standing = "unknown"
        if made is not None:
            standing = "displayed" if "displayed" in entries and "lost" not in entries else "undelivered"
        shown = entries.get("displayed") or made
        return Matter(
            write=write,
            standing=standing,
            intended=intended,
            at=at,
            key_id=known.get("id"),
            last6=known.get("last6"),
            under_way=(
                standing != "displayed"
                and "unknown" not in entries
                and "lost" not in entries
                and timedelta() <= now - at < UNDER_WAY
                and _runs(intended.get("process"))
            ),
            made_at=datetime.fromisoformat(shown.at) if shown else None,
        )

    def _close_revoked(
        self, db: Transaction, intended: Mapping[str, Any], data: Mapping[str, Any], account: str, now: datetime
    ) -> None:
        """A key that is gone leaves nothing to account for, whoever waited for its secret."""
        if intended.get("operation") != "deleteApiKey" or data.get("as", "done") != "done":
            return
        gone = intended.get("intent", {}).get("id")
        for matter in self._open(db, account, now):
            if matter.key_id == gone and gone is not None:
                db.append(matter.write, "settled", account=account, data={"as": "revoked"}, now=now)


def this_process() -> int:
    return os.getpid()


def _runs(process: object) -> bool:
    """Whether the process that intended a write still runs, as far as this machine can tell."""
    if not isinstance(process, int) or isinstance(process, bool) or process <= 0:
        return False
    if process == os.getpid() or os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
