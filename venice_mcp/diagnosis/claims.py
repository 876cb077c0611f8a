"""Which causes an answer of Venice speaks for: by its code, by its words, by its headers, and last by its status.

Sources: Venice's error code page and its official skill of autumn 2026, OpenAPI 20260821.193530.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import NamedTuple

from venice_mcp.client.pace import seconds_until

Codes = tuple[str, ...]

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
CUT = "\u2026"
"""Ends a text that was cut off, so that what only begins like a message is not taken for all of it."""

# The words are those of an address list and of an account without access alike. An account without access mostly gets
# words of its own (API_ACCESS_DISABLED), and a model outside the key's tier nearly always does, so this is the order.
_FORBIDDEN: Codes = ("address_not_listed", "access_not_permitted", "model_privacy")
_UNPAID: Codes = ("account_empty", "key_usd_cap", "key_diem_cap")
_BLOCKED: Codes = ("failed_requests", "unsupported_feature")
_LIMITED: Codes = ("rate_limited",)
_INVALID: Codes = ("invalid_request",)
_FAILED: Codes = ("venice_failed",)
_PROXY: Codes = ("not_from_venice",)
_UNKNOWN_MODEL: Codes = ("model_unknown",)
_KEY: Codes = ("key_not_accepted",)
_INACTIVE: Codes = ("subscription_inactive",)

# What is said of many causes alike; anything more telling goes before it.
_GENERIC = frozenset({"rate_limited", "invalid_request", "venice_failed", "key_not_accepted"})

NAMED: Mapping[str, Codes] = {
    # rateLimitType in the log
    "RPM": ("requests_per_minute",),
    "TPM": ("tokens_per_minute",),
    "RPD": ("requests_per_day",),
    "FAILED_REQUESTS": ("failed_requests",),
    "UNSUPPORTED_FEATURE_REQUESTS": ("unsupported_feature",),
    # error codes
    "RATE_LIMIT_EXCEEDED": _LIMITED,
    "MODEL_OVERLOADED": ("model_overloaded",),
    "MODEL_AT_CAPACITY": ("model_at_capacity",),
    "MODEL_OFFLINE": ("model_offline",),
    "MODEL_PRIVACY_RESTRICTED": ("model_privacy",),
    "MODEL_NOT_FOUND": _UNKNOWN_MODEL,
    "INVALID_MODEL": _UNKNOWN_MODEL,
    "PRO_ONLY_MODEL": ("pro_only_model",),
    "INSUFFICIENT_BALANCE": ("account_empty",),
    "PAYMENT_REQUIRED": ("account_empty", "no_key_sent"),
    "API_KEY_USD_SPEND_LIMIT_EXCEEDED": ("key_usd_cap",),
    "API_KEY_DIEM_SPEND_LIMIT_EXCEEDED": ("key_diem_cap",),
    "AUTHENTICATION_FAILED": _KEY,
    "INVALID_API_KEY": _KEY,
    "AUTHENTICATION_FAILED_INACTIVE_KEY": _INACTIVE,
    "API_ACCESS_DISABLED": ("access_not_permitted",),
    "UNAUTHORIZED": _FORBIDDEN,
    "CONTEXT_LENGTH_EXCEEDED": _INVALID,
    "TOO_MANY_TOKENS": _INVALID,
    "INVALID_REQUEST": _INVALID,
    "INVALID_REQUEST_ERROR": _INVALID,
    "INVALID_CONTENT_TYPE": _INVALID,
    "INFERENCE_FAILED": _FAILED,
    "UNKNOWN_ERROR": _FAILED,
    # codes of our own errors
    "NOT_JSON": _PROXY,
    "WRONG_KEY_TYPE": ("wrong_key_type",),
    "FAILURE_BUDGET": ("failed_requests",),
    "UNREACHABLE": ("unreachable",),
}
"""What a code says by itself, in any case of letters."""


class Words(NamedTuple):
    pattern: re.Pattern[str]
    codes: Codes


def _words(text: str, *codes: str) -> Words:
    """A space stands for any white space, because terminals break lines."""
    return Words(re.compile(text.replace(" ", r"\s+"), re.IGNORECASE), codes)


WORDS: tuple[Words, ...] = (
    _words("Authentication required|X-PAYMENT header", "no_key_sent"),
    _words("(?:Authentication failed - )?Pro subscription is inactive", *_INACTIVE),
    _words(rf"Authentication failed[\s\w-]{{0,40}}{CUT}", "key_not_accepted", "subscription_inactive"),
    _words("Authentication failed|Invalid API key", *_KEY),
    _words("only available to Pro", "pro_only_model"),
    _words("Admin API key required|needs an ADMIN key, and the one", "wrong_key_type"),
    _words("API key USD spend(?:ing)? limit", "key_usd_cap"),
    _words("API key DIEM spend(?:ing)? limit", "key_diem_cap"),
    _words("Insufficient USD or Diem balance|Insufficient balance", "account_empty"),
    _words("API access has been disabled", "access_not_permitted"),
    _words("Unauthorized access", *_FORBIDDEN),
    _words("(?:This API key is )?set to 'Private (?:text )?models only'|is an Anonymous model", "model_privacy"),
    _words(r"Specified model not found|Invalid model specified|model [^\s]{1,80} has been deprecated", *_UNKNOWN_MODEL),
    _words("model is currently overloaded", "model_overloaded"),
    _words("model is at capacity", "model_at_capacity"),
    _words("model is temporarily offline", "model_offline"),
    # More than 20 (or 50) that failed, more than 200 that asked a model for what it lacks.
    _words(r"Too many failed attempts \(>\s*\d{1,2}\)", "failed_requests"),
    _words(r"Too many failed attempts \(>\s*\d{3,6}\)", "unsupported_feature"),
    _words("Too many failed attempts", *_BLOCKED),
    _words("Too many requests failed in the last", "failed_requests"),
    _words("Rate limit exceeded|Too Many Requests", *_LIMITED),
    _words("Maximum number of active API keys", "too_many_keys"),
    _words("Wallet has no staked VVV", "wallet_not_staked"),
    _words("Invalid request (?:parameters|content-type)|maximum context|Invalid wallet address", *_INVALID),
    _words("JWT (?:has expired|signature is invalid|claims are invalid|is malformed)", *_INVALID),
    _words("Wallet signature does not match|is not supported by this model", *_INVALID),
    _words("Inference processing failed|An unknown error occurred|request took too long to complete", *_FAILED),
    _words("something that is not JSON, perhaps from a proxy|upstream connect error|no healthy upstream", *_PROXY),
    _words("error code: 1[0-9]{3}|Proxy Authentication Required|Tunnel connection failed", *_PROXY),
    _words("Venice could not be reached|Could not resolve host|Failed to connect to api.venice.ai", "unreachable"),
    _words("E(?:CONNREFUSED|NOTFOUND|TIMEDOUT|AI_AGAIN)|APIConnectionError|getaddrinfo failed", "unreachable"),
)
"""What Venice's messages say, wherever they stand in a text."""

