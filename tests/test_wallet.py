"""The wallet: keystores that open for their password and nothing else, and signatures for tokens and nothing else.

Every private key here comes from this file or from chance, and holds nothing.
"""

import base64
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import jwt
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak
from hypothesis import example, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from tests.e2e.bench import ADMIN_KEY, Json
from venice_mcp.client.keys import ConfiguredKeys
from venice_mcp.errors import VeniceError
from venice_mcp.secrets import Redactor, Secret
from venice_mcp.settings import Credential, Settings, load
from venice_mcp.wallet import (
    LONGEST_LIFE_S,
    KeystoreError,
    address_of,
    check_token,
    open_keystore,
    sign_token,
    signed_by,
)

PRIVATE_KEY = "0x" + "5a" * 32
OTHER_KEY = "0x" + "a5" * 32
ADDRESS = str(Account.from_key(PRIVATE_KEY).address)
PASSWORD = "Open Sésame! 4711"
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
SOON_S = 0.5
"""Of computing, what a keystore that is refused unopened takes at most; opening one with such costs takes minutes."""


def encrypted(kdf: str = "scrypt", cost: int = 2, private_key: str = PRIVATE_KEY, password: str = PASSWORD) -> Json:
    """A keystore as wallets write them, but cheap to open."""
    made: Any = Account.encrypt(cast("Any", private_key), password, kdf=cast("Any", kdf), iterations=cost)
    return cast("Json", made)


SCRYPT = encrypted()
PBKDF2 = encrypted("pbkdf2")


def changed(keystore: Json, value: Any, *path: str) -> Json:
    """A copy with another value there; without one, if the value is ..."""
    copy = deepcopy(keystore)
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return copy


def opened(content: object, password: str = PASSWORD) -> Secret:
    text = content if isinstance(content, str) else json.dumps(content)
    return open_keystore(Secret(text), Secret(password))


def refused(content: object, password: str = PASSWORD) -> str:
    """Why it does not open, in words that quote nothing of it."""
    with pytest.raises(KeystoreError) as error:
        opened(content, password)
    said = f"{error.value} {error.value!r} {error.value.__cause__!r}"
    assert PASSWORD not in said
    for secret in (PRIVATE_KEY[2:], SCRYPT["crypto"]["ciphertext"], SCRYPT["crypto"]["mac"]):
        assert secret not in said
    return str(error.value)


# --- what opens --------------------------------------------------------------------------------------------


def uppercase(value: Any, *, prefix: str = "") -> Any:
    """As other programs write it: hexadecimal digits and some names in capitals."""
    if isinstance(value, dict):
        members = cast("Json", value)
        return {name: uppercase(member, prefix=prefix) for name, member in members.items()}
    if isinstance(value, str) and len(value) >= 32 and "-" not in value:
        return prefix + value.upper()
    return value


@pytest.mark.parametrize(
    "keystore",
    [
        SCRYPT,
        PBKDF2,
        changed(SCRYPT, ..., "address"),
        changed(SCRYPT, ADDRESS, "address"),
        changed(SCRYPT, {"of": "another program"}, "x-more"),
        {**changed(SCRYPT, ..., "crypto"), "Crypto": SCRYPT["crypto"]},
        uppercase(SCRYPT),
        uppercase(SCRYPT, prefix="0x"),
    ],
    ids=["scrypt", "pbkdf2", "no address", "checksummed", "more members", "Crypto", "capitals", "0x"],
)
def test_a_keystore_opens_with_its_password(keystore: Json) -> None:
    assert opened(keystore).reveal() == PRIVATE_KEY


def test_a_keystore_of_any_key_gives_this_very_key_back() -> None:
    for private_key in ("0x" + "00" * 31 + "01", OTHER_KEY, "0x" + os.urandom(31).hex() + "01"):
        assert opened(encrypted(private_key=private_key)).reveal() == private_key


def test_a_secret_from_a_keystore_does_not_show_itself() -> None:
    assert PRIVATE_KEY[2:] not in f"{opened(SCRYPT)!r} {opened(SCRYPT)}"


