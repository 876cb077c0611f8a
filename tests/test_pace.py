"""Waiting the right amount, and never near the limit at which Venice blocks the account."""

from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_harness import NOON
from venice_mcp.client.pace import (
    FAILURE_WINDOW_S,
    MAX_WAIT_S,
    FailureBudget,
    backoff,
    seconds_until,
    wait_asked_for,
)

VENICE_BLOCKS_AFTER = 20
NUMBERS = st.one_of(st.floats().map(str), st.integers(-(10**18), 10**18).map(str), st.text(max_size=20))


@given(st.floats(min_value=0, max_value=120))
def test_a_short_duration_is_seconds(seconds: float) -> None:
    assert seconds_until(seconds, NOON, longest_s=120) == seconds


@given(st.floats(min_value=0, max_value=86_400))
def test_a_unix_time_is_understood_in_seconds_and_in_milliseconds(ahead: float) -> None:
    at = NOON.timestamp() + ahead
    assert seconds_until(at, NOON, longest_s=120) == pytest.approx(ahead, abs=0.01)
    assert seconds_until(at * 1000, NOON, longest_s=120) == pytest.approx(ahead, abs=0.01)


@given(st.floats(min_value=121, max_value=86_400_000))
def test_a_long_duration_is_milliseconds(milliseconds: float) -> None:
    assert seconds_until(milliseconds, NOON, longest_s=120) == pytest.approx(milliseconds / 1000)


@given(st.dictionaries(
    st.sampled_from(
        [
            "retry-after",
            "x-ratelimit-reset-requests",
            "x-ratelimit-reset-tokens",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-remaining-tokens",
        ]
    ),
    NUMBERS,
))  # fmt: skip
def test_no_header_makes_a_wait_negative_or_an_exception(headers: dict[str, str]) -> None:
    wait = wait_asked_for(headers, NOON)
    assert wait is None or 0 <= wait < float("inf")


def test_a_date_in_retry_after_is_understood() -> None:
    later = NOON + timedelta(seconds=90)
    assert wait_asked_for({"retry-after": format_datetime(later, usegmt=True)}, NOON) == 90
    assert wait_asked_for({"retry-after": format_datetime(NOON - timedelta(days=1), usegmt=True)}, NOON) == 0


@pytest.mark.parametrize("value", ["Wed, 18 Nov 2026 12:00:30", "Wed, 18 Nov 2026 12:00:30 -0000"])
def test_a_date_without_a_zone_is_no_exception(value: str) -> None:
    wait = wait_asked_for({"retry-after": value}, NOON)
    assert wait is None or wait >= 0


def test_retry_after_goes_before_the_reset_headers() -> None:
    headers = {"retry-after": "3", "x-ratelimit-reset-requests": "50", "x-ratelimit-remaining-requests": "0"}
    assert wait_asked_for(headers, NOON) == 3


def test_a_limit_that_is_not_used_up_asks_for_no_wait() -> None:
    headers = {"x-ratelimit-reset-requests": "50", "x-ratelimit-remaining-requests": "7"}
    assert wait_asked_for(headers, NOON) is None


@given(st.integers(0, 60), st.floats(0, 1))
def test_backoff_grows_within_bounds(attempt: int, chance: float) -> None:
    pause = backoff(attempt, lambda: chance)
    assert 0.25 <= pause <= 8 < MAX_WAIT_S


def failing(
    budget: FailureBudget, advance: Callable[[float], None], gaps: list[float], now: Callable[[], float]
) -> list[float]:
    """Try again and again, waiting as long as the budget says each time; when each try failed."""
    times: list[float] = []
    for gap in gaps:
        advance(gap)
        advance(budget.wait_s())
        assert budget.wait_s() <= 1e-6
        budget.record()
        times.append(now())
    return times


@given(st.lists(st.floats(0, 40), min_size=1, max_size=120))
def test_the_limit_of_failures_is_never_reached(gaps: list[float]) -> None:
    at = [1000.0]

    def advance(seconds: float) -> None:
        assert seconds >= 0
        at[0] += seconds + 1e-6

    times = failing(FailureBudget(lambda: at[0]), advance, gaps, lambda: at[0])
    for start in times:
        assert sum(start <= time < start + FAILURE_WINDOW_S for time in times) < VENICE_BLOCKS_AFTER


@given(st.lists(st.floats(0, 100), max_size=60))
def test_a_wait_is_bounded_by_the_window(moments: list[float]) -> None:
    at = [0.0]
    budget = FailureBudget(lambda: at[0])
    for moment in sorted(moments):
        at[0] = moment
        budget.record()
        assert 0 <= budget.wait_s() <= FAILURE_WINDOW_S
