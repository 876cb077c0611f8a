import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import venice_mcp
from venice_mcp.sandbox.loads import LOADS

ROOT = Path(venice_mcp.__file__).parents[1]


def _start(**options: object) -> subprocess.Popen[str]:
    arguments = ", ".join(f"{name}={value!r}" for name, value in options.items())
    imports = "import sys; from pathlib import *; from venice_mcp.sandbox import serve"
    code = f"{imports}; sys.exit(serve({arguments}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@contextmanager
def _running(**options: object) -> Generator[tuple[subprocess.Popen[str], dict[str, str]]]:
    process = _start(**options)
    try:
        assert process.stdout
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def test_a_served_sandbox_announces_itself_and_keeps_its_keys_over_restarts(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    announced: list[dict[str, str]] = []
    for expected in (2, 3):
        with _running(scenario="empty", state_file=file) as (process, line):
            announced.append(line)
            with httpx.Client(base_url=line["base_url"], trust_env=False) as client:
                client.headers["Authorization"] = f"Bearer {line['admin_key']}"
                assert len(client.get("/api_keys").json()["data"]) == expected
                body = {"apiKeyType": "INFERENCE", "description": "kept"}
                assert client.post("/api_keys", json=body).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=5) == ("", "")
            assert process.returncode == 0
    assert announced[0]["admin_key"] == announced[1]["admin_key"]
    assert announced[0]["inference_key"] == announced[1]["inference_key"]
    parts = urlsplit(announced[0]["base_url"])
    assert (parts.scheme, parts.hostname, parts.path) == ("http", "127.0.0.1", "/api/v1")


def test_a_trouble_is_run_into_over_a_real_socket() -> None:
    load = LOADS["rpm"]
    with _running(scenario="rpm", control=True) as (_, line), httpx.Client(trust_env=False) as client:
        client.headers["Authorization"] = f"Bearer {line['inference_key']}"
        answer = [client.post(f"{line['base_url']}/chat/completions", json=load.body) for _ in range(load.times)][-1]
        assert (answer.status_code, answer.json()["error"]) == load.ends_with
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        assert 0 < int(answer.headers["x-ratelimit-reset-requests"]) - time.time() <= 62
        moved = client.post(f"{line['base_url']}/__control/clock", json={"advance_s": 61})
        assert moved.status_code == 200
        assert client.post(f"{line['base_url']}/chat/completions", json=load.body).status_code == 200


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends these signals differently")
def test_a_signal_ends_it_within_two_seconds_even_with_connections_hanging() -> None:
    with _running(scenario="empty") as (process, line):
        port = urlsplit(line["base_url"]).port
        with (
            socket.create_connection(("127.0.0.1", port or 0)) as idle,
            socket.create_connection(idle.getpeername()) as slow,
        ):
            slow.sendall(b"POST /api/v1/api_keys HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            idle.sendall(b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(12) == b"HTTP/1.1 200"
            asked = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=5) == ("", "")
        assert time.monotonic() - asked < 2
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"host": "192.0.2.1"}, "192.0.2.1 is not a loopback address"),
        ({"host": "example.org"}, "'example.org' does not appear to be an IPv4 or IPv6 address"),
        ({"scenario": "busy"}, "unknown scenario 'busy'"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(options: dict[str, str], reason: str) -> None:
    out, error = _start(**options).communicate(timeout=20)
    assert out == ""
    assert error.startswith("sandbox: not started: ")
    assert reason in error
    assert error.count("\n") == 1