# --- what does not -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("keystore", [SCRYPT, PBKDF2], ids=["scrypt", "pbkdf2"])
@pytest.mark.parametrize("password", ["", PASSWORD.lower(), f"{PASSWORD} ", f"{PASSWORD}\n", "\0", "\U0001f511" * 99])
def test_a_wrong_password_opens_nothing(keystore: Json, password: str) -> None:
    assert "the password is wrong, or the file is damaged" in refused(keystore, password)


@pytest.mark.parametrize("member", ["ciphertext", "mac"])
def test_a_damaged_keystore_does_not_open(member: str) -> None:
    text = SCRYPT["crypto"][member]
    damaged = changed(SCRYPT, ("1" if text[0] == "0" else "0") + text[1:], "crypto", member)
    assert "the file is damaged" in refused(damaged)


def test_a_keystore_that_names_another_address_is_refused() -> None:
    """Swapping files is not noticed by the password, when both have the same."""
    other = address_of(Secret(OTHER_KEY))[2:].lower()
    assert "holds the key of another address" in refused(changed(SCRYPT, other, "address"))


def test_a_keystore_of_something_that_is_no_private_key_does_not_open() -> None:
    """The password is right and so is the MAC, but what comes out is zero."""
    content = deepcopy(SCRYPT)
    crypto = content["crypto"]
    salt = bytes.fromhex(crypto["kdfparams"]["salt"])
    derived = hashlib.scrypt(PASSWORD.encode(), salt=salt, n=2, r=crypto["kdfparams"]["r"], p=1, dklen=32)
    as_it_was, key = bytes.fromhex(crypto["ciphertext"]), bytes.fromhex(PRIVATE_KEY[2:])
    zero = bytes(left ^ right for left, right in zip(as_it_was, key, strict=True))
    crypto |= {"ciphertext": zero.hex(), "mac": keccak(derived[16:] + zero).hex()}
    assert "does not open" in refused(content)
    assert "does not open" in refused(changed(content, ..., "address"))


