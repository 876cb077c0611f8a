"""Who is calling, and what that key may do."""

import ipaddress
from datetime import datetime
from enum import Enum, auto

from venice_mcp.sandbox.refusal import Refusal
from venice_mcp.sandbox.state import Account, Key


class Access(Enum):
    OPEN = auto()  # no key is needed, so none is looked at
    ANY_KEY = auto()
    ADMIN = auto()


def identify(account: Account, authorization: str | None, at: datetime) -> Key | None:
    """The active key in an Authorization header, if it holds one."""
    scheme, _, secret = (authorization or "").partition(" ")
    return account.holder(secret.strip(), at) if scheme.lower() == "bearer" else None


def admit(access: Access, caller: Key | None, host: str | None) -> None:
    """Let the caller pass, or say why not.

    Raises:
        Refusal: 401 for no key or the wrong type of key, 403 for an address that is not on the key's list.
    """
    if access is Access.OPEN:
        return
    if caller is None:
        raise Refusal(401, "Authentication failed")
    if caller.ip_allowlist and not _listed(host, caller.ip_allowlist):
        raise Refusal(403, "Unauthorized access")
    if access is Access.ADMIN and caller.api_key_type != "ADMIN":
        raise Refusal(401, "Admin API key required")


def _listed(host: str | None, allowlist: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    networks = (ipaddress.ip_network(entry, strict=False) for entry in allowlist)
    return any(address in network for network in networks)
