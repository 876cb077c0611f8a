"""Several servers, transports and users around one record: it stays whole, one approval makes one key."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("its terminal is a pseudo-terminal of POSIX", allow_module_level=True)

import json
import os
import subprocess
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
from mcp.client.streamable_http import streamable_http_client

from tests.e2e.bench import CAPPED, LEGACY, MODERN, Json, connect, failed
from tests.e2e.forking import Forks, forked, forked_http, forks
from tests.e2e.processes import SandboxProcess, environment, handshake, line_of, sandbox_process, send
from tests.e2e.terminal import on_terminal
from tests.e2e.test_terminal import command_in
from tests.test_harness import NOON
from venice_mcp.store import Store

CREATE = "venice_create_api_key"
SERVERS, EACH = 3, 4
MUTE_OF_2026: Json = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "e2e", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
"""What a client says of itself in each request that shakes no hands and cannot ask."""
Process = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def venice(tmp_path_factory: pytest.TempPathFactory) -> Generator[SandboxProcess]:
    with sandbox_process(tmp_path_factory.mktemp("sandbox")) as process:
        yield process


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Generator[Forks | None]:
    with forks(tmp_path_factory.mktemp("forks")) as found:
        yield found


@contextmanager
def servers(
    folder: Path, venice: SandboxProcess, parent: Forks | None, legacy: int = SERVERS
) -> Generator[list[Process]]:
    """Three servers on one record that are ready; with the first of them hands were shaken."""
    command = ["--state-dir", str(folder / "state")]
    with ExitStack() as stack:
        started = [
            stack.enter_context(forked(parent, command, environment(folder, **venice.env), folder / f"{number}.log"))
            for number in range(SERVERS)
        ]
        for server in started[:legacy]:
            handshake(server)
        yield started


def call(server: Process, number: int, arguments: Json, **more: Json) -> None:
    params: Json = {"name": CREATE, "arguments": arguments, **more}
    send(server, {"id": number, "method": "tools/call", "params": params})


def results(server: Process, count: int, action: str) -> list[Json]:
    """Answer each question the server asks like that until so many calls have ended."""
    found: list[Json] = []
    while len(found) < count:
        message: Json = json.loads(line_of(server))
        if message.get("method") == "elicitation/create":
            content: Json = {"content": {"approve": True}} if action == "accept" else {}
            send(server, {"id": message["id"], "result": {"action": action, **content}})
        elif "result" in message:
            found.append(message["result"])
    return found


def of_all(running: list[Process], count: int, action: str) -> list[list[Json]]:
    with ThreadPoolExecutor(SERVERS) as pool:
        waiting = [pool.submit(results, server, count, action) for server in running]
        return [each.result() for each in waiting]


def text_of(result: Json) -> str:
    return str(result["content"][0]["text"])


def test_keys_made_by_three_servers_at_once_are_all_accounted_for(
    tmp_path: Path, venice: SandboxProcess, parent: Forks | None
) -> None:
    before = venice.state()[0]
    with servers(tmp_path, venice, parent) as running:
        for place, server in enumerate(running):
            for number in range(EACH):
                to: Json = {"kind": "file", "path": str(tmp_path / f"{place}-{number}.key")} if number % 2 else {}
                call(server, 100 + number, {**CAPPED, "description": f"{place}-{number}", "deliver_to": to or None})
        made = [result for each in of_all(running, EACH, "accept") for result in each]
        for result in made:
            assert not result.get("isError"), text_of(result)
        send(running[0], {"id": 7, "method": "tools/call", "params": {"name": "venice_recover", "arguments": {}}})
        (recovered,) = results(running[0], 1, "decline")
    ids = {str(result["structuredContent"]["id"]) for result in made}
    new = {key_id: key for key_id, key in venice.state()[0].items() if key_id not in before}
    assert (len(ids), ids) == (SERVERS * EACH, set(new))
    store = Store(tmp_path / "state")
    assert store.trail.verify().broken is None
    entries = store.trail.all()
    for kind, count in {"asked": 12, "granted": 12, "spent": 12, "intended": 12, "made": 12, "delivered": 6}.items():
        assert sum(entry.kind == kind for entry in entries) == count, kind
    assert {json.loads(entry.data)["id"] for entry in entries if entry.kind == "made"} == ids
    # What was delivered is where it should be, and what was shown waits for a person's word, in every server.
    shown = {str(result["structuredContent"]["id"]) for result in made if result["structuredContent"].get("api_key")}
    assert {str(item["key_id"]) for item in recovered["structuredContent"]["open"]} == shown
    for key_id in set(new) - shown:
        path = tmp_path / f"{new[key_id]['description']}.key"
        # The sandbox shows a secret's last six characters only.
        assert path.read_text().strip().endswith(str(new[key_id]["secret"])[-6:])
    held = b"".join(path.read_bytes() for path in store.folder.iterdir())
    assert b"KEY_SANDBOX_" not in held


def test_one_approval_used_by_three_servers_at_once_makes_one_key(
    tmp_path: Path, venice: SandboxProcess, parent: Forks | None
) -> None:
    """Twice by each of them; by the last one as clients of 2026 call."""
    arguments = {**CAPPED, "description": "one of three"}
    before = venice.state()[1]["createApiKey"]
    with servers(tmp_path, venice, parent, SERVERS - 1) as running:
        call(running[-1], 2, arguments, _meta=MUTE_OF_2026)
        (waiting,) = results(running[-1], 1, "none is asked")
        assert waiting["isError"]
        status, _ = on_terminal(command_in(text_of(waiting)), tmp_path, "YES\n")
        assert status == 0
        for number in (3, 4):
            for server in running[:-1]:
                call(server, number, arguments)
            call(running[-1], number, arguments, _meta=MUTE_OF_2026)
        told = [result for each in of_all(running, 2, "cancel") for result in each]
    made = [result for result in told if not result.get("isError")]
    assert len(made) == 1
    unmade = [text_of(result) for result in told if result.get("isError")]
    assert all("Nothing was changed at Venice." in each or each.startswith("Nothing was done") for each in unmade)
    keys, requests = venice.state()
    assert [key["id"] for key in keys.values() if key["description"] == "one of three"] == [
        made[0]["structuredContent"]["id"]
    ]
    assert requests["createApiKey"] == before + 1
    store = Store(tmp_path / "state")
    assert store.trail.verify().broken is None
    assert [entry.kind for entry in store.trail.all()].count("spent") == 1


def test_servers_on_one_record_are_told_apart_by_client_and_transport(
    tmp_path: Path, venice: SandboxProcess, parent: Forks | None
) -> None:
    async def ask(url: str) -> None:
        async with connect(streamable_http_client(url), LEGACY, None) as client:
            failed(await client.call_tool(CREATE, {**CAPPED, "description": "over HTTP"}))

    state = tmp_path / "state"
    with (
        forked_http(parent, state, venice.env) as server,
        forked(parent, ["--state-dir", str(state)], environment(tmp_path, **venice.env), tmp_path / "log") as other,
    ):
        handshake(other)
        call(other, 2, CAPPED)
        results(other, 1, "cancel")
        anyio.run(ask, server.url)
    first, second = (entry.actor for entry in Store(state).trail.all() if entry.kind == "asked")
    assert first == 'client "e2e" 1 over stdio'
    assert second.startswith('client "mcp" ')
    assert second.endswith(" over HTTP")


# Everything that is imported late is imported early, because nobody may not read it.
AS_NOBODY = """
import gettext, locale, os, shutil, sys
from venice_mcp import auditing, cli
os.seteuid(65534)
sys.exit(cli.run(sys.argv[1:]))
"""
only_root = pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can be somebody else")


def read_by(program: list[str], folder: Path, action: str) -> str:
    """What a command says that cannot read the record."""
    command = [sys.executable, "-P", *program, "audit-log", action, "--state-dir", str(folder)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment(folder.parent)
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Traceback" not in ended.stderr
    assert "run this as that user" in ended.stderr
    return ended.stderr


@only_root
@pytest.mark.parametrize("action", ["show", "verify", "export"])
def test_a_record_that_another_user_keeps_private_is_told(tmp_path: Path, action: str) -> None:
    store = Store(tmp_path / "state")
    store.approvals.ask(account="a", fingerprint="f", data={}, now=NOON)
    assert "Permission denied" in read_by(["-c", AS_NOBODY], store.folder, action)


@only_root
def test_not_even_root_uses_the_record_of_another_user(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    store.approvals.ask(account="a", fingerprint="f", data={}, now=NOON)
    before = store.path.read_bytes()
    for path in (store.path, store.folder):
        os.chown(path, 65534, 65534)
    assert "cannot be used" in read_by(["-m", "venice_mcp"], store.folder, "show")
    assert [path.name for path in store.folder.iterdir()] == ["state.sqlite3"]
    assert store.path.read_bytes() == before
