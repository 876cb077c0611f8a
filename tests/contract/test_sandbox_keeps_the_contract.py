"""Every answer of the sandbox, good or bad, is one that Venice's contract or our overlay knows."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from tests.contract.contract import Contract
from tests.sandbox.bodies import BAD_MEMBERS, GOOD
from tests.sandbox.door import Door, open_door
from venice_mcp.sandbox.access import Access
from venice_mcp.sandbox.operations import OPERATIONS

BODY_OPERATIONS = (
    ("POST", "/api_keys", "admin"),
    ("PATCH", "/api_keys", "admin"),
    ("POST", "/api_keys/generate_web3_key", None),
)
# What the sandbox has beyond the contract is held against the contract by nobody; tests/sandbox/test_chat.py does more.
BEYOND = Contract.load().beyond
WITHIN = [each for each in OPERATIONS if (each.name, each.method, each.path) not in BEYOND]
SAMPLES = [(operation, operation.method, operation.path.replace("{id}", "none")) for operation in WITHIN]
# Where the sandbox refuses what the contract, taken literally, lets through: the schema has no word for it.
STRICTER = (
    ("expiresAt", "2027-02-30"),
    ("ipAllowlist", ["10.0.0.256"]),
    ("ipAllowlist", ["10.0.0.0/33"]),
)


def _watching(contract: Contract) -> Callable[[httpx.Response], None]:
    def watch(response: httpx.Response) -> None:
        request = response.request
        method, path = request.method, request.url.path
        if response.status_code < 400:
            query = request.url.params.multi_items()
            contract.check_request(method, path, query, request.headers, request.content)
        contract.check_response(method, path, response.status_code, response.headers, response.content)

    return watch


def _use_everything(door: Door) -> None:
    made = door.create(apiKeyType="ADMIN", consumptionLimit={"usd": 5, "vcu": 1}, ipAllowlist=["203.0.113.9"])
    door.create(expiresAt="2027-01-01", modelPrivacy="PRIVATE_TEXT", limitPeriod="LIFETIME")
    door.read(made["id"])
    door.listed()
    door.update(made["id"], ipAllowlist=["203.0.113.0/24"], consumptionLimit={"diem": None}, expiresAt=None)
    door.get("/api_keys/rate_limits", key="inference")
    door.get("/api_keys/rate_limits/log")
    door.get("/billing/balance")
    door.get("/billing/usage-analytics", params={"lookback": "30d"})
    door.get("/billing/usage-analytics", params={"startDate": "2026-10-01", "endDate": "2026-10-02"})
    page = door.get("/billing/usage-history", params={"pageSize": 10, "currency": "USD"})
    door.get("/billing/usage-history", params={"cursor": page["nextCursor"]})
    door.ask("GET", "/billing/usage-history", params={"pageSize": 10}, headers={"Accept": "text/csv"})
    for wanted in ("all", "code", "text"):
        door.get("/models", key=None, params={"type": wanted})
    door.ask("GET", "/billing/usage", key=None)
    _mint(door)
    for operation, method, path in SAMPLES:
        if operation.access is not Access.OPEN:
            door.ask(method, path, key=made["apiKey"], client="198.51.100.1")
    door.ask("DELETE", "/api_keys", params={"id": made["id"]})


def _mint(door: Door) -> None:
    wallet: Any = Account.from_key("0x" + "6b" * 32)
    token: str = door.get("/api_keys/generate_web3_key", key=None)["data"]["token"]
    signature = "0x" + wallet.sign_message(encode_defunct(text=token)).signature.hex().removeprefix("0x")
    proof = {"address": wallet.address, "signature": signature, "token": token}
    body = {"apiKeyType": "INFERENCE", "ipAllowlist": ["10.0.0.0/8"], **proof}
    assert door.ask("POST", "/api_keys/generate_web3_key", key=None, json=body).status_code == 200
    for spoiled in ("address", "signature", "token"):
        door.ask("POST", "/api_keys/generate_web3_key", key=None, json={**body, spoiled: "0x00"})


def _fail_everywhere(door: Door) -> None:
    for operation, method, path in SAMPLES:
        for key in (None,) if operation.access is Access.OPEN else (None, "inference", "admin"):
            door.ask(method, path, key=key)
    for method, path, key in BODY_OPERATIONS:
        for content in (b"{", b"[]", b"{}"):
            door.ask(method, path, key=key, content=content, headers={"Content-Type": "application/json"})
        door.ask(method, path, key=key, content=b"{}", headers={"Content-Type": "text/plain"})
    door.ask("GET", "/models?type=none", key=None)
    door.ask("GET", "/billing/usage-history?pageSize=1")
    door.ask("GET", "/billing/usage-history?cursor=AAAA")
    door.ask("GET", "/billing/usage-analytics?lookback=91d")


def _be_blocked_everywhere(door: Door) -> None:
    for key in ("admin", None):
        for _ in range(21):
            door.ask("GET", "/api_keys/none", key=key)
    for operation, method, path in SAMPLES:
        answer = door.ask(method, path, key=None if operation.access is Access.OPEN else "admin")
        assert answer.status_code == 429


def _run_out(door: Door) -> None:
    for _ in range(20):
        door.create()
    assert door.ask("POST", "/api_keys", json=GOOD).status_code == 429
    full = open_door("large", watch=door.watch)
    assert full.ask("POST", "/api_keys", json=GOOD).status_code == 400


@pytest.fixture(scope="module")
def exercised() -> Contract:
    """A contract that has seen everything the sandbox can say; anything it does not allow fails here."""
    contract = Contract.load()
    watch = _watching(contract)
    _use_everything(open_door("demo", watch=watch))
    _use_everything(open_door("demo", watch=watch, limits=False))
    _fail_everywhere(open_door("demo", watch=watch, limits=False))
    _fail_everywhere(open_door("empty", watch=watch, limits=False))
    _be_blocked_everywhere(open_door("demo", watch=watch))
    _run_out(open_door("empty", watch=watch))
    return contract


def test_every_operation_was_exercised(exercised: Contract) -> None:
    assert len(exercised.operations) == 14
    assert exercised.seen == set(exercised.operations)


def test_nothing_in_the_overlay_is_unused(exercised: Contract) -> None:
    assert exercised.unused() == []


def test_the_sandbox_has_exactly_the_operations_of_the_contract_and_of_the_overlay() -> None:
    served = {(operation.name, operation.method, operation.path) for operation in OPERATIONS}
    declared = {(each.name, each.method, each.path) for each in Contract.load().operations.values()}
    assert served == declared | BEYOND
    assert not declared & BEYOND


def test_every_operation_asks_for_a_key_where_the_contract_does() -> None:
    contract = Contract.load()
    for operation in WITHIN:
        declared = contract.operations[operation.name]
        assert (operation.access is not Access.OPEN) == declared.needs_key


def test_what_the_contract_refuses_of_a_body_the_sandbox_refuses_and_little_more() -> None:
    contract = Contract.load()
    accepted: list[tuple[str, Any]] = []
    for member, value in BAD_MEMBERS:
        request = httpx.Request("POST", "http://sandbox/api/v1/api_keys", json={**GOOD, member: value})
        request.headers["Authorization"] = "Bearer some-key"
        try:
            contract.check_request("POST", "/api_keys", {}, request.headers, request.content)
        except AssertionError:
            continue
        accepted.append((member, value))
    assert accepted == list(STRICTER)
