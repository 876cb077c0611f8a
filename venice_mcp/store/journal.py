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

from venice_mcp.store.record import Entry, Record, Transaction

Outcome = Literal[
    "done", "made", "refused", "unknown", "delivered", "displayed", "lost", "acknowledged", "settled", "proven"
]
Standing = Literal["unknown", "undelivered", "displayed"]
UNDER_WAY = timedelta(minutes=15)
"""Longer than a write may wait for its turn, be answered, and have its secret handed to a command."""

MAKING = ("createApiKey", "postApiKeyGenerateWeb3Key")
# News that comes after a matter was closed opens it again: it was closed on what was known then.
_NOT_CLOSED = """
SELECT i.subject FROM events i WHERE i.kind = 'intended' AND i.account {accounts} AND NOT EXISTS (
    SELECT 1 FROM events c WHERE c.subject = i.subject
    AND (c.kind IN ('done', 'refused', 'delivered') OR c.kind GLOB 'acknowledged*' OR c.kind GLOB 'settled*')
    AND NOT EXISTS (SELECT 1 FROM events n WHERE n.subject = i.subject AND n.seq > c.seq
                    AND n.kind IN ('made', 'unknown', 'displayed', 'lost')))
ORDER BY i.seq
"""
_MADE_IDS = "SELECT account, json_extract(data, '$.id') FROM events WHERE kind = 'made'"
_REPEATED = ("acknowledged", "settled")
"""What may be recorded about a write more than once."""


@dataclass(frozen=True)
class Matter:
    """A write that is not accounted for.

    Attributes:
        write: its name in the record.
        account: under which it was recorded.
        standing: "unknown" (whether it was done), "undelivered" (a key was made, its secret reached nobody that the
            record knows of), "displayed" (the secret was shown, and nobody said that it was stored).
        intended: what was recorded before it was sent.
        at: when that was.
        key_id, last6: the key it made, if that is known.
        lost: it is certain that nobody has the secret.
        found: the key was only found in the list by its name, Venice did not answer with it.
        under_way: the process that intended it still runs, and has not said what became of it.
        made_at: when the key was made, or its secret displayed.
    """

    write: str
    account: str
    standing: Standing
    intended: Mapping[str, Any]
    at: datetime
    key_id: str | None
    last6: str | None
    lost: bool
    under_way: bool
    found: bool
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

    def intend_back(self, write: str, *, account: str, data: Mapping[str, Any], now: datetime) -> str:
        """Record the next attempt at undoing a write, before it is sent; its name."""
        with self._record.transaction() as db:
            before = db.rows(
                "SELECT count(*) FROM events WHERE kind = 'intended' AND (subject = ? OR subject GLOB ?)",
                (f"{write}/back", f"{write}/back.*"),
            )[0][0]
            back = f"{write}/back" if before == 0 else f"{write}/back.{before + 1}"
            db.append(back, "intended", account=account, data=dict(data), now=now)
            return back

    def note(self, write: str, outcome: Outcome, data: Mapping[str, Any], now: datetime) -> None:
        """Record what became of a write; what was already recorded stays."""
        with self._record.transaction() as db:
            entries = {entry.kind: entry for entry in db.entries("subject = ?", (write,))}
            first = entries.get("intended")
            if first is None or (outcome in entries and outcome not in _REPEATED):
                return
            self._append(db, first, entries, outcome, data, now)
            if outcome in ("done", "settled"):
                self._close_revoked(db, json.loads(first.data), data, first.account, now)

    def open_matters(self, account: str, now: datetime) -> list[Matter]:
        """What is not accounted for at this Venice, oldest first, whichever ADMIN key it was done with."""
        with self._record.transaction() as db:
            return self._open(db, account, now)

    def made_under(self, key_id: str, account: str) -> str | None:
        """How the making of this key was approved, if this Venice answered with it here, to one create and no other.

        A key that was only found in the list afterwards may be somebody else's.
        """
        query = (
            "SELECT m.account, g.data FROM events m"
            " JOIN events g ON g.subject = substr(m.subject, 1, instr(m.subject, '/') - 1) AND g.kind = 'granted'"
            " WHERE m.kind = 'made' AND json_extract(m.data, '$.id') = ? AND json_extract(m.data, '$.how') IS NULL"
        )
        with self._record.transaction() as db:
            rows = [data for tag, data in db.rows(query, (key_id,)) if place_of(tag) == place_of(account)]
        return str(json.loads(rows[0]).get("how", "")) if len(rows) == 1 else None

    def delivered(self) -> set[tuple[str, str]]:
        """The paths as they were given to which secrets of new keys were saved, with the keys' last six characters."""
        query = (
            "SELECT json_extract(d.data, '$.to.path'), json_extract(m.data, '$.last6') FROM events d"
            " JOIN events m ON m.subject = d.subject AND m.kind = 'made' WHERE d.kind = 'delivered'"
        )
        with self._record.transaction() as db:
            return {(path, last6) for path, last6 in db.rows(query) if path and last6}

    def made_ids(self, account: str) -> set[str]:
        """Every key of this Venice that is known to have been made from here."""
        with self._record.transaction() as db:
            return {str(key_id) for tag, key_id in db.rows(_MADE_IDS) if place_of(tag) == place_of(account)}

    @staticmethod
    def _append(
        db: Transaction,
        first: Entry,
        entries: Mapping[str, Entry],
        outcome: str,
        data: Mapping[str, Any],
        now: datetime,
    ) -> None:
        again = sum(kind.partition("-")[0] == outcome for kind in entries)
        kind = outcome if again == 0 else f"{outcome}-{again + 1}"
        db.append(first.subject, kind, account=first.account, fingerprint=first.fingerprint, data=dict(data), now=now)

    def _open(self, db: Transaction, account: str, now: datetime) -> list[Matter]:
        place = place_of(account)
        tags = [tag for (tag,) in db.rows("SELECT DISTINCT account FROM events WHERE kind = 'intended'")]
        same = tuple(tag for tag in tags if place_of(tag) == place)
        if not same:
            return []
        accounts = f"IN ({', '.join('?' * len(same))})"
        found = db.rows(_NOT_CLOSED.format(accounts=accounts), same)
        return [self._matter(list(db.entries("subject = ?", (write,))), now) for (write,) in found]

    @staticmethod
    def _matter(story: list[Entry], now: datetime) -> Matter:
        entries = {entry.kind: entry for entry in story}
        first = entries["intended"]
        intended = json.loads(first.data)
        at = datetime.fromisoformat(first.at)
        made = entries.get("made")
        known: Mapping[str, Any] = json.loads(made.data) if made else {}
        standing: Standing = "unknown"
        if made is not None:
            standing = "displayed" if "displayed" in entries and "lost" not in entries else "undelivered"
        shown = entries.get("displayed") or made
        silent = not entries.keys() & {"unknown", "lost", "displayed"}
        return Matter(
            write=first.subject,
            account=first.account,
            standing=standing,
            intended=intended,
            at=at,
            key_id=known.get("id"),
            last6=known.get("last6"),
            lost="lost" in entries,
            found="how" in known,
            under_way=silent and timedelta() <= now - at < UNDER_WAY and _runs(intended.get("process")),
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
                story = {entry.kind: entry for entry in db.entries("subject = ?", (matter.write,))}
                self._append(db, story["intended"], story, "settled", {"as": "revoked"}, now)


def place_of(account: str) -> str:
    """Which Venice an account tag is about, without the last six characters of the ADMIN key in use.

    A sandbox in a process has no such part: it ends with its process, and is like no other one.
    """
    return account if account.startswith("sandbox:") else account.rpartition(":")[0]


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
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
