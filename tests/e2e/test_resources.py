"""Resources as hosts get them, and the news that they changed, through real clients in both eras."""

import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from inline_snapshot import snapshot
from mcp import Client
from mcp.client._memory import InMemoryTransport  # pyright: ignore[reportPrivateUsage]
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent
from mcp_types import (
    CallToolResult,
    JSONRPCNotification,
    JSONRPCRequest,
    PromptReference,
    ResourceUpdatedNotification,
    TextResourceContents,
)

from tests.e2e.bench import (
    ADMIN_KEY,
    CREATE,
    ERAS,
    EVERY,
    IDLE,
    INFERENCE_KEY,
    LEGACY,
    MODERN,
    UPDATE,
    Json,
    Person,
    World,
    done,
    failed,
    operated,
    world,
)
from tests.e2e.processes import INITIALIZE, sandbox_process, stdio
from venice_mcp.resources import MOST_CHARACTERS

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:resources/")]
eras = pytest.mark.parametrize("era", ERAS)
LIST, LIMITS, TRAIL, POLICY = "venice://keys", "venice://limits", "venice://audit-log", "venice://policy"
ALL = [LIST, LIMITS, TRAIL, POLICY]
SILENT = {LIMITS, POLICY}
"""Read anew each time; nobody hears that they changed."""
TEMPLATE = "venice://keys/{id}"
PASTED = "VENICE_INFERENCE_KEY_q7Rk-2Zx_9vTnB4yLmWc8HsPd3Ge5UjA6FoKi1xCt"
SPELLINGS = (PASTED, ADMIN_KEY, PASTED.replace("_", "%5F"), "correct-horse-battery", PASTED[21:])
"""What may stand in a URI by mistake; not all of it is recognised as a secret."""


async def text_of(client: Client, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert str(content.uri) == uri
    return content.text


async def read(client: Client, uri: str) -> Json:
    found: Json = json.loads(await text_of(client, uri))
    return found


async def refused(client: Client, uri: str) -> MCPError:
    with pytest.raises(MCPError) as error:
        await client.read_resource(uri)
    return error.value


async def subscribe(client: Client, uri: str) -> None:
    await client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated] - on 2025-era connections it is the way


async def unsubscribe(client: Client, uri: str) -> None:
    await client.unsubscribe_resource(uri)  # pyright: ignore[reportDeprecated]


# --- reading --------------------------------------------------------------------------------------


@eras
async def test_a_host_sees_what_there_is_and_for_whom(tmp_path: Path, era: str) -> None:
    async with world(tmp_path).client(era) as client:
        listed = (await client.list_resources()).resources
        (template,) = (await client.list_resource_templates()).resource_templates
    assert [str(each.uri) for each in listed] == ALL
    assert template.uri_template == TEMPLATE
    for each in (*listed, template):
        assert each.title
        assert each.description
        assert each.annotations is not None
        assert each.annotations.audience == ["user", "assistant"]
        assert 0 < (each.annotations.priority or 0) < 1
    kinds = {str(each.uri): each.mime_type for each in listed}
    assert kinds == dict.fromkeys(ALL, "application/json") | {TRAIL: "application/x-ndjson"}


async def test_the_words_that_hosts_show(tmp_path: Path) -> None:
    async with world(tmp_path).client() as client:
        listed = [(str(each.uri), each) for each in (await client.list_resources()).resources]
        templates = (await client.list_resource_templates()).resource_templates
    words = [(uri, each.name, each.title, each.description) for uri, each in listed]
    words += [(each.uri_template, each.name, each.title, each.description) for each in templates]
    assert words == snapshot(
        [
            (
                "venice://keys",
                "keys",
                "API keys",
                "All active keys: description, type, last six, caps and their window, last use, expiry; never secrets",
            ),
            (
                "venice://limits",
                "limits",
                "Rate limits",
                "Rate limits per model, tier and balances of the key that this server holds",
            ),
            (
                "venice://audit-log",
                "audit-log",
                "Audit trail",
                "The latest 20 entries: who asked for what, how it was approved, what became of it",
            ),
            (
                "venice://policy",
                "policy",
                "Operator's rules",
                "What the operator's policy allows, forbids and lets pass unasked, as it is in force",
            ),
            ("venice://keys/{id}", "key", "API key", "One key's settings, use and spend; never its secret"),
        ]
    )


