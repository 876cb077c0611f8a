"""What a request body may hold. Bodies are closed, and every member has exactly one type."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from venice_mcp.sandbox import moments
from venice_mcp.sandbox.call import JsonObject, as_list, as_object, read_json
from venice_mcp.sandbox.refusal import INVALID, Problems, Refusal

MAX_CAP = 9_999_999_999
MAX_DESCRIPTION = 64
MAX_ADDRESSES = 100
CAPS = ("usd", "diem", "vcu")

# A check adds what it finds to the problems under the path of the member it was given.
Check = Callable[[object, tuple[str, ...], Problems, datetime], None]


@dataclass(frozen=True)
class BodyRules:
    required: tuple[str, ...]
    members: Mapping[str, Check]

    def read(self, body: bytes, content_type: str, at: datetime) -> JsonObject:
        """The body, if every rule holds.

        Raises:
            Refusal: 415 for another content type, 400 for anything else that is wrong.
        """
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "Invalid request content-type")
        problems = Problems()
        try:
            given = as_object(read_json(body))
        except ValueError as error:
            raise Refusal(400, INVALID, details={"_errors": ["Malformed JSON"]}) from error
        if given is None:
            problems.add((), "Expected object")
            problems.settle()
            return {}
        for name in self.required:
            if name not in given:
                problems.add((name,), "Required")
        unknown = [name for name in given if name not in self.members]
        if unknown:
            problems.add((), f"Unrecognized key(s) in object: {', '.join(map(repr, unknown))}")
        for name, check in self.members.items():
            if name in given:
                check(given[name], (name,), problems, at)
        problems.settle()
        return given


def _one_of(*names: str) -> Check:
    def check(value: object, path: tuple[str, ...], problems: Problems, _at: datetime) -> None:
        if not isinstance(value, str) or value not in names:
            problems.add(path, f"Invalid enum value. Expected {' | '.join(map(repr, names))}")

    return check


def _text(max_length: int | None = None) -> Check:
    def check(value: object, path: tuple[str, ...], problems: Problems, _at: datetime) -> None:
        if not isinstance(value, str):
            problems.add(path, "Expected string")
        elif any("\ud800" <= character <= "\udfff" for character in value):
            problems.add(path, "Unpaired surrogate")
        # UTF-16 units, the harsher of the two possible counts: what passes here passes by code points too.
        elif max_length is not None and len(value.encode("utf-16-le")) // 2 > max_length:
            problems.add(path, f"String must contain at most {max_length} character(s)")

    return check


def _expiry(*, nullable: bool) -> Check:
    def check(value: object, path: tuple[str, ...], problems: Problems, at: datetime) -> None:
        if value == "" or (value is None and nullable):
            return
        expires_at = moments.read_expiry(value) if isinstance(value, str) else None
        if expires_at is None:
            problems.add(path, "Invalid input")
        elif expires_at <= at:
            problems.add(path, "Expiry must be in the future")

    return check


def _caps(value: object, path: tuple[str, ...], problems: Problems, _at: datetime) -> None:
    given = as_object(value)
    if given is None:
        problems.add(path, "Expected object")
        return
    # The contract leaves this object open, unlike the body around it: other members pass and mean nothing.
    for name in CAPS:
        cap = given.get(name)
        if cap is None:
            continue
        # To Python a boolean is a number; to the API it is not.
        if isinstance(cap, bool) or not isinstance(cap, int | float):
            problems.add((*path, name), "Expected number")
        elif not 0 <= cap <= MAX_CAP:
            problems.add((*path, name), f"Number must be between 0 and {MAX_CAP}")


def _addresses(value: object, path: tuple[str, ...], problems: Problems, _at: datetime) -> None:
    given = as_list(value)
    if given is None:
        problems.add(path, "Expected array")
        return
    if len(given) > MAX_ADDRESSES:
        problems.add(path, f"Array must contain at most {MAX_ADDRESSES} element(s)")
    for index, address in enumerate(given):
        if not isinstance(address, str) or not _is_network(address):
            problems.add((*path, str(index)), "Invalid IP address or CIDR range")


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


_KEY_MEMBERS: Mapping[str, Check] = {
    "consumptionLimit": _caps,
    "limitPeriod": _one_of("EPOCH", "MONTH", "LIFETIME"),
    "modelPrivacy": _one_of("ALL", "PRIVATE_TEXT", "PRIVATE_ONLY"),
    "ipAllowlist": _addresses,
}
_TYPE = _one_of("INFERENCE", "ADMIN")
CREATE = BodyRules(
    ("apiKeyType", "description"),
    {
        **_KEY_MEMBERS,
        "apiKeyType": _TYPE,
        "description": _text(MAX_DESCRIPTION),
        "expiresAt": _expiry(nullable=False),
    },
)
UPDATE = BodyRules(
    ("id",),
    {
        **_KEY_MEMBERS,
        "id": _text(),
        "description": _text(MAX_DESCRIPTION),
        "expiresAt": _expiry(nullable=True),
    },
)
MINT = BodyRules(
    ("apiKeyType", "address", "signature", "token"),
    {
        **_KEY_MEMBERS,
        "apiKeyType": _TYPE,
        # No cap on the length here: the wallet variant declares none.
        "description": _text(),
        "expiresAt": _expiry(nullable=False),
        "address": _text(),
        "signature": _text(),
        "token": _text(),
    },
)
