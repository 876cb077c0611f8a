"""The third act's stage: the sandbox as a process of its own over HTTP, and a program that calls a model there."""

import json
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import anyio
import httpx
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from demo.session import ANSWER_TIMEOUT_S, StepFailedError, environment

ANSWERED = 200
_ENDS_WITHIN_S = 5.0
_LONGEST_LINE = 4096
_MESSAGES = [{"role": "user", "content": "Say in one sentence what this load is for."}]


@dataclass(frozen=True)
class Served:
    """What the sandbox's process printed."""

    base_url: str
    admin_key: str
    inference_key: str

    @property
    def env(self) -> dict[str, str]:
        """For a server that is to use it."""
        return {
            "VENICE_BASE_URL": self.base_url,
            "VENICE_ADMIN_KEY": self.admin_key,
            "VENICE_API_KEY": self.inference_key,
        }


@asynccontextmanager
async def served(scenario: str, folder: Path, stderr: TextIO) -> AsyncGenerator[Served]:
    """`venice-mcp sandbox --control` while it is wanted, and not longer."""
    process = await anyio.open_process(
        [sys.executable, "-m", "venice_mcp", "sandbox", "--control", "--scenario", scenario],
        stdin=subprocess.DEVNULL,
        stderr=stderr,
        env=environment(),
        cwd=folder,
        # Ctrl-C is for the tour, which still asks the sandbox what became of a question.
        start_new_session=True,
    )
    try:
        with _ended_as_well(process):
            yield await _announced(process)
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _announced(process: Process) -> Served:
    if process.stdout is None:
        raise RuntimeError("the sandbox's output is not connected")
    try:
        with anyio.fail_after(ANSWER_TIMEOUT_S):
            line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", _LONGEST_LINE)
    except (TimeoutError, anyio.IncompleteRead) as error:
        raise RuntimeError("the sandbox did not start") from error
    said: dict[str, str] = json.loads(line)
    return Served(said["base_url"], said["admin_key"], said["inference_key"])


@contextmanager
def _ended_as_well(process: Process) -> Generator[None]:
    """Whoever ends the tour by a signal ends the sandbox too, which is in a session of its own."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

    def end(number: int, _frame: FrameType | None) -> None:
        _terminate(process)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()


async def _end(process: Process) -> None:
    if process.returncode is None:
        _terminate(process)
        with anyio.move_on_after(_ENDS_WITHIN_S):
            await process.wait()
    if process.returncode is None:
        process.kill()
    await process.aclose()


@dataclass
class Load:
    """A program that calls one model, one call after another, and what the steps found out about it."""

    http: httpx.AsyncClient
    statuses: list[int] = field(default_factory=list[int])
    last: httpx.Response | None = None
    model: str = ""
    key_id: str = ""
    ends_at: str = ""
    spacing_s: float = 0.0
    capped: bool = False

    async def call(self, **members: Any) -> int:
        """`POST /chat/completions`; the status it was answered with."""
        self.last = await self._post("/chat/completions", {"model": self.model, "messages": _MESSAGES, **members})
        return self.last.status_code

    async def until_refused(self, most: int, *, apart_s: float = 0.0, **members: Any) -> list[int]:
        """The statuses of calls `apart_s` from each other, up to the first that is refused."""
        found: list[int] = []
        while len(found) < most and (not found or found[-1] == ANSWERED):
            if apart_s:
                await self.advance(apart_s)
            found.append(await self.call(**members))
        return found

    async def advance(self, seconds: float) -> None:
        """Move the sandbox's clock on."""
        (await self._post("/__control/clock", {"advance_s": seconds})).raise_for_status()

    def pasted(self, *, headers: bool) -> str:
        """The last answer as somebody would paste it: with the headers that tell of limits, or in one line."""
        if self.last is None:
            raise StepFailedError("the load was answered")
        status = f"{self.last.status_code} {self.last.reason_phrase}"
        if not headers:
            return f"{status}: {self.last.text}"
        told = [f"{name}: {value}" for name, value in self.last.headers.items() if name.startswith("x-ratelimit")]
        return "\n".join([f"HTTP/1.1 {status}", *told, "", self.last.text])

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            return await self.http.post(path, json=body)
        except httpx.HTTPError as error:
            raise StepFailedError(f"the sandbox answers {path}; instead {type(error).__name__}: {error}") from error


@asynccontextmanager
async def loaded(place: Served) -> AsyncGenerator[Load]:
    """A load with the sandbox's INFERENCE key."""
    async with httpx.AsyncClient(
        base_url=place.base_url,
        headers={"Authorization": f"Bearer {place.inference_key}"},
        # A proxy leads nowhere here.
        trust_env=False,
        # Plain HTTP; the certificates of the system would be loaded for nothing.
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        timeout=ANSWER_TIMEOUT_S,
    ) as http:
        yield Load(http)
