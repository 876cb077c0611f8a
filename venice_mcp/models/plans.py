"""What tools that carry out a plan answer: one shape for all of them."""

from typing import Annotated, NamedTuple

from pydantic import Field

from venice_mcp.models.results import Result


class PlanRow(NamedTuple):
    doing: str
    what: str
    key_id: str | None
    last6: str | None
    state: str
    note: str


class PlanResult(Result):
    plan: Annotated[str | None, Field(description="its approval's code; none when nothing was to be done")] = None
    finished: bool
    done: int
    left: Annotated[int, Field(description="steps that a further call may do")]
    already: Annotated[list[str], Field(description="left alone, because they were so before")]
    columns: list[str]
    rows: Annotated[list[PlanRow], Field(description="what is not done first; at most 50")]
    notes: list[str]
    next_step: str | None = None
