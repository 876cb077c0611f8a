"""An entry brought into a host's file or out of it, by its own command line or by us, and how things stand then."""

import os
import signal
import stat
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from venice_mcp.installing.configfile import Untouchable, keep_copy, write
from venice_mcp.installing.entries import Found, look, same, unsayable, with_entry
from venice_mcp.installing.hostprogram import ProgramFailed, program_of, run
from venice_mcp.installing.hosts import Entry, Host
from venice_mcp.installing.jsontext import NotPlainJson
from venice_mcp.installing.machine import Machine
from venice_mcp.systems import as_command
from venice_mcp.text import plain

_SHOWN = 300
_ENDING = ("SIGHUP", "SIGINT", "SIGTERM")  # Windows has no SIGHUP


class CouldNot(Exception):
    """What hinders it and what to do; nothing was changed unless it says so. `paste` is text for the person to use."""

    def __init__(self, what: str, paste: str = "") -> None:
        super().__init__(what)
        self.paste = paste


@dataclass(frozen=True)
class Job:
    """One host on one machine as it was found, and how something is said to the person."""

    host: Host
    machine: Machine
    found: Found
    say: Callable[[str], None]

    @property
    def file(self) -> str:
        return shown(self.found.path)

    def left_alone(self, why: str, do: str, paste: str = "") -> CouldNot:
        return CouldNot(f"{self.file} is left alone, because {why}. {do}", paste)


@dataclass(frozen=True)
class Change:
    """The entry that is to be, or none; the host's commands for that, or else the file's new text."""

    entry: Entry | None
    commands: list[tuple[str, ...]]
    text: Callable[[], str]
    by_hand: str


def shown(path: Path) -> str:
    return plain(str(path), _SHOWN)


def is_there(found: Found) -> bool:
    return found.path.parent.is_dir()


def way(job: Job, entry: Entry, *, by_command: bool) -> tuple[str, str]:
    """The host's program if that is to do it, and what hinders; if both are empty, the file is edited."""
    host, found = job.host, job.found
    if found.trouble:
        return "", found.trouble
    if found.config and not found.config.mode & stat.S_IWUSR:
        return "", "it is write-protected"
    program, why_not = program_of(host)
    if program and by_command:
        unsaid = unsayable(host, entry)
        return ("", unsaid) if unsaid else (program, "")
    if host.edited == "never" or (host.edited == "to remove" and entry):
        return "", f"it is for {host.title} to write, and {host.program} {why_not}"
    return "", "" if is_there(found) else f"{host.title} was not found here: there is no such folder"


def carry_out(job: Job, change: Change) -> Path | None:
    """Do it and look at the outcome; where the copy of the file as it was is, if there was one.

    Raises:
        CouldNot: something failed, and how things stand now.
    """
    with _interruptible() as no_more:
        return _carry_out(job, change, no_more)


@contextmanager
def _interruptible() -> Generator[Callable[[], None]]:
    """Whatever asks this process to end raises KeyboardInterrupt, but once: what follows puts things in order again.

    It gives what holds off even the first one.
    """
    told = False

    def no_more() -> None:
        nonlocal told
        told = True

    def interrupt(_number: int, _frame: object) -> None:
        if not told:
            no_more()
            raise KeyboardInterrupt

    before: dict[signal.Signals, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (each for each in signal.Signals if each.name in _ENDING):
                # What is ignored, as nohup has it, stays ignored; None is of somebody who is not Python.
                if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None):
                    before[number] = handler
                    signal.signal(number, interrupt)
        yield no_more
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _carry_out(job: Job, change: Change, no_more: Callable[[], None]) -> Path | None:
    host, found, copy, trouble = job.host, job.found, None, ""
    for words in change.commands:  # all of them first: who listens may go away at any moment
        job.say(f"$ {as_command(words)}")
    try:
        if found.config:
            copy = keep_copy(found.path, found.config)
        if not change.commands and found.config:
            write(found.config, change.text())
        for words in change.commands:
            run(words, os.environ, job.machine.home)
    except (Untouchable, NotPlainJson) as error:
        do = "Put this into it yourself:" if change.entry else change.by_hand
        raise job.left_alone(str(error), do, change.by_hand if change.entry else "") from None
    except ProgramFailed as error:
        trouble = f"{host.program} {error}"
    except KeyboardInterrupt:
        trouble = "This was interrupted"
    no_more()
    now = look(host, job.machine)
    done = same(now.ours, change.entry) if change.entry else now.entry is None and not now.trouble
    if done and not trouble:
        return copy
    what = f"{trouble or f'{host.program} reported success'}. {_stands(job, change, now, done=done)}"
    if copy:
        what += f" The file as it was: {shown(copy)}"
    if done or not change.commands:
        raise CouldNot(what)
    again = "\n".join(as_command(words) for words in change.commands)
    raise CouldNot(f"{what}\nMend that, or run it yourself:", again)


def _stands(job: Job, change: Change, now: Found, *, done: bool) -> str:
    old, host = job.found, job.host
    if done:
        return f"All the same, {job.file} {'has the entry' if change.entry else 'no longer has the entry'} now."
    if now.config and old.config and now.config.data == old.config.data:
        return f"{job.file} is as it was."
    if not (change.entry and old.ours and now.config and now.entry is None) or host.replaces:
        return f"{job.file} was changed, but {'does not have' if change.entry else 'still has'} the entry. Look there."
    # The host itself was to take the old one out first, and then did not take the new one in.
    try:
        write(now.config, with_entry(host, now, old.ours))
    except (Untouchable, NotPlainJson) as error:
        return f"The old entry is gone from {job.file} and could not be put back: {error}."
    return f"The old entry had been taken out, and was put back into {job.file}."
