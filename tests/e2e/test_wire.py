"""The important cases once more over real processes: stdio and HTTP, both eras, judged at a sandbox process."""

import sys
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

import anyio
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from tests.e2e.bench import (
    EVERY,
    LEGACY,
    MODERN,
    RISKY_CREATE,
    WRITES,
    Json,
    Person,
    Write,
    begin,
    connect,
    done,
    failed,
    text_of,
)
from tests.e2e.processes import HttpServer, SandboxProcess, http_server, sandbox_process, stdio

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="was never tried there"),
]
WIRES = ("stdio", "http")


@pytest.fixture(scope="module")
def venice(tmp_path_factory: pytest.TempPathFactory) -> Generator[SandboxProcess]:
    with sandbox_process(tmp_path_factory.mktemp("sandbox")) as process:
        yield process


class Wire:
    """Opens connections of one kind, and knows everything the server wrote to stderr."""

    def __init__(self, venice: SandboxProcess, server: HttpServer | None, folder: Path, log: TextIO) -> None:
        self.shared = server is not None
        self.era = LEGACY if self.shared else MODERN
        self._venice = venice
        self._server = server
        self._folder = folder
        self._log = log

    def _transport(self) -> AbstractAsyncContextManager[Any]:
        if self._server is not None:
            return streamable_http_client(self._server.url)
        return stdio(self._folder / "state", self._venice.env, self._log)

    @asynccontextmanager
    async def client(self, era: str, person: Person | None) -> AsyncGenerator[Client]:
        async with connect(self._transport(), era, person) as client:
            assert (client.protocol_version >= MODERN) == (era != LEGACY)
            yield client

    def stderr(self) -> str:
        return (self._folder / "stderr" if self._server is None else self._server.log).read_text()


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, venice: SandboxProcess, tmp_path: Path) -> Generator[Wire]:
    with ExitStack() as stack:
        log = stack.enter_context((tmp_path / "stderr").open("w"))
        server = None
        if request.param == "http":
            (tmp_path / "http").mkdir()
            server = stack.enter_context(http_server(tmp_path / "http" / "state", venice.env))
        yield Wire(venice, server, tmp_path, log)


class Ledger:
    """What the sandbox holds, compared with the last look."""

    def __init__(self, venice: SandboxProcess) -> None:
        self._venice = venice
        self.keys, self._requests = venice.state()

    def id_of(self, description: str) -> str:
        return next(key_id for key_id, key in self.keys.items() if key["description"] == description)

    def news(self) -> tuple[dict[str, int], int]:
        """Writes that arrived since, and how many keys differ from before."""
        before, counts = self.keys, self._requests
        self.keys, self._requests = self._venice.state()
        written = Counter({write.operation: self._requests[write.operation] for write in WRITES.values()})
        written.subtract({operation: counts[operation] for operation in written})
        changed = [key_id for key_id in {*before, *self.keys} if before.get(key_id) != self.keys.get(key_id)]
        return {name: count for name, count in written.items() if count}, len(changed)


NO_YES: dict[str, tuple[Write, ...]] = {
    "decline": tuple(EVERY.values()),
    "accept": (EVERY["update"],),
    "true": (EVERY["mint"],),
    "wrong": (RISKY_CREATE,),
    "cancel": (EVERY["revoke"], EVERY["mint"]),
}
NOTHING: tuple[dict[str, int], int] = ({}, 0)


async def idle_key(client: Client, person: Person, ledger: Ledger, description: str) -> str:
    person.way = "approve"
    made = done(
        await client.call_tool("venice_create_api_key", {"description": description, "consumption_limit": {"usd": 15}})
    )
    ledger.news()
    return str(made["id"])


