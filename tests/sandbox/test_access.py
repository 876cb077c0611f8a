from datetime import timedelta

import pytest

from tests.sandbox.door import NOON, Door, open_door

ADMIN_ONLY = [
    ("GET", "/api_keys"),
    ("POST", "/api_keys"),
    ("PATCH", "/api_keys"),
    ("DELETE", "/api_keys"),
    ("GET", "/api_keys/some-id"),
    ("GET", "/api_keys/rate_limits/log"),
    ("GET", "/billing/balance"),
    ("GET", "/billing/usage-analytics"),
    ("GET", "/billing/usage-history"),
]
BLOCK = "Too many failed attempts (> 20) resulting in a non-success status code. Please wait 30s and try again."


@pytest.mark.parametrize(("method", "path"), [*ADMIN_ONLY, ("GET", "/api_keys/rate_limits")])
@pytest.mark.parametrize("key", [None, "VENICE_ADMIN_KEY_SANDBOX_unknown"])
def test_no_key_and_an_unknown_key_are_refused(empty: Door, method: str, path: str, key: str | None) -> None:
    assert empty.refusal(method, path, key=key) == (401, "Authentication failed")


@pytest.mark.parametrize(("method", "path"), ADMIN_ONLY)
def test_an_inference_key_is_told_that_an_admin_key_is_required(empty: Door, method: str, path: str) -> None:
    assert empty.refusal(method, path, key="inference") == (401, "Admin API key required")


def test_an_inference_key_reads_its_own_rate_limits_and_nothing_else(demo: Door) -> None:
    assert demo.get("/api_keys/rate_limits", key="inference")["data"]["accessPermitted"] is True
    assert demo.refusal("GET", "/api_keys/rate_limits/log", key="inference")[0] == 401


def test_open_operations_answer_without_a_key(empty: Door) -> None:
    assert empty.ask("GET", "/models", key=None).status_code == 200
    assert empty.ask("GET", "/api_keys/generate_web3_key", key=None).status_code == 200
    assert empty.ask("GET", "/billing/usage", key=None).status_code == 410


def test_a_key_works_only_from_the_addresses_on_its_list(empty: Door) -> None:
    listed = ["198.51.100.7", "2001:db8::/32"]
    secret = empty.create(apiKeyType="ADMIN", ipAllowlist=listed)["apiKey"]
    for client in ("198.51.100.7", "2001:db8:9::1"):
        assert empty.ask("GET", "/api_keys", key=secret, client=client).status_code == 200
    for client in ("198.51.100.8", "127.0.0.1", "2001:db9::1", "somewhere"):
        assert empty.refusal("GET", "/api_keys", key=secret, client=client) == (403, "Unauthorized access")


def test_a_caller_can_lock_itself_out(empty: Door) -> None:
    admin = next(key["id"] for key in empty.listed() if key["apiKeyType"] == "ADMIN")
    empty.update(admin, ipAllowlist=["203.0.113.1"])
    assert empty.ask("GET", "/api_keys").status_code == 403


def test_a_forwarded_address_opens_nothing(empty: Door) -> None:
    secret = empty.create(apiKeyType="ADMIN", ipAllowlist=["203.0.113.1"])["apiKey"]
    headers = {"X-Forwarded-For": "203.0.113.1"}
    assert empty.ask("GET", "/api_keys", key=secret, headers=headers).status_code == 403


def test_the_twenty_first_create_within_a_minute_is_limited() -> None:
    door = open_door("empty")
    for number in range(20):
        door.create(description=f"key {number}")
    body = {"apiKeyType": "INFERENCE", "description": "one more"}
    answer = door.ask("POST", "/api_keys", json=body)
    assert (answer.status_code, answer.json()["error"]) == (429, "Rate limit exceeded")
    assert answer.headers["x-ratelimit-limit-requests"] == "20"
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    reset_at = int(answer.headers["x-ratelimit-reset-requests"])
    assert 0 < reset_at - NOON.timestamp() <= 61
    door.clock.advance(seconds=reset_at - door.clock.at.timestamp())
    door.create(description="after the reset")


def test_the_501st_active_key_is_refused_until_one_is_gone() -> None:
    door = open_door("large")
    keys = door.listed()
    assert len(keys) == 500
    body = {"apiKeyType": "INFERENCE", "description": "one more"}
    assert door.ask("POST", "/api_keys", json=body).status_code == 400
    door.ask("DELETE", "/api_keys", params={"id": keys[-1]["id"]})
    assert door.ask("POST", "/api_keys", json=body).status_code == 200


def test_expired_keys_make_room_for_new_ones() -> None:
    door = open_door("large")
    soonest = min(key["expiresAt"] for key in door.listed() if key["expiresAt"])
    door.clock.at = NOON + timedelta(days=60)
    assert soonest < door.clock.at.isoformat()
    assert len(door.listed()) < 500
    door.create()


def test_more_than_twenty_failures_block_the_caller_for_thirty_seconds(demo: Door) -> None:
    for _ in range(21):
        assert demo.ask("GET", "/api_keys/none").status_code == 404
    assert demo.refusal("GET", "/api_keys") == (429, BLOCK)
    demo.clock.advance(seconds=29.9)
    assert demo.refusal("GET", "/api_keys") == (429, BLOCK)
    demo.clock.advance(seconds=0.2)
    newest = demo.get("/api_keys/rate_limits/log")["data"][0]
    assert newest["rateLimitType"] == "FAILED_REQUESTS"
    assert newest["timestamp"] == "2026-10-15T12:00:00.250Z"


def test_twenty_failures_or_failures_spread_out_block_nobody(demo: Door) -> None:
    for _ in range(20):
        demo.ask("GET", "/api_keys/none")
    demo.clock.advance(seconds=30)
    for _ in range(20):
        demo.ask("GET", "/api_keys/none")
    assert demo.ask("GET", "/api_keys").status_code == 200


def test_a_block_concerns_the_caller_that_failed(demo: Door) -> None:
    for _ in range(22):
        demo.ask("GET", "/billing/balance", key=None)
    assert demo.refusal("GET", "/billing/balance", key=None) == (429, BLOCK)
    assert demo.ask("GET", "/billing/balance").status_code == 200


def test_limits_can_be_switched_off() -> None:
    door = open_door("empty", limits=False)
    for _ in range(25):
        door.ask("GET", "/api_keys/none")
        door.create()
    assert len(door.listed()) == 27


def test_every_authenticated_answer_tells_limits_and_balances(demo: Door) -> None:
    first, second = demo.ask("GET", "/billing/balance"), demo.ask("GET", "/api_keys/none")
    names = ["requests", "tokens"]
    for answer in (first, second):
        for name in names:
            for kind in ("limit", "remaining", "reset"):
                assert int(answer.headers[f"x-ratelimit-{kind}-{name}"]) > 0
        assert (answer.headers["x-venice-balance-usd"], answer.headers["x-venice-balance-diem"]) == (
            "412.75",
            "61.5",
        )
        assert answer.headers["cf-ray"]
        assert answer.headers["x-venice-version"]
    left = [int(answer.headers["x-ratelimit-remaining-requests"]) for answer in (first, second)]
    assert left[0] - left[1] == 1
    assert first.headers["cf-ray"] != second.headers["cf-ray"]


def test_an_unknown_route_or_method_is_an_error_in_venices_form(empty: Door) -> None:
    assert empty.refusal("GET", "/nothing")[0] == 404
    assert empty.refusal("GET", "/api_keys/")[0] == 404
    assert empty.refusal("PUT", "/api_keys")[0] == 405
