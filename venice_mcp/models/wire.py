"""What goes over the wire to and from Venice. Source: Venice OpenAPI 20260821.193530.

Answers are read leniently: unknown members are kept, enumerations are plain strings, because Venice adds both
without notice. Requests are strict and hold only documented members; `ipAllowlist` (docs page "Managing API
Keys") is sent only when it was given. `vcu` is read and never written.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator
from pydantic.alias_generators import to_camel

from venice_mcp.secrets import Secret
from venice_mcp.text import parse_time, to_wire

PERIODS = ("EPOCH", "MONTH", "LIFETIME")
"""Cap windows, shortest first. EPOCH is a UTC day, MONTH a UTC calendar month, LIFETIME never resets."""

PRIVACY = ("PRIVATE_ONLY", "PRIVATE_TEXT", "ALL")
"""Model privacy tiers, narrowest first."""

MAX_ACTIVE_KEYS = 500


def _secret(value: object) -> Secret:
    if not isinstance(value, str) or not value:
        raise ValueError("a secret must be a non-empty string")
    return Secret(value)


SecretValue = Annotated[Secret, PlainValidator(_secret)]
"""A secret in an answer: wrapped the moment it is parsed."""


def _text(value: object) -> object:
    """Text for display: null is nothing, a number is its digits, anything else that is not text is nothing."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _text_or_none(value: object) -> object:
    """Text such as a time, or none: one odd value must not hide the key it belongs to."""
    return value if isinstance(value, str) else None


def _members(value: object) -> object:
    """An object whose members are all optional; null is the empty one."""
    return {} if value is None else value


def _numbers(value: object) -> object:
    """The members that are numbers; Venice may add others."""
    if not isinstance(value, dict):
        return _members(value)
    members = cast("dict[str, object]", value)
    return {
        name: item
        for name, item in members.items()
        if item is None or (isinstance(item, int | float) and not isinstance(item, bool))
    }


Text = Annotated[str, BeforeValidator(_text)]
OptionalText = Annotated[str | None, BeforeValidator(_text_or_none)]


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
            "ip_allowlist": sorted(self.ip_allowlist or ()),
        }


def _one_spelling(value: str | None) -> str | None:
    """Equal times written equally: with or without fractions of a second, with Z or an offset."""
    moment = parse_time(value)
    return to_wire(moment) if moment is not None else value


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
    api_tier: Annotated[ApiTier, BeforeValidator(_members)] = Field(default_factory=ApiTier)
    balances: Annotated[dict[str, float | None], BeforeValidator(_numbers)] = Field(default_factory=dict)
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


class TokenData(Wire):
    token: SecretValue


class TokenAnswer(Wire):
    data: TokenData


class Balances(Wire):
    diem: float | None = None
    usd: float | None = None


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
    model_config = ConfigDict(extra="allow", defer_build=True)
    date: str
    USD: float = 0
    DIEM: float = 0


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
    """getBillingUsageAnalytics (beta, cached for 10 minutes)."""

    lookback: Text = ""
    by_date: list[ByDate] = Field(default_factory=list[ByDate])
    by_model: list[ByModel] = Field(default_factory=list[ByModel])
    by_key: list[ByKey] = Field(default_factory=list[ByKey])


# --- requests -------------------------------------------------------------------------------------


class NewKeySettings(BaseModel):
    """What a new key shall be able to do, fully decided. The intent of a create or a mint."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    api_key_type: str
    description: str
    usd_cap: float | None = None
    diem_cap: float | None = None
    limit_period: str | None = None
    model_privacy: str | None = None
    expires_at: str | None = None
    ip_allowlist: tuple[str, ...] | None = None

    def to_wire(self) -> dict[str, Any]:
        body: dict[str, Any] = {"apiKeyType": self.api_key_type, "description": self.description}
        caps = {"usd": self.usd_cap, "diem": self.diem_cap}
        if any(value is not None for value in caps.values()):
            body["consumptionLimit"] = {name: value for name, value in caps.items() if value is not None}
        optional: Mapping[str, Any] = {
            "limitPeriod": self.limit_period,
            "modelPrivacy": self.model_privacy,
            "expiresAt": self.expires_at,
            "ipAllowlist": list(self.ip_allowlist) if self.ip_allowlist is not None else None,
        }
        return body | {name: value for name, value in optional.items() if value is not None}


class KeyChange(BaseModel):
    """A change of one key, fully decided: only the members in `model_fields_set` are sent."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    id: str
    description: str | None = None
    usd_cap: float | None = None
    diem_cap: float | None = None
    limit_period: str | None = None
    model_privacy: str | None = None
    expires_at: str | None = None
    ip_allowlist: tuple[str, ...] | None = None

    def intent(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True)

    def to_wire(self) -> dict[str, Any]:
        given = self.model_fields_set
        body: dict[str, Any] = {"id": self.id}
        if {"usd_cap", "diem_cap"} & given:
            # Always both: whether a PATCH merges or replaces the one left out is not documented.
            body["consumptionLimit"] = {"usd": self.usd_cap, "diem": self.diem_cap}
        for name, wire in (
            ("description", "description"),
            ("limit_period", "limitPeriod"),
            ("model_privacy", "modelPrivacy"),
        ):
            if name in given:
                body[wire] = getattr(self, name)
        if "expires_at" in given:
            body["expiresAt"] = self.expires_at or ""
        if "ip_allowlist" in given:
            body["ipAllowlist"] = list(self.ip_allowlist or ())
        return body

    def applied_to(self, key: Key) -> dict[str, Any]:
        """The key's settings as they will be after the change."""
        after = key.settings()
        for name in self.model_fields_set - {"id"}:
            value = getattr(self, name)
            after[name] = sorted(value or ()) if name == "ip_allowlist" else value
        return after
