"""The wallet that mints keys: signs one kind of text, a token Venice just issued, and nothing else.

`eth_account` is imported only when a wallet signs (0.4 s), and its account objects are never kept, because
they carry the private key in plain attributes.
"""

import base64
import binascii
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from venice_mcp.errors import VeniceError
from venice_mcp.secrets import Secret

LONGEST_LIFE_S = 86_400
"""A token of Venice's lasts 15 minutes; the rest is for clocks that are wrong."""
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


# --- what may be signed ----------------------------------------------------------------------------


def check_token(token: Secret, now: datetime) -> datetime:
    """Refuse anything that is not a JWT Venice could have issued: a hash, typed data or prose must not be signed.

    Returns:
        When it expires.

    Raises:
        VeniceError: it has the wrong shape, does not expire within a day, or has expired.
    """
    value = token.reveal()
    parts = value.split(".") if len(value) <= _MAX_TOKEN and _JWT.fullmatch(value) else []
    header, claims = (_json_part(part) for part in parts[:2]) if len(parts) == 3 else (None, None)
    if header is None or claims is None or not _decodes(parts[2]) or not _is_signed(header):
        raise _bad_token("it is not a token as Venice issues them, so it was neither signed nor sent.")
    expiry = claims.get("exp")
    if not isinstance(expiry, int | float) or isinstance(expiry, bool):
        raise _bad_token("it does not say when it expires, as Venice's tokens do, so it was neither signed nor sent.")
    if expiry <= now.timestamp():
        raise _bad_token("it has expired; tokens last 15 minutes.")
    # Written so that a NaN is refused, too.
    if not expiry <= now.timestamp() + LONGEST_LIFE_S:
        raise _bad_token(
            "it would last for more than a day, and tokens last 15 minutes, so it was neither signed nor sent."
        )
    return datetime.fromtimestamp(expiry, UTC)


def _bad_token(problem: str) -> VeniceError:
    return VeniceError(f"token: {problem}", next_step="Get a new one with venice_get_web3_token.", code="bad_token")


def _is_signed(header: dict[str, Any]) -> bool:
    algorithm = header.get("alg")
    return isinstance(algorithm, str) and algorithm.strip().lower() not in ("", "none")


def _decodes(part: str) -> bytes | None:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (ValueError, binascii.Error):
        return None


def _json_part(part: str) -> dict[str, Any] | None:
    raw = _decodes(part)
    try:
        value = from_json(raw, allow_inf_nan=False) if raw else None
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


# --- signing ---------------------------------------------------------------------------------------


def address_of(key: Secret) -> str:
    """The checksummed EVM address of a private key."""
    # All of eth_account that this needs; the rest takes ten times as long to import, and every status tells an address.
    from eth_keys.datatypes import PrivateKey

    return str(PrivateKey(bytes.fromhex(key.reveal().removeprefix("0x"))).public_key.to_checksum_address())


def sign_token(key: Secret, token: Secret, now: datetime, address: str) -> Secret:
    """EIP-191 personal_sign of the raw token text, by the address that a person was told of and no other.

    Raises:
        VeniceError: it is no token of Venice's, or the signature is not that address's.
    """
    check_token(token, now)
    with _recursion_limit_kept():
        from eth_account import Account
        from eth_account.messages import encode_defunct

    signed = Account.sign_message(encode_defunct(text=token.reveal()), private_key=key.reveal())
    signature = Secret("0x" + bytes(signed.signature).hex())
    if not signed_by(address, token, signature):
        raise VeniceError(
            "The configured wallet does not sign for the address that was approved, so nothing was sent.",
            next_step="Restart the server, so that it reads its wallet again, and call again.",
            code="bad_signature",
        )
    return signature


def signed_by(address: str, token: Secret, signature: Secret) -> bool:
    """Whether `signature` over the raw token text is that address's."""
    with _recursion_limit_kept():
        from eth_account import Account
        from eth_account.messages import encode_defunct
    from eth_keys.exceptions import BadSignature  # eth_account lets it through
    from eth_utils.exceptions import ValidationError as EthValidationError

    try:
        signer = Account.recover_message(encode_defunct(text=token.reveal()), signature=signature.reveal())
    except (BadSignature, EthValidationError, ValueError, TypeError):
        return False
    return str(signer).lower() == address.lower()


