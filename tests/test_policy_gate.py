"""One gate judges the final request, and no spelling, chain of changes or other road leads around it."""

import math
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_harness import NOON
from venice_mcp.models.requests import KeyChange, NewKeySettings
from venice_mcp.models.wire import PERIODS, PRIVACY, Key
from venice_mcp.policy.gate import Request, narrows_only, violations
from venice_mcp.policy.rules import CURRENCIES, KeyRules, Policy, SecretRules, ToolRules
from venice_mcp.secrets.destinations import Destination
from venice_mcp.secrets.sinks import Command
from venice_mcp.text import parse_time, to_wire

Json = dict[str, Any]

ID = "e28e82dc-9df2-4b47-b726-d0a222ef2ab5"


def in_days(days: float) -> str:
    return to_wire(NOON + timedelta(days=days))


NEW: Json = {
    "api_key_type": "INFERENCE",
    "description": "app:web",
    "usd_cap": 5.0,
    "diem_cap": 0.0,
    "limit_period": None,
    "model_privacy": "PRIVATE_ONLY",
    "expires_at": in_days(5),
    "ip_allowlist": None,
}
OLD: Json = {
    "id": ID,
    "api_key_type": "INFERENCE",
    "last6_chars": "abc123",
    "description": "app:web",
    "usd_cap": 5.0,
    "diem_cap": 0.0,
    "vcu_cap": None,
    "limit_period": "EPOCH",
    "model_privacy": "PRIVATE_ONLY",
    "expires_at": in_days(5),
    "created_at": in_days(-5),
    "ip_allowlist": [],
}


def create(place: Destination | None = None, **members: Any) -> Request:
    intent = NewKeySettings.model_validate(NEW | members).model_dump(mode="json")
    return Request("createApiKey", intent, None, place)


def mint(place: Destination | None = None, **members: Any) -> Request:
    made = create(place, **members)
    return replace(made, operation="postApiKeyGenerateWeb3Key", intent={**made.intent, "address": "0x" + "0" * 40})


def update(before: Json | None = None, **members: Any) -> Request:
    return Request("updateApiKey", {"id": ID, **members}, OLD | (before or {}))


def revoke(before: Json | None = None) -> Request:
    return Request("deleteApiKey", {"id": ID}, OLD | (before or {}))


def keys(**rules: Any) -> Policy:
    return Policy(keys=(KeyRules(**rules),))


def sinks(**rules: Any) -> Policy:
    return Policy(secrets=(SecretRules(**rules),))


CAPPED = keys(require_caps=("usd", "diem"))
CEILING = keys(max_cap={"EPOCH": {"usd": 50.0}, "MONTH": {"usd": 500.0}})
SOON = keys(max_days=90.0)
NAMED = keys(description="^(app|cust):[a-z]+$")
PRIVATE = keys(model_privacy="PRIVATE_TEXT")
LOWER: Json = {"usd_cap": 4.0, "diem_cap": 0.0}
LIFETIME_1 = {"usd_cap": 1.0, "limit_period": "LIFETIME"}

