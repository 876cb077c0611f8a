"""What Venice answers. Source: Venice OpenAPI 20260821.193530.

Answers are read leniently: unknown members are kept, enumerations are plain strings, because Venice adds both
without notice.
"""

import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from venice_mcp.models.lenient import (
    DailyRows,
    OptionalText,
    SecretValue,
    Text,
    TextList,
    members_or_none,
    numbers_only,
)
from venice_mcp.text import parse_time, to_wire

PERIODS = ("EPOCH", "MONTH", "LIFETIME")
"""Cap windows, shortest first. EPOCH is a UTC day, MONTH a UTC calendar month, LIFETIME never resets."""

WINDOWS = {"EPOCH": "per UTC day", "MONTH": "per UTC month", "LIFETIME": "in its lifetime"}
"""The same in words, for behind an amount."""


def window_end(period: str, now: datetime) -> datetime | None:
    """When a cap's window ends, `now` being UTC; None for LIFETIME and for what is not known."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "EPOCH":
        return today + timedelta(days=1)
    return (today.replace(day=1) + timedelta(days=32)).replace(day=1) if period == "MONTH" else None


PRIVACY = ("PRIVATE_ONLY", "PRIVATE_TEXT", "ALL")
"""Model privacy tiers, narrowest first."""

MAX_ACTIVE_KEYS = 500


class Wire(BaseModel):
    """An answer of Venice: camelCase outside, snake_case inside, unknown members kept."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="allow", allow_inf_nan=False, defer_build=True
    )


class Caps(Wire):
    """Spending caps. None is no cap, 0 blocks. USD and DIEM; `vcu` is deprecated and only read."""

    usd: float | None = None
    diem: float | None = None
    vcu: float | None = None


class TrailingUsage(Wire):
    """Amounts as decimal strings."""

    usd: Text = "0"
    diem: Text = "0"


class Usage(Wire):
    trailing_seven_days: TrailingUsage = Field(default_factory=TrailingUsage)


class Key(Wire):
    """An API key as listed (getApiKeys, getApiKeyById, updateApiKey). Never holds the secret."""

    id: str
    api_key_type: str
    last6_chars: Text = ""
    description: Text = ""
    consumption_limits: Caps = Field(default_factory=Caps)
    limit_period: Text = "EPOCH"
    model_privacy: Text = "ALL"
    created_at: OptionalText = None
    expires_at: OptionalText = None
    last_used_at: OptionalText = None
    usage: Usage | None = None
    current_period_usage: TrailingUsage | None = None
    ip_allowlist: list[str] | None = None

    def settings(self) -> dict[str, Any]:
        """What identifies the key and what it may do: everything but use and spend."""
        return {
            "id": self.id,
            "api_key_type": self.api_key_type,
            "last6_chars": self.last6_chars,
            "description": self.description,
            "usd_cap": self.consumption_limits.usd,
            "diem_cap": self.consumption_limits.diem,
            "vcu_cap": self.consumption_limits.vcu,
            "limit_period": self.limit_period,
            "model_privacy": self.model_privacy,
            "expires_at": _one_spelling(self.expires_at),
            "created_at": _one_spelling(self.created_at),
            # None when Venice does not say, which is not the same as an empty list.
            "ip_allowlist": one_spelling_of_ranges(self.ip_allowlist) if self.ip_allowlist is not None else None,
        }


def _one_spelling(value: str | None) -> str | None:
    """Equal times written equally: with or without fractions of a second, with Z or an offset."""
    moment = parse_time(value)
    return to_wire(moment) if moment is not None else value


def one_spelling_of_ranges(ranges: Iterable[str]) -> list[str]:
    """Equal lists written equally: sorted, single addresses without a prefix length."""
    return sorted(_one_range(item) for item in ranges)


def _one_range(value: str) -> str:
    try:
        network = ipaddress.ip_network(value.strip(), strict=False)
    except ValueError:
        return value
    return str(network.network_address) if network.num_addresses == 1 else str(network)


class KeyList(Wire):
    data: list[Key]


class KeyAnswer(Wire):
    """getApiKeyById sends no `success`; updateApiKey does, and false would mean that it was not done."""

    success: Literal[True] = True
    data: Key


class NewKeyData(Wire):
    """createApiKey and postApiKeyGenerateWeb3Key. `api_key` is the secret, sent this once."""

    id: str
    api_key: SecretValue


class Done(Wire):
    """deleteApiKey."""

    success: Literal[True]


