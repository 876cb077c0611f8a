"""`venice-mcp audit-log` and `venice-mcp purge`: the record in a person's hands. Needs neither key nor network."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from venice_mcp.errors import VeniceError
from venice_mcp.operating import command
from venice_mcp.secrets import Redactor
from venice_mcp.store import Checkpoint, Entry, Store, as_json, unpacked
from venice_mcp.text import plain

_PROBLEM, _USER_ERROR = 1, 2
_SHOWN = 200
_MAX_CHECKPOINT_LINE = 100_000
_REDACTOR = Redactor()


def told(act: Callable[[], int]) -> int:
    """Run one of these and tell what hinders it; the exit status."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")  # a client's name may have letters that this terminal has not
    try:
        status = act()
        sys.stdout.flush()
    except VeniceError as error:
        sys.stderr.write(f"{error.what} {error.next_step}\n")
        return _PROBLEM
    except OSError as error:
        # Python would try to write the rest when it ends, and fail with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # then whoever read this has seen enough
            sys.stderr.write(f"The output could not be written: {error.strerror}.\n")
        return _PROBLEM
    return status


def latest(state_dir: Path, *, limit: int) -> int:
    """Print the newest entries for people, oldest of them first."""
    store = _existing(state_dir)
    if store is None:
        return _nothing(state_dir)
    for entry in store.trail.latest(limit):
        _say(_line(entry))
    return 0


def export(state_dir: Path, *, only_checkpoint: bool) -> int:
    """Print every entry as a JSON line, and last of all the checkpoint that a later check is compared with."""
    store = _existing(state_dir)
    if store is None:
        return _nothing(state_dir)
    entries = store.trail.all()
    if not only_checkpoint:
        for entry in entries:
            _say(json.dumps(as_json(entry)))
    end = Checkpoint(entries[-1].seq, entries[-1].hash) if entries else store.trail.checkpoint()
    _say(json.dumps({"checkpoint": asdict(end)}))
    return 0


def verify(state_dir: Path, *, checkpoint: Path | None) -> int:
    """Check the chain, and with a checkpoint also that nothing was cut off; exit status 1 names what does not fit."""
    kept = None
    if checkpoint is not None:
        kept = _kept(checkpoint)
        if kept is None:
            sys.stderr.write(f"{checkpoint} holds no checkpoint; make one with: {command('audit-log', 'export')}\n")
            return _USER_ERROR
    store = _existing(state_dir)
    if store is None:
        if kept is None or kept.seq == 0:
            return _nothing(state_dir)
        sys.stderr.write(f"BROKEN: there is no record in {state_dir}, and the checkpoint is at {kept.seq}.\n")
        return _PROBLEM
    verdict = store.trail.verify(kept)
    if verdict.broken is not None:
        sys.stderr.write(f"BROKEN: {verdict.why}.\n")
        return _PROBLEM
    against = f", and it agrees with the checkpoint at {kept.seq}" if kept is not None else ""
    _say(f"Intact: {_entries(verdict.entries)}{against}.")
    if kept is None:
        _say("Whether its end was cut off shows only against a checkpoint kept elsewhere (audit-log export).")
    return 0


def purge(state_dir: Path) -> int:
    """Remove the record, after a person typed so at a terminal."""
    store = _existing(state_dir)
    if store is None:
        return _nothing(state_dir)
    # Without any standard input there is no stream either.
    if not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        sys.stderr.write("Run this in a real terminal: only a person at one can purge.\n")
        return _USER_ERROR
    count = store.trail.checkpoint().seq
    try:
        _say(
            f"{store.path} holds {_entries(count)}: approvals that wait, what is not accounted for,"
            " budgets of allowances, and the audit trail. Export the trail first if it is to be kept."
        )
        if input("Type PURGE to remove it for good: ").strip() != "PURGE":
            sys.stderr.write("Nothing was removed.\n")
            return _PROBLEM
    except (EOFError, KeyboardInterrupt):
        sys.stderr.write("\nNothing was removed.\n")
        return _PROBLEM
    store.record.purge()
    _say("Removed.")
    return 0


def _existing(state_dir: Path) -> Store | None:
    """The record, if there is one: looking must not make an empty one where somebody mistyped a folder."""
    store = Store(state_dir)
    return store if store.record.exists() else None


def _line(entry: Entry) -> str:
    at, kind, subject = (str(value) for value in (entry.at, entry.kind, entry.subject))
    return plain(f"{entry.seq:6} {at[:19]} {kind:12} {subject:12} {entry.actor}  {_gist(unpacked(entry))}", _SHOWN)


def _gist(data: Any) -> str:
    if not isinstance(data, dict):
        return f"damaged: {plain(str(data), 80)}"
    for name in ("headline", "how", "as", "id", "what", "operation", "why"):
        value = cast("dict[str, Any]", data).get(name)
        if value:
            return plain(str(value), 120)
    return ""


def _kept(path: Path) -> Checkpoint | None:
    """The checkpoint in the last line of an exported file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        found: Any = json.loads(lines[-1][:_MAX_CHECKPOINT_LINE])["checkpoint"]
        seq, link = found["seq"], found["hash"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(seq, int) or isinstance(seq, bool) or not isinstance(link, str):
        return None
    return Checkpoint(seq, link)


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _say(text: str) -> None:
    # The record holds no secret; should one have slipped in, it does not get further.
    sys.stdout.write(_REDACTOR.redact(text) + "\n")


def _nothing(state_dir: Path) -> int:
    _say(f"There is no record in {state_dir}.")
    return 0
