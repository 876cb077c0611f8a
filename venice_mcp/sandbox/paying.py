"""What a call is paid with, and what it leaves on the bill."""

from datetime import datetime

from venice_mcp.sandbox import moments, traffic, usage
from venice_mcp.sandbox.catalogue import Model
from venice_mcp.sandbox.refusal import Refusal
from venice_mcp.sandbox.state import Account, Inference, Key

EMPTY = "Insufficient USD or Diem balance to complete request. Visit https://venice.ai/settings/api to add credits."


def cap_text(currency: str) -> str:
    return (
        f"API key {currency} spend limit exceeded. Your account may still have {currency} balance,"
        f" but this API key has reached its configured {currency} spending limit."
    )


def currency_for(account: Account, key: Key, at: datetime) -> str:
    """The first of DIEM and USD that the account has and the key's cap leaves.

    Raises:
        Refusal: 402, because the account has nothing or the key's caps are reached.
    """
    balances = {"DIEM": account.diem_balance or 0.0, "USD": account.usd_balance}
    held = [currency for currency, balance in balances.items() if balance > 0]
    if not held or account.conditions.can_consume is False:
        raise Refusal(402, EMPTY)
    spent = usage.by_key(account.usage, at).spent(key, moments.period_start(key.limit_period, at))
    for currency in held:
        cap = key.caps.get(currency.lower())
        # Looked at before the call is made, so the last one may go over the cap.
        if cap is None or spent[currency.lower()] < cap:
            return currency
    raise Refusal(402, cap_text(held[0]))


def charge(account: Account, key: Key, model: Model, at: datetime, currency: str, inference: Inference) -> None:
    tokens = {"Input": inference.prompt_tokens or 0, "Output": inference.completion_tokens or 0}
    account.charge(traffic.token_entries(key.id, model, moments.as_shown(at), currency, tokens, inference))
