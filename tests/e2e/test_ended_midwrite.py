"""A server that is told to end while Venice has not yet answered a write: quickly, and truthfully."""

import json
import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.e2e.bench import CAPPED, Json
from tests.e2e.processes import (
    OURS,
    SandboxProcess,
    ends_within,
    environment,
    handshake,
    line_of,
    sandbox_process,
    send,
    spawned,
)

Process = subprocess.Popen[bytes]


class SlowVenice(ThreadingHTTPServer):
    """Passes everything on to the sandbox at once; answers to a POST are kept until `answering` is set."""

    daemon_threads = True

    def __init__(self, sandbox: SandboxProcess) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.upstream = sandbox.base_url.removesuffix("/api/v1")
        self.created = threading.Event()
        self.answering = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is gone when its answer comes is what these tests are about."""


class _Passing(BaseHTTPRequestHandler):
    server: SlowVenice  # pyright: ignore[reportIncompatibleVariableOverride]

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {
            name: value for name, value in self.headers.items() if name.lower() in ("authorization", "content-type")
        }
        answer = httpx.request(
            self.command, self.server.upstream + self.path, content=body, headers=headers, trust_env=False
        )
        if self.command == "POST":
            self.server.created.set()
            self.server.answering.wait(30)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PATCH = do_DELETE = _pass

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def slow_venice(sandbox: SandboxProcess) -> Generator[SlowVenice]:
    with SlowVenice(sandbox) as slow:
        threading.Thread(target=slow.serve_forever, daemon=True).start()
        try:
            yield slow
        finally:
            slow.answering.set()
            slow.shutdown()


def _approve_a_create(process: Process, arguments: Json) -> None:
    send(
        process, {"id": 2, "method": "tools/call", "params": {"name": "venice_create_api_key", "arguments": arguments}}
    )
    question = json.loads(line_of(process))
    assert question["method"] == "elicitation/create"
    send(process, {"id": question["id"], "result": {"action": "accept", "content": {"approve": True}}})


@pytest.mark.parametrize("end", [None, signal.SIGTERM, signal.SIGINT], ids=["stdin closed", "SIGTERM", "SIGINT"])
def test_a_server_ended_during_a_slow_write_ends_in_time_and_names_the_write(
    tmp_path: Path, end: signal.Signals | None
) -> None:
    with sandbox_process(tmp_path) as sandbox, slow_venice(sandbox) as slow:
        url = f"http://127.0.0.1:{slow.server_address[1]}/api/v1"
        env = environment(tmp_path, **(sandbox.env | {"VENICE_BASE_URL": url}))
        log = tmp_path / "server.log"
        with spawned([*OURS, "--state-dir", str(tmp_path / "state")], env, log) as server:
            handshake(server)
            _approve_a_create(server, CAPPED)
            assert slow.created.wait(20)
            assert ends_within(server, 2.0, end) < 2.0
        assert server.returncode == 0
        said = log.read_text()
        assert "Traceback" not in said
        assert f'Ended while making the key "{CAPPED["description"]}"' in said
        assert "venice_list_api_keys" in said


def test_a_write_that_is_answered_while_the_server_ends_is_taken_back(tmp_path: Path) -> None:
    with sandbox_process(tmp_path) as sandbox, slow_venice(sandbox) as slow:
        before, _ = sandbox.state()
        url = f"http://127.0.0.1:{slow.server_address[1]}/api/v1"
        env = environment(tmp_path, **(sandbox.env | {"VENICE_BASE_URL": url}))
        log = tmp_path / "server.log"
        with spawned([*OURS, "--state-dir", str(tmp_path / "state")], env, log) as server:
            handshake(server)
            _approve_a_create(server, CAPPED)
            assert slow.created.wait(20)
            server.send_signal(signal.SIGTERM)
            slow.answering.set()
            server.wait(timeout=10)
        assert server.returncode == 0
        after, _ = sandbox.state()
        assert set(after) == set(before), "nobody could have read the secret, so no key may be left"
        assert "it was revoked again" in log.read_text()