PASSES: list[tuple[str, Policy, Request]] = [
    ("no rule at all", Policy(), create(api_key_type="ADMIN", usd_cap=None, expires_at=None)),
    ("the type", keys(types=("INFERENCE",)), create()),
    ("the type of a mint", keys(types=("INFERENCE",)), mint()),
    ("both caps", CAPPED, create()),
    ("a cap at its ceiling", CEILING, create(usd_cap=50.0)),
    ("a window with its own ceiling", CEILING, create(usd_cap=500.0, limit_period="MONTH")),
    ("a window that resets less often", CEILING, create(usd_cap=500.0, limit_period="LIFETIME")),
    ("no cap in another currency", CEILING, create(diem_cap=None)),
    ("an expiry in time", SOON, create(expires_at=in_days(89))),
    ("the last day", SOON, create(expires_at=in_days(90))),
    ("the last day and a slow clock", SOON, create(expires_at=to_wire(NOON + timedelta(days=90, seconds=50)))),
    ("an offset", SOON, create(expires_at="2026-12-01T10:00:00+01:00")),
    ("a description", NAMED, create(description="cust:acme")),
    ("a tier", PRIVATE, create(model_privacy="PRIVATE_TEXT")),
    ("any tier where all may be given", keys(model_privacy="ALL"), create(model_privacy=None)),
    ("the chat", sinks(sinks=("display",)), create()),
    ("a file", sinks(sinks=("file",)), create(Destination("file", "/secrets/key"))),
    ("the folder itself", sinks(folders=("/secrets",)), create(Destination("file", "/secrets/key"))),
    ("a folder below", sinks(folders=("/secrets",)), create(Destination("dotenv", "/secrets/a/.env", "KEY"))),
    (
        "a table",
        sinks(sinks=("csv",), folders=("/secrets",)),
        create(Destination("csv", "/secrets/a/k.csv", entry="a")),
    ),
    ("no file", sinks(folders=("/secrets",)), create(Destination("keyring", variable="KEY"))),
    ("a command", Policy(commands={"op": Command(("/op",))}), create(Destination("command", name="op"))),
    ("a revocation", keys(types=(), require_caps=("usd",), max_days=1.0), revoke({"usd_cap": None})),
    ("a narrower window", CEILING, update({"usd_cap": 50.0}, limit_period="MONTH")),
    ("an address list", CEILING, update({"usd_cap": 900.0}, ip_allowlist=["10.0.0.1"])),
    ("a broken rule left alone", CEILING, update({"usd_cap": None}, description="app:other")),
    ("a broken rule come closer to", CEILING, update({"usd_cap": None}, usd_cap=900.0, diem_cap=None)),
    ("a broken rule kept", CEILING, update({"usd_cap": 900.0}, usd_cap=900.0, diem_cap=1.0)),
    ("less often, still too much", CEILING, update({"usd_cap": 900.0}, limit_period="LIFETIME")),
    ("an old description kept", NAMED, update({"description": "old"}, usd_cap=1.0, diem_cap=0.0)),
    ("an expiry nearer but too far", SOON, update({"expires_at": None}, expires_at=in_days(200))),
    (
        "a tier closer",
        keys(model_privacy="PRIVATE_ONLY"),
        update({"model_privacy": "ALL"}, model_privacy="PRIVATE_TEXT"),
    ),
    ("a tier Venice added left alone", PRIVATE, update({"model_privacy": "OPEN"}, description="app:other")),
    ("a type that is no longer made", keys(types=("INFERENCE",)), update({"api_key_type": "ADMIN"}, usd_cap=1.0)),
]
REFUSED: list[tuple[str, Policy, Request, str]] = [
    ("read only", Policy(read_only=True), create(), "read_only"),
    ("read only", Policy(read_only=True), update(description="x"), "read_only"),
    ("read only", Policy(read_only=True), revoke(), "read_only"),
    ("an operation nobody knows", Policy(), Request("deleteEverything", {}), "no rule knows this operation"),
    ("a type", keys(types=("INFERENCE",)), create(api_key_type="ADMIN"), "no ADMIN key may be made, only INFERENCE"),
    ("a type", keys(types=("INFERENCE",)), mint(api_key_type="ADMIN"), "no ADMIN key"),
    ("every type", keys(types=()), create(), "only none at all"),
    ("a setting nobody knows", SOON, Request("createApiKey", NEW | {"scope": "all"}), "no rule knows"),
    ("a setting nobody knows", SOON, update(vcu_cap=5), "no rule knows"),
    ("no cap", CAPPED, create(usd_cap=None), "a USD cap is required"),
    ("no cap", CAPPED, create(diem_cap=None), "a DIEM cap is required"),
    ("only a cap that no longer counts", CAPPED, update({"vcu_cap": 5.0}, usd_cap=None, diem_cap=1.0), "a USD cap"),
    ("above the ceiling", CEILING, create(usd_cap=50.01), "at most 50 per UTC day or 500 per UTC month"),
    ("above the ceiling", CEILING, create(usd_cap=500.01, limit_period="LIFETIME"), "at most 50"),
    ("no cap under a ceiling", CEILING, mint(usd_cap=None), "at most 50"),
    ("a window that resets too often", keys(max_cap={"MONTH": {"usd": 9.0}}), create(usd_cap=1.0), "9 per UTC month"),
    ("a window Venice added", CEILING, Request("createApiKey", NEW | {"limit_period": "HOUR"}), "at most 50"),
    ("no expiry", SOON, create(expires_at=None), "it must expire within 90 days"),
    ("too late", SOON, create(expires_at=in_days(90.01)), "90 days"),
    ("a little too late", SOON, create(expires_at=to_wire(NOON + timedelta(days=90, seconds=62))), "90 days"),
    ("a description", NAMED, create(description="web"), 'the description must match "^(app|cust):[a-z]+$"'),
    ("a description with more in it", NAMED, create(description="app:web\n"), "must match"),
    ("a long description", keys(description="a*"), create(description="a" * 65), "must match"),
    ("no tier", PRIVATE, create(model_privacy=None), "model_privacy must be PRIVATE_ONLY or PRIVATE_TEXT"),
    ("a wider tier", PRIVATE, create(model_privacy="ALL"), "model_privacy must be"),
    ("a tier Venice added", PRIVATE, Request("createApiKey", NEW | {"model_privacy": "OPEN"}), "model_privacy"),
    ("the chat", sinks(sinks=("file", "keyring")), create(), "may go to file or keyring, not to display"),
    ("any place", sinks(sinks=()), create(Destination("file", "/x")), "no place at all"),
    ("another folder", sinks(folders=("/secrets",)), create(Destination("file", "/secrets2/key")), '"/secrets"'),
    ("a way out", sinks(folders=("/secrets",)), create(Destination("dotenv", "/secrets/../etc/.env", "K")), "saved in"),
    ("a table elsewhere", sinks(folders=("/secrets",)), create(Destination("csv", "/x/k.csv", entry="a")), "saved in"),
    (
        "a table elsewhere",
        sinks(folders=("/secrets",)),
        create(Destination("json", "/x/k.json", entry="a")),
        "saved in",
    ),
    ("a table", sinks(sinks=("file",)), create(Destination("json", "/x/k.json", entry="a")), "to file, not to json"),
    ("no path", sinks(folders=("/secrets",)), create(Destination("file")), "saved in"),
    ("a relative path", sinks(folders=("/",)), create(Destination("file", "key")), "saved in"),
    ("an impossible path", sinks(folders=("/secrets",)), create(Destination("file", "/secrets/\0/key")), "saved in"),
    ("a command nobody defined", Policy(), create(Destination("command", name="op")), "no command of that name"),
    ("a cap removed", CAPPED, update(usd_cap=None, diem_cap=0.0), "a USD cap is required"),
    ("a cap that is sent as null", CAPPED, update(usd_cap=1.0), "a DIEM cap is required"),
    ("a cap raised", CEILING, update(usd_cap=51.0, diem_cap=0.0), "at most 50"),
    ("a broken cap raised", CEILING, update({"usd_cap": 900.0}, usd_cap=901.0, diem_cap=0.0), "at most 50"),
    ("a wider window", CEILING, update({"usd_cap": 500.0, "limit_period": "MONTH"}, limit_period="EPOCH"), "at most"),
    ("a broken window widened", CEILING, update(LIFETIME_1 | {"usd_cap": 900.0}, limit_period="MONTH"), "at most"),
    ("another unknown window", CEILING, update({"limit_period": "HOUR"}, limit_period="MINUTE"), "at most"),
    (
        "no longer any window",
        CEILING,
        update({"usd_cap": 500.0, "limit_period": "MONTH"}, limit_period=None),
        "at most",
    ),
    ("the expiry removed", SOON, update(expires_at=None), "90 days"),
    ("the expiry emptied", SOON, update(expires_at=""), "90 days"),
    ("a broken expiry moved away", SOON, update({"expires_at": in_days(200)}, expires_at=in_days(201)), "90 days"),
    ("another bad description", NAMED, update({"description": "old"}, description="new"), "must match"),
    ("another unknown tier", PRIVATE, update({"model_privacy": "OPEN"}, model_privacy="WIDE"), "model_privacy"),
    ("a key nobody read", CEILING, replace(update(description="x"), target=None), "at most 50"),
]


