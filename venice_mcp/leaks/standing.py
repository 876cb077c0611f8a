"""The files in which keys were found: what git does with them, and who may read them."""

import os
import re
import stat
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from venice_mcp.leaks.git import Git, program
from venice_mcp.leaks.walking import FILE_FLAGS

TRACKED: Final = "tracked"
NOT_IGNORED: Final = "not ignored"
IGNORED: Final = "ignored"
UNKNOWN: Final = "unknown"

KEPT: Final = "kept"
OURS: Final = "put there by this server"
READABLE: Final = "others can read"

_MOST_FILES: Final = 1_000
_AT_ONCE: Final = 200
_SETTINGS_FILE: Final = re.compile(r"\.env(?:\..+)?|.+\.env")
# A token and a name for it; what is larger holds something else as well.
_LARGEST: Final = 512
_NOTHING_ELSE: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:(?:export\s+)?[A-Za-z_][A-Za-z0-9_.-]*\s*=\s*)?([\"']?)[A-Za-z0-9_-]{20,}\1\s*"
)


class Standing(NamedTuple):
    """How a file lies there.

    Attributes:
        git: one of the words above; None outside of a repository.
        private: whether only its owner may read it; None if that cannot be told.
        for_keys: whether it is of the kind in which a key is kept: a .env file, or one that holds nothing else.
        ours: whether this server put that key there.
    """

    git: str | None = UNKNOWN
    private: bool | None = None
    for_keys: bool = False
    ours: bool = False

    @property
    def in_order(self) -> bool:
        """Whether it is a file for keys, from which nobody gets one by reading along or by cloning it as it is now."""
        return self.git in (None, IGNORED) and self.private is True and (self.ours or self.for_keys)

    def in_words(self, *, kept: bool) -> str | None:
        words = (KEPT if kept else "", OURS if self.ours else "", READABLE if self.private is False else "")
        return ", ".join(filter(None, words)) or None


def lying(
    places: Collection[tuple[str, str]], saved: Iterable[tuple[str, str]], seconds: float
) -> dict[tuple[str, str], Standing]:
    """How each file lies there in which a key with these last six characters was found.

    Args:
        saved: files as they were named, with the last six characters of the key that this server put there.
    """
    found = standings([path for path, _ in places], seconds)
    ours = {(os.path.realpath(os.path.expanduser(path)), last6) for path, last6 in saved}
    return {
        (path, last6): found.get(path, Standing())._replace(ours=(os.path.realpath(path), last6) in ours)
        for path, last6 in places
    }


def standings(paths: Iterable[str], seconds: float) -> dict[str, Standing]:
    """How each of these files lies there, as far as that can be told in so many seconds."""
    found: dict[str, Standing] = {}
    roots: dict[str, str | None] = {}
    within: dict[str, dict[str, list[str]]] = {}
    for path in list(dict.fromkeys(paths))[:_MOST_FILES]:
        try:
            status = os.lstat(path)
        except (OSError, ValueError):  # gone, or a name that was not told as it is
            continue
        # git's word is about the folder that it is, whichever links the path to it goes through.
        folder, name = os.path.realpath(os.path.dirname(path)), os.path.basename(path)
        root = _root(folder, roots)
        if root is not None:
            within.setdefault(root, {}).setdefault(os.path.join(folder, name), []).append(path)
        private = not stat.S_IMODE(status.st_mode) & 0o077
        for_keys = bool(_SETTINGS_FILE.fullmatch(name)) or (private and _holds_nothing_else(path))
        found[path] = Standing(None if root is None else UNKNOWN, private, for_keys)
    git, deadline = program() if within else None, time.monotonic() + seconds
    for root, files in within.items() if git is not None else ():
        for real, word in _told(Git(git or "", root, deadline), root, list(files)).items():
            for path in files[real]:
                found[path] = found[path]._replace(git=word)
    return found


def _holds_nothing_else(path: str) -> bool:
    """Whether all that is in a file is one token, or a name and a token."""
    try:
        handle = os.open(path, FILE_FLAGS)
    except OSError:
        return False
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            return False
        return _NOTHING_ELSE.fullmatch(os.read(handle, _LARGEST + 1)) is not None
    except OSError:
        return False
    finally:
        os.close(handle)


def _root(folder: str, known: dict[str, str | None]) -> str | None:
    """The folder that holds the .git of a repository; None outside of one, and inside of a .git itself.

    Args:
        folder: its path without links.
    """
    if folder not in known:
        above = os.path.dirname(folder)
        if os.path.basename(folder) == ".git" or (above == folder and not os.path.lexists(f"{folder}/.git")):
            known[folder] = None
        else:
            known[folder] = folder if os.path.lexists(os.path.join(folder, ".git")) else _root(above, known)
    return known[folder]


def _told(git: Git, root: str, files: Sequence[str]) -> dict[str, str]:
    """What git says of files of one repository; nothing where it could not say."""
    words: dict[str, str] = {}
    if not git.is_usable():
        return words
    for start in range(0, len(files), _AT_ONCE):
        names = {os.path.relpath(path, root): path for path in files[start : start + _AT_ONCE]}
        tracked = _answer(git, "--literal-pathspecs", "ls-files", "-z", "--", *names)
        if tracked is None:
            return words
        words |= {names[name]: TRACKED for name in tracked & names.keys()}
        rest = [name for name in names if name not in tracked]
        ignored = _answer(git, "check-ignore", "--no-index", "-z", "--stdin", given=rest) if rest else set[str]()
        if ignored is not None:
            words |= {names[name]: IGNORED if name in ignored else NOT_IGNORED for name in rest}
    return words


def _answer(git: Git, *arguments: str, given: Sequence[str] = ()) -> set[str] | None:
    """The names that git prints; None if it failed. 1 is check-ignore's word for none of them."""
    import tempfile  # only for a scan that found something

    with tempfile.TemporaryFile() as names:
        names.write(b"".join(os.fsencode(name) + b"\0" for name in given))
        names.seek(0)
        with git.running(*arguments, stdin=names) as process:
            told = process.stdout.read() if process.stdout else b""
            code = process.wait()
    return {os.fsdecode(name) for name in told.split(b"\0") if name} if code in (0, 1) else None
