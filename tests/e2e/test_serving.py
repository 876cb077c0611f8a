"""Serving: a clean stdout, a quick end, and a fence around HTTP."""

import json
import signal
import socket
import stat
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import anyio
import httpx
import httpx2
import pytest
from mcp.client.streamable_http import streamable_http_client

from tests.e2e.bench import CAPPED, LEGACY, MODERN, Json, Person, connect, done, world
from tests.e2e.forking import Forks, completed, forked, forked_http, forks
from tests.e2e.processes import (
    OURS,
    UNUSED,
    HttpServer,
    ends_within,
    environment,
    handshake,
    http_server,
    line_of,
    send,
    spawned,
    stdio,
)
from venice_mcp.serving import ServingError, run_http
from venice_mcp.tools import TOOLS

ENDS_WITHIN_S = 2.0
REAL_ADMIN = "VENICE_ADMIN_KEY_q7Xr2mKpT9wLz4VbN8sYd1HcJ6fGa3Ue"
IN_PROCESS = {"VENICE_MCP_SANDBOX": "1"}
ACCEPTS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}},
}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Generator[Forks | None]:
    with forks(tmp_path_factory.mktemp("forks")) as found:
        yield found


# --- stdio -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """Everything that one server said, which was started and ended as a client does."""

    frames: list[Json]
    log: str
    returncode: int | None
    ended_s: float

    def answer(self, number: int) -> Json:
        (found,) = [frame for frame in self.frames if frame.get("id") == number]
        return found

    def done(self, number: int) -> Json:
        result = self.answer(number)["result"]
        assert not result.get("isError"), result
        return cast("Json", result["structuredContent"])


def calling(number: int, tool: object) -> Json:
    return {"id": number, "method": "tools/call", "params": {"name": tool, "arguments": {}}}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Of a server in the sandbox that is given a real key all the same."""
    folder = tmp_path_factory.mktemp("stdio")
    command = [*OURS, "--state-dir", str(folder / "state"), "--log-level", "debug"]
    env = environment(folder, **IN_PROCESS, VENICE_ADMIN_KEY=REAL_ADMIN)
    with spawned(command, env, folder / "stderr") as server:
        frames = [handshake(server)]
        send(server, b"this is no JSON")
        send(server, {"id": 2, "method": "tools/list"})
        send(server, {"id": 3, "method": "no/such/method"})
        for number, tool in enumerate(("venice_list_api_keys", "venice_status", ["venice_status"]), 4):
            send(server, calling(number, tool))
        while not {2, 3, 4, 5, 6} <= {frame.get("id") for frame in frames}:
            frames.append(json.loads(line_of(server)))
        took = ends_within(server, ENDS_WITHIN_S, None)
        assert server.stdout is not None
        frames += [json.loads(line) for line in server.stdout.read().splitlines()]
    return Session(frames, (folder / "stderr").read_text(), server.returncode, took)


def test_stdout_carries_only_the_protocol_and_a_closed_stdin_ends_the_server(session: Session) -> None:
    assert session.answer(1)["result"]["serverInfo"]["name"] == "venice-mcp"
    assert all(frame["jsonrpc"] == "2.0" for frame in session.frames)
    assert session.ended_s < ENDS_WITHIN_S
    assert session.returncode == 0
    assert "Traceback" not in session.log


def test_real_keys_are_ignored_in_the_sandbox(session: Session) -> None:
    status, keys = session.done(5), session.done(4)
    assert status["mode"] == "sandbox"
    assert any("VENICE_ADMIN_KEY ignored" in problem for problem in status["problems"])
    assert REAL_ADMIN[-6:] not in json.dumps(status)
    assert keys["total"] == 25
    assert REAL_ADMIN not in session.log + json.dumps(session.frames)


def test_a_tool_name_that_is_no_text_is_refused_without_a_traceback(session: Session) -> None:
    answer = json.dumps(session.answer(6))
    assert "Unknown tool" in answer
    assert "unhashable" not in answer
    assert "Traceback" not in session.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_stdio_server_even_while_a_question_is_open(
    tmp_path: Path, parent: Forks | None, number: signal.Signals
) -> None:
    log = tmp_path / "stderr"
    command = ["--state-dir", str(tmp_path / "state")]
    with forked(parent, command, environment(tmp_path, **IN_PROCESS), log) as server:
        handshake(server)
        send(
            server, {"id": 2, "method": "tools/call", "params": {"name": "venice_create_api_key", "arguments": CAPPED}}
        )
        assert json.loads(line_of(server))["method"] == "elicitation/create"
        assert ends_within(server, ENDS_WITHIN_S, number) < ENDS_WITHIN_S
    assert server.returncode == 0
    assert "Traceback" not in log.read_text()


BACKEND = f"""
from keyring.backend import KeyringBackend
class Tiny(KeyringBackend):
    priority = 1
    def get_password(self, service, username):
        if username == "VENICE_API_KEY":
            raise TypeError("backends are other people's code")
        held = {{("venice-mcp", "VENICE_ADMIN_KEY"): {REAL_ADMIN + chr(10)!r}}}
        return held.get((service, username))
    def set_password(self, service, username, password):
        raise AssertionError("nothing is ever written to the keyring")