@pytest.mark.parametrize(("name", "policy", "request_"), PASSES, ids=[each[0] for each in PASSES])
def test_what_the_rules_allow_passes(name: str, policy: Policy, request_: Request) -> None:
    assert violations(policy, request_, NOON) == (), name


@pytest.mark.parametrize(("name", "policy", "request_", "clause"), REFUSED, ids=[each[0] for each in REFUSED])
def test_what_the_rules_forbid_is_refused_with_what_would_pass(
    name: str, policy: Policy, request_: Request, clause: str
) -> None:
    found = violations(policy, request_, NOON)
    assert len(found) == 1, name
    assert clause in found[0]
    assert not found[0].endswith(".")


def test_every_rule_that_is_broken_is_told_once() -> None:
    both = Policy(keys=(CAPPED.keys[0], CAPPED.keys[0], SOON.keys[0]))
    assert len(violations(both, create(usd_cap=None, expires_at=None), NOON)) == 2


@pytest.mark.parametrize(
    ("lists", "left"),
    [
        ([], None),
        ([None, None], None),
        ([("/a", "/b"), None], ("/a", "/b")),
        ([("/a",), ("/b",)], ()),
        ([("/a",), ("/ab",)], ()),
        ([("/a",), ("/a/deep", "/b")], ("/a/deep",)),
        ([("/a/deep", "/b"), ("/a",)], ("/a/deep",)),
        ([("/",), ("/a", "/b")], ("/a", "/b")),
        ([("/a", "/b"), ("/b", "/c"), ("/b/deep",)], ("/b/deep",)),
        ([(), ("/a",)], ()),
    ],
)
def test_of_lists_of_folders_what_lies_within_all_is_left(
    lists: list[tuple[str, ...] | None], left: tuple[str, ...] | None
) -> None:
    policy = Policy(secrets=tuple(SecretRules(folders=folders) for folders in lists))
    assert policy.folders == left
    assert policy.sink_limits.folders == left


