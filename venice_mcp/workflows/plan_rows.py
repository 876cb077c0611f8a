"""What became of each step of a plan, as it is told."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from venice_mcp.proposals import Plan, Step
from venice_mcp.store import RecordedPlan
from venice_mcp.workflows.recovering import Finding

RowState = Literal["done", "left alone", "failed", "open", "to do"]


@dataclass(frozen=True)
class Row:
    """What became of one step.

    Attributes:
        note: our own sentences about it.
        proven: a new key was seen to work before this call.
        doubt: why it was not, in this call.
        decide: a person has to decide about what it left, before it can go on.
    """

    number: int
    step: Step
    state: RowState = "to do"
    key_id: str | None = None
    last6: str | None = None
    note: str = ""
    proven: bool = False
    doubt: str | None = None
    decide: bool = False


@dataclass(frozen=True)
class PlanReport:
    """How far a plan came. `stopped` says why this call did not go further; empty when nothing is left to do."""

    plan: Plan
    rows: tuple[Row, ...]
    stopped: str = ""
    next_step: str = ""

    def count(self, *states: RowState) -> int:
        return sum(row.state in states for row in self.rows)

    @property
    def finished(self) -> bool:
        return not self.count("failed", "open", "to do")


def standing_rows(plan: Plan, recorded: RecordedPlan, left: Mapping[int, Finding]) -> list[Row]:
    """The steps as the record has them; `left` says what could not be settled, by step."""
    rows: list[Row] = []
    for number, (step, standing) in enumerate(zip(plan.steps, recorded.standings, strict=True), 1):
        row = Row(number, step, key_id=standing.key_id or step.intent.get("id"), last6=standing.last6)
        if standing.state == "done":
            row = replace(row, state="done", proven=standing.proven)
        elif standing.state == "open":
            finding = left.get(number)
            why = finding.what if finding is not None else "What became of it is not known yet."
            decide = finding is not None and finding.remedy not in ("none", "wait")
            row = replace(row, state="open", note=why, decide=decide)
        elif standing.state == "refused":
            row = replace(row, state="failed", note=standing.why)
        rows.append(row)
    return rows
