"""Who is calling, and what that key may do."""

import ipaddress
from datetime import datetime
from enum import Enum, auto

from venice_mcp.sandbox.refusal import Refusal
from venice_mcp.sandbox.state import Account, Key

INACTIVE = (
    "Authentication failed - Pro subscription is inactive. Please upgrade your subscription to continue using the API"
)
DISABLED = "API access has been disabled for this account. Please contact support@venice.ai"


class Access(Enum):
    OPEN = auto()  # no key is needed, so none is looked at
    ANY_KEY = auto()
    PAYING = auto()  # any key of an account that may call models; without one a wallet could pay
    ADMIN = auto()


def identify(account: Account, authorization: str | None, at: datetime) -> Key | None:
    """The active key in an Authorization header, if it holds one."""
    scheme, _, secret = (authorization or "").partition(" ")
    return account.holder(secret.strip(), at) if scheme.lower() == "bearer" else None


def admit(access: Access, account: Account, caller: Key | None, host: str | None, *, key_sent: bool) -> None:
    """Let the caller pass, or say why not.

    Raises:
        Refusal: 401 for no key, the wrong type of key or an inactive subscription, 402 for no key where a wallet
            could pay, 403 for an address that is not on the key's list or an account that may not call models.
    """
    if access is Access.OPEN:
        return
    if access is Access.PAYING and not key_sent:
        raise Refusal(402, "Authentication required", beside={"x402Version": 2, "accepts": list[object]()})
    if caller is None:
        raise Refusal(401, "Authentication failed")
    if caller.ip_allowlist and not _listed(host, caller.ip_allowlist):
        raise Refusal(403, "Unauthorized access")
    # An ADMIN key still manages the account, or nobody could find out what is wrong.
    if not account.conditions.subscription_active and (access is Access.PAYING or caller.api_key_type == "INFERENCE"):
        raise Refusal(401, INACTIVE)
    if access is Access.PAYING and not account.conditions.api_access:
        raise Refusal(403, DISABLED)
    if access is Access.PAYING and not account.conditions.access_permitted:
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
