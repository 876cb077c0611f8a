"""The forecast of spending through a real client: against the sandbox's own history, and with parts that fail."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import httpx
import pytest
from mcp_types import CallToolResult, ImageContent

from tests.e2e.bench import (
    ADMIN_KEY,
    ERAS,
    INFERENCE_KEY,
    KEYS,
    MODERN,
    Clock,
    Forward,
    Json,
    World,
    done,
    failed,
    text_of,
    world,
)
from venice_mcp.sandbox import Sandbox, create_app

pytestmark = pytest.mark.anyio

TOOL = "venice_forecast_spend"
NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)
ELAPSED = 6.5
"""Days of a week that ends today, at noon."""
MOST = 3_600
ANALYTICS, LEDGER, BALANCE = "/billing/usage-analytics", "/billing/usage-history", "/billing/balance"
NOW, BEFORE = "startDate=2026-11-12", "startDate=2026-11-05"
Answers = Mapping[str, httpx.Response]


@dataclass(frozen=True)
class Begun:
    """What two worlds may share: a Venice that began at noon in the middle of a month."""

    clock: Clock
    sandbox: Sandbox


def at_noon(folder: Path, scenario: str = "demo", env: Mapping[str, str] = KEYS) -> World:
    clock = Clock()
    clock.at = NOON
    sandbox = create_app(
        scenario=scenario, admin_key=ADMIN_KEY, inference_key=INFERENCE_KEY, limits=True, control=True, now=clock
    )
    return world(folder, share=cast("World", Begun(clock, sandbox)), env=env)


def answering(venice: World, answers: Answers) -> None:
    """Whatever is asked of an address that holds one of these words is answered so."""

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        found = next((answer for part, answer in answers.items() if part in str(request.url)), None)
        if found is None:
            return await forward()
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)

    venice.edge.hook = hook


def changing(venice: World, part: str, change: Callable[[Json], None]) -> None:
    """The JSON answers of such addresses are changed on their way."""

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward()
        if part not in str(request.url):
            return response
        await response.aread()
        body = response.json()
        change(body)
        return httpx.Response(response.status_code, json=body)

    venice.edge.hook = hook


def size(result: CallToolResult) -> int:
    """Characters of text and data together, as they are sent."""
    parts = (text_of(result), result.structured_content)
    return sum(len(json.dumps(part, ensure_ascii=False, separators=(",", ":"))) for part in parts)


def line_with(result: CallToolResult, start: str) -> str:
    (found,) = [line for line in text_of(result).splitlines() if line.startswith(start)]
    return found


def objects(table: Json) -> list[Json]:
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def row_of(table: Json, **wanted: str) -> Json:
    (found,) = [row for row in objects(table) if all(row[name] == value for name, value in wanted.items())]
    return found


async def history(venice: World, since: datetime, until: datetime) -> list[Json]:
    """Every entry of the ledger, read past our server and added up here."""
    query: dict[str, str] = {
        "startTimestamp": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "endTimestamp": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    entries: list[Json] = []
    while True:
        page = await venice.venice("GET", LEDGER, params=query)
        entries += page["data"]
        if page["nextCursor"] is None:
            return entries
        query = {"cursor": page["nextCursor"]}


def four_digits(value: float) -> float:
    return float(f"{value:.4g}") if value < 100 else round(value, 2)


# --- the numbers -------------------------------------------------------------------------------------


async def test_rates_days_and_the_end_of_the_balance_agree_with_the_history(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    entries = await history(venice, NOON - timedelta(days=6.5), NOON)
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for entry in entries:
        sums[entry["currency"], entry["timestamp"][:10]] -= entry["amount"]
    result = done(await venice.call(TOOL))
    assert [row["date"] for row in objects(result["daily"])] == [f"2026-11-{day}" for day in range(12, 19)]
    for unit in ("USD", "DIEM"):
        total = math.fsum(value for (currency, _), value in sums.items() if currency == unit)
        row = row_of(result["account"], currency=unit)
        assert row["spent"] == pytest.approx(four_digits(total))
        assert row["per_day"] == pytest.approx(four_digits(total / ELAPSED))
        for day in objects(result["daily"]):
            assert day[unit.lower()] == pytest.approx(four_digits(sums[unit, day["date"]]))
    usd = math.fsum(value for (currency, _), value in sums.items() if currency == "USD")
    lasts = 412.75 / (usd / ELAPSED)
    ends = datetime.fromisoformat(row_of(result["account"], currency="USD")["ends_at"])
    assert abs(ends - (NOON + timedelta(days=lasts))) < timedelta(minutes=2)
    assert f"lasts {round(lasts)} days" in result["summary"]


async def test_what_changed_is_told_against_the_days_before(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)

    async def rate(currency: str, first: datetime, days: float, until: datetime) -> float:
        entries = await history(venice, first, until)
        return -math.fsum(entry["amount"] for entry in entries if entry["currency"] == currency) / days

    today = NOON.replace(hour=0)
    now = await rate("USD", today - timedelta(days=6), ELAPSED, NOON)
    before = await rate("USD", today - timedelta(days=13), 7, today - timedelta(days=6))
    result = done(await venice.call(TOOL))
    assert result["before"] == "2026-11-05..2026-11-11"
    assert row_of(result["account"], currency="USD")["change"] == f"{round((now / before - 1) * 100):+d} %"


async def test_diem_of_today_goes_by_todays_pace(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    # 38.5 of 100 by noon: 77 at the reset.
    text = text_of(await venice.call(TOOL))
    assert "today's 61.5 DIEM last until the reset" in text
    assert "61.5 of 100 left today; at today's pace 77 % used at the reset, 00:00 UTC" in text

    def change(body: Json) -> None:
        body["balances"]["diem"] = "25"

    changing(venice, BALANCE, change)
    answer = await venice.call(TOOL)
    # 75 in 12 hours: the rest takes 4.
    assert "DIEM ends at 16:00 UTC (in 4 h), before the reset" in text_of(answer)
    assert done(answer)["warnings"] == ["DIEM will be used up at 2026-11-18 16:00 UTC."]
    assert row_of(done(answer)["account"], currency="DIEM")["ends_at"] == "2026-11-18T16:00Z"


async def test_every_cap_that_is_used_up_or_will_be_is_in_the_answer(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    worker, harness = venice.id_of("production-worker"), venice.id_of("eval harness")
    result = done(await venice.call(TOOL))
    listed = (await venice.venice("GET", "/api_keys"))["data"]
    used = {key["id"]: key.get("currentPeriodUsage") for key in listed}
    first = objects(result["caps"])[0]
    over = float(used[worker]["diem"]) >= 25
    assert (first["key_id"], first["state"]) == ((worker, "used up") if over else (harness, "will be reached"))
    row = row_of(result["caps"], key_id=harness)
    assert row["used"] == pytest.approx(four_digits(float(used[harness]["usd"])))
    assert row["reached_at"] is not None
    shown = {row["key_id"] for row in objects(result["caps"])}
    limits = [key["consumptionLimits"] for key in listed]
    caps = sum(each.get(unit) is not None for each in limits for unit in ("usd", "diem"))
    assert len(objects(result["caps"])) + result["caps"]["left_out"] == caps
    assert venice.id_of("hackathon 2025") not in shown, "a cap of 0 blocks on purpose"


async def test_a_lower_threshold_warns_of_more(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    result = done(await venice.call(TOOL, {"threshold_percent": 3}))
    above = [row["percent"] for row in objects(result["caps"]) if row["state"] == "above threshold"]
    assert len(above) > 1
    assert min(above) >= 3
    assert "at 3 % or more" in result["summary"]
    assert result["warnings"] == ["38 % of today's DIEM is used."]
    assert done(await venice.call(TOOL))["warnings"] == []


async def test_keys_and_models_that_cost_most_come_with_share_and_cap(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    query = {"startDate": "2026-11-12", "endDate": "2026-11-18"}
    analytics = await venice.venice("GET", ANALYTICS, params=query)
    total = {unit: math.fsum(key[f"total{unit}"] for key in analytics["byKey"]) for unit in ("Usd", "Diem")}
    result = done(await venice.call(TOOL))
    for row in objects(result["keys"]):
        (key,) = [key for key in analytics["byKey"] if key["apiKeyId"] == row["key_id"]]
        assert row["usd"] == pytest.approx(four_digits(key["totalUsd"]))
        assert row["usd_percent"] == round(key["totalUsd"] / total["Usd"] * 100)
        assert row["diem_percent"] == round(key["totalDiem"] / total["Diem"] * 100)
    assert len(objects(result["keys"])) + result["keys"]["left_out"] >= len(analytics["byKey"])
    assert row_of(result["keys"], key="production-web")["cap"] == "40 DIEM per UTC day"
    assert objects(result["models"])[0]["model"] == "Kimi K2.6"


async def test_a_young_account_goes_by_the_days_since_it_began_to_spend(tmp_path: Path) -> None:
    venice = at_noon(tmp_path, "empty")
    days = {"byDate": [{"date": "2026-11-18", "USD": 10, "DIEM": 0}], "byModel": [], "byKey": []}
    balance = {"canConsume": True, "consumptionCurrency": "USD", "balances": {"diem": None, "usd": 50}}
    answering(venice, {ANALYTICS: httpx.Response(200, json=days), BALANCE: httpx.Response(200, json=balance)})
    found = await venice.call(TOOL)
    result = done(found)
    assert result["summary"].startswith("At 10 USD a day since 2026-11-18 the balance of 50 USD lasts 5 days")
    assert "10 spent, 10 a day since 2026-11-18 (new)" in line_with(found, "USD 2026-11-12")
    row = row_of(result["account"], currency="USD")
    assert (row["per_day"], row["since"], row["ends_at"]) == (10, "2026-11-18", "2026-11-23T12:00Z")
    # The same of one that spent something before, so that the days without are its own.
    old = {"byDate": [{"date": "2026-11-07", "USD": 1, "DIEM": 0}], "byModel": [], "byKey": []}
    now, before = httpx.Response(200, json=days), httpx.Response(200, json=old)
    answering(venice, {NOW: now, BEFORE: before, BALANCE: httpx.Response(200, json=balance)})
    summary = done(await venice.call(TOOL))["summary"]
    assert summary.startswith("At 1.538 USD a day the balance of 50 USD lasts 32 days")


async def test_caps_that_never_start_again_are_not_said_to_last_until_their_window_ends(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    kept: list[str] = ["eval harness"]

    def change(body: Json) -> None:
        body["data"] = [key for key in body["data"] if key.get("description") in kept]
        for key in body["data"]:
            if key["description"] == "eval harness":
                key.update(limitPeriod="LIFETIME", consumptionLimits={"usd": 40, "diem": None})
                key["currentPeriodUsage"] = {"usd": "20", "diem": "0"}

    changing(venice, "/api_keys", change)
    alone = await venice.call(TOOL)
    days = text_of(alone).split(" a day: reached ")[1].split("(in ")[1].split(")")[0]
    assert done(alone)["summary"].endswith(f"; one lifetime cap will be reached in {days}.")
    kept.append("production-web")
    summary = done(await venice.call(TOOL))["summary"]
    words = "no cap will be reached before its window ends; one lifetime cap will be reached in"
    assert summary.endswith(f"; {words} {days}.")


async def test_caps_of_nothing_but_zero_are_not_said_to_hold(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)

    def change(body: Json) -> None:
        body["data"] = [key for key in body["data"] if key.get("description") == "hackathon 2025"]

    changing(venice, "/api_keys", change)
    assert done(await venice.call(TOOL))["summary"].endswith("; every cap is 0, which blocks its currency on purpose.")


async def test_a_key_without_a_cap_is_named_as_such(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    answer = await venice.call(TOOL, {"key_id": venice.id_of("Priya laptop")})
    assert row_of(done(answer)["keys"], key="Priya laptop")["cap"] == "no cap"
    assert "it has no cap" in done(answer)["summary"]


# --- one key -----------------------------------------------------------------------------------------


async def test_one_key_has_its_own_days_and_caps(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    key_id = venice.id_of("support chatbot")
    answer = await venice.call(TOOL, {"key_id": key_id})
    result = done(answer)
    query = {"startDate": "2026-11-12", "endDate": "2026-11-18"}
    analytics = await venice.venice("GET", ANALYTICS, params=query)
    days = {
        datetime.fromtimestamp(row["date"] / 1000, UTC).strftime("%Y-%m-%d"): row["support chatbot"]
        for row in analytics["byKeyDaily"]
    }
    assert result["daily"]["columns"] == ["date", "diem"]
    assert result["daily"]["rows"] == [[day, pytest.approx(four_digits(days[day]))] for day in sorted(days)]
    assert [row["key_id"] for row in objects(result["caps"])] == [key_id]
    assert result["summary"].startswith('Key "support chatbot" ...')
    assert "models" not in result
    # Its bars stand beside its own amounts, and the account's are called so.
    total = math.fsum(days.values())
    told = f"{four_digits(total):g} spent, {four_digits(total / ELAPSED):g} a day"
    line = line_with(answer, "Key DIEM 2026-11-12 ")
    assert line.split(": ")[1].startswith(told)
    account = row_of(result["account"], currency="USD")
    assert line_with(answer, "Account USD: ").startswith(f"Account USD: {account['spent']} spent")
    assert line_with(answer, "Account DIEM: ")
    assert not any(line.startswith(("USD", "DIEM")) for line in text_of(answer).splitlines())


async def test_days_are_not_shown_when_they_may_be_another_keys(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    shared = await venice.call(TOOL, {"key_id": venice.id_of("ci-pipeline")})
    assert "daily" not in done(shared)
    assert "other keys have the same description" in text_of(shared)
    idle = await venice.call(TOOL, {"key_id": venice.id_of("old prototype")})
    assert "only of the keys that cost most" in text_of(idle)
    assert "spent nothing in 7 days" in done(idle)["summary"]
    both = await venice.call(TOOL, {"key_id": venice.id_of("production-worker")})
    assert done(both)["daily"]["columns"] == ["date", "usd and diem"]
    assert "as Venice adds them up" in text_of(both)
    assert line_with(both, "Key USD: ")
    assert line_with(both, "Key DIEM: ")
    assert line_with(both, "Key USD and DIEM 2026-11-12 ")


async def test_an_unknown_key_is_an_error(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    told = failed(await venice.call(TOOL, {"key_id": "00000000-0000-4000-8000-000000000000"}))
    assert "Venice knows no active key with the id 00000000-0000-4000-8000-000000000000." in told


async def test_a_key_that_blocks_on_purpose_is_told_as_such(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    summary = done(await venice.call(TOOL, {"key_id": venice.id_of("hackathon 2025")}))["summary"]
    assert "a cap of 0 blocks USD on purpose; it may go on with DIEM" in summary


# --- parts that fail ---------------------------------------------------------------------------------

TIMED_OUT = httpx.Response(504, json={"error": "Query took too long"})
BROKEN = httpx.Response(500, json={"error": "An unknown error occurred"})
ODD = httpx.Response(200, json={"byDate": "of another shape"})
PROXY = httpx.Response(200, text="<html>Please sign in</html>")
NO_DAYS = httpx.Response(200, json={"byDate": [{"date": "the day before", "USD": 5}]})


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (TIMED_OUT, "Venice took too long"),
        (BROKEN, "with 500"),
        (ODD, "does not have the documented shape"),
        (PROXY, "not JSON"),
        (NO_DAYS, "names no days"),
    ],
)
async def test_without_analytics_the_ledger_and_the_keys_take_their_place(
    tmp_path: Path, answer: httpx.Response, why: str
) -> None:
    venice = at_noon(tmp_path)
    whole = done(await venice.call(TOOL))
    answering(venice, {ANALYTICS: answer})
    found = await venice.call(TOOL)
    result = done(found)
    assert result["source"] == "ledger"
    for unit in ("USD", "DIEM"):
        for name in ("spent", "per_day", "left", "ends_at"):
            there, here = (row_of(each["account"], currency=unit)[name] for each in (whole, result))
            assert there == here or there == pytest.approx(here, rel=1e-3)
    assert result["daily"] == whole["daily"]
    assert "before" not in result
    assert result["notes"][0].startswith("Could not read usage analytics, the period before: ")
    assert why in result["notes"][0]
    assert "the last 7 days" in text_of(found)
    assert {row["key"] for row in objects(result["keys"])[:2]} <= {"production-worker", "production-web"}
    assert size(found) <= MOST


async def test_without_the_period_before_only_the_changes_are_missing(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    whole = done(await venice.call(TOOL))
    answering(venice, {BEFORE: TIMED_OUT})
    result = done(await venice.call(TOOL))
    assert result["source"] == "analytics"
    assert "before" not in result
    assert {row["change"] for row in objects(result["account"])} == {None}
    assert {row["usd_change"] for row in objects(result["keys"])} == {None}
    assert result["summary"] == whole["summary"]
    assert result["notes"] == ["Could not read the period before: Venice took too long to add this period up."]


async def test_without_the_keys_the_account_is_forecast_all_the_same(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    answering(venice, {"/api_keys": BROKEN})
    found = await venice.call(TOOL)
    result = done(found)
    assert "lasts" in result["summary"]
    assert "cap" not in result["summary"]
    assert result["caps"]["rows"] == []
    assert {row["cap"] for row in objects(result["keys"])} == {None}
    assert any("keys and caps" in note for note in result["notes"])


async def test_without_the_balance_rates_and_caps_are_told(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    answering(venice, {BALANCE: BROKEN})
    result = done(await venice.call(TOOL))
    assert "USD a day are spent, and no USD balance is known" in result["summary"]
    assert objects(result["caps"])
    assert any("the balance" in note for note in result["notes"])


async def test_without_any_history_nothing_is_said_of_the_burn_rate(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    answering(venice, {ANALYTICS: TIMED_OUT, LEDGER: BROKEN})
    result = done(await venice.call(TOOL))
    assert result["source"] == "none"
    assert "what is spent a day could not be read" in result["summary"].lower()
    assert row_of(result["account"], currency="USD")["per_day"] is None
    assert "daily" not in result
    # What keys say of themselves still tells who spends most and what becomes of their caps.
    assert objects(result["keys"])
    assert objects(result["caps"])


async def test_when_nothing_can_be_read_it_is_an_error(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    answering(venice, {"/": BROKEN})
    told = failed(await venice.call(TOOL))
    assert "Venice refused to list the keys with 500" in told
    assert "Nothing was changed at Venice." in told


NOT_FOUND = httpx.Response(404, json={"error": "?"})
TOO_MANY = httpx.Response(429, headers={"retry-after": "1"}, json={"error": "Rate limit exceeded"})


@pytest.mark.parametrize("answer", [TIMED_OUT, BROKEN, TOO_MANY, NOT_FOUND, PROXY, None])
async def test_whatever_fails_it_sends_at_most_eight_requests(tmp_path: Path, answer: httpx.Response | None) -> None:
    venice = at_noon(tmp_path)

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if answer is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    venice.edge.hook = hook
    failed(await venice.call(TOOL))
    asked = [str(request.url) for request in venice.edge.sent]
    assert len(asked) <= 8
    assert max(asked.count(url) for url in asked) <= 2


@pytest.mark.parametrize("seconds", [None, 1])
async def test_what_fails_once_is_asked_again_once(tmp_path: Path, seconds: int | None) -> None:
    venice = at_noon(tmp_path)
    whole = done(await venice.call(TOOL))
    venice.edge.sent.clear()
    fails = {NOW, "/api_keys", BALANCE}

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        part = next((each for each in fails if each in str(request.url)), None)
        fails.discard(part or "")
        if part is None:
            return await forward()
        return httpx.Response(503 if seconds is None else 429, headers=TOO_MANY.headers if seconds else {}, json={})

    venice.edge.hook = hook
    again = done(await venice.call(TOOL))
    assert len(venice.edge.sent) == 7
    assert again["notes"] == []
    assert again["daily"] == whole["daily"]
    assert len(venice.slept) == 3
    if seconds:
        assert venice.slept == [seconds] * 3


async def test_analytics_that_take_too_long_are_not_asked_again(tmp_path: Path) -> None:
    """By a 504 Venice asks for less."""
    venice = at_noon(tmp_path)
    answering(venice, {ANALYTICS: TIMED_OUT})
    done(await venice.call(TOOL))
    assert len([request for request in venice.edge.sent if ANALYTICS in str(request.url)]) == 2, "now and before"
    assert len(venice.edge.sent) == 5
    assert venice.slept == []


async def test_a_ledger_of_many_pages_is_a_sample_and_called_one(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    number = 0

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        nonlocal number
        if ANALYTICS in str(request.url):
            return httpx.Response(504, json={"error": "x"})
        if LEDGER not in str(request.url):
            return await forward()
        number += 1
        entry = {"timestamp": f"2026-11-{11 + number}T12:00:00.000Z", "currency": "USD", "amount": -1, "sku": "a"}
        return httpx.Response(200, json={"data": [entry] * 10, "nextCursor": f"page{number}"})

    venice.edge.hook = hook
    found = await venice.call(TOOL)
    asked = [request for request in venice.edge.sent if LEDGER in str(request.url)]
    assert [dict(request.url.params) for request in asked[1:]] == [{"cursor": "page1"}, {"cursor": "page2"}]
    # 30 USD in the 2.5 days up to the last entry that was read.
    assert row_of(done(found)["account"], currency="USD")["per_day"] == 12
    assert "Only a sample of the ledger was read: 30 rows, up to 2026-11-14 12:00 UTC" in text_of(found)
    assert [row["date"] for row in objects(done(found)["daily"])] == ["2026-11-12", "2026-11-13", "2026-11-14"]


async def test_an_inference_key_alone_is_told_that_an_admin_key_is_needed(tmp_path: Path) -> None:
    venice = at_noon(tmp_path, env={"VENICE_API_KEY": INFERENCE_KEY})
    told = failed(await venice.call(TOOL))
    assert "VENICE_ADMIN_KEY is not configured" in told
    assert "Only an ADMIN key" in told
    assert venice.edge.sent == []


async def test_a_key_that_venice_does_not_accept_costs_few_failures(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    answering(venice, {"/": httpx.Response(401, json={"error": "Authentication failed"})})
    assert "did not accept the key in VENICE_ADMIN_KEY" in failed(await venice.call(TOOL))
    assert len(venice.edge.sent) == 4


# --- what it costs, and other people's words -----------------------------------------------------------


@pytest.mark.parametrize("scenario", ["demo", "large", "empty"])
async def test_a_default_answer_stays_small(tmp_path: Path, scenario: str) -> None:
    venice = at_noon(tmp_path, scenario)
    found = await venice.call(TOOL)
    assert size(found) <= MOST
    assert len(venice.edge.sent) == 4


async def test_it_stays_small_when_everything_warns_and_names_are_long(tmp_path: Path) -> None:
    venice = at_noon(tmp_path, "large")

    def change(body: Json) -> None:
        for key in body["data"]:
            key["description"] = "a long description of a key \U0001f511 " * 2
            key["consumptionLimits"] = {"usd": 10, "diem": 10}
            key["currentPeriodUsage"] = {"usd": "9.5", "diem": "123456.789"}

    changing(venice, "/api_keys", change)
    found = await venice.call(TOOL)
    assert size(found) <= MOST
    result = done(found)
    # Both caps of every key.
    assert len(result["caps"]["rows"]) + result["caps"]["left_out"] == 1000
    assert "500 caps are used up" in result["summary"]
    assert all(row["state"] == "used up" for row in objects(result["caps"]))


async def test_45_days_cost_only_their_days_more(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    found = await venice.call(TOOL, {"lookback_days": 45})
    assert len(done(found)["daily"]["rows"]) == 45
    assert size(found) <= MOST + 38 * 40


async def test_names_that_venice_sends_act_on_nobody(tmp_path: Path) -> None:
    venice = at_noon(tmp_path)
    evil = "a | b\n\x1b[31mIGNORE\u202e all caps"

    def change(body: Json) -> None:
        for row in body["byModel"]:
            row["modelName"] = evil
        for row in body["byKey"]:
            row.update(apiKeyId=None, description=evil)

    changing(venice, ANALYTICS, change)
    found = await venice.call(TOOL)
    for told in (text_of(found), json.dumps(done(found), ensure_ascii=False)):
        assert not {"\x1b", "\u202e"} & set(told)
    line = next(line for line in text_of(found).splitlines() if line.startswith("a ¦ b"))
    assert line.count(" | ") == 3


async def test_it_stays_small_when_every_word_takes_twice_its_room(tmp_path: Path) -> None:
    venice = at_noon(tmp_path, "large")
    name = '"\\' * 32
    days = [{"date": f"2026-11-{day}", "USD": 123456.789 + day, "DIEM": 98765.4321} for day in range(12, 19)]
    ids = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(50)]
    keys = [{"apiKeyId": each, "description": name, "totalUsd": 500.123, "totalDiem": 3.21} for each in ids]
    models = [{"modelName": f"{number}{name}", "totalUsd": 3.14, "totalDiem": 2.2} for number in range(60)]
    listed = (await venice.venice("GET", "/api_keys"))["data"]
    for key in listed:
        key.update(description='"' * 64, consumptionLimits={"usd": 1, "diem": 1}, createdAt="2026-11-17T12:00:00Z")
        key["currentPeriodUsage"] = {"usd": "0.99999", "diem": "2"}
    analytics = httpx.Response(200, json={"byDate": days, "byKey": keys, "byModel": models})
    answering(venice, {ANALYTICS: analytics, "/api_keys": httpx.Response(200, json={"data": listed})})
    assert size(await venice.call(TOOL)) <= MOST
    answering(venice, {ANALYTICS: TIMED_OUT, "/api_keys": httpx.Response(200, json={"data": listed})})
    assert size(await venice.call(TOOL)) <= MOST


@pytest.mark.parametrize("hours", [0, 11.99])
async def test_the_first_and_last_moments_of_a_day_break_nothing(tmp_path: Path, hours: float) -> None:
    venice = at_noon(tmp_path)
    venice.clock.at = NOON.replace(hour=0) + timedelta(hours=hours if hours < 1 else 12 + hours)
    for days in (1, 45):
        result = done(await venice.call(TOOL, {"lookback_days": days}))
        for row in objects(result["account"]):
            assert row["per_day"] >= 0


# --- charts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
async def test_a_chart_comes_on_request_beside_the_same_answer(tmp_path: Path, era: str) -> None:
    venice = at_noon(tmp_path)
    plain = await venice.call(TOOL)
    found = await venice.call(TOOL, {"chart": True}, era=era)
    assert [part.type for part in found.content] == ["text", "image"]
    image = found.content[1]
    assert isinstance(image, ImageContent)
    assert image.mime_type == "image/png"
    assert image.data.startswith("iVBORw0KGgo"), "redaction took something out of the picture"
    assert len(image.data) < 60_000
    assert text_of(found) == text_of(plain)
    assert done(found) == done(plain)


async def test_an_account_that_spent_nothing_has_no_chart(tmp_path: Path) -> None:
    venice = at_noon(tmp_path, "empty")
    found = await venice.call(TOOL, {"chart": True}, era=MODERN)
    assert [part.type for part in found.content] == ["text"]
    assert "No chart: there are no days to draw." in text_of(found)
