"""What the tools take: closed, bounded models whose fields are the tool's arguments.

A field left out (or null, which many models send for it) means "leave alone"; clearing something is said in
`clear`, so that noise can never remove a cap. Wrong arguments are refused with the argument's name, never its
value: a pasted secret must not come back.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from venice_mcp.secrets import DISPLAY, KEY_SHAPE, Destination, looks_like_secret
from venice_mcp.tools.fields import (
    MAX_DESCRIPTION,
    MAX_TEXT,
    PASTED,
    Allowlist,
    Cap,
    Days,
    Description,
    ExpiresAt,
    ExpiresInDays,
    KeyId,
    KeyType,
    Last6,
    Period,
    Privacy,
    clean_text,
    problem_at,
)

NOT_TEXT = frozenset({"consumption_limit", "ip_allowlist", "deliver_to", "clear", "names", "key_ids", "folders"})
"""Arguments that are objects or lists."""


class Part(BaseModel):
    """An argument that is an object. `EXAMPLE` is what a caller who gave something else is told to give."""

    EXAMPLE: ClassVar[Mapping[str, Any]]


class Limit(Part):
    """Caps in `limit_period`."""

    EXAMPLE: ClassVar[Mapping[str, Any]] = {"usd": 20, "diem": 20}
    model_config = ConfigDict(extra="forbid", defer_build=True)
    usd: Cap | None = None
    diem: Cap | None = None


class Sink(Part):
    """Where a new secret goes."""

    EXAMPLE: ClassVar[Mapping[str, Any]] = {"kind": "dotenv", "path": "~/.env", "variable": "VENICE_API_KEY"}
    model_config = ConfigDict(extra="forbid", defer_build=True)
    kind: Literal["file", "dotenv", "keyring", "command", "display"] = "file"
    path: (
        Annotated[
            str,
            Field(min_length=1, max_length=200, description="Absolute or ~/; a file is made new"),
            AfterValidator(clean_text),
        ]
        | None
    ) = None
    variable: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    name: Annotated[str, Field(max_length=40, pattern=r"^[A-Za-z0-9_-]+$", description="For command")] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed, more = _SINK_MEMBERS[self.kind]
        given = {member for member in ("path", "variable", "name") if getattr(self, member) is not None}
        if not needed <= given <= needed | more:
            wanted = " and ".join(sorted(needed)) or "nothing else"
            raise problem_at("deliver_to", f"kind {self.kind} takes {wanted}")
        return self

    def destination(self) -> Destination:
        return Destination(self.kind, self.path, self.variable, self.name)


_SINK_MEMBERS: dict[str, tuple[set[str], set[str]]] = {
    "file": ({"path"}, set()),
    "dotenv": ({"path", "variable"}, set()),
    "keyring": ({"variable"}, set()),
    "command": ({"name"}, {"variable"}),
    "display": (set(), set()),
}
"""What each kind of sink needs, and what it may have besides."""


class Arguments(ArgModelBase):
    """Base of every tool's arguments; the tool function receives the whole model as `args`."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    OPAQUE_FIELDS: ClassVar[frozenset[str]] = frozenset()
    """Opaque arguments: signatures, tokens, cursors. Only keys are refused there, not all that looks like noise."""

    PASTED_FIELDS: ClassVar[frozenset[str]] = frozenset()
    """What a person pastes from elsewhere: secrets in it are taken out at once, instead of refusing it."""

    def model_dump_one_level(self) -> dict[str, Any]:
        return {"args": self}

    @model_validator(mode="before")
    @classmethod
    def _refuse_secrets(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for name, value in cast("dict[str, Any]", values).items():
                if name in cls.PASTED_FIELDS:
                    continue
                opaque = name in cls.OPAQUE_FIELDS
                texts = list(_strings(value))
                if any(len(text) > MAX_TEXT for text in texts) and not opaque:
                    raise problem_at(name, f"is longer than {MAX_TEXT} characters")
                if any(KEY_SHAPE.search(text) if opaque else looks_like_secret(text) for text in texts):
                    raise problem_at(name, PASTED)
        return cast("Any", values)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in cast("dict[Any, Any]", value).items():
            yield from _strings(name)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _strings(item)


class NoArguments(Arguments):
    pass


class OneKey(Arguments):
    """Names one key, by id or by its last six characters."""

    key_id: KeyId | None = None
    last6_chars: Last6 | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.key_id is None) == (self.last6_chars is None):
            raise problem_at("key_id", "give either key_id or last6_chars")
        return self


