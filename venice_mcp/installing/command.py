"""`venice-mcp install`: this server entered in a host's configuration, or taken out. No key is asked for or read."""

import os
import re
import shlex
import stat
import sys
from pathlib import Path

from venice_mcp.installing.changing import Change, CouldNot, Job, carry_out, is_there, shown, way
from venice_mcp.installing.configfile import Untouchable, alone
from venice_mcp.installing.entries import (
    Choice,
    Found,
    arguments_of,
    has_input,
    keys_in_plain,
    look,
    needs_input,
    on_sandbox,
    same,
    stays,
    to_paste,
    wanted,
    with_entry,
    without_entry,
)
from venice_mcp.installing.hostprogram import program_of
from venice_mcp.installing.hosts import ADMIN_KEY, HOSTS, KEY_FILE, NAME, Entry, Host, host_named, variables_of
from venice_mcp.installing.launching import CannotStart, Launch, launch, running
from venice_mcp.installing.machine import Machine, this_machine
from venice_mcp.secrets import Redactor
from venice_mcp.systems import as_command
from venice_mcp.text import cell, plain, table

_DONE, _COULD_NOT, _USAGE = 0, 1, 2
_SHOWN = 300
_WALLET_KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")
_REDACTOR = Redactor()
_A_KEY_ITSELF = (
    "--key-file takes the path of a file. What was given looks like a key itself: if it is one, revoke it, because the"
    " shell's history has it now."
)


def install(name: str | None, *, sandbox: bool, key_file: str | None, printing: bool, removing: bool) -> int:
    """Run one `venice-mcp install`; the exit status."""
    machine = this_machine()
    host = host_named(name) if name else None
    if host is None:
        return _list(machine)
    if removing and (sandbox or key_file is not None):
        return _problem("--remove takes neither --sandbox nor --key-file.", _USAGE)
    if key_file is not None:
        if not key_file.strip():
            return _problem("--key-file takes the path of a file.", _USAGE)
        if _REDACTOR.redact(key_file) != key_file or _WALLET_KEY.fullmatch(key_file.strip()):
            return _problem(_A_KEY_ITSELF, _USAGE)
    path = Path(os.path.abspath(os.path.expanduser(key_file))) if key_file else None
    try:
        with alone(Path(machine.home)):
            job = Job(host, machine, look(host, machine), _say)
            if removing:
                _remove(job)
            else:
                _install(job, launch(running(os.environ)), Choice(sandbox, path), printing=printing)
    except CouldNot as error:
        return _problem(str(error), _COULD_NOT, error.paste)
    except CannotStart as error:
        return _problem(str(error), _COULD_NOT)
    except Untouchable as error:
        return _problem(f"Nothing was changed: {error}. Try again.", _COULD_NOT)
    return _DONE


def _list(machine: Machine) -> int:
    rows = [[cell(host.name), cell(host.title), *_standing(host, look(host, machine))] for host in HOSTS]
    _say(table(("HOST", "name", "on this machine", NAME), rows))
    _say("\nvenice-mcp install HOST [--sandbox | --key-file FILE] [--print | --remove]")
    return _DONE


def _standing(host: Host, found: Found) -> tuple[str, str]:
    place = program_of(host)[0] or (str(found.path.parent) if is_there(found) else "not found")
    if found.ours:
        entry = "installed"
    elif found.entry is not None:
        entry = "another server of that name"
    else:
        entry = f"unknown: {found.trouble}" if found.trouble else "-"
    return cell(place, _SHOWN), cell(entry, _SHOWN)


def _install(job: Job, start: Launch, choice: Choice, *, printing: bool) -> None:
    host, found = job.host, job.found
    _check(job, start, choice)
    entry = wanted(host, start, choice, found.ours)
    paste = to_paste(host, entry)
    _refuse_others(job, paste)
    program, hindrance = way(job, entry, by_command=bool(host.adds))
    commands = [(program, *host.removes)] if program and found.ours and not host.replaces else []
    commands += [(program, *host.adding(entry))] if program else []
    done = same(found.ours, entry) and (not needs_input(host, entry) or has_input(host, found.content))
    starts = f"It starts {as_command((start.command, *start.args))}: {start.why}."
    left = _left(job, entry)
    if printing:
        if done:
            what = f"{job.file} has this already"
        elif hindrance:
            what = f"To be put by hand into {job.file}, because {hindrance}"
        else:
            what = f"This would be {'run' if commands else f'put into {job.file}; what else is there stays'}"
        runs = "\n".join(as_command(words) for words in commands)
        _say(f"# {starts}\n# {what}.{left}\n{paste if done or not runs else runs}")
    elif done:
        _say(f"{host.title} has it already, in {job.file}: nothing was changed.")
        _advise(job, start, choice, entry)
    elif hindrance:
        what = f"{_plainly(job, entry)}Mend that and run this again, or put this into it yourself.{left}"
        raise job.left_alone(hindrance, what, paste)
    else:
        copy = carry_out(job, Change(entry, commands, lambda: with_entry(host, found, entry), paste))
        _say(f"{host.title} now has the server {NAME}, in {job.file}.\n{starts}")
        if kept := arguments_of(found.ours):
            _say(f"Its own arguments were kept: {plain(as_command(kept), _SHOWN)}")
        _tell_of(copy, job)
        _advise(job, start, choice, entry)
        _say(host.after)