class NewKeyAnswer(Wire):
    success: Literal[True] = True
    data: NewKeyData


class Limit(Wire):
    amount: float
    type: Text


class ModelLimits(Wire):
    api_model_id: OptionalText = None
    rate_limits: list[Limit] = Field(default_factory=list[Limit])


class ApiTier(Wire):
    id: Text = ""
    is_charged: bool = False


class RateLimitsData(Wire):
    """getApiKeyRateLimits, for the calling key. Balance names are upper case here."""

    access_permitted: bool
    api_tier: Annotated[ApiTier, BeforeValidator(members_or_none)] = Field(default_factory=ApiTier)
    balances: Annotated[dict[str, float | None], BeforeValidator(numbers_only)] = Field(default_factory=dict)
    key_expiration: OptionalText = None
    next_epoch_begins: OptionalText = None
    rate_limits: list[ModelLimits] = Field(default_factory=list[ModelLimits])


class RateLimitsAnswer(Wire):
    data: RateLimitsData


class LogRow(Wire):
    """One hit of a limit (getApiKeyRateLimitLogs, experimental, the last 50 of the account)."""

    api_key_id: Text = ""
    model_id: Text = ""
    rate_limit_tier: Text = ""
    rate_limit_type: Text = ""
    timestamp: Text = ""


class LogAnswer(Wire):
    data: list[LogRow]


class ModelSpec(Wire):
    """What a model on offer is; all but privacy may be missing."""

    privacy: Text = ""
    offline: bool | None = None


class Model(Wire):
    """A model on offer (listModels)."""

    id: str
    type: Text = ""
    model_spec: Annotated[ModelSpec, BeforeValidator(members_or_none)] = Field(default_factory=ModelSpec)


class ModelList(Wire):
    data: list[Model]


class TokenData(Wire):
    token: SecretValue


class TokenAnswer(Wire):
    data: TokenData


class Balances(Wire):
    """Lower-case currencies here, upper-case ones in getApiKeyRateLimits; either is taken."""

    diem: Annotated[float | None, Field(validation_alias=AliasChoices("diem", "DIEM"))] = None
    usd: Annotated[float | None, Field(validation_alias=AliasChoices("usd", "USD"))] = None


class BalanceAnswer(Wire):
    """getBillingBalance: no `data` wrapper, lower-case names. Null diem means not staking."""

    can_consume: bool
    consumption_currency: OptionalText = None
    balances: Balances = Field(default_factory=Balances)
    diem_epoch_allocation: float | None = None


class InferenceDetails(Wire):
    completion_tokens: int | None = None
    prompt_tokens: int | None = None
    inference_execution_time: int | None = None
    request_id: Text = ""


class UsageEntry(Wire):
    """One ledger entry (getBillingUsageHistory). Amounts are numbers, negative for spending."""

    timestamp: Text = ""
    sku: Text = ""
    units: float = 0
    price_per_unit_usd: float = 0
    amount: float = 0
    currency: Text = ""
    notes: Text = ""
    inference_details: InferenceDetails | None = None


class UsageAnswer(Wire):
    data: list[UsageEntry]
    next_cursor: str | None = None


class ByDate(BaseModel):
    """Upper-case currencies, unlike the rest; either is taken."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, defer_build=True)
    date: Text = ""
    USD: Annotated[float, Field(validation_alias=AliasChoices("USD", "usd"))] = 0
    DIEM: Annotated[float, Field(validation_alias=AliasChoices("DIEM", "diem"))] = 0


class ByModel(Wire):
    model_name: Text = ""
    unit_type: Text = ""
    model_type: OptionalText = None
    total_usd: float = 0
    total_diem: float = 0
    total_units: float = 0


class ByKey(Wire):
    """A null id is the web app."""

    api_key_id: str | None = None
    description: Text = ""
    total_usd: float = 0
    total_diem: float = 0
    total_units: float = 0


class AnalyticsAnswer(Wire):
    """getBillingUsageAnalytics (beta, cached for 10 minutes).

    The daily rows are keyed by `top_key_names`, and each number is that name's USD and DIEM together.
    """

    lookback: Text = ""
    by_date: list[ByDate] = Field(default_factory=list[ByDate])
    by_model: list[ByModel] = Field(default_factory=list[ByModel])
    by_key: list[ByKey] = Field(default_factory=list[ByKey])
    by_key_daily: DailyRows = Field(default_factory=list[dict[str, float | None]])
    top_key_names: TextList = Field(default_factory=list[str])
