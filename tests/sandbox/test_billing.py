import csv
import io
import string
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.sandbox.door import NOON, Door, Json, open_door

HISTORY = "/billing/usage-history"
ANALYTICS = "/billing/usage-analytics"


def walk(door: Door, **query: Any) -> list[Json]:
    """Every entry, page after page; a follow-up sends the cursor alone."""
    entries: list[Json] = []
    page = door.get(HISTORY, params=query)
    entries += page["data"]
    while page["nextCursor"]:
        page = door.get(HISTORY, params={"cursor": page["nextCursor"]})
        entries += page["data"]
    return entries


def test_history_ascends_and_a_walk_in_pages_sees_every_entry_once(demo: Door) -> None:
    whole = demo.get(HISTORY)
    assert whole["nextCursor"] is None
    assert len(whole["data"]) > 500
    times = [entry["timestamp"] for entry in whole["data"]]
    assert times == sorted(times)
    assert walk(demo, pageSize=97) == whole["data"]


def test_history_spans_thirty_days_and_every_currency(demo: Door) -> None:
    entries = demo.get(HISTORY)["data"]
    days = {entry["timestamp"][:10] for entry in entries}
    assert len(days) >= 30
    assert set(Counter(entry["currency"] for entry in entries)) == {"USD", "DIEM", "BUNDLED_CREDITS"}
    assert all(entry["amount"] < 0 for entry in entries)
    assert {entry["inferenceDetails"] is None for entry in entries} == {True, False}


def test_a_cursor_carries_the_filters(demo: Door) -> None:
    query = {
        "currency": "DIEM",
        "startTimestamp": "2026-10-01T00:00:00Z",
        "endTimestamp": "2026-10-10T00:00:00Z",
    }
    entries = walk(demo, pageSize=10, **query)
    assert len(entries) > 20
    assert {entry["currency"] for entry in entries} == {"DIEM"}
    assert all("2026-10-01" <= entry["timestamp"] < "2026-10-10" for entry in entries)


def test_the_start_is_inclusive_and_the_end_is_exclusive(demo: Door) -> None:
    times = sorted({entry["timestamp"] for entry in demo.get(HISTORY)["data"]})
    start, end = times[40], times[60]
    found = {entry["timestamp"] for entry in walk(demo, startTimestamp=start, endTimestamp=end)}
    assert found == set(times[40:60])


@pytest.mark.parametrize(
    "query",
    [
        "pageSize=9",
        "pageSize=1001",
        "pageSize=ten",
        "pageSize=10.0",
        "pageSize=",
        "currency=VCU",
        "currency=USD&currency=DIEM",
        "startTimestamp=2026-10-01",
        "startTimestamp=2026-10-01T00:00:00%2B00:00",
        "startTimestamp=2026-13-01T00:00:00Z",
        "endTimestamp=2026-10-01T00:00:00." + "0" * 30 + "Z",
        "startTimestamp=2026-10-02T00:00:00Z&endTimestamp=2026-10-02T00:00:00Z",
        "startTimestamp=2026-10-03T00:00:00Z&endTimestamp=2026-10-02T00:00:00Z",
        "cursor=",
        "cursor=AAAA",
        "cursor=***",
        "cursor=" + "A" * 513,
    ],
)
def test_history_refuses_what_venice_refuses(demo: Door, query: str) -> None:
    answer = demo.ask("GET", f"{HISTORY}?{query}")
    assert answer.status_code == 400
    assert answer.json()["details"]


def test_a_follow_up_sends_the_cursor_and_nothing_else(demo: Door) -> None:
    cursor = demo.get(HISTORY, params={"pageSize": 10})["nextCursor"]
    assert 0 < len(cursor) <= 512
    assert demo.ask("GET", HISTORY, params={"cursor": cursor, "pageSize": 10}).status_code == 400
    assert demo.ask("GET", HISTORY, params={"cursor": cursor}).status_code == 200


def test_a_cursor_with_any_character_altered_is_refused() -> None:
    door = open_door("demo", limits=False)
    cursor: str = door.get(HISTORY, params={"pageSize": 10})["nextCursor"]
    for place in range(0, len(cursor), 7):
        altered = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        assert door.ask("GET", HISTORY, params={"cursor": altered}).status_code == 400
    assert door.ask("GET", HISTORY, params={"cursor": cursor[:-1]}).status_code == 400


