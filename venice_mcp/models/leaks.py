"""What a scan for leaked keys answers: places, never secrets."""

from typing import Annotated, NamedTuple

from pydantic import Field

from venice_mcp.models.results import Result


class LeakRow(NamedTuple):
    """A key in a file, or in git history if there is a commit. Equal `secret` numbers are the same secret.

    `git`: tracked, not ignored, ignored, unknown. `file`: kept, put there by this server, others can read.
    """

    state: str
    kind: str
    last6_chars: str
    secret: int
    path: str
    line: int
    commit: str | None
    git: str | None
    file: str | None
    key_ids: list[str]


class LeakScan(Result):
    complete: Annotated[bool, Field(description="false: a bound stopped it; notes say how to go on")]
    found: Annotated[int, Field(description="places")]
    secrets: Annotated[int, Field(description="different ones")]
    live: Annotated[int, Field(description="different ones that an active key may be")]
    files: int
    bytes_read: int
    git_objects: int
    page: int
    next_page: int | None = None
    columns: list[str]
    rows: list[LeakRow]
    next_steps: Annotated[list[str], Field(description="by state")]
    skipped: Annotated[dict[str, int], Field(description="files and folders left out, by reason")]
    notes: list[str]
