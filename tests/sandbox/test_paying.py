"""What calls cost: the bill, the analytics, the keys and the balances tell one story."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sandbox.door import NOON, Door, Json, open_door
from tests.sandbox.test_chat import CHAT, SAY
from venice_mcp.sandbox.loads import LOADS

MODELS = ["zai-org-glm-5-1", "kimi-k2-6", "llama-3.2-3b"]
CALL = st.tuples(st.sampled_from(MODELS), st.integers(1, 200_000), st.integers(0, 1), st.integers(0, 40))


def balances(door: Door) -> Json:
    return door.get("/billing/balance")["balances"]


def set_account(door: Door, **members: object) -> None:
    assert door.ask("POST", "/__control/account", key=None, json=members).status_code == 200


@settings(max_examples=12, deadline=None)
@given(st.lists(CALL, min_size=1, max_size=12))
def test_history_analytics_keys_and_balances_add_up(calls: list[tuple[str, int, int, int]]) -> None:
    door = open_door("empty", control=True, limits=False)
    set_account(door, usd_balance=1000, diem_balance=0.3)
    keys = [door.create(limitPeriod="MONTH", consumptionLimit={"usd": 900, "diem": 900}) for _ in range(2)]
    tokens = 0
    for model, max_tokens, key, pause_s in calls:
        body = {**SAY, "model": model, "max_tokens": max_tokens}
        answer = door.ask("POST", CHAT, key=keys[key]["apiKey"], json=body)
        tokens += answer.json()["usage"]["total_tokens"]
        door.clock.advance(seconds=pause_s)
    entries = door.get("/billing/usage-history")["data"]
    assert len(entries) == 2 * len(calls)
    assert [entry["timestamp"] for entry in entries] == sorted(entry["timestamp"] for entry in entries)
    billed = {
        currency: -sum(entry["amount"] for entry in entries if entry["currency"] == currency)
        for currency in ("USD", "DIEM")
    }
    analytics = door.get("/billing/usage-analytics")
    for rows in ("byModel", "byKey"):
        assert sum(row["totalUsd"] for row in analytics[rows]) == pytest.approx(billed["USD"])
        assert sum(row["totalDiem"] for row in analytics[rows]) == pytest.approx(billed["DIEM"])
        assert sum(row["totalUnits"] for row in analytics[rows]) == tokens
    shown = [door.read(key["id"]) for key in keys]
    for currency, name in (("USD", "usd"), ("DIEM", "diem")):
        assert sum(float(key["currentPeriodUsage"][name]) for key in shown) == pytest.approx(billed[currency], abs=1e-3)
    left = balances(door)
    assert left["usd"] == pytest.approx(1000 - billed["USD"])
    assert left["diem"] == pytest.approx(max(0, 0.3 - billed["DIEM"]))
    assert (billed["USD"] > 0) <= (left["diem"] == 0)
    requests = {entry["inferenceDetails"]["requestId"] for entry in entries}
    assert len(requests) == len(calls)


def test_diem_goes_first_and_then_usd() -> None:
    door = open_door("empty", control=True)
    set_account(door, usd_balance=5, diem_balance=0.001)
    currencies: list[str] = []
    for _ in range(3):
        door.ask("POST", CHAT, key="inference", json={**SAY, "max_tokens": 300})
        currencies.append(door.get("/billing/usage-history")["data"][-1]["currency"])
    assert currencies == ["DIEM", "DIEM", "USD"]


def test_a_cap_on_one_currency_leaves_the_other() -> None:
    door = open_door("healthy")
    key = door.create(consumptionLimit={"diem": 0})["apiKey"]
    before = balances(door)
    assert door.ask("POST", CHAT, key=key, json=SAY).status_code == 200
    assert balances(door)["diem"] == before["diem"]
    assert balances(door)["usd"] < before["usd"]


def test_the_cap_named_is_that_of_the_currency_that_is_left() -> None:
    for diem, named in ((1, "DIEM"), (0, "USD"), (None, "USD")):
        door = open_door("cap-zero", control=True)
        set_account(door, diem_balance=diem)
        status, error = door.refusal("POST", CHAT, key="inference", json=SAY)
        assert status == 402
        assert error.startswith(f"API key {named} spend limit exceeded.")


@pytest.mark.parametrize(
    ("period", "after"),
    [
        ("EPOCH", timedelta(hours=12)),
        ("MONTH", timedelta(days=16, hours=12)),
        ("LIFETIME", None),
    ],
)
def test_a_cap_ends_with_its_period(period: str, after: timedelta | None) -> None:
    door = open_door("empty", control=True)
    set_account(door, usd_balance=5)
    key = door.create(consumptionLimit={"usd": 0.01}, limitPeriod=period)["apiKey"]
    body = LOADS["cap-usd"].body

    def status() -> int:
        return door.ask("POST", CHAT, key=key, json=body).status_code

    assert [status() for _ in range(3)] == [200, 200, 402]
    door.clock.at = NOON + (after or timedelta(days=4000)) - timedelta(seconds=1)
    assert status() == 402
    door.clock.advance(seconds=1)
    assert status() == (200 if after else 402)


def test_diem_is_there_again_when_an_epoch_begins() -> None:
    door = open_door("no-balance")
    load = LOADS["no-balance"]
    assert door.refusal("POST", CHAT, key="inference", json=load.body)[0] == 402
    assert door.get("/billing/balance")["canConsume"] is False
    door.clock.at = NOON.replace(hour=23, minute=59, second=59)
    assert balances(door) == {"diem": 0.0, "usd": 0.0}
    door.clock.advance(seconds=1)
    assert balances(door) == {"diem": 5.0, "usd": 0.0}
    assert door.ask("POST", CHAT, key="inference", json=load.body).status_code == 200
    assert 0 < 5 - balances(door)["diem"] < 0.001


def test_what_the_last_call_costs_beyond_the_balance_is_forgiven() -> None:
    door = open_door("empty", control=True)
    set_account(door, usd_balance=0.00001)
    answer = door.ask("POST", CHAT, key="inference", json=SAY)
    assert (answer.status_code, answer.headers["x-venice-balance-usd"]) == (200, "0.00001")
    assert balances(door)["usd"] == 0
    assert door.ask("POST", CHAT, key="inference", json=SAY).status_code == 402


def test_a_call_was_made_at_the_moment_that_is_shown_of_it() -> None:
    door = open_door("healthy")
    door.clock.advance(microseconds=777)
    door.ask("POST", CHAT, key="inference", json=SAY)
    shown = door.get("/billing/usage-history")["data"][-1]["timestamp"]
    assert shown == "2026-10-15T12:00:00.250Z"
    counts = [
        len(door.get("/billing/usage-history", params={"startTimestamp": start})["data"])
        for start in (shown, "2026-10-15T12:00:00.2505Z")
    ]
    assert counts == [2, 0]


def test_a_refused_call_costs_nothing() -> None:
    door = open_door("cap-zero")
    before = door.get("/billing/usage-history"), balances(door)
    door.refusal("POST", CHAT, key="inference", json=SAY)
    assert (door.get("/billing/usage-history"), balances(door)) == before


@pytest.mark.parametrize("scenario", ["healthy", "cap-usd", "cap-diem"])
def test_what_a_small_team_spent_today_is_gone_from_its_diem(scenario: str) -> None:
    door = open_door(scenario)
    today = door.get("/billing/usage-analytics", params={"lookback": "1d"})["byDate"][0]
    month = door.get("/billing/usage-analytics", params={"lookback": "30d"})["byDate"]
    if scenario == "cap-usd":
        assert balances(door) == {"diem": None, "usd": 50.0}
        assert all(day["DIEM"] == 0 for day in month)
    else:
        assert balances(door)["diem"] == pytest.approx(20 - today["DIEM"])
        assert 0 < sum(day["DIEM"] for day in month) < 5