MALFORMED: dict[str, object] = {
    "empty": "",
    "no JSON": "{" + PASSWORD,
    "half": json.dumps(SCRYPT)[:-20],
    "a list": [SCRYPT],
    "null": "null",
    "a private key": PRIVATE_KEY,
    "deep": "[" * 60_000,
    "deep and valid": '{"a":' * 30_000 + "1" + "}" * 30_000,
    "no version": changed(SCRYPT, ..., "version"),
    "version 4": changed(SCRYPT, 4, "version"),
    "version as text": changed(SCRYPT, "3", "version"),
    "no crypto": changed(SCRYPT, ..., "crypto"),
    "crypto as text": changed(SCRYPT, "aes", "crypto"),
    "another cipher": changed(SCRYPT, "aes-128-cbc", "crypto", "cipher"),
    "another kdf": changed(SCRYPT, "argon2", "crypto", "kdf"),
    "parameters of another kdf": changed(SCRYPT, "pbkdf2", "crypto", "kdf"),
    "another prf": changed(PBKDF2, "hmac-md5", "crypto", "kdfparams", "prf"),
    "short mac": changed(SCRYPT, "00", "crypto", "mac"),
    "no mac": changed(SCRYPT, ..., "crypto", "mac"),
    "long ciphertext": changed(SCRYPT, "00" * 64, "crypto", "ciphertext"),
    "no hexadecimal": changed(SCRYPT, "zz" * 32, "crypto", "ciphertext"),
    "odd salt": changed(SCRYPT, "abc", "crypto", "kdfparams", "salt"),
    "long salt": changed(SCRYPT, "ab" * 257, "crypto", "kdfparams", "salt"),
    "short key": changed(SCRYPT, 16, "crypto", "kdfparams", "dklen"),
    "long key": changed(SCRYPT, 2**40, "crypto", "kdfparams", "dklen"),
    "n no power of two": changed(SCRYPT, 3, "crypto", "kdfparams", "n"),
    "n of one": changed(SCRYPT, 1, "crypto", "kdfparams", "n"),
    "n of less": changed(SCRYPT, -(2**40), "crypto", "kdfparams", "n"),
    "n as text": changed(SCRYPT, "2", "crypto", "kdfparams", "n"),
    "n as a fraction": changed(SCRYPT, 2.5, "crypto", "kdfparams", "n"),
    "n true": changed(SCRYPT, True, "crypto", "kdfparams", "n"),
    "r of zero": changed(SCRYPT, 0, "crypto", "kdfparams", "r"),
    "p of less": changed(SCRYPT, -1, "crypto", "kdfparams", "p"),
    "c of zero": changed(PBKDF2, 0, "crypto", "kdfparams", "c"),
    "address of another length": changed(SCRYPT, "ab", "address"),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_keystore_is_called_so_at_once(content: object) -> None:
    begin = time.process_time()
    assert refused(content) == "is not a Web3 secret storage file (JSON, version 3)."
    assert time.process_time() - begin < SOON_S


@pytest.mark.parametrize(
    ("keystore", "name", "value"),
    [
        (SCRYPT, "n", 2**20),  # with r = 8 this is 1 GiB
        (SCRYPT, "n", 2**40),
        (SCRYPT, "n", 2**4000),
        (SCRYPT, "r", 2**30),
        (SCRYPT, "p", 17),
        (SCRYPT, "p", 2**62),
        (PBKDF2, "c", 10_000_001),
        (PBKDF2, "c", 2**62),
        (PBKDF2, "c", 10**300),
    ],
)
def test_a_keystore_that_asks_for_too_much_work_is_refused_before_any_work(
    keystore: Json, name: str, value: int
) -> None:
    begin = time.process_time()
    said = refused(changed(keystore, value, "crypto", "kdfparams", name))
    assert said.startswith("asks for more than ")
    assert said.endswith("and was not opened.")
    assert time.process_time() - begin < SOON_S


def test_work_as_wallets_ask_for_is_not_too_much() -> None:
    """What geth and MetaMask write: n = 2**18, r = 8, p = 1. The password is wrong, so that it opens nothing."""
    usual = changed(SCRYPT, 2**18, "crypto", "kdfparams", "n")
    assert "the password is wrong" in refused(usual, "wrong")


@tried(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner)))
def test_whatever_stands_in_a_member_opens_or_is_refused_in_our_words(value: object) -> None:
    for path in (("crypto", "kdfparams", "salt"), ("crypto", "cipherparams", "iv"), ("crypto", "mac"), ("address",)):
        if path != ("address",) or value is not None:
            refused(changed(SCRYPT, value, *path))


# --- configured --------------------------------------------------------------------------------------------


def configured(folder: Path, keystore: object = SCRYPT, **more: str) -> Settings:
    """Settings for the real Venice (nothing is sent) with this keystore and its password in files."""
    path, password = folder / "keystore.json", folder / "password"
    path.write_text(keystore if isinstance(keystore, str) else json.dumps(keystore))
    password.write_text(f"{PASSWORD}\n")
    env = {
        "VENICE_MCP_KEYRING": "0",
        "VENICE_WALLET_KEYSTORE_FILE": str(path),
        "VENICE_WALLET_PASSWORD_FILE": str(password),
        **more,
    }
    return load(
        {name: value for name, value in env.items() if value},
        state_dir=folder / "state",
        config_dir=folder / "operator",
    )


def wallet_of(settings: Settings) -> Credential:
    return settings.credentials["WALLET"]


def unusable(settings: Settings) -> str:
    """The problem of the wallet, among those of the settings, none of which quotes a secret."""
    found = wallet_of(settings)
    assert found.secret is None
    assert found.keystore is None
    assert found.problem is not None
    assert found.problem in settings.problems
    assert_silent(settings)
    return found.problem


def assert_silent(settings: Settings) -> None:
    said = f"{settings!r} {settings.problems} {wallet_of(settings).problem}"
    for secret in (PASSWORD, PRIVATE_KEY[2:], OTHER_KEY[2:], SCRYPT["crypto"]["ciphertext"], SCRYPT["crypto"]["mac"]):
        assert secret not in said


