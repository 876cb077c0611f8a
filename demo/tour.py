"""Runs the steps, prints the check lines, and gives an exit status: 0 only if every step did what it says."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import anyio
from mcp.shared.exceptions import MCPError

from demo.chores import CHORES
from demo.limits import LIMITS, elsewhere
from demo.person import Desk, Reader, Scripted
from demo.screen import Screen
from demo.session import Recorder, StepFailedError, connected
from demo.steps import FIRST, LAST, Step, Tour, never_again


@dataclass(frozen=True)
class Act:
    """Steps with a title, and what is there only while they are played."""

    title: str
    steps: Sequence[tuple[str, Step]]
    stage: Callable[[Tour], AbstractAsyncContextManager[object]] = nullcontext


ACTS = (
    Act("One key at a time", FIRST),
    Act("The chores of a team with many keys", CHORES),
    Act("Why am I being limited?", LIMITS, elsewhere),
    Act("What stays on record", LAST),
)
STEPS = sum(len(act.steps) for act in ACTS)
_INTERACTIVE = "VENICE_MCP_DEMO_INTERACTIVE"
_OFF = ("", "0", "false", "no", "off")
_INTERRUPTED = 130
_USAGE = 2


def main() -> int:
    """Run the tour once."""
    # A terminal that cannot draw a character must not end the demo.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    interactive = os.environ.get(_INTERACTIVE, "").strip().lower() not in _OFF
    if interactive and not sys.stdin.isatty():
        sys.stderr.write(f"demo: {_INTERACTIVE} needs a terminal to ask you on; unset it for the scripted tour.\n")
        return _USAGE
    screen = Screen(sys.stdout)
    try:
        return _in_a_folder(screen, interactive=interactive)
    except BrokenPipeError:
        # Whoever read the transcript has seen enough; the interpreter would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _in_a_folder(screen: Screen, *, interactive: bool) -> int:
    _introduce(screen, interactive=interactive)
    with tempfile.TemporaryDirectory(prefix="venice-mcp-demo-") as name:
        folder = Path(name).resolve()
        with (folder / "stderr.txt").open("w", encoding="utf-8") as stderr:
            recorder = Recorder(stderr)
            try:
                return anyio.run(_take, screen, recorder, folder, interactive)
            except Exception as error:  # noqa: BLE001 - the edge of the process: one line instead of a traceback
                first = _first(error)
                if isinstance(first, BrokenPipeError):
                    raise first from None
                screen.say("FAILED", f"the server could not be used: {_in_a_line(first)}")
                if words := recorder.last_words():
                    screen.say("stderr", words)
                return 1


def _introduce(screen: Screen, *, interactive: bool) -> None:
    screen.line("venice-mcp: the tour")
    screen.line()
    screen.paragraph(
        "An agent (this script) talks over stdio to a real `venice-mcp --sandbox` process. You see what the agent"
        " calls, what the person at its client is asked, and what comes back (long tables are cut and trimmed)."
        " No account is used and nothing leaves this machine; every key is a sandbox key, which opens nothing."
    )
    if interactive:
        screen.paragraph("You are the person: nothing is written unless you approve it.")


def _first(error: BaseException) -> BaseException:
    """The first single error in a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def _in_a_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".removesuffix(": ")


async def _take(screen: Screen, recorder: Recorder, folder: Path, interactive: bool) -> int:
    began = time.monotonic()
    reader = Reader(screen) if interactive else None
    desk = Desk(screen, reader or Scripted(screen))
    # Nothing may escape from within: the client's task groups would wrap it in groups of their own.
    async with connected(folder / "state", recorder, desk) as session:
        tour = Tour(screen, desk, session, recorder, folder)
        failed = await _play(tour, reader)
    if failed is None:
        screen.line("\nStopped.")
        return _INTERRUPTED
    if not failed and not await _done(tour, _search, tell=True):
        failed = STEPS
    if failed:
        if words := recorder.last_words():
            screen.say("stderr", words)
        screen.line(f"\nFAILED at step {failed} of {STEPS}.")
        return 1
    _conclude(screen, time.monotonic() - began, interactive=interactive)
    return 0


async def _play(tour: Tour, reader: Reader | None) -> int | None:
    """All acts; the number of the step that failed, 0 if none did, None if the reader stopped."""
    number = 0
    for act in ACTS:
        tour.screen.act(act.title)
        async with act.stage(tour):
            for title, step in act.steps:
                number += 1
                tour.screen.step(number, title)
                if not await _done(tour, step, tell=number < STEPS):
                    return number
                if reader is not None and reader.stopped:
                    return None
    return 0


async def _search(tour: Tour) -> None:
    never_again(tour)


async def _done(tour: Tour, step: Step, *, tell: bool) -> bool:
    """Run one step; print its check line unless more of it is to come."""
    try:
        await step(tour)
    except StepFailedError as error:
        tour.screen.say("FAILED", f"this should hold, and does not: {error}")
    except BrokenPipeError:
        raise
    except (MCPError, OSError, LookupError, TypeError, ValueError, ExceptionGroup) as error:
        tour.screen.say("FAILED", _in_a_line(_first(cast("BaseException", error))))
    else:
        if tell:
            tour.screen.say("ok", "; ".join(tour.facts) + ".")
            tour.facts.clear()
        return True
    return False


def _conclude(screen: Screen, took_s: float, *, interactive: bool) -> None:
    screen.line()
    screen.line(f"All {STEPS} steps did what they say" + ("." if interactive else f", in {took_s:.1f} s."))
    screen.line()
    screen.paragraph("Next: README.md shows how to add venice-mcp to Claude Code, Claude Desktop, Cursor and VS Code.")
    if not interactive:
        screen.paragraph(f"To answer the questions yourself: {_INTERACTIVE}=1 make demo")
