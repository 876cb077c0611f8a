"""What control routes change of an account, and where it shows."""

import pytest

from tests.sandbox.door import Door, Json, open_door
from tests.sandbox.test_chat import CHAT, SAY
from venice_mcp.sandbox.troubles import MODEL


def control(door: Door, route: str, **body: object) -> Json:
    answer = door.ask("POST", f"/__control/{route}", key=None, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("flag", ["access_permitted", "api_access"])
def test_an_account_that_may_not_call_models_still_reads_why(flag: str) -> None:
    door = open_door("healthy", control=True)
    control(door, "account", **{flag: False})
    for key in ("inference", "admin"):
        assert door.get("/api_keys/rate_limits", key=key)["data"]["accessPermitted"] is False
        assert door.refusal("POST", CHAT, key=key, json=SAY)[0] == 403
    control(door, "account", **{flag: True})
    assert door.get("/api_keys/rate_limits")["data"]["accessPermitted"] is True
    assert door.ask("POST", CHAT, key="inference", json=SAY).status_code == 200


def test_an_inactive_subscription_leaves_only_what_an_admin_key_manages() -> None:
    door = open_door("healthy", control=True)
    control(door, "account", subscription_active=False)
    text = (
        "Authentication failed - Pro subscription is inactive."
        " Please upgrade your subscription to continue using the API"
    )
    for method, path in (("GET", "/api_keys/rate_limits"), ("GET", "/api_keys"), ("POST", CHAT)):
        assert door.refusal(method, path, key="inference") == (401, text)
    assert door.refusal("POST", CHAT, key="admin", json=SAY) == (401, text)
    assert door.get("/api_keys/rate_limits")["data"]["accessPermitted"] is False
    assert len(door.listed()) == 6
    assert door.ask("GET", "/models", key=None).status_code == 200


@pytest.mark.parametrize(("given", "shown"), [(False, False), (True, True), (None, True)])
def test_whether_an_account_can_consume_may_be_said_against_its_balance(given: bool | None, shown: bool) -> None:
    door = open_door("healthy", control=True)
    control(door, "account", can_consume=given)
    balance = door.get("/billing/balance")
    assert (balance["canConsume"], balance["consumptionCurrency"]) == (shown, "DIEM" if shown else None)
    assert balance["balances"]["usd"] == 50
    assert door.ask("POST", CHAT, key="inference", json=SAY).status_code == (200 if shown else 402)


def test_balances_are_set_and_unset() -> None:
    door = open_door("empty", control=True)
    control(door, "account", usd_balance=3, diem_balance=2.5)
    balance = door.get("/billing/balance")
    assert balance["balances"] == {"usd": 3, "diem": 2.5}
    assert balance["diemEpochAllocation"] == 2.5
    control(door, "account", diem_balance=1)
    assert door.get("/billing/balance")["diemEpochAllocation"] == 2.5
    door.clock.advance(days=1)
    assert door.get("/billing/balance")["balances"]["diem"] == 2.5
    door.clock.advance(days=3)
    control(door, "account", diem_balance=0)
    assert door.get("/billing/balance")["balances"]["diem"] == 0, "it was set in this epoch, which goes on"
    control(door, "account", diem_balance=None)
    balance = door.get("/billing/balance")
    assert (balance["balances"], balance["diemEpochAllocation"]) == ({"usd": 3, "diem": None}, 0)


def test_a_model_that_is_offline_is_listed_as_such() -> None:
    door = open_door("overload", control=True)

    def offline() -> set[str]:
        listed = door.get("/models", key=None, params={"type": "all"})["data"]
        return {model["id"] for model in listed if model["model_spec"]["offline"]}

    # Being at capacity or overloaded passes, and shows nowhere.
    assert offline() == {"llama-3.2-3b"}
    control(door, "model", id="llama-3.2-3b", state="online")
    control(door, "model", id=MODEL, state="offline")
    assert offline() == {MODEL}


def test_limits_that_were_changed_are_shown() -> None:
    door = open_door("healthy", control=True)
    control(door, "limits", model=MODEL, RPM=3)
    control(door, "limits", model=MODEL, TPM=99)
    shown = door.get("/api_keys/rate_limits", key="inference")["data"]["rateLimits"]
    limits = next(row["rateLimits"] for row in shown if row["apiModelId"] == MODEL)
    assert {row["type"]: row["amount"] for row in limits} == {"RPM": 3, "RPD": 30_000, "TPM": 99}


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("account", {}),
        ("account", {"balance": 1}),
        ("account", {"usd_balance": None}),
        ("account", {"usd_balance": -1}),
        ("account", {"usd_balance": "1"}),
        ("account", {"usd_balance": True}),
        ("account", {"diem_balance": 1e10}),
        ("account", {"can_consume": "no"}),
        ("account", {"subscription_active": None}),
        ("account", {"usd_balance": 1, "api_access": 0}),
        ("model", {}),
        ("model", {"id": MODEL}),
        ("model", {"id": MODEL, "state": "asleep"}),
        ("model", {"id": "gpt-6", "state": "offline"}),
        ("limits", {"model": MODEL}),
        ("limits", {"RPM": 5}),
        ("limits", {"model": "gpt-6", "RPM": 5}),
        ("limits", {"model": MODEL, "RPM": 0}),
        ("limits", {"model": MODEL, "RPM": 1.5}),
        ("limits", {"model": MODEL, "rpm": 5}),
    ],
)
def test_what_control_cannot_use_changes_nothing(route: str, body: Json) -> None:
    door = open_door("healthy", control=True)
    before = door.get("/billing/balance"), door.get("/api_keys/rate_limits")
    answer = door.ask("POST", f"/__control/{route}", key=None, json=body)
    assert answer.status_code == 400
    assert "expected" in answer.json()["error"]
    assert (door.get("/billing/balance"), door.get("/api_keys/rate_limits")) == before


def test_one_sandbox_changes_nothing_of_another() -> None:
    control(open_door("rpm", control=True), "limits", model=MODEL, RPM=1)
    control(open_door("overload", control=True), "model", id=MODEL, state="online")
    limits = open_door("rpm").get("/api_keys/rate_limits")["data"]["rateLimits"]
    assert {"type": "RPM", "amount": 5} in next(row["rateLimits"] for row in limits if row["apiModelId"] == MODEL)
    assert open_door("overload").refusal("POST", CHAT, key="inference", json=SAY)[0] == 429
