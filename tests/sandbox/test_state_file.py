import json
import stat
import sys
from pathlib import Path

import pytest

from tests.sandbox.door import Clock, Door, open_door
from tests.sandbox.test_chat import CHAT, SAY
from venice_mcp.sandbox import StateFileError, create_app
from venice_mcp.sandbox.troubles import MODEL


def test_keys_and_secrets_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    before = open_door("empty", state_file=file)
    made = before.create(
        apiKeyType="ADMIN", consumptionLimit={"usd": 5}, ipAllowlist=["127.0.0.1"], expiresAt="2027-01-01"
    )
    before.create(description="gone")
    before.ask("DELETE", "/api_keys", params={"id": before.listed()[-1]["id"]})
    after = open_door("large", state_file=file)
    assert after.sandbox.admin_key == before.sandbox.admin_key
    assert after.sandbox.inference_key == before.sandbox.inference_key
    assert after.sandbox.keys() == before.sandbox.keys()
    assert len(after.get("/api_keys", key=made["apiKey"])["data"]) == 3


def test_usage_log_clock_cursors_and_stakes_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    before = open_door("demo", state_file=file, control=True)
    before.ask("POST", "/__control/clock", key=None, json={"advance_s": 60})
    before.ask("POST", "/__control/unstaked", key=None, json={"address": "0x" + "1" * 40})
    for _ in range(21):
        before.ask("GET", "/api_keys/none")
    later = Clock()
    later.advance(days=2)
    after = open_door("demo", state_file=file, control=True, now=later)
    assert after.sandbox.now() == later.at.replace(minute=1)
    log = after.get("/api_keys/rate_limits/log")["data"]
    assert (len(log), log[0]["rateLimitType"]) == (41, "FAILED_REQUESTS")
    before.clock.advance(minutes=1)
    page = before.get("/billing/usage-history", params={"pageSize": 10})
    assert after.get("/billing/usage-history", params={"pageSize": 10})["data"] == page["data"]
    shown = after.ask("POST", "/__control/unstaked", key=None, json={"address": "0x" + "2" * 40}).json()["unstaked"]
    assert "0x" + "1" * 40 in shown


def test_what_calls_have_used_and_what_stands_in_their_way_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    before = open_door("rpm", state_file=file, control=True)
    conditions = {"usd_balance": 7.5, "can_consume": True, "access_permitted": False}
    model = {"id": "kimi-k2-6", "state": "offline"}
    for route, body in (("account", conditions), ("model", model), ("limits", {"model": MODEL, "TPM": 900})):
        assert before.ask("POST", f"/__control/{route}", key=None, json=body).status_code == 200
    before.ask("POST", "/__control/account", key=None, json={"access_permitted": True})
    for _ in range(5):
        assert before.ask("POST", CHAT, key="inference", json=SAY).status_code == 200

    def everything(door: Door) -> list[object]:
        models = door.get("/models", key=None)
        analytics = door.get("/billing/usage-analytics")
        rest = [door.get(f"/{path}") for path in ("billing/usage-history", "billing/balance", "api_keys/rate_limits")]
        usage = [(key["id"], key["usage"]) for key in door.listed()]
        return [models, analytics, usage, *rest]

    after = open_door("empty", state_file=file)
    assert everything(after) == everything(before)
    answer = after.ask("POST", CHAT, key="inference", json=SAY)
    assert (answer.status_code, answer.headers["x-ratelimit-remaining-requests"]) == (429, "0")


def test_diem_of_an_epoch_that_has_ended_meanwhile_is_there_again_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    before = open_door("no-balance", state_file=file)
    assert before.get("/billing/balance")["balances"]["diem"] == 0
    later = Clock()
    later.advance(days=1)
    after = open_door("no-balance", state_file=file, now=later)
    assert after.get("/billing/balance")["balances"]["diem"] == 5
    after.ask("POST", CHAT, key="inference", json=SAY)
    spent = after.get("/billing/balance")["balances"]["diem"]
    assert spent < 5
    again = open_door("no-balance", state_file=file, now=later)
    assert again.get("/billing/balance")["balances"]["diem"] == spent


def test_a_state_file_from_before_calls_were_charged_still_loads(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    before = open_door("demo", state_file=file)
    state = json.loads(file.read_text())
    later = ("usd_balance", "diem_balance", "diem_allocation", "diem_epoch", "conditions", "charged")
    file.write_text(json.dumps({name: value for name, value in state.items() if name not in later}))
    after = open_door("demo", state_file=file)
    for path in ("billing/balance", "billing/usage-history", "api_keys/rate_limits"):
        assert after.get(f"/{path}") == before.get(f"/{path}")


def test_a_deleted_admin_key_does_not_come_back_with_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    door = open_door("empty", state_file=file)
    door.ask("DELETE", "/api_keys", params={"id": door.listed()[0]["id"]})
    assert open_door("empty", state_file=file).ask("GET", "/api_keys").status_code == 401


def test_a_given_secret_replaces_the_stored_one(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    old = open_door("empty", state_file=file).sandbox.admin_key
    door = open_door("empty", state_file=file, admin_key="VENICE_ADMIN_KEY_SANDBOX_new")
    assert len(door.listed()) == 2
    assert door.ask("GET", "/api_keys", key=old).status_code == 401


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_state_file_is_readable_by_its_owner_only_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    open_door("empty", state_file=file).create()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 99}', '{"version": 1, "scenario": "none"}'])
def test_a_file_that_is_no_state_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(text)
    with pytest.raises(StateFileError, match=r"state\.json is not a state file"):
        create_app(state_file=file)
    assert file.read_text() == text
