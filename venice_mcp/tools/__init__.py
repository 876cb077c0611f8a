"""The tools. `TOOLS` is the index: what is not in it does not exist."""

from venice_mcp.tools import arguments as a
from venice_mcp.tools.audit import AuditApiKeys, venice_audit_api_keys
from venice_mcp.tools.billing import (
    venice_get_billing_balance,
    venice_get_billing_usage,
    venice_get_usage_analytics,
)
from venice_mcp.tools.build import ToolSpec
from venice_mcp.tools.diagnosing import Diagnose, venice_diagnose
from venice_mcp.tools.finding import FindApiKey, venice_find_api_key
from venice_mcp.tools.forecasting import ForecastSpend, venice_forecast_spend
from venice_mcp.tools.keys import (
    venice_create_api_key,
    venice_get_api_key,
    venice_revoke_api_key,
    venice_update_api_key,
)
from venice_mcp.tools.limits import venice_get_rate_limit_log, venice_get_rate_limits
from venice_mcp.tools.listing import venice_list_api_keys
from venice_mcp.tools.provisioning import ProvisionApiKeys, venice_provision_api_keys
from venice_mcp.tools.recover import venice_recover
from venice_mcp.tools.rotating import RotateApiKey, venice_rotate_api_key
from venice_mcp.tools.scanning import ScanForLeakedKeys, venice_scan_for_leaked_keys
from venice_mcp.tools.several import RevokeApiKeys, UpdateApiKeys, venice_revoke_api_keys, venice_update_api_keys
from venice_mcp.tools.status import venice_status
from venice_mcp.tools.web3 import venice_create_web3_api_key, venice_get_web3_token

TOOLS: tuple[ToolSpec, ...] = (
    ToolSpec(venice_status, a.NoArguments, "Server status", open_world=False),
    ToolSpec(venice_recover, a.Recover, "Settle what was interrupted", read_only=False, destructive=True, in_time=True),
    ToolSpec(venice_diagnose, Diagnose, "Diagnose limits and refusals", in_time=True),
    ToolSpec(venice_list_api_keys, a.ListApiKeys, "List API keys"),
    ToolSpec(venice_get_api_key, a.OneKey, "Show an API key"),
    ToolSpec(venice_find_api_key, FindApiKey, "Find out which key it is"),
    # It changes nothing at Venice, but report_path makes a file.
    ToolSpec(venice_audit_api_keys, AuditApiKeys, "Audit all API keys", read_only=False, idempotent=False),
    ToolSpec(venice_create_api_key, a.CreateApiKey, "Create an API key", read_only=False, idempotent=False),
    ToolSpec(venice_update_api_key, a.UpdateApiKey, "Change an API key", read_only=False, destructive=True),
    ToolSpec(venice_revoke_api_key, a.OneKey, "Revoke an API key", read_only=False, destructive=True),
    ToolSpec(
        venice_rotate_api_key,
        RotateApiKey,
        "Rotate an API key",
        read_only=False,
        destructive=True,
        idempotent=False,
        in_time=True,
    ),
    ToolSpec(venice_provision_api_keys, ProvisionApiKeys, "Make many API keys", read_only=False, in_time=True),
    ToolSpec(
        venice_update_api_keys,
        UpdateApiKeys,
        "Change several API keys",
        read_only=False,
        destructive=True,
        in_time=True,
    ),
    ToolSpec(
        venice_revoke_api_keys,
        RevokeApiKeys,
        "Revoke several API keys",
        read_only=False,
        destructive=True,
        in_time=True,
    ),
    ToolSpec(venice_get_rate_limits, a.GetRateLimits, "Show rate limits"),
    ToolSpec(venice_get_rate_limit_log, a.GetRateLimitLog, "Show rate limit hits"),
    ToolSpec(venice_get_web3_token, a.NoArguments, "Get a wallet token", idempotent=False),
    ToolSpec(
        venice_create_web3_api_key,
        a.CreateWeb3ApiKey,
        "Mint a key with a wallet",
        read_only=False,
        idempotent=False,
    ),
    ToolSpec(venice_get_billing_balance, a.NoArguments, "Show the balance"),
    ToolSpec(venice_get_billing_usage, a.GetBillingUsage, "Show the usage ledger"),
    ToolSpec(venice_get_usage_analytics, a.GetUsageAnalytics, "Sum up usage"),
    ToolSpec(venice_forecast_spend, ForecastSpend, "Forecast spending", in_time=True),
    ToolSpec(venice_scan_for_leaked_keys, ScanForLeakedKeys, "Scan for leaked keys"),
)
