"""What stands at a destination after a delivery, or after a process that ended in the middle of one."""

import os
from contextlib import suppress

from venice_mcp.secrets.destinations import Destination
from venice_mcp.secrets.dotenv import value_now
from venice_mcp.secrets.files import clear, content
from venice_mcp.secrets.keyrings import entry_now
from venice_mcp.secrets.sinks import SinkError, SinkLimits
from venice_mcp.secrets.types import Secret


def saved(destination: Destination, limits: SinkLimits, last6: str) -> Secret | None:
    """The secret that was delivered there and ends in `last6`; None when it is not there or cannot be read back."""
    try:
        match destination.kind:
            case "file":
                data = content(destination.path or "", limits.folders)
                found = _secret(data.removesuffix(b"\n") if data is not None else None)
            case "dotenv":
                found = _secret(value_now(destination.path or "", destination.variable or "", limits.folders))
            case "keyring":
                found = entry_now(destination.variable or "", limits.keyring_backends)
            case _:
                return None
    except SinkError:
        return None
    return found if found is not None and last6 and found.last6 == last6 else None


def completed(destination: Destination, limits: SinkLimits, last6: str) -> bool:
    """Finish a delivery into a file that ended right before its last step, which cuts off the space reserved.

    Whether it was one, and the whole of a secret that ends in `last6` stands there alone now.
    """
    if destination.kind != "file" or destination.path is None or not last6:
        return False
    try:
        data = content(destination.path, limits.folders) or b""
        text = data.rstrip(b"\0")
        if text == data or b"\0" in text or not text.endswith(last6.encode() + b"\n"):
            return False
        os.truncate(os.path.expanduser(destination.path), len(text))
        return content(destination.path, limits.folders) == text
    except OSError:
        return False


def _secret(value: bytes | None) -> Secret | None:
    with suppress(UnicodeDecodeError):
        return Secret(value.decode()) if value else None
    return None


def clear_leftover(destination: Destination) -> None:
    """Remove the empty file that an attempt left there which ended before it had a secret; nothing else."""
    if destination.kind == "file" and destination.path is not None:
        with suppress(OSError):
            clear(destination.path)
