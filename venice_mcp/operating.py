"""What a person does by hand for this server: complete commands for a terminal of theirs, and giving it a key.

A plugin or a bundle puts no `venice-mcp` on the PATH, so a command names the very Python that runs.
"""

import sys
from pathlib import Path

from venice_mcp.policy.places import trusted_state_dir
from venice_mcp.settings import PLUGIN, VARIABLES, KeyKind
from venice_mcp.systems import as_command


def command(*words: str) -> str:
    """This program with these words, as one line. -P keeps the folder it is run in out of Python's search path, -E what
    a project's PYTHONPATH names."""
    return as_command([sys.executable, "-E", "-P", "-m", "venice_mcp", *words])


def approve_command(code: str | None, state_dir: Path) -> str:
    """What decides about a request, or lists what waits; it looks in the usual folder by itself, whatever is set."""
    elsewhere = [] if state_dir == trusted_state_dir() else ["--state-dir", str(state_dir)]
    return command("approve", *([code] if code is not None else []), *elsewhere)


def giving(kind: KeyKind, host: str) -> str:
    """How this server is given a key of a kind, or does without."""
    if host == PLUGIN:
        return (
            "Give it with /plugin configure venice-keys@venice-mcp in Claude Code, or turn the option sandbox on there,"
            " which needs no key; then reconnect with /mcp."
        )
    variable = VARIABLES[kind]
    by_install = f", or run `{command('install', 'HOST', '--key-file', 'FILE')}`" if kind == "ADMIN" else ""
    return (
        f"Set {variable}, or {variable}_FILE to a file that holds it, where this server is configured{by_install};"
        " or start it with --sandbox, which needs no key. Then restart it."
    )
