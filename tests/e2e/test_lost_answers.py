"""What Venice and the network do to answers: told truthfully, reads tried again, writes never."""

import gzip
from collections.abc import Awaitable, Callable
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from tests.e2e.bench import (
    CAPPED,
    CREATE,
    ERAS,
    EVERY,
    IDLE,
    KEYS,
    MADE,
    MINT,
    REVOKE,
    UPDATE,
    WRITES,
    Body,
    Forward,
    Json,
    Person,
    World,
    done,
    failed,
    text_of,
    world,
)

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024
JSON = {"content-type": "application/json"}
Ending = Callable[[], httpx.Response]


def _raising(error: type[httpx.TransportError]) -> Ending:
    def ending() -> httpx.Response:
        raise error("gone")

    return ending


def _answering(status: int, *parts: bytes, headers: dict[str, str] = JSON) -> Ending:
    return lambda: httpx.Response(status, headers=headers, stream=Body(*parts))


LOST: dict[str, Ending] = {
    "read time-out": _raising(httpx.ReadTimeout),
    "connection reset": _raising(httpx.ReadError),
    "broken protocol": _raising(httpx.RemoteProtocolError),
    "500": _answering(500, b'{"error":"An unknown error occurred"}'),
    "502 from a proxy": _answering(502, b"<html>bad gateway</html>", headers={"content-type": "text/html"}),
    "200 with half a body": _answering(200, b'{"success":true,"data":{"id":"'),
    "200 with another shape": _answering(200, b'{"success":true,"data":{"key":1}}'),
    "200 with nothing": _answering(200),
    "302": _answering(302, b"", headers={"location": "https://evil.test/"}),
    "more than 16 MiB": _answering(200, *[b" " * MIB] * 17),
    "a gzip bomb": _answering(200, gzip.compress(b" " * 20 * MIB, 1), headers={**JSON, "content-encoding": "gzip"}),
    "broken gzip": _answering(200, b"not gzip", headers={**JSON, "content-encoding": "gzip"}),
}


async def lose(venice: World, ending: Ending, arrives: bool, work: Callable[[], Awaitable[None]]) -> None:
    """The write arrives or does not, and its answer ends like that."""

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "GET":
            return await forward()
        if arrives:
            assert (await forward()).is_success
        return ending()

    venice.edge.hook, venice.edge.sent = hook, []
    await work()
    venice.edge.hook = None
    assert len(venice.edge.writes) == 1


async def own_key(venice: World) -> str:
    body: Json = {"apiKeyType": "INFERENCE", "description": "idle", "consumptionLimit": {"usd": 15}}
    return str((await venice.venice("POST", "/api_keys", json=body))["data"]["id"])


@pytest.mark.parametrize(
    ("tool", "ending"),
    [*((CREATE.tool, ending) for ending in LOST), *((MINT.tool, ending) for ending in ("read time-out", "500", "302"))],
)
async def test_a_key_made_without_an_answer_is_found_and_named(tmp_path: Path, tool: str, ending: str) -> None:
    venice = world(tmp_path, scenario="empty")

    async def make() -> None:
        said = failed(await venice.call(tool, CAPPED))
        (held,) = venice.described(MADE)
        assert "Something WAS changed at Venice." in said
        assert str(held["id"]) in said
        assert str(held["secret"]) not in said
        assert "venice_revoke_api_key" in said

    await lose(venice, LOST[ending], True, make)


@pytest.mark.parametrize("tool", [CREATE.tool, MINT.tool])
async def test_a_key_that_was_not_made_is_not_claimed_to_be(tmp_path: Path, tool: str) -> None:
    venice = world(tmp_path, scenario="empty")
    for ending in LOST.values():

        async def make() -> None:
            said = failed(await venice.call(tool, CAPPED))
            assert venice.described(MADE) == []
            assert "It is not known whether anything was changed at Venice." in said

        await lose(venice, ending, False, make)


@pytest.mark.parametrize("ending", LOST)
async def test_a_change_without_an_answer_is_looked_up(tmp_path: Path, ending: str) -> None:
    venice = world(tmp_path, scenario="empty")

    async def change(arrives: bool) -> None:
        key_id = await own_key(venice)

        async def call() -> None:
            result = await venice.call(UPDATE.tool, {"key_id": key_id, "consumption_limit": {"usd": 10}})
            assert venice.held()[key_id]["caps"]["usd"] == (10 if arrives else 15)
            if arrives:
                shown = done(result)
                assert shown["key"]["usd_cap"] == 10
                assert any("answer was lost" in note for note in shown["notes"])
                assert "answer was lost" in text_of(result)
            else:
                assert "It is not known whether anything was changed at Venice." in failed(result)

        await lose(venice, LOST[ending], arrives, call)

    await change(True)
    await change(False)