def _check(job: Job, start: Launch, choice: Choice) -> None:
    try:
        " ".join((start.command, *start.args, str(choice.key_file))).encode()
    except UnicodeEncodeError:
        raise CouldNot("A path for the entry is not valid text (UTF-8); nothing was changed.") from None
    if choice.key_file and not (choice.key_file.is_file() and choice.key_file.stat().st_size):
        what = "There is nothing in" if choice.key_file.is_file() else "There is no file"
        raise CouldNot(f"{what} {shown(choice.key_file)}; nothing was changed. Make it:", _how_to_keep(job, start))


def _remove(job: Job) -> None:
    host, found = job.host, job.found
    _refuse_others(job)
    by_hand = f"Take the entry {NAME} out yourself."
    program, hindrance = way(job, {}, by_command=bool(host.removes))
    if found.entry is None and not found.trouble:
        return _say(f"{host.title} has no server {NAME} in {job.file}: nothing was changed.")
    if hindrance:
        raise job.left_alone(hindrance, by_hand)
    commands = [(program, *host.removes)] if program else []
    copy = carry_out(job, Change(None, commands, lambda: without_entry(host, found), by_hand))
    _say(f"{host.title} no longer has the server {NAME}; it was in {job.file}.")
    return _tell_of(copy, job)


def _refuse_others(job: Job, paste: str = "") -> None:
    if job.found.entry is not None and job.found.ours is None:
        raise CouldNot(
            f"{job.host.title} has another server called {NAME}, in {job.file}: it is not known to start venice-mcp."
            f" Rename or remove that one first; nothing was changed.{' This one would be:' if paste else ''}",
            paste,
        )


def _left(job: Job, entry: Entry) -> str:
    """What the text to paste does not say: which of the old entry stays, and which goes."""
    stay, gone = stays(job.host, entry), variables_of(job.found.ours or {}).keys() - variables_of(entry).keys()
    told = f" Of the entry this stays as it is: {stay}." if stay else ""
    return f"{told} This goes: {plain(', '.join(sorted(gone)), _SHOWN)}." if gone else told


# --- what is said ---------------------------------------------------------------------------------


def _advise(job: Job, start: Launch, choice: Choice, entry: Entry) -> None:
    """How the server gets its key."""
    if warning := _plainly(job, entry):
        _say(f"WARNING: {warning.strip()}")
    if choice.sandbox:
        _say("It runs on the built-in sandbox and needs no key. Without --sandbox it is installed for Venice itself.")
    elif on_sandbox(entry):
        _say("It runs on the built-in sandbox for as long as --sandbox is among its arguments.")
    elif choice.key_file:
        _say(f"The key is read from {shown(choice.key_file)} when the server starts.")
        if os.name == "posix" and stat.S_IMODE(choice.key_file.stat().st_mode) & 0o077:
            _say("WARNING: others may read that file; run: chmod 600 on it.")
    elif ADMIN_KEY in keys_in_plain(job.host, entry):
        _say(f"For {ADMIN_KEY}:\n{_how_to_keep(job, start)}")
    elif KEY_FILE not in variables_of(entry):
        _say(f"The key: {job.host.key} With a file it works everywhere:\n{_how_to_keep(job, start)}")


def _plainly(job: Job, entry: Entry) -> str:
    names = keys_in_plain(job.host, entry)
    if not names:
        return ""
    return (
        f"The entry holds in plain text: {', '.join(names)}. Put each into a file of its own, name that in the entry"
        f" as {', '.join(f'{name}_FILE' for name in names)} instead, and revoke or change what stood there. "
    )


def _how_to_keep(job: Job, start: Launch) -> str:
    """The ADMIN key put into a file, and that into the entry."""
    file = job.machine.dot_config / "venice" / "admin.key"
    again = as_command((start.command, *start.args, "install", job.host.name, "--key-file", str(file)))
    if job.machine.platform == "win32":
        return f"  Save the ADMIN key, and nothing else, in {file}; then run\n  {again}"
    folder, into = shlex.quote(str(file.parent)), shlex.quote(str(file))
    return (
        f"  mkdir -p -m 700 {folder}\n"
        f"  (umask 077; cat > {into})     paste the ADMIN key, then Enter and Ctrl-D\n"
        f"  {again}"
    )


def _tell_of(copy: Path | None, job: Job) -> None:
    if copy:
        _say(f"The file as it was: {shown(copy)}")
        if held := keys_in_plain(job.host, job.found.ours):
            _say(f"It still holds in plain text: {', '.join(held)}. Delete it, then revoke or change what it holds.")


def _say(text: str) -> None:
    sys.stdout.write(_REDACTOR.redact(text) + "\n")


def _problem(text: str, status: int, paste: str = "") -> int:
    sys.stderr.write(f"{_REDACTOR.redact(text)}\n")
    if paste:
        sys.stderr.write(f"\n{_REDACTOR.redact(paste)}\n")
    return status