"""


def test_a_key_may_come_from_the_keyring_and_one_at_which_it_fails_is_as_if_it_had_none(tmp_path: Path) -> None:
    (tmp_path / "tiny_keyring.py").write_text(BACKEND)
    env = {
        "PYTHONPATH": str(tmp_path),
        "PYTHON_KEYRING_BACKEND": "tiny_keyring.Tiny",
        "VENICE_MCP_KEYRING": "1",
    }

    async def ask() -> Json:
        with (tmp_path / "stderr").open("w") as log:
            async with connect(stdio(tmp_path / "state", env, log), MODERN, None) as client:
                return done(await client.call_tool("venice_status", {}))

    status = anyio.run(ask)
    (admin,) = [key for key in status["keys"] if key["api_key_type"] == "ADMIN"]
    assert (admin["configured"], admin["last6_chars"], admin["origin"]) == (True, REAL_ADMIN[-6:], "system keyring")
    assert [key["configured"] for key in status["keys"] if key["api_key_type"] != "ADMIN"] == [False, False]
    assert status["mode"] == "live"
    assert REAL_ADMIN not in json.dumps(status) + (tmp_path / "stderr").read_text()


def test_a_server_without_any_stdin_says_so_and_ends(tmp_path: Path) -> None:
    ended = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *OURS, "--sandbox", "--state-dir", str(tmp_path / "state")],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("venice-mcp: there is no standard input to serve on")
    assert "Traceback" not in ended.stderr


# --- HTTP ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(parent: Forks | None, tmp_path_factory: pytest.TempPathFactory) -> Generator[HttpServer]:
    with forked_http(parent, tmp_path_factory.mktemp("http") / "state", IN_PROCESS) as process:
        yield process


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Generator[HttpServer]:
    """With a key that looks real and is nobody's; nothing here makes it send a request."""
    with http_server(tmp_path_factory.mktemp("live") / "state", {"VENICE_ADMIN_KEY": REAL_ADMIN}) as process:
        yield process


def ask(server: HttpServer, path: str = "/mcp", method: str = "POST", **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False, verify=UNUSED, base_url=f"http://127.0.0.1:{server.port}") as caller:
        return caller.request(method, path, headers={**ACCEPTS, **headers}, json=INITIALIZE)


ROUTES = [
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("DELETE", "/mcp"),
    ("OPTIONS", "/mcp"),
    ("GET", "/"),
    ("POST", "/no/such"),
]
routes = pytest.mark.parametrize(("method", "path"), ROUTES)


@routes
def test_a_foreign_host_is_refused_on_every_route(server: HttpServer, method: str, path: str) -> None:
    port = server.port
    for host in (
        f"localhost:{port}.evil.test",
        f"evil.test:{port}",
        "localhost",
        f"127.0.0.1:{port + 1}",
        f"127.0.0.1.:{port}",
        f"127.0.0.1:{port}@evil.test",
        "",
    ):
        answer = ask(server, path, method, Host=host)
        assert (host, answer.status_code) in ((host, 421), (host, 400))
        assert "jsonrpc" not in answer.text