def test_a_link_does_not_lead_out_of_the_allowed_folders(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "way-out").symlink_to(outside)
    policy = sinks(folders=(str(inside),))
    assert not violations(policy, create(Destination("file", str(inside / "key"))), NOON)
    assert violations(policy, create(Destination("file", str(inside / "way-out" / "key"))), NOON)


def test_tools_are_offered_unless_hidden() -> None:
    policy = Policy(tools=(ToolRules(("venice_*",), ("venice_create_*",)), ToolRules(("*_key", "*_status"))))
    assert policy.offers("venice_status")
    assert not policy.offers("venice_create_api_key")
    assert not policy.offers("venice_list_api_keys")
    assert Policy().offers("venice_create_api_key")


# --- spelling -------------------------------------------------------------------------------------

LATE = st.one_of(
    st.none(),
    st.just(""),
    st.text(max_size=30),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(
            ["2026-11-20", "2027-11-20", "20271120", "2027-W47-6", "9999-12-31", "0000-00-00", "+12027-01-01"]
        ),
        st.sampled_from(["", "T", " ", "t"]),
        st.sampled_from(["", "00:00:00", "24:00:00", "12:00", "120000", "00:00:00.999999999", "23:59:60"]),
        st.sampled_from(["", "Z", "z", "+00:00", "-23:59", "+0000", " ", "[UTC]", "+99:99"]),
    ),
)


@given(LATE)
def test_no_spelling_of_an_expiry_gets_past_the_longest_one(value: str | None) -> None:
    for request in (Request("createApiKey", NEW | {"expires_at": value}), update(expires_at=value)):
        if not violations(SOON, request, NOON):
            moment = parse_time(value)
            assert moment is not None
            assert moment <= NOON + timedelta(days=90, minutes=1)
            # Read by others, a time without an offset could be another moment.
            assert value is not None
            assert value[19:].lstrip(".0123456789") != ""


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -1.0, True, "5", [5], {"usd": 5}])
def test_what_is_no_amount_is_no_cap(value: Any) -> None:
    for request in (Request("createApiKey", NEW | {"usd_cap": value}), update(usd_cap=value, diem_cap=0.0)):
        assert violations(CAPPED, request, NOON)
        assert violations(CEILING, request, NOON)


# --- chains of changes ----------------------------------------------------------------------------