@eras
async def test_each_says_what_the_tool_says(tmp_path: Path, era: str) -> None:
    venice = operated(tmp_path, "[keys]\ntypes = ['INFERENCE']")
    async with venice.client(era) as client:
        keys, listed = await read(client, LIST), done(await client.call_tool("venice_list_api_keys", {"limit": 100}))
        assert keys["columns"] == listed["columns"]
        assert sorted(keys["rows"]) == sorted(listed["rows"])
        assert keys["total"] == keys["shown"] == len(keys["rows"]) == len(venice.held())
        key_id = venice.id_of(IDLE)
        one = done(await client.call_tool("venice_get_api_key", {"key_id": key_id}))
        assert await read(client, f"{LIST}/{key_id}") == one
        assert await read(client, LIMITS) == done(await client.call_tool("venice_get_rate_limits", {}))
        rules, status = await read(client, POLICY), done(await client.call_tool("venice_status", {}))
        assert [*rules["rules"], *(f"from {path}" for path in rules["sources"])] == status["policy"]
        assert rules["rules"] == ["Keys: only INFERENCE may be made"]


async def test_no_resource_holds_a_secret(tmp_path: Path) -> None:
    venice = world(tmp_path)
    done(await venice.call(CREATE.tool, CREATE.arguments))
    async with venice.client() as client:
        uris = [*ALL, *(f"{LIST}/{key_id}" for key_id in venice.held())]
        said = "".join([await text_of(client, uri) for uri in uris])
    for key in venice.held().values():
        assert str(key["secret"]) not in said
        assert str(key["secret"])[30:-6] not in said


async def test_five_hundred_keys_are_one_short_line_each(tmp_path: Path) -> None:
    async with world(tmp_path, scenario="large").client() as client:
        text = await text_of(client, LIST)
    assert len(json.loads(text)["rows"]) == 500
    assert len(text) < MOST_CHARACTERS / 2
    assert len(text.splitlines()) == 502


@eras
async def test_a_key_that_is_not_there_is_not_found(tmp_path: Path, era: str) -> None:
    async with world(tmp_path).client(era) as client:
        error = (await refused(client, f"{LIST}/00000000-0000-4000-8000-000000000000")).error
    assert error.code == -32602
    assert error.message == "No active key has this id; venice://keys lists the ids that there are."


@eras
async def test_without_an_admin_key_the_way_to_one_is_told(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path, env={"VENICE_API_KEY": INFERENCE_KEY})
    async with venice.client(era) as client:
        for uri in (LIST, f"{LIST}/00000000-0000-4000-8000-000000000000"):
            assert "Set VENICE_ADMIN_KEY" in (await refused(client, uri)).error.message
        assert (await read(client, LIMITS))["api_key_type"] == "INFERENCE"
        assert await read(client, POLICY) == {"rules": [], "sources": []}
        assert await text_of(client, TRAIL) == ""
    async with world(tmp_path, env={}).client(era) as client:
        said = (await refused(client, LIMITS)).error.message
        assert "VENICE_API_KEY is not configured. An INFERENCE key is enough for this" in said
        assert "ADMIN" not in said


# --- what the operator hides ----------------------------------------------------------------------

HIDING = {
    "venice_list_api_keys": LIST,
    "venice_get_api_key": TEMPLATE,
    "venice_get_rate_limits": LIMITS,
    "venice_status": POLICY,
}


@pytest.mark.parametrize("tool", HIDING)
async def test_what_a_hidden_tool_reads_is_no_resource_either(tmp_path: Path, tool: str) -> None:
    venice = operated(tmp_path, f"[tools]\nhide = ['{tool}']")
    uri = HIDING[tool].replace("{id}", venice.id_of(IDLE))
    async with venice.client(LEGACY) as client:
        there = [str(each.uri) for each in (await client.list_resources()).resources]
        there += [each.uri_template for each in (await client.list_resource_templates()).resource_templates]
        assert set(there) == {*ALL, TEMPLATE} - {HIDING[tool]}
        assert (await refused(client, uri)).error.code == -32602
        with pytest.raises(MCPError, match="No such resource"):
            await subscribe(client, uri)
    async with venice.client() as client, client.listen(resource_subscriptions=[uri, TRAIL]) as stream:
        assert stream.honored.resource_subscriptions == [TRAIL]
    assert not venice.edge.sent


