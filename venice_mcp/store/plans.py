"""Plans: approvals that cover several recorded steps, and how far each step came, as a view of the record.

The first attempt at step 3 of the approval CODE is called `CODE/3` in the journal, the second one `CODE/3.2`.
"""

import hashlib
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from venice_mcp.store.approvals import Approvals, Pace, Refusal
from venice_mcp.store.journal import MAKING, place_of
from venice_mcp.store.record import Entry, Record, Transaction

PLAN_LIFETIME = timedelta(hours=24)
"""For how long after its approval a plan may be carried on."""

StepState = Literal["todo", "done", "refused", "open"]
PlanEnd = Literal["done", "given up", "undone"]


@dataclass(frozen=True)
class StepStanding:
    """How far one step came.

    Attributes:
        state: "todo" also after an attempt that left nothing behind; "open" when what became of it is not known, or a
            key was made whose secret is not accounted for.
        write: the latest attempt's name in the journal; empty before the first.
        attempts: how many there were.
        intended: the latest attempt as it was recorded before it was sent.
        key_id, last6: of the key it made.
        found: that key was only found in the list afterwards, Venice did not answer with it.
        why: the reason of a refusal.
        proven: whether the key it made was seen to work.
    """

    state: StepState = "todo"
    write: str = ""
    attempts: int = 0
    intended: Mapping[str, Any] = field(default_factory=dict[str, Any])
    key_id: str | None = None
    last6: str | None = None
    found: bool = False
    why: str = ""
    proven: bool = False


@dataclass(frozen=True)
class RecordedPlan:
    """A plan that was approved and begun. `data` is what was frozen when it was asked for."""

    code: str
    account: str
    begun_at: datetime
    data: Mapping[str, Any]
    standings: tuple[StepStanding, ...]
    end: str | None = None

    @property
    def expires_at(self) -> datetime:
        return self.begun_at + PLAN_LIFETIME

    @property
    def as_of(self) -> str:
        """How far every step came, in a form that shows any change."""
        told = [[each.state, each.write, each.key_id] for each in self.standings]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def runs(self, now: datetime) -> bool:
        """Whether it may be carried on; a clock that was set back revives nothing."""
        return self.end is None and self.begun_at - timedelta(minutes=1) <= now < self.expires_at


@dataclass(frozen=True)
class Replacement:
    """When a key's successor was asked for, and which key that is, where that is known."""

    at: datetime
    key_id: str | None
    last6: str | None