CAP = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 5.0, 50.0, 500.0]), st.floats(0, 1e3))
END = st.sampled_from([None, in_days(0.5), in_days(5), in_days(89), in_days(91), in_days(400), "soon"])
TIER = st.sampled_from([*PRIVACY, "OPEN"])
PERIOD = st.sampled_from([*PERIODS, "HOUR"])
TEXT = st.sampled_from(["app:web", "cust:acme", "web", ""])
RANGES = st.sampled_from([[], ["10.0.0.0/8"], ["10.1.0.0/16"], ["10.1.2.3", "odd"]])
ANY_KEY = st.fixed_dictionaries(
    {
        "api_key_type": st.sampled_from(["INFERENCE", "INFERENCE", "ADMIN", "OTHER"]),
        "description": TEXT,
        "usd_cap": CAP,
        "diem_cap": CAP,
        "vcu_cap": st.sampled_from([None, None, 5.0]),
        "limit_period": PERIOD,
        "model_privacy": TIER,
        "expires_at": END,
        "ip_allowlist": RANGES,
    }
).map(lambda members: OLD | members)
CHANGE = st.fixed_dictionaries(
    {},
    optional={
        "description": TEXT,
        "usd_cap": CAP,
        "diem_cap": CAP,
        "limit_period": PERIOD,
        "model_privacy": TIER,
        "expires_at": st.one_of(END, st.just("")),
        "ip_allowlist": RANGES,
    },
).map(lambda members: {"id": ID, **members})
CEILINGS = st.dictionaries(
    st.sampled_from(PERIODS),
    st.dictionaries(st.sampled_from(CURRENCIES), st.sampled_from([0.0, 5.0, 50.0, 500.0])),
    max_size=3,
)
RULES = st.builds(
    KeyRules,
    types=st.sampled_from([None, (), ("INFERENCE",), ("INFERENCE", "ADMIN")]),
    require_caps=st.sampled_from([(), ("usd",), ("diem",), ("usd", "diem")]),
    max_cap=CEILINGS,
    max_days=st.sampled_from([None, 1.0, 30.0, 90.0]),
    description=st.sampled_from([None, "^app:.*", "[a-z]+:web"]),
    model_privacy=st.sampled_from([None, *PRIVACY]),
)


def as_venice_has_it(before: Json, intent: Json) -> Json:
    """The key after a change, worked out from the body that is sent."""
    body = KeyChange.model_validate(intent).to_wire()
    after = dict(before)
    if "consumptionLimit" in body:
        after |= {"usd_cap": body["consumptionLimit"]["usd"], "diem_cap": body["consumptionLimit"]["diem"]}
        after["vcu_cap"] = None
    names = {"description": "description", "limitPeriod": "limit_period", "modelPrivacy": "model_privacy"}
    after |= {names[name]: value for name, value in body.items() if name in names}
    if "expiresAt" in body:
        after["expires_at"] = body["expiresAt"] or None
    if "ipAllowlist" in body:
        after["ip_allowlist"] = sorted(body["ipAllowlist"])
    key = Key.model_validate(
        {
            **{name: after[name] for name in after if not name.endswith("_cap")},
            "consumption_limits": {name: after[f"{name}_cap"] for name in ("usd", "diem", "vcu")},
        }
    )
    return key.settings()


def complies(rules: KeyRules, settings: Json) -> bool:
    """Whether a key keeps the rules, said once more and in another way."""
    for currency in CURRENCIES:
        cap = settings[f"{currency}_cap"]
        limits = [(period, each[currency]) for period, each in rules.max_cap.items() if currency in each]
        if (currency in rules.require_caps or limits) and cap is None:
            return False
        window = settings["limit_period"]
        # What it could spend in the window of a ceiling is bounded by its cap only if its own is no shorter.
        good = [value for period, value in limits if window in PERIODS[PERIODS.index(period) :]]
        if limits and not any(cap <= value for value in good):
            return False
    end = parse_time(settings["expires_at"])
    if rules.max_days is not None and (end is None or end > NOON + timedelta(days=rules.max_days, minutes=1)):
        return False
    if rules.description is not None and not re.fullmatch(rules.description, settings["description"]):
        return False
    allowed = PRIVACY[: PRIVACY.index(rules.model_privacy) + 1] if rules.model_privacy not in (None, "ALL") else None
    return allowed is None or settings["model_privacy"] in allowed


@given(RULES, ANY_KEY, st.lists(CHANGE, max_size=8))
def test_no_chain_of_allowed_changes_leads_a_key_out_of_the_rules(
    rules: KeyRules, key: Json, changes: list[Json]
) -> None:
    compliant = complies(rules, key)
    for intent in changes:
        if violations(Policy(keys=(rules,)), Request("updateApiKey", intent, key), NOON):
            continue
        key = as_venice_has_it(key, intent)
        # And once it complies, it stays so, even if it did not at first.
        assert complies(rules, key) or not compliant
        compliant = complies(rules, key)