@eras
@pytest.mark.parametrize("hidden", ["'venice_list_api_keys', 'venice_get_api_key'", "'*'"])
async def test_who_may_see_no_keys_sees_none_in_the_audit_trail(tmp_path: Path, era: str, hidden: str) -> None:
    venice = operated(tmp_path, f"[tools]\nhide = [{hidden}]")
    async with venice.client(era) as client:
        assert TRAIL not in [str(each.uri) for each in (await client.list_resources()).resources]
        assert (await refused(client, TRAIL)).error.code == -32602


# --- what was pasted ------------------------------------------------------------------------------


@eras
@pytest.mark.parametrize("pasted", SPELLINGS)
async def test_what_nobody_knows_never_comes_back(
    tmp_path: Path, era: str, pasted: str, caplog: pytest.LogCaptureFixture
) -> None:
    venice, said = world(tmp_path), list[str]()
    caplog.set_level(logging.DEBUG, "mcp.server")
    caplog.set_level(logging.DEBUG, "venice_mcp")
    async with venice.client(era) as client:
        for uri in (f"{LIST}/{pasted}", f"venice://{pasted}", pasted):
            error = (await refused(client, uri)).error
            assert "A key is named by its id" in error.message
            said.append(f"{error!r}")
            if era == LEGACY:
                with pytest.raises(MCPError) as caught:
                    await subscribe(client, uri)
                await unsubscribe(client, uri)
                said.append(f"{caught.value.error!r}")
            else:
                async with client.listen(resource_subscriptions=[uri]) as stream:
                    said.append(f"{stream.honored!r}")
    assert pasted not in "".join(said) + caplog.text
    assert not venice.edge.sent


# --- news -----------------------------------------------------------------------------------------


