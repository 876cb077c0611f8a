"""Every trouble is run into by calling a model, and by nothing beside it."""

from typing import Any

import httpx
import pytest

from tests.sandbox.door import Door, Json, open_door
from venice_mcp.sandbox import SCENARIOS
from venice_mcp.sandbox.loads import LOADS, OTHER_LOADS, Load
from venice_mcp.sandbox.troubles import MODEL, TROUBLES

ALL_LOADS = {**LOADS, **OTHER_LOADS}
CHAT = "/chat/completions"
IMAGE: Json = {"type": "image_url", "image_url": {}}
SAY: Json = {"model": MODEL, "messages": [{"role": "user", "content": "Say something."}]}


def run(load: Load, scenario: str | None = None) -> list[tuple[int, str]]:
    """Status and error of each answer that the load gets."""
    door = open_door(scenario or load.scenario, control=True)
    for route, body in load.before:
        assert door.ask("POST", f"/__control/{route}", key=None, json=body).status_code == 200
    return [(answer.status_code, answer.json().get("error", "")) for answer in sent(door, load)]


def sent(door: Door, load: Load) -> list[httpx.Response]:
    answers: list[httpx.Response] = []
    for number in range(load.times):
        if number == load.times - 1:
            door.clock.advance(seconds=load.advance_s)
        answers.append(door.ask("POST", CHAT, key="inference", json=load.body))
    return answers


@pytest.mark.parametrize("name", ALL_LOADS)
def test_every_load_ends_as_the_table_says(name: str) -> None:
    load = ALL_LOADS[name]
    status, error = run(load)[-1]
    assert status == load.ends_with[0]
    assert error.startswith(load.ends_with[1])


def test_every_trouble_has_a_load() -> None:
    assert set(LOADS) == set(TROUBLES)
    assert all(load.scenario == name for name, load in LOADS.items())
    assert {load.scenario for load in OTHER_LOADS.values()} <= set(SCENARIOS)


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("rpm", [200] * 5 + [429] * 2),
        ("tpm", [200] * 3 + [429]),
        ("rpd", [200] * 8 + [429]),
        ("abuse", [404] * 21 + [429]),
        ("cap-usd", [200] * 2 + [402]),
        ("cap-diem", [200] * 2 + [402]),
        ("expired", [200, 401]),
        ("unsupported-feature", [400] * 201 + [429]),
    ],
)
def test_a_load_passes_until_its_trouble_begins(name: str, statuses: list[int]) -> None:
    assert [status for status, _ in run(ALL_LOADS[name])] == statuses


@pytest.mark.parametrize("name", [name for name in LOADS if name != "abuse"])
def test_the_healthy_team_answers_what_runs_into_trouble_elsewhere(name: str) -> None:
    assert {status for status, _ in run(LOADS[name], "healthy")} == {200}


@pytest.mark.parametrize("name", [name for name in LOADS if name != "no-balance"])
def test_another_model_of_another_key_is_not_in_trouble(name: str) -> None:
    load, door = LOADS[name], open_door(name)
    sent(door, load)
    other = door.create()["apiKey"]
    body = {**SAY, "model": "qwen3-coder-480b"}
    assert door.ask("POST", CHAT, key=other, json=body).status_code == 200


@pytest.mark.parametrize("name", ["cap-usd", "cap-diem", "cap-zero"])
def test_a_cap_concerns_one_key(name: str) -> None:
    load, door = LOADS[name], open_door(name)
    sent(door, load)
    assert door.ask("POST", CHAT, key="inference", json=load.body).status_code == 402
    assert door.ask("POST", CHAT, key=door.create()["apiKey"], json=load.body).status_code == 200


