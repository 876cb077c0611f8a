"""The rate limits of the calling key, the account's log of hits, and the balance."""

from starlette.responses import JSONResponse, Response

from venice_mcp.sandbox import moments
from venice_mcp.sandbox.call import Call, JsonObject
from venice_mcp.sandbox.catalogue import MODELS
from venice_mcp.sandbox.pace import limits_of
from venice_mcp.sandbox.state import Account, Key

TIER = "paid"


def get_rate_limits(call: Call) -> Response:
    data: JsonObject = {
        "accessPermitted": call.account.conditions.permitted,
        "apiTier": {"id": TIER, "isCharged": True},
        "balances": _balances(call.account, call.key),
        "keyExpiration": moments.wire_or_none(call.key.expires_at),
        "nextEpochBegins": moments.wire(moments.next_day(call.at)),
        "rateLimits": [
            {
                "apiModelId": model.id,
                "rateLimits": [
                    {"amount": amount, "type": name} for name, amount in limits_of(model, call.account).items()
                ],
            }
            for model in MODELS
        ],
    }
    return JSONResponse({"data": data})


def _balances(account: Account, key: Key) -> JsonObject:
    """Upper case here, lower case in billing; never more than the key's own cap."""
    balances: JsonObject = {"USD": min(account.usd_balance, key.caps.get("usd", account.usd_balance))}
    if account.diem_balance is not None:
        balances["DIEM"] = min(account.diem_balance, key.caps.get("diem", account.diem_balance))
    return balances


def get_rate_limit_log(call: Call) -> Response:
    data = [
        {
            "apiKeyId": hit.api_key_id,
            "modelId": hit.model_id,
            "rateLimitTier": TIER,
            "rateLimitType": hit.kind,
            "timestamp": moments.wire(hit.at),
        }
        for hit in call.account.hits
    ]
    return JSONResponse({"object": "list", "data": data})


def get_balance(call: Call) -> Response:
    account = call.account
    spendable = {"DIEM": account.diem_balance, "USD": account.usd_balance}
    currency = next((name for name, balance in spendable.items() if balance), None)
    can_consume = account.conditions.can_consume
    if can_consume is False:
        currency = None
    return JSONResponse(
        {
            "canConsume": currency is not None if can_consume is None else can_consume,
            "consumptionCurrency": currency,
            "balances": {"diem": account.diem_balance, "usd": account.usd_balance},
            "diemEpochAllocation": account.diem_allocation,
        }
    )
