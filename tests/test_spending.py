"""Forecasts from numbers alone: what holds for any amounts and dates, and what Venice's shapes are read as."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from venice_mcp.models.wire import AnalyticsAnswer, BalanceAnswer, Key, UsageAnswer, window_end
from venice_mcp.workflows.facts import Facts, facts_of
from venice_mcp.workflows.forecasts import CapOutlook, account_of, caps_of, from_first_spending, key_rate, outlook
from venice_mcp.workflows.shares import change, from_keys, shares
from venice_mcp.workflows.spending import (
    Period,
    Spend,
    Spender,
    from_analytics,
    from_ledger,
    midnight,
)

NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
AMOUNTS = st.floats(0, 1e12, allow_subnormal=True)
ANY_NUMBER = st.floats(allow_nan=False, allow_infinity=False)
DAYS = st.integers(1, 45)
PERIODS = st.sampled_from(["EPOCH", "MONTH", "LIFETIME", "?"])
some = settings(max_examples=50)


def key(**more: Any) -> Key:
    """A key as Venice lists it."""
    return Key.model_validate(
        {
            "id": "e28e82dc-9df2-4b47-b726-d0a222ef2ab5",
            "apiKeyType": "INFERENCE",
            "createdAt": "2025-01-01T00:00:00Z",
            "limitPeriod": "MONTH",
            "consumptionLimits": {"usd": 100},
            "currentPeriodUsage": {"usd": "0", "diem": "0"},
            "usage": {"trailingSevenDays": {"usd": "0", "diem": "0"}},
            **more,
        }
    )


def facts(now: datetime = NOON, **more: Any) -> Facts:
    return facts_of(key(**more), own=False, now=now)


def spent_by(amounts: dict[str, float], days: float, facts: Facts) -> Spend:
    one = Spender("k", {"usd": amounts.get("usd", 0.0), "diem": amounts.get("diem", 0.0)}, facts.key.id)
    return Spend("analytics", days, {NOON.date(): one.amounts}, [one], [])


def one_cap(now: datetime = NOON, rate: float = 0.0, threshold: float = 80, **more: Any) -> CapOutlook:
    """The outlook of a key's only cap when it spent `rate` a day in the last 7 days."""
    mine = facts(now, **more)
    spend = from_first_spending(spent_by({"usd": rate * 7, "diem": rate * 7}, 7.0, mine), None, Period(7, now), [mine])
    (found,) = caps_of([mine], spend, threshold)
    return found


# --- what holds for any numbers ----------------------------------------------------------------------


@some
@given(used=AMOUNTS, limit=AMOUNTS, per_day=AMOUNTS | st.none(), now=MOMENTS, left=st.floats(1e-6, 40) | st.none())
def test_nothing_is_reached_in_the_past_or_after_its_window(
    used: float, limit: float, per_day: float | None, now: datetime, left: float | None
) -> None:
    ends = None if left is None else now + timedelta(days=left)
    found = outlook(used, limit, per_day, now, ends)
    if found.reached_at is not None:
        assert found.reached_at >= now
        assert ends is None or found.reached_at < ends or used >= limit
        assert used >= limit or per_day
    if used >= limit:
        assert found.reached_at == now
    if found.projected is not None:
        assert math.isfinite(found.projected)
        assert found.projected >= min(found.percent, 1e12) * 0.999999
    assert math.isfinite(found.percent)


@some
@given(used=st.floats(0, 1e6), left=st.floats(1e-3, 1e6), per_day=st.floats(1e-6, 1e6), days=st.floats(1e-3, 40))
def test_a_cap_is_reached_in_its_window_exactly_if_it_is_projected_past_all_of_it(
    used: float, left: float, per_day: float, days: float
) -> None:
    found = outlook(used, used + left, per_day, NOON, NOON + timedelta(days=days))
    assert found.projected is not None
    assume(abs(found.projected - 100) > 0.01)
    assert (found.reached_at is not None) == (found.projected > 100)