class News:
    """What a client heard; `about` waits until all of these came and returns what came besides."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._more = anyio.Event()

    async def __call__(self, message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            self.hear(message.params.uri)

    def hear(self, uri: str) -> None:
        self.heard.append(uri)
        self._more.set()
        self._more = anyio.Event()

    async def about(self, *uris: str) -> set[str]:
        with anyio.fail_after(20):
            while not {*uris} <= {*self.heard}:
                await self._more.wait()
        return {*self.heard} - {*uris}


@asynccontextmanager
async def hearing(
    transport: Callable[[], Any], era: str, *uris: str, person: Person | None = None
) -> AsyncGenerator[tuple[Client, News]]:
    """A client that is subscribed to these, in the way of its era."""
    news = News()
    async with Client(
        transport(),
        mode=era,
        elicitation_callback=person or Person(),
        cache=None,
        # What a stream of 2026 brings comes here as well.
        message_handler=news if era == LEGACY else None,
        read_timeout_seconds=20,  # a stream that is never confirmed would be waited for without end
    ) as client:
        if era == LEGACY:
            for uri in uris:
                await subscribe(client, uri)
            yield client, news
            return

        async def listen() -> None:
            async for event in stream:
                assert isinstance(event, ResourceUpdated)
                news.hear(event.uri)

        async with client.listen(resource_subscriptions=uris) as stream, anyio.create_task_group() as tasks:
            assert (stream.honored.resource_subscriptions or []) == [uri for uri in uris if uri not in SILENT]
            tasks.start_soon(listen)
            yield client, news
            tasks.cancel_scope.cancel()


def here(venice: World) -> Callable[[], Any]:
    return lambda: InMemoryTransport(venice.server)


@eras
@pytest.mark.parametrize("name", EVERY)
async def test_after_a_write_its_subscribers_hear_of_it_and_others_do_not(tmp_path: Path, era: str, name: str) -> None:
    venice, write = world(tmp_path), EVERY[name]
    one = f"{LIST}/{venice.id_of(IDLE)}"
    wanted = [LIST, TRAIL, LIMITS, *([one] if write.target else [])]
    async with (
        hearing(here(venice), era, *wanted) as (client, news),
        hearing(here(venice), era, LIMITS, POLICY) as (_, nothing),
        hearing(here(venice), LEGACY if era == MODERN else MODERN, LIST) as (_, elsewhere),
    ):
        done(await client.call_tool(write.tool, write.given(venice.id_of)))
        assert await news.about(LIST, TRAIL, *([one] if write.target else [])) == set()
        assert await elsewhere.about(LIST) == set()
        await client.call_tool("venice_status", {})
        assert nothing.heard == []
        # The question and its answer are two requests in 2026.
        assert Counter(news.heard) == {**dict.fromkeys(news.heard, 1), TRAIL: 1 + (era == MODERN)}


@eras
async def test_each_of_several_writes_is_told_with_its_key(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    ids = [venice.id_of(name) for name in (IDLE, "staging")]
    wanted = [LIST, *(f"{LIST}/{key_id}" for key_id in ids)]
    async with hearing(here(venice), era, *wanted) as (client, news):
        change = {"key_ids": ids, "consumption_limit": {"usd": 3}}
        done(await client.call_tool("venice_update_api_keys", change))
        assert await news.about(*wanted) == set()
        await client.call_tool("venice_status", {})
        assert Counter(news.heard) == Counter(wanted)


@eras
@pytest.mark.parametrize("way", ["decline", "cancel"])
async def test_what_was_not_done_is_news_in_the_audit_trail_only(tmp_path: Path, era: str, way: str) -> None:
    venice = world(tmp_path)
    async with hearing(here(venice), era, LIST, TRAIL, person=Person(way)) as (client, news):
        failed(await client.call_tool(UPDATE.tool, UPDATE.given(venice.id_of)))
        assert await news.about(TRAIL) == set()


async def test_a_lost_answer_is_news_because_it_may_have_been_done(tmp_path: Path) -> None:
    async def lose(request: httpx.Request, forward: Callable[[], Any]) -> httpx.Response:
        answer: httpx.Response = await forward()
        if request.method != "GET":
            raise httpx.ReadError("gone", request=request)
        return answer

    venice = world(tmp_path)
    venice.edge.hook = lose
    async with hearing(here(venice), MODERN, LIST) as (client, news):
        await client.call_tool(CREATE.tool, CREATE.arguments)
        assert await news.about(LIST) == set()


class Bulletin:
    """What is told in the process, by whom it may be heard at all, with the number of entries there were by then."""

    def __init__(self, venice: World) -> None:
        self._venice = venice
        self._told: list[tuple[str, int]] = []
        self._entries = self._writes = 0
        venice.app.guard.changes.subscribe(self._hear)

    def _hear(self, event: ServerEvent) -> None:
        assert isinstance(event, ResourceUpdated)
        self._told.append((event.uri, self._newest()))

    def _newest(self) -> int:
        return self._venice.app.store.trail.checkpoint().seq

    def since(self, requests: int) -> tuple[int, set[str]]:
        """After one call: how many entries came, and which keys were named. Keys are told once and last, if something
        was written; the trail once in each request that made entries, after them.
        """
        told, self._told = self._told, []
        entries, self._entries = self._entries, self._newest()
        written, self._writes = self._writes, len(self._venice.edge.writes)
        trail = [at for uri, at in told if uri == TRAIL]
        assert trail == sorted({*trail} - {entries})
        assert len(trail) <= requests
        assert (trail or [entries])[-1] == self._entries
        keys = Counter(uri for uri, _ in told if uri != TRAIL)
        assert bool(keys) == (self._writes > written) == (keys[LIST] == 1)
        assert {*keys.values()} <= {0, 1}
        assert {at for uri, at in told if uri != TRAIL} <= {self._entries}
        return self._entries - entries, {uri.rpartition("/")[2] for uri in keys if uri != LIST}


@eras
async def test_whatever_a_call_records_is_told_once_and_when_it_is_done(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    ids = [venice.id_of(name) for name in (IDLE, "staging")]
    news, busy = Bulletin(venice), True

    async def answer(request: httpx.Request, forward: Callable[[], Any]) -> httpx.Response:
        return httpx.Response(503, json={"error": "busy"}) if busy and request.method != "GET" else await forward()

    async def called(name: str, arguments: Json, way: str = "approve") -> tuple[int, set[str], CallToolResult]:
        person = Person(way)
        result = await venice.call(name, arguments, era=era, person=person)
        return *news.since(1 + len(person.questions) * (era == MODERN)), result

    async def names_of(name: str, arguments: Json) -> set[str]:
        entries, keys, result = await called(name, arguments)
        done(result)
        assert entries
        return keys

    # Asked, found again; another one declined; the first out of date, and not asked anew so soon.
    change = UPDATE.given(venice.id_of)
    assert (await called(UPDATE.tool, change, "cancel"))[:2] == (1, set())
    assert (await called(UPDATE.tool, change, "cancel"))[:2] == (0, set())
    assert (await called("venice_list_api_keys", {}))[:2] == (0, set())
    assert (await called(UPDATE.tool, {**change, "limit_period": "MONTH"}, "decline"))[:2] == (2, set())
    await venice.venice("PATCH", "/api_keys", json={"id": ids[0], "consumptionLimit": {"usd": 77, "diem": None}})
    entries, _, result = await called(UPDATE.tool, change)
    assert "declined this a moment ago" in failed(result)
    assert entries == 1
    venice.clock.advance(hours=2)
    # A displayed secret that is acknowledged.
    made = done((await called(CREATE.tool, CREATE.arguments))[2])["id"]
    assert (await called("venice_recover", {}))[:2] == (0, set())
    assert await names_of("venice_recover", {"acknowledge": made}) == set()
    # A plan that Venice does not let begin, dropped.
    venice.edge.hook = answer
    several = {"key_ids": ids, "consumption_limit": {"usd": 3}}
    assert (await called("venice_update_api_keys", several))[0] > 2
    (plan,) = done((await called("venice_recover", {}))[2])["plans"]
    assert (await called("venice_recover", {"give_up": plan["plan"]}))[:2] == (1, set())
    busy = False
    # Plans that come to their end.
    assert await names_of("venice_update_api_keys", several) == set(ids)
    place = {"kind": "csv", "path": str(tmp_path / "keys.csv")}
    capped = {"description": "for {name}", "consumption_limit": {"usd": 1}, "deliver_to": place}
    assert len(await names_of("venice_provision_api_keys", {"names": ["one", "two"], **capped})) == 2
    secret = {"kind": "file", "path": str(tmp_path / "secret")}
    assert ids[0] in await names_of("venice_rotate_api_key", {"key_id": ids[0], "deliver_to": secret})
    assert ids[1] in await names_of("venice_revoke_api_keys", {"key_ids": [made, ids[1]]})


async def test_a_call_that_records_nothing_tells_what_another_process_recorded(tmp_path: Path) -> None:
    venice = world(tmp_path)
    other = world(tmp_path, share=venice)
    told: list[ServerEvent] = []
    venice.app.guard.changes.subscribe(told.append)
    done(await other.call(CREATE.tool, CREATE.arguments))
    await venice.call("venice_status")
    assert told == [], "what was there before the first call is no news"
    done(await other.call(CREATE.tool, CREATE.arguments))
    assert told == []
    for _ in range(2):
        await venice.call("venice_status")
        assert told == [ResourceUpdated(TRAIL)]


async def test_of_calls_at_the_same_time_each_tells_its_keys(tmp_path: Path) -> None:
    venice = world(tmp_path)
    ids = [venice.id_of(name) for name in (IDLE, "staging")]
    told: list[ServerEvent] = []
    venice.app.guard.changes.subscribe(told.append)
    async with venice.client(MODERN, Person()) as client:

        async def change(key_id: str) -> None:
            done(await client.call_tool(UPDATE.tool, {"key_id": key_id, "consumption_limit": {"usd": 4}}))

        async with anyio.create_task_group() as tasks:
            for key_id in ids:
                tasks.start_soon(change, key_id)
    heard = Counter(event.uri for event in told if isinstance(event, ResourceUpdated))
    assert {heard[f"{LIST}/{each}"] for each in ids} == {1}
    assert heard[LIST] == 2
    assert 1 <= heard[TRAIL] <= 4, "never oftener than there were requests"


async def test_without_a_record_none_is_made_to_look_for_news(tmp_path: Path) -> None:
    venice = world(tmp_path)
    done(await venice.call("venice_list_api_keys"))
    assert not venice.app.store.record.exists()


@pytest.mark.parametrize("kind", ["tools", "prompts", "resources"])
async def test_only_what_will_be_told_is_promised_and_confirmed(tmp_path: Path, kind: str) -> None:
    venice = world(tmp_path)
    async with Client(InMemoryTransport(venice.server), mode="auto", cache=None) as client:
        offered = client.server_capabilities.model_dump(by_alias=True)
        assert offered[kind]["listChanged"] is False
        assert offered["resources"]["subscribe"] is True
        key = f"{LIST}/{venice.id_of(IDLE)}"
        wanted: Json = {f"{kind}_list_changed": True, "resource_subscriptions": [*ALL, key]}
        async with client.listen(**wanted) as stream:
            honored = stream.honored.model_dump(by_alias=True, exclude_none=True)
            assert honored == {"resourceSubscriptions": [LIST, TRAIL, key]}
    async with venice.client(LEGACY) as client:
        assert client.server_capabilities.model_dump(by_alias=True)[kind]["listChanged"] is False


async def test_who_unsubscribes_or_leaves_hears_no_more(tmp_path: Path) -> None:
    venice = world(tmp_path)
    async with hearing(here(venice), LEGACY, LIST, TRAIL) as (client, news):
        async with hearing(here(venice), LEGACY, LIST):
            pass
        await unsubscribe(client, LIST)
        done(await client.call_tool(CREATE.tool, CREATE.arguments))
        assert await news.about(TRAIL) == set()


async def test_a_client_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    venice = world(tmp_path)
    async with InMemoryTransport(venice.server) as (deaf_read, deaf_write):

        async def ask(number: int, method: str, params: Json) -> None:
            request = JSONRPCRequest(jsonrpc="2.0", id=number, method=method, params=params)
            await deaf_write.send(SessionMessage(request))
            await deaf_read.receive()

        await ask(1, "initialize", INITIALIZE)
        initialized = JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized")
        await deaf_write.send(SessionMessage(initialized))
        await ask(2, "resources/subscribe", {"uri": LIST})
        async with hearing(here(venice), LEGACY, LIST) as (client, news):
            for number in range(3):  # one finds room in the stream, the next does not
                done(await client.call_tool(CREATE.tool, {**CREATE.arguments, "description": f"number {number}"}))
                await news.about(LIST)
            await deaf_read.receive()
            done(await client.call_tool(CREATE.tool, CREATE.arguments))
            with anyio.move_on_after(0.05) as waiting:
                await deaf_read.receive()
            assert waiting.cancelled_caught, "it was forgotten"
    assert venice.written == {"createApiKey": 4}


@pytest.mark.parametrize("era", ERAS)
async def test_a_listener_that_fails_breaks_no_write(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)

    def broken(event: ServerEvent) -> None:
        raise RuntimeError("cannot listen")

    venice.app.guard.changes.subscribe(broken)
    async with hearing(here(venice), era, LIST) as (client, news):
        done(await client.call_tool(CREATE.tool, CREATE.arguments))
        await news.about(LIST)


# --- one process ----------------------------------------------------------------------------------


async def test_over_stdio_it_is_the_same(tmp_path: Path) -> None:
    with sandbox_process(tmp_path) as venice, (tmp_path / "stderr").open("w") as log:
        async with hearing(lambda: stdio(tmp_path / "state", venice.env, log), LEGACY, LIST, TRAIL) as (client, news):
            before = (await read(client, LIST))["total"]
            made = done(await client.call_tool(CREATE.tool, CREATE.arguments))
            await news.about(LIST, TRAIL)
            assert (await read(client, LIST))["total"] == before + 1
            found = await client.complete(PromptReference(name="keys"), {"name": "key", "value": "made by a te"})
            assert found.completion.values == [made["id"]]
            await refused(client, f"{LIST}/{PASTED}")
            for typed in (PASTED, made["api_key"], made["api_key"][:40]):
                found = await client.complete(PromptReference(name="keys"), {"name": "key", "value": typed})
                assert found.completion.values == []
    said = (tmp_path / "stderr").read_text()
    assert "venice-mcp" in said, "the log is meant to be searched"
    for secret in (PASTED, made["api_key"], venice.admin_key):
        assert secret[30:] not in said
