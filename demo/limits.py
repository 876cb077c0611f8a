"""The third act: a load that is refused, and a conversation that finds out why and mends it."""

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from demo.load import ANSWERED, loaded, served
from demo.session import Reply, connected
from demo.steps import Step, Tour

SCENARIO = "rpm"
SMALL = 0.01
LARGE_ANSWER = 4000
_MOST = 12
_BLOCKS = frozenset("▁▂▃▄▅▆▇█")


@asynccontextmanager
async def elsewhere(tour: Tour) -> AsyncGenerator[None]:
    """Another server, on a sandbox that others can call as well."""
    session = tour.session
    async with (
        served(SCENARIO, tour.folder, tour.recorder.stderr) as place,
        connected(tour.folder / "state-2", tour.recorder, tour.desk, place.env) as tour.session,
        loaded(place) as tour.load,
    ):
        tour.saved += [place.admin_key, place.inference_key]
        try:
            yield
        finally:
            tour.session = session


async def runs_into_429(tour: Tour) -> None:
    load = tour.load
    tour.screen.say(
        "note",
        f"A second server, on a sandbox that is a process of its own: {str(load.http.base_url).rstrip('/')}. A program"
        " calls a model there over HTTP with the INFERENCE key, as fast as it can.",
    )
    load.model, limit = await _tightest(tour)
    load.statuses = await load.until_refused(limit + 1)
    tour.screen.say("program", f"POST /chat/completions, {load.model}: {_line(load.statuses)}")
    tour.screen.say("person", "pastes the last answer into the chat:")
    tour.screen.say("", load.pasted(headers=True))
    tour.verify(load.statuses == [ANSWERED] * limit + [429], f"{limit} calls were answered and the next one refused")


async def _tightest(tour: Tour) -> tuple[str, int]:
    """The model that may be called the fewest times a minute, and how often that is."""
    groups = (await tour.session.read("venice_get_rate_limits")).data["groups"]
    tightest = min(groups, key=lambda group: group["limits"].get("RPM", math.inf))
    return str(tightest["models"][0]), int(tightest["limits"]["RPM"])


async def why(tour: Tour) -> None:
    load = tour.load
    reply = await _diagnosed(tour, load.pasted(headers=True))
    cause = reply.data["causes"][0]
    load.key_id, load.ends_at = str(reply.data["key_id"]), str(cause["ends_at"])
    load.spacing_s = float(reply.data["pace"]["spacing_s"])
    tour.verify(cause["code"] == "requests_per_minute", "the first cause is requests per minute")
    tour.verify(timedelta() < _away(load.ends_at) <= timedelta(seconds=62), "it says when that ends, within a minute")
    tour.verify(load.spacing_s > 0, "it names the pace that fits")


async def _diagnosed(tour: Tour, error: str) -> Reply:
    """What is wrong: the first cause and the pace are shown, the rest is not."""
    tour.screen.call("venice_diagnose", {"error": "<what was pasted>", "model": tour.load.model})
    reply = await tour.session.read("venice_diagnose", error=error, model=tour.load.model)
    first, *rest = reply.text.splitlines()
    tour.screen.say("result", "\n".join([first, *(line for line in rest if line.startswith("Pace"))]))
    return reply


def _away(moment: str) -> timedelta:
    return datetime.fromisoformat(moment) - datetime.now(UTC)


async def at_that_pace(tour: Tour) -> None:
    load = tour.load
    tour.screen.say("note", "Nobody wants to wait here: instead of sleeping, the sandbox's clock is moved on.")
    await load.advance(max(0.0, _away(load.ends_at).total_seconds()))
    wanted = len(load.statuses)
    statuses = [await load.call(), *await load.until_refused(wanted - 1, apart_s=load.spacing_s)]
    tour.screen.say("program", f"the same from {load.ends_at[11:19]} on, {load.spacing_s:g} s apart: {_line(statuses)}")
    tour.verify(statuses == [ANSWERED] * wanted, f"as many calls as before, {wanted}, and none was refused")


