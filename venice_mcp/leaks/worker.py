"""One process of a scan: reads a job as JSON from standard input, writes what it finds as lines of JSON.

Being a process of its own, it can be ended at any moment, whatever a file system or a file does to it, and no found
secret ever is in the process of the server. Several share a job: all walk, each looks into its part of the files.
"""

import json
import os
import stat
import sys
import tempfile
import time
import zlib
from functools import partial
from typing import IO, Any, Final, NamedTuple

from venice_mcp.leaks import walking
from venice_mcp.leaks.content import CHUNK, is_binary, search
from venice_mcp.leaks.folders import FolderError, enclosing_repository, open_folder
from venice_mcp.leaks.git import Git, program
from venice_mcp.leaks.history import name_objects, search_objects
from venice_mcp.leaks.ignoring import Ignored, empty_git_dir, ignored
from venice_mcp.leaks.patterns import Hit, masked

LARGE: Final = "only the beginning was read"
_TICK_S: Final = 0.4
_EXAMPLES: Final = 3
_MOST_REPOSITORIES: Final = 50
_MOST_FOUND: Final = 20_000
_LONGEST_PATH: Final = 1000


class Job(NamedTuple):
    """What one process is to do.

    Attributes:
        part, parts: which share of the files is this process's.
        seconds, files, size, largest: bounds of time, files walked, bytes read here, bytes read of one file.
        salt: hexadecimal; the same in every part, so that equal secrets have equal digests.
    """

    folders: list[str]
    history: bool
    ignore: bool
    part: int
    parts: int
    seconds: float
    files: int
    size: int
    largest: int
    salt: str


class InObject(NamedTuple):
    """A key in an object of a repository, before the object's commit and path are known."""

    name: str
    kind: str
    hit: Hit
    line: int


class Stop(Exception):
    """A bound was reached; the text says which."""


