"""The audit trail: whatever is altered in it is named, what is cut off shows against a checkpoint; its file's life."""

import json
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_harness import NOON, ROOT
from venice_mcp.store import Checkpoint, Entry, Store, StoreError, actor, as_json
from venice_mcp.store.record import GENESIS
from venice_mcp.store.trail import Verdict

FILE = "state.sqlite3"
DATA = {"tool": "venice_create_api_key", "headline": "Create?"}
COLUMNS = ("at", "account", "actor", "subject", "kind", "fingerprint", "data", "hash")
LENGTH = 9


def asked(store: Store) -> str:
    return store.approvals.ask(account="a:b:c", fingerprint="f", data=DATA, now=NOON).code


@cache
def _nine() -> bytes:
    """Three questions, two of them granted, spent and with a write that was intended."""
    with tempfile.TemporaryDirectory() as name, acting("somebody"):
        store = Store(Path(name))
        asked(store)
        for code in (asked(store), asked(store)):
            store.approvals.spend(code, how="answered", now=NOON, intended={"operation": "createApiKey"})
        assert [path.name for path in store.folder.iterdir()] == [FILE]
        return store.path.read_bytes()


def filled(folder: Path) -> Store:
    """A record of nine entries."""
    store = Store(folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    store.path.write_bytes(_nine())
    assert store.trail.checkpoint().seq == LENGTH
    return store


@contextmanager
def acting(who: str) -> Generator[None]:
    token = actor.set(who)
    try:
        yield
    finally:
        actor.reset(token)


@contextmanager
def unprotected(store: Store) -> Generator[sqlite3.Connection]:
    """The file in the hands of somebody who takes away what keeps it append-only."""
    db = sqlite3.connect(store.path)
    for kind in ("update", "insert", "delete"):
        db.execute(f"DROP TRIGGER append_only_{kind}")
    db.execute("DROP INDEX once")
    yield db
    db.commit()
    db.close()


def put(db: sqlite3.Connection, table: Sequence[Entry]) -> None:
    """Make these all the entries there are."""
    db.execute("DELETE FROM events")
    for item in table:
        row = (item.seq, *(getattr(item, name) for name in COLUMNS))
        db.execute(f"INSERT INTO events (seq, {', '.join(COLUMNS)}) VALUES (?{', ?' * len(COLUMNS)})", row)  # noqa: S608


def after(tamper: Callable[[list[Entry]], Sequence[Entry]], kept: Checkpoint | None = None) -> Verdict:
    """What a check says of a record whose entries were replaced so, every time it is opened afterwards."""
    with tempfile.TemporaryDirectory() as name:
        store = filled(Path(name))
        changed = tamper(store.trail.all())
        with unprotected(store) as db:
            put(db, changed)
        first = store.trail.verify(kept)
        assert Store(store.folder).trail.verify(kept) == first
        return first


# --- altered --------------------------------------------------------------------------------------


def test_looking_at_the_newest_entries_waits_for_nobody_that_writes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    asked(store)
    before = store.trail.checkpoint()
    db = sqlite3.connect(store.path, isolation_level=None)
    try:
        # Whoever waited would give up after ten seconds with an error.
        db.execute("BEGIN IMMEDIATE")
        assert store.trail.checkpoint() == before
    finally:
        db.close()


def test_an_untouched_record_is_intact(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.trail.verify() == Verdict(0)
    assert store.trail.checkpoint() == Checkpoint(0, GENESIS)
    filled(tmp_path)
    assert store.trail.verify() == Verdict(LENGTH)
    assert {entry.actor for entry in store.trail.all()} == {"somebody"}


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, LENGTH - 1),
    st.sampled_from(COLUMNS),
    st.one_of(
        st.none().map(lambda _: ""),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
        st.binary(max_size=8),
    ),
)
def test_whatever_is_altered_is_named(place: int, column: str, value: str | bytes) -> None:
    """Any column of any entry, and even what is no text."""

    def alter(table: list[Entry]) -> list[Entry]:
        assert getattr(table[place], column) != value
        table[place] = replace(table[place], **{column: value})
        return table

    verdict = after(alter)
    assert (verdict.broken, verdict.entries) == (place + 1, place)
    assert f"entry {place + 1} was altered" in verdict.why


