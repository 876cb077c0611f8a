"""`venice-mcp install`: this server entered in a host's configuration, or taken out. No key is asked for or read."""

import os
import re
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path

from venice_mcp.installing import jsontext
from venice_mcp.installing.configfile import Untouchable, write
from venice_mcp.installing.entries import (
    Choice,
    Found,
    has_input,
    keys_in_plain,
    look,
    needs_input,
    same,
    to_paste,
    wanted,
    with_entry,
    without_entry,
)
from venice_mcp.installing.hostprogram import CouldNot, Run, carry_out, program_of
from venice_mcp.installing.hosts import HOSTS, KEY_FILE, NAME, Entry, Host, host_named
from venice_mcp.installing.launching import CannotStart, Launch, launch, running
from venice_mcp.installing.machine import Machine
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
_MAKE_KEY_FILE = """\
  mkdir -p -m 700 ~/.config/venice
  (umask 077; cat > ~/.config/venice/admin.key)     paste the ADMIN key, then Enter and Ctrl-D
  venice-mcp install {host} --key-file ~/.config/venice/admin.key"""


def install(name: str | None, *, sandbox: bool, key_file: str | None, printing: bool, removing: bool) -> int:
    """Run one `venice-mcp install`; the exit status."""
    machine = Machine(sys.platform, os.path.expanduser("~"), os.environ)
    host = host_named(name) if name else None
    if host is None:
        return _list(machine)
    path = None
    if key_file is not None:
        if _REDACTOR.redact(key_file) != key_file or _WALLET_KEY.fullmatch(key_file.strip()):
            return _problem(_A_KEY_ITSELF, _USAGE)
        path = Path(os.path.abspath(os.path.expanduser(key_file)))
    try:
        found = look(host, machine)
        if removing:
            return _remove(host, found, machine)
        return _install(host, found, machine, Choice(sandbox, path), printing=printing)
    except CouldNot as error:
        return _problem(str(error), _COULD_NOT, error.paste)


def _list(machine: Machine) -> int:
    rows = [[cell(host.name), cell(host.title), *_standing(host, look(host, machine))] for host in HOSTS]
    _say(table(("HOST", "name", "on this machine", NAME), rows))
    _say("\nvenice-mcp install HOST [--sandbox | --key-file FILE] [--print | --remove]")
    return _DONE


def _standing(host: Host, found: Found) -> tuple[str, str]:
    program = program_of(host)
    place = program or (str(found.path.parent) if _is_there(found) else "not found")
    if found.ours:
        entry = "installed"
    elif found.entry is not None:
        entry = "another server of that name"
    else:
        entry = f"unknown: {found.trouble}" if found.trouble else "-"
    return cell(place, _SHOWN), cell(entry, _SHOWN)


# --- adding ---------------------------------------------------------------------------------------


def _install(host: Host, found: Found, machine: Machine, choice: Choice, *, printing: bool) -> int:
    _refuse_others(host, found)
    if choice.key_file and not choice.key_file.is_file():
        raise CouldNot(f"There is no file {_path(choice.key_file)}. Make it:", _MAKE_KEY_FILE.format(host=host.name))
    try:
        start = launch(running(os.environ))
    except CannotStart as error:
        raise CouldNot(str(error)) from None
    entry = wanted(host, start, choice, found.ours)
    if same(found.ours, entry) and (not needs_input(host, entry) or has_input(host, found.content)):
        _say(f"{host.title} has it already, in {_path(found.path)}: nothing was changed.")
        return _advise(host, choice, entry)
    runs = _runs(host, found, entry)
    if printing:
        _say(_plan(host, found, start, entry, runs))
        return _DONE
    if runs:
        carry_out(host, runs, os.environ, _say)
        if not same(look(host, machine).ours, entry):
            raise CouldNot(f"{host.program} ended well, but {_path(found.path)} does not have the entry. Look there.")
        _say(f"{host.title} now has the server {NAME}, in {_path(found.path)}.")
    else:
        _edit(host, found, entry)
    _say(f"It starts {_shown(start)}: {start.why}.")
    _advise(host, choice, entry)
    _say(host.after)
    return _DONE


def _runs(host: Host, found: Found, entry: Entry) -> list[Run]:
    """The host's own commands that bring the entry in; none if it has none here, or none that can say it.

    Raises:
        CouldNot: its command would lose or show what stands in the entry.
    """
    program, arguments = program_of(host), host.add(entry)
    if not program or arguments is None:
        return []
    run, old = Run((program, *arguments)), found.ours or {}
    if found.trouble:
        raise CouldNot(
            f"{_path(found.path)} is left alone, because {found.trouble}, so it is not known what is there. Look into"
            f" it, and if it has no other server called {NAME}, run this yourself:",
            run.shown,
        )
    if keys_in_plain(entry):
        raise CouldNot(
            f"The entry {NAME} in {_path(found.path)} holds a key in plain text ({', '.join(keys_in_plain(entry))}),"
            f" which would stand on a command line. Take it out (venice-mcp install {host.name} --remove), then"
            " install again with --key-file."
        )
    lost = sorted(old.keys() - host.expresses) if host.expresses else []
    if lost:
        raise CouldNot(
            f"The entry {NAME} in {_path(found.path)} has settings of yours that {host.program} would drop:"
            f" {plain(', '.join(lost), _SHOWN)}. Change it by hand to:",
            to_paste(host, entry),
        )
    # claude refuses to add what is there; the others replace it.
    first = [Run((program, *host.remove))] if old and host.name == "claude-code" else []
    return [*first, run]


