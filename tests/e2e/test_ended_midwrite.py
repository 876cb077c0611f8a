"""A server that is told to end while Venice has not yet answered a write: quickly, and truthfully."""

import json
import re
import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.e2e.bench import CAPPED
from tests.e2e.forking import Forks, forked, forks
from tests.e2e.processes import (
    OURS,
    UNUSED,
    SandboxProcess,
    ends_within,
    environment,
    handshake,
    line_of,
    sandbox_process,
    send,
    spawned,
    wait_for,
)

LOG = "server.log"
Process = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Generator[SandboxProcess]:
    with sandbox_process(tmp_path_factory.mktemp("sandbox")) as process:
        yield process


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Generator[Forks | None]:
    with forks(tmp_path_factory.mktemp("forks")) as found:
        yield found


class SlowVenice(ThreadingHTTPServer):
    """Passes everything on to the sandbox at once; answers to `slow` requests are kept until `answering` is set."""

    daemon_threads = True

    def __init__(self, sandbox: SandboxProcess, slow: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.slow = re.compile(slow)
        self.sandbox = sandbox
        self.upstream = sandbox.base_url.removesuffix("/api/v1")
        self.reached = threading.Event()
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
            self.command,
            self.server.upstream + self.path,
            content=body,
            headers=headers,
            trust_env=False,
            verify=UNUSED,
        )
        if self.server.slow.fullmatch(f"{self.command} {self.path}"):
            self.server.reached.set()
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
def slow_venice(sandbox: SandboxProcess, slow: str = "POST .*") -> Generator[SlowVenice]:
    with SlowVenice(sandbox, slow) as venice:
        threading.Thread(target=venice.serve_forever, daemon=True).start()
        try:
            yield venice
        finally:
            venice.answering.set()
            venice.shutdown()


@contextmanager
def creating(parent: Forks | None, folder: Path, slow: SlowVenice) -> Generator[Process]:
    """A server whose approved create has come as far as the request that `slow` keeps waiting."""
    url = f"http://127.0.0.1:{slow.server_address[1]}/api/v1"
    env = environment(folder, **(slow.sandbox.env | {"VENICE_BASE_URL": url}))
    with forked(parent, ["--state-dir", str(folder / "state")], env, folder / LOG) as server:
        handshake(server)
        call = {"name": "venice_create_api_key", "arguments": CAPPED}
        send(server, {"id": 2, "method": "tools/call", "params": call})
        question = json.loads(line_of(server))
        assert question["method"] == "elicitation/create"
        send(server, {"id": question["id"], "result": {"action": "accept", "content": {"approve": True}}})
        assert slow.reached.wait(20)
        yield server


@pytest.mark.parametrize("end", [None, signal.SIGTERM, signal.SIGINT], ids=["stdin closed", "SIGTERM", "SIGINT"])
def test_a_server_ended_during_a_slow_write_ends_in_time_and_names_the_write(
    tmp_path: Path, sandbox: SandboxProcess, parent: Forks | None, end: signal.Signals | None
) -> None:
    with slow_venice(sandbox) as slow:
        with creating(parent, tmp_path, slow) as server:
            assert ends_within(server, 2.0, end) < 2.0
        assert server.returncode == 0
        said = (tmp_path / LOG).read_text()
        assert "Traceback" not in said
        assert f'Ended while making the key "{CAPPED["description"]}"' in said
        assert "venice_list_api_keys" in said


def test_a_write_that_is_answered_while_the_server_ends_is_taken_back(
    tmp_path: Path, sandbox: SandboxProcess, parent: Forks | None
) -> None:
    with slow_venice(sandbox) as slow:
        before, _ = sandbox.state()
        with creating(parent, tmp_path, slow) as server:
            server.send_signal(signal.SIGTERM)
            slow.answering.set()
            server.wait(timeout=10)
        assert server.returncode == 0
        after, _ = sandbox.state()
        assert set(after) == set(before), "nobody could have read the secret, so no key may be left"
        assert "it was revoked again" in (tmp_path / LOG).read_text()


@pytest.mark.parametrize("end", [None, signal.SIGTERM], ids=["stdin closed", "SIGTERM"])
def test_a_key_whose_secret_nobody_has_seen_yet_is_revoked_when_the_server_ends(
    tmp_path: Path, sandbox: SandboxProcess, parent: Forks | None, end: signal.Signals | None
) -> None:
    # The key is made, and is being read back before its secret is handed over.
    with slow_venice(sandbox, r"GET /api/v1/api_keys/[0-9a-f-]{36}") as slow:
        before, _ = sandbox.state()
        with creating(parent, tmp_path, slow) as server:
            assert len(sandbox.state()[0]) == len(before) + 1
            assert ends_within(server, 2.0, end) < 2.0
        assert set(sandbox.state()[0]) == set(before)
        assert "it was revoked again" in (tmp_path / LOG).read_text()


WAITING_KEYRING = """
import time
from keyring.backend import KeyringBackend
class Waiting(KeyringBackend):
    priority = 1
    def get_password(self, service, username):
        open({mark!r}, "w").close()
        time.sleep(30)  # as one that waits for a person to unlock it
    set_password = get_password
"""


@pytest.mark.parametrize("end", [None, signal.SIGTERM], ids=["stdin closed", "SIGTERM"])
def test_a_keyring_that_waits_for_a_person_does_not_keep_the_server_alive(
    tmp_path: Path, end: signal.Signals | None
) -> None:
    mark = tmp_path / "asked"
    (tmp_path / "waiting_keyring.py").write_text(WAITING_KEYRING.format(mark=str(mark)))
    env = environment(
        tmp_path,
        PYTHONPATH=str(tmp_path),
        PYTHON_KEYRING_BACKEND="waiting_keyring.Waiting",
        VENICE_MCP_KEYRING="1",
    )
    with spawned([*OURS, "--state-dir", str(tmp_path / "state")], env, tmp_path / "server.log") as server:
        handshake(server)
        send(server, {"id": 2, "method": "tools/call", "params": {"name": "venice_status", "arguments": {}}})
        wait_for(mark.exists)
        assert ends_within(server, 2.0, end) < 2.0
    assert server.returncode == 0
    assert "Traceback" not in (tmp_path / "server.log").read_text()


@pytest.mark.parametrize("moment", ["venice_mcp.cli", "mcp.server"])
def test_an_interrupt_while_the_server_starts_leaves_no_traceback(tmp_path: Path, moment: str) -> None:
    # A finder that is asked for every import interrupts the process at the chosen one.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {moment!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )
    log = tmp_path / "server.log"
    with spawned([*OURS, "--sandbox"], environment(tmp_path, PYTHONPATH=str(tmp_path)), log) as server:
        server.wait(timeout=20)
    assert server.returncode == 130
    assert "Traceback" not in log.read_text()
