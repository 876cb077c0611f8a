"""Key hygiene: what is a finding, from which day or dollar on, and that every call it names can be made."""

import json
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from venice_mcp.models.wire import Key
from venice_mcp.policy.reach import after_change, broken, reach_of
from venice_mcp.policy.rules import KeyRules
from venice_mcp.text import parse_time, plain
from venice_mcp.tools import TOOLS
from venice_mcp.workflows.hygiene import MEANINGS, SEVERITIES, Finding, Report, Thresholds, examine
from venice_mcp.workflows.hygiene_report import in_bulk, markdown
from venice_mcp.workflows.remedies import BULK, MOST_IN_BULK, REVOKE, ROTATE, UPDATE, Call

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)
Json = dict[str, Any]
FEW = settings(max_examples=40, deadline=None)
ARGUMENTS = {spec.name: spec.arguments for spec in TOOLS}
SINGLE = {many: one for one, many in BULK.items()}


def at(**before: float) -> str:
    return f"{NOW - timedelta(**before):%Y-%m-%dT%H:%M:%S.%fZ}"


def key(number: int = 1, **members: Any) -> Key:
    """A key with nothing wrong, but for what is said."""
    wire: Json = {
        "id": str(uuid.UUID(int=number, version=4)),
        "apiKeyType": "INFERENCE",
        "description": f"service {number}",
        "last6Chars": f"{number:06d}",
        "consumptionLimits": {"usd": 10, "diem": 10},
        "limitPeriod": "MONTH",
        "modelPrivacy": "PRIVATE_ONLY",
        "createdAt": at(days=40),
        "expiresAt": at(days=-60),
        "lastUsedAt": at(hours=2),
        "usage": {"trailingSevenDays": {"usd": "0.5", "diem": "0", "vcu": "0"}},
        "currentPeriodUsage": {"usd": "0.7", "diem": "0"},
    }
    return Key.model_validate({name: value for name, value in (wire | members).items() if value is not ...})


def audited(
    *keys: Key, own: Sequence[str] = (), rules: Sequence[KeyRules] = (), no_diem: bool = False, **thresholds: Any
) -> Report:  # fmt: skip
    limits = Thresholds(**thresholds)
    return examine(keys, own=frozenset(own), rules=rules, thresholds=limits, now=NOW, no_diem=no_diem)


def codes(*keys: Key, **more: Any) -> set[str]:
    return {each.code for each in audited(*keys, **more).findings}


def the(code: str, *keys: Key, **more: Any) -> Finding:
    (found,) = audited(*keys, **more).of(code)
    return found


def check(call: Call) -> None:
    """The call fits the schema of its tool; a bulk call fits for each of its keys, whether its tool is there or not."""
    sent: Json = json.loads(json.dumps(dict(call.arguments), allow_nan=False))
    if call.tool in ARGUMENTS:
        ARGUMENTS[call.tool].model_validate(sent)
    if call.tool in SINGLE:
        assert 1 < len(sent["key_ids"]) <= MOST_IN_BULK
        for key_id in sent.pop("key_ids"):
            ARGUMENTS[SINGLE[call.tool]].model_validate({"key_id": key_id, **sent})
    else:
        assert call.tool in ARGUMENTS


# --- boundaries -----------------------------------------------------------------------------------


def test_a_key_in_order_is_no_finding() -> None:
    report = audited(key())
    assert (report.findings, report.not_stated, report.own) == ((), {}, ())


BOUNDARIES: dict[str, tuple[str, Callable[[float], Key], Json, float, float]] = {
    # code, key, thresholds, not yet, from here on
    "unused": ("unused", lambda days: key(lastUsedAt=at(days=days), usage=...), {}, 29.999, 30),
    "unused, another threshold": (
        "unused",
        lambda d: key(lastUsedAt=at(days=d), usage=...),
        {"unused_days": 7},
        6.9,
        7,
    ),
    "never used": ("never_used", lambda days: key(lastUsedAt=None, createdAt=at(days=days), usage=...), {}, 6.999, 7),
    "expiring": ("expiring_soon", lambda days: key(expiresAt=at(days=-days)), {}, 14.001, 14),
    "old ADMIN": ("admin_age", lambda days: key(apiKeyType="ADMIN", createdAt=at(days=days)), {}, 89.999, 90),
    "USD cap": (
        "cap_nearly_reached",
        lambda usd: key(currentPeriodUsage={"usd": str(usd), "diem": "0"}),
        {},
        7.999,
        8,
    ),
    "DIEM cap": (
        "cap_nearly_reached",
        lambda diem: key(currentPeriodUsage={"usd": "0", "diem": f"{diem}"}),
        {"cap_percent": 50},
        4.999,
        5,
    ),
}