async def looked_up(settings: Settings, redactor: Redactor) -> Credential:
    return await ConfiguredKeys(settings, redactor).get("WALLET")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_configured_keystore_is_opened_when_the_key_is_needed_and_both_its_secrets_are_redacted(
    tmp_path: Path,
) -> None:
    settings, redactor = configured(tmp_path), Redactor()
    assert settings.problems == ()
    assert_silent(settings)
    keys = ConfiguredKeys(settings, redactor)
    assert PASSWORD not in redactor.redact(f"before it is opened: {PASSWORD}.")
    found = await keys.get("WALLET")
    assert found.secret is not None
    assert found.secret.reveal() == PRIVATE_KEY
    assert (found.problem, found.keystore) == (None, None)
    assert await keys.get("WALLET") is found
    for text in (PRIVATE_KEY, PRIVATE_KEY[2:], PRIVATE_KEY[2:].upper(), PASSWORD):
        assert text not in redactor.redact(f"it is {text}.")
    assert PRIVATE_KEY[2:] not in repr(found)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("keystore", "says"),
    [
        (changed(encrypted(private_key=OTHER_KEY), ADDRESS, "address"), "another address"),
        (changed(SCRYPT, 2**40, "crypto", "kdfparams", "n"), "asks for more than"),
        ("{" + PASSWORD, "is not a Web3 secret storage file"),
        (changed(SCRYPT, "0" * 64, "crypto", "mac"), "the password is wrong, or the file is damaged"),
    ],
    ids=["another address", "too much work", "no keystore", "damaged"],
)
async def test_a_keystore_that_does_not_open_leaves_a_server_that_says_why(
    tmp_path: Path, keystore: object, says: str
) -> None:
    settings, redactor = configured(tmp_path, keystore), Redactor()
    found = await looked_up(settings, redactor)
    assert (found.secret, found.keystore) == (None, None)
    assert found.problem is not None
    assert says in found.problem
    assert found.problem.startswith("The keystore named by VENICE_WALLET_KEYSTORE_FILE ")
    assert PASSWORD not in f"{found!r}"
    assert PASSWORD not in redactor.redact(PASSWORD)
    assert_silent(settings)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("such pipes are POSIX's")
    path.unlink()
    os.mkfifo(path)


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "a folder": a_folder,
    "no text": lambda path: path.write_bytes(b"\xff\xfe" + json.dumps(SCRYPT).encode()),
    "empty": lambda path: path.write_text(" \n"),
    "too long": lambda path: path.write_text(json.dumps(SCRYPT) + " " * 64 * 1024),
}
if hasattr(os, "mkfifo"):
    UNREADABLE["a pipe"] = a_pipe


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("which", ["keystore.json", "password"])
def test_a_file_that_cannot_be_read_is_a_problem_and_nothing_waits_for_it(
    tmp_path: Path, kind: str, which: str
) -> None:
    configured(tmp_path)
    UNREADABLE[kind](tmp_path / which)
    if (kind, which) == ("empty", "password"):
        (tmp_path / which).write_text("\n")
    env = {
        "VENICE_MCP_KEYRING": "0",
        "VENICE_WALLET_KEYSTORE_FILE": str(tmp_path / "keystore.json"),
        "VENICE_WALLET_PASSWORD_FILE": str(tmp_path / "password"),
    }
    problem = unusable(load(env, state_dir=tmp_path / "state", config_dir=tmp_path / "operator"))
    assert ("VENICE_WALLET_PASSWORD_FILE" if which == "password" else "VENICE_WALLET_KEYSTORE_FILE") in problem
    assert str(tmp_path) not in problem


def test_without_a_password_a_keystore_is_of_no_use(tmp_path: Path) -> None:
    for nothing in ("", "${VENICE_WALLET_PASSWORD}"):
        settings = configured(tmp_path, VENICE_WALLET_PASSWORD_FILE="", VENICE_WALLET_PASSWORD=nothing)
        assert "needs VENICE_WALLET_PASSWORD_FILE" in unusable(settings)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