# --- keystores -------------------------------------------------------------------------------------

_MAX_SCRYPT_BYTES = 512 * 1024 * 1024
_MAX_SCRYPT_PASSES = 16
_MAX_PBKDF2_ROUNDS = 10_000_000


class KeystoreError(ValueError):
    """A keystore that does not open; the message goes on after its name, and quotes nothing of it."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True, defer_build=True)


_Salt = Annotated[str, Field(pattern=r"\A(?:[0-9a-f]{2}){1,256}\z")]


class _Scrypt(_Part):
    n: Annotated[int, Field(ge=2)]
    r: Annotated[int, Field(ge=1)]
    p: Annotated[int, Field(ge=1)]
    dklen: Literal[32]
    salt: _Salt


class _Pbkdf2(_Part):
    c: Annotated[int, Field(ge=1)]
    prf: Literal["hmac-sha256"]
    dklen: Literal[32]
    salt: _Salt


class _Cipher(_Part):
    iv: Annotated[str, Field(pattern=r"\A[0-9a-f]{32}\z")]


class _Crypto(_Part):
    cipher: Literal["aes-128-ctr"]
    cipherparams: _Cipher
    ciphertext: Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
    kdf: Literal["scrypt", "pbkdf2"]
    kdfparams: dict[str, Any]
    mac: Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]


class _Keystore(_Part):
    """Web3 secret storage, version 3; member names and hexadecimal digits in lower case, and no 0x."""

    version: Literal[3]
    address: Annotated[str, Field(pattern=r"\A[0-9a-f]{40}\z")] | None = None
    crypto: _Crypto


def open_keystore(content: Secret, password: Secret) -> Secret:
    """The private key in an encrypted keystore. Slow by design (about a second), so not for an event loop.

    Raises:
        KeystoreError: it is malformed, asks for more work than it should, or does not open with this password.
    """
    keystore = _checked_keystore(content)
    with _recursion_limit_kept():
        from eth_account import Account

    try:
        # Only what was checked, not the file: eth_keyfile takes what is there at its word.
        raw = bytes(Account.decrypt(keystore.model_dump(mode="json", exclude={"address"}), password.reveal()))
        address = str(Account.from_key(raw).address)
    except Exception:  # noqa: BLE001 - other people's code on a stranger's file: MAC mismatch, MemoryError and whatever
        raise KeystoreError("does not open: the password is wrong, or the file is damaged.") from None
    if keystore.address is not None and keystore.address != address.lower().removeprefix("0x"):
        raise KeystoreError("holds the key of another address than the one it names.")
    return Secret("0x" + raw.hex())


def _checked_keystore(content: Secret) -> _Keystore:
    malformed = KeystoreError("is not a Web3 secret storage file (JSON, version 3).")
    try:
        found = _Keystore.model_validate(_one_spelling(from_json(content.reveal())))
        given = found.crypto.kdfparams
        kdf = _Scrypt.model_validate(given) if found.crypto.kdf == "scrypt" else _Pbkdf2.model_validate(given)
    except (ValidationError, ValueError, RecursionError):
        raise malformed from None
    if isinstance(kdf, _Pbkdf2):
        if kdf.c > _MAX_PBKDF2_ROUNDS:
            raise KeystoreError(f"asks for more than {_MAX_PBKDF2_ROUNDS} rounds of PBKDF2, and was not opened.")
    elif kdf.n & (kdf.n - 1):
        raise malformed
    elif 128 * kdf.n * kdf.r > _MAX_SCRYPT_BYTES or kdf.p > _MAX_SCRYPT_PASSES:
        raise KeystoreError(
            f"asks for more than {_MAX_SCRYPT_BYTES // 1024**2} MiB or {_MAX_SCRYPT_PASSES} passes of scrypt,"
            " and was not opened."
        )
    crypto = found.crypto.model_copy(update={"kdfparams": kdf.model_dump()})
    return found.model_copy(update={"crypto": crypto})


def _one_spelling(value: Any) -> Any:
    """Names and texts in lower case and without 0x: programs that write keystores differ in both."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return {name.lower(): _one_spelling(member) for name, member in members}
    return value.lower().removeprefix("0x") if isinstance(value, str) else value