@pytest.mark.parametrize("name", BOUNDARIES)
def test_a_threshold_counts_from_its_very_value_on(name: str) -> None:
    code, made, thresholds, before, on = BOUNDARIES[name]
    assert code not in codes(made(before), **thresholds)
    assert codes(made(on), **thresholds) == {code}


def test_many_admins_and_many_keys_count_from_the_number_on() -> None:
    admins = [key(number, apiKeyType="ADMIN") for number in range(1, 4)]
    assert codes(*admins[:2]) == set()
    assert codes(*admins) == {"admin_count"}
    keys = [key(number) for number in range(1, 11)]
    assert codes(*keys, key_count=11) == set()
    assert codes(*keys, key_count=10) == {"key_count"}


def test_no_cap_and_no_expiry_are_about_their_absence_and_nothing_else() -> None:
    assert codes(key(consumptionLimits={"usd": None, "diem": None}, currentPeriodUsage=...)) == {"no_cap"}
    assert codes(key(consumptionLimits={}, currentPeriodUsage=...)) == {"no_cap"}
    assert codes(key(consumptionLimits={"usd": 0}, currentPeriodUsage=...)) == {"half_capped"}
    assert codes(key(consumptionLimits={"usd": 0, "diem": 0}, currentPeriodUsage=...)) == set()
    assert codes(key(expiresAt=None)) == {"no_expiry"}
    assert codes(key(description="")) == codes(key(description=" \u200b")) == {"description_missing"}


def test_age_and_last_use_are_kept_apart() -> None:
    old_and_busy, young_and_idle = key(1, createdAt=at(days=900)), key(2, createdAt=at(days=9), lastUsedAt=None)
    young_and_idle = young_and_idle.model_copy(update={"usage": None})
    report = audited(old_and_busy, young_and_idle)
    assert [(each.code, each.key) for each in report.findings] == [("never_used", young_and_idle)]
    assert report.ages == {"7-29 d": 1, "365 d and more": 1}
    assert report.uses == {"under 7 d": 1, "never": 1}


def test_what_venice_does_not_state_is_counted_and_never_taken_for_zero_or_never() -> None:
    silent = key(createdAt=None, lastUsedAt="soon", expiresAt="later", usage=..., currentPeriodUsage=...)
    report = audited(silent)
    assert report.findings == ()
    assert report.not_stated == {
        "created_at": 1,
        "last_used_at": 1,
        "expires_at": 1,
        "spend in 7 days": 1,
        "spend of the cap's window": 1,
    }
    assert (report.ages, report.uses) == ({"not stated": 1}, {"not legible": 1})
    partly = key(currentPeriodUsage={"usd": "9.9"}, usage={"trailingSevenDays": {"diem": "x"}})
    assert audited(partly).not_stated == {"spend in 7 days": 1, "spend of the cap's window": 1}


def test_a_key_that_was_billed_is_in_use_whatever_its_last_use_says() -> None:
    billed: Json = {"usage": {"trailingSevenDays": {"usd": "0.01", "diem": "0"}}}
    assert codes(key(lastUsedAt=None, **billed)) == set()
    assert codes(key(lastUsedAt=at(days=200), **billed)) == set()


# --- evidence -------------------------------------------------------------------------------------


def test_evidence_tells_the_numbers() -> None:
    near = the("cap_reached", key(currentPeriodUsage={"usd": "9.1", "diem": "12.5"}))
    assert near.severity == "high"
    assert the("cap_nearly_reached", key(currentPeriodUsage={"usd": "9.9", "diem": "0"})).severity == "medium"
    assert near.evidence.startswith("spent 9.1 of 10 USD (91 %), 12.5 of 10 DIEM (125 %) this MONTH; last used")
    idle = the("unused", key(lastUsedAt=at(days=41), createdAt=at(days=300), usage=...))
    assert idle.evidence == "last used 2026-10-08 (41 d ago); made 2026-01-22 (300 d ago)"
    free = the("no_cap", key(consumptionLimits={}, usage={"trailingSevenDays": {"usd": "12.34", "diem": "0"}}))
    assert free.evidence == "spent 12.34 USD, 0 DIEM in 7 days; last used 2026-11-18 (2 h ago)"


