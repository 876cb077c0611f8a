"""Argument types that tools share: bounds, checks and the words a model reads about them."""

import ipaddress
import unicodedata
import uuid
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from venice_mcp.text import plain

MAX_CAP = 9_999_999_999
MAX_TEXT = 2_000
MAX_DESCRIPTION = 64
EXAMPLE_ID = "e28e82dc-9df2-4b47-b726-d0a222ef2ab5"
PASTED = (
    "holds what looks like a secret; if it is one, it stands in this conversation now, so revoke that key,"
    " and if it only begins like one, choose another name"
)


def problem(text: str) -> PydanticCustomError:
    # Only these messages reach the model; pydantic's own would quote the value.
    return PydanticCustomError("argument", "{text}", {"text": text})


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise problem("must be a number")
    return value


def clean_text(value: str) -> str:
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in value):
        raise problem("must not hold control, bidirectional or invisible characters")
    return value


def _description(value: str) -> str:
    value = clean_text(value).strip()
    if not plain(value):
        raise problem("must not be blank; say in visible characters what the key is for")
    # Venice does not say whether 64 counts code points or UTF-16 units, so both must fit.
    if len(value.encode("utf-16-le")) // 2 > MAX_DESCRIPTION:
        raise problem(f"must be at most {MAX_DESCRIPTION} characters")
    return value


def _uuid(value: str) -> str:
    try:
        return str(uuid.UUID(value)) if len(value) == 36 else _not_uuid()
    except ValueError:
        return _not_uuid()


def _not_uuid() -> str:
    raise problem("must be a key id as venice_list_api_keys shows it (a UUID), never the key itself")


def _range(value: str) -> str:
    text = value.strip()
    try:
        # A zone ("%eth0") may hold any words, and means nothing to Venice.
        if "%" in text:
            raise ValueError
        return str(ipaddress.ip_network(text, strict=False) if "/" in text else ipaddress.ip_address(text))
    except ValueError:
        raise problem("every entry must be an IP address or a CIDR range such as 203.0.113.0/24") from None


KeyId = Annotated[
    str,
    Field(description="From venice_list_api_keys", examples=[EXAMPLE_ID]),
    AfterValidator(_uuid),
]
OneOfMany = Annotated[str, AfterValidator(_uuid)]
"""A key id in a list that says what it holds."""

Last6 = Annotated[
    str,
    Field(
        min_length=6,
        max_length=6,
        pattern=r"^[A-Za-z0-9_-]{6}$",
        description="Instead: last six characters of the key",
    ),
]
Description = Annotated[
    str,
    Field(description=f"E.g. 'staging backend'; max {MAX_DESCRIPTION} characters"),
    AfterValidator(_description),
]
KeyType = Literal["INFERENCE", "ADMIN"]
Cap = Annotated[float, Field(ge=0, le=MAX_CAP, allow_inf_nan=False), BeforeValidator(_no_bool)]
Period = Annotated[Literal["EPOCH", "MONTH", "LIFETIME"], Field(description="EPOCH is a UTC day")]
# Annotated, although it says nothing: typing takes a bare Literal for one of the same words in another order.
Privacy = Annotated[Literal["ALL", "PRIVATE_TEXT", "PRIVATE_ONLY"], Field()]
Allowlist = Annotated[
    list[Annotated[str, AfterValidator(_range)]],
    Field(min_length=1, max_length=100, description="E.g. 203.0.113.0/24; others are locked out"),
]
ExpiresAt = Annotated[str, Field(max_length=40, description="Or ISO time, e.g. 2027-01-31")]
Days = Annotated[float, Field(ge=0, le=36500, allow_inf_nan=False), BeforeValidator(_no_bool)]
ExpiresInDays = Annotated[float, Field(gt=0, le=36500, allow_inf_nan=False), BeforeValidator(_no_bool)]


def problem_at(name: str, text: str) -> PydanticCustomError:
    return PydanticCustomError("argument", "{text}", {"text": text, "argument": name})