@pytest.mark.anyio
async def test_all_but_the_line_end_of_the_file_belongs_to_the_password(tmp_path: Path, ending: str) -> None:
    spaced = encrypted(password=f"  {PASSWORD} \n")
    settings = configured(tmp_path, spaced)
    (tmp_path / "password").write_bytes(f"  {PASSWORD} \n{ending or chr(10)}".encode())
    again = load(
        {
            "VENICE_MCP_KEYRING": "0",
            "VENICE_WALLET_KEYSTORE_FILE": str(tmp_path / "keystore.json"),
            "VENICE_WALLET_PASSWORD_FILE": str(tmp_path / "password"),
        },
        state_dir=settings.state_dir,
        config_dir=tmp_path / "operator",
    )
    found = await looked_up(again, Redactor())
    assert found.secret is not None, found.problem


@pytest.mark.parametrize("other", ["VENICE_WALLET_KEY", "VENICE_WALLET_KEY_FILE"])
def test_a_key_and_a_keystore_together_are_refused_as_ambiguous(tmp_path: Path, other: str) -> None:
    (tmp_path / "key").write_text(OTHER_KEY)
    value = OTHER_KEY if other == "VENICE_WALLET_KEY" else str(tmp_path / "key")
    problem = unusable(configured(tmp_path, **{other: value}))
    assert problem == "VENICE_WALLET_KEY and VENICE_WALLET_KEYSTORE_FILE both name a wallet; unset one of them."


def test_a_placeholder_that_a_host_left_is_no_second_wallet(tmp_path: Path) -> None:
    settings = configured(tmp_path, VENICE_WALLET_KEY="${user_config.wallet_key}")
    assert settings.problems == ()
    assert wallet_of(settings).keystore is not None


@pytest.mark.parametrize(
    "sandboxed",
    [
        {"VENICE_MCP_SANDBOX": "1"},
        {"VENICE_BASE_URL": "http://127.0.0.1:9/api/v1", "VENICE_ADMIN_KEY": ADMIN_KEY},
    ],
    ids=["in process", "loopback"],
)
@pytest.mark.anyio
async def test_a_sandbox_never_touches_the_keystore_and_says_that_it_is_ignored(
    tmp_path: Path, sandboxed: dict[str, str]
) -> None:
    settings = configured(tmp_path, **sandboxed)
    (problem,) = settings.problems
    assert problem.startswith("VENICE_WALLET_KEYSTORE_FILE ignored: ")
    assert_silent(settings)
    found = await looked_up(settings, Redactor())
    assert found.keystore is None
    assert found.secret is not None
    assert found.secret.reveal() != PRIVATE_KEY
    assert found.origin == "made for this sandbox"


# --- what is signed ----------------------------------------------------------------------------------------


def part_of(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def token_of(claims: object, header: object = None, signature: str | None = None) -> str:
    header = {"alg": "HS256", "typ": "JWT"} if header is None else header
    return f"{part_of(header)}.{part_of(claims)}.{part_of(b'signature' * 4) if signature is None else signature}"


FRESH: Json = {"iss": "venice", "iat": int(NOW.timestamp()), "exp": int(NOW.timestamp()) + 900}
GOOD = token_of(FRESH)
SECRET = Secret(PRIVATE_KEY)


def signed(text: str) -> Secret:
    return sign_token(SECRET, Secret(text), NOW, ADDRESS)


def not_signed(text: str) -> str:
    with pytest.raises(VeniceError) as error:
        signed(text)
    assert error.value.code == "bad_token"
    return error.value.what


def test_a_token_is_signed_so_that_its_own_text_and_nothing_else_recovers_to_the_address() -> None:
    token = jwt.encode(FRESH, "the issuer's own key, which is long enough", algorithm="HS256")
    signature = signed(token)
    recovered: Any = Account.recover_message(encode_defunct(text=token), signature=signature.reveal())
    assert recovered == ADDRESS == address_of(SECRET)
    assert signed_by(ADDRESS, Secret(token), signature)
    assert signed_by(ADDRESS.lower(), Secret(token), signature)
    assert not signed_by(ADDRESS, Secret(GOOD), signature)
    assert not signed_by(address_of(Secret(OTHER_KEY)), Secret(token), signature)
    assert signature.reveal()[2:] not in f"{signature!r} {signature}"


@tried(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32).filter(lambda raw: 0 < int.from_bytes(raw) < 2**255))
def test_any_wallet_signs_for_its_own_address_and_no_other(raw: bytes) -> None:
    key = Secret("0x" + raw.hex())
    own = address_of(key)
    assert signed_by(own, Secret(GOOD), sign_token(key, Secret(GOOD), NOW, own))
    if own != ADDRESS:
        with pytest.raises(VeniceError) as error:
            sign_token(key, Secret(GOOD), NOW, ADDRESS)
        assert error.value.code == "bad_signature"


