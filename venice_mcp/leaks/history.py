"""Keys in everything a git repository holds: each blob, commit and tag message once, whoever still refers to it."""

import threading
from collections.abc import Callable
from functools import partial
from typing import IO, Final

from venice_mcp.leaks.content import CHUNK, Found, is_binary, search
from venice_mcp.leaks.git import Git
from venice_mcp.leaks.patterns import Hit

_TYPES: Final = frozenset({b"blob", b"commit", b"tag"})

HistoryFound = Callable[[str, str, Hit, int], None]
"""Object's name and kind, key, line; of a commit or tag the line of its message."""


def search_objects(
    git: Git, *, part: int, parts: int, largest: int, salt: bytes, found: HistoryFound, tick: Callable[[int], bool]
) -> bool:
    """Look through this part's share of all objects; whether every one of them was read.

    Args:
        largest: objects of more bytes are read up to there.
        tick: called with the size of each object; false ends the search.
    """
    import subprocess

    listing = ("cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname) %(objecttype)")
    with (
        git.running(*listing) as listed,
        git.running("cat-file", "--batch", "--buffer", stdin=subprocess.PIPE) as batch,
    ):
        if listed.stdout is None or batch.stdout is None or batch.stdin is None:
            return False
        asking = threading.Thread(target=_ask, args=(listed.stdout, batch.stdin, part, parts), daemon=True)
        asking.start()
        while header := batch.stdout.readline():
            name, kind, size = _header(header)
            if kind and not tick(size):
                return False
            if kind and not _read_one(
                batch.stdout, size, largest, partial(found, name, kind), salt, message=kind != "blob"
            ):
                return False
        return listed.wait() == 0 and batch.wait() == 0


def _ask(names: IO[bytes], batch: IO[bytes], part: int, parts: int) -> None:
    try:
        with batch:
            for line in names:
                name, _, kind = line.rstrip().partition(b" ")
                if kind in _TYPES and int(name[:8], 16) % parts == part:
                    batch.write(name + b"\n")
    except (OSError, ValueError):  # the search was ended, and its pipes closed
        return


def _header(line: bytes) -> tuple[str, str, int]:
    name, _, rest = line.decode("ascii", "replace").strip().partition(" ")
    kind, _, size = rest.partition(" ")
    return (name, kind, int(size)) if size.isdigit() else (name, "", 0)  # "<name> missing" is nothing to read


def _read_one(output: IO[bytes], size: int, largest: int, found: Found, salt: bytes, *, message: bool) -> bool:
    """Look through one object and go on to the next; false if there is nothing more."""
    left = readable = min(size, largest)

    def read(most: int) -> bytes:
        nonlocal left
        data = output.read(min(most, left))
        left -= len(data)
        return data

    beginning = read(CHUNK)
    if message:
        beginning = beginning.partition(b"\n\n")[2]
    if not is_binary(beginning):
        search(beginning, read, found, salt)
    beyond = size - readable + left
    while beyond > 0 and (data := output.read(min(CHUNK, beyond))):
        beyond -= len(data)
    return beyond == 0 and output.read(1) == b"\n"


def name_objects(git: Git, wanted: set[str]) -> dict[str, tuple[str, str]]:
    """The first commit that brought each blob, and its path there, as far as time allows.

    A commit or tag whose message holds a key is not among them: it is named by itself.
    """
    named: dict[str, tuple[str, str]] = {}
    commit = ""
    compare = ("diff-tree", "--stdin", "-r", "--root", "--raw", "--no-abbrev", "--no-renames", "--no-ext-diff")
    with (
        git.running("rev-list", "--reverse", "--all", "--reflog") as commits,
        git.running(*compare, "--no-textconv", stdin=commits.stdout) as changes,
    ):
        for raw in changes.stdout or ():
            line = raw.decode("utf-8", "backslashreplace").rstrip("\n")
            if not line.startswith(":"):
                commit = line
                continue
            fields, _, path = line.partition("\t")
            blob = fields.split(" ")[3]
            if blob in wanted and blob not in named:
                named[blob] = (commit, path)
                if len(named) == len(wanted):
                    break
    return named
