"""Advice from the log of limit hits: patterns, the timeline, and a pace that is safe and not slower than it must be."""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.sandbox.door import open_door
from tests.test_harness import NOON
from venice_mcp.diagnosis.advice import advice_lines, verdict
from venice_mcp.diagnosis.hits import SAMPLE, Group, Hit, grouped, is_sample, read_hits, timeline
from venice_mcp.diagnosis.tuning import Limits, Pace, Typical, advise, limits_for, typical
from venice_mcp.models.wire import LogRow, RateLimitsAnswer, RateLimitsData, UsageAnswer, UsageEntry

MODEL = "zai-org-glm-5-1"
HOUR, DAY = 3600.0, 86400.0


def row(ago_s: float = 60.0, kind: str = "RPM", model: str = MODEL, key_id: str = "key-a") -> LogRow:
    at = (NOON - timedelta(seconds=ago_s)).isoformat()
    return LogRow(api_key_id=key_id, model_id=model, rate_limit_type=kind, timestamp=at)


def hits_of(ago_s: Iterable[float], kind: str = "RPM") -> list[Hit]:
    return read_hits([row(ago, kind) for ago in ago_s], NOON)[0]


def group_of(ago_s: Iterable[float], kind: str = "RPM", *, full: bool = False) -> Group:
    (group,) = grouped(hits_of(ago_s, kind), full=full)
    return group


# --- reading ---------------------------------------------------------------------------------------


def test_rows_are_read_oldest_first_and_made_harmless() -> None:
    rows = [row(1), row(500, "rpm\u202e"), row(90, "", "\x1b[31mendpoint:api/v1/image\n", "")]
    hits, illegible = read_hits(rows, NOON)
    assert illegible == 0
    assert [hit.at for hit in hits] == [NOON - timedelta(seconds=ago) for ago in (500, 90, 1)]
    assert [hit.kind for hit in hits] == ["RPM", "UNKNOWN", "RPM"]
    assert hits[1].model == "endpoint:api/v1/image"
    assert read_hits([row(model="")], NOON)[0][0].model == "model:unknown"


@pytest.mark.parametrize(
    "timestamp",
    ["", "soon", "17634672", "9780123045", "2026-11-18", "0001-01-01T00:00:00Z", "2026-11-18T12:05:01Z"],
)
def test_a_row_without_a_legible_time_is_counted_and_not_guessed(timestamp: str) -> None:
    rows = [row(), LogRow(rate_limit_type="RPM", timestamp=timestamp)]
    hits, illegible = read_hits(rows, NOON)
    assert (len(hits), illegible) == (1, 1)


def test_a_unix_time_in_seconds_or_milliseconds_is_a_time() -> None:
    at = NOON.replace(microsecond=0)
    for timestamp in (f"{at.timestamp():.0f}", f"{at.timestamp() * 1000:.0f}"):
        hits, illegible = read_hits([LogRow(rate_limit_type="RPM", timestamp=timestamp)], NOON)
        assert (hits[0].at, illegible) == (at, 0)


def test_a_row_slightly_in_the_future_is_clock_skew() -> None:
    ((hit,), illegible) = read_hits([LogRow(timestamp="2026-11-18T12:04:59.5Z")], NOON)
    assert (hit.at, illegible) == (NOON, 0)


def test_a_full_log_is_a_sample() -> None:
    assert is_sample([row()] * SAMPLE)
    assert not is_sample([row()] * (SAMPLE - 1))


ODD = st.one_of(st.text(max_size=40), st.datetimes().map(datetime.isoformat), st.integers().map(str))
ODD_ROW = st.builds(LogRow, api_key_id=ODD, model_id=ODD, rate_limit_tier=ODD, rate_limit_type=ODD, timestamp=ODD)


@given(st.lists(ODD_ROW, max_size=60))
def test_no_row_is_odd_enough_to_raise_and_none_is_lost(rows: list[LogRow]) -> None:
    hits, illegible = read_hits(rows, NOON)
    assert len(hits) + illegible == len(rows)
    assert hits == sorted(hits, key=lambda hit: hit.at)
    groups = grouped(hits, full=is_sample(rows))
    assert sum(group.count for group in groups) == len(hits)
    assert sum(timeline(hits, NOON).counts) == len(hits)
    for group in groups:
        lines = advice_lines([group], None, None, full=True)
        assert 1 <= len(lines) <= 4
        assert all(line.isprintable() for line in lines)