SIWE = """venice.ai wants you to sign in with your Ethereum account:
0x5Ce9454909639D2D17A3F753ce7d93fa0b9aB12E

URI: https://venice.ai
Version: 1
Chain ID: 8453
Nonce: 32891756
Issued At: 2026-11-23T09:00:00Z
Expiration Time: 2026-11-23T09:15:00Z"""
TYPED_DATA = json.dumps(
    {
        "types": {"EIP712Domain": [{"name": "name", "type": "string"}], "Permit": []},
        "primaryType": "Permit",
        "domain": {"name": "VVV"},
        "message": {},
        "exp": FRESH["exp"],
    }
)
RAW_TRANSACTION = str(
    Account.sign_transaction(
        {"to": ADDRESS, "value": 1, "gas": 21000, "gasPrice": 1, "nonce": 0, "chainId": 8453}, OTHER_KEY
    ).raw_transaction.hex()
)
header_of, claims_of, signature_of = GOOD.split(".")
NO_TOKENS: dict[str, str] = {
    "nothing": "",
    "a hash": "ab" * 32,
    "a hash with 0x": "0x" + "ab" * 32,
    "32 bytes in base64": part_of(bytes(range(32))),
    "typed data": TYPED_DATA,
    "typed data as the claims alone": part_of(TYPED_DATA.encode()),
    "a sign-in": SIWE,
    "a transaction": RAW_TRANSACTION,
    "a transaction with 0x": "0x" + RAW_TRANSACTION.removeprefix("0x"),
    "dotted hashes": ".".join(["ab" * 32] * 3),
    "a sign-in in three parts": ".".join(part_of(part.encode()) for part in SIWE.split("\n\n")) + ".abcd",
    "a blank before": f" {GOOD}",
    "a blank after": f"{GOOD} ",
    "a line end": f"{GOOD}\n",
    "a blank within": f"{header_of}. {claims_of}.{signature_of}",
    "a second line": f"{GOOD}\n{GOOD}",
    "the prefix of signed messages": f"\x19Ethereum Signed Message:\n{len(GOOD)}{GOOD}",
    "two parts": f"{header_of}.{claims_of}",
    "no signature": f"{header_of}.{claims_of}.",
    "four parts": f"{GOOD}.{signature_of}",
    "five parts": f"{GOOD}.{signature_of}.{signature_of}",
    "padded": f"{header_of}==.{claims_of}.{signature_of}",
    "digits of another script": GOOD.replace("e", "\u0435", 1),
    "a part that decodes to nothing": f"{header_of}.{claims_of}.a",
    "claims as a list": token_of([FRESH]),
    "claims as a number": token_of(FRESH["exp"]),
    "header as text": token_of(FRESH, "HS256"),
    "claims in no JSON": token_of(b"exp=1"),
    "claims deep": token_of(b'{"exp":1,"a":' + b"[" * 900),
    "no algorithm": token_of(FRESH, {"typ": "JWT"}),
    "algorithm none": token_of(FRESH, {"alg": "none"}),
    "algorithm None": token_of(FRESH, {"alg": "None "}),
    "algorithm empty": token_of(FRESH, {"alg": ""}),
    "algorithm null": token_of(FRESH, {"alg": None}),
    "algorithm as a list": token_of(FRESH, {"alg": ["HS256"]}),
    "too long": token_of({**FRESH, "more": "x" * 4096}),
}


