import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.door import NOON, Door, Json, open_door
from venice_mcp import settings
from venice_mcp.sandbox import SCENARIOS, create_app
from venice_mcp.sandbox.scenarios import build
from venice_mcp.sandbox.troubles import TROUBLES


def _age(key: Json, member: str) -> timedelta | None:
    return NOON - datetime.fromisoformat(key[member]) if key[member] else None


def test_each_scenario_has_the_number_of_keys_it_promises() -> None:
    counts = {scenario: len(open_door(scenario).listed()) for scenario in SCENARIOS}
    assert counts == dict.fromkeys(TROUBLES, 6) | {"empty": 2, "demo": 25, "large": 500}


def test_settings_offer_the_scenarios_that_there_are() -> None:
    assert tuple(SCENARIOS) == settings.SCENARIOS


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown scenario 'busy'; expected one of empty, demo, large"):
        create_app(scenario="busy")


def test_the_demo_team_shows_everything_an_audit_should_notice(demo: Door) -> None:
    keys = demo.listed()
    team = keys[2:]
    assert {key["apiKeyType"] for key in team} == {"ADMIN", "INFERENCE"}
    assert {key["limitPeriod"] for key in keys if key["consumptionLimits"]} == {"EPOCH", "MONTH", "LIFETIME"}
    assert {key["modelPrivacy"] for key in keys} == {"ALL", "PRIVATE_TEXT", "PRIVATE_ONLY"}
    ages = [_age(key, "lastUsedAt") for key in team]
    assert None in ages
    assert any(age >= timedelta(days=200) for age in ages if age)
    assert any(age < timedelta(minutes=10) for age in ages if age)
    left = [-age for key in team if (age := _age(key, "expiresAt"))]
    assert timedelta(days=3) in left
    assert [key["description"] for key in team if "ipAllowlist" in key] == ["production-worker"]
    names = Counter(key.get("description") for key in keys)
    assert names["ci-pipeline"] == 2
    assert names[None] == 1


def test_two_demo_keys_share_their_last_six_characters(demo: Door) -> None:
    shared = Counter(key["last6Chars"] for key in demo.listed())
    assert sorted(shared.values())[-2:] == [1, 2]


def test_the_demo_log_holds_bursts(demo: Door) -> None:
    log = demo.get("/api_keys/rate_limits/log")["data"]
    assert len(log) == 40
    assert [row["timestamp"] for row in log] == sorted((row["timestamp"] for row in log), reverse=True)
    first = [datetime.fromisoformat(row["timestamp"]) for row in log[:14]]
    assert first[0] - first[-1] < timedelta(minutes=2)
    known = {key["id"] for key in demo.listed()}
    assert {row["apiKeyId"] for row in log} <= known


def test_no_key_was_last_used_before_its_newest_bill(demo: Door) -> None:
    for row in demo.get("/billing/usage-analytics", params={"lookback": "1d"})["byKey"]:
        if row["apiKeyId"]:
            assert (demo.read(row["apiKeyId"])["lastUsedAt"] or "") >= "2026-10-15"


def test_a_scenario_is_the_same_every_time_except_for_its_own_secrets() -> None:
    first, second = open_door("demo"), open_door("demo")
    assert first.listed()[2:] == second.listed()[2:]
    assert first.sandbox.admin_key != second.sandbox.admin_key


