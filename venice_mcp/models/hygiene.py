"""What the audit and the search for a key answer."""

from typing import Annotated, Any, NamedTuple

from pydantic import Field

from venice_mcp.models.results import Result


class FindingRow(NamedTuple):
    """`fix` is a place in `fixes`. Without key_id it is about the account."""

    code: str
    severity: str
    key_id: str | None
    last6_chars: str | None
    description: str | None
    evidence: str
    fix: int | None


class Fix(Result):
    """A call to propose; the tool asks a person before it changes anything."""

    tool: str
    arguments: dict[str, Any]
    caution: str | None = None


class Audit(Result):
    """Without page, code and severity `rows` holds the worst finding of each code, else one page of all."""

    total: int
    admin: int
    severities: dict[str, int]
    counts: Annotated[dict[str, int], Field(description="findings by code")]
    ages: Annotated[dict[str, int], Field(description="keys by time since they were made")]
    last_uses: Annotated[dict[str, int], Field(description="keys by time since last use")]
    not_stated: Annotated[dict[str, int], Field(description="keys that could not be checked for this")]
    own: Annotated[list[str], Field(description="ids this server runs on; never revoke them")]
    matching: int
    page: int | None = None
    next_page: int | None = None
    columns: list[str]
    rows: list[FindingRow]
    fixes: list[Fix]
    notes: list[str]
    report: Annotated[str | None, Field(description="file that was written")] = None


class FoundKey(NamedTuple):
    id: str
    description: str
    api_key_type: str
    last6_chars: str
    usd_cap: float | None
    diem_cap: float | None
    limit_period: str | None
    last_used: str | None
    expires: str | None
    made_here: bool | None
    runs_on: bool


class FoundKeys(Result):
    """Who is meant is for a person to say when several match."""

    by: Annotated[str, Field(description="how they match")]
    matching: int
    columns: list[str]
    rows: list[FoundKey]
    notes: list[str]