def test_a_cap_that_would_be_reached_when_its_window_ends_is_not_reached() -> None:
    assert outlook(0, 10, 10, NOON, NOON + timedelta(days=1)).reached_at is None
    assert outlook(0, 10, 10.01, NOON, NOON + timedelta(days=1)).reached_at is not None


@some
@given(now=MOMENTS, days=DAYS)
def test_a_period_ends_today_and_the_one_before_is_as_long_and_touches_it(now: datetime, days: int) -> None:
    period = Period(days, now)
    first, last = period.before
    assert period.dates[-1] == now.date()
    assert len(period.dates) == days == (last - first).days + 1
    assert last + timedelta(days=1) == period.first
    # Today is a part of a day, and never none.
    assert max(days - 1, 1 / 24) <= period.elapsed <= days


@some
@given(rows=st.lists(st.tuples(st.integers(-3, 50), ANY_NUMBER, ANY_NUMBER), max_size=60), now=MOMENTS, days=DAYS)
def test_rates_are_finite_never_negative_and_those_of_days_add_up(
    rows: list[tuple[int, float, float]], now: datetime, days: int
) -> None:
    period = Period(days, now)
    sent = [
        {"date": (now.date() - timedelta(days=ago)).isoformat(), "USD": usd, "DIEM": diem} for ago, usd, diem in rows
    ]
    spend = from_analytics(AnalyticsAnswer.model_validate({"byDate": sent}), period.dates, period.elapsed)
    assert spend is not None
    assert set(spend.daily) <= set(period.dates)
    parts = [spend.daily.get(day, {"usd": 0.0, "diem": 0.0}) for day in period.dates]
    for unit in ("usd", "diem"):
        rate = spend.per_day(unit)
        assert 0 <= rate < math.inf
        assert math.isclose(
            rate, min(math.fsum(part[unit] for part in parts), 1e12) / period.elapsed, rel_tol=1e-9, abs_tol=1e-300
        )


@some
@given(amounts=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1, max_size=30))
def test_shares_of_all_keys_make_a_hundred_percent_in_each_currency(amounts: list[tuple[float, float]]) -> None:
    spenders = [Spender(f"k{n}", {"usd": usd, "diem": diem}, f"id{n}") for n, (usd, diem) in enumerate(amounts)]
    found = shares(spenders, 7, None, 7)
    for place, unit in enumerate(("usd", "diem")):
        total = math.fsum(each.percent["usd" if unit == "usd" else "diem"] for each in found)
        assert math.isclose(total, 100, rel_tol=1e-6) or not any(pair[place] > 1e-300 for pair in amounts)
    assert [each.weight for each in found] == sorted((each.weight for each in found), reverse=True)


@some
@given(now=AMOUNTS, before=AMOUNTS)
def test_a_change_is_told_for_any_two_rates(now: float, before: float) -> None:
    told = change(now, before)
    assert (told is None) == (now <= 0 and before <= 0)
    assert (told == "new") == (now > 0 and before <= 0)
    assert (told == "gone") == (now <= 0 and before > 0)


@some
@given(
    used=ANY_NUMBER,
    cap=ANY_NUMBER,
    rate=AMOUNTS,
    now=MOMENTS,
    period=PERIODS,
)
def test_any_key_gets_an_outlook_and_a_cap_of_zero_never_a_warning(
    used: float, cap: float, rate: float, now: datetime, period: str
) -> None:
    found = one_cap(
        now,
        rate,
        consumptionLimits={"usd": cap},
        currentPeriodUsage={"usd": str(used)},
        limitPeriod=period,
        createdAt=now.isoformat(),
    )
    assert not (cap <= 0 and found.warned)
    if found.outlook is not None and found.outlook.reached_at is not None:
        assert found.outlook.reached_at >= now


