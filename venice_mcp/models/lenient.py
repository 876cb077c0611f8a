"""Types that read what Venice sends without falling over one odd member."""

from typing import Annotated, cast

from pydantic import BeforeValidator, PlainValidator

from venice_mcp.secrets import Secret


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


def members_or_none(value: object) -> object:
    """An object whose members are all optional; null is the empty one."""
    return {} if value is None else value


def numbers_only(value: object) -> object:
    """The members that are numbers; Venice may add others."""
    if not isinstance(value, dict):
        return members_or_none(value)
    members = cast("dict[str, object]", value)
    return {
        name: item
        for name, item in members.items()
        if item is None or (isinstance(item, int | float) and not isinstance(item, bool))
    }


def _texts_only(value: object) -> object:
    """The texts of a list; anything else is an empty one."""
    return [item for item in cast("list[object]", value) if isinstance(item, str)] if isinstance(value, list) else []


def _rows_of_numbers(value: object) -> object:
    """A list of objects, of each the members that are numbers; anything else is an empty one."""
    rows = cast("list[object]", value) if isinstance(value, list) else []
    return [numbers_only(cast("object", row)) for row in rows if isinstance(row, dict)]


Text = Annotated[str, BeforeValidator(_text)]
OptionalText = Annotated[str | None, BeforeValidator(_text_or_none)]
TextList = Annotated[list[str], BeforeValidator(_texts_only)]
DailyRows = Annotated[list[dict[str, float | None]], BeforeValidator(_rows_of_numbers)]
