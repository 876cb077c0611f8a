"""The list of keys: each filter, order and page, against the sandbox's team of 25 and its 500."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bench import Json, World, done, text_of, world

pytestmark = pytest.mark.anyio


def held(venice: World) -> list[Json]:
    return venice.sandbox.keys()


def last6_of(key: Json) -> str:
    return str(key["secret"])[-6:]


def name(key: Json) -> str:
    return str(key.get("description") or "")


async def rows(venice: World, **arguments: Any) -> list[Json]:
    """The rows of every page, as objects."""
    found: list[Json] = []
    page: int | None = 1
    while page is not None:
        answer = done(await venice.call("venice_list_api_keys", {**arguments, "page": page}))
        found += [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
        page = answer.get("next_page")
    return found


def moment(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value).astimezone(UTC) if value else None


async def chosen(venice: World, wanted: Callable[[Json], bool], **arguments: Any) -> None:
    """The tool finds exactly the keys that `wanted` says of the sandbox's own."""
    expected = {str(key["id"]) for key in held(venice) if wanted(key)}
    assert expected, "a filter that fits nothing proves nothing"
    assert len(expected) < len(held(venice))
    assert {row["id"] for row in await rows(venice, **arguments)} == expected


async def test_every_filter_finds_exactly_the_keys_it_names(tmp_path: Path) -> None:
    venice = world(tmp_path)
    now = venice.clock()
    await chosen(venice, lambda key: key["apiKeyType"] == "ADMIN", api_key_type="ADMIN")
    await chosen(venice, lambda key: "laptop" in name(key).lower(), text="LAPTOP")
    last6 = last6_of(venice.described("Tomas laptop")[0])
    await chosen(venice, lambda key: last6_of(key) == last6, last6_chars=last6)
    await chosen(venice, lambda key: last6_of(key).endswith(last6[-2:]), last6_chars=last6[-2:])

    def uncapped(key: Json) -> bool:
        return all(value is None for value in key["caps"].values())

    await chosen(venice, uncapped, without_cap=True)

    def idle(key: Json) -> bool:
        since = moment(key["lastUsedAt"]) or moment(key["createdAt"])
        return since is None or now - since >= timedelta(days=90)

    await chosen(venice, idle, unused_for_days=90)

    def ending(key: Json) -> bool:
        end = moment(key["expiresAt"])
        return end is not None and end - now <= timedelta(days=7)

    await chosen(venice, ending, expiring_within_days=7)
    await chosen(
        venice, lambda key: ending(key) and not uncapped(key), expiring_within_days=7, api_key_type="INFERENCE"
    )


async def test_orders_put_first_what_they_are_asked_for(tmp_path: Path) -> None:
    venice = world(tmp_path)
    keys = {str(key["id"]): key for key in held(venice)}

    async def ordered(sort: str) -> list[Json]:
        return [keys[row["id"]] for row in await rows(venice, sort=sort)]

    far = datetime.max.replace(tzinfo=UTC)
    long_ago = datetime.min.replace(tzinfo=UTC)
    created = [moment(key["createdAt"]) or long_ago for key in await ordered("created")]
    assert created == sorted(created, reverse=True)
    ends = [moment(key["expiresAt"]) or far for key in await ordered("expires")]
    assert ends == sorted(ends)
    names = [name(key).casefold() for key in await ordered("description")]
    assert names == sorted(names)
    by_use = await rows(venice, sort="last_used")
    used = [row["last_used"] or "" for row in by_use]
    assert used == sorted(used, reverse=True)
    top = (await rows(venice, sort="usage"))[0]
    detail = done(await venice.call("venice_get_api_key", {"key_id": top["id"]}))
    assert float(detail["usd_last_7_days"]) > 0


async def test_five_hundred_keys_come_in_pages_without_gaps_or_repeats(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="large")
    first = done(await venice.call("venice_list_api_keys"))
    assert (first["total"], first["matching"], len(first["rows"]), first["next_page"]) == (500, 500, 50, 2)
    assert first["inference"] + first["admin"] == 500
    every = await rows(venice, limit=100)
    assert len(every) == 500
    assert len({row["id"] for row in every}) == 500
    past = await venice.call("venice_list_api_keys", {"page": 11})
    assert done(past)["rows"] == []


async def test_the_log_names_a_key_that_was_listed_before_and_asks_nothing_for_that(tmp_path: Path) -> None:
    venice = world(tmp_path)
    before = await venice.call("venice_get_rate_limit_log")
    first = done(before)
    columns = first["columns"]
    rows = [dict(zip(columns, row, strict=True)) for row in first["rows"]]
    assert (len(rows), [row["key"] for row in rows]) == (10, [None] * 10)
    assert f"{first['total']} hits in the log (Venice keeps the last 50), the newest 10 below" in text_of(before)
    assert rows[0]["api_key_id"] in text_of(before)
    await venice.call("venice_list_api_keys")
    sent = len(venice.edge.sent)
    after = await venice.call("venice_get_rate_limit_log", {"limit": 50})
    assert len(venice.edge.sent) == sent + 1
    hit = dict(zip(columns, done(after)["rows"][0], strict=True))
    (key,) = [each for each in held(venice) if each["id"] == hit["api_key_id"]]
    assert hit["key"] == f"{name(key)} ...{last6_of(key)}"
    assert f" | {hit['key']} | " in text_of(after)
    assert hit["api_key_id"] not in text_of(after)