@pytest.mark.parametrize("scenario", ["demo", "large", "cap-diem"])
def test_a_scenario_is_as_old_whenever_it_begins(scenario: str) -> None:
    """To the microsecond for keys and hits, while a bill shows whole milliseconds."""

    def ages(began_at: datetime) -> list[object]:
        account = build(scenario, began_at, ("admin", "inference"))
        shown = began_at.replace(microsecond=began_at.microsecond // 1000 * 1000)
        billed = {entry.at for entry in account.usage}
        keys = [
            replace(key, created_at=None, expires_at=None, last_used_at=None).__dict__
            | {
                "created": key.created_at and began_at - key.created_at,
                "expires": key.expires_at and began_at - key.expires_at,
                "used": key.last_used_at and (shown if key.last_used_at in billed else began_at) - key.last_used_at,
            }
            for key in account.keys.values()
        ]
        bills = [entry.__dict__ | {"at": shown - entry.at} for entry in account.usage]
        return [keys, bills, [(hit.api_key_id, hit.kind, began_at - hit.at) for hit in account.hits]]

    starts = (NOON, NOON.replace(microsecond=999), datetime(2028, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC))
    first, *others = (ages(at) for at in starts)
    assert first[1]
    assert others == [first, first]


def test_accounts_of_a_scenario_share_nothing_that_changes() -> None:
    one, other = (build("demo", NOON, ("admin", "inference")) for _ in range(2))
    for key in one.keys.values():
        key.caps["usd"] = -1
    one.charge(one.usage[:1])
    one.log(one.hits[0])
    assert all(key.caps.get("usd") != -1 for key in other.keys.values())
    assert (len(other.usage), len(other.hits)) == (len(one.usage) - 1, len(one.hits) - 1)


def test_given_secrets_are_the_ones_that_work() -> None:
    door = open_door("empty", admin_key="VENICE_ADMIN_KEY_SANDBOX_mine", inference_key="other")
    assert door.sandbox.admin_key == "VENICE_ADMIN_KEY_SANDBOX_mine"
    assert door.ask("GET", "/api_keys", key="VENICE_ADMIN_KEY_SANDBOX_mine").status_code == 200
    assert door.ask("GET", "/api_keys/rate_limits", key="other").status_code == 200


def test_control_routes_are_absent_unless_asked_for() -> None:
    door = open_door("empty")
    for method, path in (
        ("POST", "clock"),
        ("POST", "unstaked"),
        ("POST", "touch"),
        ("POST", "account"),
        ("POST", "model"),
        ("POST", "limits"),
        ("GET", "state"),
    ):
        assert door.ask(method, f"/__control/{path}").status_code == 404
        assert door.ask(method, f"http://sandbox/__control/{path}").status_code == 404


@pytest.mark.parametrize("root", ["http://sandbox/__control", "/__control"])
def test_the_clock_is_moved_by_control(empty: Door, root: str) -> None:
    made = empty.create(expiresAt="2026-10-16")
    assert empty.ask("POST", f"{root}/clock", key=None, json={"advance_s": 12 * 3600}).status_code == 200
    assert empty.ask("GET", f"/api_keys/{made['id']}").status_code == 404
    for bad in ({"advance_s": -1}, {"advance_s": True}, {"advance_s": "1"}, {}):
        assert empty.ask("POST", f"{root}/clock", key=None, json=bad).status_code == 400


def test_a_key_is_marked_as_used_by_control(demo: Door) -> None:
    unused = next(key for key in demo.listed()[2:] if key["lastUsedAt"] is None)
    body = {"id": unused["id"], "last_used_at": "2026-10-15T11:59:00Z"}
    assert demo.ask("POST", "/__control/touch", key=None, json=body).status_code == 200
    assert demo.read(unused["id"])["lastUsedAt"] == "2026-10-15T11:59:00.000Z"
    assert demo.ask("POST", "/__control/touch", key=None, json={**body, "id": "none"}).status_code == 400


def test_control_shows_masked_keys_and_how_often_each_operation_was_called(empty: Door) -> None:
    made = empty.create()
    empty.listed()
    empty.refusal("GET", "/api_keys/none")
    answer = empty.ask("GET", "/__control/state", key=None)
    assert answer.json()["requests"] == {"createApiKey": 1, "getApiKeys": 1, "getApiKeyById": 1}
    shown = answer.json()["keys"][-1]
    assert (shown["id"], shown["secret"]) == (made["id"], f"...{made['apiKey'][-6:]}")
    for secret in (made["apiKey"], empty.sandbox.admin_key):
        assert secret not in answer.text


def test_the_test_view_of_keys_holds_the_secrets(empty: Door) -> None:
    admin, inference = empty.sandbox.keys()
    assert admin["secret"] == empty.sandbox.admin_key
    assert inference["secret"] == empty.sandbox.inference_key


def test_importing_the_sandbox_loads_neither_a_server_nor_wallet_code_nor_the_rest_of_the_package() -> None:
    code = (
        "import sys, venice_mcp.sandbox\n"
        "own = [n for n in sys.modules if n.startswith('venice_mcp.')]\n"
        "other = ('uvicorn', 'eth_account', 'pydantic', 'httpx')\n"
        "print([n for n in own if not n.startswith('venice_mcp.sandbox')])\n"
        "print([n for n in other if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]