BARE: Mapping[int, Codes] = {
    401: ("key_not_accepted", "subscription_inactive", "wrong_key_type", "pro_only_model"),
    402: _UNPAID,
    403: _FORBIDDEN,
    404: ("model_unknown", "invalid_request"),
    407: _PROXY,
    429: _LIMITED,
    503: ("model_at_capacity", "model_offline", "venice_failed"),
}
"""What a status leaves open when nothing was said; every other 4xx is a wrong request, every other 5xx Venice's."""

_MANAGING = re.compile(r"/(?:api_keys|billing)(?:/|\Z)")
_MAKING = re.compile(r"/api_keys(?:/generate_web3_key)?/?\Z")
_MANAGING_FORBIDDEN: Codes = ("address_not_listed", "wrong_key_type", "access_not_permitted")
_A_MINUTE_S = 120.0
_MOST_PER_MINUTE = 2000
"""Known limits per minute are far below, known limits per day far above."""
_DAY_S = 86_400


def claims(
    status: int | None,
    said: str,
    code: str = "",
    *,
    path: str = "",
    headers: Mapping[str, str] = NO_HEADERS,
    now: datetime | None = None,
) -> Codes:
    """The codes of the causes that an answer speaks for, the likeliest first; one alone is certain by Venice's word.

    Args:
        said: Venice's message, with `CUT` at its end if more of it was lost.
        code: the error's code or the log's `rateLimitType`; the codes of our own errors will do.
        headers: whatever is known of them, in any case of letters.
        now: when the answer came, for resets that are points in time; without it the Date header counts.
    """
    named = NAMED.get(code.strip().upper(), ())
    spoken = _narrowest([*([named] if named else []), *(row.codes for row in WORDS if row.pattern.search(said))])
    if spoken == _FORBIDDEN or (not spoken and status == 403):
        return _MANAGING_FORBIDDEN if _MANAGING.search(path) else _FORBIDDEN
    limited = {name.lower(): value for name, value in headers.items()}
    if spoken == _LIMITED or (not spoken and status == 429):
        return ("creation_pace",) if _MAKING.search(path) else _limit_hit(limited, now) or _LIMITED
    if spoken or status is not None:
        return spoken or _bare(status)
    return _limit_hit(limited, now)


