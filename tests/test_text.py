"""Other people's words are made harmless, whatever they are; times mean the same in every spelling."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_harness import NOON
from venice_mcp.errors import ArgumentError
from venice_mcp.text import amount, away, cell, parse_time, plain, plural, quoted, span, table, to_wire, when
from venice_mcp.tools.arguments import CreateApiKey
from venice_mcp.tools.times import expiry

NASTY = st.one_of(
    st.sampled_from(["\x1b[2K", "\x1b]0;title\x07", "\x1b]8;;https://evil.test\x1b\\", "\x9b31m", "\x1b", "["]),
    st.sampled_from(["\r\n", "\u2028", "\u202e", "\u2066", "\u200b", "\ufeff", "\U000e0041", "\u00ad", "\u3164"]),
    st.sampled_from(["\ud83d", "\x00", "\x08", "|", '"', "\u2026", "a\u0301\u0301\u0301\u0301", " | ", "Type YES"]),
    st.sampled_from(["\u0085", "\ufe0f", "\u1160", "\u2800", "x"]),
)
TEXTS = st.one_of(st.text(st.characters(codec=None)), st.lists(st.one_of(NASTY, st.text()), max_size=30).map("".join))
LIMITS = st.integers(1, 200)
FORBIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def harmless(text: str) -> bool:
    return not any(unicodedata.category(char) in FORBIDDEN for char in text)


@given(TEXTS, LIMITS)
def test_nothing_that_acts_on_a_reader_survives(text: str, limit: int) -> None:
    for made in (plain(text, limit), cell(text, limit), quoted(text, limit)):
        assert harmless(made)
        assert len(made.splitlines()) <= 1
        assert not set(made) & set("\u115f\u1160\u3164\uffa0\u2800\x1b")
        marks = "".join("m" if unicodedata.category(char).startswith("M") else "." for char in made)
        assert "mmm" not in marks


@given(TEXTS, LIMITS)
def test_what_is_made_plain_is_bounded_and_stays_as_it_is(text: str, limit: int) -> None:
    once = plain(text, limit)
    assert len(once) <= limit
    assert plain(once, limit) == once
    assert once == once.strip()


@given(
    st.text(st.characters(categories=("Lu", "Ll", "Nd", "Po")), max_size=64).filter(lambda text: text == plain(text))
)
def test_ordinary_words_stay_as_they_are(text: str) -> None:
    assert plain(text) == text


@given(TEXTS)
def test_an_escape_sequence_leaves_nothing_behind(after: str) -> None:
    assert plain("safe\x1b[31;1mred\x1b[0m") == "safered"
    assert "evil" not in plain("see \x1b]8;;https://evil.test\x1b\\here")
    assert "\x1b" not in plain("\x1b\x1b[[A" + after)


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_a_cell_cannot_forge_a_column_or_a_row(texts: list[str]) -> None:
    made = table([f"c{number}" for number in range(len(texts))], [[cell(text) for text in texts]])
    lines = made.split("\n")
    assert len(lines) == 2
    assert len(lines[1].split(" | ")) == len(texts)
    assert lines[1].count("|") == len(texts) - 1


@given(TEXTS, LIMITS)
def test_a_quotation_cannot_be_closed_early(text: str, limit: int) -> None:
    made = quoted(text, limit)
    assert made[0] == made[-1] == '"'
    assert made.count('"') == 2
    assert len(made) <= limit + 2


@given(st.integers(1, 10_000_000))
def test_a_huge_text_is_cut_before_it_is_looked_at(size: int) -> None:
    assert len(plain("a" * size, 10)) <= 10


def test_a_cut_is_marked() -> None:
    assert plain("a" * 100, 10) == "a" * 9 + "\u2026"
    assert plain("a" * 10, 10) == "a" * 10
    assert cell("") == "-"


# --- numbers ---------------------------------------------------------------------------------------


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=9_999_999_999))
def test_an_amount_reads_as_a_number_near_its_value(value: float) -> None:
    shown = amount(value)
    assert re.fullmatch(r"\d+(\.\d+)?", shown), shown
    assert abs(float(shown) - value) <= value * 1e-9


@pytest.mark.parametrize("value", [0.00001, 0.00004, 1e-9])
def test_a_tiny_cap_does_not_look_like_a_block(value: float) -> None:
    assert float(amount(value)) > 0


def test_plurals() -> None:
    assert (plural(1, "key"), plural(2, "key"), plural(0, "key")) == ("1 key", "2 keys", "0 keys")


# --- times -----------------------------------------------------------------------------------------

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
FUTURE = st.datetimes(datetime(2026, 11, 20), datetime(9998, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001


@given(MOMENTS, OFFSETS)
def test_an_instant_is_the_same_in_every_offset(moment: datetime, offset: timezone) -> None:
    assert parse_time(moment.astimezone(offset).isoformat()) == moment
    assert parse_time(moment.replace(tzinfo=None).isoformat()) == moment
    assert parse_time(to_wire(moment)) == moment.replace(microsecond=0)


@given(TEXTS)
def test_what_is_no_time_is_none_and_never_an_exception(text: str) -> None:
    found = parse_time(text)
    assert found is None or found.tzinfo is UTC
    assert harmless(when(text, NOON))


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_beyond_the_calendar_is_none(text: str) -> None:
    assert parse_time(text) is None


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001
def test_the_form_for_venice_always_has_four_digits_for_the_year(moment: datetime) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", to_wire(moment.replace(tzinfo=UTC)))


@given(FUTURE, OFFSETS)
def test_an_expiry_in_any_offset_is_the_same_instant_with_z(moment: datetime, offset: timezone) -> None:
    moment = moment.replace(microsecond=0)
    args = CreateApiKey(description="x", expires_at=moment.astimezone(offset).isoformat())
    assert expiry(args, NOON) == f"{moment:%Y-%m-%dT%H:%M:%S}Z"


@given(st.dates(datetime(2026, 11, 18, tzinfo=UTC).date()))
def test_a_date_alone_is_the_end_of_that_day_in_utc(day: object) -> None:
    assert expiry(CreateApiKey(description="x", expires_at=str(day)), NOON) == f"{day}T23:59:59Z"


@pytest.mark.parametrize("text", ["20270131", "2027-W04-7", " 2027-01-31 ", "2027-01-31"])
def test_every_spelling_of_a_date_is_the_end_of_that_day(text: str) -> None:
    assert expiry(CreateApiKey(description="x", expires_at=text), NOON) == "2027-01-31T23:59:59Z"


@given(st.floats(min_value=1e-3, max_value=36_500))
def test_days_count_from_now(days: float) -> None:
    end = parse_time(expiry(CreateApiKey(description="x", expires_in_days=days), NOON))
    assert end is not None
    assert abs((end - NOON).total_seconds() - days * 86_400) <= 1
    assert end > NOON


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=300_000)), OFFSETS)
def test_the_past_is_refused(ago: timedelta, offset: timezone) -> None:
    past = (NOON - ago).astimezone(offset).isoformat()
    with pytest.raises(ArgumentError, match="expires_at"):
        expiry(CreateApiKey(description="x", expires_at=past), NOON)


@pytest.mark.parametrize("days", [1e-9, 1e-7])
def test_an_expiry_within_this_second_is_not_sent_as_one_that_has_passed(days: float) -> None:
    try:
        end = parse_time(expiry(CreateApiKey(description="x", expires_in_days=days), NOON))
    except ArgumentError:
        return
    assert end is not None
    assert end > NOON


@given(st.timedeltas(min_value=timedelta(days=-40_000), max_value=timedelta(days=40_000)))
def test_how_far_away_a_time_is_says_its_direction(delta: timedelta) -> None:
    said = away(NOON + delta, NOON)
    assert span(delta) == span(-delta)
    if abs(delta) < timedelta(seconds=0.5):
        assert said == "just now"
        return
    assert said.startswith("in ") != said.endswith(" ago")
    assert re.search(r"[1-9]\d* (d|h|min|s)\b", said)


def seconds_in(said: str) -> int:
    units = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+) (\w+)", said))


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=40)))
def test_a_duration_is_the_nearest_one_that_can_be_said(delta: timedelta) -> None:
    exactly, said = delta.total_seconds(), span(delta)
    step = next(
        (size for least, size in ((14 * 86_400, 86_400), (86_400, 3_600), (60, 60)) if seconds_in(said) >= least), 1
    )
    assert abs(seconds_in(said) - exactly) <= step / 2
    assert not re.search(r"\b(24 h|60 min|60 s)\b", said)


@pytest.mark.parametrize(("days", "said"), [(1, "1 d"), (3, "3 d"), (13.999999, "14 d"), (1 / 24, "1 h"), (90, "90 d")])
def test_a_term_that_began_a_moment_ago_reads_as_it_was_given(days: float, said: str) -> None:
    assert span(timedelta(days=days, milliseconds=-800)) == said