async def test_a_real_server_does_what_it_says_makes_one_key_of_a_replay_and_tells_each_secret_once(
    wire: Wire, venice: SandboxProcess
) -> None:
    """All of one server, because to start it takes longer than what is asked of it."""
    # Each wire in one era: what differs by era is looked at without a process in between.
    ledger, person = Ledger(venice), Person()
    async with wire.client(wire.era, person) as client:
        await every_answer_does_at_the_sandbox_what_it_says(wire, client, person, ledger)
        if wire.era == MODERN:
            await a_finished_call_sent_eight_times_at_once_makes_one_key(client, ledger)
        else:
            async with wire.client(MODERN, Person()) as other:
                await a_finished_call_sent_eight_times_at_once_makes_one_key(other, ledger)
        await a_secret_leaves_a_server_once_and_never_through_its_log(wire, client, person, venice)


async def every_answer_does_at_the_sandbox_what_it_says(
    wire: Wire, client: Client, person: Person, ledger: Ledger
) -> None:
    target = await idle_key(client, person, ledger, f"target {id(wire)}")
    spare = await idle_key(client, person, ledger, f"spare {id(wire)}")
    calls: list[tuple[Write, Json]] = [
        (write, write.given(lambda _: target)) for write in (*EVERY.values(), RISKY_CREATE)
    ]
    calls.sort(key=lambda call: call[0].operation == "deleteApiKey")  # the target goes last
    for way, asked in NO_YES.items():
        person.way = way
        for write in asked:
            said = failed(await client.call_tool(write.tool, unlike_the_others(write, spare)))
            assert "Nothing was changed at Venice." in said
        assert (way, ledger.news()) == (way, NOTHING)
    if wire.shared:  # on stdio it is a process of its own: see test_many_processes
        async with wire.client(wire.era, None) as mute:
            for write, arguments in calls:
                assert " -P -m venice_mcp approve " in failed(await mute.call_tool(write.tool, arguments))
        assert ledger.news() == NOTHING
    person.way, person.questions = "approve", []
    for write, arguments in calls:
        done(await client.call_tool(write.tool, arguments))
        assert ledger.news() == ({write.operation: 1}, 1)
    assert len(person.questions) == len(calls)


def unlike_the_others(write: Write, spare: str) -> Json:
    """A call of its own to be refused: what was refused is not asked again for a while."""
    if write.target is not None:
        return {"key_id": spare} | ({"consumption_limit": {"usd": 14}} if write.arguments else {})
    return {**write.arguments, "description": "not this one"}


async def a_finished_call_sent_eight_times_at_once_makes_one_key(client: Client, ledger: Ledger) -> None:
    results: list[object] = []
    call = await begin(client, "venice_create_api_key", {**EVERY["create"].arguments, "description": "sent again"})

    async def replay() -> None:
        results.append(await call.send())

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(replay)
    assert sum(isinstance(result, CallToolResult) and not result.is_error for result in results) == 1
    assert ledger.news() == ({"createApiKey": 1}, 1)


async def a_secret_leaves_a_server_once_and_never_through_its_log(
    wire: Wire, client: Client, person: Person, venice: SandboxProcess
) -> None:
    first = await client.call_tool("venice_create_api_key", EVERY["create"].arguments)
    secret = str(done(first)["api_key"])
    later = [await client.call_tool(tool, {}) for tool in ("venice_status", "venice_list_api_keys")]
    later.append(await client.call_tool("venice_get_api_key", {"key_id": secret}))
    later.append(await client.call_tool("venice_create_api_key", {"description": secret}))
    token = str(done(await client.call_tool("venice_get_web3_token", {}))["token"])
    minted = str(done(await client.call_tool("venice_create_web3_api_key", EVERY["mint"].arguments))["api_key"])
    later.append(await client.call_tool("venice_list_api_keys", {"text": token[:40]}))
    assert secret in text_of(first)
    said = "\n".join(result.model_dump_json() for result in later) + wire.stderr() + "\n".join(person.questions)
    for canary in (secret, minted, token, venice.admin_key, venice.inference_key):
        assert canary not in said
        assert canary[30:] not in said
    assert wire.stderr(), "the log is meant to be searched, so it must not be empty"
    assert "Traceback" not in wire.stderr()
