"""The rate limits of the calling key, the account's log of hits, and the balance."""

from starlette.responses import JSONResponse, Response

from venice_mcp.sandbox import moments
from venice_mcp.sandbox.call import Call, JsonObject
from venice_mcp.sandbox.catalogue import MODELS
from venice_mcp.sandbox.state import Account, Key

TIER = "paid"
_LIMITS_BY_TYPE = {"text": {"RPM": 150, "RPD": 30_000, "TPM": 1_000_000}, "embedding": {"RPM": 500}}
_OTHER_LIMITS = {"RPM": 20, "RPD": 14_400}


def get_rate_limits(call: Call) -> Response:
    data: JsonObject = {
        "accessPermitted": True,
        "apiTier": {"id": TIER, "isCharged": True},
        "balances": _balances(call.account, call.key),
        "keyExpiration": moments.wire_or_none(call.key.expires_at),
        "nextEpochBegins": moments.wire(moments.next_day(call.at)),
        "rateLimits": [
            {
                "apiModelId": model.id,
                "rateLimits": [
                    {"amount": amount, "type": name}
                    for name, amount in _LIMITS_BY_TYPE.get(model.type, _OTHER_LIMITS).items()
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
    return JSONResponse(
        {
            "canConsume": currency is not None,
            "consumptionCurrency": currency,
            "balances": {"diem": account.diem_balance, "usd": account.usd_balance},
            "diemEpochAllocation": account.diem_allocation,
        }
    )
