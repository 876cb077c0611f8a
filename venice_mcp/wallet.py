"""The wallet that mints keys: signs one kind of text, a token Venice just issued, and nothing else.

`eth_account` is imported only when a wallet is used (0.4 s), and its account objects are never kept, because
they carry the private key in plain attributes.
"""

import base64
import binascii
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

from pydantic_core import from_json

from venice_mcp.errors import VeniceError
from venice_mcp.secrets import Secret

_MAX_TOKEN = 4096
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
SIGNATURE = re.compile(r"0x[0-9a-fA-F]{130}")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


@contextmanager
def _recursion_limit_kept() -> Generator[None]:
    """A library below eth_account raises the process's recursion limit so far that deeply nested JSON would crash
    the interpreter instead of raising RecursionError (seen 2026-11-23 with py_ecc 8.0.0).
    """
    limit = sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def check_token(token: Secret, now: datetime) -> datetime | None:
    """Refuse anything that is not a JWT Venice could have issued: a hash, typed data or prose must not be signed.

    Returns:
        When it expires, if it says so.

    Raises:
        VeniceError: it has the wrong shape or has expired.
    """
    value = token.reveal()
    parts = value.split(".") if len(value) <= _MAX_TOKEN and _JWT.fullmatch(value) else []
    header, claims = (_json_part(part) for part in parts[:2]) if len(parts) == 3 else (None, None)
    if header is None or claims is None or "alg" not in header:
        raise VeniceError(
            "token: it is not a token as Venice issues them, so it was neither signed nor sent.",
            next_step="Get one with venice_get_web3_token.",
            code="bad_token",
        )
    expiry = claims.get("exp")
    if not isinstance(expiry, int | float) or isinstance(expiry, bool) or not 0 < expiry < 1e11:
        return None
    if expiry <= now.timestamp():
        raise VeniceError(
            "token: it has expired; tokens last 15 minutes.",
            next_step="Get a new one with venice_get_web3_token.",
            code="bad_token",
        )
    return datetime.fromtimestamp(expiry, UTC)


def address_of(key: Secret) -> str:
    """The checksummed EVM address of a private key."""
    with _recursion_limit_kept():
        from eth_account import Account  # slow, and most servers never mint

    return str(Account.from_key(key.reveal()).address)


def sign_token(key: Secret, token: Secret, now: datetime) -> Secret:
    """EIP-191 personal_sign of the raw token text."""
    check_token(token, now)
    with _recursion_limit_kept():
        from eth_account import Account
        from eth_account.messages import encode_defunct

    signed = Account.sign_message(encode_defunct(text=token.reveal()), private_key=key.reveal())
    return Secret("0x" + bytes(signed.signature).hex())


def signed_by(address: str, token: Secret, signature: Secret) -> bool:
    """Whether `signature` over the raw token text is that address's."""
    with _recursion_limit_kept():
        from eth_account import Account
        from eth_account.messages import encode_defunct
    from eth_keys.exceptions import BadSignature  # eth_account lets it through
    from eth_utils.exceptions import ValidationError

    try:
        signer = Account.recover_message(encode_defunct(text=token.reveal()), signature=signature.reveal())
    except (BadSignature, ValidationError, ValueError, TypeError):
        return False
    return str(signer).lower() == address.lower()


def _json_part(part: str) -> dict[str, Any] | None:
    try:
        value = from_json(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
