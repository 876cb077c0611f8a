"""Durable local state: one append-only record of events; approvals, journal, budgets and audit trail are its views."""

from functools import cached_property
from pathlib import Path

from venice_mcp.store.approvals import (
    APPROVAL_LIFETIME,
    MAKING_PACE,
    REFUSED_ON_TERMINAL,
    Approval,
    Approvals,
    Budget,
    Denial,
    Pace,
    Refusal,
)
from venice_mcp.store.journal import MAKING, Journal, Matter, Outcome, place_of, this_process
from venice_mcp.store.plans import PLAN_LIFETIME, PlanEnd, Plans, RecordedPlan, Replacement, StepStanding
from venice_mcp.store.record import Entry, Record, StoreError, actor
from venice_mcp.store.trail import Checkpoint, Trail, as_json, unpacked

__all__ = [
    "APPROVAL_LIFETIME",
    "MAKING",
    "MAKING_PACE",
    "PLAN_LIFETIME",
    "REFUSED_ON_TERMINAL",
    "Approval",
    "Approvals",
    "Budget",
    "Checkpoint",
    "Denial",
    "Entry",
    "Journal",
    "Matter",
    "Outcome",
    "Pace",
    "PlanEnd",
    "Plans",
    "Record",
    "RecordedPlan",
    "Refusal",
    "Replacement",
    "StepStanding",
    "Store",
    "StoreError",
    "Trail",
    "actor",
    "as_json",
    "place_of",
    "this_process",
    "unpacked",
]


class Store:
    """The record in `folder` and its views."""

    def __init__(self, folder: Path) -> None:
        self.record = Record(folder)

    @property
    def folder(self) -> Path:
        return self.record.folder

    @property
    def path(self) -> Path:
        return self.record.path

    @cached_property
    def approvals(self) -> Approvals:
        return Approvals(self.record)

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.record)

    @cached_property
    def trail(self) -> Trail:
        return Trail(self.record)

    @cached_property
    def plans(self) -> Plans:
        return Plans(self.record)
