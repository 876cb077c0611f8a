"""Running the server: on stdio, or over HTTP behind a fence, ending within two seconds when told to."""

import logging
import os
import secrets
import select
import signal
import stat
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import anyio

from venice_mcp.app import App
from venice_mcp.fence import Fence
from venice_mcp.secrets import RedactingStream, Secret
from venice_mcp.server import build_server
from venice_mcp.systems import kept_private

if TYPE_CHECKING:
    import socket

    import uvicorn

SHUTDOWN_S = 1.2
"""How long a write in flight may take to finish once the server is told to end."""
_HANGUP_CHECK_S = 0.1
_LAST_ANSWERS_S = 0.5
MCP_PATH = "/mcp"
_log = logging.getLogger(__name__)


class ServingError(Exception):
    """Serving cannot start; the message says why and what to do."""


async def run_stdio(app: App) -> NoReturn:
    """Serve on stdin and stdout until stdin closes or a signal comes; then the process ends.

    Raises:
        ServingError: there is no stdin at all.
    """
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - a process can be started without one
        raise ServingError("there is no standard input to serve on; an MCP client should start this.")
    server = build_server(app)
    # The SDK points descriptor 0 elsewhere while it serves, so the real one is kept for watching.
    stdin = os.dup(0)
    if sys.stdin.isatty():
        sys.stderr.write("Serving MCP on stdio: an MCP client should start this, not a person. Ctrl-C ends it.\n")

    async def leave() -> None:
        serving.cancel()
        await finish_writes(app)
        end_process()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_on_signal, leave)
        tasks.start_soon(_on_hangup, app, stdin, leave)
        with anyio.CancelScope() as serving:
            await server.run_stdio_async()
        if serving.cancel_called:
            await anyio.sleep_forever()
        await finish_writes(app)
        end_process()
    raise AssertionError("end_process does not return")


def end_process() -> NoReturn:
    """End now. A thread that waits (for stdin, a name server, a locked keyring) cannot be cancelled, and an orderly
    end would wait for it.
    """
    with suppress(OSError, ValueError):
        sys.stderr.close() if isinstance(sys.stderr, RedactingStream) else sys.stderr.flush()
    os._exit(0)


async def finish_writes(app: App) -> None:
    """Let writes in flight finish, for a while; what does not is told, because its outcome is unknown."""
    with anyio.move_on_after(SHUTDOWN_S):
        await app.critical.wait_idle()
    for section in app.critical.running:
        _log.warning("Ended while %s: look with venice_list_api_keys what became of it.", section.doing)
        if section.leftover is not None:
            section.leftover()


async def _on_signal(then: Callable[[], Awaitable[None]]) -> None:
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            async for _ in received:
                await then()
                return
    except NotImplementedError:
        pass  # Windows' event loop takes no handlers
    await _told_to_end()
    await then()


async def _told_to_end() -> None:
    """Wait for a signal by the handlers of Python itself, which run in the main thread, as the event loop does."""
    import asyncio

    loop, told = asyncio.get_running_loop(), anyio.Event()

    def tell(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(told.set)

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), tell)
    await told.wait()


async def _on_hangup(app: App, stdin: int, then: Callable[[], Awaitable[None]]) -> None:
    """When stdin closes, the SDK ends by itself, but waits for writes in flight and for threads; this bounds that."""
    if sys.platform == "win32" or not hasattr(select, "poll"):
        return
    gone = select.POLLHUP | getattr(select, "POLLRDHUP", 0)
    poll = select.poll()
    poll.register(stdin, gone)
    while not any(event & gone for _, event in poll.poll(0)):  # noqa: ASYNC110 - no event asyncio can wait for
        await anyio.sleep(_HANGUP_CHECK_S)
    if not app.critical.running:
        await anyio.sleep(_LAST_ANSWERS_S)
    await then()


# --- HTTP -----------------------------------------------------------------------------------------


async def run_http(app: App, *, host: str, port: int, token_file: Path | None) -> NoReturn:
    """Serve streamable HTTP on a loopback address until a signal comes; then the process ends.

    Raises:
        ServingError: the address is not loopback or not free, or the token file cannot be used.
    """
    import uvicorn
    from mcp.server.transport_security import TransportSecuritySettings

    listener = _listen(host, port)
    try:
        needed = token_file is not None or app.settings.mode == "live"
        token = read_token(token_file or app.settings.state_dir / "http-token") if needed else None
    except ServingError:
        listener.close()
        raise
    if token is not None:
        app.redactor.add(token, label="bearer token")
    port = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    names = sorted({f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", f"{shown}:{port}"})
    inner = build_server(app).streamable_http_app(
        streamable_http_path=MCP_PATH,
        host=host,
        transport_security=TransportSecuritySettings(
            allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names]
        ),
    )
    config = uvicorn.Config(
        Fence(inner, frozenset(names), token),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        lifespan="on",
    )
    http = _without_signals(config)

    async def leave() -> None:
        await finish_writes(app)
        # What is cut off from here on is streams that wait for nothing; their tracebacks would tell nobody anything.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        http.should_exit = True
        if not app.critical.running:
            await anyio.sleep(_LAST_ANSWERS_S)
        # Open streams can hold uvicorn up for longer than anybody should wait.
        await finish_writes(app)
        end_process()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_on_signal, leave)
        tasks.start_soon(_announce, http, f"Listening on http://{shown}:{port}{MCP_PATH}", token is not None)
        await http.serve(sockets=[listener])
        await finish_writes(app)
        end_process()
    raise AssertionError("end_process does not return")


async def _announce(http: "uvicorn.Server", text: str, with_token: bool) -> None:
    while not http.started:  # noqa: ASYNC110 - uvicorn tells by a flag only
        await anyio.sleep(0.01)
    sys.stderr.write(text + (" (bearer token required)" if with_token else "") + "\n")
    sys.stderr.flush()


def _listen(host: str, port: int) -> "socket.socket":
    import ipaddress
    import socket

    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise ServingError(f"--host {host!r} is not an IP address; use 127.0.0.1 or ::1.") from None
    if not address.is_loopback:
        raise ServingError("--host must be a loopback address for now: 127.0.0.1 or ::1.")
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    if sys.platform == "win32":
        # There SO_REUSEADDR lets another program listen on the same port and answer in our place.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(address), port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ServingError(f"Port {port} cannot be used ({error.strerror}); choose another with --port.") from None
    return listener


def read_token(path: Path) -> Secret:
    """The bearer token in an owner-only file, which is made with a fresh one when it does not exist.

    Raises:
        ServingError: others can read it, or it holds no token of at least 24 characters.
    """
    if not kept_private(path.parent):
        raise ServingError(f"The token file {path} must lie in your user profile, where other users cannot read it.")
    try:
        _make_token(path)
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            value = file.read(4096).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ServingError(f"The token file {path} cannot be read.") from None
    mine = sys.platform == "win32" or (status.st_uid == os.getuid() and not status.st_mode & 0o077)
    if not stat.S_ISREG(status.st_mode) or not mine:
        raise ServingError(f"The token file {path} must be a file that only you can read: chmod 600 it.")
    if len(value) < 24 or not value.isprintable() or " " in value:
        raise ServingError(f"The token file {path} must hold one token of at least 24 characters.")
    return Secret(value)


def _make_token(path: Path) -> None:
    """A file with a fresh token, unless there is a file already."""
    with suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        sys.stderr.write(f"Made a bearer token for HTTP callers in {path}\n")


def _without_signals(config: "uvicorn.Config") -> "uvicorn.Server":
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves signals to us: uvicorn would raise them again after its shutdown and end with a traceback."""

        @contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    return Server(config)
