"""Every request the client can send keeps Venice's contract, and answers that outgrow the contract break nothing."""

import inspect
import json
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal, cast
from zlib import crc32

import httpx
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.contract import Contract
from tests.test_harness import KEYS, MODERN, ROOT, WALLET_KEY, House, Json, Person, Sent, data_of, house, text_of
from venice_mcp.client import VeniceClient
from venice_mcp.secrets import looks_like_secret
from venice_mcp.text import plain
from venice_mcp.tools import TOOLS

NOT_CALLED = {
    "getBillingUsage",  # sunset on 2026-09-16; it only answers 410
}
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# --- what the tools take ---------------------------------------------------------------------------

LETTERS = st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"))
DESCRIPTIONS = st.text(LETTERS, min_size=1, max_size=64).filter(
    lambda text: (
        bool(plain(text))
        and len(text.strip().encode("utf-16-le")) <= 128
        and text[0] not in "{["
        and not looks_like_secret(text)
    )
)
CAPS = st.one_of(
    st.integers(0, 9_999_999_999),
    st.floats(0, 9_999_999_999, allow_nan=False, allow_infinity=False),
    st.sampled_from([0, 0.0, 5e-324, 0.1, 9_999_999_999]),
)
LIMITS = st.fixed_dictionaries({}, optional={"usd": CAPS, "diem": CAPS}).filter(bool)
PERIODS = st.sampled_from(["EPOCH", "MONTH", "LIFETIME"])
PRIVACIES = st.sampled_from(["ALL", "PRIVATE_TEXT", "PRIVATE_ONLY"])
TYPES = st.sampled_from(["INFERENCE", "ADMIN"])
NETWORKS = st.one_of(
    st.ip_addresses().map(str),
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    st.tuples(st.ip_addresses(v=6), st.integers(0, 128)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
)
ALLOWLISTS = st.one_of(st.lists(NETWORKS, min_size=1, max_size=5), st.just([f"10.0.0.{n}" for n in range(100)]))
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(
    datetime(2026, 11, 20),  # noqa: DTZ001 - the strategy adds the offset
    datetime(9000, 1, 1),  # noqa: DTZ001
    timezones=OFFSETS,
)
TIMES = st.one_of(
    MOMENTS.map(datetime.isoformat),
    MOMENTS.map(lambda moment: moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
    MOMENTS.map(lambda moment: f"{moment:%Y-%m-%d}"),
    MOMENTS.map(lambda moment: f"{moment:%Y-%m-%dT%H:%M}"),
)
EXPIRIES = st.one_of(
    st.just(cast("Json", {})),
    TIMES.map(lambda value: {"expires_at": value}),
    st.floats(1, 36_500).map(lambda days: {"expires_in_days": days}),
    st.integers(1, 36_500).map(lambda days: {"expires_in_days": days}),
)
COMMON = {"model_privacy": PRIVACIES, "ip_allowlist": ALLOWLISTS}


@st.composite
def new_keys(draw: st.DrawFn, *, described: bool = True) -> Json:
    arguments: Json = draw(st.fixed_dictionaries({}, optional={**COMMON, "api_key_type": TYPES}))
    if described or draw(st.booleans()):
        arguments["description"] = draw(DESCRIPTIONS)
    if draw(st.booleans()):
        arguments["consumption_limit"] = draw(LIMITS)
        arguments |= draw(st.fixed_dictionaries({}, optional={"limit_period": PERIODS}))
    return arguments | draw(EXPIRIES)


@st.composite
def changes(draw: st.DrawFn) -> Json:
    arguments: Json = draw(
        st.fixed_dictionaries(
            {}, optional={**COMMON, "description": DESCRIPTIONS, "consumption_limit": LIMITS, "limit_period": PERIODS}
        )
    )
    arguments |= draw(EXPIRIES)
    limit = arguments.get("consumption_limit", {})
    clearable = [
        name
        for name, taken in (
            ("usd_cap", "usd" in limit),
            ("diem_cap", "diem" in limit),
            ("expires_at", "expires_at" in arguments or "expires_in_days" in arguments),
            ("ip_allowlist", "ip_allowlist" in arguments),
        )
        if not taken
    ]
    cleared = draw(st.lists(st.sampled_from(clearable), unique=True)) if clearable else []
    if cleared:
        arguments["clear"] = cleared
    return arguments


# Times that no calendar holds once they are turned to UTC are among the bad input.
ANY_DATE = st.dates(date(1000, 1, 2), date(9999, 12, 30))
MOMENTS_OF_ALL_TIMES = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - offsets follow
ANY_TIME = st.one_of(
    MOMENTS_OF_ALL_TIMES.map(datetime.isoformat),
    st.tuples(MOMENTS_OF_ALL_TIMES, OFFSETS).map(lambda pair: pair[0].replace(tzinfo=pair[1]).isoformat()),
    ANY_DATE.map(str),
)


@pytest.fixture(scope="module")
def bench() -> Iterator[House]:
    with tempfile.TemporaryDirectory() as folder:
        yield house(Path(folder))


class Quiet(httpx.AsyncBaseTransport):
    """A Venice with nothing to tell: some queries keep the contract and are refused all the same."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/usage-analytics"):
            return httpx.Response(200, json={"lookback": "7d", "byDate": [], "byModel": [], "byKey": []})
        return httpx.Response(200, json={"data": [], "nextCursor": None})


@pytest.fixture(scope="module")
def quiet() -> Iterator[House]:
    with tempfile.TemporaryDirectory() as folder:
        yield house(Path(folder), venice=Quiet())


def ask(bench: House, tool: str, arguments: Json) -> tuple[str, list[str]]:
    """The error text ("" for none) and the operations called, each checked against the contract."""
    bench.edge.sent.clear()
    bench.clock.advance(seconds=61)  # so that the pace of creates never matters here
    result = bench.call(tool, arguments)
    return text_of(result) if result.is_error else "", [each.operation() for each in bench.edge.sent]


# --- requests --------------------------------------------------------------------------------------


@FEW
@given(arguments=new_keys())
def test_every_create_keeps_the_contract(bench: House, arguments: Json) -> None:
    problem, called = ask(bench, "venice_create_api_key", arguments)
    assert not problem
    assert called.count("createApiKey") == 1
    body = json.loads(bench.edge.writes[0].body)
    assert body["description"] == arguments["description"].strip()
    assert ("ipAllowlist" in body) == ("ip_allowlist" in arguments)
    assert ("limitPeriod" in body) == ("limit_period" in arguments)
    assert "vcu" not in body.get("consumptionLimit", {})


@settings(FEW, max_examples=6)  # each one signs; what differs from a create is little
@given(arguments=new_keys(described=False))
def test_every_mint_keeps_the_contract_and_shows_no_key(bench: House, arguments: Json) -> None:
    problem, called = ask(bench, "venice_create_web3_api_key", arguments)
    assert not problem
    assert called.count("postApiKeyGenerateWeb3Key") == 1
    for each in bench.edge.sent:
        if each.path.endswith("/generate_web3_key"):
            assert "authorization" not in each.headers


@FEW
@given(arguments=changes(), pick=st.integers(0, 10_000))
def test_every_update_keeps_the_contract(bench: House, arguments: Json, pick: int) -> None:
    keys = [key for key in bench.made_keys() if key["apiKeyType"] == "INFERENCE" and key.get("description")]
    target = keys[pick % len(keys)]
    problem, called = ask(bench, "venice_update_api_key", {"key_id": target["id"], **arguments})
    if problem:
        # Arguments that are right on their own may still mean nothing for the key they meet.
        assert re.match("arguments: the key already|limit_period: has no meaning|description: nothing to", problem)
        assert "updateApiKey" not in called
        return
    assert called.count("updateApiKey") == 1
    body = json.loads(bench.edge.writes[0].body)
    assert body["id"] == target["id"]
    if "consumptionLimit" in body:
        assert set(body["consumptionLimit"]) == {"usd", "diem"}, "both caps always go together"


@FEW
@given(
    arguments=st.fixed_dictionaries(
        {},
        optional={
            "start": ANY_TIME,
            "end": ANY_TIME,
            "currency": st.sampled_from(["USD", "DIEM", "BUNDLED_CREDITS"]),
            "page_size": st.integers(10, 200),
        },
    )
)
def test_every_page_of_the_ledger_is_asked_for_by_contract(quiet: House, arguments: Json) -> None:
    problem, called = ask(quiet, "venice_get_billing_usage", arguments)
    if problem:
        assert re.match(r"(start|end): ", problem), problem
        assert not called
    else:
        assert called == ["getBillingUsageHistory"]


@FEW
@given(cursor=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=512))
def test_a_cursor_goes_alone(quiet: House, cursor: str) -> None:
    _, called = ask(quiet, "venice_get_billing_usage", {"cursor": cursor, "page_size": 50})
    if called:
        assert called == ["getBillingUsageHistory"]
        assert quiet.edge.sent[0].url.params.multi_items() == [("cursor", cursor)]


@FEW
@given(
    arguments=st.one_of(
        st.fixed_dictionaries({}, optional={"lookback_days": st.integers(1, 90)}),
        st.fixed_dictionaries({"start_date": ANY_DATE.map(str), "end_date": ANY_DATE.map(str)}),
    )
)
def test_every_analysis_is_asked_for_by_contract(quiet: House, arguments: Json) -> None:
    problem, called = ask(quiet, "venice_get_usage_analytics", arguments)
    assert called == ["getBillingUsageAnalytics"] or problem.startswith("end_date: ")


# --- coverage --------------------------------------------------------------------------------------


def foreign_signature(bench: House) -> Json:
    """Arguments of a mint whose token was signed elsewhere."""
    token = str(data_of(bench.call("venice_get_web3_token"))["token"])
    account = cast("Any", Account).from_key(WALLET_KEY)
    signature = "0x" + bytes(account.sign_message(encode_defunct(text=token)).signature).hex()
    return {"address": str(account.address), "signature": signature, "token": token}


def walk(bench: House) -> list[tuple[str, Json]]:
    """A call of every tool."""
    spare = bench.id_of("staging")
    here = str(bench.app.settings.state_dir)
    return [
        ("venice_status", {}),
        ("venice_list_api_keys", {}),
        ("venice_list_api_keys", {"sort": "usage", "unused_for_days": 1, "text": "a", "without_cap": True}),
        ("venice_get_api_key", {"key_id": spare}),
        ("venice_find_api_key", {"configured": "INFERENCE"}),
        ("venice_audit_api_keys", {}),
        ("venice_audit_api_keys", {"page": 1}),
        ("venice_create_api_key", {"description": "walk", "consumption_limit": {"usd": 1}, "expires_in_days": 3}),
        ("venice_update_api_key", {"key_id": spare, "consumption_limit": {"usd": 7}, "limit_period": "MONTH"}),
        ("venice_rotate_api_key", {"key_id": spare, "deliver_to": {"kind": "file", "path": f"{here}/rotated"}}),
        (
            "venice_provision_api_keys",
            {"names": ["a", "b"], "consumption_limit": {"usd": 1}, "deliver_to": {"kind": "files", "path": here}},
        ),
        ("venice_update_api_keys", {"key_ids": [spare], "consumption_limit": {"usd": 8}}),
        ("venice_revoke_api_keys", {"key_ids": [bench.id_of("Mei laptop")]}),
        ("venice_revoke_api_key", {"key_id": spare}),
        ("venice_get_rate_limits", {"api_key_type": "INFERENCE"}),
        ("venice_get_rate_limits", {"api_key_type": "ADMIN"}),
        ("venice_get_rate_limit_log", {}),
        ("venice_get_web3_token", {}),
        ("venice_create_web3_api_key", {"consumption_limit": {"diem": 1}}),
        ("venice_get_billing_balance", {}),
        ("venice_get_billing_usage", {"page_size": 10}),
        ("venice_get_usage_analytics", {}),
        ("venice_diagnose", {"model": "kimi-k2-6", "chart": True}),
        ("venice_diagnose", {"key_id": spare, "error": "HTTP 429"}),
        ("venice_forecast_spend", {}),
        ("venice_forecast_spend", {"key_id": bench.id_of("ci-pipeline"), "lookback_days": 30}),
        ("venice_recover", {}),
        ("venice_scan_for_leaked_keys", {"folders": [str(ROOT / "skills")]}),
    ]


def walked(bench: House, calls: list[tuple[str, Json]]) -> None:
    """Make the calls over one connection; none may fail."""

    async def work() -> None:
        async with bench.client(MODERN, Person()) as client:
            for tool, arguments in calls:
                result = await client.call_tool(tool, arguments)
                assert not result.is_error, (tool, arguments, text_of(result))

    bench.run(work)


def test_the_tools_reach_every_operation_but_those_that_are_named(tmp_path: Path) -> None:
    bench = house(tmp_path)
    calls = walk(bench)
    assert {tool for tool, _ in calls} == {spec.name for spec in TOOLS}
    walked(bench, calls)
    data_of(bench.call("venice_create_web3_api_key", foreign_signature(bench)))
    called = {each.operation() for each in bench.edge.sent}
    assert called == set(Contract.load().operations) - NOT_CALLED


def test_each_endpoint_method_names_its_operation() -> None:
    sources: list[str] = []
    for name, method in inspect.getmembers(VeniceClient, inspect.iscoroutinefunction):
        if not name.startswith("_"):
            found = re.findall(r"Source: (\w+)", inspect.getdoc(method) or "")
            assert len(found) == 1, f"{name} must say which operation it calls"
            sources += found
    assert len(sources) == len(set(sources))
    assert set(sources) == set(Contract.load().operations) - NOT_CALLED


# --- answers that outgrow the contract -------------------------------------------------------------

Growth = Literal["unknown values", "optional members missing"]
NOVEL = "SOMETHING_VENICE_ADDED"


def grown(value: Any, schema: Json, components: Json, how: Growth) -> Any:
    """An answer as a newer Venice might give it: with unknown members, and changed in one way more."""
    if "$ref" in schema:
        schema = components["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        schema = next((each for each in schema["anyOf"] if "properties" in each or "items" in each), schema)
    if isinstance(value, list):
        return [grown(item, schema.get("items", {}), components, how) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        properties: Json = schema.get("properties", {})
        found: Json = {}
        for name, item in cast("Json", value).items():
            if how == "optional members missing" and name in properties and name not in schema.get("required", ()):
                continue
            found[name] = grown(item, properties.get(name, {}), components, how)
        if "additionalProperties" not in schema:
            found["addedByVenice"] = {"deeply": [{"nested": None}, 1, "text"]}
        return found
    if how == "unknown values" and "enum" in schema and isinstance(value, str):
        return NOVEL
    return value


def growing(how: Growth) -> Any:
    contract = Contract.load()

    def change(sent: Sent, response: httpx.Response) -> httpx.Response:
        if response.status_code != 200:  # the rate limit log, which not every key may read
            return response
        operation = contract.operation(sent.method, sent.path)
        schema = operation.spec["responses"]["200"]["content"]["application/json"]["schema"]
        return httpx.Response(200, json=grown(response.json(), schema, contract.components, how))

    return change


@pytest.mark.parametrize("how", ["unknown values", "optional members missing"])
def test_answers_that_outgrow_the_contract_break_nothing(tmp_path: Path, how: Growth) -> None:
    bench = house(tmp_path)
    calls = walk(bench)
    bench.edge.change = growing(how)
    walked(bench, calls)
    # A successor of a type and tier that nobody knew is refused, and nothing of that rotation is done.
    assert len(bench.edge.writes) == (9 if how == "unknown values" else 10)


# Everything Venice sends as a string that a tool may want to read as something else.
TIMES_SENT = {"createdAt", "lastUsedAt", "expiresAt", "timestamp", "keyExpiration", "nextEpochBegins", "date"}
ODD_TIMES = ("", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "\ud83d soon")


def odd(value: Any, first: int, whose: str = "") -> Any:
    """An answer with such times. They take turns from member to member; the same member of a key has the same again,
    as a key that changed meanwhile would be left alone.
    """
    if isinstance(value, list):
        return [odd(item, first, f"{whose}{at}") for at, item in enumerate(cast("list[Any]", value))]
    if not isinstance(value, dict):
        return value
    members = cast("Json", value)
    whose = str(members.get("id", whose))
    return {
        name: ODD_TIMES[(first + crc32(f"{whose} {name}".encode())) % len(ODD_TIMES)]
        if name in TIMES_SENT and (item is None or isinstance(item, str))
        else odd(item, first, whose)
        for name, item in members.items()
    }


@pytest.mark.parametrize("first", [0, 2])
def test_times_that_are_none_break_nothing(tmp_path: Path, first: int) -> None:
    bench = house(tmp_path, environment=KEYS)
    calls = walk(bench)
    met: set[str] = set()

    def change(_sent: Sent, response: httpx.Response) -> httpx.Response:
        body = json.dumps(odd(response.json(), first))
        met.update(f"{name} {at}" for name in TIMES_SENT for at in ODD_TIMES if f'"{name}": {json.dumps(at)}' in body)
        return httpx.Response(response.status_code, content=body.encode())

    bench.edge.change = change
    walked(bench, calls)
    assert {f"{name} {at}" for name in ("createdAt", "lastUsedAt", "expiresAt", "timestamp") for at in ODD_TIMES} <= met