@pytest.mark.parametrize("ending", [name for name in LOST if name != "200 with another shape"])
async def test_a_revocation_without_an_answer_is_looked_up(tmp_path: Path, ending: str) -> None:
    venice = world(tmp_path, scenario="empty")

    async def revoke(arrives: bool) -> None:
        key_id = await own_key(venice)

        async def call() -> None:
            result = await venice.call(REVOKE.tool, {"key_id": key_id})
            assert (key_id in venice.held()) != arrives
            if arrives:
                shown = done(result)
                assert shown["revoked"] is True
                assert any("answer was lost" in note for note in shown["notes"])
            else:
                assert "It is not known whether anything was changed at Venice." in failed(result)

        await lose(venice, LOST[ending], arrives, call)

    await revoke(True)
    await revoke(False)


@pytest.mark.parametrize("body", [b'{"success":false}', b"[]", b"null", b'"ok"'], ids=str)
async def test_a_revocation_is_not_reported_on_an_answer_that_does_not_say_so(tmp_path: Path, body: bytes) -> None:
    venice = world(tmp_path, scenario="empty")
    key_id = await own_key(venice)

    async def revoke() -> None:
        said = failed(await venice.call(REVOKE.tool, {"key_id": key_id}))
        assert key_id in venice.held()
        assert "Nothing was changed at Venice." not in said

    await lose(venice, _answering(200, body), False, revoke)


@pytest.mark.parametrize("name", EVERY)
async def test_what_cannot_be_found_out_is_said_to_be_unknown(tmp_path: Path, name: str) -> None:
    """The write is answered with a reset connection, and after it Venice cannot be reached at all."""
    venice, write = world(tmp_path), WRITES[name]
    arguments = write.given(venice.id_of)
    dark = False

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        nonlocal dark
        if dark:
            raise httpx.ConnectError("dark")
        if request.method != "GET":
            dark = True
            await forward()
            raise httpx.ReadError("gone")
        return await forward()

    venice.edge.hook = hook
    said = failed(await venice.call(write.tool, arguments))
    assert "It is not known whether anything was changed at Venice." in said
    assert venice.written == {write.operation: 1}
    assert len(venice.edge.writes) == 1
    assert sum(venice.slept) <= 20


@pytest.mark.parametrize("name", EVERY)
async def test_a_write_that_never_left_says_so_and_is_not_tried_again(tmp_path: Path, name: str) -> None:
    venice, write = world(tmp_path), WRITES[name]
    before = venice.held()

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method != "GET":
            raise httpx.ConnectError("refused")
        return await forward()

    venice.edge.hook = hook
    said = failed(await venice.call(write.tool, write.given(venice.id_of)))
    assert "Nothing was changed at Venice." in said
    assert (len(venice.edge.writes), venice.held()) == (1, before)


@pytest.mark.parametrize("name", EVERY)
async def test_a_refused_write_is_told_as_refused_and_not_tried_again(tmp_path: Path, name: str) -> None:
    venice, write = world(tmp_path), WRITES[name]
    status = 0

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "GET":
            return await forward()
        return httpx.Response(status, json={"error": "No \u202ethanks"}, headers={"Retry-After": "1"})

    venice.edge.hook = hook
    for tries, status in enumerate((400, 401, 403, 429), 1):
        said = failed(await venice.call(write.tool, write.given(venice.id_of)))
        assert "Nothing was changed at Venice." in said
        assert "\u202e" not in said
        assert (status, len(venice.edge.writes)) == (status, tries)


# --- reads -----------------------------------------------------------------------------------------

LIST = "venice_list_api_keys"


def failing_first(venice: World, times: int, ending: Ending) -> None:
    left = times

    async def hook(_request: httpx.Request, forward: Forward) -> httpx.Response:
        nonlocal left
        if left > 0:
            left -= 1
            return ending()
        return await forward()

    venice.edge.hook = hook


TROUBLE: dict[str, Ending] = {
    "429": _answering(429, b'{"error":"Rate limit exceeded"}'),
    "500": _answering(500, b"{}"),
    "503": _answering(503, b"<html>busy</html>"),
    "refused connection": _raising(httpx.ConnectError),
    "connection time-out": _raising(httpx.ConnectTimeout),
    "reset connection": _raising(httpx.ReadError),
    "read time-out": _raising(httpx.ReadTimeout),
}


