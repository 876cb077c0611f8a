"""What the forecast of spending answers. Amounts are in the currency of their column; the two are never added up."""

from typing import Annotated

from pydantic import Field

from venice_mcp.models.results import Result


class SpendTable(Result):
    """Rows under `columns`; `left_out` counts those that are not shown."""

    columns: list[str]
    rows: list[list[str | int | float | None]]
    left_out: int | None = None


class SpendForecast(Result):
    summary: str
    period: Annotated[str, Field(description="UTC days, today included; today counts for the part that is over")]
    before: Annotated[str | None, Field(description="what changes are told against")] = None
    source: Annotated[str, Field(description="analytics, ledger, or none")]
    key_id: str | None = None
    account: SpendTable
    daily: Annotated[SpendTable | None, Field(description="spend by day, to plot")] = None
    caps: Annotated[SpendTable, Field(description="worst first")]
    keys: Annotated[SpendTable, Field(description="largest share first")]
    models: SpendTable | None = None
    warnings: Annotated[list[str], Field(description="about the account; those about caps stand in caps")]
    notes: list[str]
