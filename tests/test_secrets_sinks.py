"""A secret file is private, new and verified, or the caller hears about it and nothing is left behind."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("secrets go into no file and no command there", allow_module_level=True)

import ctypes
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from venice_mcp.secrets import Destination, FileSink, Secret, SinkError, SinkLimits
from venice_mcp.secrets.saved import clear_leftover, completed

KEY = "VENICE_ADMIN_KEY_mustNotLeak-0123456789abcdefghi2V2jNW"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture(params=[0o000, 0o022, 0o777])
def any_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def refusal(path: str) -> str:
    before = open_descriptors()
    with pytest.raises(SinkError) as caught:
        FileSink.prepare(path)
    assert "mustNotLeak" not in str(caught.value)
    assert open_descriptors() == before
    return str(caught.value)


@pytest.mark.usefixtures("any_umask")
def test_the_secret_is_alone_in_a_file_only_its_owner_can_read(folder: Path) -> None:
    before = open_descriptors()
    path = folder / "key"
    with FileSink.prepare(str(path)) as prepared:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert prepared.path == str(path)
        prepared.write(Secret(KEY))
    assert path.read_bytes() == f"{KEY}\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_descriptors() == before


def test_the_home_folder_may_be_written_as_a_tilde(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    with FileSink.prepare("~/key") as prepared:
        assert prepared.path == str(folder / "key")


def test_a_file_that_exists_is_never_overwritten(folder: Path) -> None:
    (folder / "key").write_text("precious")
    assert "already exists" in refusal(str(folder / "key"))
    assert (folder / "key").read_text() == "precious"


@pytest.mark.parametrize("target", ["elsewhere", "missing"])
def test_a_symbolic_link_is_refused(folder: Path, target: str) -> None:
    (folder / "elsewhere").write_text("precious")
    (folder / "key").symlink_to(folder / target)
    assert "already exists" in refusal(str(folder / "key"))
    assert (folder / "elsewhere").read_text() == "precious"
    assert not (folder / "missing").exists()


def test_a_pipe_or_device_is_refused_without_waiting_for_it(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert "already exists" in refusal(str(folder / "pipe"))
    assert "already exists" in refusal("/dev/null") or os.geteuid() != 0


def test_a_missing_folder_or_a_file_as_folder_is_refused(folder: Path) -> None:
    (folder / "file").write_text("")
    assert "No such file" in refusal(str(folder / "none" / "key"))
    assert "Not a directory" in refusal(str(folder / "file" / "key"))
    assert "too long" in refusal(str(folder / ("k" * 300)))
    assert not (folder / "none").exists()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    assert "others may write" in refusal(str(folder / "key"))
    assert list(folder.iterdir()) == []


def test_a_sticky_folder_of_a_trusted_owner_is_accepted(folder: Path) -> None:
    folder.chmod(0o1777)
    with FileSink.prepare(str(folder / "key")) as prepared:
        prepared.write(Secret(KEY))
    assert (folder / "key").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder away needs root")
def test_a_sticky_folder_of_someone_else_is_refused(folder: Path) -> None:
    folder.chmod(0o1777)
    os.chown(folder, 12345, -1)
    assert "others may write" in refusal(str(folder / "key"))


@pytest.mark.parametrize(
    "path",
    ["key", "./key", "", "/", "/..", "/.", "/a\nb", "/a\0b", "/\udc80", "/a\u202eb"],
)
def test_a_path_that_names_no_absolute_printable_file_is_refused(path: str) -> None:
    assert refusal(path).isprintable()


def test_a_key_pasted_as_path_is_refused_and_not_repeated() -> None:
    assert "contains a key" in refusal(KEY)
    assert "contains a key" in refusal(f"/tmp/{KEY}")  # noqa: S108


def test_a_file_that_was_prepared_but_not_written_is_removed(folder: Path) -> None:
    with pytest.raises(RuntimeError), FileSink.prepare(str(folder / "key")):
        raise RuntimeError
    prepared = FileSink.prepare(str(folder / "key"))
    prepared.discard()
    prepared.discard()
    assert list(folder.iterdir()) == []
    with pytest.raises(SinkError, match="already written or discarded"):
        prepared.write(Secret(KEY))


def test_a_written_secret_is_not_discarded_by_a_clean_up(folder: Path) -> None:
    prepared = FileSink.prepare(str(folder / "key"))
    prepared.write(Secret(KEY))
    prepared.discard()
    assert (folder / "key").read_text() == f"{KEY}\n"
    with pytest.raises(SinkError, match="already written or discarded"):
        prepared.write(Secret(KEY))


def test_a_file_put_in_its_place_is_noticed_and_left_alone(folder: Path) -> None:
    prepared = FileSink.prepare(str(folder / "key"))
    (folder / "key").rename(folder / "taken")
    (folder / "key").write_text("someone else's")
    with pytest.raises(SinkError, match="another file took its place") as caught:
        prepared.write(Secret(KEY))
    assert "mustNotLeak" not in str(caught.value)
    assert (folder / "key").read_text() == "someone else's"
    assert (folder / "taken").read_text() == ""


def test_a_file_that_was_removed_or_opened_to_others_is_noticed(folder: Path) -> None:
    prepared = FileSink.prepare(str(folder / "key"))
    (folder / "key").unlink()
    with pytest.raises(SinkError, match="No such file"):
        prepared.write(Secret(KEY))
    prepared = FileSink.prepare(str(folder / "key"))
    (folder / "key").chmod(0o644)
    with pytest.raises(SinkError, match="permissions were changed"):
        prepared.write(Secret(KEY))
    assert list(folder.iterdir()) == []


def test_a_secret_that_is_no_text_is_refused_without_a_trace_in_the_exception(folder: Path) -> None:
    prepared = FileSink.prepare(str(folder / "key"))
    with pytest.raises(SinkError, match="not valid text") as caught:
        prepared.write(Secret(f"{KEY}\ud800"))
    assert caught.value.__context__ is None
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting needs root on Linux")
def test_a_full_disk_is_noticed_before_there_is_a_key(folder: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    disk = folder / "disk"
    disk.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", 0, b"size=64k,mode=700") != 0:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(OSError, match="No space"):
            (disk / "filler").write_bytes(bytes(1 << 20))
        assert "No space left" in refusal(str(disk / "key"))
        assert [entry.name for entry in disk.iterdir()] == ["filler"]
    finally:
        libc.umount2(os.fsencode(disk), 2)


@pytest.mark.parametrize("limited", ["before", "after"])
def test_a_write_that_the_system_cuts_short_leaves_nothing(folder: Path, limited: str) -> None:
    code = f"""
