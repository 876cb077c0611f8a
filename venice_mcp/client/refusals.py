"""What Venice's refusals mean, told from their status and from any of the error shapes it uses."""

from datetime import datetime, timedelta
from typing import Any, cast

from venice_mcp.client.pace import wait_asked_for
from venice_mcp.client.transport import Answer
from venice_mcp.errors import Changed, VeniceError
from venice_mcp.secrets import Redactor
from venice_mcp.text import plain, quoted, span


def upstream_text(body: Any, redactor: Redactor) -> str:
    """Venice's own words out of any of its error shapes, redacted before they are cut, made harmless and short."""
    if not isinstance(body, dict):
        return ""
    members = cast("dict[str, Any]", body)
    error, details = members.get("error"), members.get("details")
    if isinstance(error, dict):
        error = cast("dict[str, Any]", error).get("message")
    text = error if isinstance(error, str) else ""
    if isinstance(details, dict):
        fields = [name for name in cast("dict[str, Any]", details) if name != "_errors"]
        if fields:
            text = f"{text} ({', '.join(fields)})"
    return plain(redactor.redact(text), 200)


def refusal(answer: Answer, redactor: Redactor, now: datetime, *, doing: str, used: str) -> VeniceError:
    """What a complete answer other than 2xx means. `used` names the key that was sent, or is empty."""
    said = upstream_text(answer.body, redactor)
    what, next_step, code = _meaning(answer, said, now, doing=doing, used=used)
    asked = wait_asked_for(answer.headers, now)
    return VeniceError(what, next_step=next_step, code=code, status=answer.status, said=said, wait_s=asked)


def _meaning(answer: Answer, said: str, now: datetime, *, doing: str, used: str) -> tuple[str, str, str]:
    """What happened, the next step and the code."""
    words = f"; it said {quoted(said, 200)}" if said else ""
    status = answer.status
    what = f"Venice refused to {doing} with {status}{words}."
    if status == 401 and "admin" in said.lower():
        return (
            f"Venice says that {doing} needs an ADMIN key, and the one in {used or 'use'} is not{words}.",
            "Configure VENICE_ADMIN_KEY with an ADMIN key (venice_status says what is configured).",
            "wrong_key_type",
        )
    if status == 401:
        return (
            f"Venice did not accept the key in {used}{words}." if used else what,
            "It may be revoked, expired or mistyped: replace it and restart, or see venice_status.",
            "unauthenticated",
        )
    if status == 403:
        step = "The key may not do this, or this address is not in its list: see venice_status."
        return what, step, "forbidden"
    if status == 429:
        asked = wait_asked_for(answer.headers, now)
        pause = (
            f"Wait {_pause(asked)} before calling again." if asked is not None else "Wait a minute, then call again."
        )
        return what, pause, "rate_limited"
    if not answer.is_json:
        return (
            f"Venice answered {status} with something that is not JSON, perhaps from a proxy in between.",
            "Check the network (proxy, captive portal), then call again.",
            "not_json",
        )
    if status >= 500:
        return what, "This is on Venice's side; call again in a minute.", "upstream"
    return what, "Correct what it names and call again.", "refused"


def _pause(seconds: float) -> str:
    return span(timedelta(seconds=int(seconds) + 1))


def not_found(key_id: str = "", *, last6: str = "") -> VeniceError:
    return VeniceError(
        f"No active key of the account ends in {last6}."
        if last6
        else f"Venice knows no active key with the id {key_id}.",
        next_step="Find the id with venice_list_api_keys; revoked and expired keys are not listed.",
        code="not_found",
    )


_MINT_REFUSALS = {
    "Invalid wallet address": "Give the wallet's EVM address: 0x and 40 hexadecimal digits.",
    "JWT has expired": "Tokens last 15 minutes: get a new one with venice_get_web3_token, sign it and send it.",
    "JWT signature is invalid": "Get a new token with venice_get_web3_token and sign exactly that.",
    "JWT claims are invalid": "Send the token exactly as venice_get_web3_token returned it.",
    "JWT is malformed": "Send the token exactly as venice_get_web3_token returned it.",
    "Wallet signature does not match": "Sign the raw token text (EIP-191 personal_sign) with that address's key.",
    "Could not verify wallet signature": "This is temporary: wait a minute and call again.",
    "Wallet has no staked VVV on Base": "Stop here: the wallet must stake VVV on Base before it can mint a key.",
}


def mint_refusal(answer: Answer, redactor: Redactor, now: datetime) -> VeniceError:
    """Which of the documented reasons a refused mint has."""
    plain_refusal = refusal(answer, redactor, now, doing="mint the key", used="")
    for words, step in _MINT_REFUSALS.items():
        if words in plain_refusal.what:
            return VeniceError(
                f"Venice refused to mint the key: {words}.",
                next_step=step,
                code="mint_refused",
                changed=Changed.NOTHING,
                status=answer.status,
            )
    return plain_refusal
