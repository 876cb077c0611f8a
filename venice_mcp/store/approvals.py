"""Approvals: what was asked, granted, denied and spent, as a view of the record."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from venice_mcp.store.journal import MAKING, place_of
from venice_mcp.store.record import Record, Transaction

REFUSED_ON_TERMINAL = "refused on a terminal"
APPROVAL_LIFETIME = timedelta(minutes=10)
_CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # no letters or digits that look alike

State = Literal["pending", "granted", "denied", "superseded", "spent", "expired"]
Refusal = State | Literal["too_fast", "over_budget"]


@dataclass(frozen=True)
class Pace:
    """At most `most` writes of these operations in any `window`, over all processes."""

    operations: tuple[str, ...]
    most: int
    window: timedelta

    def allows(self, db: Transaction, account: str, now: datetime) -> bool:
        # Those of a clock that was ahead happened at another time than they say.
        return sum(at <= now for at in self.intended(db, account, now - self.window)) < self.most

    def intended(self, db: Transaction, account: str, since: datetime) -> list[datetime]:
        """When such writes were intended, oldest first."""
        query = (
            "SELECT at, json_extract(data, '$.operation') FROM events"
            " WHERE kind = 'intended' AND account = ? AND at > ? ORDER BY seq"
        )
        rows = db.rows(query, (account, since.isoformat()))
        return [datetime.fromisoformat(at) for at, operation in rows if operation in self.operations]


MAKING_PACE = Pace(MAKING, 20, timedelta(seconds=60))
"""Venice allows 20 creates a minute (createApiKey)."""


@dataclass(frozen=True)
class Budget:
    """At most `most` approvals granted as `how` in any 24 hours, over all processes and keys of one Venice."""

    how: str
    most: int
    window: timedelta = timedelta(hours=24)


@dataclass(frozen=True)
class Denial:
    """A question that a person said no to: when, for which tool, and which operations with which intents."""

    at: datetime
    fingerprint: str
    tool: str
    deeds: tuple[tuple[str, Mapping[str, Any]], ...]


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


class Approvals:
    """Questions and their fate. Each is asked, granted, denied, superseded and spent at most once."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def ask(self, *, account: str, fingerprint: str, data: dict[str, Any], now: datetime) -> Approval:
        """Record a new question under a fresh code."""
        with self._record.transaction() as db:
            return self._ask(db, account, fingerprint, data, now)

    def find_or_ask(self, *, account: str, fingerprint: str, data: dict[str, Any], now: datetime) -> Approval:
        """Like `ask`, but the question that another process asked meanwhile counts for both."""
        with self._record.transaction() as db:
            found = self._find_open(db, account, fingerprint, now)
            if found is not None and found.data.get("target") == data.get("target"):
                return found
            return self._ask(db, account, fingerprint, data, now)

    @staticmethod
    def _ask(db: Transaction, account: str, fingerprint: str, data: dict[str, Any], now: datetime) -> Approval:
        code = "-".join("".join(secrets.choice(_CODE_ALPHABET) for _ in range(4)) for _ in range(2))
        db.append(code, "asked", account=account, fingerprint=fingerprint, data=data, now=now)
        return Approval(code, fingerprint, account, now, "pending", "", data)

    def open_for(self, *, account: str, fingerprint: str, now: datetime) -> Approval | None:
        """The newest pending or granted approval of exactly this call, if there is one."""
        with self._record.transaction() as db:
            return self._find_open(db, account, fingerprint, now)

    def _find_open(self, db: Transaction, account: str, fingerprint: str, now: datetime) -> Approval | None:
        for code in self._asked(db, account, fingerprint, 20):
            approval = self._read(db, code, now)
            if approval is not None and approval.state in ("pending", "granted"):
                return approval
        return None

    def refusal_to_tell(self, *, account: str, fingerprint: str, now: datetime) -> bool:
        """Whether the newest request of this call was refused on a terminal and nobody was told yet; tells it once."""
        with self._record.transaction() as db:
            for code in self._asked(db, account, fingerprint, 1):
                events = {entry.kind: json.loads(entry.data) for entry in db.entries("subject = ?", (code,))}
                approval = self._read(db, code, now)
                refused = events.get("denied", {}).get("how") == REFUSED_ON_TERMINAL
                if approval is None or not refused or "told" in events or now >= approval.expires_at:
                    return False
                db.append(code, "told", account=account, fingerprint=fingerprint, data={}, now=now)
                return True
        return False

    def denials(self, *, account: str, since: datetime, until: datetime) -> list[Denial]:
        """What a person said no to between these times, oldest first."""
        query = (
            "SELECT d.at, d.fingerprint, a.data FROM events d"
            " JOIN events a ON a.subject = d.subject AND a.kind = 'asked'"
            " WHERE d.kind = 'denied' AND d.at > ? AND d.at <= ? AND d.account = ? ORDER BY d.seq"
        )
        with self._record.transaction() as db:
            rows = db.rows(query, (since.isoformat(), until.isoformat(), account))
        return [
            self._denial(datetime.fromisoformat(at), fingerprint, json.loads(data)) for at, fingerprint, data in rows
        ]

    @staticmethod
    def _denial(at: datetime, fingerprint: str, asked: Mapping[str, Any]) -> Denial:
        writes: list[Mapping[str, Any]] = asked.get("steps") or [asked]
        deeds = tuple((str(each.get("operation", "")), each.get("intent", {})) for each in writes)
        return Denial(at, fingerprint, str(asked.get("tool", "")), deeds)

    def get(self, code: str, now: datetime) -> Approval | None:
        with self._record.transaction() as db:
            return self._read(db, code, now)

    def waiting(self, now: datetime, account: str | None = None) -> list[Approval]:
        """Everything pending or granted, newest first."""
        oldest = (now - APPROVAL_LIFETIME).isoformat()
        query = "SELECT subject, account FROM events WHERE kind = 'asked' AND at > ? ORDER BY seq DESC LIMIT 200"
        with self._record.transaction() as db:
            found = [self._read(db, code, now) for code, tag in db.rows(query, (oldest,)) if account in (None, tag)]
        return [item for item in found if item is not None and item.state in ("pending", "granted")]

    def settle(self, code: str, kind: Literal["granted", "denied", "superseded"], how: str, now: datetime) -> State:
        """Grant, deny or supersede a pending approval; says what state it is in afterwards."""
        with self._record.transaction() as db:
            approval = self._read(db, code, now)
            if approval is None:
                return "expired"
            if approval.state == "pending" or (approval.state == "granted" and kind != "granted"):
                self._note(db, approval, kind, {"how": how}, now)
                return kind
            return approval.state

    def spend(
        self,
        code: str,
        *,
        how: str | None,
        now: datetime,
        pace: Pace | None = None,
        budget: Budget | None = None,
        intended: Mapping[str, Any] | None = None,
    ) -> Refusal | None:
        """Use an approval up, in one transaction: None for the one caller that did, else why it could not.

        Args:
            code: of the approval.
            how: the answer that grants it now; None spends only what was granted before.
            now: the time.
            pace: no more than so many writes of its kind are intended in its window.
            budget: no more than so many are granted in its way.
            intended: what will be written to Venice under it, recorded as the approval's first write; a plan has
                none, it is recorded as begun.
        """
        with self._record.transaction() as db:
            return self.spend_in(db, code, how=how, now=now, pace=pace, budget=budget, intended=intended)

    @staticmethod
    def spend_in(
        db: Transaction,
        code: str,
        *,
        how: str | None,
        now: datetime,
        pace: Pace | None = None,
        budget: Budget | None = None,
        intended: Mapping[str, Any] | None = None,
    ) -> Refusal | None:
        """`spend` as a part of a transaction."""
        approval = Approvals._read(db, code, now)
        if approval is None:
            return "expired"
        if approval.state != "granted" and not (approval.state == "pending" and how is not None):
            return approval.state
        if pace is not None and not pace.allows(db, approval.account, now):
            return "too_fast"
        if budget is not None and Approvals._granted(db, approval.account, budget, now) >= budget.most:
            return "over_budget"
        if approval.state == "pending":
            Approvals._note(db, approval, "granted", {"how": how}, now)
        Approvals._note(db, approval, "spent", {}, now)
        if approval.data.get("steps"):
            Approvals._note(db, approval, "begun", {}, now)
        elif intended is not None:
            fingerprint, account = approval.fingerprint, approval.account
            db.append(f"{code}/1", "intended", account=account, fingerprint=fingerprint, data=dict(intended), now=now)
        return None

    def left(self, budget: Budget, *, account: str, now: datetime) -> int:
        """How many more approvals may be granted in this way."""
        with self._record.transaction() as db:
            return budget.most - self._granted(db, account, budget, now)

    def written_since(self, pace: Pace, *, account: str, since: datetime) -> list[datetime]:
        """When writes of a kind were intended, oldest first, over all processes."""
        with self._record.transaction() as db:
            return pace.intended(db, account, since)

    @staticmethod
    def _note(db: Transaction, approval: Approval, kind: str, data: dict[str, Any], now: datetime) -> None:
        db.append(approval.code, kind, account=approval.account, fingerprint=approval.fingerprint, data=data, now=now)

    @staticmethod
    def _asked(db: Transaction, account: str, fingerprint: str, most: int) -> list[str]:
        query = (
            "SELECT subject FROM events WHERE fingerprint = ? AND account = ? AND kind = 'asked'"
            " ORDER BY seq DESC LIMIT ?"
        )
        return [code for (code,) in db.rows(query, (fingerprint, account, most))]

    @staticmethod
    def _granted(db: Transaction, account: str, budget: Budget, now: datetime) -> int:
        """How often this way was used. The account's last part names the key in use, and changing it is no reset."""
        query = "SELECT account FROM events WHERE kind = 'granted' AND at > ? AND json_extract(data, '$.how') = ?"
        rows = db.rows(query, ((now - budget.window).isoformat(), budget.how))
        return sum(place_of(tag) == place_of(account) for (tag,) in rows)

    @staticmethod
    def _read(db: Transaction, code: str, now: datetime) -> Approval | None:
        entries = {entry.kind: entry for entry in db.entries("subject = ?", (code,))}
        first = entries.get("asked")
        if first is None:
            return None
        asked_at = datetime.fromisoformat(first.at)
        state: State = "pending"
        for kind in ("spent", "denied", "superseded", "granted"):
            if kind in entries:
                state = kind
                break
        # A clock set back must not revive an approval any more than one set forward may stretch it.
        if state in ("pending", "granted") and not (
            asked_at - timedelta(minutes=1) <= now < asked_at + APPROVAL_LIFETIME
        ):
            state = "expired"
        how = str(json.loads(entries["granted"].data).get("how", "")) if "granted" in entries else ""
        return Approval(code, first.fingerprint, first.account, asked_at, state, how, json.loads(first.data))
