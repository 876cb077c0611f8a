"""One spawned server, spoken to in raw JSON-RPC lines, so that no client library is part of a measurement."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 60
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


class ServerError(Exception):
    """The server ended, or answered with an error."""


class StdioServer:
    """A server process from spawn to end; `with StdioServer(...) as server`."""

    def __init__(self, command: list[str], home: Path, **env: str) -> None:
        """Spawn it and shake hands. `handshake_s` is the time from spawn to the answered `initialize`."""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the server)
        self._last_id = 0
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            **env,
        }
        started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        self._watchdog = threading.Timer(PATIENCE_S, self._process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()
        try:
            self.request("initialize", INITIALIZE)
            self.handshake_s = time.perf_counter() - started
            self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        assert self._process.stdin is not None  # noqa: S101 (asked for as a pipe)
        assert self._process.stdout is not None  # noqa: S101 (asked for as a pipe)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # how a stdio server is told to stop
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._watchdog.cancel()
        self._process.stdout.close()
        self._stderr.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # noqa: S101 (asked for as a pipe)
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ServerError(f"the server ended:\n{self.stderr()[-2000:]}") from None

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send one request and wait for its result; notifications that come first are passed over."""
        assert self._process.stdout is not None  # noqa: S101 (asked for as a pipe)
        self._last_id += 1
        self._send({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            if message.get("id") != self._last_id:
                continue
            if "error" in message:
                raise ServerError(f"{method} was answered with {message['error']}")
            result: dict[str, Any] = message["result"]
            return result
        raise ServerError(f"the server ended while {method} was waited for:\n{self.stderr()[-2000:]}")

    def resident_kib(self) -> int:
        """Resident memory of the process now."""
        status = Path(f"/proc/{self._process.pid}/status")
        if status.exists():
            line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
            return int(line.split()[1])
        command = ["ps", "-o", "rss=", "-p", str(self._process.pid)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def stderr(self) -> str:
        """Everything it wrote to stderr up to now."""
        # pread: the child shares this file's position, so it must not be moved.
        size = os.fstat(self._stderr.fileno()).st_size
        if sys.platform == "win32":
            return "(not read on Windows)"
        return os.pread(self._stderr.fileno(), size, 0).decode(errors="replace")
