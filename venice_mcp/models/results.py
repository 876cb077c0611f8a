"""What the tools answer, in snake_case. Absent members mean none; times are UTC.

Many rows travel as `columns` and `rows` rather than as objects: a model pays for every repeated name.
"""

from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class Result(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class ConfiguredKey(Result):
    variable: str
    api_key_type: str
    configured: bool
    last6_chars: str | None = None
    origin: str | None = None
    problem: str | None = None
    address: str | None = None


class PendingApproval(Result):
    code: str
    state: str
    tool: str
    what: str
    expires_at: str
    command: Annotated[str | None, Field(description="for the person to run in their own terminal")] = None


class OpenMatter(Result):
    """A write or a secret that is not accounted for."""

    name: str
    what: str
    key_id: str | None = None
    next_step: str


class OpenPlan(Result):
    """A plan that was begun and is not at its end."""

    plan: str
    what: str
    tool: str
    done: int
    left: int
    next_step: str


class Recovered(Result):
    done: Annotated[list[str], Field(description="what this call did")]
    settled: Annotated[list[str], Field(description="found out now, nothing left to do")]
    open: list[OpenMatter]
    plans: Annotated[list[OpenPlan], Field(description="begun and not finished")]


class Status(Result):
    mode: Annotated[str, Field(description="live, sandbox or loopback")]
    version: str
    keys: list[ConfiguredKey]
    can_ask: Annotated[bool, Field(description="whether this client can show a question to a person")]
    approve_command: Annotated[
        str | None, Field(description="if not: lists what waits, for the person to run in their own terminal")
    ] = None
    protocol_version: str | None = None
    pending: list[PendingApproval]
    open_matters: Annotated[
        list[str], Field(description="writes and secrets not accounted for; venice_recover settles them")
    ]
    policy: Annotated[list[str], Field(description="the operator's rules in force")]
    problems: list[str]


class KeyRow(NamedTuple):
    id: str
    description: str
    api_key_type: str
    last6_chars: str
    usd_cap: float | None
    diem_cap: float | None
    limit_period: str | None
    last_used: str | None
    expires: str | None


class KeyPage(Result):
    total: Annotated[int, Field(description="active keys in the account")]
    matching: int
    inference: int
    admin: int
    without_cap: int
    page: int
    next_page: int | None = None
    columns: list[str]
    rows: list[KeyRow]


class KeyDetail(Result):
    """Caps absent mean no cap; 0 blocks. Usage in the units of its name."""

    id: str
    description: str
    api_key_type: str
    last6_chars: str
    usd_cap: float | None = None
    diem_cap: float | None = None
    vcu_cap: float | None = None
    limit_period: str
    model_privacy: str
    created_at: str | None = None
    expires_at: str | None = None
    last_used_at: str | None = None
    ip_allowlist: list[str] | None = None
    usd_last_7_days: str | None = None
    diem_last_7_days: str | None = None
    usd_current_period: str | None = None
    diem_current_period: str | None = None


class NewKey(Result):
    """`api_key` is the secret, present only when it is displayed, and only this once."""

    id: str
    description: str
    api_key_type: str
    last6_chars: str
    usd_cap: float | None = None
    diem_cap: float | None = None
    limit_period: str | None = None
    model_privacy: str | None = None
    expires_at: str | None = None
    address: str | None = None
    api_key: str | None = None
    delivered_to: str | None = None
    notes: list[str] = Field(default_factory=list)


class UpdatedKey(Result):
    key: KeyDetail
    changed: dict[str, list[str]] = Field(description="setting: [before, after]")
    notes: list[str] = Field(default_factory=list)


class RevokedKey(Result):
    id: str
    description: str
    last6_chars: str
    revoked: bool
    notes: list[str] = Field(default_factory=list)


class LimitGroup(Result):
    """Models that share the same limits. Limits such as {"RPM": 20}."""

    models: list[str]
    limits: dict[str, float]


class RateLimits(Result):
    api_key_type: str
    last6_chars: str
    access_permitted: bool
    api_tier: str
    is_charged: bool
    balances: dict[str, float | None]
    key_expiration: str | None = None
    next_epoch_begins: str | None = None
    groups: list[LimitGroup]


class LogRow(NamedTuple):
    timestamp: str
    rate_limit_type: str
    model_id: str
    api_key_id: str
    rate_limit_tier: str
    key: str | None


class RateLimitLog(Result):
    total: int
    counts: dict[str, int]
    columns: list[str]
    rows: list[LogRow]


class Web3Token(Result):
    token: str
    expires_at: str | None = None
    address: str | None = None


class Balance(Result):
    can_consume: bool
    consumption_currency: str | None = None
    usd: float | None = None
    diem: float | None = None
    diem_epoch_allocation: float | None = None


class UsageRow(NamedTuple):
    timestamp: str
    sku: str
    units: float
    amount: float
    currency: str
    tokens_in: int | None
    tokens_out: int | None


class BillingUsage(Result):
    columns: list[str]
    rows: list[UsageRow]
    totals: dict[str, float] = Field(description="sum of amounts on this page, per currency; negative is spending")
    next_cursor: str | None = None


class DateRow(NamedTuple):
    date: str
    usd: float
    diem: float


class SpendRow(NamedTuple):
    name: str
    usd: float
    diem: float


class UsageAnalytics(Result):
    lookback: str
    total_usd: float
    total_diem: float
    by_date: list[DateRow]
    by_model: list[SpendRow]
    by_key: list[SpendRow]
