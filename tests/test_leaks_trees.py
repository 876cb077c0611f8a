"""Scans of real folders, hostile ones too: what is found, what is left out and said, and that every scan ends."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("nothing is scanned there", allow_module_level=True)

import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio

from tests.test_bad_input import OLD_KEY, OTHER_KEY
from tests.test_leaks_patterns import WALLET_KEY
from venice_mcp.leaks.folders import FolderError, open_folder
from venice_mcp.leaks.scanning import Outcome, Progress, Request, scan
from venice_mcp.leaks.walking import CHANGED, IGNORED, LINK, SPECIAL, UNREADABLE, Walk

LAST6 = OTHER_KEY[-6:]


async def silence(progress: Progress) -> None:
    pass


def scanned(*folders: Path, **options: object) -> Outcome:
    request = replace(Request(tuple(map(str, folders))), **options)  # pyright: ignore[reportArgumentType]
    return anyio.run(scan, request, silence)


def places(outcome: Outcome, root: Path) -> list[tuple[str, int]]:
    return [(os.path.relpath(item.path, root), item.line) for item in outcome.found]


def test_keys_are_found_in_every_kind_of_file_and_the_same_key_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".env").write_text(f"X=1\nVENICE_API_KEY={OLD_KEY}\n")
    (tmp_path / "a" / "n.ipynb").write_text(f'{{"s": ["VENICE_API_KEY = \\"{OLD_KEY}\\"\\n"]}}')
    (tmp_path / "key.txt").write_text(f"{OTHER_KEY}\nPRIVATE_KEY={WALLET_KEY}")
    outcome = scanned(tmp_path)
    assert places(outcome, tmp_path) == [("a/.env", 2), ("a/n.ipynb", 1), ("key.txt", 1), ("key.txt", 2)]
    assert [item.kind for item in outcome.found] == ["unprefixed", "unprefixed", "INFERENCE", "wallet"]
    assert len({item.same for item in outcome.found}) == 3
    assert (outcome.stopped, outcome.finished, outcome.progress.scanned) == ("", [str(tmp_path)], 3)
    for secret in (OLD_KEY, OTHER_KEY, WALLET_KEY):
        assert secret[-8:] not in repr(outcome)


def test_links_fifos_sockets_and_binaries_are_left_out_and_said(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "key").write_text(OTHER_KEY)
    root = tmp_path / "root"
    root.mkdir()
    os.mkfifo(root / "fifo")
    (root / "loop").symlink_to(root)
    (root / "file-link").symlink_to(outside / "key")
    (root / "folder-link").symlink_to(outside)
    (root / "dangling").symlink_to("nowhere")
    (root / "binary").write_bytes(b"\x7fELF\0\0" + OTHER_KEY.encode())
    (root / "good").write_text(OTHER_KEY)
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(root, os.O_RDONLY)  # the name of a socket must be short
        try:
            listening.bind(f"/proc/self/fd/{here}/socket" if os.path.isdir("/proc/self/fd") else "socket")
        finally:
            os.close(here)
        outcome = scanned(root)
    assert places(outcome, root) == [("good", 1)]
    counts = {reason: count for reason, (count, _) in outcome.skipped.items()}
    assert counts == {LINK: 4, SPECIAL: 2, "binary": 1}


def test_unreadable_files_and_folders_are_counted_and_the_rest_is_scanned(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "file").write_text(OTHER_KEY)
    (tmp_path / "file").chmod(0)
    if os.access(tmp_path / "file", os.R_OK):
        pytest.skip("root reads everything")
    (tmp_path / "good").write_text(OTHER_KEY)
    try:
        outcome = scanned(tmp_path)
    finally:
        (tmp_path / "closed").chmod(stat.S_IRWXU)
    assert places(outcome, tmp_path) == [("good", 1)]
    assert outcome.skipped[UNREADABLE][0] == 2


def test_folders_nested_deeper_than_any_path_may_be_long_are_scanned_to_the_bottom(tmp_path: Path) -> None:
    depth, name = 1500, "deep-folder"
    handle = os.open(tmp_path, os.O_RDONLY)
    for level in range(depth):
        os.mkdir(name, dir_fd=handle)
        inner = os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
        if level in (40, depth - 1):
            with open(os.open("key", os.O_WRONLY | os.O_CREAT, dir_fd=handle), "w") as file:
                file.write(OTHER_KEY)
    os.close(handle)
    (tmp_path / "last").write_text(OTHER_KEY)
    try:
        outcome = scanned(tmp_path)
    finally:
        subprocess.run([shutil.which("rm") or "rm", "-rf", str(tmp_path / name)], check=True)
    assert [item.last6 for item in outcome.found] == [LAST6] * 3
    assert all(len(item.path) <= 1000 for item in outcome.found)
    assert not outcome.skipped


def test_names_that_are_no_utf_8_and_names_that_are_keys_are_told_harmlessly(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/odd-\xff\xfe.txt"
    with open(odd, "w") as file:
        file.write(OTHER_KEY)
    (tmp_path / f"{OTHER_KEY}.txt").write_text(OTHER_KEY)
    (tmp_path / OLD_KEY).write_text(f"VENICE_API_KEY={OLD_KEY}")
    outcome = scanned(tmp_path)
    assert places(outcome, tmp_path) == [("(key)", 1), ("(key).txt", 1), ("odd-\\xff\\xfe.txt", 1)]


@pytest.fixture
def swapped(tmp_path: Path) -> Callable[[Path], None]:
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "stolen").write_text("x")

    def swap(folder: Path) -> None:
        folder.rename(folder.with_name("moved"))
        folder.symlink_to(outside)

    return swap


def test_a_folder_swapped_for_a_link_during_the_walk_leads_nowhere(
    tmp_path: Path, swapped: Callable[[Path], None]
) -> None:
    root = tmp_path / "root"
    (root / "folder" / "inner").mkdir(parents=True)
    (root / "first").write_text("x")
    skipped: list[tuple[str, str]] = []
    walk = Walk(
        open_folder(str(root)),
        skipped=lambda reason, path: skipped.append((reason, str(path))),
        repository=lambda path: None,
    )
    seen: list[str] = []
    for entry in walk.files():
        seen.append(entry.name)
        if entry.name == "first":
            swapped(root / "folder")
    assert seen == ["first"]
    assert skipped in ([(CHANGED, "folder")], [])


def test_a_walk_keeps_few_handles_however_deep_it_goes(tmp_path: Path) -> None:
    bottom = tmp_path.joinpath(*["d"] * 120)
    bottom.mkdir(parents=True)
    (bottom / "file").write_text("x")
    before = len(os.listdir("/dev/fd"))
    most = 0
    walk = Walk(open_folder(str(tmp_path)), skipped=lambda reason, path: None, repository=lambda path: None)
    for _ in walk.files():
        most = max(most, len(os.listdir("/dev/fd")) - before)
    assert 1 < most <= 40
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="only Linux tells")
@pytest.mark.parametrize("path", ["/proc", "/proc/1", "/sys"])
def test_file_systems_that_hold_no_files_are_refused(path: str) -> None:
    with pytest.raises(FolderError, match="made up"):
        open_folder(path)


def test_a_file_a_link_and_nothing_are_no_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    for name, problem in {"file": "not a folder", "link": "symbolic link", "none": "does not exist"}.items():
        with pytest.raises(FolderError, match=problem):
            open_folder(str(tmp_path / name))


# --- bounds ----------------------------------------------------------------------------------------


def many(folder: Path, count: int, content: str = "x") -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:05}").write_text(content)


def test_a_bound_on_files_bytes_or_time_stops_the_scan_and_is_told(tmp_path: Path) -> None:
    many(tmp_path / "a", 30, "y" * 1000)
    many(tmp_path / "b", 30, "y" * 1000)
    folders = (tmp_path / "a", tmp_path / "b")
    assert scanned(*folders).finished == [str(folder) for folder in folders]
    by_files = scanned(*folders, files=40)
    assert (by_files.stopped, by_files.finished) == ("files", [str(tmp_path / "a")])
    by_bytes = scanned(*folders, size=10_000)
    assert (by_bytes.stopped, by_bytes.finished) == ("bytes", [])
    by_time = scanned(*folders, seconds=0.0)
    assert (by_time.stopped, by_time.finished) == ("time", [])


def test_of_a_file_that_is_too_large_the_beginning_is_read_and_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "large").write_text(OTHER_KEY + "\n" + "x" * 600_000 + OLD_KEY + f"\nVENICE_KEY={OLD_KEY}")
    outcome = scanned(tmp_path, largest=300_000)
    assert places(outcome, tmp_path) == [("large", 1)]
    assert outcome.skipped["only the beginning was read"] == (1, [str(tmp_path / "large")])
    assert len(scanned(tmp_path).found) == 2


def test_progress_is_told_during_a_scan(tmp_path: Path) -> None:
    many(tmp_path / "a", 3)
    told: list[int] = []

    async def report(progress: Progress) -> None:
        told.append(progress.scanned)

    anyio.run(scan, Request((str(tmp_path),)), report)
    assert told[-1] == 3


def children() -> set[int]:
    command = [shutil.which("ps") or "ps", "-A", "-o", "pid=,ppid=,args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return {int(row[0]) for row in rows if row[1] == str(os.getpid()) and len(row) == 3 and "leaks.worker" in row[2]}


def test_a_cancelled_scan_leaves_no_process_behind(tmp_path: Path) -> None:
    many(tmp_path / "a", 3)

    async def cancelled() -> float:
        with anyio.CancelScope() as scope:

            async def stop(progress: Progress) -> None:
                scope.cancel()
                await anyio.sleep_forever()

            await scan(Request((str(tmp_path),)), stop)
        assert scope.cancelled_caught
        return time.monotonic()

    anyio.run(cancelled)
    assert children() == set()


def test_a_worker_that_dies_is_told_as_a_failure(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    many(tmp_path / "a", 3)
    killed: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 20
        while not killed and time.monotonic() < until:
            for pid in children():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    outcome = scanned(tmp_path)
    thread.join()
    assert killed
    assert (outcome.stopped, outcome.finished) == ("failure", [])


# --- git -------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *who, *arguments]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A key was committed in `sub/old.py`, line 2, and taken out again."""
    root = tmp_path / "repository"
    (root / "sub").mkdir(parents=True)
    git(root, "init", "-q")
    (root / "sub" / "old.py").write_text(f"a\nkey = '{OTHER_KEY}'\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "one")
    (root / "sub" / "old.py").write_text("a\n")
    git(root, "commit", "-q", "-am", "two")
    return root


def test_history_is_read_on_request_only_and_names_commit_and_path(repository: Path) -> None:
    first = git(repository, "rev-list", "--max-parents=0", "HEAD")
    assert scanned(repository).found == []
    for folder in (repository, repository / "sub", repository.parent):
        outcome = scanned(folder, git_history=True)
        assert [(os.path.relpath(i.path, repository), i.line, i.commit) for i in outcome.found] == [
            ("sub/old.py", 2, first[:12])
        ]
        assert outcome.repositories == 1
        assert not outcome.stopped


def test_messages_dropped_commits_packs_and_bare_repositories_are_read_too(repository: Path) -> None:
    git(repository, "commit", "-q", "--allow-empty", "-m", f"oops\n\nVENICE_API_KEY={OLD_KEY}")
    git(repository, "tag", "-a", "v1", "-m", f"PRIVATE_KEY={WALLET_KEY}", "HEAD~1")
    git(repository, "reset", "-q", "--hard", "HEAD~1")
    bare = repository.parent / "bare"
    git(repository.parent, "clone", "-q", "--bare", "--no-local", str(repository), str(bare))
    git(repository, "gc", "-q")
    kinds = {item.kind for item in scanned(repository, git_history=True).found if item.commit}
    assert kinds == {"INFERENCE", "unprefixed", "wallet"}
    assert {item.kind for item in scanned(bare, git_history=True).found} == {"INFERENCE", "wallet"}


def test_a_hostile_repository_makes_git_run_nothing_and_write_nothing(repository: Path) -> None:
    ran = repository.parent / "ran"
    evil = repository.parent / "evil"
    evil.write_text(f"#!/bin/sh\necho ran >> {ran}\n")
    evil.chmod(0o755)
    names = (
        "core.fsmonitor core.pager core.editor core.sshCommand core.alternateRefsCommand core.gitProxy diff.external"
        " gpg.program credential.helper filter.x.clean filter.x.smudge filter.x.process diff.x.textconv diff.x.command"
        " interactive.diffFilter uploadpack.packObjectsHook remote.origin.uploadpack"
    )
    for name in names.split():
        git(repository, "config", name, str(evil))
    git(repository, "config", "log.showSignature", "true")
    git(repository, "config", "remote.origin.url", f"ext::{evil}")
    git(repository, "config", "remote.origin.promisor", "true")
    git(repository, "config", "extensions.partialClone", "origin")
    git(repository, "config", "core.hooksPath", str(repository.parent / "hooks"))
    hooks = repository.parent / "hooks"
    hooks.mkdir()
    for hook in ("post-index-change", "reference-transaction", "pre-auto-gc"):
        (hooks / hook).symlink_to(evil)
    (repository / ".gitattributes").write_text("* filter=x diff=x\n")
    (repository / ".git" / "info" / "attributes").write_text("* filter=x diff=x\n")
    ran.unlink(missing_ok=True)
    # An object is missing, which a partial clone would fetch.
    blob = next(line for line in git(repository, "rev-list", "--objects", "--all").splitlines() if "old.py" in line)
    missing = repository / ".git" / "objects" / blob[:2] / blob[2:40]
    missing.unlink()
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    outcome = scanned(repository, git_history=True, respect_gitignore=True)
    assert outcome.progress.objects > 0
    assert not ran.exists()
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


def test_what_git_ignores_is_left_out_on_request_but_never_a_file_it_tracks(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    (root / "build" / "deep").mkdir(parents=True)
    git(tmp_path, "init", "-q", str(root))
    for name in (".env", "tracked.env", "build/deep/out", "seen"):
        (root / name).write_text(OTHER_KEY)
    git(root, "add", "-f", "tracked.env")
    (root / ".gitignore").write_text("*.env\n.env\nbuild/\n")
    assert len(scanned(root).found) == 4
    outcome = scanned(root, respect_gitignore=True)
    assert places(outcome, root) == [("seen", 1), ("tracked.env", 1)]
    assert outcome.skipped[IGNORED][0] == 2
    # Whoever names an ignored folder means it.
    assert places(scanned(root / "build", respect_gitignore=True), root) == [("build/deep/out", 1)]
    nested = scanned(tmp_path, respect_gitignore=True)
    assert places(nested, root) == [("seen", 1), ("tracked.env", 1)]


def test_gitignore_counts_outside_of_a_repository_too(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / ".gitignore").write_text("secret*\n!secret-not\n")
    (tmp_path / "inner" / ".gitignore").write_text("more\n")
    for name in ("secret", "secret-not", "inner/more", "inner/secret", "inner/seen"):
        (tmp_path / name).write_text(OTHER_KEY)
    outcome = scanned(tmp_path, respect_gitignore=True)
    assert places(outcome, tmp_path) == [("inner/seen", 1), ("secret-not", 1)]


def test_without_git_the_files_are_scanned_and_what_was_not_done_is_said(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (repository / "now").write_text(OTHER_KEY)
    empty = tmp_path / "no-programs"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    outcome = scanned(repository, git_history=True, respect_gitignore=True)
    assert places(outcome, repository) == [("now", 1)]
    assert "git was not found" in outcome.notes[0]


def test_a_repository_that_git_does_not_open_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken" / ".git").mkdir(parents=True)
    outcome = scanned(tmp_path, git_history=True)
    assert outcome.notes == [f"git does not open {tmp_path / 'broken'} (broken, or another user's)"]