@pytest.mark.parametrize("scenario", TROUBLES)
def test_no_trouble_is_there_before_it_was_caused(scenario: str) -> None:
    door = open_door(scenario)
    assert door.get("/api_keys/rate_limits/log")["data"] == []
    balance = door.get("/billing/balance")
    assert balance["canConsume"] is (scenario != "no-balance")
    team = [key for key in door.listed() if not (key.get("description") or "").startswith("venice-mcp sandbox")]
    assert len(team) == 4
    for key in team:
        spent = key["currentPeriodUsage"]
        caps = key["consumptionLimits"]
        assert all(float(spent[name]) < cap / 2 for name, cap in caps.items() if cap is not None)
        assert key["expiresAt"] is None


def test_an_answer_looks_like_openais() -> None:
    door = open_door("healthy")
    messages: list[Json] = [
        {"role": "system", "content": "x" * 9},
        {"role": "user", "content": [{"type": "text", "text": "y" * 4}, IMAGE]},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    body = {"model": "kimi-k2-6", "messages": messages, "max_completion_tokens": 7, "temperature": 0.5}
    answer = door.ask("POST", CHAT, key="inference", json=body).json()
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 7, "total_tokens": 11}
    assert (answer["object"], answer["model"]) == ("chat.completion", "kimi-k2-6")
    assert answer["choices"][0]["message"]["role"] == "assistant"
    plain = door.ask("POST", CHAT, key="admin", json=SAY).json()
    assert plain["usage"]["completion_tokens"] == 64
    assert plain["id"] != answer["id"]


def test_whoever_sends_no_key_is_told_that_a_wallet_could_pay() -> None:
    door = open_door("healthy")
    answer = door.ask("POST", CHAT, key=None, json=SAY)
    assert answer.status_code == 402
    assert answer.json() == {"x402Version": 2, "error": "Authentication required", "accepts": []}
    assert door.refusal("POST", CHAT, key="no such key", json=SAY) == (401, "Authentication failed")
    assert door.refusal("GET", "/billing/balance", key=None) == (401, "Authentication failed")


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": "x" * 201}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages"),
        ({"messages": [{"content": "hello"}]}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 10_000_000}, "max_tokens"),
        ({"max_completion_tokens": "64"}, "max_completion_tokens"),
        ({"tools": "all"}, "tools"),
        ({"stream": True}, "stream"),
    ],
)
def test_a_body_that_is_wrong_is_told_member_by_member(members: Json, wrong: str) -> None:
    answer = open_door("healthy").ask("POST", CHAT, key="inference", json={**SAY, **members})
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid request parameters")
    assert set(answer.json()["details"]) == {"_errors", wrong}


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"{}", "application/json", 400),
        (b'{"model": "\\ud800", "messages": [{"role": "user"}]}', "application/json", 400),
        (b"{}", "text/plain", 415),
    ],
)
def test_a_body_that_is_none_is_refused(content: bytes, kind: str, status: int) -> None:
    door = open_door("healthy")
    headers = {"Content-Type": kind}
    assert door.refusal("POST", CHAT, key="inference", content=content, headers=headers)[0] == status


def test_a_model_that_is_for_other_things_is_refused() -> None:
    door = open_door("healthy")
    body = {**SAY, "model": "venice-sd35"}
    assert door.refusal("POST", CHAT, key="inference", json=body) == (400, "Invalid model specified")


@pytest.mark.parametrize(
    ("model", "members", "feature"),
    [
        ("llama-3.2-3b", {"tools": [{"type": "function"}]}, "tools"),
        (MODEL, {"messages": [{"role": "user", "content": [IMAGE]}]}, "image_url"),
        (MODEL, {"tools": [{"type": "function"}]}, None),
        ("llama-3.2-3b", {"tools": None}, None),
    ],
)
def test_a_model_is_asked_only_for_what_it_can_do(model: str, members: Json, feature: str | None) -> None:
    door = open_door("healthy")
    answer = door.ask("POST", CHAT, key="inference", json={**SAY, "model": model, **members})
    if feature is None:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json()["error"]) == (400, f"{feature} is not supported by this model")