class ListApiKeys(Arguments):
    api_key_type: KeyType | None = None
    text: Annotated[str, Field(max_length=64, description="Part of the description, any case")] | None = None
    last6_chars: (
        Annotated[str, Field(max_length=6, pattern=r"^[A-Za-z0-9_-]*$", description="How the key ends")] | None
    ) = None
    unused_for_days: Annotated[Days, Field(description="Not used, or never used and made, for N days")] | None = None
    expiring_within_days: Days | None = None
    without_cap: Annotated[bool, Field(description="true: only keys with neither a USD nor a DIEM cap")] = False
    sort: Annotated[
        Literal["created", "last_used", "expires", "description", "usage"],
        Field(description="Newest, most recent, soonest or largest first"),
    ] = "created"
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    page: Annotated[int, Field(ge=1, le=500)] = 1


class LimitArguments(Arguments):
    """What a new key may do."""

    consumption_limit: Annotated[Limit, Field(description="Caps; 0 blocks; default: no cap")] | None = None
    limit_period: Period | None = None
    model_privacy: Privacy | None = None
    expires_in_days: ExpiresInDays | None = None
    expires_at: ExpiresAt | None = None
    ip_allowlist: Allowlist | None = None

    @property
    def usd_cap(self) -> float | None:
        return self.consumption_limit.usd if self.consumption_limit else None

    @property
    def diem_cap(self) -> float | None:
        return self.consumption_limit.diem if self.consumption_limit else None

    @model_validator(mode="after")
    def _period_needs_cap(self) -> Self:
        if self.limit_period and self.usd_cap is None and self.diem_cap is None:
            raise problem_at("limit_period", "has no meaning without a cap; give consumption_limit too")
        return self


class KeySettingsArguments(LimitArguments):
    """Settings that create and mint share."""

    description: Description
    api_key_type: KeyType = "INFERENCE"
    deliver_to: (
        Annotated[
            Sink,
            Field(
                description="E.g. {'kind':'dotenv','path':'~/.env','variable':'VENICE_API_KEY'}, or keyring with"
                " variable; without it the secret is shown in this chat, once"
            ),
        ]
        | None
    ) = None

    @property
    def destination(self) -> Destination:
        return self.deliver_to.destination() if self.deliver_to else DISPLAY


class CreateApiKey(KeySettingsArguments):
    pass


class ChangeArguments(Arguments):
    """What may be changed on several keys alike."""

    consumption_limit: (
        Annotated[Limit, Field(description="New caps per limit_period, e.g. {'usd': 5}; 0 blocks, one left out stays")]
        | None
    ) = None
    limit_period: Period | None = None
    model_privacy: Privacy | None = None
    expires_in_days: ExpiresInDays | None = None
    expires_at: ExpiresAt | None = None
    ip_allowlist: Allowlist | None = None
    clear: (
        Annotated[
            list[Literal["usd_cap", "diem_cap", "expires_at", "ip_allowlist"]],
            Field(max_length=4, description="Remove these; anything left out stays as it is"),
        ]
        | None
    ) = None

    @property
    def new_description(self) -> str | None:
        return None

    @model_validator(mode="before")
    @classmethod
    def _null_cap_is_no_answer(cls, values: Any) -> Any:
        limit = cast("dict[str, Any]", values).get("consumption_limit") if isinstance(values, dict) else None
        if isinstance(limit, dict) and None in cast("dict[str, Any]", limit).values():
            raise problem_at(
                "consumption_limit",
                "null is ambiguous: to remove a cap name it in clear, to keep it leave it out",
            )
        return cast("Any", values)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        cleared = set(self.clear or ())
        limit = self.consumption_limit
        given = {
            "usd_cap": limit is not None and limit.usd is not None,
            "diem_cap": limit is not None and limit.diem is not None,
            "expires_at": self.expires_at is not None or self.expires_in_days is not None,
            "ip_allowlist": self.ip_allowlist is not None,
        }
        both = [name for name in given if given[name] and name in cleared]
        if both:
            raise problem_at("clear", f"{', '.join(both)} is both set and cleared")
        if not (cleared or any(given.values()) or self.new_description or self.limit_period or self.model_privacy):
            first = next(name for name in ("description", "consumption_limit") if name in type(self).model_fields)
            raise problem_at(first, "nothing to change: give at least one new setting")
        return self


