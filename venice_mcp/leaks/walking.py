"""Every regular file below a folder, opened so that no link, device or swapped folder can lead anywhere else.

Folders are opened relative to their parent's handle and never by path, so the tree may be as deep as it likes and
may change meanwhile. Only a few handles are kept; a parent whose handle was given up is opened again through `..`
and must be the same folder as before.
"""

import errno
import os
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

# Some of these do not exist on Windows, where nothing is walked; importing this must do no harm there.
_CLOSED: Final = getattr(os, "O_CLOEXEC", 0)
FOLDER_FLAGS: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | _CLOSED
# Not waiting matters for a FIFO that takes the place of a file between looking and opening.
FILE_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | _CLOSED

BINARY: Final = "binary"
LINK: Final = "symbolic link"
SPECIAL: Final = "not a regular file (FIFO, socket, device)"
UNREADABLE: Final = "unreadable"
ELSEWHERE: Final = "on another file system"
CHANGED: Final = "changed during the scan"
IGNORED: Final = "ignored by git"

_MOST_HANDLES: Final = 32
_LONGEST_PATH: Final = 4096
_OF_A_REPOSITORY: Final = frozenset({".git", "HEAD", "objects", "refs"})


class Entry(NamedTuple):
    """A regular file, as its folder lists it, to be opened relative to `folder`."""

    folder: int
    name: str
    path: "Path"


class Path:
    """Where something stands below the scanned folder; put together only when somebody wants to read it."""

    __slots__ = ("_above", "_name")

    def __init__(self, name: str, above: "Path | None" = None) -> None:
        self._name = name
        self._above = above

    @property
    def name(self) -> str:
        return self._name

    def child(self, name: str) -> "Path":
        return Path(name, self)

    def __str__(self) -> str:
        parts: list[str] = []
        at: Path | None = self
        while at is not None:
            parts.append(at._name)
            at = at._above
        return "/".join(part for part in reversed(parts) if part)


class IgnoredNames(Protocol):
    """What to leave out below some folder: names by the folder they stand in."""

    def within(self, folder: str) -> frozenset[str] | set[str]: ...


class _Folder:
    """A folder on the way down. `inside` is its path below the folder that `ignored` is about."""

    __slots__ = ("handle", "identity", "ignored", "inside", "path", "pending")

    def __init__(self, handle: int, path: Path, ignored: IgnoredNames | None = None, inside: str = "") -> None:
        self.handle: int | None = handle
        self.identity = _identity(handle)
        self.path = path
        self.pending: list[str] = []
        self.ignored = ignored if len(inside) < _LONGEST_PATH else None
        self.inside = inside if self.ignored else ""


def _identity(handle: int) -> tuple[int, int]:
    status = os.fstat(handle)
    return status.st_dev, status.st_ino


class Walk:
    """One walk through one folder, whose handle it takes over.

    Args:
        skipped: told a reason and a path for everything that is left out.
        repository: told the path of every git repository.
        ignoring: asked at the folder itself and at every repository in it what to leave out below.
    """

    def __init__(
        self,
        handle: int,
        *,
        skipped: Callable[[str, Path], None],
        repository: Callable[[Path], None],
        ignoring: Callable[[Path], IgnoredNames | None] | None = None,
    ) -> None:
        self._skipped = skipped
        self._repository = repository
        self._ignoring = ignoring
        root = _Folder(handle, Path(""), ignoring(Path("")) if ignoring else None)
        self._device = root.identity[0]
        self._stack = [root]

    def files(self) -> Iterator[Entry]:
        """Every regular file, depth first."""
        try:
            yield from self._listed(self._stack[-1])
            while self._stack:
                folder = self._stack[-1]
                if not folder.pending:
                    self._leave()
                elif (handle := self._opened(folder, name := folder.pending.pop())) is not None:
                    yield from self._listed(self._enter(folder, name, handle))
        finally:
            for folder in self._stack:
                _close(folder)

    def _listed(self, folder: _Folder) -> Iterator[Entry]:
        handle = folder.handle
        if handle is None:
            return
        telling: set[str] = set()
        ignored = folder.ignored.within(folder.inside) if folder.ignored else frozenset[str]()
        try:
            with os.scandir(handle) as entries:
                for entry in entries:
                    name = entry.name
                    if name in _OF_A_REPOSITORY:
                        telling.add(name)
                    if name in ignored:
                        self._skipped(IGNORED, folder.path.child(name))
                    elif entry.is_file(follow_symlinks=False):
                        yield Entry(handle, name, folder.path.child(name))
                    elif entry.is_dir(follow_symlinks=False):
                        folder.pending.append(name)
                    else:
                        self._skipped(LINK if entry.is_symlink() else SPECIAL, folder.path.child(name))
        except OSError:
            self._skipped(UNREADABLE, folder.path)
        if ".git" in telling:
            self._repository(folder.path)
        elif {"HEAD", "objects", "refs"} <= telling:
            if folder.path.name != ".git":
                self._repository(folder.path)
            # Packed content is read through git, on request, and is noise otherwise.
            folder.pending = [name for name in folder.pending if name != "objects"]

    def _opened(self, folder: _Folder, name: str) -> int | None:
        try:
            handle = os.open(name, FOLDER_FLAGS, dir_fd=folder.handle)
        except OSError as error:
            gone = error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)
            self._skipped(CHANGED if gone else UNREADABLE, folder.path.child(name))
            return None
        if _identity(handle)[0] != self._device:
            os.close(handle)
            self._skipped(ELSEWHERE, folder.path.child(name))
            return None
        return handle

    def _enter(self, folder: _Folder, name: str, handle: int) -> _Folder:
        inner = _Folder(handle, folder.path.child(name), folder.ignored, f"{folder.inside}/{name}".lstrip("/"))
        if self._ignoring and _holds_git(handle):
            inner.ignored, inner.inside = self._ignoring(inner.path), ""
        self._stack.append(inner)
        if len(self._stack) > _MOST_HANDLES:  # the first stays, to find back from
            _close(self._stack[max(1, len(self._stack) - _MOST_HANDLES)])
        return inner

    def _leave(self) -> None:
        """Close the last folder, having opened the one above again if its handle was given up."""
        folder = self._stack.pop()
        above = self._stack[-1] if self._stack else None
        if above is not None and above.handle is None:
            above.handle = self._by_parent(folder, above) or self._from_the_top(above)
            if above.handle is None:
                self._skipped(CHANGED, above.path)
                above.pending = []
        _close(folder)

    def _by_parent(self, folder: _Folder, above: _Folder) -> int | None:
        return _open_same("..", folder.handle, above.identity) if folder.handle is not None else None

    def _from_the_top(self, wanted: _Folder) -> int | None:
        """By name from the first folder; each on the way must be the one it was."""
        handle = self._stack[0].handle
        for step in self._stack[1:]:
            inner = _open_same(step.path.name, handle, step.identity) if handle is not None else None
            if handle is not None and handle != self._stack[0].handle:
                os.close(handle)
            handle = inner
            if step is wanted:
                break
        return handle


def _open_same(name: str, above: int, identity: tuple[int, int]) -> int | None:
    try:
        handle = os.open(name, FOLDER_FLAGS, dir_fd=above)
    except OSError:
        return None
    if _identity(handle) == identity:
        return handle
    os.close(handle)
    return None


def _holds_git(handle: int) -> bool:
    try:
        os.stat(".git", dir_fd=handle, follow_symlinks=False)
    except OSError:
        return False
    return True


def _close(folder: _Folder) -> None:
    if folder.handle is not None:
        os.close(folder.handle)
        folder.handle = None
