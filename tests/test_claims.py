"""What an answer of Venice speaks for: by its code, words, headers and status, and never more than they say."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_harness import NOON
from venice_mcp.diagnosis.causes import KNOWN
from venice_mcp.diagnosis.claims import BARE, CUT, NAMED, WORDS, claims, mentions

UNIX = int(NOON.timestamp())
MIDNIGHT = UNIX + 12 * 3600
PRIVACY = (
    "This API key is set to 'Private models only', but `gemini-3-6-flash` is an Anonymous model. Choose a Private, TEE,"
    " or E2EE model, or change the model privacy setting of this API key."
)
EMPTY = "Insufficient USD or Diem balance to complete request. Visit https://venice.ai/settings/api to add credits."
INACTIVE = (
    "Authentication failed - Pro subscription is inactive. Please upgrade your subscription to continue using the API"
)
BLOCK = "Too many failed attempts (> {}) resulting in a non-success status code. Please wait 30s and try again."
CAP = (
    "API key {0} spend limit exceeded. Your account may still have {0} balance, but this API key has reached its"
    " configured {0} spending limit."
)

# status, words, what they mean
MESSAGES: list[tuple[int, str, tuple[str, ...]]] = [
    (401, "Authentication failed", ("key_not_accepted",)),
    (401, "Invalid API key provided", ("key_not_accepted",)),
    (401, INACTIVE, ("subscription_inactive",)),
    (401, "This model is only available to Pro users", ("pro_only_model",)),
    (401, "Admin API key required", ("wrong_key_type",)),
    (402, "Authentication required", ("no_key_sent",)),
    (402, EMPTY, ("account_empty",)),
    (402, CAP.format("DIEM"), ("key_diem_cap",)),
    (402, CAP.format("USD"), ("key_usd_cap",)),
    (403, "Unauthorized access", ("address_not_listed", "access_not_permitted", "model_privacy")),
    (
        403,
        "API access has been disabled for this account. Please contact support@venice.ai",
        ("access_not_permitted",),
    ),
    (403, PRIVACY, ("model_privacy",)),
    (404, "Specified model not found: llama-9", ("model_unknown",)),
    (404, "The model llama-2 has been deprecated. Please use zai-org-glm-5-1", ("model_unknown",)),
    (400, "Invalid model specified", ("model_unknown",)),
    (400, "Invalid request parameters", ("invalid_request",)),
    (400, "Your request exceeds the model's maximum context. Please reduce your prompt.", ("invalid_request",)),
    (400, "tools is not supported by this model", ("invalid_request",)),
    (415, "Invalid request content-type", ("invalid_request",)),
    (400, "Maximum number of active API keys (500) reached", ("too_many_keys",)),
    (400, "Wallet has no staked VVV on Base", ("wallet_not_staked",)),
    (400, "JWT has expired", ("invalid_request",)),
    (429, "Rate limit exceeded", ("rate_limited",)),
    (429, "The model is currently overloaded. Please try again later.", ("model_overloaded",)),
    (429, BLOCK.format(20), ("failed_requests",)),
    (429, BLOCK.format(50), ("failed_requests",)),
    (429, "Too many failed attempts (>20) resulting in a non-success status code.", ("failed_requests",)),
    (429, BLOCK.format(200), ("unsupported_feature",)),
    (500, "An unknown error occurred", ("venice_failed",)),
    (500, "Inference processing failed", ("venice_failed",)),
    (503, "The model is temporarily offline. Please try again later.", ("model_offline",)),
    (503, "The model is at capacity. Please try again later.", ("model_at_capacity",)),
    (504, "The request took too long to complete and was timed-out. Please stream.", ("venice_failed",)),
]


@pytest.mark.parametrize(("status", "said", "meant"), MESSAGES)
def test_venices_words_mean_one_thing_with_their_status_and_without(
    status: int, said: str, meant: tuple[str, ...]
) -> None:
    assert claims(status, said) == meant
    assert claims(None, said) == meant
    assert claims(status, said.upper()) == meant
    assert claims(None, said.replace(" ", "\n  ")) == meant


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("RATE_LIMIT_EXCEEDED", "rate_limited"),
        ("model_overloaded", "model_overloaded"),
        ("MODEL_AT_CAPACITY", "model_at_capacity"),
        ("API_KEY_USD_SPEND_LIMIT_EXCEEDED", "key_usd_cap"),
        ("API_KEY_DIEM_SPEND_LIMIT_EXCEEDED", "key_diem_cap"),
        ("context_length_exceeded", "invalid_request"),
        ("INSUFFICIENT_BALANCE", "account_empty"),
        ("PAYMENT_REQUIRED", "account_empty"),
        ("UNAUTHORIZED", "address_not_listed"),
        ("RPM", "requests_per_minute"),
        ("TPM", "tokens_per_minute"),
        ("RPD", "requests_per_day"),
        ("FAILED_REQUESTS", "failed_requests"),
        ("UNSUPPORTED_FEATURE_REQUESTS", "unsupported_feature"),
        ("not_json", "not_from_venice"),
    ],
)
def test_a_code_speaks_for_itself(code: str, meant: str) -> None:
    assert claims(None, "", code)[0] == meant


def test_every_code_is_one_that_a_diagnosis_knows() -> None:
    rows = [*NAMED.values(), *(row.codes for row in WORDS), *BARE.values()]
    assert {code for row in rows for code in row} <= set(KNOWN)


def test_an_unknown_code_or_text_says_nothing_and_a_status_little() -> None:
    assert claims(None, "Something odd", "ODD") == ()
    assert claims(200, "") == ()
    assert claims(402, "") == ("account_empty", "key_usd_cap", "key_diem_cap")
    assert claims(403, "Forbidden") == ("address_not_listed", "access_not_permitted", "model_privacy")
    assert claims(422, "") == ("invalid_request",)
    assert claims(418, "Something odd") == ("invalid_request",)
    assert claims(520, "") == ("venice_failed",)
    assert claims(407, "") == ("not_from_venice",)
    assert len(claims(401, "")) > 1


def test_what_is_definite_goes_before_what_is_general() -> None:
    assert claims(429, "The model is currently overloaded.", "RATE_LIMIT_EXCEEDED") == ("model_overloaded",)
    assert claims(403, PRIVACY, "UNAUTHORIZED") == ("model_privacy",)
    assert claims(401, INACTIVE, "AUTHENTICATION_FAILED") == ("subscription_inactive",)
    assert claims(404, "Specified model not found", "invalid_request_error") == ("model_unknown",)


def test_the_beginning_of_a_message_is_not_taken_for_all_of_it() -> None:
    assert set(claims(401, f"Authentication failed{CUT}")) == {"key_not_accepted", "subscription_inactive"}
    assert set(claims(401, f"Authentication failed - Pro sub{CUT}")) == {"key_not_accepted", "subscription_inactive"}
    assert set(claims(429, f"Too many failed attempts (> 20{CUT}")) == {"failed_requests", "unsupported_feature"}


def limited(remaining: int, reset: float | None, limit: int | None = None) -> dict[str, str]:
    headers = {"X-RateLimit-Remaining-Requests": str(remaining)}
    if reset is not None:
        headers["x-ratelimit-reset-requests"] = str(reset)
    if limit is not None:
        headers["x-ratelimit-limit-requests"] = str(limit)
    return headers


@pytest.mark.parametrize(
    ("headers", "meant"),
    [
        (limited(0, UNIX + 40, 150), ("requests_per_minute",)),
        (limited(0, (UNIX + 40) * 1000, 150), ("requests_per_minute",)),
        (limited(0, 40), ("requests_per_minute",)),
        (limited(0, 40_000), ("requests_per_minute",)),
        (limited(0, MIDNIGHT, 8), ("requests_per_day",)),
        (limited(0, MIDNIGHT), ("requests_per_day",)),
        (limited(0, None, 150), ("requests_per_minute",)),
        (limited(0, None, 14_400), ("requests_per_day",)),
        (limited(0, None), ("requests_per_minute",)),
        (limited(7, UNIX + 40, 150), ("rate_limited",)),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "12"}, ("tokens_per_minute",)),
        (limited(5, UNIX + 40) | {"x-ratelimit-remaining-tokens": "0"}, ("tokens_per_minute",)),
        (
            limited(0, UNIX + 40, 150) | {"x-ratelimit-remaining-tokens": "0"},
            ("requests_per_minute", "tokens_per_minute"),
        ),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-resets": "30"}, ("failed_requests",)),
        ({"x-ratelimit-remaining-requests": "none"}, ("rate_limited",)),
        ({}, ("rate_limited",)),
    ],
)
def test_headers_tell_which_limit_was_hit(headers: dict[str, str], meant: tuple[str, ...]) -> None:
    assert claims(429, "Rate limit exceeded", headers=headers, now=NOON) == meant
    # Without the words too; and with headers alone there is either a limit used up or nothing to say.
    assert claims(429, "", headers=headers, now=NOON) == meant
    assert claims(None, "", headers=headers, now=NOON) == (() if meant == ("rate_limited",) else meant)


def test_a_limit_that_resets_at_midnight_within_a_minute_may_be_either() -> None:
    headers = limited(0, MIDNIGHT, 8)
    late = NOON + timedelta(hours=11, minutes=59)
    assert claims(429, "", headers=headers, now=late) == ("requests_per_day", "requests_per_minute")


def test_without_the_time_the_date_header_counts_and_then_the_size_of_the_limit() -> None:
    headers = limited(0, UNIX + 40, 14_400)
    assert claims(429, "", headers=headers) == ("requests_per_day",)
    dated = limited(0, UNIX + 40, 150) | {"Date": "Wed, 18 Nov 2026 12:00:00 GMT"}
    assert claims(429, "", headers=dated) == ("requests_per_minute",)
    assert claims(429, "", headers=limited(0, UNIX + 40, 150)) == ("requests_per_minute",)


def test_words_about_another_limit_go_before_the_headers_of_the_limits() -> None:
    headers = limited(0, UNIX + 20, 20)
    assert claims(429, BLOCK.format(20), headers=headers, now=NOON) == ("failed_requests",)
    assert claims(402, EMPTY, headers=headers, now=NOON) == ("account_empty",)


def test_the_path_tells_what_was_limited_or_forbidden() -> None:
    assert claims(429, "Rate limit exceeded", path="/api_keys") == ("creation_pace",)
    assert claims(429, "", path="/api/v1/api_keys/generate_web3_key") == ("creation_pace",)
    assert claims(429, "Rate limit exceeded", path="/api_keys/rate_limits") == ("rate_limited",)
    assert claims(429, BLOCK.format(20), path="/api_keys") == ("failed_requests",)
    forbidden = claims(403, "Unauthorized access", path="/api/v1/billing/balance")
    assert "wrong_key_type" in forbidden
    assert "model_privacy" not in forbidden


@given(
    st.one_of(st.none(), st.integers(-5, 1000)),
    st.text(max_size=80),
    st.text(max_size=20),
    st.dictionaries(
        st.sampled_from(["Date", "x-ratelimit-remaining", *limited(0, 0, 0), "x-ratelimit-remaining-tokens"]),
        st.one_of(st.integers().map(str), st.floats().map(str), st.text(max_size=20)),
    ),
)
def test_no_answer_is_an_exception(status: int | None, said: str, code: str, headers: dict[str, str]) -> None:
    found = claims(status, said, code, headers=headers, now=NOON)
    assert len(found) == len(set(found))
    assert set(found) <= set(KNOWN)


@pytest.mark.parametrize(("status", "said", "meant"), MESSAGES)
def test_a_message_is_found_in_a_text_around_it(status: int, said: str, meant: tuple[str, ...]) -> None:
    text = f"status {status}, dann kam: {said} -- was tun?"
    assert any(claims(None, text[start:end]) == meant for start, end in mentions(text))