@some
@given(usd=ANY_NUMBER | st.none(), diem=ANY_NUMBER | st.none(), of=ANY_NUMBER | st.none(), now=MOMENTS)
def test_any_balance_gets_an_outlook(usd: float | None, diem: float | None, of: float | None, now: datetime) -> None:
    found = account_of(usd, diem, of, Spend("analytics", 7.0, {now.date(): {"usd": 3.0, "diem": 2.0}}, [], []), now)
    assert (found.usd is None, found.diem is None) == (usd is None, diem is None)
    for each in (found.usd, found.diem):
        if each is not None and each.reached_at is not None:
            assert each.reached_at >= now
            assert each.ends is None or each.reached_at <= each.ends


# --- caps --------------------------------------------------------------------------------------------


def test_windows_end_at_midnight_on_the_first_or_never() -> None:
    assert window_end("EPOCH", NOON) == datetime(2026, 11, 19, tzinfo=UTC)
    assert window_end("MONTH", NOON) == datetime(2026, 12, 1, tzinfo=UTC)
    assert window_end("MONTH", datetime(2026, 12, 31, 23, 59, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert window_end("LIFETIME", NOON) is None


def test_a_daily_cap_goes_by_the_pace_of_its_own_day() -> None:
    # 6 of 10 by noon is 12 a day, whatever the average of the week was.
    found = one_cap(
        rate=0.1, limitPeriod="EPOCH", consumptionLimits={"usd": 10}, currentPeriodUsage={"usd": "6"}
    ).outlook
    assert found is not None
    assert found.per_day == 12
    assert found.reached_at == datetime(2026, 11, 18, 20, tzinfo=UTC)


def test_a_monthly_cap_goes_by_the_rate_of_the_period() -> None:
    found = one_cap(rate=10, currentPeriodUsage={"usd": "20"})
    assert found.state == "will be reached"
    assert found.outlook is not None
    assert found.outlook.reached_at == NOON + timedelta(days=8)
    slow = one_cap(rate=1, currentPeriodUsage={"usd": "20"})
    assert slow.state == "fine"
    assert slow.outlook is not None
    assert slow.outlook.reached_at is None
    assert slow.outlook.projected == pytest.approx(32.5)


def test_a_young_key_goes_by_the_days_it_has_existed() -> None:
    found = one_cap(rate=1, createdAt="2026-11-17T12:00:00Z", currentPeriodUsage={"usd": "7"}).outlook
    assert found is not None
    assert found.per_day == pytest.approx(7)


def test_a_key_made_an_hour_ago_is_not_told_to_spend_that_every_hour() -> None:
    found = one_cap(rate=1, createdAt="2026-11-18T11:00:00Z").outlook
    assert found is not None
    assert found.per_day == pytest.approx(7)


def test_a_key_that_expires_before_its_cap_is_reached_does_not_reach_it() -> None:
    given: dict[str, Any] = {"limitPeriod": "LIFETIME", "currentPeriodUsage": {"usd": "20"}}
    assert one_cap(rate=10, **given).state == "will be reached"
    found = one_cap(rate=10, expiresAt="2026-11-20T12:00:00Z", **given)
    assert found.state == "fine"
    assert found.outlook is not None
    assert found.outlook.projected == pytest.approx(40)


def test_a_lifetime_cap_that_lasts_for_months_is_no_warning() -> None:
    found = one_cap(rate=1, limitPeriod="LIFETIME", currentPeriodUsage={"usd": "20"})
    assert found.state == "fine"
    assert found.outlook is not None
    assert found.outlook.reached_at == NOON + timedelta(days=80)


def test_worst_comes_first() -> None:
    used = {"zero": "0", "low": "10", "mid": "81", "full": "100", "soon": "50"}
    every = [
        facts(
            id=name,
            description=name,
            consumptionLimits={"usd": 0 if name == "zero" else 100},
            currentPeriodUsage={"usd": amount},
        )
        for name, amount in used.items()
    ]
    rates = [Spender("soon", {"usd": 70.0, "diem": 0.0}, "soon")]
    found = caps_of(every, Spend("analytics", 7.0, {}, rates, []), 80)
    assert [(each.facts.key.description, each.state) for each in found] == [
        ("full", "used up"),
        ("soon", "will be reached"),
        ("mid", "above threshold"),
        ("low", "fine"),
        ("zero", "blocked on purpose"),
    ]


@pytest.mark.parametrize("usage", [None, {}, {"usd": "many"}, {"usd": "nan"}, {"usd": "-1"}])
def test_spend_that_is_not_stated_is_not_taken_for_nothing(usage: Any) -> None:
    found = one_cap(rate=50, currentPeriodUsage=usage)
    assert found.state == "spend not stated"
    assert not found.warned


# --- the account -------------------------------------------------------------------------------------


def spending(**today: float) -> Spend:
    return Spend(
        "analytics", 6.5, {NOON.date(): {"usd": today.get("usd", 0.0), "diem": today.get("diem", 0.0)}}, [], []
    )


def test_the_usd_balance_ends_at_the_rate_of_the_period() -> None:
    found = account_of(100.0, None, None, spending(usd=65.0), NOON).usd
    assert found is not None
    assert found.reached_at == NOON + timedelta(days=10)


def test_diem_goes_by_what_was_used_since_midnight() -> None:
    found = account_of(None, 30.0, 100.0, spending(diem=1.0), NOON).diem
    assert found is not None
    # 70 in 12 hours: the other 30 take 5 h 8 min 34 s.
    assert found.reached_at is not None
    assert found.reached_at - NOON == pytest.approx(timedelta(days=30 / 140), abs=timedelta(seconds=1))
    lasting = account_of(None, 80.0, 100.0, spending(diem=1.0), NOON).diem
    assert lasting is not None
    assert lasting.reached_at is None
    assert lasting.projected == pytest.approx(40)


def test_without_an_allocation_the_analytics_tell_what_was_used_today() -> None:
    found = account_of(None, 30.0, None, spending(diem=70.0), NOON).diem
    assert found is not None
    assert (found.used, found.limit) == (70, 100)


# --- where rates begin -------------------------------------------------------------------------------

WEEK = Period(7, NOON)
KEY_ID = "e28e82dc-9df2-4b47-b726-d0a222ef2ab5"


def analytics(*rows: tuple[str, float, float], **more: Any) -> Spend:
    """Analytics of the week with these days, their USD and DIEM."""
    sent = [{"date": day, "USD": usd, "DIEM": diem} for day, usd, diem in rows]
    spend = from_analytics(AnalyticsAnswer.model_validate({"byDate": sent, **more}), WEEK.dates, WEEK.elapsed)
    assert spend is not None
    return spend


def by_key(day: str, *, name: str = "k", **totals: float) -> dict[str, Any]:
    """A key that spent on that day only."""
    at = int(datetime.fromisoformat(f"{day}T00:00:00Z").timestamp() * 1000)
    return {
        "byKey": [{"apiKeyId": KEY_ID, "description": name, **totals}],
        "byKeyDaily": [{"date": at, name: sum(totals.values())}],
        "topKeyNames": [name],
    }


@pytest.mark.parametrize(("first", "days"), [("2026-11-18", 1), ("2026-11-17", 1.5), ("2026-11-13", 5.5)])
def test_a_rate_is_of_the_time_since_the_first_spending_but_a_day_at_least(first: str, days: float) -> None:
    spend = from_first_spending(analytics((first, 10, 0), ("2026-11-12", 0, 13)), None, WEEK, [])
    assert spend.per_day("usd") == pytest.approx(10 / days)
    assert (str(spend.since["usd"].day), spend.since["usd"].days) == (first, days)
    # The other currency was spent all the time.
    assert spend.per_day("diem") == 2
    assert "diem" not in spend.since


def test_days_without_spending_count_when_there_was_some_before() -> None:
    before = Spend("analytics", 7, {date(2026, 11, 10): {"usd": 1.0, "diem": 0.0}}, [], [])
    now = analytics(("2026-11-18", 13, 13))
    spend = from_first_spending(now, before, WEEK, [])
    assert spend.per_day("usd") == 2
    assert spend.per_day("diem") == 13


def test_the_oldest_key_tells_the_hour_of_the_first_day_but_not_of_another() -> None:
    now = analytics(("2026-11-16", 9, 0))
    for created, days in (("2026-11-16T18:00:00Z", 1.75), ("2026-11-17T18:00:00Z", 2.5), ("2025-01-01T00:00:00Z", 2.5)):
        assert from_first_spending(now, None, WEEK, [facts(createdAt=created)]).since["usd"].days == days
    unsaid = [facts(createdAt="2026-11-16T18:00:00Z"), facts(id="b", createdAt=None)]
    assert from_first_spending(now, None, WEEK, unsaid).since["usd"].days == 2.5


def test_a_key_that_was_first_used_lately_goes_by_the_days_since() -> None:
    now, mine = analytics(**by_key("2026-11-17", totalUsd=6)), facts(description="k")
    assert key_rate(KEY_ID, "usd", from_first_spending(now, None, WEEK, [mine])) == 4
    (cap,) = caps_of([mine], from_first_spending(now, None, WEEK, [mine]), 80)
    assert cap.since is not None
    assert str(cap.since.day) == "2026-11-17"
    # Used before, or not to be told from another of the same name: all days count.
    before = analytics(**by_key("2026-11-05", totalDiem=1))
    assert key_rate(KEY_ID, "usd", from_first_spending(now, before, WEEK, [mine])) == pytest.approx(6 / 6.5)
    alike = [mine, facts(id="b", description="k")]
    assert key_rate(KEY_ID, "usd", from_first_spending(now, None, WEEK, alike)) == pytest.approx(6 / 6.5)


@some
@given(rows=st.lists(st.tuples(st.integers(-1, 8), st.floats(0, 1e6)), max_size=9), now=MOMENTS, days=DAYS, used=DAYS)
def test_rates_from_the_first_spending_are_never_lower_and_never_of_less_than_a_day_or_the_period(
    rows: list[tuple[int, float]], now: datetime, days: int, used: int
) -> None:
    period = Period(days, now)
    sent = [{"date": (now.date() - timedelta(days=ago)).isoformat(), "USD": usd} for ago, usd in rows]
    plain = from_analytics(AnalyticsAnswer.model_validate({"byDate": sent}), period.dates, period.elapsed)
    assert plain is not None
    made = facts(now, createdAt=(now - timedelta(days=used / 7)).isoformat())
    spend = from_first_spending(plain, None, period, [made])
    assert spend.per_day("usd") >= plain.per_day("usd")
    for begun in (*spend.since.values(), *spend.keys_since.values()):
        assert min(1, period.elapsed) <= begun.days < period.elapsed
        assert period.first <= begun.day <= period.last


# --- Venice's shapes ---------------------------------------------------------------------------------


def test_currencies_in_any_case_and_amounts_as_text_are_read() -> None:
    answer = AnalyticsAnswer.model_validate(
        {
            "byDate": [
                {"date": "2026-11-18", "USD": "1.5", "DIEM": 2},
                {"date": "2026-11-17T00:00:00.000Z", "usd": 0.5, "diem": "3"},
                {"date": int(midnight(date(2026, 11, 16)).timestamp() * 1000), "USD": 1},
            ],
            "byKey": [{"apiKeyId": "a", "description": "x", "totalUsd": "3", "totalDiem": 5, "totalUnits": 1}],
        }
    )
    spend = from_analytics(answer, Period(7, NOON).dates, 6.5)
    assert spend is not None
    assert (spend.total("usd"), spend.total("diem")) == (3, 5)
    assert spend.keys is not None
    assert dict(spend.keys[0].amounts) == {"usd": 3, "diem": 5}
    balance = BalanceAnswer.model_validate({"canConsume": True, "balances": {"USD": "412.75", "DIEM": 3}})
    assert (balance.balances.usd, balance.balances.diem) == (412.75, 3)


def test_ledger_entries_count_what_was_taken_in_usd_or_diem() -> None:
    rows = [("usd", -1.5), ("USD", -0.5), ("Diem", -3), ("BUNDLED_CREDITS", -9), ("USD", 20)]
    answer = UsageAnswer.model_validate(
        {
            "data": [
                {"timestamp": "2026-11-18T01:00:00Z", "sku": "glm-llm-input-mtoken", "amount": taken, "currency": unit}
                for unit, taken in rows
            ]
        }
    )
    spend = from_ledger(answer.data, Period(7, NOON), cut=False)
    assert (spend.total("usd"), spend.total("diem")) == (2, 3)
    assert spend.models is not None
    assert [each.name for each in spend.models] == ["glm"]


def test_a_sample_of_the_ledger_goes_by_the_time_it_is_of() -> None:
    answer = UsageAnswer.model_validate(
        {"data": [{"timestamp": f"2026-11-{day}T00:00:00Z", "amount": -4, "currency": "USD"} for day in (12, 14)]}
    )
    spend = from_ledger(answer.data, Period(7, NOON), cut=True)
    assert spend.days == 2
    assert spend.per_day("usd") == 4
    assert spend.until == datetime(2026, 11, 14, tzinfo=UTC)


def test_days_that_nobody_can_read_are_no_answer() -> None:
    unreadable = AnalyticsAnswer.model_validate({"byDate": [{"date": "some day", "USD": 5}]})
    assert from_analytics(unreadable, Period(7, NOON).dates, 6.5) is None
    empty = from_analytics(AnalyticsAnswer(), Period(7, NOON).dates, 6.5)
    assert empty is not None
    assert empty.per_day("usd") == 0


@pytest.mark.parametrize("daily", [None, "odd", [1, None, {"date": "x"}], [{"date": 1e300, "a": 1}], {"a": 1}])
def test_daily_rows_of_any_shape_break_nothing(daily: Any) -> None:
    answer = AnalyticsAnswer.model_validate({"byKeyDaily": daily, "topKeyNames": daily})
    spend = from_analytics(answer, Period(7, NOON).dates, 6.5)
    assert spend is not None
    assert spend.by_name == {}


def test_what_keys_say_of_their_week_stands_in_for_the_analytics() -> None:
    stated = facts(id="a", usage={"trailingSevenDays": {"usd": "7.5", "diem": "0"}})
    silent = facts(id="b", usage=None)
    found = from_keys([stated, silent])
    assert [(each.key_id, dict(each.amounts)) for each in found] == [("a", {"usd": 7.5, "diem": 0.0})]


def test_changes_are_told_of_rates_and_not_of_sums() -> None:
    now = [Spender("a", {"usd": 6.0, "diem": 0.0}, "1"), Spender("b", {"usd": 1.0, "diem": 0.0}, "2")]
    before = [Spender("a", {"usd": 7.0, "diem": 0.0}, "1"), Spender("c", {"usd": 2.0, "diem": 1.0}, "3")]
    found = shares(now, 6.0, before, 7)
    assert [(each.spender.name, each.change["usd"], each.change["diem"]) for each in found] == [
        ("a", "0 %", None),
        ("b", "new", None),
        ("c", "gone", "gone"),
    ]
    assert change(3.0, 2.0) == "+50 %"
    assert change(1.0, 2.0) == "-50 %"
    assert change(50.0, 2.0) == "x25"
