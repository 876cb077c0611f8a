"""What whoever starts the tour asks for; told, or refused, before anything slow is imported."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

INTERACTIVE = "VENICE_MCP_DEMO_INTERACTIVE"
ACTS = (
    "One key at a time",
    "The chores of a team with many keys",
    "Why am I being limited?",
    "What stays on record",
)
_OFF = ("", "0", "false", "no", "off")


@dataclass(frozen=True)
class Options:
    """`acts` are the numbers of those to play, from 1."""

    interactive: bool
    acts: frozenset[int]


def options_in(arguments: Sequence[str]) -> Options:
    """Ends the process with status 2 if they make no sense."""
    numbers = range(1, len(ACTS) + 1)
    parser = argparse.ArgumentParser(
        prog="demo/run.py",
        description="The tour of venice-mcp, on its built-in sandbox; no account is needed.",
        epilog="The acts: " + "; ".join(f"{number} {title}" for number, title in zip(numbers, ACTS, strict=True)),
    )
    parser.add_argument(
        "--act", type=int, choices=numbers, action="append", help="play this one alone; may be given more than once"
    )
    acts: list[int] | None = parser.parse_args(arguments).act
    interactive = os.environ.get(INTERACTIVE, "").strip().lower() not in _OFF
    if interactive and not sys.stdin.isatty():
        parser.error(f"{INTERACTIVE} needs a terminal to ask you on; unset it for the scripted tour.")
    return Options(interactive, frozenset(acts or numbers))