def test_a_cap_in_one_currency_leaves_the_other_open() -> None:
    usd_only: Json = {"consumptionLimits": {"usd": 20}, "currentPeriodUsage": {"usd": "1", "diem": "0"}}
    found = the("half_capped", key(**usd_only))
    assert (found.severity, found.fix.tool) == ("low", "venice_update_api_key")
    assert found.fix.arguments["consumption_limit"] == {"diem": 10}
    assert found.evidence.startswith("20 USD per MONTH, no DIEM cap; spent 0 DIEM in 7 days")
    assert codes(key(**usd_only), no_diem=True) == set()
    assert codes(key(consumptionLimits={"diem": 20}, currentPeriodUsage=...), no_diem=True) == {"half_capped"}
    wanted = [KeyRules(require_caps=("diem",))]
    assert codes(key(**usd_only), rules=wanted) == {"policy_cap"}


def test_duplicates_are_all_but_the_one_used_last() -> None:
    keys = [
        key(1, description="CI  Pipeline "),
        key(2, description="ci pipeline", lastUsedAt=at(days=3)),
        key(3, description="ci\u200b pipeline", lastUsedAt=at(days=2)),
        key(4, description="other"),
    ]
    report = audited(*keys)
    assert {each.key.last6_chars for each in report.findings if each.key} == {"000002", "000003"}
    for each in report.findings:
        assert each.evidence.startswith("shared by 3 keys; last used")
        assert "...000001 last used 2026-11-18" in each.evidence
    renamed = {each.fix.arguments["description"] for each in report.findings}
    assert renamed == {"ci pipeline (000002)", "ci pipeline (000003)"}


# --- fixes ----------------------------------------------------------------------------------------


def test_a_cap_is_proposed_above_what_the_key_spends_and_a_guess_is_called_one() -> None:
    free: Json = {"consumptionLimits": {}, "currentPeriodUsage": ...}
    spent = the("no_cap", key(**free, usage={"trailingSevenDays": {"usd": "70", "diem": "0.001"}}))
    assert spent.fix.arguments["consumption_limit"] == {"usd": 620, "diem": 1}
    assert "guess" not in spent.fix.caution
    half = the("no_cap", key(**free, usage={"trailingSevenDays": {"usd": "70", "diem": "0"}}))
    assert half.fix.caution == "DIEM cap a guess, no spend known"
    unknown = the("no_cap", key(**free, usage=...))
    assert unknown.fix.caution == "USD and DIEM cap a guess, no spend known"
    assert unknown.fix.arguments["consumption_limit"] == {"usd": 10, "diem": 10}


def test_a_cap_that_policy_holds_below_the_spend_says_so() -> None:
    rules = [KeyRules(max_cap={"MONTH": {"usd": 20}})]
    free = key(consumptionLimits={}, currentPeriodUsage=..., usage={"trailingSevenDays": {"usd": "70", "diem": "3"}})
    fix = the("no_cap", free, rules=rules).fix
    assert fix.arguments["consumption_limit"]["usd"] == 20
    assert "USD cap NOT above what it spent" in fix.caution
    assert the("policy_cap", free, rules=rules).fix == fix


def test_keys_in_use_and_the_servers_own_are_never_to_be_revoked() -> None:
    idle: Json = {"lastUsedAt": at(days=300), "usage": ...}
    own = key(1, **idle)
    found = the("unused", own, own=[own.id])
    assert (found.own, found.fix.tool) == (True, "venice_get_api_key")
    assert found.fix.caution == "this server runs on it: never revoke it"
    admins = [key(number, apiKeyType="ADMIN", **idle) for number in (1, 2, 3)]
    fix = the("admin_count", *admins, own=[admins[0].id]).fix
    assert (fix.tool, fix.arguments) == ("venice_revoke_api_keys", {"key_ids": [admins[1].id, admins[2].id]})
    busy = [key(number, apiKeyType="ADMIN") for number in (1, 2, 3)]
    assert the("admin_count", *busy).fix.tool == "venice_list_api_keys"


def test_old_admin_keys_are_to_be_rotated_and_idle_ones_revoked() -> None:
    old: Json = {"apiKeyType": "ADMIN", "createdAt": at(days=400)}
    assert the("admin_age", key(**old)).fix.tool == ROTATE
    assert the("admin_age", key(**old, lastUsedAt=at(days=300), usage=...)).fix.tool == REVOKE
    mine = key(**old)
    assert "this server's configuration" in the("admin_age", mine, own=[mine.id]).fix.caution


