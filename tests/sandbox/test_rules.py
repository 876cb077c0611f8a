import json
from typing import Any

import pytest

from tests.sandbox.bodies import BAD_MEMBERS, GOOD
from tests.sandbox.door import Door


@pytest.mark.parametrize(("member", "value"), BAD_MEMBERS)
def test_a_bad_member_is_refused_by_name_on_create_and_update(empty: Door, member: str, value: Any) -> None:
    before = empty.listed()
    for method, good in (("POST", GOOD), ("PATCH", {"id": before[1]["id"]})):
        answer = empty.ask(method, "/api_keys", json={**good, member: value})
        assert answer.status_code == 400
        assert answer.json()["error"] == "Invalid request parameters"
        assert member in json.dumps(answer.json()["details"])
    assert empty.listed() == before


@pytest.mark.parametrize("left_out", ["apiKeyType", "description"])
def test_create_needs_a_type_and_a_description(empty: Door, left_out: str) -> None:
    answer = empty.ask("POST", "/api_keys", json={key: GOOD[key] for key in GOOD if key != left_out})
    assert answer.json()["details"] == {"_errors": [], left_out: {"_errors": ["Required"]}}


def test_a_null_expiry_is_refused_on_create_and_accepted_on_update(empty: Door) -> None:
    assert empty.ask("POST", "/api_keys", json={**GOOD, "expiresAt": None}).status_code == 400
    empty.update(empty.create()["id"], expiresAt=None)


def test_an_expiry_in_the_past_is_refused(empty: Door) -> None:
    for past in ("2026-10-15", "2026-10-15T12:00:00.250Z", "1999-12-31T23:59:59Z"):
        assert empty.ask("POST", "/api_keys", json={**GOOD, "expiresAt": past}).status_code == 400
    assert empty.create(expiresAt="2026-10-15T12:00:00.251Z")


def test_the_type_of_a_key_cannot_be_changed(empty: Door) -> None:
    key_id = empty.create()["id"]
    answer = empty.ask("PATCH", "/api_keys", json={"id": key_id, "apiKeyType": "ADMIN"})
    assert answer.status_code == 400
    assert empty.read(key_id)["apiKeyType"] == "INFERENCE"


def test_update_needs_an_id(empty: Door) -> None:
    answer = empty.ask("PATCH", "/api_keys", json={"description": "whose?"})
    assert answer.json()["details"]["id"] == {"_errors": ["Required"]}


def test_the_length_of_a_description_counts_utf_16_units(empty: Door) -> None:
    assert empty.create(description="é" * 64)["description"] == "é" * 64
    assert empty.create(description="🔑" * 32)["description"] == "🔑" * 32
    assert empty.ask("POST", "/api_keys", json={**GOOD, "description": "🔑" * 33}).status_code == 400


def test_the_largest_caps_and_allowlist_are_accepted(empty: Door) -> None:
    made = empty.create(consumptionLimit={"usd": 9_999_999_999}, ipAllowlist=["10.0.0.1"] * 100)
    assert made["consumptionLimit"]["usd"] == 9_999_999_999
    assert len(made["ipAllowlist"]) == 100


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"apiKeyType": "ADMIN", "description": "x", "consumptionLimit": {"usd": NaN}}',
        b'{"apiKeyType": "ADMIN", "description": "x", "consumptionLimit": {"usd": 1e999}}',
        b'{"apiKeyType": "ADMIN", "description": "\xff"}',
        b'{"apiKeyType": "ADMIN", "description": "\\ud800"}',
        '{"apiKeyType": "ADMIN", "description": "x"}'.encode("utf-16"),
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_json_object_is_a_400(empty: Door, body: bytes) -> None:
    answer = empty.ask("POST", "/api_keys", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["details"]


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type_is_a_415(empty: Door, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    for method, path in (
        ("POST", "/api_keys"),
        ("PATCH", "/api_keys"),
        ("POST", "/api_keys/generate_web3_key"),
    ):
        refusal = empty.refusal(method, path, content=json.dumps(GOOD).encode(), headers=headers)
        assert refusal == (415, "Invalid request content-type")


def test_parameters_of_the_content_type_do_not_matter(empty: Door) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    answer = empty.ask("POST", "/api_keys", content=json.dumps(GOOD).encode(), headers=headers)
    assert answer.status_code == 200
