"""What the diagnosis of a limit answers."""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from venice_mcp.models.results import Result


class RemedyCall(Result):
    """A call to propose; the tool asks a person before it changes anything."""

    tool: str
    arguments: dict[str, Any]
    caution: str | None = None


class CauseFound(Result):
    code: str
    state: Literal["now", "lately", "soon", "past"]
    sure: Literal["certain", "likely", "possible"]
    sentence: str
    numbers: Annotated[dict[str, float | str], Field(description="the evidence")]
    ends_at: str | None = None
    ends: Annotated[str | None, Field(description="when there is no ends_at, or beside it")] = None
    remedy: str
    call: RemedyCall | None = None


class HitRow(NamedTuple):
    """`pattern` is single, burst or sustained; `last` is UTC."""

    model: str
    kind: str
    hits: int
    pattern: str
    last: str


class Hits(Result):
    """Refusals in the log that concern the key, in equal bins from `start` on."""

    total: int
    sample: Annotated[bool, Field(description="the log was full: older hits are unknown")]
    columns: list[str]
    rows: list[HitRow]
    start: str | None = None
    width_s: int | None = None
    counts: Annotated[list[int], Field(description="hits per bin, to plot")]


class PaceAdvice(Result):
    """Stays inside the model's limits, with a tenth to spare."""

    model: str
    bound_by: str
    requests_per_minute: float | None = None
    spacing_s: float | None = None
    concurrency: int | None = None
    at_once: Annotated[int | None, Field(description="after a quiet minute, if none follows for a minute")] = None
    tokens_per_request: float | None = None
    latency_s: float | None = None


class PastedError(Result):
    status: int | None = None
    said: str | None = None
    read_as: str
    had_secret: bool


class Diagnosis(Result):
    """Causes, the likeliest first: its sentence is the answer."""

    key: str | None = None
    key_id: str | None = None
    model: str | None = None
    causes: list[CauseFound]
    hits: Hits | None = None
    pace: PaceAdvice | None = None
    pasted: PastedError | None = None
    unread: Annotated[dict[str, str], Field(description="what could not be read, and why")]