@routes
def test_a_foreign_origin_is_refused_on_every_route(server: HttpServer, method: str, path: str) -> None:
    port = server.port
    for origin in (
        "http://evil.test",
        "null",
        f"http://localhost:{port}.evil.test",
        f"https://localhost:{port}",
        "http://localhost",
        f"http://localhost:{port}/",
    ):
        answer = ask(server, path, method, Origin=origin)
        assert (origin, answer.status_code) == (origin, 403)
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", [b"", b"Host: localhost:%d\r\nHost: evil.test\r\n"], ids=["missing", "two"])
def test_a_request_without_exactly_one_host_is_refused(server: HttpServer, host: bytes) -> None:
    line = host % server.port if b"%d" in host else host
    for version in (b"1.1", b"1.0"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(b"GET /mcp HTTP/" + version + b"\r\n" + line + b"Connection: close\r\n\r\n")
            assert raw.recv(64).split()[1] in (b"400", b"421")


def test_local_names_and_origins_pass(server: HttpServer) -> None:
    port = server.port
    for headers in (
        {"Host": f"localhost:{port}"},
        {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"},
        {"Host": f"127.0.0.1:{port}", "Origin": f"http://127.0.0.1:{port}"},
    ):
        assert ask(server, **headers).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.test", "127.0.0.1.evil.test", ""])  # noqa: S104 - these must be refused
def test_only_a_loopback_address_is_served(tmp_path: Path, host: str) -> None:
    app = world(tmp_path, scenario="empty").app
    with pytest.raises(ServingError, match="--host"):
        anyio.run(lambda: run_http(app, host=host, port=0, token_file=None))


def test_a_refused_address_ends_the_command_with_a_sentence(tmp_path: Path, parent: Forks | None) -> None:
    command = ["serve", "--http", "--host", "0.0.0.0", "--state-dir", str(tmp_path / "state")]  # noqa: S104 - these must be refused
    ended = completed(parent, command, environment(tmp_path, **IN_PROCESS))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "--host must be a loopback address" in ended.stderr
    assert "Traceback" not in ended.stderr


def token_of(server: HttpServer) -> str:
    path = server.log.parent / "state" / "http-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return path.read_text().strip()


def test_with_a_real_key_every_route_needs_the_token(live: HttpServer) -> None:
    token = token_of(live)
    wrong = ("", "Bearer", f"Bearer {token[:-1]}", f"Bearer {token}x", f"Basic {token}", token, "Bearer x y")
    for authorization in wrong:
        for method, path in ROUTES:
            answer = ask(live, path, method, **({"Authorization": authorization} if authorization else {}))
            assert (authorization, path, answer.status_code) == (authorization, path, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert token not in answer.text
    assert ask(live, Authorization=f"Bearer {token}").status_code == 200
    assert token not in live.log.read_text()


def test_the_host_is_looked_at_before_the_token(live: HttpServer) -> None:
    answer = ask(live, Host="evil.test", Authorization=f"Bearer {token_of(live)}")
    assert answer.status_code == 421


@pytest.mark.parametrize("era", [LEGACY, MODERN])
def test_with_the_token_a_client_lists_the_tools(live: HttpServer, era: str) -> None:
    async def tools() -> list[str]:
        headers = {"Authorization": f"Bearer {token_of(live)}"}
        async with (
            httpx2.AsyncClient(headers=headers) as caller,
            connect(streamable_http_client(live.url, http_client=caller), era, None) as client,
        ):
            return [tool.name for tool in (await client.list_tools()).tools]

    assert len(anyio.run(tools)) == len(TOOLS)
    assert REAL_ADMIN not in live.log.read_text()


def _with_mode(path: Path, mode: int, text: str = "t" * 40) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_token_file_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    app = world(tmp_path, scenario="empty").app
    path = _with_mode(tmp_path / "token", mode)
    with pytest.raises(ServingError, match="only you can read"):
        anyio.run(lambda: run_http(app, host="127.0.0.1", port=0, token_file=path))
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("text", ["", "short", "t" * 40 + " " + "u" * 40, "\u00fc" * 40], ids=len)
def test_a_token_file_without_a_good_token_is_refused(tmp_path: Path, text: str) -> None:
    app = world(tmp_path, scenario="empty").app
    path = _with_mode(tmp_path / "token", 0o600, text)
    with pytest.raises(ServingError):
        anyio.run(lambda: run_http(app, host="127.0.0.1", port=0, token_file=path))


@pytest.mark.parametrize(("number", "era"), [(signal.SIGINT, MODERN), (signal.SIGTERM, LEGACY)])
def test_a_signal_ends_an_http_server_even_with_an_open_session(
    tmp_path: Path, parent: Forks | None, number: signal.Signals, era: str
) -> None:
    with forked_http(parent, tmp_path / "state", IN_PROCESS) as server:

        async def stay() -> float:
            took: list[float] = []

            def signalled() -> None:
                took.append(ends_within(server.process, ENDS_WITHIN_S, number))

            async def end() -> None:
                with anyio.CancelScope(shield=True):  # the connection breaks before the process has ended
                    await anyio.to_thread.run_sync(signalled)

            person = Person("cancel", meanwhile=end)
            with anyio.move_on_after(20):
                try:
                    async with connect(streamable_http_client(server.url), era, person) as client:
                        await client.call_tool("venice_create_api_key", CAPPED)
                except BaseException as error:  # noqa: BLE001 - whatever the client makes of a server that is gone
                    _only_ordinary(error)
            return took[0]

        took = anyio.run(stay)
        assert took < ENDS_WITHIN_S
    assert server.process.returncode == 0
    assert "Traceback" not in server.log.read_text()


def _only_ordinary(error: BaseException) -> None:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            _only_ordinary(inner)
    elif not isinstance(error, Exception):
        raise error