async def small_cap(tour: Tour) -> None:
    load = tour.load
    tour.screen.say(
        "note",
        "The person wants that key capped. (The sandbox's clock is ahead of the server's since it was moved, so the key"
        " seems to have been used in the future.)",
    )
    _, approved, before, after = await tour.write(
        "approve",
        "venice_update_api_key",
        key_id=load.key_id,
        consumption_limit={"usd": SMALL, "diem": SMALL},
        limit_period="MONTH",
    )
    load.capped = approved
    statuses = await load.until_refused(_MOST if approved else 1, apart_s=load.spacing_s, max_tokens=LARGE_ANSWER)
    tour.screen.say("program", f"at that pace, with long answers: {_line(statuses)}")
    if not approved:
        tour.verify(statuses == [ANSWERED], "a call is answered as before")
        return
    changed = {key_id for key_id in after if before.get(key_id) != after[key_id]}
    tour.verify(changed == {load.key_id}, "this key changed, and no other")
    tour.screen.say("person", "pastes again, this time one line:")
    tour.screen.say("", load.pasted(headers=False))
    tour.verify(statuses[-1] == 402 and len(statuses) > 1, "calls are answered until the cap is reached")


async def why_again(tour: Tour) -> None:
    load = tour.load
    if not load.capped:
        tour.screen.say("note", "No cap is in the way, because no one approved one.")
        reply = await tour.read("venice_get_api_key", key_id=load.key_id)
        tour.screen.say("result", reply.text.splitlines()[0])
        tour.verify(not {"usd_cap", "diem_cap"} & set(reply.data), "the key has no cap")
        return
    error = load.pasted(headers=False)
    reply = await _diagnosed(tour, error)
    cause = reply.data["causes"][0]
    currency = "diem" if "DIEM" in error else "usd"
    tour.verify(cause["code"] == f"key_{currency}_cap", f"the first cause is the key's cap in {currency.upper()}")
    call: dict[str, Any] = cause["call"]
    tour.verify(call["arguments"]["key_id"] == load.key_id, "it names the call that mends it")
    tour.screen.say("note", "The agent makes exactly that call; whether the amount is right is for the person to say.")
    _, approved, _, _ = await tour.write("approve", call["tool"], **call["arguments"])
    (status,) = await load.until_refused(1, apart_s=load.spacing_s)
    tour.screen.say("program", f"the next call: {status}")
    tour.verify(
        status == (ANSWERED if approved else 402), "calls are answered again" if approved else "the cap still holds"
    )


async def how_long(tour: Tour) -> None:
    reply = await tour.read("venice_forecast_spend")
    first, *rest = reply.text.splitlines()
    tour.screen.say("result", "\n".join([first, *(line for line in rest if _BLOCKS & set(line))]))
    account, daily, caps = (reply.data[name] for name in ("account", "daily", "caps"))
    spent = {row[0].lower(): row[1] for row in account["rows"]}
    sums = {name: sum(day[at] for day in daily["rows"]) for at, name in enumerate(daily["columns"]) if name in spent}
    # Each day is rounded by itself.
    right = all(math.isclose(sums[name], spent[name], rel_tol=0.01, abs_tol=1e-4) for name in sums)
    tour.verify(sums and right, "the days add up to what was spent")
    if tour.load.capped:
        tour.verify(caps["rows"][0][2] == tour.load.key_id, "the cap that is used up is named first")


def _line(statuses: Sequence[int]) -> str:
    return " ".join(map(str, statuses))


LIMITS: tuple[tuple[str, Step], ...] = (
    ("A load runs into 429", runs_into_429),
    ("Why is it refused, and until when?", why),
    ("The same load at the pace that was named", at_that_pace),
    ("A cap for the key: calls run into 402", small_cap),
    ("Why now? The cause, and the call that mends it", why_again),
    ("How long will the money last?", how_long),
)