class Plans:
    """Approvals with steps, once they are begun."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._carried_out: set[str] = set()

    @contextmanager
    def alone(self, code: str) -> Generator[bool]:
        """Whether nobody else in this process carries this plan out, and nobody will while it lasts."""
        alone = code not in self._carried_out
        self._carried_out.add(code)
        try:
            yield alone
        finally:
            if alone:
                self._carried_out.discard(code)

    def get(self, code: str) -> RecordedPlan | None:
        """A plan that was begun; None for anything else."""
        with self._record.transaction() as db:
            return self._read(db, code)

    def running(self, *, account: str, fingerprint: str, now: datetime) -> RecordedPlan | None:
        """The newest plan of exactly this call that may be carried on."""
        query = (
            "SELECT subject FROM events WHERE fingerprint = ? AND account = ? AND kind = 'begun'"
            " ORDER BY seq DESC LIMIT 5"
        )
        with self._record.transaction() as db:
            for (code,) in db.rows(query, (fingerprint, account)):
                plan = self._read(db, code)
                if plan is not None and plan.runs(now):
                    return plan
        return None

    def open(self, account: str) -> list[RecordedPlan]:
        """Plans of this Venice that were begun and not ended, oldest first."""
        query = (
            "SELECT b.subject, b.account FROM events b WHERE b.kind = 'begun' AND NOT EXISTS"
            " (SELECT 1 FROM events e WHERE e.subject = b.subject AND e.kind = 'ended') ORDER BY b.seq"
        )
        with self._record.transaction() as db:
            codes = [code for code, tag in db.rows(query) if place_of(tag) == place_of(account)]
            found = [self._read(db, code) for code in codes]
        return [plan for plan in found if plan is not None]

    def replacement(self, key_id: str, account: str) -> Replacement | None:
        """By the latest plan that was to replace this key and was not taken back; None without one."""
        query = (
            "SELECT a.subject, a.account FROM events a JOIN events b ON b.subject = a.subject AND b.kind = 'begun'"
            " WHERE a.kind = 'asked' AND json_extract(a.data, '$.about.replaces') = ? ORDER BY b.seq DESC"
        )
        with self._record.transaction() as db:
            for code, tag in db.rows(query, (key_id,)):
                plan = self._read(db, code) if place_of(tag) == place_of(account) else None
                if plan is not None and plan.end != "undone" and plan.standings[0].state == "done":
                    made = next((each for each in plan.standings if each.key_id), StepStanding())
                    return Replacement(plan.begun_at, made.key_id, made.last6)
        return None

    def begin(
        self, code: str, *, how: str | None, now: datetime, undoes: str | None = None, as_of: str | None = None
    ) -> Refusal | None:
        """Spend a plan's approval and record it as begun, in one transaction: None, or why it may not be.

        Args:
            code: of the approval.
            how: as for `Approvals.spend`.
            now: the time.
            undoes: the plan it takes back, which is at its end with that; it must stand as it did when the person was
                asked (`as_of`), or what they were shown is not what would be done.
            as_of: see there.
        """
        with self._record.transaction() as db:
            undone = self._read(db, undoes) if undoes is not None else None
            if undoes is not None and (undone is None or undone.end == "undone" or undone.as_of != as_of):
                return "superseded"
            refused = Approvals.spend_in(db, code, how=how, now=now)
            if refused is None and undone is not None:
                self._end(db, undone, "undone", now)
            return refused

    def intend(
        self, code: str, number: int, *, data: Mapping[str, Any], pace: Pace | None, now: datetime
    ) -> tuple[str, Refusal | None]:
        """Record the next attempt at a step before it is sent, in one transaction: its name, or why it may not be."""
        with self._record.transaction() as db:
            plan = self._read(db, code)
            if plan is None or not plan.runs(now) or not 1 <= number <= len(plan.standings):
                return "", "expired"
            standing = plan.standings[number - 1]
            if standing.state not in ("todo", "refused"):
                return "", "spent"
            if pace is not None and not pace.allows(db, plan.account, now):
                return "", "too_fast"
            attempt = standing.attempts + 1
            write = f"{code}/{number}" if attempt == 1 else f"{code}/{number}.{attempt}"
            db.append(write, "intended", account=plan.account, data=dict(data), now=now)
            return write, None

    def end(self, code: str, how: PlanEnd, now: datetime) -> None:
        """Nothing more is done under it; what was recorded first stays."""
        with self._record.transaction() as db:
            plan = self._read(db, code)
            if plan is not None and plan.end != how:
                self._end(db, plan, how, now)

    @staticmethod
    def _end(db: Transaction, plan: RecordedPlan, how: PlanEnd, now: datetime) -> None:
        if plan.end is None:
            db.append(plan.code, "ended", account=plan.account, data={"as": how}, now=now)
        elif how == "undone":
            db.append(plan.code, "undone", account=plan.account, data={}, now=now)

    def _read(self, db: Transaction, code: str) -> RecordedPlan | None:
        entries = {entry.kind: entry for entry in db.entries("subject = ?", (code,))}
        asked, begun = entries.get("asked"), entries.get("begun")
        if asked is None or begun is None:
            return None
        data = json.loads(asked.data)
        stories: dict[tuple[int, int], dict[str, Entry]] = {}
        for entry in db.entries("subject >= ? AND subject < ?", (f"{code}/", f"{code}0")):
            place = _place(entry.subject, code)
            if place is not None:
                stories.setdefault(place, {})[entry.kind] = entry
        standings = tuple(self._standing(number, stories) for number in range(1, len(data["steps"]) + 1))
        ended = json.loads(entries["ended"].data).get("as") if "ended" in entries else None
        ended = "undone" if "undone" in entries else ended
        return RecordedPlan(code, asked.account, datetime.fromisoformat(begun.at), data, standings, ended)

    @staticmethod
    def _standing(number: int, stories: Mapping[tuple[int, int], dict[str, Entry]]) -> StepStanding:
        attempts = sum(step == number for step, _ in stories)
        story = stories.get((number, attempts))
        if story is None:
            return StepStanding()
        made: Mapping[str, Any] = json.loads(story["made"].data) if "made" in story else {}
        refused: Mapping[str, Any] = json.loads(story["refused"].data) if "refused" in story else {}
        return StepStanding(
            state=_state(story),
            write=story["intended"].subject,
            attempts=attempts,
            intended=json.loads(story["intended"].data),
            key_id=made.get("id"),
            last6=made.get("last6"),
            found="how" in made,
            why=str(refused.get("what", "")),
            proven="proven" in story,
        )


def _state(story: Mapping[str, Entry]) -> StepState:
    if story.keys() & {"done", "delivered"}:
        return "done"
    if "refused" in story:
        return "refused"
    settled = [json.loads(entry.data).get("as") for kind, entry in story.items() if kind.startswith("settled")]
    if not settled:
        if not any(kind.startswith("acknowledged") for kind in story):
            return "open"
        # Somebody's word that it is all right closes a matter too; of a making whose key was never found, it is the
        # word that no such key is left.
        making = json.loads(story["intended"].data)["operation"] in MAKING
        return "todo" if making and "made" not in story else "done"
    if settled[-1] == "not done" or ("made" in story and settled[-1] in ("revoked", "gone")):
        return "todo"  # a key that it made is gone again, and nobody had its secret
    return "done"


def _place(write: str, code: str) -> tuple[int, int] | None:
    """The step and attempt a write is; None for what undoes one."""
    number, _, attempt = write.removeprefix(f"{code}/").partition(".")
    if not number.isdecimal() or not (attempt or "1").isdecimal():
        return None
    return int(number), int(attempt or "1")
