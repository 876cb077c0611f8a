"""What git ignores in a folder, by git's own rules: a file it tracks is never ignored, whatever a pattern says."""

import os
from collections.abc import Iterator
from typing import IO, Final

from venice_mcp.leaks.git import Git

_MOST: Final = 1_000_000


class Ignored:
    """Names by the folder they stand in, both relative to the folder that git was asked about."""

    def __init__(self, paths: Iterator[str]) -> None:
        self._names: dict[str, set[str]] = {}
        for path in paths:
            folder, _, name = path.rstrip("/").rpartition("/")
            self._names.setdefault(folder, set()).add(name)

    def within(self, folder: str) -> frozenset[str] | set[str]:
        return self._names.get(folder, frozenset())


def ignored(git: Git) -> Ignored | None:
    """Ignored files, and folders of which everything is ignored; None if git could not say."""
    arguments = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    with git.running(*arguments) as process:
        found = Ignored(_paths(process.stdout))
        return found if process.wait() == 0 else None


def _paths(output: IO[bytes] | None) -> Iterator[str]:
    rest, count = b"", 0
    while output is not None and count < _MOST and (part := output.read(1 << 16)):
        *whole, rest = (rest + part).split(b"\0")
        count += len(whole)
        yield from map(os.fsdecode, whole)


def empty_git_dir(folder: str) -> str:
    """The least that git takes for a repository, so that it also explains .gitignore where there is none."""
    place = os.path.join(folder, "none.git")
    for part in ("", "objects", "refs"):
        os.mkdir(os.path.join(place, part), 0o700)
    with open(os.path.join(place, "HEAD"), "x") as head:
        head.write("ref: refs/heads/none\n")
    return place
