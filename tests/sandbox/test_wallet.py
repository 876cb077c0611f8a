from collections.abc import Callable
from typing import Any

import jwt
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from tests.sandbox.door import NOON, Door, Json

# A key from nowhere but this file; it holds nothing.
PRIVATE_KEY = "0x" + "5a" * 32
OTHER_PRIVATE_KEY = "0x" + "a5" * 32
ADDRESS: str = Account.from_key(PRIVATE_KEY).address


def sign(text: str, private_key: str = PRIVATE_KEY) -> str:
    signed: Any = Account.from_key(private_key).sign_message(encode_defunct(text=text))
    return "0x" + signed.signature.hex().removeprefix("0x")


def fresh_token(door: Door) -> str:
    return door.get("/api_keys/generate_web3_key", key=None)["data"]["token"]


def proof(token: str, **changes: Any) -> Json:
    body = {"apiKeyType": "INFERENCE", "address": ADDRESS, "signature": sign(token), "token": token}
    return body | changes


def mint(door: Door, body: Json) -> Any:
    return door.ask("POST", "/api_keys/generate_web3_key", key=None, json=body)


def test_a_signed_token_becomes_a_key_that_works(empty: Door) -> None:
    answer = mint(empty, proof(fresh_token(empty), apiKeyType="ADMIN", consumptionLimit={"usd": 3}))
    assert answer.status_code == 200
    made = answer.json()["data"]
    assert made["apiKey"].startswith("VENICE_ADMIN_KEY_SANDBOX_")
    assert (made["description"], made["consumptionLimit"]) == ("Web3 API Key", {"usd": 3, "diem": None})
    assert made["id"] in [key["id"] for key in empty.get("/api_keys", key=made["apiKey"])["data"]]


def test_the_case_of_the_address_does_not_matter(empty: Door) -> None:
    assert mint(empty, proof(fresh_token(empty), address=ADDRESS.lower())).status_code == 200


def test_a_minted_description_may_be_longer_than_a_created_one(empty: Door) -> None:
    answer = mint(empty, proof(fresh_token(empty), description="d" * 500))
    assert answer.json()["data"]["description"] == "d" * 500


def test_a_token_may_be_used_twice(empty: Door) -> None:
    token = fresh_token(empty)
    ids = {mint(empty, proof(token)).json()["data"]["id"] for _ in range(2)}
    assert len(ids) == 2


def test_a_token_says_that_it_lasts_fifteen_minutes(empty: Door) -> None:
    claims: Json = jwt.decode(fresh_token(empty), options={"verify_signature": False})
    assert claims["iat"] == int(NOON.timestamp())
    assert claims["exp"] - claims["iat"] == 15 * 60
    assert {"iss", "aud"} <= set(claims)


def test_a_token_expires_after_fifteen_minutes(empty: Door) -> None:
    body = proof(fresh_token(empty))
    empty.clock.advance(minutes=14, seconds=59)
    assert mint(empty, body).status_code == 200
    empty.clock.advance(seconds=1)
    answer = mint(empty, body)
    assert (answer.status_code, answer.json()) == (400, {"error": "JWT has expired"})


def _foreign(door: Door) -> Json:
    claims: Json = jwt.decode(fresh_token(door), options={"verify_signature": False})
    token = jwt.encode(claims, "another issuer's key, long enough", algorithm="HS256")
    return proof(token)


def _unsigned(door: Door) -> Json:
    claims: Json = jwt.decode(fresh_token(door), options={"verify_signature": False})
    return proof(jwt.encode(claims, "", algorithm="none"))


REFUSED: dict[str, tuple[str, Callable[[Door], Json]]] = {
    "address cut short": ("Invalid wallet address", lambda d: proof(fresh_token(d), address=ADDRESS[:-1])),
    "address of another chain": (
        "Invalid wallet address",
        lambda d: proof(fresh_token(d), address="bc1qexample"),
    ),
    "foreign token": ("JWT signature is invalid", _foreign),
    "unsigned token": ("JWT signature is invalid", _unsigned),
    "no token at all": ("JWT is malformed", lambda _: proof("not.a-token")),
    "another wallet": (
        "Wallet signature does not match",
        lambda d: proof(token := fresh_token(d), signature=sign(token, OTHER_PRIVATE_KEY)),
    ),
    "other text signed": (
        "Wallet signature does not match",
        lambda d: proof(token := fresh_token(d), signature=sign(f'"{token}"')),
    ),
    "signature of nothing": (
        "Wallet signature does not match",
        lambda d: proof(fresh_token(d), signature="0x" + "00" * 65),
    ),
    "signature cut short": (
        "Wallet signature does not match",
        lambda d: proof(fresh_token(d), signature="0x1234"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_proof_is_refused_with_the_documented_text(empty: Door, case: str) -> None:
    text, body = REFUSED[case]
    answer = mint(empty, body(empty))
    assert answer.status_code == 400
    assert text in answer.json()["error"]
    assert len(empty.listed()) == 2


@pytest.mark.parametrize("claim", ["iss", "aud"])
def test_a_token_made_for_something_else_is_refused(empty: Door, claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = {"iss": "ISSUER", "aud": "AUDIENCE"}[claim]
    with monkeypatch.context() as patch:
        patch.setattr(f"venice_mcp.sandbox.wallet.{name}", "elsewhere")
        token = fresh_token(empty)
    assert mint(empty, proof(token)).json() == {"error": "JWT claims are invalid"}


def test_a_wallet_without_stake_is_refused_only_after_its_signature_was_checked(empty: Door) -> None:
    empty.ask("POST", "/__control/unstaked", key=None, json={"address": ADDRESS.upper().replace("0X", "0x")})
    token = fresh_token(empty)
    assert mint(empty, proof(token)).json() == {"error": "Wallet has no staked VVV on Base"}
    wrong = proof(token, signature=sign(token, OTHER_PRIVATE_KEY))
    assert "does not match" in mint(empty, wrong).json()["error"]


@pytest.mark.parametrize("member", ["apiKeyType", "address", "signature", "token"])
def test_mint_needs_the_whole_proof(empty: Door, member: str) -> None:
    body = proof(fresh_token(empty))
    del body[member]
    assert mint(empty, body).json()["details"][member] == {"_errors": ["Required"]}


def test_mint_follows_the_rules_of_create_for_everything_else(empty: Door) -> None:
    token = fresh_token(empty)
    refused: list[Json] = [{"expiresAt": None}, {"consumptionLimits": {}}, {"limitPeriod": "WEEK"}]
    for bad in refused:
        assert mint(empty, proof(token, **bad)).status_code == 400


def test_mints_and_creates_share_one_limit_per_minute(empty: Door) -> None:
    body = proof(fresh_token(empty))
    for _ in range(10):
        empty.create()
        assert mint(empty, body).status_code == 200
    answer = mint(empty, body)
    assert (answer.status_code, answer.json()["error"]) == (429, "Rate limit exceeded")