@given(RULES, ANY_KEY)
def test_a_new_key_passes_just_when_it_complies(rules: KeyRules, key: Json) -> None:
    intent = {name: value for name, value in key.items() if name in NewKeySettings.model_fields}
    allowed = rules.types is None or intent["api_key_type"] in rules.types
    found = violations(Policy(keys=(rules,)), Request("createApiKey", intent), NOON)
    assert bool(found) is not (allowed and complies(rules, key))


# --- narrowing ------------------------------------------------------------------------------------

NARROWER: list[tuple[str, Request, bool]] = [
    ("a lower cap", update(usd_cap=4.0, diem_cap=0.0), True),
    ("a first cap", update({"usd_cap": None}, usd_cap=4.0, diem_cap=0.0), True),
    ("a nearer expiry", update(expires_at=in_days(4)), True),
    ("a first expiry", update({"expires_at": None}, expires_at=in_days(400)), True),
    ("a narrower tier", update({"model_privacy": "ALL"}, model_privacy="PRIVATE_TEXT"), True),
    ("nothing", update(usd_cap=5.0, diem_cap=0.0), False),
    ("a cap of 0", update(usd_cap=0.0, diem_cap=0.0), False),
    ("a raised cap", update(usd_cap=6.0, diem_cap=0.0), False),
    ("one lowered and one removed", update(usd_cap=4.0), False),
    ("one lowered and one raised", update(usd_cap=4.0, diem_cap=1.0), False),
    ("an expiry within a day", update(expires_at=in_days(0.9)), False),
    ("an expiry in the past", update(expires_at=in_days(-1)), False),
    ("no expiry", update(expires_at=None), False),
    ("another window", update(limit_period="MONTH"), False),
    ("an address list", update(ip_allowlist=["10.0.0.0/8"]), False),
    ("a shorter address list", update({"ip_allowlist": ["10.0.0.0/8"]}, ip_allowlist=["10.0.0.1"]), False),
    ("both lower and elsewhere", update({"ip_allowlist": ["10.0.0.0/8"]}, ip_allowlist=["10.0.0.1"], **LOWER), False),
    ("both lower and less often", update(limit_period="MONTH", **LOWER), False),
    ("another description", update(description="other", usd_cap=4.0, diem_cap=0.0), False),
    ("an ADMIN key", update({"api_key_type": "ADMIN"}, usd_cap=4.0, diem_cap=0.0), False),
    ("a type Venice added", update({"api_key_type": "OTHER"}, usd_cap=4.0, diem_cap=0.0), False),
    ("the server's own key", replace(update(usd_cap=4.0, diem_cap=0.0), own_key=True), False),
    ("a VCU cap that may be dropped", update({"vcu_cap": 1.0}, usd_cap=4.0, diem_cap=0.0), False),
    ("another key", replace(update(usd_cap=4.0, diem_cap=0.0), target=OLD | {"id": "other"}), False),
    ("a key nobody read", replace(update(usd_cap=4.0, diem_cap=0.0), target=None), False),
    ("a setting nobody knows", update(usd_cap=4.0, diem_cap=0.0, scope="less"), False),
    ("a new key", create(), False),
    ("a revocation", revoke(), False),
]


@pytest.mark.parametrize(("name", "request_", "narrower"), NARROWER, ids=[each[0] for each in NARROWER])
def test_only_what_takes_away_and_stops_nothing_is_narrowing(name: str, request_: Request, narrower: bool) -> None:
    assert narrows_only(request_, NOON) is narrower, name


@given(RULES, ANY_KEY, CHANGE)
def test_narrowing_breaks_no_rule_and_raises_nothing(rules: KeyRules, key: Json, intent: Json) -> None:
    request = Request("updateApiKey", intent, key)
    if not narrows_only(request, NOON):
        return
    assert not violations(Policy(keys=(rules,)), request, NOON)
    after = as_venice_has_it(key, intent)
    for name in ("usd_cap", "diem_cap"):
        assert key[name] is None or after[name] <= key[name]
        assert after[name] != 0 or key[name] == 0
    assert after["limit_period"] == key["limit_period"]
    assert after["ip_allowlist"] == key["ip_allowlist"]