import resource, sys
from venice_mcp.secrets import Destination, FileSink, Secret, SinkError, SinkLimits
from venice_mcp.secrets.saved import clear_leftover, completed
limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    if {limited == "before"}: limit()
    prepared = FileSink.prepare(sys.argv[1])
    limit()
    prepared.write(Secret(sys.argv[2]))
except SinkError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "key"), KEY],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert "File too large" in done.stdout
    assert "mustNotLeak" not in done.stdout + done.stderr
    assert list(folder.iterdir()) == []


def test_only_a_file_that_nobody_is_about_to_write_is_a_leftover_to_be_removed(folder: Path) -> None:
    path = folder / "key"
    place = Destination("file", str(path))
    with FileSink.prepare(str(path)) as prepared:
        clear_leftover(place)
        prepared.write(Secret(KEY))
    clear_leftover(place)
    assert path.read_bytes() == f"{KEY}\n".encode()
    # What a process leaves that is killed before it had a secret: the space reserved, and no lock.
    path.write_bytes(b"\0" * 4096)
    clear_leftover(place)
    assert not path.exists()
    clear_leftover(place)


@pytest.mark.parametrize(
    "data", [f"{KEY}\n".encode(), KEY.encode() + b"\0" * 9, b"\0" * 9, b"x\0" + KEY.encode() + b"\n\0"]
)
def test_a_delivery_is_completed_only_if_its_last_cut_is_all_that_is_missing(folder: Path, data: bytes) -> None:
    path = folder / "key"
    place, limits = Destination("file", str(path)), SinkLimits()
    path.touch(0o600)
    path.write_bytes(data)
    assert not completed(place, limits, KEY[-6:])
    assert path.read_bytes() == data
    path.write_bytes(f"{KEY}\n".encode() + b"\0" * 4000)
    assert not completed(place, limits, "others")
    assert completed(place, limits, KEY[-6:])
    assert path.read_bytes() == f"{KEY}\n".encode()
