"""The front of all places for a new secret: what a destination is called, whether it will do, whether it has it."""

from collections.abc import Collection
from typing import Final

from venice_mcp.secrets.commands import prepare_command
from venice_mcp.secrets.destinations import Destination, DestinationKind
from venice_mcp.secrets.dotenv import prepare_variable, value_now
from venice_mcp.secrets.files import FileSink, content, file_notes, is_leftover
from venice_mcp.secrets.folders import SHOWN_PATH
from venice_mcp.secrets.keyrings import SERVICE, entry_now, prepare_entry
from venice_mcp.secrets.sinks import Prepared, SinkError, SinkLimits
from venice_mcp.secrets.tables import LONGEST_ENTRY, ends_with, prepare_row
from venice_mcp.text import plain, quoted

# What each kind must have; besides, a command may have a variable.
_MEMBERS: Final[dict[DestinationKind, frozenset[str]]] = {
    "display": frozenset(),
    "file": frozenset({"path"}),
    "dotenv": frozenset({"path", "variable"}),
    "csv": frozenset({"path", "entry"}),
    "json": frozenset({"path", "entry"}),
    "keyring": frozenset({"variable"}),
    "command": frozenset({"name"}),
}


def prepare(destination: Destination, limits: SinkLimits) -> Prepared:
    """Check all that can be checked before there is a secret, and make what can be made.

    Raises:
        SinkError: the secret could not be delivered there, or must not be; nothing was changed.
    """
    _check_members(destination)
    path, variable = destination.path or "", destination.variable
    match destination.kind:
        case "file":
            return FileSink.prepare(path, limits.folders)
        case "dotenv":
            return prepare_variable(path, variable or "", limits.folders)
        case "csv" | "json":
            return prepare_row(path, destination.kind, destination.entry or "", limits.folders)
        case "keyring":
            return prepare_entry(variable or "", limits.keyring_backends)
        case "command":
            return prepare_command(destination.name or "", variable, limits.commands)
        case "display":
            raise SinkError("what is shown in the chat is not prepared")


def look_at(destination: Destination, limits: SinkLimits, *, over_leftover: bool) -> tuple[tuple[str, ...], str | None]:
    """Notes on a place and its occupant, before anybody is asked: what `prepare` would tell, but no file is made.

    `over_leftover` takes an empty file that a crash left for none.

    Raises:
        SinkError: the secret could not be delivered there, or must not be.
    """
    if destination.kind == "file":
        _check_members(destination)
        return file_notes(destination.path or "", limits.folders, over_leftover=over_leftover), None
    prepared = prepare(destination, limits)
    prepared.discard()
    return prepared.notes, prepared.occupant


def holds(destination: Destination, limits: SinkLimits, last6: str) -> bool | None:
    """Whether a secret that ends in `last6` is there now; None when that cannot be told."""
    if not last6:
        return None
    tail = last6.encode()
    try:
        _check_members(destination)
        path, variable = destination.path or "", destination.variable or ""
        match destination.kind:
            case "file":
                return _file_holds(content(path, limits.folders), tail)
            case "dotenv":
                value = value_now(path, variable, limits.folders)
                return value is not None and value.endswith(tail)
            case "csv" | "json":
                return ends_with(path, destination.kind, destination.entry or "", last6, limits.folders)
            case "keyring":
                entry = entry_now(variable, limits.keyring_backends)
                return entry is not None and entry.last6 == last6
            case "command" | "display":
                return None
    except SinkError:
        return None


def replaced(destination: Destination, limits: SinkLimits, endings: Collection[str]) -> str | None:
    """Which of these last six characters the value has that a secret would replace; None also if that cannot be told.

    Only a variable of a .env file and an entry of the keyring are replaced.
    """
    variable = destination.variable or ""
    try:
        _check_members(destination)
        if destination.kind == "dotenv":
            value = value_now(destination.path or "", variable, limits.folders) or b""
            return next((each for each in endings if each and value.endswith(each.encode())), None)
        entry = entry_now(variable, limits.keyring_backends) if destination.kind == "keyring" else None
    except SinkError:
        return None
    return entry.last6 if entry is not None and entry.last6 in endings else None


def leftover(destination: Destination) -> bool:
    """Whether a file that was prepared and never written is left there after a crash."""
    if destination.kind != "file" or destination.path is None:
        return False
    try:
        data = content(destination.path, None)
    except SinkError:
        return False
    return data is not None and is_leftover(data)


def described(destination: Destination) -> str:
    """The destination in words, for a question and for results."""
    path = quoted(destination.path or "", SHOWN_PATH)
    variable = plain(destination.variable or "", 64)
    match destination.kind:
        case "display":
            return "this chat, once"
        case "file":
            return f"the new file {path}"
        case "dotenv":
            return f"{variable} in the file {path}"
        case "csv" | "json":
            return f"the entry {quoted(destination.entry or '', LONGEST_ENTRY)} in the file {path}"
        case "keyring":
            return f"the system keyring (service {SERVICE}, entry {variable})"
        case "command":
            command = f"the command {quoted(destination.name or '')} of this server's policy"
            return f"{command}, for {variable}" if variable else command


def _file_holds(data: bytes | None, tail: bytes) -> bool | None:
    if data is None or is_leftover(data):
        return False
    # The space reserved is cut off last; with it the file cannot be used, though the secret is in it.
    return None if b"\0" in data else data.removesuffix(b"\n").endswith(tail)


def _check_members(destination: Destination) -> None:
    given = frozenset(destination.as_data()) - {"kind"}
    needed = _MEMBERS[destination.kind]
    allowed = needed | {"variable"} if destination.kind == "command" else needed
    if needed - given:
        raise SinkError(f"the destination lacks {' and '.join(sorted(needed - given))}")
    if given - allowed:
        raise SinkError(f"the destination takes no {' and no '.join(sorted(given - allowed))}")