@pytest.mark.parametrize("text", NO_TOKENS.values(), ids=NO_TOKENS)
def test_what_is_no_token_is_not_signed(text: str) -> None:
    assert "it is not a token as Venice issues them" in not_signed(text)


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({}, "does not say when it expires"),
        ({"exp": None}, "does not say when it expires"),
        ({"exp": True}, "does not say when it expires"),
        ({"exp": str(FRESH["exp"])}, "does not say when it expires"),
        ({"exp": [FRESH["exp"]]}, "does not say when it expires"),
        ({"Exp": FRESH["exp"]}, "does not say when it expires"),
        ({"exp": 0}, "has expired"),
        ({"exp": -1}, "has expired"),
        ({"exp": NOW.timestamp()}, "has expired"),
        ({"exp": NOW.timestamp() + LONGEST_LIFE_S + 1}, "more than a day"),
        ({"exp": (NOW + timedelta(days=3650)).timestamp()}, "more than a day"),
        ({"exp": FRESH["exp"] * 1000}, "more than a day"),
        ({"exp": 10**400}, "more than a day"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_token_whose_end_is_missing_past_or_far_away_is_not_signed(claims: Json, says: str) -> None:
    assert says in not_signed(token_of(claims))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_an_end_that_is_no_moment_is_never_signed(number: str) -> None:
    not_signed(token_of(f'{{"exp":{number}}}'.encode()))


@pytest.mark.parametrize("seconds", [0.001, 1, 900, 3600, LONGEST_LIFE_S])
def test_a_token_within_its_life_is_signed(seconds: float) -> None:
    end = NOW.timestamp() + seconds
    assert abs(check_token(Secret(token_of({"exp": end})), NOW).timestamp() - end) < 0.01
    assert signed(token_of({"exp": end}))


texts = st.text(max_size=80) | st.text(alphabet="0123456789abcdefxABC._-= \n{}\"'", max_size=200)
parts = st.binary(max_size=60).map(part_of) | st.text(alphabet="ABCxyz019_-", max_size=40)
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(FRESH["exp"])
objects = st.dictionaries(st.sampled_from(["alg", "exp", "Exp", "typ", "message"]), values, max_size=3)
likely = st.builds(token_of, objects | values, objects | values)
three = st.lists(parts | st.sampled_from([header_of, claims_of, signature_of]), min_size=2, max_size=4).map(".".join)
befores, afters = st.sampled_from(["", " ", "\n", "0x", "."]), st.text(max_size=2)
around = st.tuples(befores, afters).map(GOOD.join)


def is_fresh_token(text: str) -> bool:
    """What may be signed, told in another way than the wallet's: by what a JWT is, in the words of its standard."""
    pieces = text.split(".")
    letters = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    if len(pieces) != 3 or len(text) > 4096 or not all(piece and set(piece) <= letters for piece in pieces):
        return False
    try:
        header, claims, _ = (base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4)) for piece in pieces)
        header, claims = json.loads(header), json.loads(claims)
        return (
            str(header["alg"]).strip().lower() not in ("", "none")
            and type(claims["exp"]) in (int, float)
            and NOW.timestamp() < claims["exp"] <= NOW.timestamp() + LONGEST_LIFE_S
        )
    except (ValueError, KeyError, TypeError):
        return False


@tried(deadline=None)
@given(texts | three | likely | around)
@example(GOOD)
def test_nothing_but_a_fresh_token_is_ever_signed(text: str) -> None:
    if not is_fresh_token(text):
        said = not_signed(text)
        assert len(text) < 6 or text not in said


@tried(deadline=None)
@given(st.floats(min_value=0.01, max_value=LONGEST_LIFE_S - 1), st.sampled_from(["HS256", "ES256", "RS256", "EdDSA"]))
def test_a_fresh_token_is_signed_whoever_issued_it(seconds: float, algorithm: str) -> None:
    token = token_of({**FRESH, "exp": NOW.timestamp() + seconds}, {"alg": algorithm})
    assert is_fresh_token(token)
    check_token(Secret(token), NOW)