def test_text_that_is_no_unicode_is_named_too(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with unprotected(store) as db:
        db.execute("UPDATE events SET actor = CAST(x'80ff' AS TEXT) WHERE seq = 4")
    assert store.trail.verify().broken == 4
    json.dumps(as_json(store.trail.all()[3])).encode()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, LENGTH - 2), st.booleans())
def test_whatever_is_removed_is_named(place: int, close_up: bool) -> None:
    """All but the last entry; with the later ones renumbered to hide it, too."""

    def remove(table: list[Entry]) -> list[Entry]:
        rest = table[:place] + table[place + 1 :]
        return [replace(item, seq=seq) for seq, item in enumerate(rest, 1)] if close_up else rest

    verdict = after(remove)
    assert verdict.broken == place + 1
    assert ("or one before it removed" if close_up else "is missing") in verdict.why


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, LENGTH - 1), min_size=2, max_size=2, unique=True))
def test_what_changed_places_is_named(places: list[int]) -> None:
    def reorder(table: list[Entry]) -> list[Entry]:
        one, other = places
        table[one], table[other] = (
            replace(table[other], seq=table[one].seq),
            replace(table[one], seq=table[other].seq),
        )
        return table

    assert after(reorder).broken == min(places) + 1


@settings(max_examples=12, deadline=None)
@given(st.integers(0, LENGTH), st.booleans())
def test_what_was_put_in_between_is_named(place: int, linked: bool) -> None:
    """Its own hash may fit: then the entry after it does not. Only at the end does it make a record that is whole."""

    def insert(table: list[Entry]) -> list[Entry]:
        forged = replace(table[0], seq=place + 1, subject="FORG-ERY1", kind="granted", hash="0" * 64)
        if linked:
            forged = replace(forged, hash=forged.chained(table[place - 1].hash if place else GENESIS))
        return [*table[:place], forged, *(replace(item, seq=item.seq + 1) for item in table[place:])]

    verdict = after(insert)
    if linked:
        assert verdict.broken == (place + 2 if place < LENGTH else None)
    else:
        assert verdict.broken == place + 1


def test_an_entry_before_the_first_is_named() -> None:
    verdict = after(lambda table: [replace(table[0], seq=0), *table])
    assert (verdict.broken, verdict.why) == (0, "entry 0 was put in before the first")


# --- checkpoints ----------------------------------------------------------------------------------


def end_of(table: Sequence[Entry]) -> Checkpoint:
    return Checkpoint(table[-1].seq, table[-1].hash)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, LENGTH - 1))
def test_a_cut_tail_shows_only_against_a_checkpoint(left: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        store = filled(Path(name))
        table, kept = store.trail.all(), store.trail.checkpoint()
        with unprotected(store) as db:
            put(db, table[:left])
        assert store.trail.verify() == Verdict(left)
        verdict = store.trail.verify(kept)
        assert verdict.broken == left + 1
        assert verdict.why == f"the record ends at entry {left}, and the checkpoint is at {LENGTH}"
        if left:
            assert store.trail.verify(end_of(table[:left])) == Verdict(left)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, LENGTH - 1), st.integers(1, LENGTH))
def test_a_record_written_anew_shows_only_against_a_checkpoint(place: int, kept_at: int) -> None:
    """Somebody alters an entry and chains all that follows afresh."""
    with tempfile.TemporaryDirectory() as name:
        store = filled(Path(name))
        table = store.trail.all()
        kept = end_of(table[:kept_at])
        table[place] = replace(table[place], actor="nobody")
        for at in range(place, LENGTH):
            table[at] = replace(table[at], hash=table[at].chained(table[at - 1].hash if at else GENESIS))
        with unprotected(store) as db:
            put(db, table)
        assert store.trail.verify() == Verdict(LENGTH)
        verdict = store.trail.verify(kept)
        if kept_at > place:
            assert (verdict.broken, verdict.why) == (kept_at, f"entry {kept_at} is not the one in the checkpoint")
        else:
            assert verdict == Verdict(LENGTH)


