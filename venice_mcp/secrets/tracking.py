"""Whether git would take a file with a secret along, asked so that a hostile repository can make git run nothing."""

import os
from collections.abc import Mapping
from typing import Final

from venice_mcp.secrets.folders import Place

TRACKED: Final = "git tracks this file"
NOT_IGNORED: Final = "git does not ignore this file"
UNKNOWN: Final = "whether git ignores it could not be checked"

_TIMEOUT_S: Final = 3.0
# A repository's own settings can name programs; these outrank them. Nothing may be fetched for want of an object
# either, because that runs a program too.
_SETTINGS: Final = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.untrackedCache=false",
    "submodule.recurse=false",
)
_ENVIRONMENT: Final = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
}


def git_notes(folder: os.stat_result, place: Place) -> tuple[str, ...]:
    """What a person should know about git and this file; nothing outside of a repository.

    Args:
        folder: the file's folder as it was checked.
        place: the file, which need not exist.
    """
    real = os.path.realpath(place.parent)
    if not _within_repository(real):
        return ()
    git = _program()
    if git is None or not _is_same(real, folder):
        return (UNKNOWN,)
    # With a dot in front, so that a name that begins with a colon is not taken for a pattern.
    name = f"./{place.name}"
    tracked = _status(git, real, "--literal-pathspecs", "ls-files", "--error-unmatch", "--", name)
    if tracked == 0:
        return (TRACKED,)
    # Tracked, ignored: git answers 0 for yes and 1 for no, and anything else is a failure.
    ignored = _status(git, real, "check-ignore", "--no-index", "-q", "--", name) if tracked == 1 else None
    return {0: (), 1: (NOT_IGNORED,)}.get(-1 if ignored is None else ignored, (UNKNOWN,))


def _is_same(path: str, folder: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), folder)
    except OSError:
        return False


def _within_repository(folder: str) -> bool:
    while True:
        if os.path.lexists(os.path.join(folder, ".git")):
            return True
        parent = os.path.dirname(folder)
        if parent == folder:
            return False
        folder = parent


def _program() -> str | None:
    import shutil

    found = shutil.which("git")
    # A relative entry of PATH would take the program from whatever folder the server stands in.
    return found if found is not None and os.path.isabs(found) else None


def _status(git: str, folder: str, *arguments: str) -> int | None:
    import subprocess  # slow to import, and most starts never need it

    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    try:
        done = subprocess.run(
            [git, "--no-pager", *settings, "-C", folder, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_environment(os.environ),
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.returncode


def _environment(current: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in current.items() if not name.startswith(("GIT_", "VENICE_"))}
    return kept | _ENVIRONMENT
