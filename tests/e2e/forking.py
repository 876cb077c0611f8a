"""Our commands as processes of their own that need not import anything: forked from one that did, once for many.

What is started like this is `main()` in a fresh process with its own arguments, environment, streams, signals and
exit status. What only the start of an interpreter brings is not there: paths of modules, encodings, output that is
lost at the end. Tests about these start one, with `tests.e2e.processes`, and where nothing forks all of them do.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from tests.e2e.bench import Json
from tests.e2e.processes import OURS, PATIENCE_S, HttpServer, environment, http_server, spawned, wait_for

COMMANDS = """
import venice_mcp.auditing, venice_mcp.cli
"""
"""Imports for those that look at the record."""
# What a server imports at its start and what it imports and builds during its first call, which takes as long as all
# the rest of a short life.
SERVERS = """
import anyio._backends._asyncio, anyio._core._signals, eth_account, httpcore, httpx, mcp.server.stdio, rich.logging
import venice_mcp.cli, venice_mcp.server, venice_mcp.serving
from pydantic import BaseModel
from venice_mcp.tools import TOOLS
from venice_mcp.tools.build import build
for spec in TOOLS:
    build(spec)
waiting = [BaseModel]
while waiting:
    model = waiting.pop()
    waiting += model.__subclasses__()
    if model.__module__.startswith("venice_mcp.") and not model.__pydantic_complete__:
        model.model_rebuild(raise_errors=False)
"""
_FORKING = """
import gc, json, os, signal, socket, sys
from venice_mcp.__main__ import main

def started(order, descriptors):
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv[1:] = order["arguments"]
    exec(order["first"], {})
    try:
        status = main()
    except SystemExit as end:
        status = end.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

gc.collect()
gc.freeze()
orders = socket.socket(fileno=int(sys.argv[1]))
while True:
    order, descriptors, _, _ = socket.recv_fds(orders, 1 << 20, 3)
    if not order:
        break
    order = json.loads(order)
    if "wait" in order:
        child, status = os.waitpid(order["wait"], order["options"])
        orders.sendall(json.dumps([child, status]).encode())
        continue
    child = os.fork()
    if child == 0:
        orders.close()
        started(order, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    orders.sendall(json.dumps([child, 0]).encode())
"""


@dataclass(frozen=True)
class Forks:
    """The process that forks. Not for several threads at once."""

    orders: socket.socket

    def tell(self, order: Json, *streams: int) -> tuple[int, int]:
        """A process id, and with an order to wait its status."""
        if sys.platform == "win32":
            raise NotImplementedError
        socket.send_fds(self.orders, [json.dumps(order).encode()], streams)
        child, status = json.loads(self.orders.recv(64))
        return child, status

    def start(
        self, arguments: Sequence[str], env: Mapping[str, str], stdin: int, stdout: int, stderr: int, first: str = ""
    ) -> int:
        """Our console command with these arguments; `first` is Python that is run before it."""
        order = {"arguments": [*arguments], "env": dict(env), "first": first}
        return self.tell(order, stdin, stdout, stderr)[0]

    def ended(self, child: int, *, at_once: bool = False) -> int | None:
        """Its exit status as subprocess gives it; None if it has not ended and is not to be waited for."""
        if sys.platform == "win32":
            raise NotImplementedError
        found, status = self.tell({"wait": child, "options": os.WNOHANG if at_once else 0})
        return os.waitstatus_to_exitcode(status) if found else None


class Forked:
    """What of subprocess.Popen is asked of a server with pipes to stdin and from stdout."""

    def __init__(self, parent: Forks, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._parent, self.pid, self.stdin, self.stdout = parent, pid, stdin, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._parent.ended(self.pid, at_once=True)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Whatever `timeout` says: what never ends is ended by the patience of the tests."""
        if self.returncode is None:
            self.returncode = self._parent.ended(self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        if sys.platform == "win32":
            raise NotImplementedError
        self.send_signal(signal.SIGKILL)


@contextmanager
def forks(folder: Path, imports: str = SERVERS) -> Generator[Forks | None]:
    """None where nothing forks."""
    if not hasattr(os, "fork"):
        yield None
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(PATIENCE_S)
        command = [sys.executable, "-P", "-c", imports + _FORKING, str(theirs.fileno())]
        kept, env = (theirs.fileno(),), environment(folder)
        with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, pass_fds=kept) as process:
            try:
                yield Forks(ours)
            finally:
                process.kill()


@contextmanager
def forked(
    parent: Forks | None, arguments: Sequence[str], env: Mapping[str, str], log: Path, first: str = ""
) -> Generator[subprocess.Popen[bytes]]:
    """As `processes.spawned`: with pipes to stdin and from stdout, and stderr in a file; killed in the end."""
    if parent is None:
        assert not first
        with spawned([*OURS, *arguments], env, log) as started:
            yield started
        return
    (to_it, given), (answered, from_it) = os.pipe(), os.pipe()
    with log.open("wb") as errors, os.fdopen(given, "wb") as stdin, os.fdopen(answered, "rb") as stdout:
        child = parent.start(arguments, env, to_it, from_it, errors.fileno(), first)
        os.close(to_it)
        os.close(from_it)
        process = Forked(parent, child, stdin, stdout)
        try:
            yield cast("subprocess.Popen[bytes]", process)
        finally:
            process.kill()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                stdin.close()


@contextmanager
def forked_http(
    parent: Forks | None, state_dir: Path, env: Mapping[str, str], *arguments: str
) -> Generator[HttpServer]:
    """As `processes.http_server`."""
    if parent is None:
        with http_server(state_dir, env, *arguments) as started:
            yield started
        return
    log, announced = state_dir.parent / f"{state_dir.name}.log", "Listening on "
    words = ["serve", "--http", "--port", "0", "--state-dir", str(state_dir), "--log-level", "debug", *arguments]
    with forked(parent, words, environment(state_dir.parent, **env), log) as process:
        wait_for(lambda: announced in log.read_text() or process.poll() is not None)
        said = log.read_text()
        assert announced in said, f"it did not come up:\n{said}"
        yield HttpServer(said.partition(announced)[2].split()[0], log, process)


def completed(
    parent: Forks | None, arguments: Sequence[str], env: Mapping[str, str], typed: str = ""
) -> "subprocess.CompletedProcess[str]":
    """A command to its end, with a pipe to stdin and files for what it says."""
    if parent is None:
        return subprocess.run(
            [*OURS, *arguments], env=env, input=typed, capture_output=True, encoding="utf-8", timeout=60, check=False
        )
    to_it, given = os.pipe()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained, os.fdopen(given, "wb") as stdin:
        stdin.write(typed.encode())
        stdin.close()
        child = parent.start(arguments, env, to_it, said.fileno(), complained.fileno())
        os.close(to_it)
        status = parent.ended(child)
        assert status is not None
        for file in (said, complained):
            file.seek(0)
        return subprocess.CompletedProcess([*arguments], status, said.read().decode(), complained.read().decode())