def _edit(host: Host, found: Found, entry: Entry) -> None:
    by_hand = to_paste(host, entry)
    hindrance = _hindrance(host, found)
    if hindrance or found.config is None:
        raise CouldNot(
            _left_alone(found, f"{hindrance}. Mend that and run this again, or put this into it yourself:"), by_hand
        )
    try:
        backup = write(found.config, with_entry(host, found, entry), datetime.now(UTC))
    except (Untouchable, jsontext.NotPlainJson, UnicodeEncodeError) as error:
        why = "a path in the entry is not valid text" if isinstance(error, UnicodeEncodeError) else str(error)
        raise CouldNot(
            f"{_path(found.path)} is left alone, because {why}. Put this into it yourself:", by_hand
        ) from None
    _say(f"{host.title} now has the server {NAME}, in {_path(found.path)}.")
    _say_backup(backup)


def _hindrance(host: Host, found: Found) -> str:
    """Why the host's file is not edited; "" if it may be."""
    if host.edited != "always":
        return f"it is for {host.title} to write, and {host.program} is not on PATH"
    if not _is_there(found):
        return f"{host.title} was not found here: there is no such folder"
    return found.trouble


def _plan(host: Host, found: Found, start: Launch, entry: Entry, runs: list[Run]) -> str:
    """What would be done, in full."""
    why = f"# It starts {_shown(start)}: {start.why}.\n"
    if runs:
        return why + "# This would be run:\n" + "\n".join(run.shown for run in runs)
    hindrance = _hindrance(host, found)
    how = f"To be put by hand, because {hindrance}," if hindrance else "This would be put"
    return f"{why}# {how} into {_path(found.path)}; what else is there stays:\n{to_paste(host, entry)}"


# --- taking out -----------------------------------------------------------------------------------


def _remove(host: Host, found: Found, machine: Machine) -> int:
    by_hand = f"Take the entry {NAME} out yourself."
    _refuse_others(host, found)
    if found.ours is None:
        if found.trouble:
            raise CouldNot(
                f"{_path(found.path)} is left alone, because {found.trouble}. Take the entry {NAME} out yourself."
            )
        _say(f"{host.title} has no server {NAME} in {_path(found.path)}: nothing was changed.")
        return _DONE
    program = program_of(host)
    if program and host.remove:
        carry_out(host, [Run((program, *host.remove))], os.environ, _say)
        if look(host, machine).entry is not None:
            raise CouldNot(f"{host.program} ended well, but {_path(found.path)} still has the entry. Look there.")
        _say(f"{host.title} no longer has the server {NAME}.")
        return _DONE
    if host.edited == "never" or found.config is None:
        why = f"it is for {host.title} to write, and {host.program} is not on PATH"
        raise CouldNot(_left_alone(found, f"{why}. {by_hand}"))
    try:
        backup = write(found.config, without_entry(host, found), datetime.now(UTC))
    except Untouchable as error:
        raise CouldNot(
            f"{_path(found.path)} is left alone, because {error}. Take the entry {NAME} out yourself."
        ) from None
    _say(f"{host.title} no longer has the server {NAME}; it was in {_path(found.path)}.")
    _say_backup(backup)
    return _DONE


def _refuse_others(host: Host, found: Found) -> None:
    if found.entry is not None and found.ours is None:
        raise CouldNot(
            f"{host.title} has another server called {NAME}, in {_path(found.path)}, that does not start venice-mcp."
            " Rename or remove that one first; nothing was changed."
        )


# --- what is said ---------------------------------------------------------------------------------


def _advise(host: Host, choice: Choice, entry: Entry) -> int:
    """How the server gets its key."""
    if plainly := keys_in_plain(entry):
        _say(f"WARNING: the entry holds a key in plain text ({', '.join(plainly)}); put it into a file instead:")
        _say(_MAKE_KEY_FILE.format(host=host.name))
    elif choice.sandbox:
        _say("It runs on the built-in sandbox and needs no key. Without --sandbox it is installed for Venice itself.")
    elif choice.key_file:
        _say(f"The key is read from {_path(choice.key_file)} when the server starts.")
        if os.name == "posix" and stat.S_IMODE(choice.key_file.stat().st_mode) & 0o077:
            _say("WARNING: others may read that file; run: chmod 600 on it.")
    elif KEY_FILE not in str(entry):
        _say(f"The key: {host.key} With a file it works everywhere:")
        _say(_MAKE_KEY_FILE.format(host=host.name))
    return _DONE


def _left_alone(found: Found, why: str) -> str:
    return f"{_path(found.path)} is left alone, because {why}"


def _is_there(found: Found) -> bool:
    return found.path.parent.is_dir()


def _shown(start: Launch) -> str:
    return as_command((start.command, *start.args))


def _path(path: Path) -> str:
    return plain(str(path), _SHOWN)


def _say_backup(backup: Path | None) -> None:
    if backup is not None:
        _say(f"The file as it was: {_path(backup)}")


def _say(text: str) -> None:
    sys.stdout.write(_REDACTOR.redact(text) + "\n")


def _problem(text: str, status: int, paste: str = "") -> int:
    sys.stderr.write(f"{_REDACTOR.redact(text)}\n")
    if paste:
        sys.stderr.write(f"\n{_REDACTOR.redact(paste)}\n")
    return status