# --- patterns --------------------------------------------------------------------------------------


def steady(first_ago_s: float, last_ago_s: float, apart_s: float) -> list[float]:
    count = int((first_ago_s - last_ago_s) / apart_s) + 1
    return [first_ago_s - apart_s * number for number in range(count)]


HOURLY_JOB = [hour * HOUR + second for hour in range(10) for second in (0, 1, 2, 70)]
ALL_MORNING = steady(5 * HOUR, 0, 400)
SAME_HOUR_OF_A_FAR_DAY = [*ALL_MORNING, 40 * HOUR]

PATTERNS = [
    ("one hit", "RPM", [60], "single", "space_out"),
    ("thirty within a minute", "RPM", steady(60, 0, 2), "burst", "space_out"),
    ("three bursts, a quarter of an hour apart", "TPM", [*steady(1900, 1880, 1), 1000, 999, 2], "burst", "space_out"),
    ("retried for nine minutes", "RPM", steady(540, 0, 20), "burst", "space_out"),
    ("two, ten minutes apart", "RPM", [600, 0], "burst", "space_out"),
    ("three in ten minutes", "RPM", [600, 300, 0], "burst", "space_out"),
    ("a job at every full hour", "RPM", HOURLY_JOB, "burst", "space_out"),
    ("a hit an hour", "RPM", steady(20 * HOUR, 0, HOUR), "burst", "space_out"),
    ("every minute for ten", "RPM", steady(600, 0, 60), "sustained", "slow_down"),
    ("every four minutes for twenty", "TPM", steady(1200, 0, 240), "sustained", "slow_down"),
    ("every minute for half an hour", "RPM", steady(1800, 0, 60), "sustained", "higher_tier"),
    ("now and again all morning", "RPM", ALL_MORNING, "sustained", "higher_tier"),
    ("most of these hours, few of those days", "RPM", SAME_HOUR_OF_A_FAR_DAY, "burst", "space_out"),
    ("one day's allowance", "RPD", steady(3 * HOUR, 0, 300), "burst", "slow_down"),
    ("around one midnight", "RPD", [12.2 * HOUR, 11.8 * HOUR], "burst", "slow_down"),
    ("two days running", "RPD", [24 * HOUR, 23 * HOUR, 60], "sustained", "higher_tier"),
    ("two days of a month", "RPD", [29 * DAY, 60], "burst", "slow_down"),
    ("a single daily hit", "RPD", [60], "single", "slow_down"),
    ("failures", "FAILED_REQUESTS", steady(1800, 0, 60), "sustained", "mend_failures"),
    ("features", "UNSUPPORTED_FEATURE_REQUESTS", [60], "single", "other_model_or_feature"),
    ("a word of next year", "GPU_SECONDS", [60, 61], "burst", ""),
]


@pytest.mark.parametrize(("_", "kind", "ago_s", "pattern", "what"), PATTERNS, ids=[case[0] for case in PATTERNS])
def test_what_was_hit_is_told_apart(_: str, kind: str, ago_s: list[float], pattern: str, what: str) -> None:
    group = group_of(ago_s, kind)
    assert (group.pattern, group.count) == (pattern, len(ago_s))
    assert verdict([group], None, None) == what


def test_hits_are_grouped_by_model_and_limit_with_the_keys_that_had_most() -> None:
    rows = [row(9, key_id="b"), row(8, key_id="a"), row(7, key_id="b"), row(6, "TPM"), row(5, model="kimi-k2-6")]
    groups = grouped(read_hits(rows, NOON)[0])
    assert [(group.model, group.kind, group.count) for group in groups] == [
        (MODEL, "RPM", 3),
        ("kimi-k2-6", "RPM", 1),
        (MODEL, "TPM", 1),
    ]
    assert groups[0].keys == (("b", 2), ("a", 1))
    assert (groups[0].first, groups[0].last) == (NOON - timedelta(seconds=9), NOON - timedelta(seconds=7))