async def test_a_read_is_tried_again_and_then_works(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="empty")
    for trouble in TROUBLE.values():
        venice.edge.sent = []
        venice.slept.clear()
        failing_first(venice, 3, trouble)
        assert done(await venice.call(LIST))["total"] == 2
        assert len(venice.edge.sent) == 4
        first, second, third = venice.slept
        assert 0 < first < second < third < 5


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_a_read_gives_up_after_a_few_tries(tmp_path: Path, trouble: str) -> None:
    venice = world(tmp_path, scenario="empty")
    failing_first(venice, 1000, TROUBLE[trouble])
    failed(await venice.call(LIST))
    assert len(venice.edge.sent) == 4
    assert sum(venice.slept) <= 20


async def test_a_read_waits_as_long_as_venice_asks(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="empty")
    soon = format_datetime(venice.clock() + timedelta(seconds=8), usegmt=True)
    asked: dict[str, dict[str, str]] = {
        "seconds": {"retry-after": "7"},
        "a date": {"retry-after": soon},
        "a reset": {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "5"},
    }
    waits: list[float] = []
    for headers in asked.values():
        failing_first(venice, 1, _answering(429, b"{}", headers=headers))
        done(await venice.call(LIST))
        waits.append(venice.slept.pop())
        assert venice.slept == []
    assert waits[0] == 7
    assert waits[1] <= 8
    assert waits[2] == 5


async def test_a_read_does_not_wait_for_minutes_but_says_how_long(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="empty")
    failing_first(venice, 9, _answering(429, b"{}", headers={"retry-after": "600"}))
    said = failed(await venice.call(LIST))
    assert "10 min" in said
    assert (len(venice.edge.sent), venice.slept) == (1, [])


@pytest.mark.parametrize("ending", ["200 with half a body", "200 with another shape", "302", "more than 16 MiB"])
async def test_a_read_whose_answer_is_unusable_is_a_clear_error(tmp_path: Path, ending: str) -> None:
    venice = world(tmp_path, scenario="empty")
    failing_first(venice, 9, LOST[ending])
    said = failed(await venice.call(LIST))
    assert "Venice" in said
    assert "Traceback" not in said
    assert "Nothing was changed at Venice." in said
    assert {request.url.host for request in venice.edge.sent} == {"127.0.0.1"}


async def test_failures_stay_below_the_limit_that_blocks_an_account(tmp_path: Path) -> None:
    wrong = {**KEYS, "VENICE_ADMIN_KEY": "VENICE_ADMIN_KEY_SANDBOX_" + "0" * 32}
    venice = world(tmp_path, env=wrong)
    said = [failed(await venice.call(LIST)) for _ in range(25)]
    assert 5 < len(venice.edge.sent) < 20
    assert "Too many requests failed" in said[-1]
    assert "Nothing was changed at Venice." in said[-1]


# --- paces and ceilings ----------------------------------------------------------------------------


async def test_the_twenty_first_key_of_a_minute_never_reaches_venice_too_early(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="empty")
    statuses: list[int] = []

    async def watch(_request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward()
        statuses.append(response.status_code)
        return response

    venice.edge.hook = watch
    async with venice.client(person=Person()) as client:
        for number in range(20):
            tool = MINT.tool if number % 5 == 0 else CREATE.tool
            done(await client.call_tool(tool, {**CAPPED, "description": f"number {number}"}))
        said = failed(await client.call_tool(CREATE.tool, CAPPED))
        assert "Nothing was changed at Venice." in said
        assert len(venice.edge.writes) == 20
        venice.clock.advance(seconds=45)
        done(await client.call_tool(CREATE.tool, CAPPED))
    assert venice.slept
    assert len(venice.edge.writes) == 21
    assert 429 not in statuses


@pytest.mark.parametrize("era", ERAS)
async def test_with_500_keys_nobody_is_asked_for_another(tmp_path: Path, era: str) -> None:
    venice, person = world(tmp_path, scenario="large"), Person()
    said = failed(await venice.call(CREATE.tool, CAPPED, era=era, person=person))
    assert "500 active keys" in said
    assert (person.questions, venice.written) == ([], {})


async def test_the_500th_key_made_by_somebody_else_meanwhile_stops_the_create(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="large", limits=False)
    spare = next(iter(reversed(venice.held())))
    await venice.venice("DELETE", "/api_keys", params={"id": spare})

    async def fill() -> None:
        await own_key(venice)

    said = failed(await venice.call(CREATE.tool, CAPPED, person=Person(meanwhile=fill)))
    assert "500 active keys" in said
    assert venice.edge.writes == []


async def test_reads_ask_nobody(tmp_path: Path) -> None:
    venice, person = world(tmp_path), Person()
    for tool, arguments in ((LIST, {}), ("venice_get_api_key", {"key_id": venice.id_of(IDLE)})):
        done(await venice.call(tool, arguments, person=person))
    assert person.questions == []
