"""A scan from the server's side: starts the workers, adds up what they tell, ends them in time."""

import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from venice_mcp.systems import kill_group

if TYPE_CHECKING:
    from anyio.abc import Process

    from venice_mcp.leaks.patterns import Kind

SECONDS: Final = 33.0
"""A call of a tool must answer within 45 seconds, and the account's keys are to be read after the scan."""

MOST_FILES: Final = 300_000
MOST_BYTES: Final = 8 * 1024**3
LARGEST_FILE: Final = 32 * 1024**2
_WORKERS: Final = 2
_GRACE_S: Final = 2.0
_LINE: Final = 256 * 1024


@dataclass(frozen=True)
class Request:
    """What to scan, within which bounds: seconds, files, bytes altogether, bytes of one file."""

    folders: tuple[str, ...]
    git_history: bool = False
    respect_gitignore: bool = False
    seconds: float = SECONDS
    files: int = MOST_FILES
    size: int = MOST_BYTES
    largest: int = LARGEST_FILE


@dataclass(frozen=True, order=True)
class Finding:
    """A key in a file or in history, without its text. `same` is equal for equal secrets of one scan."""

    path: str
    line: int
    kind: "Kind"
    last6: str
    also: str
    same: str
    sandbox: bool
    commit: str = ""


@dataclass
class Progress:
    """What the workers did so far."""

    walked: int = 0
    scanned: int = 0
    size: int = 0
    objects: int = 0
    count: int = 0


@dataclass
class Outcome:
    """What was found, and how much of what was asked for was looked at.

    Attributes:
        found: sorted, each once; `count` says how many there were before a bound on them.
        stopped: the bound that was reached: time, files or bytes; failure if a worker died; empty if none was.
        finished: the folders that were looked at to the end.
        skipped: by reason, how many and a few of their paths.
    """

    found: list[Finding] = field(default_factory=list[Finding])
    progress: Progress = field(default_factory=Progress)
    stopped: str = ""
    finished: list[str] = field(default_factory=list[str])
    repositories: int = 0
    notes: list[str] = field(default_factory=list[str])
    skipped: dict[str, tuple[int, list[str]]] = field(default_factory=dict[str, tuple[int, list[str]]])
    seconds: float = 0.0


Report = Callable[[Progress], Awaitable[None]]


async def scan(request: Request, report: Report) -> Outcome:
    """Look for keys. Whatever ends it, cancellation too, no process of it is left behind.

    Args:
        report: told about the progress now and then.
    """
    started = time.monotonic()
    parts = min(_WORKERS, os.cpu_count() or 1)
    salt = os.urandom(16).hex()
    sums = _Sums(request, parts)
    with anyio.move_on_after(request.seconds + _GRACE_S):
        async with anyio.create_task_group() as group:
            for part in range(parts):
                job = {
                    "folders": request.folders,
                    "history": request.git_history,
                    "ignore": request.respect_gitignore,
                    "part": part,
                    "parts": parts,
                    "seconds": request.seconds,
                    "files": request.files,
                    "size": request.size // parts,
                    "largest": request.largest,
                    "salt": salt,
                }
                group.start_soon(_work, job, sums, report)
    return sums.outcome(time.monotonic() - started)


async def _work(job: Mapping[str, Any], sums: "_Sums", report: Report) -> None:
    import subprocess

    process = await anyio.open_process(
        [sys.executable, "-P", "-m", "venice_mcp.leaks.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
        # A group of its own, so that git ends with it.
        start_new_session=True,
    )
    try:
        if process.stdin is not None:
            with suppress(anyio.BrokenResourceError, BrokenPipeError):
                await process.stdin.send(json.dumps(job).encode())
            await process.stdin.aclose()
        async for line in _lines(process):
            if sums.add(int(job["part"]), json.loads(line)):
                await report(sums.progress())
    finally:
        with suppress(ProcessLookupError, PermissionError):
            kill_group(process.pid)
        # Not for ever: a process that waits for a dead file server does not even end when it is killed.
        with anyio.move_on_after(_GRACE_S, shield=True):
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()
            await process.wait()


async def _lines(process: "Process") -> AsyncIterator[bytes]:
    rest = b""
    while process.stdout is not None:
        try:
            data = await process.stdout.receive(_LINE)
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            return
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line


def _environment() -> dict[str, str]:
    """Little: the worker needs none of the server's secrets, but must find this package."""
    kept = ("PATH", "HOME", "XDG_CONFIG_HOME", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV")
    package = str(Path(__file__).resolve().parents[2])
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONPATH": package}


class _Sums:
    """What all workers told, added up."""

    def __init__(self, request: Request, parts: int) -> None:
        self._request = request
        self._found: set[Finding] = set()
        self._at: dict[int, dict[str, int]] = {}
        self._ends: dict[int, dict[str, Any]] = {}
        self._parts = parts

    def add(self, part: int, told: dict[str, Any]) -> bool:
        """Take one line of a worker; whether it was about progress."""
        what = told.pop("what")
        if what == "hit":
            self._found.add(
                Finding(
                    path=told["path"],
                    line=told["line"],
                    kind=told["kind"],
                    last6=told["last6"],
                    also=told["also"],
                    same=told["same"],
                    sandbox=told["box"],
                    commit=told.get("commit", ""),
                )
            )
            return False
        self._at[part] = {name: told[name] for name in ("walked", "scanned", "size", "objects", "count")}
        if what == "end":
            self._ends[part] = told
        return True

    def progress(self) -> Progress:
        tell = list(self._at.values())
        return Progress(
            walked=max((one["walked"] for one in tell), default=0),
            scanned=sum(one["scanned"] for one in tell),
            size=sum(one["size"] for one in tell),
            objects=sum(one["objects"] for one in tell),
            count=sum(one["count"] for one in tell),
        )

    def outcome(self, seconds: float) -> Outcome:
        ends = [self._ends[part] for part in sorted(self._ends)]
        outcome = Outcome(found=sorted(self._found), progress=self.progress(), seconds=seconds)
        outcome.stopped = next((end["stopped"] for end in ends if end["stopped"]), "")
        if len(ends) < self._parts:
            outcome.stopped = outcome.stopped or ("time" if seconds >= self._request.seconds else "failure")
        else:
            outcome.finished = [
                folder for folder in self._request.folders if all(folder in end["finished"] for end in ends)
            ]
        outcome.repositories = max((end["repositories"] for end in ends), default=0)
        outcome.notes = list(dict.fromkeys(note for end in ends for note in end["notes"]))
        for end in ends:
            for reason, (count, *paths) in end["skipped"].items():
                before, examples = outcome.skipped.get(reason, (0, []))
                outcome.skipped[reason] = before + count, [*examples, *paths][:3]
        return outcome
