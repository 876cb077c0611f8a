import re
import uuid
from datetime import timedelta

from tests.sandbox.door import NOON, Door

SECRET = re.compile(r"VENICE_(ADMIN|INFERENCE)_KEY_SANDBOX_[A-Za-z0-9]{32}")


def test_a_created_key_is_recognisable_and_shows_its_secret_only_once(empty: Door) -> None:
    made = empty.create(apiKeyType="ADMIN")
    found = SECRET.fullmatch(made["apiKey"])
    assert found
    assert found.group(1) == "ADMIN"
    listed = empty.ask("GET", "/api_keys").text
    assert made["id"] in listed
    assert made["apiKey"] not in listed
    assert made["apiKey"] not in empty.ask("GET", f"/api_keys/{made['id']}").text


def test_a_created_key_works_at_once_with_the_type_it_was_given(empty: Door) -> None:
    made = empty.create(apiKeyType="ADMIN")
    assert empty.ask("GET", "/api_keys", key=made["apiKey"]).status_code == 200


def test_limits_are_singular_when_created_and_plural_when_read(empty: Door) -> None:
    made = empty.create(consumptionLimit={"usd": 0, "diem": 2.5, "vcu": 7}, limitPeriod="MONTH")
    assert made["consumptionLimit"] == {"usd": 0, "diem": 2.5, "vcu": 7}
    assert "consumptionLimits" not in made
    read = empty.read(made["id"])
    assert read["consumptionLimits"] == {"usd": 0, "diem": 2.5, "vcu": 7}
    assert "consumptionLimit" not in read


def test_a_key_made_of_the_bare_minimum_gets_the_defaults(empty: Door) -> None:
    made = empty.create()
    shown = (made["consumptionLimit"], made["limitPeriod"], made["modelPrivacy"], made["expiresAt"])
    assert shown == ({}, "EPOCH", "ALL", None)
    read = empty.read(made["id"])
    assert (read["createdAt"], read["lastUsedAt"]) == ("2026-10-15T12:00:00.250Z", None)
    assert read["last6Chars"] == made["apiKey"][-6:]
    uuid.UUID(made["id"])


def test_usage_is_in_list_and_get_but_not_in_the_answer_to_an_update(demo: Door) -> None:
    capped = next(key for key in demo.listed() if key.get("description") == "eval harness")
    assert set(demo.read(capped["id"])) >= {"usage", "currentPeriodUsage"}
    assert not {"usage", "currentPeriodUsage"} & set(demo.update(capped["id"], description="renamed"))


def test_only_keys_with_caps_show_what_they_used_of_them(demo: Door) -> None:
    for key in demo.listed():
        assert ("currentPeriodUsage" in key) == bool(key["consumptionLimits"])


def test_an_update_replaces_all_caps_so_one_left_out_is_gone(empty: Door) -> None:
    made = empty.create(consumptionLimit={"usd": 10, "diem": 4})
    updated = empty.update(made["id"], consumptionLimit={"usd": 20})
    assert updated["consumptionLimits"] == {"usd": 20, "diem": None}


def test_caps_are_cleared_by_null_and_kept_when_the_object_is_left_out(empty: Door) -> None:
    made = empty.create(consumptionLimit={"usd": 10})
    assert empty.update(made["id"], description="other")["consumptionLimits"]["usd"] == 10
    assert empty.update(made["id"], consumptionLimit={"usd": None})["consumptionLimits"] == {}


def test_an_update_changes_only_what_it_names(empty: Door) -> None:
    made = empty.create(limitPeriod="MONTH", modelPrivacy="PRIVATE_ONLY", expiresAt="2027-01-02")
    before = empty.read(made["id"])
    empty.update(made["id"], description="renamed")
    assert empty.read(made["id"]) == before | {"description": "renamed"}


def test_an_expiry_is_cleared_by_null_and_by_the_empty_string(empty: Door) -> None:
    for nothing in (None, ""):
        made = empty.create(expiresAt="2027-01-02T03:04:05Z")
        assert made["expiresAt"] == "2027-01-02T03:04:05.000Z"
        assert empty.update(made["id"], expiresAt=nothing)["expiresAt"] is None