class UpdateApiKey(OneKey, ChangeArguments):
    description: Description | None = None

    @property
    def new_description(self) -> str | None:
        return self.description


PlanCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{4}-[A-Za-z0-9]{4}$"), AfterValidator(str.upper)]


class Recover(Arguments):
    revoke: Annotated[KeyId, Field(description="Key that an open matter names")] | None = None
    acknowledge: (
        Annotated[
            str,
            Field(
                max_length=40,
                pattern=r"^[A-Za-z0-9/.-]+$",
                description="Key id or entry, e.g. ABCD-EFGH/1; only when the person said that the secret is stored",
            ),
        ]
        | None
    ) = None

    resume: Annotated[PlanCode, Field(description="Plan to go on with, e.g. ABCD-EFGH")] | None = None
    undo: (
        Annotated[
            PlanCode, Field(description="Plan, e.g. ABCD-EFGH, whose work to take back after a person approved it")
        ]
        | None
    ) = None
    give_up: Annotated[PlanCode, Field(description="Plan to drop, e.g. ABCD-EFGH; what is done stays")] | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) > 1:
            raise problem_at(given[0], f"give only one of {', '.join(type(self).model_fields)}")
        return self


class GetRateLimits(Arguments):
    api_key_type: (
        Annotated[KeyType, Field(description="Whose limits; default: the INFERENCE key if configured")] | None
    ) = None
    model: Annotated[str, Field(max_length=100, description="Part of a model id")] | None = None


class GetRateLimitLog(Arguments):
    limit: Annotated[int, Field(ge=1, le=50)] = 10


class CreateWeb3ApiKey(KeySettingsArguments):
    OPAQUE_FIELDS: ClassVar[frozenset[str]] = frozenset({"token", "signature"})

    description: Annotated[Description, Field(description=f"Max {MAX_DESCRIPTION} characters")] = "Web3 API Key"
    address: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")] | None = None
    signature: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{130}$")] | None = None
    token: Annotated[str, Field(max_length=4096)] | None = None
    deliver_to: (
        Annotated[
            Sink,
            Field(
                description="E.g. {'kind':'dotenv','path':'~/.env','variable':'VENICE_API_KEY'}; else the secret is"
                " shown here"
            ),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        parts = {"address": self.address, "signature": self.signature, "token": self.token}
        missing = [name for name, value in parts.items() if value is None]
        if missing and len(missing) < len(parts):
            raise problem_at(
                missing[0],
                "address, signature and token go together; leave all out to use the configured wallet",
            )
        return self


class GetBillingUsage(Arguments):
    start: Annotated[str, Field(max_length=40, description="Date or ISO time, e.g. 2027-01-31; inclusive")] | None = (
        None
    )
    end: Annotated[str, Field(max_length=40, description="Exclusive, e.g. 2027-02-01")] | None = None
    currency: Literal["USD", "DIEM", "BUNDLED_CREDITS"] | None = None
    page_size: Annotated[int, Field(ge=10, le=200)] = 50
    cursor: (
        Annotated[
            str,
            Field(
                max_length=512,
                pattern=r"^[A-Za-z0-9_-]+$",
                description="next_cursor of the page before; alone",
            ),
        ]
        | None
    ) = None

    OPAQUE_FIELDS: ClassVar[frozenset[str]] = frozenset({"cursor"})

    @model_validator(mode="after")
    def _cursor_alone(self) -> Self:
        if self.cursor and (self.start or self.end or self.currency):
            raise problem_at("cursor", "goes alone: the first page's filters ride inside it")
        return self


class GetUsageAnalytics(Arguments):
    lookback_days: Annotated[int, Field(ge=1, le=90)] | None = None
    start_date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="E.g. 2027-01-31")] | None = None
    end_date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="E.g. 2027-02-28")] | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.start_date is None) != (self.end_date is None):
            raise problem_at("start_date", "start_date and end_date go together")
        if self.start_date and self.lookback_days is not None:
            raise problem_at("lookback_days", "give either lookback_days or the two dates")
        return self
