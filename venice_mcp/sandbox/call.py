"""One request as the operations see it, and the refusal that ends one early."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from starlette.responses import JSONResponse

from venice_mcp.sandbox.limits import Limiter
from venice_mcp.sandbox.refusal import Refusal, invalid
from venice_mcp.sandbox.state import Account, Key

JsonObject = dict[str, object]
MAX_DEPTH = 100
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def as_object(value: object) -> JsonObject | None:
    return cast("JsonObject", value) if isinstance(value, dict) else None


def as_list(value: object) -> list[object] | None:
    return cast("list[object]", value) if isinstance(value, list) else None


def read_json(body: bytes) -> object:
    """What the body says.

    Raises:
        ValueError: it is not JSON in UTF-8, names a number that JSON does not have, or is nested too deeply.
    """

    def refuse_constant(name: str) -> object:
        raise ValueError(f"{name} is not JSON")

    # Counted first, because json counts against Python's recursion limit, which wallet libraries raise
    # so far that a deep body ends the process instead of raising RecursionError.
    depth = 0
    for byte in _STRING.sub(b"", body):
        depth += (byte in b"[{") - (byte in b"]}")
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
    return json.loads(body.decode(), parse_constant=refuse_constant)


@dataclass
class Subject:
    """What a request turns out to be about while it is answered, for the log and the headers."""

    # A model's id or model:unknown, as the log has it; None while only the endpoint is known.
    model_id: str | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Call:
    account: Account
    limiter: Limiter
    at: datetime
    caller: Key | None
    path: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes
    subject: Subject = field(default_factory=Subject)

    @property
    def key(self) -> Key:
        """The calling key, in operations that are never reached without one."""
        if self.caller is None:
            raise LookupError("this operation was called without a key")
        return self.caller

    def parameter(self, name: str) -> str | None:
        """A query parameter; one that is there and empty is not one that is missing."""
        values = [value for given, value in self.query if given == name]
        if len(values) > 1:
            raise invalid({name: ["Expected a single value"]})
        return values[0] if values else None

    def parameter_or(self, name: str, default: str) -> str:
        value = self.parameter(name)
        return default if value is None else value


def refused(refusal: Refusal) -> JSONResponse:
    body: JsonObject = {"error": refusal.error, **refusal.beside}
    if refusal.details is not None:
        body["details"] = refusal.details
    return JSONResponse(body, refusal.status, dict(refusal.headers))