def test_a_date_without_a_time_expires_at_its_first_moment(empty: Door) -> None:
    made = empty.create(expiresAt="2026-10-16")
    assert made["expiresAt"] == "2026-10-16T00:00:00.000Z"
    empty.clock.at = NOON.replace(hour=23, minute=59)
    assert empty.read(made["id"])
    empty.clock.at = NOON.replace(day=16, hour=0, microsecond=0)
    assert empty.ask("GET", f"/api_keys/{made['id']}").status_code == 404


def test_an_expired_key_is_gone_from_every_read_and_write(empty: Door) -> None:
    made = empty.create(apiKeyType="ADMIN", expiresAt="2026-10-15T13:00:00Z")
    key_id = made["id"]
    empty.clock.advance(hours=2)
    assert key_id not in [key["id"] for key in empty.listed()]
    assert empty.refusal("GET", "/api_keys", key=made["apiKey"]) == (401, "Authentication failed")
    assert empty.ask("GET", f"/api_keys/{key_id}").status_code == 404
    assert empty.ask("PATCH", "/api_keys", json={"id": key_id, "expiresAt": ""}).status_code == 400
    assert empty.ask("DELETE", "/api_keys", params={"id": key_id}).status_code == 400


def test_a_deleted_key_stops_working(empty: Door) -> None:
    made = empty.create(apiKeyType="ADMIN")
    assert empty.ask("DELETE", "/api_keys", params={"id": made["id"]}).json() == {"success": True}
    assert empty.refusal("GET", "/api_keys", key=made["apiKey"]) == (401, "Authentication failed")


def test_a_key_may_delete_itself_and_is_refused_from_then_on(empty: Door) -> None:
    made = empty.create(apiKeyType="ADMIN")
    answer = empty.ask("DELETE", "/api_keys", params={"id": made["id"]}, key=made["apiKey"])
    assert answer.status_code == 200
    assert empty.ask("GET", "/api_keys", key=made["apiKey"]).status_code == 401


def test_an_unknown_id_is_a_400_on_writes_and_a_404_on_the_read(empty: Door) -> None:
    unknown = str(uuid.uuid4())
    assert empty.ask("PATCH", "/api_keys", json={"id": unknown}).status_code == 400
    assert empty.ask("DELETE", "/api_keys", params={"id": unknown}).status_code == 400
    assert empty.refusal("GET", f"/api_keys/{unknown}") == (404, "API key not found")


def test_delete_without_an_id_deletes_nothing(empty: Door) -> None:
    before = [key["id"] for key in empty.listed()]
    for query in ("", "?id=", f"?id={before[0]}&id={before[1]}"):
        assert empty.ask("DELETE", f"/api_keys{query}").status_code == 400
    assert [key["id"] for key in empty.listed()] == before


def test_an_allowlist_is_shown_only_where_there_is_one(empty: Door) -> None:
    made = empty.create(ipAllowlist=["198.51.100.7", "2001:db8::/32"])
    assert made["ipAllowlist"] == ["198.51.100.7", "2001:db8::/32"]
    assert empty.read(made["id"])["ipAllowlist"] == made["ipAllowlist"]
    assert "ipAllowlist" not in empty.update(made["id"], ipAllowlist=[])
    assert "ipAllowlist" not in empty.create()


def test_the_period_usage_starts_again_with_the_period(demo: Door) -> None:
    def used(description: str) -> str:
        key = next(key for key in demo.listed() if key.get("description") == description)
        return key["currentPeriodUsage"]["usd"]

    month, lifetime = used("batch embeddings"), used("eval harness")
    assert float(month) > 0
    demo.clock.advance(days=17)  # into November
    assert used("batch embeddings") == "0.0000"
    assert used("eval harness") == lifetime != "0.0000"


def test_using_a_key_moves_its_last_use(empty: Door) -> None:
    def last_uses() -> dict[str, str | None]:
        return {key["apiKeyType"]: key["lastUsedAt"] for key in empty.listed()}

    assert last_uses() == {"ADMIN": "2026-10-15T12:00:00.250Z", "INFERENCE": None}
    empty.clock.advance(minutes=5)
    empty.get("/api_keys/rate_limits", key="inference")
    empty.clock.at += timedelta(minutes=1)
    assert last_uses() == {"ADMIN": "2026-10-15T12:06:00.250Z", "INFERENCE": "2026-10-15T12:05:00.250Z"}
