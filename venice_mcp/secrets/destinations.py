"""Where a new key's secret shall go, as it is asked for, shown to a person, recorded and carried out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

DestinationKind = Literal["display", "file", "dotenv", "csv", "json", "keyring", "command"]


@dataclass(frozen=True)
class Destination:
    """One place for one secret.

    Attributes:
        kind: which sort of place; "display" is the chat itself.
        path: of a file, as it was given: absolute or beginning with ~.
        variable: the variable in a .env file, the entry's name in the keyring, or a word for a command.
        name: of a command that the operator's policy defines.
        entry: the name of the key in a file of many, CSV or JSON.
    """

    kind: DestinationKind = "display"
    path: str | None = None
    variable: str | None = None
    name: str | None = None
    entry: str | None = None

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Destination":
        return cls(**data)

    def as_data(self) -> dict[str, str]:
        """Only what is set, for the record."""
        members = {name: getattr(self, name) for name in ("kind", "path", "variable", "name", "entry")}
        return {name: value for name, value in members.items() if value is not None}


DISPLAY = Destination()
