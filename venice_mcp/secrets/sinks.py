"""What all places for a new secret have in common: limits, a secret taken once, and failures that never hold it."""

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol, Self

from venice_mcp.secrets.shapes import looks_like_secret
from venice_mcp.secrets.types import Secret
from venice_mcp.text import quoted

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
PLACEHOLDER: Final = "{variable}"


class SinkError(OSError):
    """A secret could not be delivered. The message names the reason and never the secret."""


@dataclass(frozen=True)
class Command:
    """A program that takes a secret on its standard input; only the operator's policy defines one.

    Attributes:
        argv: the program's absolute path and its arguments, in which {variable} stands for the caller's word.
        timeout_s: after this time it is ended, with all that it started.
        pass_env: names of variables of the server that it gets; the rest of its environment is a small fixed one.
    """

    argv: tuple[str, ...]
    timeout_s: float = 30.0
    pass_env: tuple[str, ...] = ()

    @property
    def uses_variable(self) -> bool:
        return any(PLACEHOLDER in item for item in self.argv)

    def filled(self, variable: str | None) -> list[str]:
        """The arguments as they are run."""
        return [item.replace(PLACEHOLDER, variable or "") for item in self.argv]


@dataclass(frozen=True)
class SinkLimits:
    """What the operator's policy allows. The defaults allow everything but commands.

    Attributes:
        folders: where a file or a .env file must lie, at any depth; None is anywhere.
        commands: by name.
        keyring_backends: classes ("module.Class") that are accepted besides those of the operating systems.
    """

    folders: tuple[str, ...] | None = None
    commands: Mapping[str, Command] = field(default_factory=dict[str, Command])
    keyring_backends: tuple[str, ...] = ()


class Prepared(Protocol):
    """A place that was found fit for one secret, before there is one."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before the secret exists, in words of ours."""
        ...

    @property
    def occupant(self) -> str | None:
        """Tells apart the values that the secret would replace, as `told_apart` does; None if it replaces nothing."""
        ...

    def write(self, secret: Secret) -> None:
        """Deliver `secret`; blocks.

        Raises:
            SinkError: it was not delivered, and nothing of it is left there unless the message says so.
        """
        ...

    def discard(self) -> None:
        """Leave no trace, unless the secret was written. May be called at any time, and again."""
        ...


class OneDelivery(ABC):
    """Takes one secret, once. As a context manager it discards what was not written.

    Args:
        place: for messages.
        notes: for the person.
        occupant: what it would replace.
    """

    def __init__(self, place: str, notes: tuple[str, ...] = (), occupant: str | None = None) -> None:
        self.notes = notes
        self.occupant = occupant
        self._place = place
        self._open = True

    def write(self, secret: Secret) -> None:
        """Deliver `secret`.

        Raises:
            SinkError: it was not delivered, and nothing of it is left there unless the message says so.
        """
        if not self._open:
            raise SinkError("this destination was already written or discarded; nothing was written now")
        problem = self._deliver(secret)
        if problem:
            self.discard()
            raise SinkError(f"the secret was not saved to {self._place}: {problem}")
        self._close()

    @abstractmethod
    def _deliver(self, secret: Secret) -> str | None:
        """The problem, if any; returned, because an exception would carry the secret in its context."""

    def discard(self) -> None:
        """Take no secret any more."""
        self._close()

    def _close(self) -> None:
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard()


def reason(error: OSError) -> str:
    """Why the system refused. Not str(error), which ends with the raw path."""
    return os.strerror(error.errno) if error.errno else "unknown reason"


def told_apart(value: bytes, place: str) -> str:
    """Two bytes of a digest in hex: enough to notice in a record that a value changed, too few to guess it from."""
    return hashlib.blake2b(place.encode() + b"\0" + value, digest_size=2).hexdigest()


def check_variable(variable: str) -> None:
    """Refuse what is no plain name, or may be a key that was pasted there.

    Raises:
        SinkError: with the reason; the name is shown only if it is harmless.
    """
    if looks_like_secret(variable):
        raise SinkError("the variable looks like a key; give the name under which the key shall be kept")
    if not _VARIABLE.fullmatch(variable):
        raise SinkError(
            f"the variable {quoted(variable, 64)} is not a name of at most 64 letters, digits and underscores"
            " that does not begin with a digit"
        )