def test_no_other_spelling_of_a_cursor_passes_for_it() -> None:
    door = open_door("demo", limits=False)
    for size in (10, 100):  # cursors of two lengths, of which one leaves unused bits in the last character
        cursor: str = door.get(HISTORY, params={"pageSize": size})["nextCursor"]
        others = {cursor[:-1] + last for last in string.ascii_letters + string.digits} - {cursor}
        for other in (*others, cursor + "=", cursor + "A"):
            assert door.ask("GET", HISTORY, params={"cursor": other}).status_code == 400


def test_a_cursor_of_another_sandbox_is_refused(demo: Door) -> None:
    cursor = open_door("demo").get(HISTORY, params={"pageSize": 10})["nextCursor"]
    assert demo.ask("GET", HISTORY, params={"cursor": cursor}).status_code == 400


def test_a_cursor_expires_after_an_hour(demo: Door) -> None:
    cursor = demo.get(HISTORY, params={"pageSize": 10})["nextCursor"]
    demo.clock.advance(minutes=59, seconds=59)
    assert demo.ask("GET", HISTORY, params={"cursor": cursor}).status_code == 200
    demo.clock.advance(seconds=1)
    assert demo.ask("GET", HISTORY, params={"cursor": cursor}).status_code == 400


def test_history_as_csv_holds_the_same_entries(demo: Door) -> None:
    as_json = demo.get(HISTORY, params={"pageSize": 10})["data"]
    answer = demo.ask("GET", HISTORY, params={"pageSize": 10}, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == (
        "attachment; filename=billing-usage-history-20261015T120000250Z.csv"
    )
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    for row, entry in zip(rows, as_json, strict=True):
        assert (row["timestamp"], row["sku"], float(row["amount"])) == (
            entry["timestamp"],
            entry["sku"],
            entry["amount"],
        )
        assert row["requestId"] == (entry["inferenceDetails"] or {"requestId": ""})["requestId"]
    cursor = answer.headers["x-next-cursor"]
    assert demo.get(HISTORY, params={"cursor": cursor})["data"][0] not in as_json


def test_the_last_page_of_csv_has_no_next_cursor(demo: Door) -> None:
    assert "x-next-cursor" not in demo.ask("GET", HISTORY, headers={"Accept": "text/csv"}).headers


def test_analytics_agree_with_the_history_day_by_day(demo: Door) -> None:
    spent: defaultdict[tuple[str, str], float] = defaultdict(float)
    for entry in demo.get(HISTORY)["data"]:
        spent[entry["timestamp"][:10], entry["currency"]] -= entry["amount"]
    analytics = demo.get(ANALYTICS, params={"lookback": "30d"})
    assert len(analytics["byDate"]) == 30
    for row in analytics["byDate"]:
        for currency in ("USD", "DIEM"):
            assert row[currency] == pytest.approx(spent[row["date"], currency])
    assert sum(row["USD"] for row in analytics["byDate"]) > 0


def test_models_keys_and_days_of_analytics_add_up_to_the_same(demo: Door) -> None:
    analytics = demo.get(ANALYTICS, params={"lookback": "30d"})
    usd = sum(row["USD"] for row in analytics["byDate"])
    assert sum(row["totalUsd"] for row in analytics["byModel"]) == pytest.approx(usd)
    assert sum(row["totalUsd"] for row in analytics["byKey"]) == pytest.approx(usd)
    for row in analytics["byModel"]:
        if "breakdown" in row:
            assert sum(part["units"] for part in row["breakdown"]) == row["totalUnits"]
    assert len(analytics["topModels"]) <= 8
    assert len(analytics["topKeyNames"]) <= 8
    web_app = next(row for row in analytics["byKey"] if row["apiKeyId"] is None)
    assert web_app["description"] == "Web App"


def test_analytics_agree_with_the_usage_of_each_key(demo: Door) -> None:
    # Counted from the same midnight, a LIFETIME key has spent what thirty and a few more days have.
    capped = next(key for key in demo.listed() if key.get("description") == "eval harness")
    start = (NOON - timedelta(days=40)).date().isoformat()
    analytics = demo.get(ANALYTICS, params={"startDate": start, "endDate": NOON.date().isoformat()})
    row = next(row for row in analytics["byKey"] if row["apiKeyId"] == capped["id"])
    assert f"{row['totalUsd']:.4f}" == capped["currentPeriodUsage"]["usd"]


def test_daily_rows_name_models_and_keys_and_carry_epoch_milliseconds(demo: Door) -> None:
    analytics = demo.get(ANALYTICS)
    for rows, names in (("byModelDaily", "topModels"), ("byKeyDaily", "topKeyNames")):
        for row in analytics[rows]:
            assert set(row) == {"date", *analytics[names]}
    newest = datetime.fromtimestamp(analytics["byModelDaily"][0]["date"] / 1000, UTC)
    assert newest == NOON.replace(hour=0, microsecond=0)


def test_analytics_look_back_a_week_unless_told_otherwise(demo: Door) -> None:
    assert demo.get(ANALYTICS)["lookback"] == "7d"
    assert len(demo.get(ANALYTICS)["byDate"]) == 7
    assert len(demo.get(ANALYTICS, params={"lookback": "90d"})["byDate"]) == 90
    span = demo.get(ANALYTICS, params={"startDate": "2026-10-01", "endDate": "2026-10-03"})
    assert span["lookback"] == "2026-10-01:2026-10-03"
    assert [row["date"] for row in span["byDate"]] == ["2026-10-03", "2026-10-02", "2026-10-01"]


@pytest.mark.parametrize(
    "query",
    [
        "lookback=91d",
        "lookback=0d",
        "lookback=7",
        "lookback=1w",
        "lookback=",
        "startDate=2026-10-01",
        "endDate=2026-10-01",
        "startDate=2026-10-02&endDate=2026-10-01",
        "startDate=2026-07-01&endDate=2026-10-01",
        "startDate=2026-02-30&endDate=2026-03-01",
        "startDate=2026-10-01T00:00:00Z&endDate=2026-10-02",
        "startDate=2026-10-01&endDate=2026-10-02&lookback=7d",
    ],
)
def test_analytics_refuse_what_venice_refuses(demo: Door, query: str) -> None:
    assert demo.ask("GET", f"{ANALYTICS}?{query}").status_code == 400


def test_a_deleted_key_keeps_its_part_of_the_analytics(demo: Door) -> None:
    key_id = next(key["id"] for key in demo.listed() if key.get("description") == "eval harness")
    before = demo.get(ANALYTICS)["byDate"]
    demo.ask("DELETE", "/api_keys", params={"id": key_id})
    after = demo.get(ANALYTICS)
    assert after["byDate"] == before
    assert key_id in [row["apiKeyId"] for row in after["byKey"]]


def test_the_old_usage_endpoint_is_gone_and_says_where_to_go(empty: Door) -> None:
    answer = empty.ask("GET", "/billing/usage", key=None)
    assert answer.status_code == 410
    assert answer.headers["deprecation"] == "@1783555200"
    assert answer.headers["sunset"] == "Wed, 16 Sep 2026 00:00:00 GMT"
    assert answer.headers["link"] == '</api/v1/billing/usage-history>; rel="successor-version"'


def test_balances_are_lower_case_in_billing_and_upper_case_in_rate_limits(demo: Door) -> None:
    assert demo.get("/billing/balance") == {
        "canConsume": True,
        "consumptionCurrency": "DIEM",
        "balances": {"diem": 61.5, "usd": 412.75},
        "diemEpochAllocation": 100.0,
    }
    limits = demo.get("/api_keys/rate_limits")["data"]
    assert limits["balances"] == {"USD": 412.75, "DIEM": 61.5}
    assert limits["nextEpochBegins"] == "2026-10-16T00:00:00.000Z"
    assert all(row["rateLimits"] for row in limits["rateLimits"])


def test_rate_limits_never_show_a_key_more_than_its_cap(demo: Door) -> None:
    made = demo.create(consumptionLimit={"usd": 10}, expiresAt="2026-12-01")
    limits = demo.get("/api_keys/rate_limits", key=made["apiKey"])["data"]
    assert limits["balances"] == {"USD": 10, "DIEM": 61.5}
    assert limits["keyExpiration"] == "2026-12-01T00:00:00.000Z"


def test_an_account_without_stake_has_no_diem(empty: Door) -> None:
    assert empty.get("/billing/balance")["balances"] == {"diem": None, "usd": 0}
    assert empty.get("/billing/balance")["consumptionCurrency"] is None
    assert empty.get("/api_keys/rate_limits")["data"]["balances"] == {"USD": 0}


@pytest.mark.parametrize(("wanted", "count"), [("all", 15), ("text", 6), ("code", 1), ("upscale", 1)])
def test_models_are_listed_by_type(empty: Door, wanted: str, count: int) -> None:
    listed = empty.get("/models", key=None, params={"type": wanted})
    assert (listed["type"], len(listed["data"])) == (wanted, count)


def test_an_unknown_type_of_model_is_refused(empty: Door) -> None:
    assert empty.refusal("GET", "/models?type=vision", key=None) == (400, "Invalid request parameters")
