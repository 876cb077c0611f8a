"""The forecast as rows of data, and what it is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from venice_mcp.models.spending import SpendTable
from venice_mcp.models.wire import WINDOWS
from venice_mcp.policy.rules import CURRENCIES, Currency
from venice_mcp.text import amount, plain
from venice_mcp.workflows.facts import Facts
from venice_mcp.workflows.forecasts import Account, CapOutlook
from venice_mcp.workflows.shares import Share, change
from venice_mcp.workflows.spending import Period, Since, Spend

NAME = 28
"""Characters of a name."""


Row = list[str | int | float | None]


@dataclass(frozen=True)
class Findings:
    """All that was found. `spend.source` is `none` when only keys told something.

    Attributes:
        keys: of the account by id; None when they could not be read.
        series: what to plot, one number for each date: a currency and its days.
        key: the key that was asked about: its id, and itself if it is in the list.
    """

    period: Period
    threshold: float
    spend: Spend
    before: Spend | None
    account: Account
    keys: dict[str, Facts] | None
    caps: Sequence[CapOutlook]
    spenders: Sequence[Share]
    models: Sequence[Share] | None
    series: dict[str, list[float]]
    dates: Sequence[str]
    warnings: Sequence[str]
    notes: Sequence[str]
    key_id: str | None = None
    key: Facts | None = None

    @property
    def known(self) -> bool:
        """Whether it is known what the account spent."""
        return self.spend.source != "none"


def rounded(value: float) -> int | float:
    """Cents of large amounts, four digits of small ones; whole numbers cost less to read."""
    short = round(value, 2) if value >= 100 else float(f"{value:.4g}")
    return int(short) if short.is_integer() else short


def money(value: float) -> str:
    return amount(rounded(value))


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%MZ}"


def since_words(begun: Since | None) -> str:
    """What is added to a rate that leaves out days: ` since 2026-11-20`."""
    return f" since {begun.day}" if begun else ""


def change_of(found: Findings, unit: Currency) -> str | None:
    if not found.known or found.before is None:
        return None
    return change(found.spend.per_day(unit), found.before.per_day(unit))


_ACCOUNT_COLUMNS = ["currency", "spent", "per_day", "since", "change", "left", "of", "percent_used", "ends_at"]


def account_table(found: Findings) -> SpendTable:
    return _without_since(SpendTable(columns=_ACCOUNT_COLUMNS, rows=[_account_row(found, unit) for unit in CURRENCIES]))


def _without_since(table: SpendTable) -> SpendTable:
    """The table without the column `since` if nothing stands in it, which is the rule."""
    place = table.columns.index("since")
    if any(row[place] for row in table.rows):
        return table
    columns, *rows = ([*row[:place], *row[place + 1 :]] for row in (table.columns, *table.rows))
    return SpendTable(columns=[str(each) for each in columns], rows=rows, left_out=table.left_out)


def _account_row(found: Findings, unit: Currency) -> Row:
    balance = found.account.usd if unit == "usd" else found.account.diem
    row: Row = [unit.upper()]
    row += [rounded(found.spend.total(unit)), rounded(found.spend.per_day(unit))] if found.known else [None, None]
    begun = found.spend.since.get(unit) if found.known else None
    row += [str(begun.day) if begun else None, change_of(found, unit)]
    if balance is None:
        return [*row, None, None, None, None]
    of = rounded(balance.limit) if unit == "diem" else None
    used = round(balance.percent) if unit == "diem" and balance.limit > 0 else None
    ends = _minute(balance.reached_at) if balance.reached_at and balance.limit > 0 else None
    return [*row, rounded(balance.limit - min(balance.used, balance.limit)), of, used, ends]


def daily(found: Findings) -> SpendTable | None:
    if not found.series:
        return None
    rows: list[Row] = [
        [day, *(rounded(values[place]) for values in found.series.values())] for place, day in enumerate(found.dates)
    ]
    return SpendTable(columns=["date", *(name.lower() for name in found.series)], rows=rows)


_KEY_COLUMNS = ["key", "last6", "key_id"]
_CAP_COLUMNS = [*_KEY_COLUMNS, "cap", "used", "percent", "per_day", "since", "projected_percent", "reached_at", "state"]


def cap_text(each: CapOutlook) -> str:
    return f"{money(each.cap)} {each.currency.upper()} {_window(each.facts)}"


def _window(facts: Facts) -> str:
    return WINDOWS.get(facts.key.limit_period) or f"per {plain(facts.key.limit_period, 20)}"


def cap_table(found: Findings, shown: Sequence[CapOutlook]) -> SpendTable:
    left_out = len(found.caps) - len(shown) or None
    table = SpendTable(columns=_CAP_COLUMNS, rows=[_cap_row(each) for each in shown], left_out=left_out)
    return _without_since(table)


def _cap_row(each: CapOutlook) -> Row:
    key, found = each.facts.key, each.outlook
    row: Row = [plain(key.description, NAME), plain(key.last6_chars, 6), plain(key.id, 40), cap_text(each)]
    if found is None:
        return [*row, None, None, None, None, None, None, each.state]
    return [
        *row,
        rounded(found.used),
        round(found.percent),
        None if found.per_day is None else rounded(found.per_day),
        str(each.since.day) if each.since else None,
        None if found.projected is None else round(found.projected),
        _minute(found.reached_at) if found.reached_at and each.state != "used up" else None,
        each.state,
    ]


def key_table(found: Findings, units: Sequence[Currency], most: int) -> SpendTable:
    rows: list[Row] = []
    for each in found.spenders[:most]:
        facts = facts_of_share(found, each)
        last6 = plain(facts.key.last6_chars, 6) if facts else None
        key_id = plain(each.spender.key_id, 40) if each.spender.key_id else None
        rows.append([plain(each.spender.name, NAME), last6, key_id, *_parts(each, units), caps_in_words(found, each)])
    columns = [*_KEY_COLUMNS, *_part_columns(units), "cap"]
    return SpendTable(columns=columns, rows=rows, left_out=len(found.spenders) - len(rows) or None)


def model_table(found: Findings, units: Sequence[Currency], most: int) -> SpendTable | None:
    if found.models is None:
        return None
    rows: list[Row] = [[plain(each.spender.name, NAME), *_parts(each, units)] for each in found.models[:most]]
    columns = ["model", *_part_columns(units)]
    return SpendTable(columns=columns, rows=rows, left_out=len(found.models) - len(rows) or None)


def facts_of_share(found: Findings, each: Share) -> Facts | None:
    return (found.keys or {}).get(each.spender.key_id or "")


def caps_in_words(found: Findings, each: Share) -> str | None:
    """A key's caps in words; None for the web app, for deleted keys, and when the keys could not be read."""
    facts = facts_of_share(found, each)
    if facts is None:
        return None
    caps = [f"{money(cap)} {unit.upper()}" for unit in CURRENCIES if (cap := facts.cap(unit)) is not None]
    return f"{' and '.join(caps)} {_window(facts)}" if caps else "no cap"


def _part_columns(units: Sequence[Currency]) -> list[str]:
    return [f"{unit}{end}" for unit in units for end in ("", "_percent", "_change")]


def _parts(each: Share, units: Sequence[Currency]) -> Row:
    row: Row = []
    for unit in units:
        row += [rounded(each.spender.amounts[unit]), round(each.percent[unit]), each.change[unit]]
    return row
