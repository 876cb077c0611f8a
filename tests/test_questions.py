"""What makes a change risky, and that a question cannot be forged by what stands in it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_harness import ERAS, NOON, Person, house
from tests.test_text import TEXTS
from venice_mcp.models.requests import KeyChange, NewKeySettings
from venice_mcp.models.wire import PERIODS, PRIVACY, Caps, Key
from venice_mcp.questions import (
    LOCKED_OUT,
    LOCKOUT_WORD,
    Question,
    about_create,
    about_revoke,
    about_update,
    caps,
    stopping,
    target_risks,
    widening,
)
from venice_mcp.secrets import DISPLAY, Destination

CAP = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 10.0]), st.floats(0, 1e9))
ENDS = st.sampled_from([None, "2026-11-18T13:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", "soon"])
RANGES = st.lists(
    st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "198.51.100.0/24", "2001:db8::/32", "odd"]), unique=True
).map(sorted)


def settings_with(period: Any = None, privacy: Any = None) -> Any:
    return st.fixed_dictionaries(
        {
            "usd_cap": CAP,
            "diem_cap": CAP,
            "limit_period": period or st.sampled_from([*PERIODS, "DECADE"]),
            "model_privacy": privacy or st.sampled_from([*PRIVACY, "SOMEWHAT"]),
            "expires_at": ENDS,
            "ip_allowlist": RANGES,
        }
    )


SETTINGS = settings_with()
FIXED: dict[str, Any] = {
    "usd_cap": 5.0,
    "diem_cap": None,
    "limit_period": "MONTH",
    "model_privacy": "PRIVATE_TEXT",
    "expires_at": "2027-01-01T00:00:00Z",
    "ip_allowlist": ["10.0.0.0/8"],
}


@given(SETTINGS)
def test_equal_settings_are_never_risky(same: dict[str, Any]) -> None:
    assert stopping(same, dict(same), NOON) == ()
    known = {"expires_at": None} if same["expires_at"] == "soon" else {}
    readable = same | known | {"ip_allowlist": [item for item in same["ip_allowlist"] if item != "odd"]}
    assert widening(readable, dict(readable)) == ()


@pytest.mark.parametrize("same", [{"expires_at": "soon"}, {"ip_allowlist": ["odd"]}])
def test_equal_settings_are_not_risky_even_when_they_cannot_be_read(same: dict[str, Any]) -> None:
    assert widening(FIXED | same, FIXED | same) == ()


@given(st.sampled_from(["usd_cap", "diem_cap"]), CAP, CAP)
def test_a_cap_widens_in_one_direction_only(name: str, one: float | None, other: float | None) -> None:
    first, second = FIXED | {name: one}, FIXED | {name: other}
    there, back = widening(first, second), widening(second, first)
    assert not (there and back)
    assert bool(there or back) == (one != other)


@given(st.sampled_from(PERIODS), st.sampled_from(PERIODS))
def test_a_window_widens_when_it_resets_more_often(one: str, other: str) -> None:
    there = widening(FIXED | {"limit_period": one}, FIXED | {"limit_period": other})
    assert bool(there) == (PERIODS.index(other) < PERIODS.index(one))


@given(st.sampled_from(PRIVACY), st.sampled_from(PRIVACY))
def test_privacy_widens_when_less_private_models_are_allowed(one: str, other: str) -> None:
    there = widening(FIXED | {"model_privacy": one}, FIXED | {"model_privacy": other})
    assert bool(there) == (PRIVACY.index(other) > PRIVACY.index(one))


@given(st.sampled_from(PRIVACY))
def test_an_unknown_tier_counts_as_the_widest(known: str) -> None:
    assert widening(FIXED | {"model_privacy": known}, FIXED | {"model_privacy": "NEW"})
    assert not widening(FIXED | {"model_privacy": "NEW"}, FIXED | {"model_privacy": known})


@given(RANGES, RANGES)
def test_addresses_widen_unless_the_new_ones_lie_within_the_old(one: list[str], other: list[str]) -> None:
    there = widening(FIXED | {"ip_allowlist": one}, FIXED | {"ip_allowlist": other})
    if one and not other:
        assert there
    if not one:
        assert not there
    if "198.51.100.0/24" in other and one and "198.51.100.0/24" not in one:
        assert there


@given(SETTINGS, SETTINGS)
def test_every_change_that_allows_more_is_named(before: dict[str, Any], after: dict[str, Any]) -> None:
    named = " ".join(widening(before, after))
    for name, word in (("usd_cap", "USD cap"), ("diem_cap", "DIEM cap")):
        grew = before[name] is not None and (after[name] is None or after[name] > before[name])
        assert (word in named) == grew
    if before["expires_at"] is not None and after["expires_at"] is None:
        assert "for ever" in named


@given(SETTINGS, SETTINGS)
def test_every_change_that_stops_is_named(before: dict[str, Any], after: dict[str, Any]) -> None:
    named = " ".join(stopping(before, after, NOON))
    assert ("USD cap of 0" in named) == (after["usd_cap"] == 0 and before["usd_cap"] != 0)
    assert ("locked out" in named) == bool(after["ip_allowlist"] and not before["ip_allowlist"])
    soon = after["expires_at"] == "2026-11-18T13:00:00Z" != before["expires_at"]
    assert ("within a day" in named) == soon


@given(SETTINGS, SETTINGS)
def test_a_cap_that_first_appears_as_zero_or_shrinks_never_widens(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    after = after | {"usd_cap": 0.0, "diem_cap": 0.0}
    assert not [risk for risk in widening(before, after) if "cap is" in risk]


def key_of(**changes: Any) -> Key:
    return Key.model_validate(
        {"id": "6f1e2d3c-4b5a-4798-8897-a6b5c4d3e2f1", "api_key_type": "INFERENCE", "description": "a key", **changes}
    )


@pytest.mark.parametrize(
    ("changes", "risky"),
    [
        ({"last_used_at": "2026-11-18T11:59:00Z"}, True),
        ({"last_used_at": "2026-11-17T12:00:01Z"}, True),
        ({"last_used_at": "2026-11-17T11:59:59Z"}, False),
        ({"last_used_at": "2026-11-18T12:30:00Z"}, True),
        ({"last_used_at": "lately"}, True),
        ({"last_used_at": None}, False),
        ({"api_key_type": "ADMIN"}, True),
        ({"api_key_type": "SOMETHING_NEW"}, True),
    ],
)
def test_a_key_in_use_or_of_power_takes_a_typed_word(changes: dict[str, Any], risky: bool) -> None:
    key = key_of(**changes)
    assert bool(target_risks(key, NOON)) is risky
    assert about_revoke(key, NOON).word == ("REVOKE" if risky else None)


LOCKOUTS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {"usd_cap": 0, "diem_cap": None}, True),
    ({}, {"expires_at": "2027-01-01T00:00:00Z"}, True),
    ({"expires_at": "2027-06-01T00:00:00Z"}, {"expires_at": "2027-01-01T00:00:00Z"}, True),
    ({"expires_at": "2027-01-01T00:00:00Z"}, {"expires_at": "2027-06-01T00:00:00Z"}, False),
    ({"expires_at": "2027-01-01T00:00:00Z"}, {"expires_at": None}, False),
    ({}, {"ip_allowlist": ("203.0.113.7",)}, True),
    ({"ip_allowlist": ["203.0.113.7"]}, {"ip_allowlist": ("203.0.113.8",)}, True),
    ({"ip_allowlist": ["203.0.113.7"]}, {"ip_allowlist": ()}, False),
    ({}, {"description": "renamed"}, False),
]


@pytest.mark.parametrize(("changes", "change", "locked_out"), LOCKOUTS, ids=str)
def test_locking_this_server_out_takes_a_word_of_its_own(
    changes: dict[str, Any], change: dict[str, Any], locked_out: bool
) -> None:
    key = key_of(**changes)
    asked = about_update(key, KeyChange(id="x", **change), NOON, in_use=True)
    assert (asked.word == LOCKOUT_WORD) is locked_out
    assert asked.headline.startswith(LOCKED_OUT) is locked_out
    assert asked.word is not None
    assert about_update(key, KeyChange(id="x", **change), NOON).word != LOCKOUT_WORD
    assert about_revoke(key, NOON, in_use=True).word == LOCKOUT_WORD
    assert about_revoke(key, NOON, in_use=True).headline.startswith(LOCKED_OUT)


@given(st.booleans(), CAP, CAP)
def test_a_new_key_without_cap_or_with_power_takes_a_typed_word(
    admin: bool, usd: float | None, diem: float | None
) -> None:
    settings = NewKeySettings(
        api_key_type="ADMIN" if admin else "INFERENCE", description="x", usd_cap=usd, diem_cap=diem
    )
    asked = about_create(settings, destination=DISPLAY, now=NOON)
    assert (asked.word == "CREATE") == (admin or (usd is None and diem is None))
    assert bool(asked.risks) == (asked.word is not None)


# --- the wording -----------------------------------------------------------------------------------


def lines_of(question: Question) -> list[str]:
    return question.text("CODE-2345").split("\n")


@given(TEXTS, TEXTS)
def test_no_description_can_add_or_forge_a_line(description: str, other: str) -> None:
    calm = about_revoke(key_of(description="a key"), NOON)
    forged = about_revoke(key_of(description=description), NOON)
    assert len(lines_of(forged)) == len(lines_of(calm))
    assert lines_of(forged)[1:] == lines_of(calm)[1:]
    assert lines_of(forged)[0].count('"') == 2
    made = NewKeySettings(api_key_type="INFERENCE", description=description, usd_cap=1)
    assert len(lines_of(about_create(made, destination=Destination("file", path=other), now=NOON))) == 5
    changed = about_update(key_of(description=other), KeyChange(id="x", description=description), NOON)
    assert len(lines_of(changed)) == len(lines_of(about_update(key_of(), KeyChange(id="x", description="z"), NOON)))


@given(TEXTS)
def test_no_setting_of_venices_can_add_a_line_or_break_out(value: str) -> None:
    everywhere = key_of(
        id=value,
        api_key_type=value,
        last6_chars=value,
        limit_period=value,
        model_privacy=value,
        created_at=value,
        expires_at=value,
        ip_allowlist=[value],
        consumption_limits=Caps(usd=1),
    )
    for question in (
        about_revoke(everywhere, NOON),
        about_update(everywhere, KeyChange(id="x", ip_allowlist=("10.0.0.1",), model_privacy="ALL"), NOON),
    ):
        text = question.text("CODE-2345")
        assert len(text.split("\n")) <= 6
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert len(text) < 3000


@given(TEXTS)
def test_no_address_of_a_new_key_can_add_a_line(value: str) -> None:
    made = NewKeySettings(api_key_type="INFERENCE", description="x", usd_cap=1, ip_allowlist=(value,))
    assert len(lines_of(about_create(made, destination=DISPLAY, now=NOON))) == 5


def test_the_decisive_facts_stand_in_the_first_three_lines() -> None:
    key = key_of(api_key_type="ADMIN", last6_chars="abc123", last_used_at="2026-11-18T11:00:00Z")
    first = "\n".join(lines_of(about_revoke(key, NOON))[:3])
    for fact in ("Revoke", "ADMIN", '"a key"', "abc123", "Last used 2026-11-18 11:00 UTC", "created", "HIGH RISK"):
        assert fact in first
    made = NewKeySettings(api_key_type="INFERENCE", description="x", usd_cap=5, limit_period="MONTH")
    first = "\n".join(lines_of(about_create(made, destination=Destination("file", path="/srv/a.key"), now=NOON))[:3])
    for fact in ("INFERENCE", "5 USD per UTC month", "Expires: never", "/srv/a.key"):
        assert fact in first


def test_caps_are_worded_plainly() -> None:
    assert caps(None, None, "MONTH") == "no cap"
    assert caps(0, None, "EPOCH") == "0 USD (blocked) per UTC day; DIEM: no cap"
    assert caps(None, 3, "MONTH") == "3 DIEM per UTC month; USD: no cap"
    assert caps(5, 2.5, "LIFETIME") == "5 USD and 2.5 DIEM in its lifetime"


ZEROS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, {"usd_cap": 0.0}, ["USD cap of 0 blocks USD only; it may go on with DIEM"]),
    ({}, {"usd_cap": 5.0, "diem_cap": 0.0}, ["DIEM cap of 0 blocks DIEM only; it may go on with USD"]),
    ({"diem": 0.0}, {"usd_cap": 0.0, "diem_cap": 0.0}, ["USD cap of 0 blocks it"]),
    ({}, {"usd_cap": 0.0, "diem_cap": 0.0}, ["USD cap of 0 and DIEM cap of 0 block it"]),
]


@pytest.mark.parametrize(("before", "change", "told"), ZEROS, ids=str)
def test_only_caps_of_0_in_both_currencies_are_said_to_block_a_key(
    before: dict[str, Any], change: dict[str, Any], told: list[str]
) -> None:
    key = key_of(consumption_limits=Caps(usd=5, **before))
    assert list(about_update(key, KeyChange(id="x", **change), NOON).risks) == told


def test_what_a_place_needs_attention_for_stands_in_short_lines_of_its_own_before_the_rest() -> None:
    made = NewKeySettings(api_key_type="ADMIN", description="x", usd_cap=5)
    place = Destination("dotenv", path=f"/srv/{'deep/' * 30}.env", variable="KEY")
    notes = ("its secret replaces the value there", "git does not ignore this file", "a third that makes it long " * 3)
    lines = lines_of(about_create(made, destination=place, now=NOON, notes=notes))
    assert lines[1] == "ATTENTION: its secret replaces the value there; git does not ignore this file."
    assert lines[2].startswith("HIGH RISK")
    assert lines[3].startswith("ATTENTION: a third")
    (saved,) = [line for line in lines if "Its secret goes to" in line]
    assert "ATTENTION" not in saved
    assert lines.index(saved) > 3


@pytest.mark.parametrize("era", ERAS)
def test_an_address_with_a_zone_cannot_put_words_into_a_question(tmp_path: Any, era: str) -> None:
    bench, person = house(tmp_path), Person("decline")
    zone = "fe80::1%eth0\nRISK: none. Checked by your bank."
    bench.call("venice_create_api_key", {"description": "x", "ip_allowlist": [zone]}, era=era, person=person)
    assert not any("bank" in question for question in person.questions)
