"""The record: an approval counts once, in time, for one process, whatever the order of events."""

import itertools
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule

from tests.test_harness import NOON, ROOT
from venice_mcp.store import APPROVAL_LIFETIME, MAKING_PACE, Pace, Store, StoreError
from venice_mcp.store.record import SCHEMA_VERSION

DATA = {"tool": "venice_create_api_key", "headline": "Create?"}
FILE = "state.sqlite3"


def asked(store: Store, now: datetime = NOON, fingerprint: str = "f") -> str:
    return store.approvals.ask(account="a", fingerprint=fingerprint, data=DATA, now=now).code


class Approvals(RuleBasedStateMachine):
    """Asks, grants, denies, supersedes and spends in any order and at any time, beside a model of what may happen."""

    codes = Bundle("codes")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.stores = [Store(Path(self.folder.name)), Store(Path(self.folder.name))]
        self.now = NOON
        self.asked_at: dict[str, datetime] = {}
        self.state: dict[str, str] = {}
        self.spent: dict[str, int] = {}
        self.turn = itertools.cycle(self.stores)

    def teardown(self) -> None:
        self.folder.cleanup()

    def in_time(self, code: str) -> bool:
        return self.asked_at[code] - timedelta(minutes=1) <= self.now < self.asked_at[code] + APPROVAL_LIFETIME

    @rule(target=codes, fingerprint=st.sampled_from(["f", "g"]))
    def ask(self, fingerprint: str) -> str:
        code = asked(next(self.turn), self.now, fingerprint)
        assert code not in self.asked_at
        self.asked_at[code], self.state[code], self.spent[code] = self.now, "pending", 0
        return code

    @rule(seconds=st.sampled_from([-120, -61, -1, 0, 1, 59, 299, 300, 599, 600, 601]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(code=codes, kind=st.sampled_from(["granted", "denied", "superseded"]))
    def settle(self, code: str, kind: str) -> None:
        after = next(self.turn).approvals.settle(code, kind, "how", self.now)  # pyright: ignore[reportArgumentType]
        open_now = self.state[code] in ("pending", "granted") and self.in_time(code)
        if open_now and not (self.state[code] == "granted" and kind == "granted"):
            assert after == kind
            self.state[code] = kind
        else:
            assert after != "pending"

    @rule(code=codes, how=st.sampled_from([None, "answered"]))
    def spend(self, code: str, how: str | None) -> None:
        refused = next(self.turn).approvals.spend(code, how=how, now=self.now)
        allowed = self.in_time(code) and (
            self.state[code] == "granted" or (self.state[code] == "pending" and how is not None)
        )
        assert (refused is None) == allowed
        if refused is None:
            self.state[code] = "spent"
            self.spent[code] += 1
        assert self.spent[code] <= 1

    @rule(code=codes)
    def look(self, code: str) -> None:
        found = next(self.turn).approvals.get(code, self.now)
        assert found is not None
        expected = self.state[code]
        if expected in ("pending", "granted") and not self.in_time(code):
            expected = "expired"
        assert found.state == expected
        assert found.data == DATA

    @rule(fingerprint=st.sampled_from(["f", "g", "h"]))
    def find_open(self, fingerprint: str) -> None:
        found = next(self.turn).approvals.open_for(account="a", fingerprint=fingerprint, now=self.now)
        assert next(self.turn).approvals.open_for(account="b", fingerprint=fingerprint, now=self.now) is None
        if found is not None:
            assert found.fingerprint == fingerprint
            assert found.state == self.state[found.code]
            assert found.state in ("pending", "granted")
            assert self.in_time(found.code)

    @rule()
    def list_waiting(self) -> None:
        for found in next(self.turn).approvals.waiting(self.now):
            assert self.state[found.code] in ("pending", "granted")
            assert self.in_time(found.code)


TestApprovals = Approvals.TestCase
TestApprovals.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)

SPENDING = """
import sys
from datetime import datetime
from pathlib import Path
from venice_mcp.store import Store
store, now = Store(Path(sys.argv[1])), datetime.fromisoformat(sys.argv[2])
sys.stdin.readline()
print(sum(store.approvals.spend(code, how="x", now=now) is None for code in sys.argv[3:]))
"""


def test_of_several_processes_one_spends(tmp_path: Path) -> None:
    codes = [asked(Store(tmp_path)) for _ in range(12)]
    command = [sys.executable, "-c", SPENDING, str(tmp_path), NOON.isoformat(), *codes]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
        for _ in range(3)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    counts = [int(process.communicate(timeout=60)[0]) for process in running]
    assert sum(counts) == len(codes)


def test_what_was_granted_on_a_terminal_is_spent_without_an_answer(tmp_path: Path) -> None:
    store = Store(tmp_path)
    code = asked(store)
    assert store.approvals.spend(code, how=None, now=NOON) == "pending"
    assert store.approvals.settle(code, "granted", "approved on a terminal", NOON) == "granted"
    assert store.approvals.spend(code, how=None, now=NOON) is None
    assert store.approvals.spend(code, how="again", now=NOON) == "spent"
    assert store.approvals.spend("NONE-SUCH", how="x", now=NOON) == "expired"


def test_the_pace_of_creates_is_counted_by_account_and_operation(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seconds, operation in ((0, "createApiKey"), (30, "createApiKey"), (40, "updateApiKey"), (59, "createApiKey")):
        moment = NOON + timedelta(seconds=seconds)
        intended = {"operation": operation}
        assert store.approvals.spend(asked(store, moment), how="x", now=moment, intended=intended) is None
    since = NOON + timedelta(seconds=10)
    assert len(store.approvals.written_since(MAKING_PACE, account="a", since=since)) == 2
    assert not store.approvals.written_since(MAKING_PACE, account="b", since=since)
    revoking = Pace(("deleteApiKey",), 20, timedelta(minutes=1))
    assert not store.approvals.written_since(revoking, account="a", since=since)


# --- the file --------------------------------------------------------------------------------------


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = tmp_path / "deep" / "state"
        store = Store(folder)
        asked(store)
        db = sqlite3.connect(folder / FILE)
        db.execute("BEGIN IMMEDIATE")  # so that the journal files are there to be looked at
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
        db.close()
    finally:
        os.umask(before)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")
def test_a_file_that_others_could_read_is_closed(tmp_path: Path) -> None:
    asked(Store(tmp_path))
    (tmp_path / FILE).chmod(0o644)
    asked(Store(tmp_path))
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_may_write_to_holds_no_record(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(mode)
    refused(Store(folder))
    assert not list(folder.iterdir())


def test_nothing_recorded_can_be_changed_or_deleted(tmp_path: Path) -> None:
    code = asked(Store(tmp_path))
    db = sqlite3.connect(tmp_path / FILE)
    for statement in (
        "UPDATE events SET kind = 'granted'",
        "UPDATE events SET at = '2099-01-01'",
        "DELETE FROM events",
        f"DELETE FROM events WHERE subject = '{code}'",  # noqa: S608
    ):
        with pytest.raises(sqlite3.DatabaseError, match="append-only"):
            db.execute(statement)
        db.rollback()
    db.close()
    found = Store(tmp_path).approvals.get(code, NOON)
    assert found is not None
    assert found.state == "pending"


def test_nothing_recorded_can_be_replaced(tmp_path: Path) -> None:
    asked(Store(tmp_path))
    db = sqlite3.connect(tmp_path / FILE)
    with pytest.raises(sqlite3.DatabaseError, match="append-only"):
        db.execute(
            "REPLACE INTO events"
            " SELECT seq, at, account, actor, subject, 'granted', fingerprint, data, hash FROM events"
        )
    db.close()


def test_an_event_happens_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    code = asked(store)
    store.approvals.spend(code, how="x", now=NOON)
    db = sqlite3.connect(tmp_path / FILE)
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(
            "INSERT INTO events (seq, at, account, actor, subject, kind, fingerprint, data, hash)"
            " VALUES (99, 'x', 'a', 'somebody', ?, 'spent', 'f', '{}', 'h')",
            (code,),
        )
    db.close()


def refused(store: Store) -> str:
    with pytest.raises(StoreError) as caught:
        asked(store)
    error = caught.value
    assert error.code == "store_unavailable"
    assert "--state-dir" in error.next_step
    return error.what


def test_a_record_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    asked(Store(tmp_path))
    db = sqlite3.connect(tmp_path / FILE)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    assert "newer" in refused(Store(tmp_path))


def test_something_that_is_no_record_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"these are the notes of somebody else\n" * 200)
    before = (tmp_path / FILE).read_bytes()
    refused(Store(tmp_path))
    assert (tmp_path / FILE).read_bytes() == before


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(Store(tmp_path / "file" / "state"))


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / FILE).symlink_to(elsewhere)
    refused(Store(folder))
    assert elsewhere.read_text() == ""


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o500)
    refused(Store(folder))


