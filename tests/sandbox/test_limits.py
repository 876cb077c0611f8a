"""How much may be asked of a model, what does not count, and when it ends."""

from dataclasses import replace

import pytest

from tests.sandbox.door import NOON, Door, open_door
from tests.sandbox.test_chat import CHAT, SAY, sent
from venice_mcp.sandbox.loads import LOADS, OTHER_LOADS
from venice_mcp.sandbox.troubles import MODEL


def status(door: Door, **members: object) -> int:
    return door.ask("POST", CHAT, key="inference", json={**SAY, **members}).status_code


def limited(door: Door, **limits: int) -> None:
    body = {"model": MODEL, **limits}
    assert door.ask("POST", "/__control/limits", key=None, json=body).status_code == 200


def test_answers_carry_the_true_numbers_of_their_model() -> None:
    door = open_door("healthy", control=True)
    door.clock.advance(seconds=10)
    first = door.ask("POST", CHAT, key="inference", json={**SAY, "max_tokens": 96})
    used = first.json()["usage"]["total_tokens"]
    door.clock.advance(seconds=20)
    limited(door, RPM=40, TPM=1000)
    told = door.ask("POST", CHAT, key="inference", json={**SAY, "max_tokens": 96}).headers
    assert {name: value for name, value in told.items() if name.startswith("x-ratelimit")} == {
        "x-ratelimit-limit-requests": "40",
        "x-ratelimit-remaining-requests": "38",
        "x-ratelimit-reset-requests": str(int(NOON.timestamp()) + 71),
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": str(1000 - 2 * used),
        "x-ratelimit-reset-tokens": "40",
        "x-ratelimit-type": "user",
    }
    limited(door, RPD=12)
    told = door.ask("POST", CHAT, key="inference", json=SAY).headers
    assert told["x-ratelimit-limit-requests"] == "12"
    assert told["x-ratelimit-remaining-requests"] == "9"
    assert told["x-ratelimit-reset-requests"] == str(int(NOON.replace(hour=0).timestamp()) + 24 * 3600)


@pytest.mark.parametrize("name", ["rpm", "tpm", "rpd"])
def test_a_limit_ends_when_its_headers_say_and_not_before(name: str) -> None:
    load, door = LOADS[name], open_door(name)
    answer = sent(door, replace(load, advance_s=3))[-1]
    if name == "tpm":
        assert answer.headers["x-ratelimit-remaining-tokens"] == "0"
        left = int(answer.headers["x-ratelimit-reset-tokens"])
    else:
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        left = int(answer.headers["x-ratelimit-reset-requests"]) - door.clock.at.timestamp()
    door.clock.advance(seconds=left - 1)
    assert status(door) == 429
    door.clock.advance(seconds=1)
    assert status(door) == 200


@pytest.mark.parametrize(("name", "kind"), [("rpm", "RPM"), ("tpm", "TPM"), ("rpd", "RPD")])
def test_the_log_says_whose_limit_was_hit_on_which_model(name: str, kind: str) -> None:
    load, door = LOADS[name], open_door(name)
    sent(door, load)
    own = next(key["id"] for key in door.listed() if key.get("description") == "venice-mcp sandbox inference")
    rows = door.get("/api_keys/rate_limits/log")["data"]
    assert {(row["apiKeyId"], row["modelId"], row["rateLimitType"]) for row in rows} == {(own, MODEL, kind)}
    shown = door.get("/api_keys/rate_limits", key="inference")["data"]["rateLimits"]
    limits = next(row["rateLimits"] for row in shown if row["apiModelId"] == MODEL)
    assert {"type": kind, "amount": {"RPM": 5, "TPM": 3000, "RPD": 8}[kind]} in limits


def test_of_two_limits_that_are_hit_the_one_that_lasts_longer_is_told() -> None:
    door = open_door("healthy", control=True)
    limited(door, RPM=2, RPD=2, TPM=20)
    assert [status(door) for _ in range(3)] == [200, 429, 429]
    limited(door, TPM=2000)
    assert [status(door) for _ in range(2)] == [200, 429]
    rows = door.get("/api_keys/rate_limits/log")["data"]
    assert [row["rateLimitType"] for row in rows] == ["RPD", "TPM", "TPM"]


def test_the_last_call_may_go_over_a_limit_of_tokens() -> None:
    door = open_door("tpm")
    assert status(door, max_tokens=2990) == 200
    assert status(door, max_tokens=50_000) == 200
    assert status(door) == 429


def test_refused_requests_do_not_count_against_a_models_limits() -> None:
    door = open_door("rpm")
    for _ in range(8):
        assert status(door, max_tokens=0) == 400
    assert [status(door) for _ in range(6)] == [200] * 5 + [429]
    door.clock.advance(seconds=61)
    assert status(door) == 200


def test_limits_are_of_the_account_not_of_the_key() -> None:
    door = open_door("rpm")
    for _ in range(5):
        assert door.ask("POST", CHAT, key=door.create()["apiKey"], json=SAY).status_code == 200
    assert status(door) == 429


def test_calls_of_other_models_do_not_count_against_a_models_limits() -> None:
    for name in ("rpm", "tpm", "rpd"):
        door = open_door(name)
        for _ in range(9):
            assert status(door, model="kimi-k2-6", max_tokens=1000) == 200
        assert status(door) == 200


def test_what_venice_itself_failed_at_never_blocks() -> None:
    door = open_door("overload")
    body = OTHER_LOADS["model-offline"].body
    for _ in range(25):
        assert door.ask("POST", CHAT, key="inference", json=body).status_code == 503
        answer = door.ask("POST", CHAT, key="inference", json=SAY)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert status(door, model="qwen3-coder-480b") == 200
    assert door.get("/api_keys/rate_limits/log")["data"] == []


def test_asking_a_model_for_what_it_lacks_has_a_budget_of_its_own() -> None:
    door = open_door("healthy")
    load = OTHER_LOADS["unsupported-feature"]
    assert "(> 200)" in sent(door, load)[-1].json()["error"]
    assert status(door) == 429
    rows = door.get("/api_keys/rate_limits/log")["data"]
    assert [(row["modelId"], row["rateLimitType"]) for row in rows] == [
        ("llama-3.2-3b", "UNSUPPORTED_FEATURE_REQUESTS")
    ]
    door.clock.advance(seconds=30)
    assert status(door) == 200


def test_without_limits_nothing_of_it_is_limited() -> None:
    for name in ("rpm", "abuse"):
        load, door = LOADS[name], open_door(name, limits=False)
        assert sent(door, replace(load, times=load.times + 2))[-1].status_code == (200 if name == "rpm" else 404)
    load, door = OTHER_LOADS["unsupported-feature"], open_door(limits=False)
    assert sent(door, load)[-1].json() == {"error": "tools is not supported by this model"}
