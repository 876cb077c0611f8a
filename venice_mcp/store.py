"""Durable local state: one append-only record of events, of which approvals are a view.

One SQLite file, owner-only, shared by every server and terminal of this user. It holds no secret in any form.
Each method opens its own connection, so threads and processes meet only in SQLite's own locking.
"""

import json
import os
import secrets
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from venice_mcp.errors import Changed, VeniceError

REFUSED_ON_TERMINAL = "refused on a terminal"
APPROVAL_LIFETIME = timedelta(minutes=10)
SCHEMA_VERSION = 1
_FILE = "state.sqlite3"
# The last two do not exist on Windows.
_PRIVATE_FILE = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # no letters or digits that look alike

State = Literal["pending", "granted", "denied", "superseded", "spent", "expired"]
Refusal = State | Literal["too_fast"]


@dataclass(frozen=True)
class Pace:
    """At most `most` spent approvals of these tools in any `window`, over all processes."""

    tools: tuple[str, ...]
    most: int
    window: timedelta


MAKING_PACE = Pace(("venice_create_api_key", "venice_create_web3_api_key"), 20, timedelta(seconds=60))
"""Venice allows 20 creates a minute (createApiKey)."""

_SCHEMA = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    account TEXT NOT NULL,
    approval TEXT NOT NULL,
    kind TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    data TEXT NOT NULL
);
-- An approval is asked, granted, denied, superseded and spent at most once each: this is what makes it single-use.
CREATE UNIQUE INDEX once ON events (approval, kind);
CREATE INDEX by_fingerprint ON events (fingerprint, kind);
CREATE TRIGGER append_only_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
-- REPLACE deletes without the trigger below, so a clash is refused before it can.
CREATE TRIGGER append_only_insert BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE seq = NEW.seq OR (approval = NEW.approval AND kind = NEW.kind))
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER append_only_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""


@dataclass(frozen=True)
class Approval:
    """One question and what became of it. `data` is what was frozen when it was asked."""

    code: str
    fingerprint: str
    account: str
    asked_at: datetime
    state: State
    how: str
    data: dict[str, Any]

    @property
    def expires_at(self) -> datetime:
        return self.asked_at + APPROVAL_LIFETIME


class StoreError(VeniceError):
    """The local record cannot be used; without it nothing may be written."""

    def __init__(self, what: str, next_step: str) -> None:
        super().__init__(what, next_step=next_step, code="store_unavailable", changed=Changed.NOTHING)