def test_a_full_log_of_seconds_does_not_pass_for_a_short_burst_only() -> None:
    seconds = steady(25, 0, 0.5)[:SAMPLE]
    group = group_of(seconds, full=True)
    assert group.cut
    assert "look again in ten minutes" in advice_lines([group], None, None, full=True)[-1]
    assert not group_of(seconds, full=False).cut
    assert not group_of([*steady(25, 0, 0.6), 2000], full=True).cut
    (of_one_model,) = grouped(hits_of(seconds), full=True, oldest=NOON - timedelta(hours=1))
    assert not of_one_model.cut, "the rest of the log reaches further back"


# --- the timeline ----------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=SAMPLE), st.floats(1, 1e9))
def test_a_timeline_fits_in_24_bins_that_hold_every_hit(ago_s: list[float], span_s: float) -> None:
    hits = [Hit(NOON - timedelta(seconds=ago), "RPM", MODEL, "") for ago in ago_s]
    whole = timeline(hits, NOON)
    recent = timeline(hits, NOON, span=timedelta(seconds=span_s))
    assert sum(whole.counts) == len(hits)
    assert sum(recent.counts) + recent.older == len(hits)
    for line in (whole, recent):
        assert len(line.starts) == len(line.counts) <= 24
        if line.starts:
            assert line.counts[0] > 0
            assert line.starts[-1] <= NOON < line.starts[-1] + timedelta(seconds=line.width_s)
            assert all((start - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() % line.width_s == 0
                       for start in line.starts)  # fmt: skip


@pytest.mark.parametrize(
    ("ago_s", "line"),
    [
        ([30], "11:59:30 |\u2588\u2581\u2581\u2581| 12:00:00 UTC, 10 s each"),
        ([230], "11:56:10 |\u2588" + "\u2581" * 23 + "| 12:00:00 UTC, 10 s each"),
        ([240], "11:56:00 |\u2588" + "\u2581" * 8 + "| 12:00:00 UTC, 30 s each"),
        ([3600, 3590, 10], "11:00 |\u2588" + "\u2581" * 10 + "\u2585\u2581| 12:00 UTC, 5 min each"),
        ([20 * HOUR], "2026-11-17 16:00 |\u2588" + "\u2581" * 20 + "| 2026-11-18 12:00 UTC, 1 h each"),
        ([5 * DAY + HOUR], "2026-11-13 06:00 |\u2588" + "\u2581" * 21 + "| 2026-11-18 12:00 UTC, 6 h each"),
        ([20 * DAY], "2026-10-29 |\u2588" + "\u2581" * 20 + "| 2026-11-18 UTC, 1 d each"),
        ([], ""),
    ],
)
def test_a_timeline_is_one_line_of_text(ago_s: list[float], line: str) -> None:
    assert timeline(hits_of(ago_s), NOON).line() == line


# --- limits ----------------------------------------------------------------------------------------


def stated(*models: tuple[str | None, list[tuple[str, float]]]) -> RateLimitsData:
    return RateLimitsData.model_validate(
        {
            "accessPermitted": True,
            "rateLimits": [
                {"apiModelId": model, "rateLimits": [{"type": name, "amount": value} for name, value in limits]}
                for model, limits in models
            ],
        }
    )


def test_limits_are_those_of_the_exact_model() -> None:
    data = stated(("Kimi", [("RPM", 1)]), ("kimi", [("RPM", 2), ("TPM", 3), ("RPD", 4)]), (None, [("RPM", 9)]))
    assert limits_for(data, "kimi") == Limits(rpm=2, rpd=4, tpm=3)
    assert limits_for(data, "Kimi") == Limits(rpm=1)
    assert limits_for(data, "KIMI") == Limits(rpm=1, rpd=4, tpm=3), "of two, the lowest"
    for unknown in ("kim", "kimi-2", ""):
        assert limits_for(data, unknown) is None


def test_odd_limits_are_left_out() -> None:
    data = stated((MODEL, [(" rpm ", 50), ("Rpm", 20), ("tpm", 0), ("RPD", -1), ("CREDITS", 7)]), ("x", [("RPM", 0)]))
    assert limits_for(data, MODEL) == Limits(rpm=20)
    assert limits_for(data, "x") is None


# --- the pace --------------------------------------------------------------------------------------

MILLION = 1_000_000.0


def paced(limits: Limits, tokens: float | None = None, latency_s: float | None = None, headroom: float = 0.9) -> Pace:
    pace = advise(limits, tokens_per_request=tokens, latency_s=latency_s, headroom=headroom)
    assert pace is not None
    return pace


def starts(pace: Pace, latency_ms: int, until_ms: int, spacing_s: float | None) -> list[int]:
    """When a client that follows the advice starts its requests, in milliseconds."""
    spacing_ms = round((spacing_s or 0) * 1000)
    under_way: deque[int] = deque()
    times: list[int] = []
    at = 0
    while at < until_ms and len(times) < 60_000:
        if pace.concurrency is not None and len(under_way) == pace.concurrency:
            at = max(at, under_way.popleft())
        times.append(at)
        under_way.append(at + latency_ms)
        at += spacing_ms
    return times


def most_within(times: Sequence[int], window_ms: int) -> int:
    return max(place - bisect_left(times, time - window_ms + 1) + 1 for place, time in enumerate(times))


RPM = st.one_of(st.integers(1, 600), st.sampled_from([1, 2, 20, 150, 500]))
RPD = st.one_of(st.none(), st.integers(1, 40_000))
TPM = st.one_of(st.none(), st.integers(1, 3_000_000))
LATENCY_MS = st.integers(1, 200_000)


@settings(deadline=None)
@given(RPM, TPM, RPD, st.integers(1, 200_000), LATENCY_MS, st.sampled_from([0.5, 0.9, 1.0]))
def test_a_client_that_follows_the_pace_is_never_limited(
    rpm: int, tpm: int | None, rpd: int | None, tokens: int, latency_ms: int, headroom: float
) -> None:
    limits = Limits(rpm, rpd, tpm)
    pace = paced(limits, tokens, latency_ms / 1000, headroom)
    assert pace.impossible == (tpm is not None and tokens > tpm)
    if pace.impossible:
        assert (pace.requests_per_minute, pace.spacing_s, pace.concurrency, pace.burst) == (0, None, None, 0)
        return
    assert pace.spacing_s is not None
    times = starts(pace, latency_ms, 600_000, pace.spacing_s)
    assert most_within(times, 60_000) <= rpm
    assert tpm is None or most_within(times, 60_000) * tokens <= tpm
    assert pace.requests_per_minute <= 60 / pace.spacing_s + 1e-6
    # The concurrency that is named does not hold the client up.
    assert pace.concurrency is not None
    assert pace.concurrency * pace.spacing_s >= latency_ms / 1000 - 1e-6
    assert (pace.concurrency - 1) * pace.spacing_s < latency_ms / 1000
    # From a standing start, minute for minute.
    assert pace.burst <= rpm
    assert tpm is None or pace.burst * tokens <= tpm
    if not pace.keep_spacing and pace.bound_by != "RPD":
        unspaced = [round_ * latency_ms for round_ in range(60_000 // latency_ms + 1) for _ in range(pace.concurrency)]
        assert most_within(unspaced, 60_000) <= rpm
        assert tpm is None or most_within(unspaced, 60_000) * tokens <= tpm
    if rpd is not None:
        assert pace.requests_per_day is not None
        assert 1 <= pace.requests_per_day <= rpd
        assert pace.burst <= rpd
        assert math.ceil(DAY / (pace.all_day_spacing_s or 0)) <= rpd
        assert (pace.all_day_spacing_s or 0) >= pace.spacing_s or pace.bound_by == "RPD"


@given(st.integers(1, 6000), TPM, st.integers(1, 200_000), st.floats(0.8, 0.95))
def test_the_pace_is_not_needlessly_slow(rpm: int, tpm: int | None, tokens: int, headroom: float) -> None:
    pace = paced(Limits(rpm, None, tpm), tokens, 2.5, headroom)
    assume(not pace.impossible)
    fits = min(rpm, tpm // tokens if tpm is not None else rpm)
    assert pace.spacing_s is not None
    assert 60 / pace.spacing_s >= (0.8 / 0.9) * headroom * fits - 1e-6
    rounding = {True: 1.0, False: 0.1}[pace.requests_per_minute >= 10] if pace.requests_per_minute >= 1 else 0.05
    assert pace.requests_per_minute >= 60 / pace.spacing_s - rounding - 1e-6


@settings(deadline=None)
@given(st.integers(1, 40_000))
def test_a_pace_for_all_day_uses_the_day(rpd: int) -> None:
    pace = paced(Limits(None, rpd, None), None, 2.0)
    assert pace.bound_by == "RPD"
    assert pace.spacing_s == pace.all_day_spacing_s
    times = starts(pace, 2000, 2 * int(DAY) * 1000, pace.spacing_s)
    assert 0.8 * rpd <= most_within(times, int(DAY) * 1000) <= rpd


@given(*[st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))] * 5)
def test_no_number_is_odd_enough_to_raise(
    rpm: float | None, rpd: float | None, tpm: float | None, tokens: float | None, latency_s: float | None
) -> None:
    limits = Limits(rpm, rpd, tpm)
    pace = advise(limits, tokens_per_request=tokens, latency_s=latency_s)
    for kind in ("RPM", "TPM", "RPD"):
        assert advice_lines([group_of([1], kind)], pace, limits, full=False)


def test_the_pace_of_a_usual_model() -> None:
    pace = paced(Limits(rpm=150, rpd=30_000, tpm=MILLION), 4000, 3.0)
    assert (pace.bound_by, pace.spacing_s, pace.requests_per_minute) == ("RPM", 0.45, 133)
    assert (pace.concurrency, pace.keep_spacing, pace.burst) == (7, False, 135)
    assert (pace.requests_per_day, pace.all_day_spacing_s) == (27_000, 3.2)
    assert pace.day_lasts_s == 27_000 * 0.45
    assert pace.allowed == pytest.approx({"RPM": 2.25, "TPM": 3.75, "RPD": 0.3125})


def test_large_requests_are_bound_by_their_tokens() -> None:
    pace = paced(Limits(rpm=150, tpm=MILLION), 60_000, 20.0)
    assert (pace.bound_by, pace.requests_per_minute, pace.spacing_s) == ("TPM", 14, 4.17)
    assert (pace.concurrency, pace.keep_spacing) == (5, False)


def test_two_requests_that_do_not_fit_one_minute_are_more_than_a_minute_apart() -> None:
    pace = paced(Limits(tpm=100_000), 60_000, None)
    assert pace.spacing_s is not None
    assert pace.spacing_s > 60
    assert pace.requests_per_minute == 0.89


def test_many_slow_requests_need_their_spacing() -> None:
    """120 at once, for two minutes each, would be more than RPM on their first second."""
    pace = paced(Limits(rpm=100), None, 120.0)
    assert (pace.concurrency, pace.keep_spacing) == (180, True)


def test_a_short_day_sets_the_pace() -> None:
    pace = paced(Limits(rpm=20, rpd=50), None, 2.0)
    assert (pace.bound_by, pace.spacing_s, pace.concurrency) == ("RPD", 1920.0, 1)
    assert pace.day_lasts_s == pytest.approx(45 * 3.34)
    assert pace.burst == 18
    assert paced(Limits(rpm=100, rpd=5)).burst == 4


def test_nothing_is_invented_for_what_is_not_known() -> None:
    pace = paced(Limits(rpm=150, tpm=MILLION))
    assert (pace.bound_by, pace.concurrency, pace.keep_spacing) == ("RPM", None, None)
    assert set(pace.allowed) == {"RPM"}
    assert pace.tokens_allowed == 900_000 // 134
    assert (pace.requests_per_day, pace.all_day_spacing_s, pace.day_lasts_s) == (None, None, None)
    assert advise(Limits(tpm=MILLION), tokens_per_request=None, latency_s=1) is None
    assert advise(Limits(), tokens_per_request=10, latency_s=1) is None


@pytest.mark.parametrize("headroom", [0, -1, 1.1, math.nan])
def test_headroom_is_a_share(headroom: float) -> None:
    with pytest.raises(ValueError, match="headroom"):
        advise(Limits(rpm=1), tokens_per_request=None, latency_s=None, headroom=headroom)


@pytest.mark.parametrize(("scenario", "kind"), [("rpm", "RPM"), ("tpm", "TPM")])
def test_a_load_that_was_refused_goes_through_at_the_pace(scenario: str, kind: str) -> None:
    door = open_door(scenario)
    body = {"model": MODEL, "max_tokens": 300, "messages": [{"role": "user", "content": "x" * 800}]}

    def load(count: int, apart_s: float) -> set[int]:
        found: set[int] = set()
        for _ in range(count):
            found.add(door.ask("POST", "/chat/completions", key="inference", json=body).status_code)
            door.clock.advance(seconds=apart_s)
        return found

    assert load(20, 1) == {200, 429}
    rows = [LogRow.model_validate(each) for each in door.get("/api_keys/rate_limits/log")["data"]]
    groups = grouped(read_hits(rows, door.clock.at)[0])
    assert {(group.model, group.kind) for group in groups} == {(MODEL, kind)}
    limits = limits_for(RateLimitsAnswer.model_validate(door.get("/api_keys/rate_limits")).data, MODEL)
    usual = typical(UsageAnswer.model_validate(door.get("/billing/usage-history")).data, MODEL)
    assert limits is not None
    assert usual is not None
    pace = paced(limits, usual.tokens_p90, usual.latency_median_s)
    assert pace.bound_by == kind
    assert pace.spacing_s is not None
    door.clock.advance(seconds=60)
    assert load(30, pace.spacing_s) == {200}


# --- the size of requests --------------------------------------------------------------------------


def billed(number: int, part: str = "llm-input-mtoken", model: str = MODEL, **details: Any) -> UsageEntry:
    known = {"promptTokens": 900, "completionTokens": 100, "inferenceExecutionTime": 2000, "requestId": f"r{number}"}
    return UsageEntry.model_validate({"sku": f"{model}-{part}", "inferenceDetails": known | details})


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(1, 10**5)), max_size=20), st.data())
def test_each_request_counts_once_however_many_rows_it_has(
    sizes: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    parts = ("llm-input-mtoken", "llm-output-mtoken", "llm-cache-write-5m-mtoken")
    entries = [
        billed(number, part, promptTokens=prompt, completionTokens=completion, inferenceExecutionTime=ms)
        for number, (prompt, completion, ms) in enumerate(sizes)
        for part in parts[: data.draw(st.integers(1, 3))]
    ]
    found = typical(data.draw(st.permutations(entries)), MODEL)
    if len(sizes) < 3:
        assert found is None
        return
    assert found is not None
    assert found.count == len(sizes)
    tokens = sorted(prompt + completion for prompt, completion, _ in sizes)
    assert found.tokens_median == (tokens[(len(tokens) - 1) // 2] + tokens[len(tokens) // 2]) / 2
    assert found.tokens_p90 == tokens[math.ceil(0.9 * len(tokens)) - 1]
    assert found.latency_p90_s == sorted(ms for *_, ms in sizes)[math.ceil(0.9 * len(sizes)) - 1] / 1000


def test_rows_that_each_tell_a_part_are_put_together() -> None:
    entries = [
        entry
        for number in range(3)
        for entry in (
            billed(number, completionTokens=None),
            billed(number, "llm-output-mtoken", promptTokens=None, inferenceExecutionTime=None),
        )
    ]
    assert typical(entries, MODEL) == Typical(3, 1000.0, 1000.0, 2.0, 2.0)


def test_another_model_with_a_longer_name_is_not_counted() -> None:
    entries = [billed(number, model="kimi-k2-6") for number in range(3)]
    assert typical(entries, "kimi-k2") is None
    assert typical(entries, "") is None
    assert typical(entries, "Kimi-K2-6") is not None
    assert typical([billed(number, model="deepseek-v4-pro-api") for number in range(3)], "deepseek-v4-pro") is not None


def test_rows_without_details_or_an_id_are_left_out() -> None:
    no_details = UsageEntry(sku=f"{MODEL}-image-unit")
    assert typical([*[billed(number, requestId="") for number in range(5)], no_details], MODEL) is None


def test_what_fewer_than_three_requests_tell_is_not_told() -> None:
    entries = [billed(number, promptTokens=None, completionTokens=None) for number in range(3)]
    assert typical(entries, MODEL) == Typical(3, None, None, 2.0, 2.0)


# --- the verdict and its words ---------------------------------------------------------------------

LIMITS = Limits(rpm=150, rpd=30_000, tpm=MILLION)


def test_large_requests_are_to_be_made_smaller() -> None:
    group = group_of(steady(1800, 0, 60), "TPM")
    assert verdict([group], paced(LIMITS, 60_000), LIMITS) == "smaller_requests"
    assert verdict([group], paced(LIMITS, MILLION + 1), LIMITS) == "smaller_requests"
    assert verdict([group], paced(LIMITS, 8_000), LIMITS) == "higher_tier"
    assert verdict([group_of([1], "RPM")], paced(LIMITS, 60_000), LIMITS) == "space_out"
    few = Limits(rpm=10, tpm=MILLION)
    assert verdict([group], paced(few, 60_000), few) == "higher_tier", "ten of them fit a minute's tokens"


def test_the_limit_that_was_hit_most_is_judged() -> None:
    groups = [group_of([1], "RPM"), group_of([1, 2], "FAILED_REQUESTS")]
    assert verdict(groups, None, None) == "mend_failures"
    assert verdict([], None, None) == ""


def test_advice_says_what_was_hit_what_helps_and_how_far_to_trust_it() -> None:
    lines = advice_lines([group_of(steady(60, 0, 2))], paced(LIMITS, 4000, 3.0), LIMITS, full=False)
    assert lines == [
        f"{MODEL}: 31 refusals by RPM, 2026-11-18 11:59:00 to 12:00:00 UTC, 1 burst, 1 min at the longest.",
        "The hits are short bursts: the same work fits if its requests start one after another.",
        "Pace for zai-org-glm-5-1: starts 0.45 s apart, 133 a minute (bound by RPM 150), at most 7 under way at once at"
        " 3 s each. RPD 30000"
        " then lasts 3 h 22 min; for all day 3.2 s apart.",
        "The log shows refusals only, not how much was let through; the limit is the account's per model, so its other"
        " keys count too.",
    ]


def test_advice_about_a_daily_limit_is_a_pace_for_the_day() -> None:
    lines = advice_lines([group_of(steady(600, 0, 15), "RPD")], paced(LIMITS, 4000, 3.0), LIMITS, full=False)
    assert "Spreading within the day does not help" in lines[1]
    assert lines[2] == "Pace for zai-org-glm-5-1, all day: starts 3.2 s apart, 27000 requests in 24 h (RPD 30000)."
    few = Limits(rpm=20, rpd=8)
    lines = advice_lines([group_of([3 * DAY, 2 * DAY, 1], "RPD")], paced(few), few, full=False)
    assert lines[0].endswith("3 refusals by RPD, 2026-11-15 12:00:00 to 2026-11-18 11:59:59 UTC, sustained.")
    assert (
        lines[2] == "Pace for zai-org-glm-5-1, all day: starts 12000 s (3 h 20 min) apart, 7 requests in 24 h (RPD 8)."
    )


def test_advice_about_failures_names_no_pace() -> None:
    text = "\n".join(advice_lines([group_of([1, 2], "FAILED_REQUESTS")], paced(LIMITS, 4000), LIMITS, full=False))
    assert "Mend what makes them fail" in text
    assert "apart" not in text


def test_advice_says_what_it_does_not_know() -> None:
    group = group_of([1])
    assert "size unknown, so keep each below 6716 tokens" in advice_lines([group], paced(LIMITS), LIMITS, full=True)[2]
    assert advice_lines([group], None, None, full=True)[2].startswith("No pace can be worked out")
    assert "last 50, so counts are of a sample" in advice_lines([group], None, None, full=True)[3]
    impossible = advice_lines([group_of([1], "TPM")], paced(LIMITS, 2 * MILLION), LIMITS, full=False)
    assert "No pace fits: a request of 2000000 tokens alone is above TPM 1000000" in impossible[2]
    assert advice_lines([], None, None, full=True) == []


@pytest.mark.parametrize(
    ("kind", "tokens", "latency_s"), [*product(("RPM", "TPM", "RPD"), (None, 100, 60_000), (None, 2.964))]
)
def test_advice_is_short(kind: str, tokens: float | None, latency_s: float | None) -> None:
    groups = [group_of(steady(1800, 0, 60), kind), group_of([9, 8], "FAILED_REQUESTS")]
    lines = advice_lines(groups, paced(LIMITS, tokens, latency_s), LIMITS, full=True)
    assert len(lines) == 4
    assert sum(len(line) for line in lines) <= 1000
