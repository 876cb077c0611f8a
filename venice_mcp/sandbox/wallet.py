"""Keys made with a wallet: a token to sign, and the checks on what comes back."""

import re
from datetime import datetime, timedelta

import jwt
from starlette.responses import JSONResponse, Response

from venice_mcp.sandbox.call import Call, JsonObject
from venice_mcp.sandbox.keys import add_key
from venice_mcp.sandbox.refusal import Refusal
from venice_mcp.sandbox.rules import MINT

TOKEN_LIFE = timedelta(minutes=15)
ISSUER = "venice-sandbox"
AUDIENCE = "generate_web3_key"
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_SIGNATURE = re.compile(r"0x[0-9a-fA-F]{130}")


def give_token(call: Call) -> Response:
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": int(call.at.timestamp()),
        "exp": int((call.at + TOKEN_LIFE).timestamp()),
    }
    token = jwt.encode(claims, call.account.signing_key, algorithm="HS256")
    return JSONResponse({"success": True, "data": {"token": token}})


def mint_key(call: Call) -> Response:
    given = MINT.read(call.body, call.headers.get("content-type", ""), call.at)
    address, token = str(given["address"]), str(given["token"])
    if not _ADDRESS.fullmatch(address):
        raise Refusal(400, "Invalid wallet address")
    _check_token(token, call.account.signing_key, call.at)
    if _signer(token, str(given["signature"])) != address.lower():
        raise Refusal(400, "Wallet signature does not match the address")
    if address.lower() in call.account.unstaked:
        raise Refusal(400, "Wallet has no staked VVV on Base")
    return add_key(call, _without_proof(given), default_description="Web3 API Key")


def _without_proof(given: JsonObject) -> JsonObject:
    return {name: value for name, value in given.items() if name not in ("address", "signature", "token")}


def _check_token(token: str, signing_key: str, at: datetime) -> None:
    try:
        # Times are compared below: pyjwt would use the machine's clock, and this one can be moved.
        claims = jwt.decode(
            token,
            signing_key,
            algorithms=["HS256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["iat", "exp"], "verify_exp": False, "verify_iat": False},
        )
    except jwt.InvalidSignatureError as error:
        raise Refusal(400, "JWT signature is invalid") from error
    except jwt.DecodeError as error:
        raise Refusal(400, "JWT is malformed") from error
    except jwt.InvalidAlgorithmError as error:
        raise Refusal(400, "JWT signature is invalid") from error
    except jwt.InvalidTokenError as error:
        raise Refusal(400, "JWT claims are invalid") from error
    if at.timestamp() >= float(claims["exp"]):
        raise Refusal(400, "JWT has expired")


def _signer(token: str, signature: str) -> str | None:
    """The address, in lower case, that signed the token's own characters with personal_sign."""
    if not _SIGNATURE.fullmatch(signature):
        return None
    # Half a second of imports that only a mint needs.
    from eth_account import Account
    from eth_account.messages import encode_defunct
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    try:
        return str(Account.recover_message(encode_defunct(text=token), signature=signature)).lower()
    except (ValueError, BadSignature, ValidationError):
        return None
