import ast
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.contract.contract import HERE, Contract, check_request, check_response

ROOT = Path(__file__).parents[2]
KEYED = {"Authorization": "Bearer some-key"}
JSON = {"Content-Type": "application/json"}


def _sent(body: object) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body"),
    [
        ("GET", "/api_keys", {}, KEYED, None),
        ("GET", "/api/v1/api_keys/rate_limits/log", {}, KEYED, b""),
        ("GET", "/models", {"type": "all"}, {}, None),
        ("GET", "/models", {}, KEYED, None),
        ("GET", "/billing/usage-history", {"pageSize": "10", "currency": "USD"}, KEYED, None),
        ("GET", "/billing/usage-history", [("startTimestamp", "2026-10-01T00:00:00.123456789Z")], KEYED, None),
        ("DELETE", "/api_keys", {"id": "x"}, KEYED, None),
        ("PATCH", "/api_keys", {}, KEYED | JSON, _sent({"id": "x", "expiresAt": None})),
        ("PATCH", "/api_keys", {}, KEYED | JSON, _sent({"id": "x", "consumptionLimit": {"usd": None}})),
    ],
)
def test_a_request_within_the_contract_passes(
    method: str, path: str, query: Any, headers: dict[str, str], body: bytes | None
) -> None:
    assert check_request(method, path, query, headers, body)


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body", "said"),
    [
        ("PUT", "/api_keys", {}, KEYED, None, "no operation"),
        ("GET", "/api_keys/a/b", {}, KEYED, None, "no operation"),
        ("GET", "/api_keys", {}, {}, None, "getApiKeys needs a key"),
        ("GET", "/api_keys", {}, {"Authorization": "some-key"}, None, "getApiKeys needs a key"),
        ("GET", "/billing/usage", {}, KEYED, None, "shows it one"),
        ("GET", "/api_keys/generate_web3_key", {}, KEYED, None, "shows it one"),
        ("GET", "/api_keys", {"page": "2"}, KEYED, None, "page of getApiKeys is not in the contract"),
        ("GET", "/billing/usage-history", {"pageSize": "9"}, KEYED, None, "pageSize"),
        ("GET", "/billing/usage-history", {"pageSize": "ten"}, KEYED, None, "pageSize"),
        ("GET", "/billing/usage-history", {"startTimestamp": "2026-02-30T00:00:00Z"}, KEYED, None, "date-time"),
        ("GET", "/billing/usage-history", [("currency", "USD")] * 2, KEYED, None, "more than once"),
        ("GET", "/billing/usage-analytics", {"lookback": "7d\n"}, KEYED, None, "lookback"),
        ("GET", "/api_keys", {}, KEYED | JSON, b"{}", "takes no body"),
        ("PATCH", "/api_keys", {}, KEYED, _sent({"id": "x"}), "a bare body"),
        ("PATCH", "/api_keys", {}, KEYED | JSON, b"{", "not JSON"),
        ("PATCH", "/api_keys", {}, KEYED | JSON, b'{"id": NaN}', "not JSON"),
        ("PATCH", "/api_keys", {}, KEYED | JSON, _sent({}), "'id' is a required property"),
        ("PATCH", "/api_keys", {}, KEYED | JSON, _sent({"id": "x", "apiKeyType": "ADMIN"}), "apiKeyType"),
        ("PATCH", "/api_keys", {}, KEYED | JSON, _sent({"id": "x", "consumptionLimit": {"usd": True}}), "usd: True"),
    ],
)
def test_a_request_outside_the_contract_is_named(
    method: str, path: str, query: Any, headers: dict[str, str], body: bytes | None, said: str
) -> None:
    with pytest.raises(AssertionError, match=said):
        check_request(method, path, query, headers, body)


@pytest.mark.parametrize(
    ("path", "status", "headers", "body", "said"),
    [
        ("/api_keys", 418, JSON, b"{}", "418 of getApiKeys is not in the contract"),
        ("/api_keys", 200, {"Content-Type": "text/html"}, b"", "is text/html"),
        ("/api_keys", 200, JSON, b"", "not JSON"),
        ("/api_keys", 200, JSON, _sent({"object": "list"}), "'data' is a required property"),
        ("/api_keys", 200, JSON, _sent({"object": "list", "data": [], "more": 1}), "more"),
        ("/api_keys", 401, JSON, _sent({"error": {"message": "no"}}), "error: "),
        ("/api_keys", 401, JSON | {"X-RateLimit-Type": "nobody"}, _sent({"error": "no"}), "x-ratelimit-type"),
        ("/billing/usage-history", 200, {"Content-Type": "text/csv", "x-next-cursor": "*"}, b"", "x-next-cursor"),
    ],
)
def test_an_answer_outside_the_contract_is_named(
    path: str, status: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    with pytest.raises(AssertionError, match=said):
        check_response("GET", path, status, headers, body)


def test_a_value_that_may_be_null_may_also_be_what_it_is_declared_to_be() -> None:
    for currency in ("USD", None):
        body: dict[str, Any] = {
            "canConsume": True,
            "consumptionCurrency": currency,
            "balances": {"diem": None, "usd": 1.5},
            "diemEpochAllocation": 0,
        }
        assert check_response("GET", "/billing/balance", 200, JSON, _sent(body)) == "getBillingBalance"


def test_an_overlay_entry_that_nothing_used_is_named() -> None:
    contract = Contract.load()
    unknown = ("unknown-id-read", "getApiKeyById")
    assert f"{unknown[0]}: {unknown[1]}" in contract.unused()
    contract.check_response("GET", "/api_keys/x", 404, JSON, _sent({"error": "API key not found"}))
    assert f"{unknown[0]}: {unknown[1]}" not in contract.unused()


def test_every_overlay_entry_says_where_it_is_from_when_and_why() -> None:
    entries = Contract.load().entries
    assert len({entry["id"] for entry in entries}) == len(entries)
    for entry in entries:
        assert entry["kind"] in ("member", "status", "header", "route", "choice")
        assert entry["source"]
        assert entry["why"]
        assert date.fromisoformat(entry["date"])


def test_every_choice_of_the_sandbox_is_shown_by_a_test_that_exists() -> None:
    for entry in Contract.load().entries:
        if entry["kind"] == "choice":
            file, _, name = entry["shown_by"].partition("::")
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert name in names, f"{entry['id']}: {file} has no {name}"


def test_the_contract_holds_no_prose() -> None:
    text = (HERE / "venice-openapi.json").read_text(encoding="utf-8")
    assert '"example"' not in text
    assert '"x-slice"' not in text
    assert json.loads(text)["info"]["version"] == "20260821.193530"