def test_a_checkpoint_of_an_older_state_holds_after_more_was_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = [store.trail.checkpoint()]
    for _ in range(4):
        asked(store)
        kept.append(store.trail.checkpoint())
    assert [point.seq for point in kept] == [0, 1, 2, 3, 4]
    assert {store.trail.verify(point) for point in kept} == {Verdict(4)}


@pytest.mark.parametrize("seq", [-1, 0, 1, LENGTH, LENGTH + 1, 10**30])
def test_a_checkpoint_of_another_record_is_told(tmp_path: Path, seq: int) -> None:
    store = filled(tmp_path)
    verdict = store.trail.verify(Checkpoint(seq, "1" * 64))
    assert verdict.broken is not None
    if seq <= LENGTH:
        assert "ends at entry" not in verdict.why


def test_the_newest_entries_are_read_oldest_first_and_by_account(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.approvals.ask(account="other", fingerprint="f", data=DATA, now=NOON)
    assert [entry.seq for entry in store.trail.latest(3)] == [8, 9, 10]
    assert [entry.seq for entry in store.trail.latest(2, "a:b:c")] == [8, 9]
    assert [entry.seq for entry in store.trail.latest(99, "other")] == [10]
    assert store.trail.latest(1, "nobody") == []


# --- records of version 1 -------------------------------------------------------------------------

VERSION_1 = """
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
PRAGMA user_version = 1;
"""
"""What version 1 made of an empty file."""
PENDING, GRANTED, SPENT, DENIED = "PEND-ING2", "GRAN-TED2", "SPEN-TTT2", "DENI-EDD2"
HISTORY = [
    (PENDING, "asked"),
    (SPENT, "asked"),
    (GRANTED, "asked"),
    (SPENT, "granted"),
    (DENIED, "asked"),
    (GRANTED, "granted"),
    (DENIED, "denied"),
    (SPENT, "spent"),
]


def version_1(folder: Path, *, more: int = 0) -> Store:
    """A record as version 1 left it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    db = sqlite3.connect(folder / FILE, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(VERSION_1)
    db.execute("BEGIN")
    for code, kind in [*HISTORY, *((f"MORE-{number}", "asked") for number in range(more))]:
        data = DATA if kind == "asked" else {} if kind == "spent" else {"how": "answered in the chat"}
        db.execute(
            "INSERT INTO events (at, account, approval, kind, fingerprint, data) VALUES (?, ?, ?, ?, ?, ?)",
            (NOON.isoformat(), "a:b:c", code, kind, "f", json.dumps(data, separators=(",", ":"))),
        )
    db.execute("COMMIT")
    db.close()
    (folder / FILE).chmod(0o600)
    return Store(folder)


def test_a_record_of_version_1_keeps_its_approvals(tmp_path: Path) -> None:
    store = version_1(tmp_path)
    found = {code: store.approvals.get(code, NOON) for code in (PENDING, GRANTED, SPENT, DENIED)}
    assert {code: each and each.state for code, each in found.items()} == {
        PENDING: "pending",
        GRANTED: "granted",
        SPENT: "spent",
        DENIED: "denied",
    }
    assert all(each and (each.data, each.asked_at) == (DATA, NOON) for each in found.values())
    assert store.approvals.spend(SPENT, how="again", now=NOON) == "spent"
    assert store.approvals.spend(DENIED, how="again", now=NOON) == "denied"
    assert store.approvals.spend(GRANTED, how=None, now=NOON) is None
    assert store.approvals.spend(PENDING, how="answered", now=NOON) is None
    assert store.approvals.spend(PENDING, how="again", now=NOON) == "spent"
    after = [store.approvals.get(code, NOON) for code in (SPENT, GRANTED, PENDING)]
    assert [each.state for each in after if each] == ["spent"] * 3


def test_a_record_of_version_1_is_chained_in_its_order(tmp_path: Path) -> None:
    store = version_1(tmp_path)
    assert store.trail.verify() == Verdict(len(HISTORY))
    assert [(entry.subject, entry.kind, entry.actor) for entry in store.trail.all()] == [
        (code, kind, "unknown") for code, kind in HISTORY
    ]
    kept = store.trail.checkpoint()
    asked(store)
    assert Store(tmp_path).trail.verify(kept) == Verdict(len(HISTORY) + 1)
    db = sqlite3.connect(tmp_path / FILE)
    for statement in ("UPDATE events SET kind = 'x'", "DELETE FROM events"):
        with pytest.raises(sqlite3.DatabaseError, match="append-only"):
            db.execute(statement)
        db.rollback()
    db.close()


OPENING = """
import sys
from pathlib import Path
from venice_mcp.store import Store
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(*store.trail.checkpoint().__dict__.values())
"""


def test_two_processes_may_bring_it_to_the_present_at_once(tmp_path: Path) -> None:
    store = version_1(tmp_path, more=2000)
    command, pipe = [sys.executable, "-c", OPENING, str(tmp_path)], subprocess.PIPE
    running = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
        for _ in range(2)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert ends[0] == ends[1] == "{} {}\n".format(*store.trail.checkpoint().__dict__.values())
    assert store.trail.verify() == Verdict(len(HISTORY) + 2000)


def test_a_record_of_a_newer_version_is_neither_read_nor_written_nor_purged(tmp_path: Path) -> None:
    store = version_1(tmp_path)
    db = sqlite3.connect(store.path)
    db.execute("PRAGMA user_version = 3")
    db.close()
    for use in (store.trail.verify, store.trail.all, store.record.purge, lambda: asked(store)):
        with pytest.raises(StoreError, match="newer"):
            use()
    db = sqlite3.connect(store.path)
    assert db.execute("SELECT count(*) FROM events").fetchone() == (len(HISTORY),)
    db.close()


# --- purging --------------------------------------------------------------------------------------


def test_after_a_purge_nothing_is_left_and_a_new_record_can_be_used(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.record.purge()
    assert list(tmp_path.iterdir()) == []
    assert not store.record.exists()
    code = asked(store)
    assert [entry.subject for entry in store.trail.all()] == [code]
    assert store.trail.verify() == Verdict(1)


@pytest.mark.skipif(sys.platform == "win32", reason="there a record in use is not removed")
def test_what_waits_while_the_record_is_purged_fails_and_does_not_vanish(tmp_path: Path) -> None:
    """A write that waits for the lock must not end up in a file that is no longer there."""
    store = filled(tmp_path)
    outcomes: list[str] = []

    def write() -> None:
        try:
            outcomes.append(asked(Store(tmp_path)))
        except StoreError as error:
            outcomes.append(error.code)

    with store.record.transaction():
        writers = [threading.Thread(target=write) for _ in range(3)]
        purger = threading.Thread(target=Store(tmp_path).record.purge)
        for thread in (purger, *writers):
            thread.start()
    for thread in (purger, *writers):
        thread.join(timeout=30)
    # Each was before the purge, or failed, or came after it and is in the new record.
    assert len(outcomes) == 3
    left = [entry.subject for entry in store.trail.all()] if store.record.exists() else []
    assert set(left) <= set(outcomes)
    assert store.trail.verify().broken is None


REPLACED = """
import os, sys
from datetime import datetime
from pathlib import Path
from venice_mcp.store import Store, StoreError
folder, other = Path(sys.argv[1]), sys.argv[2]
armed = True
def swap(event, args):
    global armed
    if armed and event == "sqlite3.connect/handle":
        armed = False
        for path in folder.iterdir():
            path.unlink()
        if other:
            os.rename(other, folder / "state.sqlite3")
sys.addaudithook(swap)
try:
    Store(folder).approvals.ask(account="a", fingerprint="f", data={}, now=datetime.fromisoformat(sys.argv[3]))
    print("written")
except StoreError as error:
    print(error.code)
"""


@pytest.mark.parametrize("by", ["nothing", "another record"])
def test_a_writer_whose_file_is_replaced_once_it_was_opened_is_told(tmp_path: Path, by: str) -> None:
    """The moment that the test before cannot choose."""
    store, other = filled(tmp_path / "state"), filled(tmp_path / "other")
    path = str(other.path) if by == "another record" else ""
    ended = subprocess.run(
        [sys.executable, "-c", REPLACED, str(store.folder), path, NOON.isoformat()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert (ended.stdout, ended.stderr) == ("store_unavailable\n", "")
    asked(store)
    assert store.trail.verify() == Verdict(LENGTH + 1 if path else 1)
