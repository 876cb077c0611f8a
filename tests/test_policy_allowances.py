"""What may go unasked, and that merging policies only ever makes them stricter."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_harness import NOON
from tests.test_policy_gate import (
    ANY_KEY,
    CHANGE,
    ID,
    RULES,
    Json,
    create,
    in_days,
    mint,
    revoke,
    update,
)
from venice_mcp.models.requests import NewKeySettings
from venice_mcp.models.wire import PERIODS
from venice_mcp.policy.gate import Request, allowance_for, violations, why_not_allowed
from venice_mcp.policy.rules import Allowance, Policy, SecretRules, ToolRules, merged
from venice_mcp.policy.summary import summary
from venice_mcp.secrets.destinations import Destination
from venice_mcp.secrets.sinks import Command
from venice_mcp.text import parse_time

FILE = Destination("file", "/secrets/key")
CI = Allowance(
    name="ci",
    max_cap={"usd": 5.0, "diem": 0.0},
    limit_period="EPOCH",
    max_days=7.0,
    sinks=("file",),
    per_day=10,
    operations=("create", "revoke"),
    description="^ci:.*",
)
POLICY = Policy(allowances=(CI,))
WELL: Json = {"description": "ci:build", "usd_cap": 5.0, "diem_cap": 0.0, "expires_at": in_days(7)}


def nothing_made(_key_id: str) -> str | None:
    return None


def made_by_ci(_key_id: str) -> str | None:
    return "ci"


def with_intent(request: Request, **members: Any) -> Request:
    return replace(request, intent={**request.intent, **members})


def lacking(request: Request, policy: Policy = POLICY) -> str:
    """Why the request needs to be asked; empty when it does not."""
    found = allowance_for(policy, request, NOON, nothing_made)
    why = why_not_allowed(policy, request, NOON, nothing_made)
    assert (found is None) == bool(why)
    return why


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("just within it", create(FILE, **WELL)),
        ("lower, sooner, less often", create(FILE, **WELL | {"usd_cap": 0.0, "limit_period": "LIFETIME"})),
        ("a slow clock", create(FILE, **WELL | {"expires_at": in_days(7.0005)})),
    ],
)
def test_what_an_allowance_covers_goes_unasked(name: str, request_: Request) -> None:
    assert lacking(request_) == "", name


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (create(FILE, **WELL | {"api_key_type": "ADMIN"}), "it is for INFERENCE keys only"),
        (create(FILE, **WELL | {"usd_cap": None}), "the USD cap must be at most 5 per UTC day"),
        (create(FILE, **WELL | {"usd_cap": 5.01}), "the USD cap must be at most 5 per UTC day"),
        (create(FILE, **WELL | {"diem_cap": None}), "the DIEM cap must be at most 0 per UTC day"),
        (create(FILE, **WELL | {"expires_at": None}), "it must expire within 7 days"),
        (create(FILE, **WELL | {"expires_at": in_days(7.1)}), "it must expire within 7 days"),
        (create(FILE, **WELL | {"description": "build"}), 'the description must match "^ci:.*"'),
        (create(**WELL), "its secret must go to file"),
        (with_intent(create(FILE, **WELL), scope="all"), "it holds a setting that no rule knows"),
        (replace(create(FILE, **WELL), own_key=True), "this server itself runs on that key"),
    ],
)
def test_what_an_allowance_lacks_is_said(request_: Request, why: str) -> None:
    assert lacking(request_) == f"The allowance ci does not cover it: {why}."


@pytest.mark.parametrize(
    "request_", [mint(FILE, **WELL), update(usd_cap=1.0, diem_cap=0.0), update(expires_at=in_days(1))]
)
def test_an_allowance_says_nothing_about_other_operations(request_: Request) -> None:
    assert allowance_for(POLICY, request_, NOON, made_by_ci) is None
    assert why_not_allowed(POLICY, request_, NOON, made_by_ci) == ""


def test_a_window_that_resets_more_often_is_not_covered() -> None:
    monthly = replace(POLICY, allowances=(replace(CI, limit_period="MONTH"),))
    assert "per UTC month" in lacking(create(FILE, **WELL), monthly)
    assert lacking(create(FILE, **WELL | {"limit_period": "MONTH"}), monthly) == ""


def test_an_infinite_cap_is_any_or_none() -> None:
    free = replace(POLICY, allowances=(replace(CI, max_cap={"usd": 5.0, "diem": math.inf}),))
    for diem in (None, 0.0, 1e9):
        assert lacking(create(FILE, **WELL | {"diem_cap": diem}), free) == ""
    assert "USD" in lacking(create(FILE, **WELL | {"usd_cap": None}), free)


def test_a_currency_left_out_must_be_capped_at_0() -> None:
    bare = replace(POLICY, allowances=(replace(CI, max_cap={"usd": 5.0}),))
    assert lacking(create(FILE, **WELL), bare) == ""
    assert "DIEM cap must be at most 0" in lacking(create(FILE, **WELL | {"diem_cap": 0.1}), bare)


def test_the_nearest_allowance_is_the_one_that_is_told() -> None:
    far = replace(CI, name="far", sinks=("keyring",), max_days=1.0)
    policy = replace(POLICY, allowances=(far, replace(CI, name="near")))
    assert lacking(create(FILE, **WELL | {"usd_cap": 6.0}), policy).startswith("The allowance near ")


def test_only_keys_made_under_an_allowance_are_revoked_under_it() -> None:
    def other(_key_id: str) -> str | None:
        return "other"

    assert allowance_for(POLICY, revoke(), NOON, made_by_ci) is CI
    assert allowance_for(POLICY, revoke(), NOON, nothing_made) is None
    assert allowance_for(POLICY, revoke(), NOON, other) is None
    assert allowance_for(POLICY, revoke({"api_key_type": "ADMIN"}), NOON, made_by_ci) is None
    assert allowance_for(POLICY, revoke({"id": "another"}), NOON, made_by_ci) is None
    assert allowance_for(POLICY, replace(revoke(), target=None), NOON, made_by_ci) is None
    assert allowance_for(POLICY, replace(revoke(), own_key=True), NOON, made_by_ci) is None


def test_no_allowance_covers_what_the_rules_forbid() -> None:
    for strict in (Policy(read_only=True), Policy(secrets=(SecretRules(sinks=("keyring",)),))):
        assert allowance_for(merged(POLICY, strict), create(FILE, **WELL), NOON, nothing_made) is None


# --- any request ----------------------------------------------------------------------------------

PLACES = st.sampled_from(
    [
        None,
        Destination(),
        FILE,
        Destination("dotenv", "/other/.env", "KEY"),
        Destination("keyring", variable="KEY"),
        Destination("command", name="op"),
        Destination("command", name="other"),
    ]
)
MADE = st.tuples(ANY_KEY, PLACES, st.sampled_from(["createApiKey", "postApiKeyGenerateWeb3Key"])).map(
    lambda parts: Request(
        parts[2],
        {name: value for name, value in parts[0].items() if name in NewKeySettings.model_fields},
        None,
        parts[1],
    )
)


def nearly_well(changed: Json, kind: str) -> Json:
    """What an allowance may cover, but for what was changed."""
    intent = {**create(**WELL).intent, "limit_period": "EPOCH", **changed, "api_key_type": kind}
    return {name: value for name, value in intent.items() if name in NewKeySettings.model_fields}


# Most keys made of anything are far from being covered; these miss it by a member or two.
NEARLY = st.tuples(
    CHANGE, st.sampled_from([FILE, FILE, FILE, None]), st.sampled_from(["INFERENCE"] * 5 + ["ADMIN"])
).map(lambda parts: Request("createApiKey", nearly_well(parts[0], parts[2]), None, parts[1]))
CHANGED = st.tuples(ANY_KEY, CHANGE).map(lambda parts: Request("updateApiKey", parts[1], parts[0]))
REVOKED = ANY_KEY.map(lambda key: Request("deleteApiKey", {"id": ID}, key))
REQUESTS = st.tuples(
    st.one_of(MADE, NEARLY, NEARLY, CHANGED, REVOKED), st.sampled_from([False, False, False, True])
).map(lambda parts: replace(parts[0], own_key=parts[1]))
KINDS = st.lists(st.sampled_from(["display", "file", "dotenv", "json", "keyring", "command"]), unique=True).map(tuple)
CAPS = st.sampled_from([0.0, 5.0, 500.0, math.inf])
ALLOWANCES = st.builds(
    Allowance,
    name=st.sampled_from(["ci", "ci", "dev"]),
    max_cap=st.one_of(
        st.dictionaries(st.sampled_from(["usd", "diem"]), CAPS),
        st.fixed_dictionaries({"usd": CAPS, "diem": CAPS}),
        st.just({"usd": 500.0, "diem": math.inf}),
    ),
    limit_period=st.sampled_from([*PERIODS, "EPOCH"]),
    max_days=st.sampled_from([1.0, 7.0, 100.0, 500.0]),
    sinks=st.one_of(KINDS, st.just(("file", "dotenv")), st.just(("file", "display"))),
    per_day=st.just(10),
    operations=st.sampled_from([("create", "mint", "revoke"), ("create",), ("mint",), ("revoke",)]),
    description=st.sampled_from([None, None, "ci:.*"]),
)
FOLDERS = st.one_of(
    st.none(), st.lists(st.sampled_from(["/", "/secrets", "/secrets/deep", "/other"]), max_size=2).map(tuple)
)
TOOLS = st.builds(
    ToolRules,
    st.sampled_from([("*",), ("venice_*",), ("venice_list_*", "venice_status"), ()]),
    st.sampled_from([(), ("venice_create_*",)]),
)
POLICIES = st.builds(
    Policy,
    read_only=st.sampled_from([False, False, False, True]),
    tools=st.lists(TOOLS, max_size=1).map(tuple),
    keys=st.lists(RULES, max_size=1).map(tuple),
    secrets=st.lists(st.builds(SecretRules, sinks=st.one_of(st.none(), KINDS), folders=FOLDERS), max_size=1).map(tuple),
    commands=st.sampled_from([{}, {"op": Command(("/op",))}]),
    how=st.sampled_from(["client", "terminal"]),
    narrowing_unasked=st.booleans(),
    allowances=st.lists(ALLOWANCES, max_size=2).map(tuple),
)


@given(POLICIES, POLICIES, REQUESTS)
def test_merged_policies_are_as_strict_as_the_stricter_one(base: Policy, extra: Policy, request: Request) -> None:
    both = merged(base, extra)
    refused = violations(both, request, NOON)
    if violations(base, request, NOON):
        assert refused
    # A command is defined by the operator's own file alone, so the other one needs not know it.
    if violations(replace(extra, commands=base.commands), request, NOON):
        assert refused
    for tool in ("venice_status", "venice_list_api_keys", "venice_create_api_key", "other"):
        assert both.offers(tool) is (base.offers(tool) and extra.offers(tool))
    for kind in ("display", "file", "keyring"):
        assert both.allows_sink(kind) is (base.allows_sink(kind) and extra.allows_sink(kind))
    assert both.how == ("terminal" if "terminal" in (base.how, extra.how) else "client")


@given(POLICIES, POLICIES, REQUESTS, st.sampled_from([nothing_made, made_by_ci]))
def test_merging_grants_nothing(base: Policy, extra: Policy, request: Request, made_under: Any) -> None:
    both = merged(base, extra)
    granted = allowance_for(both, request, NOON, made_under)
    if granted is not None:
        assert granted in base.allowances
        assert extra.how == "client"
        assert allowance_for(base, request, NOON, made_under) is granted
    assert not both.narrowing_unasked or (base.narrowing_unasked and extra.how == "client")
    assert (both.commands, both.proxy, both.state_dir) == (base.commands, base.proxy, base.state_dir)


@settings(max_examples=500)
@given(ALLOWANCES, REQUESTS, st.sampled_from([nothing_made, made_by_ci]))
def test_nothing_dangerous_is_ever_covered(allowance: Allowance, request: Request, made_under: Any) -> None:
    granted = allowance_for(Policy(allowances=(allowance,)), request, NOON, made_under)
    if granted is None:
        return
    assert not request.own_key
    assert request.operation != "updateApiKey"
    if request.operation == "deleteApiKey":
        assert request.target is not None
        assert request.target["api_key_type"] == "INFERENCE"
        assert made_under(ID) == granted.name
        return
    new = request.intent
    assert new["api_key_type"] == "INFERENCE"
    end = parse_time(new["expires_at"])
    assert end is not None
    assert end <= NOON + timedelta(days=granted.max_days, minutes=1)
    assert (request.destination or Destination()).kind in granted.sinks
    for currency in ("usd", "diem"):
        most = granted.max_cap.get(currency, 0.0)
        if most != math.inf:
            assert new[f"{currency}_cap"] is not None
            assert new[f"{currency}_cap"] <= most
            assert PERIODS.index(new["limit_period"]) >= PERIODS.index(granted.limit_period)


# --- words ----------------------------------------------------------------------------------------


@given(POLICIES)
def test_a_summary_has_short_lines(policy: Policy) -> None:
    for line in summary(policy):
        assert 0 < len(line) <= 400
        assert not line.endswith(".")


def test_no_rules_have_no_summary() -> None:
    assert summary(Policy()) == []


def test_a_summary_names_every_kind_of_rule() -> None:
    policy = Policy(
        read_only=True,
        tools=(ToolRules(("venice_*",), ("venice_mint",)),),
        secrets=(SecretRules(("file",), ("/secrets",)),),
        commands={"op": Command(("/op",))},
        how="terminal",
        narrowing_unasked=True,
        allowances=(CI,),
    )
    text = "\n".join(summary(policy))
    for part in (
        "Read only",
        "venice_mint",
        "file",
        "/secrets",
        "op",
        "terminal",
        "narrow",
        "5 USD and 0 DIEM",
        "10 in",
    ):
        assert part in text
