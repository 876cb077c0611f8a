"""The operations: the table of contents of the sandbox."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import Response

from venice_mcp.sandbox import analytics, catalogue, chat, history, keys, rates, wallet
from venice_mcp.sandbox.access import Access
from venice_mcp.sandbox.call import Call


@dataclass(frozen=True)
class Operation:
    name: str  # the operationId in Venice's contract
    method: str
    path: str
    access: Access
    answer: Callable[[Call], Response]


OPERATIONS: tuple[Operation, ...] = (
    Operation("listModels", "GET", "/models", Access.OPEN, catalogue.list_models),
    Operation("createChatCompletion", "POST", "/chat/completions", Access.PAYING, chat.complete),
    Operation("getApiKeys", "GET", "/api_keys", Access.ADMIN, keys.list_keys),
    Operation("createApiKey", "POST", "/api_keys", Access.ADMIN, keys.create_key),
    Operation("updateApiKey", "PATCH", "/api_keys", Access.ADMIN, keys.update_key),
    Operation("deleteApiKey", "DELETE", "/api_keys", Access.ADMIN, keys.delete_key),
    Operation("getApiKeyRateLimits", "GET", "/api_keys/rate_limits", Access.ANY_KEY, rates.get_rate_limits),
    Operation("getApiKeyRateLimitLogs", "GET", "/api_keys/rate_limits/log", Access.ADMIN, rates.get_rate_limit_log),
    Operation("getApiKeyGenerateWeb3Key", "GET", "/api_keys/generate_web3_key", Access.OPEN, wallet.give_token),
    Operation("postApiKeyGenerateWeb3Key", "POST", "/api_keys/generate_web3_key", Access.OPEN, wallet.mint_key),
    Operation("getApiKeyById", "GET", "/api_keys/{id}", Access.ADMIN, keys.get_key),
    Operation("getBillingBalance", "GET", "/billing/balance", Access.ADMIN, rates.get_balance),
    Operation("getBillingUsage", "GET", "/billing/usage", Access.OPEN, history.get_sunset_usage),
    Operation(
        "getBillingUsageAnalytics",
        "GET",
        "/billing/usage-analytics",
        Access.ADMIN,
        analytics.get_usage_analytics,
    ),
    Operation("getBillingUsageHistory", "GET", "/billing/usage-history", Access.ADMIN, history.get_usage_history),
)