@pytest.mark.parametrize(("privacy", "status"), [("ALL", 200), ("PRIVATE_TEXT", 403), ("PRIVATE_ONLY", 403)])
def test_a_private_key_reaches_private_models_only(privacy: str, status: int) -> None:
    door = open_door("healthy")
    key = door.create(modelPrivacy=privacy)["apiKey"]
    assert door.ask("POST", CHAT, key=key, json={**SAY, "model": "gemini-3-6-flash"}).status_code == status
    assert door.ask("POST", CHAT, key=key, json={**SAY, "model": "e2ee-gpt-oss-120b"}).status_code == 200


# Each step mends what the answer before complained about, and only then the next complaint is heard.
def test_the_checks_come_in_their_order() -> None:
    door = open_door("healthy", control=True)

    def control(route: str, **body: object) -> None:
        assert door.ask("POST", f"/__control/{route}", key=None, json=body).status_code == 200

    key = door.create(modelPrivacy="PRIVATE_ONLY", ipAllowlist=["203.0.113.9"], consumptionLimit={"diem": 0, "usd": 0})
    gemini = "gemini-3-6-flash"
    body: Json = {"model": "gpt-6", "tools": 5}
    control("account", subscription_active=False, api_access=False)
    control("model", id=gemini, state="offline")
    control("model", id="llama-3.2-3b", state="at_capacity")
    control("limits", model="llama-3.2-3b", RPM=1)

    def heard() -> tuple[int, str]:
        status, error = door.refusal("POST", CHAT, key=key["apiKey"], json=body)
        return status, error[:40]

    assert heard() == (403, "Unauthorized access")
    door.update(key["id"], ipAllowlist=[])
    assert heard() == (401, "Authentication failed - Pro subscription")
    control("account", subscription_active=True)
    assert heard() == (403, "API access has been disabled for this ac")
    control("account", api_access=True)
    assert heard() == (400, "Invalid request parameters")
    body |= {"tools": [{"type": "function"}], "messages": SAY["messages"]}
    assert heard() == (404, "Specified model not found: gpt-6")
    body["model"] = gemini
    assert heard() == (403, "This API key is set to 'Private models o")
    body["model"] = "llama-3.2-3b"
    assert heard() == (503, "The model is at capacity. Please try aga")
    control("model", id="llama-3.2-3b", state="online")
    assert heard() == (400, "tools is not supported by this model")
    del body["tools"]
    assert heard() == (402, "API key DIEM spend limit exceeded. Your ")
    door.update(key["id"], consumptionLimit={"diem": None, "usd": None})
    assert door.ask("POST", CHAT, key=key["apiKey"], json=body).status_code == 200
    assert heard() == (429, "Rate limit exceeded")


def test_a_call_touches_its_key() -> None:
    door = open_door("healthy")
    key = door.create()
    door.clock.advance(minutes=5)
    door.ask("POST", CHAT, key=key["apiKey"], json=SAY)
    assert door.read(key["id"])["lastUsedAt"] == "2026-10-15T12:05:00.250Z"


def blocked_by(door: Door, body: Any) -> Json:
    """The newest row of the log after the failures that begin a block."""
    for _ in range(21):
        assert door.ask("POST", CHAT, key="inference", json=body).status_code < 429
    assert door.refusal("POST", CHAT, key="inference", json=SAY)[0] == 429
    return door.get("/api_keys/rate_limits/log")["data"][0]


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ({"model": MODEL}, MODEL),
        ({**SAY, "model": "gpt-6"}, "model:unknown"),
        ({"messages": SAY["messages"]}, "endpoint:api/v1/chat/completions"),
        ([], "endpoint:api/v1/chat/completions"),
    ],
)
def test_the_log_names_what_the_failed_requests_were_about(body: Any, about: str) -> None:
    door = open_door("healthy")
    row = blocked_by(door, body)
    own = next(key["id"] for key in door.listed() if key.get("description") == "venice-mcp sandbox inference")
    assert (row["apiKeyId"], row["rateLimitType"], row["modelId"]) == (own, "FAILED_REQUESTS", about)