FILLING = """
import resource, signal, sys
from datetime import datetime
from pathlib import Path
from venice_mcp.store import Store, StoreError
store, now = Store(Path(sys.argv[1])), datetime.fromisoformat(sys.argv[2])
code = store.approvals.ask(account="a", fingerprint="f", data={}, now=now).code
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    for _ in range(200):
        store.approvals.ask(account="a", fingerprint="f", data={"x": "y" * 4000}, now=now)
    print("never full")
except StoreError as error:
    print("told", error.code)
"""


def test_a_full_disk_is_told_and_spoils_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILLING, str(tmp_path), NOON.isoformat()]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.split() == ["told", "store_unavailable"], done.stderr
    assert Store(tmp_path).approvals.waiting(NOON)
    db = sqlite3.connect(tmp_path / FILE)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


APPENDING = """
import sys, threading
from datetime import datetime
from pathlib import Path
from venice_mcp.store import Store
store, now, me = Store(Path(sys.argv[1])), datetime.fromisoformat(sys.argv[2]), sys.argv[3]
def append(thread):
    for number in range(40):
        with store.record.transaction() as db:
            db.append(f"{me}-{thread}-{number}", "asked", account="a", data={}, now=now)
threads = [threading.Thread(target=append, args=(name,)) for name in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_nothing_is_lost_between_threads_of_several_processes(tmp_path: Path) -> None:
    # Closing any descriptor of a file drops the locks that SQLite holds on it for other threads of the process.
    running = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDING, str(tmp_path / "state"), NOON.isoformat(), f"p{number}"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
        )
        for number in range(3)
    ]
    assert [process.wait(timeout=90) for process in running] == [0, 0, 0]
    store = Store(tmp_path / "state")
    assert (store.trail.verify().entries, store.trail.verify().broken) == (3 * 4 * 40, None)
