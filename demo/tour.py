"""Runs the steps, prints the check lines, and gives an exit status: 0 only if every step did what it says."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import cast

import anyio
from mcp.shared.exceptions import MCPError

from demo.chores import CHORES
from demo.limits import LIMITS, elsewhere
from demo.options import ACTS, INTERACTIVE, Options
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


_ALL = (Act(ACTS[0], FIRST), Act(ACTS[1], CHORES), Act(ACTS[2], LIMITS, elsewhere), Act(ACTS[3], LAST))
STEPS = sum(len(act.steps) for act in _ALL)
_INTERRUPTED = 130


def main(options: Options) -> int:
    """Run the tour once."""
    # A terminal that cannot draw a character must not end the demo.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    screen = Screen(sys.stdout)
    try:
        return _in_a_folder(screen, options)
    except BrokenPipeError:
        # Whoever read the transcript has seen enough; the interpreter would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _in_a_folder(screen: Screen, options: Options) -> int:
    _introduce(screen, interactive=options.interactive)
    with tempfile.TemporaryDirectory(prefix="venice-mcp-demo-") as name:
        folder = Path(name).resolve()
        with (folder / "stderr.txt").open("w", encoding="utf-8") as stderr:
            recorder = Recorder(stderr)
            try:
                return anyio.run(_take, screen, recorder, folder, options)
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


async def _take(screen: Screen, recorder: Recorder, folder: Path, options: Options) -> int:
    began = time.monotonic()
    reader = Reader(screen) if options.interactive else None
    desk = Desk(screen, reader or Scripted(screen))
    acts = _chosen(options.acts)
    last = acts[-1][0] + len(acts[-1][1].steps) - 1
    # Nothing may escape from within: the client's task groups would wrap it in groups of their own.
    async with connected(folder / "state", recorder, desk) as session:
        tour = Tour(screen, desk, session, recorder, folder)
        failed = await _play(tour, reader, acts, last)
    if failed is None:
        screen.line("\nStopped.")
        return _INTERRUPTED
    if not failed and not await _done(tour, _search, tell=True):
        failed = last
    if failed:
        if words := recorder.last_words():
            screen.say("stderr", words)
        screen.line(f"\nFAILED at step {failed} of {STEPS}.")
        return 1
    steps = sum(len(act.steps) for _, act in acts)
    _conclude(screen, steps, time.monotonic() - began, interactive=options.interactive)
    return 0


def _chosen(numbers: Container[int]) -> list[tuple[int, Act]]:
    """The acts to play, each with the number that its first step has in the whole tour."""
    firsts = accumulate((len(act.steps) for act in _ALL), initial=1)
    return [(first, act) for number, (first, act) in enumerate(zip(firsts, _ALL, strict=False), 1) if number in numbers]


async def _play(tour: Tour, reader: Reader | None, acts: Sequence[tuple[int, Act]], last: int) -> int | None:
    """These acts; the number of the step that failed, 0 if none did, None if the reader stopped.

    Of the last step no check line is printed, as the search through everything belongs to it.
    """
    for first, act in acts:
        tour.screen.act(act.title)
        async with act.stage(tour):
            for number, (title, step) in enumerate(act.steps, first):
                tour.screen.step(number, title)
                if not await _done(tour, step, tell=number < last):
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


def _conclude(screen: Screen, steps: int, took_s: float, *, interactive: bool) -> None:
    screen.line()
    screen.line(f"All {steps} steps did what they say" + ("." if interactive else f", in {took_s:.1f} s."))
    screen.line()
    screen.paragraph("Next: README.md shows how to add venice-mcp to the client you use.")
    if not interactive:
        screen.paragraph(f"To answer the questions yourself: {INTERACTIVE}=1 make demo")