def test_one_call_for_the_keys_that_need_the_same() -> None:
    keys = [key(number, expiresAt=None) for number in range(1, 104)]
    keys.append(key(104, expiresAt=None, apiKeyType="ADMIN"))
    found = audited(*keys, own=[keys[7].id]).of("no_expiry")
    calls, where = in_bulk(found)
    assert sorted(len(call.arguments.get("key_ids", ["one"])) for call in calls) == [1, 1, 2, 50, 50]
    for finding, place in zip(found, where, strict=True):
        assert finding.key is not None
        arguments = calls[place].arguments
        assert finding.key.id in arguments.get("key_ids", [arguments.get("key_id")])
        assert arguments["expires_in_days"] == 90


@pytest.mark.parametrize("odd", ["", "no-uuid", "E28E82DC-9df2-4b47-b726-d0a222ef2ab", "../" + "a" * 33])
def test_a_key_whose_id_no_tool_takes_is_named_by_its_ending_or_only_looked_at(odd: str) -> None:
    unnamed: Json = {"id": odd, "expiresAt": None}
    assert the("no_expiry", key(**unnamed)).fix.arguments["last6_chars"] == "000001"
    assert the("no_expiry", key(**unnamed, last6Chars="a|b")).fix.tool == "venice_list_api_keys"