class Worker:
    """Works one job off, telling what it finds as it goes."""

    def __init__(self, job: Job, output: IO[bytes]) -> None:
        self._job = job
        self._output = output
        self._salt = bytes.fromhex(job.salt)
        self._deadline = time.monotonic() + job.seconds
        self._told = time.monotonic()
        self._found: set[str] = set()
        self._skipped: dict[str, tuple[int, list[str]]] = {}
        self._repositories: list[str] = []
        self._git = program() if job.history or job.ignore else None
        self.walked = self.scanned = self.size = self.objects = self.count = 0
        self._scratch = ""

    def run(self) -> None:
        """Do it all; what is reached when a bound stops it has been told."""
        stopped, finished = "", list[str]()
        notes = list[str]()
        with tempfile.TemporaryDirectory() as scratch:
            if self._git is None and (self._job.history or self._job.ignore):
                notes.append("git was not found, so that neither history nor what it ignores could be looked at")
            elif self._job.ignore:
                self._scratch = empty_git_dir(scratch)
            try:
                for folder in self._job.folders:
                    self._scan(folder)
                    finished.append(folder)
                if self._job.history and self._git is not None:
                    self._search_repositories(notes)
            except Stop as stop:
                stopped = str(stop)
        self._tell(
            "end",
            stopped=stopped,
            finished=finished,
            notes=notes,
            skipped={reason: [count, *paths] for reason, (count, paths) in self._skipped.items()},
            repositories=len(self._repositories),
            **self._counts(),
        )

    def _scan(self, folder: str) -> None:
        try:
            handle = open_folder(folder)
        except FolderError as problem:
            self._skip(folder, str(problem), walking.Path(""))
            return
        if self._job.history and (above := enclosing_repository(folder)):
            self._add_repository(above)
        walk = walking.Walk(
            handle,
            skipped=partial(self._skip_once, folder),
            repository=lambda path: self._add_repository(os.path.join(folder, str(path))),
            ignoring=partial(self._ignored, folder) if self._scratch else None,
        )
        for entry in walk.files():
            self.walked += 1
            self._check()
            if self._job.parts == 1 or zlib.crc32(os.fsencode(entry.name)) % self._job.parts == self._job.part:
                self._look_into(folder, entry)

    def _look_into(self, folder: str, entry: walking.Entry) -> None:
        try:
            handle = os.open(entry.name, walking.FILE_FLAGS, dir_fd=entry.folder)
        except OSError:
            self._skip(folder, walking.UNREADABLE, entry.path)
            return
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                self._skip(folder, walking.CHANGED, entry.path)
                return
            self._read(folder, entry.path, handle, status.st_size)
        except OSError:
            self._skip(folder, walking.UNREADABLE, entry.path)
        finally:
            os.close(handle)

    def _read(self, folder: str, path: walking.Path, handle: int, size: int) -> None:
        beginning = os.read(handle, min(size + 1, CHUNK))
        if is_binary(beginning):
            self._skip(folder, walking.BINARY, path)
            return
        left = self._job.largest - len(beginning)

        def read(most: int) -> bytes:
            nonlocal left
            # Fewer than were asked for: that was the end, and a call less for each small file.
            if size == len(beginning) < CHUNK:
                return b""
            self._check()
            data = os.read(handle, max(0, min(most, left)))
            left -= len(data)
            self.size += len(data)
            return data

        self.size += len(beginning)
        search(beginning, read, partial(self._in_file, folder, path), self._salt)
        self.scanned += 1
        if left <= 0 < size - self._job.largest:
            self._skip(folder, LARGE, path)

    def _in_file(self, folder: str, path: walking.Path, hit: Hit, line: int) -> None:
        self._found.add(hit.digest)
        self._hit(hit, path=self._readable(os.path.join(folder, str(path))), line=line)

    def _hit(self, hit: Hit, **place: Any) -> None:
        self.count += 1
        if self.count <= _MOST_FOUND:
            self._tell("hit", kind=hit.kind, last6=hit.last6, also=hit.also, same=hit.digest, box=hit.sandbox, **place)

    # --- git ----------------------------------------------------------------------------------

    def _ignored(self, folder: str, path: walking.Path) -> Ignored | None:
        place = os.path.join(folder, str(path))
        if self._git is None:
            return None
        git = Git(self._git, place, self._deadline)
        if not git.is_usable():
            git = Git(self._git, place, self._deadline, git_dir=self._scratch)
        return ignored(git)

    def _add_repository(self, path: str) -> None:
        path = os.path.normpath(path)
        if self._job.history and path not in self._repositories and len(self._repositories) < _MOST_REPOSITORIES:
            self._repositories.append(path)

    def _search_repositories(self, notes: list[str]) -> None:
        for path in self._repositories:
            git = Git(self._git or "", path, self._deadline)
            if not git.is_usable():
                notes.append(f"git does not open {self._readable(path)} (broken, or another user's)")
            elif not self._search_repository(path, git):
                self._check()
                notes.append(f"git could not read all of {self._readable(path)}")

    def _search_repository(self, path: str, git: Git) -> bool:
        found: list[InObject] = []

        def note(name: str, kind: str, hit: Hit, line: int) -> None:
            if len(found) < _MOST_FOUND:
                found.append(InObject(name, kind, hit, line))

        job = self._job
        try:
            return search_objects(
                git,
                part=job.part,
                parts=job.parts,
                largest=job.largest,
                salt=self._salt,
                found=note,
                tick=self._tick,
            )
        finally:  # what was found until a bound was reached is told too
            blobs = {item.name for item in found if item.kind == "blob"}
            named = name_objects(git, blobs) if blobs else {}
            for item in found:
                self._in_object(path, item, named)

    def _tick(self, size: int) -> bool:
        self.objects += 1
        self.size += min(size, self._job.largest)
        self._check()
        return True

    def _in_object(self, repository: str, item: InObject, named: dict[str, tuple[str, str]]) -> None:
        self._found.add(item.hit.digest)
        commit, path = named.get(item.name, ("", f"(object {item.name[:12]}, in no commit that was found)"))
        if item.kind != "blob":
            commit, path = item.name, f"(message of this {item.kind})"
        place = self._readable(os.path.join(repository, path))
        self._hit(item.hit, path=place, line=item.line, commit=commit[:12] or item.name[:12])

    # --- bounds and telling -------------------------------------------------------------------

    def _check(self) -> None:
        now = time.monotonic()
        if now >= self._deadline:
            raise Stop("time")
        if self.walked > self._job.files:
            raise Stop("files")
        if self.size > self._job.size:
            raise Stop("bytes")
        if now - self._told >= _TICK_S:
            self._told = now
            self._tell("at", **self._counts())

    def _counts(self) -> dict[str, int]:
        return {
            "walked": self.walked,
            "scanned": self.scanned,
            "size": self.size,
            "objects": self.objects,
            "count": self.count,
        }

    def _skip_once(self, folder: str, reason: str, path: walking.Path) -> None:
        """What every part comes across is told by the first."""
        if self._job.part == 0:
            self._skip(folder, reason, path)

    def _skip(self, folder: str, reason: str, path: walking.Path) -> None:
        count, examples = self._skipped.get(reason, (0, []))
        if len(examples) < _EXAMPLES:
            examples.append(self._readable(os.path.join(folder, str(path)).rstrip("/")))
        self._skipped[reason] = count + 1, examples

    def _readable(self, path: str) -> str:
        """A path as text, without keys in it; what is not UTF-8 is written as escapes."""
        text = masked(os.fsencode(path).decode("utf-8", "backslashreplace"), self._found, self._salt)
        return text if len(text) <= _LONGEST_PATH else f"{text[:500]}...{text[-480:]}"

    def _tell(self, what: str, **members: Any) -> None:
        try:
            self._output.write(json.dumps({"what": what, **members}).encode() + b"\n")
            self._output.flush()
        except BrokenPipeError:  # nobody reads any more; no file is to be blamed for that
            os._exit(0)


def main() -> None:
    """Do the job on standard input."""
    Worker(Job(**json.loads(sys.stdin.buffer.read())), sys.stdout.buffer).run()


if __name__ == "__main__":
    main()
