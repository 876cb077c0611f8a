"""The audit trail: the whole record, entry by entry, and the proof that nothing in it was altered or cut off."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from venice_mcp.store.record import GENESIS, Entry, Record


@dataclass(frozen=True)
class Checkpoint:
    """How far the record went and its hash there, kept somewhere else: reveals what is cut off or rewritten later."""

    seq: int
    hash: str


@dataclass(frozen=True)
class Verdict:
    """`broken` is the first entry that does not fit and `why`; None when everything does."""

    entries: int
    broken: int | None = None
    why: str = ""


class Trail:
    """Reads the record as an audit trail."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def latest(self, most: int, account: str | None = None) -> list[Entry]:
        """The newest entries, oldest of them first."""
        with self._record.transaction(reading=True) as db:
            where = "1" if account is None else "account = ?"
            last = f"seq IN (SELECT seq FROM events WHERE {where} ORDER BY seq DESC LIMIT ?)"  # noqa: S608 - our own words
            return list(db.entries(last, (most,) if account is None else (account, most)))

    def all(self) -> list[Entry]:
        with self._record.transaction() as db:
            return list(db.entries())

    def checkpoint(self) -> Checkpoint:
        """The present end of the record."""
        newest = self.latest(1)
        return Checkpoint(newest[-1].seq, newest[-1].hash) if newest else Checkpoint(0, GENESIS)

    def verify(self, kept: Checkpoint | None = None) -> Verdict:
        """Recompute the chain, and compare it with a checkpoint that was kept elsewhere."""
        previous, count = GENESIS, 0
        passed = kept is None or kept == Checkpoint(0, GENESIS)
        with self._record.transaction() as db:
            for count, entry in enumerate(db.entries(), 1):
                if entry.seq < count:
                    return Verdict(count - 1, entry.seq, f"entry {entry.seq} was put in before the first")
                if entry.seq > count:
                    return Verdict(count - 1, count, f"entry {count} is missing")
                if entry.hash != entry.chained(previous):
                    return Verdict(count - 1, entry.seq, f"entry {entry.seq} was altered, or one before it removed")
                if kept is not None and entry.seq == kept.seq:
                    if entry.hash != kept.hash:
                        return Verdict(count - 1, entry.seq, f"entry {entry.seq} is not the one in the checkpoint")
                    passed = True
                previous = entry.hash
        if not passed and kept is not None:
            if kept.seq <= count:
                return Verdict(count, kept.seq, f"the checkpoint is at {kept.seq}, where no entry is like it")
            return Verdict(count, count + 1, f"the record ends at entry {count}, and the checkpoint is at {kept.seq}")
        return Verdict(count)


def as_json(entry: Entry) -> dict[str, Any]:
    """An entry for a reader: its data unpacked, nothing left out; what somebody damaged is given as it stands."""
    shown: dict[str, Any] = {
        name: value if isinstance(value, str | int) else repr(value) for name, value in asdict(entry).items()
    }
    return shown | {"data": unpacked(entry)}


def unpacked(entry: Entry) -> Any:
    """The data of an entry; its text where somebody damaged it so that it cannot be unpacked."""
    try:
        return json.loads(entry.data)
    except (ValueError, TypeError, RecursionError):
        return str(entry.data)
