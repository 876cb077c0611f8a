"""The shape of a policy file. Imported only when there is one, because building these models takes a while."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from venice_mcp.policy.patterns import PatternError, checked
from venice_mcp.policy.places import PolicyError, absolute
from venice_mcp.policy.rules import (
    Act,
    Allowance,
    Currency,
    KeyRules,
    KeyType,
    Period,
    Policy,
    Privacy,
    SecretRules,
    ToolRules,
)
from venice_mcp.secrets.destinations import DestinationKind
from venice_mcp.secrets.sinks import Command
from venice_mcp.text import plain

OPERATOR_ONLY = (
    ("state_dir",),
    ("network",),
    ("secrets", "keyring_backends"),
    ("secrets", "commands"),
    ("approval", "narrowing_unasked"),
    ("approval", "allowances"),
)
"""What would grant something, or lead somewhere: no project may say it."""
_MAX_CAP = 9_999_999_999
_MAX_DAYS = 36_500
_PROBLEMS_TOLD = 3
_SUBJECT = re.compile(r"^[A-Z][a-z]+ should")


def _problem(text: str) -> PydanticCustomError:
    # Pydantic's own messages for values would quote some of them.
    return PydanticCustomError("policy", "{text}", {"text": text})


def _pattern(value: str) -> str:
    try:
        return checked(value)
    except PatternError as error:
        raise _problem(str(error)) from None


def _path(value: str) -> str:
    try:
        return str(absolute(value))
    except PolicyError as error:
        raise _problem(str(error)) from None


def _folder(value: str) -> str:
    # Where it leads now; a link laid later by somebody else does not widen it.
    return os.path.realpath(_path(value))


def _argv(value: list[str]) -> list[str]:
    if not os.path.isabs(value[0]):
        raise _problem("must begin with the absolute path of a program")
    return value


def _proxy(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise _problem("is not an address") from None
    if parts.username is not None or parts.password is not None:
        raise _problem("must not hold a name or a password")
    if not usable or parts.path not in ("", "/") or parts.query or parts.fragment or not value.isprintable():
        raise _problem("must look like http://proxy.example:3128")
    return value


def _different(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise _problem("names something twice")
    return values


Cap = Annotated[float, Field(ge=0, le=_MAX_CAP, allow_inf_nan=False)]
Days = Annotated[float, Field(gt=0, le=_MAX_DAYS, allow_inf_nan=False)]
Pattern = Annotated[str, AfterValidator(_pattern)]
PathText = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_path)]
Folder = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_folder)]
ToolPattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9_*?\[\]!-]{1,100}$")]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
Backend = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]{1,200}$")]
Argument = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]
Sinks = Annotated[list[DestinationKind], Field(max_length=10), AfterValidator(_different)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class _Tools(_Table):
    offer: Annotated[list[ToolPattern], Field(max_length=100)] = ["*"]
    hide: Annotated[list[ToolPattern], Field(max_length=100)] = []

    def rules(self) -> ToolRules:
        return ToolRules(tuple(self.offer), tuple(self.hide))


class _Ceilings(_Table):
    usd: Cap | None = None
    diem: Cap | None = None

    def given(self) -> Mapping[Currency, float]:
        members: Mapping[Currency, float | None] = {"usd": self.usd, "diem": self.diem}
        return {name: value for name, value in members.items() if value is not None}


class _Keys(_Table):
    types: Annotated[list[KeyType], AfterValidator(_different)] | None = None
    require_caps: Annotated[list[Currency], AfterValidator(_different)] = []
    max_days: Days | None = None
    description: Pattern | None = None
    model_privacy: Privacy | None = None
    max_cap: dict[Period, _Ceilings] = {}

    def rules(self) -> KeyRules:
        return KeyRules(
            types=None if self.types is None else tuple(self.types),
            require_caps=tuple(self.require_caps),
            max_cap={period: ceilings.given() for period, ceilings in self.max_cap.items()},
            max_days=self.max_days,
            description=self.description,
            model_privacy=self.model_privacy,
        )


class _Command(_Table):
    argv: Annotated[list[Argument], Field(min_length=1, max_length=50), AfterValidator(_argv)]
    timeout_s: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] = 30.0
    pass_env: Annotated[list[Word], Field(max_length=20)] = []


class _Secrets(_Table):
    sinks: Sinks | None = None
    folders: Annotated[list[Folder], Field(max_length=100)] | None = None
    keyring_backends: Annotated[list[Backend], Field(max_length=20)] = []
    commands: Annotated[dict[Word, _Command], Field(max_length=50)] = {}

    def rules(self) -> SecretRules:
        return SecretRules(
            sinks=None if self.sinks is None else tuple(self.sinks),
            folders=None if self.folders is None else tuple(self.folders),
        )


class _Network(_Table):
    proxy: Annotated[str, Field(max_length=300), AfterValidator(_proxy)] | None = None
    ca_file: PathText | None = None


class _Covered(_Table):
    """The caps of an allowance, where infinity means any, or none."""

    usd: Annotated[float, Field(ge=0)] = 0.0
    diem: Annotated[float, Field(ge=0)] = 0.0


class _Allowance(_Table):
    name: Word
    operations: Annotated[list[Act], Field(min_length=1), AfterValidator(_different)] = ["create"]
    max_cap: _Covered
    limit_period: Period
    max_days: Days
    description: Pattern | None = None
    sinks: Annotated[Sinks, Field(min_length=1)]
    per_day: Annotated[int, Field(ge=1, le=1000)]

    def rules(self) -> Allowance:
        return Allowance(
            name=self.name,
            operations=tuple(self.operations),
            max_cap={"usd": self.max_cap.usd, "diem": self.max_cap.diem},
            limit_period=self.limit_period,
            max_days=self.max_days,
            description=self.description,
            sinks=tuple(self.sinks),
            per_day=self.per_day,
        )


def _named_differently(values: list[_Allowance]) -> list[_Allowance]:
    _different([value.name for value in values])
    return values


class _Approval(_Table):
    how: Literal["client", "terminal"] = "client"
    narrowing_unasked: bool = False
    allowances: Annotated[list[_Allowance], Field(max_length=50), AfterValidator(_named_differently)] = []


class _Document(_Table):
    read_only: bool = False
    state_dir: PathText | None = None
    tools: _Tools | None = None
    keys: _Keys | None = None
    secrets: _Secrets | None = None
    network: _Network | None = None
    approval: _Approval | None = None


# --- from a file to rules -------------------------------------------------------------------------


def policy_of(data: Mapping[str, Any], *, trusted: bool) -> Policy:
    """The rules that a parsed file holds.

    Raises:
        PolicyError: a member is unknown, wrong, or not for a file that is not the operator's own.
    """
    if not trusted and (named := [path for path in OPERATOR_ONLY if _holds(data, path)]):
        raise PolicyError(f"{_listed(named)} may stand only in the operator's own policy")
    try:
        document = _Document.model_validate(data)
    except ValidationError as error:
        raise PolicyError(_told(error.errors(include_url=False, include_input=False))) from None
    secrets, approval, network = document.secrets, document.approval, document.network
    return Policy(
        read_only=document.read_only,
        tools=() if document.tools is None else (document.tools.rules(),),
        keys=() if document.keys is None else (document.keys.rules(),),
        secrets=() if secrets is None else (secrets.rules(),),
        keyring_backends=() if secrets is None else tuple(secrets.keyring_backends),
        commands={}
        if secrets is None
        else {
            name: Command(tuple(item.argv), item.timeout_s, tuple(item.pass_env))
            for name, item in secrets.commands.items()
        },
        how="client" if approval is None else approval.how,
        narrowing_unasked=approval is not None and approval.narrowing_unasked,
        allowances=() if approval is None else tuple(item.rules() for item in approval.allowances),
        state_dir=None if document.state_dir is None else Path(document.state_dir),
        proxy=None if network is None else network.proxy,
        ca_file=None if network is None or network.ca_file is None else Path(network.ca_file),
    )


def _holds(data: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    value: Any = data
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = cast("Mapping[str, Any]", value)[name]
    return True


def _listed(paths: list[tuple[str, ...]]) -> str:
    return ", ".join(".".join(path) for path in paths)


def _told(errors: list[ErrorDetails]) -> str:
    told = [f"{_place(error['loc'])} {_what(error)}" for error in errors[:_PROBLEMS_TOLD]]
    more = len(errors) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _place(parts: tuple[int | str, ...]) -> str:
    """Which member it is, as it is written in a file: `approval.allowances[0].per_day`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts if part != "[key]")
    return plain(text.removeprefix("."), 100)


def _what(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "is not a member of a policy"
    if error["type"] == "missing":
        return "is missing"
    return _SUBJECT.sub("must", plain(error["msg"], 160))