def mentions(text: str) -> Iterator[tuple[int, int]]:
    """Where one of Venice's messages begins in `text`, and where the part of it that tells which one ends."""
    for row in WORDS:
        for match in row.pattern.finditer(text):
            yield match.span()


def _narrowest(rows: list[Codes]) -> Codes:
    """The most telling of what was said: no generality beside something definite, no choice beside a certainty."""
    telling = [row for row in rows if not _GENERIC.issuperset(row)] or rows
    least = min(map(len, telling), default=0)
    return tuple(dict.fromkeys(code for row in telling if len(row) == least for code in row))


def _bare(status: int | None) -> Codes:
    if status is None or status < 400:
        return ()
    return BARE.get(status, _INVALID if status < 500 else _FAILED)


# --- which limit was hit ---------------------------------------------------------------------------


def _limit_hit(headers: Mapping[str, str], now: datetime | None) -> Codes:
    """Which limit the headers say is used up; none if they do not say."""
    if _used_up(headers, ""):
        return ("failed_requests",)
    found: Codes = ()
    if _used_up(headers, "-requests"):
        found += _requests(headers, now)
    if _used_up(headers, "-tokens"):
        found += ("tokens_per_minute",)
    return found


def _used_up(headers: Mapping[str, str], kind: str) -> bool:
    return number(headers.get(f"x-ratelimit-remaining{kind}", "")) == 0


def _requests(headers: Mapping[str, str], now: datetime | None) -> Codes:
    """Per minute or per day: there is one header for both, so by how far away its reset is, else by its size."""
    minute, day = ("requests_per_minute",), ("requests_per_day",)
    limit = number(headers.get("x-ratelimit-limit-requests", ""))
    reset = number(headers.get("x-ratelimit-reset-requests", ""))
    at = now or moment(headers.get("date", ""))
    if reset is None or (at is None and reset >= 1e9):
        return minute if limit is None or limit <= _MOST_PER_MINUTE else day
    # Without a time of the answer only durations come here, and those do not ask what time it is.
    if seconds_until(reset, at or datetime.now(UTC), longest_s=3600) > _A_MINUTE_S:
        return day
    at_midnight = reset >= 1e9 and (reset / 1000 if reset >= 1e12 else reset) % _DAY_S == 0
    # In the last two minutes of a day both end alike.
    return day + minute if at_midnight or (limit is not None and limit > _MOST_PER_MINUTE) else minute


def number(value: str) -> float | None:
    """A plain, non-negative decimal number; None for anything else."""
    match = re.fullmatch(r"[0-9]{1,15}(?:\.[0-9]{1,9})?", value.strip())
    return float(match[0]) if match else None


def moment(value: str) -> datetime | None:
    """The point in time of a Date header; None for anything else."""
    try:
        found = parsedate_to_datetime(value) if value else None
        return found if found is not None and found.tzinfo is not None else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