class Store:
    """The record in `folder`, made on first use. Times are aware UTC datetimes given by the caller."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / _FILE

    # --- approvals ----------------------------------------------------------------------------

    def ask(self, *, account: str, fingerprint: str, data: dict[str, Any], now: datetime) -> Approval:
        """Record a new question under a fresh code."""
        code = "-".join("".join(secrets.choice(_CODE_ALPHABET) for _ in range(4)) for _ in range(2))
        with self._transaction() as db:
            self._append(db, code, "asked", account, fingerprint, data, now)
        return Approval(code, fingerprint, account, now, "pending", "", data)

    def open_for(self, *, account: str, fingerprint: str, now: datetime) -> Approval | None:
        """The newest pending or granted approval of exactly this call, if there is one."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT approval FROM events WHERE fingerprint = ? AND account = ? AND kind = 'asked'"
                " ORDER BY seq DESC LIMIT 20",
                (fingerprint, account),
            ).fetchall()
            for (code,) in rows:
                approval = self._read(db, code, now)
                if approval is not None and approval.state in ("pending", "granted"):
                    return approval
        return None

    def refusal_to_tell(self, *, account: str, fingerprint: str, now: datetime) -> bool:
        """Whether the newest request of this call was refused on a terminal and nobody was told yet; tells it once."""
        with self._transaction() as db:
            row = db.execute(
                "SELECT approval FROM events WHERE fingerprint = ? AND account = ? AND kind = 'asked'"
                " ORDER BY seq DESC LIMIT 1",
                (fingerprint, account),
            ).fetchone()
            if row is None:
                return False
            kinds = dict(db.execute("SELECT kind, data FROM events WHERE approval = ?", (row[0],)).fetchall())
            approval = self._read(db, row[0], now)
            refused = json.loads(kinds.get("denied", "{}")).get("how") == REFUSED_ON_TERMINAL
            if approval is None or not refused or "told" in kinds or now >= approval.expires_at:
                return False
            self._append(db, approval.code, "told", account, fingerprint, {}, now)
            return True

    def get(self, code: str, now: datetime) -> Approval | None:
        with self._transaction() as db:
            return self._read(db, code, now)

    def waiting(self, now: datetime, account: str | None = None) -> list[Approval]:
        """Everything pending or granted, newest first."""
        oldest = (now - APPROVAL_LIFETIME).isoformat()
        with self._transaction() as db:
            rows = db.execute(
                "SELECT approval, account FROM events WHERE kind = 'asked' AND at > ? ORDER BY seq DESC LIMIT 200",
                (oldest,),
            ).fetchall()
            found = [self._read(db, code, now) for code, tag in rows if account in (None, tag)]
        return [item for item in found if item is not None and item.state in ("pending", "granted")]

    def settle(self, code: str, kind: Literal["granted", "denied", "superseded"], how: str, now: datetime) -> State:
        """Grant, deny or supersede a pending approval; says what state it is in afterwards."""
        with self._transaction() as db:
            approval = self._read(db, code, now)
            if approval is None:
                return "expired"
            if approval.state == "pending" or (approval.state == "granted" and kind != "granted"):
                self._append(db, code, kind, approval.account, approval.fingerprint, {"how": how}, now)
                return kind
            return approval.state

    def spend(self, code: str, *, how: str | None, now: datetime, pace: "Pace | None" = None) -> "Refusal | None":
        """Use an approval up, in one transaction: None for the one caller that did, else why it could not.

        `how` names the answer that grants it now; None spends only what was granted before. With a `pace`, no more
        than so many approvals of its tools are spent in its window.
        """
        with self._transaction() as db:
            approval = self._read(db, code, now)
            if approval is None:
                return "expired"
            if approval.state != "granted" and not (approval.state == "pending" and how is not None):
                return approval.state
            if pace is not None and len(self._spent(db, approval.account, pace.tools, now - pace.window)) >= pace.most:
                return "too_fast"
            if approval.state == "pending":
                self._append(db, code, "granted", approval.account, approval.fingerprint, {"how": how}, now)
            self._append(db, code, "spent", approval.account, approval.fingerprint, {}, now)
            return None

    def spent_since(self, *, account: str, tools: tuple[str, ...], since: datetime) -> list[datetime]:
        """When approvals of these tools were spent, oldest first: the pace of creates over all processes."""
        with self._transaction() as db:
            return self._spent(db, account, tools, since)

    @staticmethod
    def _spent(db: sqlite3.Connection, account: str, tools: tuple[str, ...], since: datetime) -> list[datetime]:
        query = (
            "SELECT s.at, json_extract(a.data, '$.tool') FROM events s"
            " JOIN events a ON a.approval = s.approval AND a.kind = 'asked'"
            " WHERE s.kind = 'spent' AND s.account = ? AND s.at > ? ORDER BY s.seq"
        )
        rows = db.execute(query, (account, since.isoformat())).fetchall()
        return [datetime.fromisoformat(at) for at, tool in rows if tool in tools]

    # --- the file -----------------------------------------------------------------------------

    def _read(self, db: sqlite3.Connection, code: str, now: datetime) -> Approval | None:
        rows = db.execute(
            "SELECT kind, at, account, fingerprint, data FROM events WHERE approval = ? ORDER BY seq", (code,)
        ).fetchall()
        events: dict[str, dict[str, Any]] = {kind: json.loads(data) for kind, _, _, _, data in rows}
        if "asked" not in events:
            return None
        _, at, account, fingerprint, _ = rows[0]
        asked_at = datetime.fromisoformat(at)
        state: State = "pending"
        for kind in ("spent", "denied", "superseded", "granted"):
            if kind in events:
                state = kind
                break
        # A clock set back must not revive an approval any more than one set forward may stretch it.
        if state in ("pending", "granted") and not (
            asked_at - timedelta(minutes=1) <= now < asked_at + APPROVAL_LIFETIME
        ):
            state = "expired"
        how = str(events.get("granted", {}).get("how", ""))
        return Approval(code, fingerprint, account, asked_at, state, how, events["asked"])

    @staticmethod
    def _append(
        db: sqlite3.Connection,
        code: str,
        kind: str,
        account: str,
        fingerprint: str,
        data: dict[str, Any],
        now: datetime,
    ) -> None:
        db.execute(
            "INSERT INTO events (at, account, approval, kind, fingerprint, data) VALUES (?, ?, ?, ?, ?, ?)",
            (now.isoformat(), account, code, kind, fingerprint, json.dumps(data, separators=(",", ":"))),
        )

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        try:
            db = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None
        finally:
            db.close()

    def _connect(self) -> sqlite3.Connection:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._refuse_shared(self.folder)
        # SQLite gives its journal files the mode of the main file, so that one is made private first.
        os.close(os.open(self.path, _PRIVATE_FILE, 0o600))
        self._keep_private(self.path)
        db = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            self._migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    @staticmethod
    def _refuse_shared(folder: Path) -> None:
        """Whoever may write to the folder could put another record in place of ours."""
        status = folder.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
            raise PermissionError(f"others may write to {folder}")

    @staticmethod
    def _keep_private(path: Path) -> None:
        status = path.stat()
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            raise PermissionError(f"{path} belongs to another user")
        if status.st_mode & 0o077:
            path.chmod(0o600)

    @staticmethod
    def _migrate(db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == SCHEMA_VERSION:
            return
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError("it was written by a newer venice-mcp")
        db.execute("BEGIN IMMEDIATE")
        # Another process may have migrated while this one waited for the lock.
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _split(_SCHEMA):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")

    def _unusable(self, error: Exception) -> StoreError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return StoreError(
            f"The local record of approvals in {self.folder} cannot be used ({reason}).",
            "Make the folder writable for this user only, or give another one with --state-dir.",
        )


def _split(script: str) -> list[str]:
    """The statements of a script; `executescript` would commit behind our back."""
    statements: list[str] = []
    current = ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current.strip())
            current = ""
    return statements
