"""One append-only record of events in SQLite, each entry chained to the one before by a hash.

One owner-only file, shared by every server and terminal of this user. It holds no secret in any form. Each
transaction opens its own connection, so threads and processes meet only in SQLite's own locking.
"""

import hashlib
import json
import os
import secrets
import sqlite3
import stat
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from venice_mcp.errors import Changed, VeniceError
from venice_mcp.systems import kept_private

SCHEMA_VERSION = 2
GENESIS = "0" * 64
"""What the first entry is chained to."""
_FILE = "state.sqlite3"
_BESIDE = ("", "-wal", "-shm", "-journal")
# The last two do not exist on Windows.
_PRIVATE_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)

actor: ContextVar[str] = ContextVar("who acts", default="unknown")
"""Who does what is being recorded: a client's name, version and transport, or a person at a terminal."""

_COLUMNS = "seq, at, account, actor, subject, kind, fingerprint, data, hash"
_TABLE = """
CREATE TABLE {name} (
    seq INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    account TEXT NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    data TEXT NOT NULL,
    hash TEXT NOT NULL
);
"""
_AROUND = """
-- Each kind of event happens to a subject at most once: this is what makes an approval single-use.
CREATE UNIQUE INDEX once ON events (subject, kind);
CREATE INDEX by_fingerprint ON events (fingerprint, kind);
CREATE INDEX by_kind ON events (kind, at);
CREATE TRIGGER append_only_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
-- REPLACE deletes without the trigger below, so a clash is refused before it can.
CREATE TRIGGER append_only_insert BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE seq = NEW.seq OR (subject = NEW.subject AND kind = NEW.kind))
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER append_only_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""


class StoreError(VeniceError):
    """The local record cannot be used; without it nothing may be written."""

    def __init__(self, what: str, next_step: str) -> None:
        super().__init__(what, next_step=next_step, code="store_unavailable", changed=Changed.NOTHING)


@dataclass(frozen=True)
class Entry:
    """One event as it stands in the record. `data` is JSON text, `hash` covers everything and the hash before."""

    seq: int
    at: str
    account: str
    actor: str
    subject: str
    kind: str
    fingerprint: str
    data: str
    hash: str

    def chained(self, previous: str) -> str:
        """The hash this entry must have after `previous`."""
        parts = [
            self.seq,
            self.at,
            self.account,
            self.actor,
            self.subject,
            self.kind,
            self.fingerprint,
            self.data,
            previous,
        ]
        text = json.dumps(parts, separators=(",", ":"), default=_foreign)
        return hashlib.sha256(text.encode()).hexdigest()


def _as_text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _foreign(value: object) -> dict[str, str]:
    """What only somebody else can have put into an entry, in a form that no text of ours has."""
    return {"foreign": repr(value)}


class Transaction:
    """The record while it is locked for one reader and writer."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def rows(self, query: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        return self._db.execute(query, parameters).fetchall()

    def entries(self, where: str = "1", parameters: tuple[object, ...] = ()) -> Iterator[Entry]:
        """Entries in order; `where` is our own SQL."""
        for row in self._db.execute(f"SELECT {_COLUMNS} FROM events WHERE {where} ORDER BY seq", parameters):  # noqa: S608
            yield Entry(*row)

    def append(
        self, subject: str, kind: str, *, account: str, fingerprint: str = "", data: dict[str, Any], now: datetime
    ) -> None:
        """Add one entry.

        Raises:
            sqlite3.IntegrityError: this kind of event happened to this subject before.
        """
        last = self._db.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        seq, previous = (last[0] + 1, last[1]) if last else (1, GENESIS)
        text = json.dumps(data, separators=(",", ":"))
        entry = Entry(seq, now.isoformat(), account, actor.get(), subject, kind, fingerprint, text, "")
        self._insert("events", entry, previous)

    def _insert(self, table: str, entry: Entry, previous: str) -> str:
        link = entry.chained(previous)
        values = (
            entry.seq,
            entry.at,
            entry.account,
            entry.actor,
            entry.subject,
            entry.kind,
            entry.fingerprint,
            entry.data,
            link,
        )
        self._db.execute(f"INSERT INTO {table} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608
        return link

    def migrate(self) -> None:
        """Bring an empty file or an older record to the present schema."""
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == SCHEMA_VERSION:  # another process was faster
            return
        self._run(_TABLE.format(name="chained"))
        if version == 1:
            # In version 1 nothing was chained and nobody was named; what is there is chained as it is.
            previous = GENESIS
            older = self._db.execute("SELECT at, account, approval, kind, fingerprint, data FROM events ORDER BY seq")
            for seq, (at, account, subject, kind, fingerprint, data) in enumerate(older.fetchall(), 1):
                entry = Entry(seq, at, account, "unknown", subject, kind, fingerprint, data, "")
                previous = self._insert("chained", entry, previous)
            self._run("DROP TABLE events;")
        self._run("ALTER TABLE chained RENAME TO events;")
        self._run(_AROUND)
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _run(self, script: str) -> None:
        """The statements of a script; `executescript` would commit behind our back."""
        current = ""
        for line in script.splitlines(keepends=True):
            current += line
            if sqlite3.complete_statement(current):
                self._db.execute(current)
                current = ""


class Record:
    """The record in `folder`, made on first use. Times are aware UTC datetimes given by the caller."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / _FILE

    def exists(self) -> bool:
        """Whether there is a record; looking makes none.

        Raises:
            StoreError: this user may not look.
        """
        try:
            self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._unusable(error) from None
        return True

    @contextmanager
    def transaction(self, *, reading: bool = False) -> Generator[Transaction]:
        """All or nothing, one at a time over all processes; for `reading` alone it waits for nobody that writes.

        Raises:
            StoreError: the record cannot be read or written.
        """
        try:
            db, opened = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None
        try:
            db.execute("BEGIN" if reading else "BEGIN IMMEDIATE")
            if not os.path.samestat(os.stat(self.path), opened):
                # Purged or replaced while this one waited for the lock: what is written here would be lost.
                raise OSError("it was replaced meanwhile")
            yield Transaction(db)
            db.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None
        finally:
            db.close()

    def purge(self) -> None:
        """Remove the record and what SQLite keeps beside it; whoever waits for it fails rather than writes to nothing.

        Raises:
            StoreError: it cannot be removed.
        """
        if sys.platform == "win32":
            self._purge_closed()
            return
        with self.transaction():
            for suffix in _BESIDE:
                self.path.with_name(_FILE + suffix).unlink(missing_ok=True)

    def _purge_closed(self) -> None:
        """There a file that is open cannot be removed, by this process or while another one has it."""
        with self.transaction():
            pass
        try:
            for suffix in _BESIDE:
                self.path.with_name(_FILE + suffix).unlink(missing_ok=True)
        except OSError:
            raise StoreError(
                f"The local record in {self.folder} is in use.",
                "End the servers and terminals that use it, then run this again.",
            ) from None

    def _connect(self) -> tuple[sqlite3.Connection, os.stat_result]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._refuse_shared(self.folder)
        opened = self._made_private()
        db = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        # Text that somebody damaged must still be readable, or the entry could not be named; no two texts read alike.
        db.text_factory = _as_text
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            if sys.platform == "darwin":
                db.execute("PRAGMA fullfsync = ON")  # there fsync only hands it to the drive
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise sqlite3.DatabaseError("it was written by a newer venice-mcp")
            if version < SCHEMA_VERSION:
                db.execute("BEGIN IMMEDIATE")
                Transaction(db).migrate()
                db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db, opened

    @staticmethod
    def _refuse_shared(folder: Path) -> None:
        """Whoever may write to the folder could put another record in place of ours."""
        status = folder.stat()
        if sys.platform == "win32":
            if not kept_private(folder):
                raise PermissionError(f"{folder} is not in your user profile, so others might write to it")
        elif status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise PermissionError(f"others may write to {folder}")

    def _made_private(self) -> os.stat_result:
        """The file, private before SQLite opens it, which gives its journal files the same mode.

        The file itself is never opened here: closing it again would drop the locks that SQLite holds on it for other
        threads of this process (POSIX locks belong to a process), and what they commit could be lost.
        """
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            self._put_there()
            status = self.path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(f"{self.path} is no plain file")
        if sys.platform == "win32":
            return status  # its permissions are those of the folder
        if status.st_uid != os.getuid():
            raise PermissionError(f"{self.path} belongs to another user")
        if status.st_mode & 0o077:
            self.path.chmod(0o600)
        return status

    def _put_there(self) -> None:
        """An empty private file, under a name that nobody locks until it is closed."""
        beside = self.path.with_name(f".{_FILE}.{secrets.token_hex(8)}")
        os.close(os.open(beside, _PRIVATE_FILE, 0o600))
        try:
            os.link(beside, self.path)
        except FileExistsError:
            pass  # another process was faster
        except OSError:
            # No links on this file system. Only the very first use of the record is then without that care.
            with suppress(FileExistsError):
                os.close(os.open(self.path, _PRIVATE_FILE, 0o600))
        finally:
            beside.unlink()

    def _unusable(self, error: Exception) -> StoreError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return StoreError(
            f"The local record in {self.folder} cannot be used ({reason}).",
            "Make the folder writable for this user only, or give another one with --state-dir; if the server runs as"
            " another user, run this as that user.",
        )
