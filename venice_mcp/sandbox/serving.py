"""The sandbox as a process of its own, on the loopback interface only."""

import contextlib
import ipaddress
import json
import logging
import signal
import socket
import sys
from collections.abc import Generator
from pathlib import Path
from types import FrameType

from venice_mcp.sandbox.app import BASE_PATH, Sandbox, create_app
from venice_mcp.sandbox.storage import StateFileError

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class _Stop:
    """Remembers that a signal came, also before there is a server to tell."""

    def __init__(self) -> None:
        self.asked = False

    @contextlib.contextmanager
    def listening(self) -> Generator[None, None, None]:
        numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
        before = {number: signal.signal(number, self._ask) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    scenario: str = "demo",
    state_file: Path | None = None,
    limits: bool = True,
    control: bool = False,
) -> int:
    """Serve until a signal; print one line of JSON when ready. Returns the exit status."""
    stop = _Stop()
    with stop.listening():
        try:
            sandbox = create_app(scenario=scenario, state_file=state_file, limits=limits, control=control)
            listener = _bound(host, port)
        except (ValueError, OSError, StateFileError) as error:
            sys.stderr.write(f"sandbox: not started: {error}\n")
            return 2
        with listener:
            _run(sandbox, listener, stop)
    return 0


def _bound(host: str, port: int) -> socket.socket:
    """A socket bound at once, so that the line printed names the port that is really used."""
    address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    if not address.is_loopback:
        raise ValueError(f"{host} is not a loopback address, and the sandbox serves nothing else")
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    try:
        listener.bind((str(address), port))
    except OSError:
        listener.close()
        raise
    return listener


def _run(sandbox: Sandbox, listener: socket.socket, stop: _Stop) -> None:
    # Imported here: whoever uses the sandbox in its own process needs no server.
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                _announce(sandbox, listener)

        async def on_tick(self, counter: int) -> bool:
            if stop.asked:
                # What is cut off by the end would be logged with a traceback, and is no news.
                logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
                self.should_exit = True
            return await super().on_tick(counter)

        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            # uvicorn would raise the signal again after a clean end, and the process would die of it.
            yield

    config = uvicorn.Config(
        sandbox,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        # A forwarded address would let a caller choose the address that allowlists look at.
        proxy_headers=False,
        server_header=False,
        # An idle or hanging connection must not hold up the end.
        timeout_graceful_shutdown=1,
    )
    Server(config).run(sockets=[listener])


def _announce(sandbox: Sandbox, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    line = {
        "base_url": f"http://{shown}:{port}{BASE_PATH}",
        "admin_key": sandbox.admin_key,
        "inference_key": sandbox.inference_key,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