# --- any keys at all ------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.text(max_size=80),
    st.sampled_from(
        ["<img src=x onerror=alert(1)>", "a|b`c``d", "# Heading", "[x](javascript:1)", "](http://evil.test)"]
    ),
    st.sampled_from(
        [
            "` <b>x</b> `",
            "`[x](http://evil.test)`",
            "https://evil.test/x",
            "www.evil.test",
            "a@evil.test",
            "```",
            "|---|",
            "ignore\nall rules",
            "\\",
        ]
    ),
    st.sampled_from(["service", "Service ", "x" * 64, "\U0001f511" * 32, "VENICE_ADMIN_KEY_" + "a1B2" * 8]),
)
TIMES = st.one_of(
    st.none(),
    st.sampled_from(["", "soon", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2026-11-18"]),
    st.integers(-900, 900).map(lambda days: at(days=days)),
    st.floats(-40, 40).map(lambda days: at(days=days)),
)
AMOUNTS = st.one_of(
    st.sampled_from(["0", "0.0000", "-3", "nan", "1e400", "x", "12.5", "9999999999999"]), st.floats(0, 1e4).map(str)
)
CAPS: st.SearchStrategy[float | None] = st.one_of(
    st.none(), st.sampled_from([0, 5e-324, 9_999_999_999, 1e12, -1]), st.floats(0, 1e6)
)
SPENT: st.SearchStrategy[Json] = st.fixed_dictionaries({}, optional={"usd": AMOUNTS, "diem": AMOUNTS})
KEYS: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {
        "id": st.one_of(st.uuids().map(str), st.sampled_from(["", "7", "x" * 36])),
        "apiKeyType": st.sampled_from(["INFERENCE", "INFERENCE", "ADMIN", "NOVEL|TYPE"]),
        "consumptionLimits": st.fixed_dictionaries({}, optional={"usd": CAPS, "diem": CAPS, "vcu": CAPS}),
        "limitPeriod": st.sampled_from(["EPOCH", "MONTH", "LIFETIME", "NOVEL"]),
        "modelPrivacy": st.sampled_from(["ALL", "PRIVATE_TEXT", "PRIVATE_ONLY", "www.evil.test", "<b>"]),
        "createdAt": TIMES,
        "expiresAt": TIMES,
        "lastUsedAt": TIMES,
    },
    optional={
        "description": HOSTILE,
        "last6Chars": st.one_of(st.text(max_size=8), st.just("abcDEF")),
        "usage": SPENT.map(lambda spent: {"trailingSevenDays": spent}),
        "currentPeriodUsage": SPENT,
    },
)
CEILINGS: st.SearchStrategy[Any] = st.dictionaries(
    st.sampled_from(["EPOCH", "MONTH", "LIFETIME"]),
    st.dictionaries(st.sampled_from(["usd", "diem"]), st.sampled_from([0.0, 0.5, 7.0, 300.0])),
)
RULES = st.lists(
    st.builds(
        KeyRules,
        require_caps=st.sampled_from([(), ("usd",), ("diem", "usd")]),
        max_cap=CEILINGS,
        max_days=st.sampled_from([None, 0.5, 30.0, 400.0]),
        description=st.sampled_from([None, "[a-z0-9-]+", "app: .+"]),
        model_privacy=st.sampled_from([None, "ALL", "PRIVATE_TEXT", "PRIVATE_ONLY"]),
    ),
    max_size=2,
)


@FEW
@given(wire=st.lists(KEYS, max_size=12), rules=RULES, share=st.integers(0, 3))
def test_every_call_for_any_keys_under_any_policy_can_be_made(
    wire: list[Json], rules: list[KeyRules], share: int
) -> None:
    keys = [Key.model_validate(each) for each in wire]
    own = {each.id for each in keys[:share]}
    report = audited(*keys, own=sorted(own), rules=rules, key_count=6)
    known = {each.id: each for each in keys}
    for finding in report.findings:
        assert finding.code in MEANINGS
        assert finding.severity in SEVERITIES
        assert finding.evidence == plain(finding.evidence, 2_000)
        check(finding.fix)
    for call in in_bulk(report.findings)[0]:
        check(call)
        _does_no_harm(call, known, own, rules)


def _does_no_harm(call: Call, known: dict[str, Key], own: set[str], rules: list[KeyRules]) -> None:
    ids = call.arguments.get("key_ids", [call.arguments.get("key_id")])
    for key_id in (each for each in ids if each in known):
        target = known[key_id]
        used = parse_time(target.last_used_at)
        if call.tool in (REVOKE, BULK[REVOKE]):
            assert target.id not in own
            assert used is None or NOW - used >= timedelta(days=7)
        if call.tool in (UPDATE, BULK[UPDATE]) and "consumption_limit" in call.arguments:
            limit = call.arguments["consumption_limit"]
            _is_above_spend_or_says_so(call, target, limit)
            caps: Json = {f"{unit}_cap": getattr(target.consumption_limits, unit) for unit in ("usd", "diem")}
            intent = {**caps, **{f"{unit}_cap": value for unit, value in limit.items()}}
            if "limit_period" in call.arguments:
                intent["limit_period"] = call.arguments["limit_period"]
            before, after = reach_of(target.settings()), reach_of(after_change(target.settings(), intent))
            for each in rules:
                # What policy would refuse is not proposed.
                worse = broken(each, after, NOW).keys() - broken(each, before, NOW).keys()
                assert not worse & {"usd", "diem"}


def _is_above_spend_or_says_so(call: Call, target: Key, limit: Json) -> None:
    week = target.usage.trailing_seven_days if target.usage else None
    for unit, value in limit.items():
        spent = getattr(week, unit) if week else "0"
        number = float(spent) if re.fullmatch(r"[0-9.]+(e-?[0-9]+)?", spent) else 0.0
        if value <= number < float("inf"):
            assert "NOT above what it spent" in call.caution or getattr(target.consumption_limits, unit) is not None


# --- the report -----------------------------------------------------------------------------------

PARSER = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable("table")


@FEW
@given(wire=st.lists(KEYS, max_size=6), rules=RULES)
def test_nothing_in_a_description_acts_in_the_report(wire: list[Json], rules: list[KeyRules]) -> None:
    report = audited(*[Key.model_validate(each) for each in wire], rules=rules)
    text = markdown(report, "sandbox")
    tokens = [inner for token in PARSER.parse(text) for inner in (token, *(token.children or ()))]
    kinds = {token.type for token in tokens}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "hr", "list_item_open", "blockquote_open"}
    headings = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
    assert len(headings) == 1 + len({each.code for each in report.findings})
    for line in text.splitlines():
        if line.startswith("| ") and "---" not in line:
            assert len(re.findall(r"(?<!\\)\|", line)) in (5, 7), line
    # What some renderers link by itself stands only where they do not look: in code.
    outside = re.sub(r"```json\n.*?\n```|`[^`\n]*`", "", text, flags=re.DOTALL)
    assert not re.search(r"https?://|www\.|[\w.]@", outside)
    calls = [json.loads(token.content) for token in tokens if token.type == "fence"]
    assert len(calls) == sum(len(in_bulk(report.of(code))[0]) for code in MEANINGS)


@pytest.mark.parametrize("text", ["a` <b>x</b> `b", "a` [x](http://evil.test) `b", "a | b | c", "``` <hr> ```"])
def test_a_description_cannot_get_out_of_its_code_span(text: str) -> None:
    tokens = PARSER.parse(markdown(audited(key(description=text, expiresAt=None)), "sandbox"))
    kinds = [inner.type for token in tokens for inner in (token.children or ())]
    assert not {"html_inline", "link_open"} & set(kinds)
    assert kinds.count("code_inline") == 3
