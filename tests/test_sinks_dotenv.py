"""A .env file gets its variable whole or not at all, keeps what others write to it, and ends private."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("secrets go into no file and no command there", allow_module_level=True)

import ctypes
import fcntl
import os
import socket
import stat
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from venice_mcp.secrets import Destination, Prepared, Secret, SinkError, SinkLimits
from venice_mcp.secrets.delivery import holds, prepare

KEY = "VENICE_INFERENCE_KEY_mustNotLeak-0123456789abcdef2V2jNW"
NAME = "VENICE_API_KEY"
ANYWHERE = SinkLimits()
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away or mounting needs root")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def at(path: Path, variable: str = NAME) -> Destination:
    return Destination("dotenv", path=str(path), variable=variable)


def ready(path: Path, variable: str = NAME) -> Prepared:
    return prepare(at(path, variable), ANYWHERE)


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def refusal(path: Path, variable: str = NAME) -> str:
    before, listing = open_descriptors(), sorted(path.parent.iterdir()) if path.parent.is_dir() else None
    with pytest.raises(SinkError) as caught:
        ready(path, variable)
    assert open_descriptors() == before
    assert listing is None or sorted(path.parent.iterdir()) == listing
    return str(caught.value)


def failure(prepared: Prepared, secret: str = KEY) -> str:
    before = open_descriptors()
    with pytest.raises(SinkError) as caught:
        prepared.write(Secret(secret))
    error: BaseException | None = caught.value
    assert error is not None
    assert error.__context__ is None
    assert error.__cause__ is None
    assert "mustNotLeak" not in f"{error} {error.args!r}"
    assert open_descriptors() == before
    return str(error)


@pytest.mark.parametrize("name", [".env", ".env.local", "prod.env"])
def test_a_new_file_gets_the_variable_and_is_private(folder: Path, name: str) -> None:
    before = open_descriptors()
    prepared = ready(folder / name)
    assert prepared.notes == ()
    assert list(folder.iterdir()) == []
    prepared.write(Secret(KEY))
    prepared.discard()
    assert (folder / name).read_text() == f"{NAME}={KEY}\n"
    assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [name]
    assert open_descriptors() == before


def test_the_value_is_exchanged_and_all_else_stays(folder: Path) -> None:
    path = folder / ".env"
    path.write_bytes(b'# \xff\r\nexport VENICE_API_KEY = "old" # why\r\nB=1')
    path.chmod(0o644)
    prepared = ready(path)
    assert prepared.notes == ("its secret replaces the value there", "only its owner can read the file from then on")
    prepared.write(Secret(KEY))
    assert path.read_bytes() == b'# \xff\r\nexport VENICE_API_KEY = "%b" # why\r\nB=1' % KEY.encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_of_several_places_the_last_is_changed_and_that_is_told(folder: Path) -> None:
    path = folder / ".env"
    path.write_text(f"{NAME}=1\nB=2\n{NAME}=\nC=3\n")
    path.chmod(0o600)
    prepared = ready(path)
    assert prepared.notes == ("the file sets it more than once; the last place, which programs go by, is changed",)
    prepared.write(Secret(KEY))
    assert path.read_text() == f"{NAME}=1\nB=2\n{NAME}={KEY}\nC=3\n"


def test_nothing_is_left_of_a_preparation(folder: Path) -> None:
    prepared = ready(folder / ".env")
    prepared.discard()
    prepared.discard()
    assert list(folder.iterdir()) == []
    assert "already written or discarded" in failure(prepared)


def test_the_file_as_it_is_when_the_key_comes_is_edited(folder: Path) -> None:
    path = folder / ".env"
    path.write_text("A=1\n")
    prepared = ready(path)
    path.write_text("A=2\nB=3\n")
    prepared.write(Secret(KEY))
    assert path.read_text() == f"A=2\nB=3\n{NAME}={KEY}\n"


WRITER = """
import sys
from venice_mcp.secrets import Destination, Secret, SinkLimits
from venice_mcp.secrets.delivery import prepare
prepared = [prepare(Destination("dotenv", path=sys.argv[1], variable=name), SinkLimits()) for name in sys.argv[2:]]
print("ready", flush=True)
sys.stdin.readline()
for each, name in zip(prepared, sys.argv[2:]):
    each.write(Secret("value-of-" + name))
"""


def test_no_edit_of_many_processes_at_once_is_lost(folder: Path) -> None:
    path = folder / ".env"
    path.write_text("# kept\n")
    names = [[f"KEY_{process}_{number}" for number in range(5)] for process in range(8)]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), *each],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        for each in names
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        writer.communicate(b"go\n")
        assert writer.returncode == 0
    lines = path.read_text().splitlines()
    assert lines[0] == "# kept"
    assert sorted(lines[1:]) == sorted(f"{name}=value-of-{name}" for each in names for name in each)
    assert [each.name for each in folder.iterdir()] == [".env"]


def test_a_lock_that_is_never_given_back_is_not_waited_for_without_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("venice_mcp.secrets.exchange._PATIENCE_S", 0.1)
    prepared = ready(folder / ".env")
    holder = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert "keeps the folder" in failure(prepared)
        assert "keeps the folder" in refusal(folder / ".env")
    finally:
        os.close(holder)
    assert list(folder.iterdir()) == []


def test_what_a_crash_left_beside_the_file_is_removed(folder: Path) -> None:
    left = folder / ".env.venice-mcp-tmp"
    left.write_text("half a secret")
    ready(folder / "prod.env").write(Secret(KEY))
    assert [path.name for path in folder.iterdir()] == ["prod.env"]
    assert "is not called" in refusal(left)


# --- refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [".bashrc", "env", ".envrc", "..env", ".env.", ".environment", "x.env.bak", ".env..", "a b.env"]
)
def test_a_file_by_another_name_is_not_edited(folder: Path, name: str) -> None:
    (folder / name).write_text("precious")
    assert "is not called .env, .env.NAME or NAME.env" in refusal(folder / name)


@pytest.mark.parametrize("variable", ["", "1A", "A-B", "A B", "A=B", "É", "A" * 65, "A\n", "-x"])
def test_a_variable_that_is_no_name_is_refused(folder: Path, variable: str) -> None:
    assert "is not a name of" in refusal(folder / ".env", variable) or variable == ""


def test_a_key_pasted_as_variable_is_refused_and_not_repeated(folder: Path) -> None:
    assert refusal(folder / ".env", KEY.replace("-", "_")).startswith("the variable looks like a key")


def test_a_symbolic_link_is_refused(folder: Path) -> None:
    (folder / "elsewhere").write_text("precious")
    (folder / ".env").symlink_to(folder / "elsewhere")
    assert "symbolic link" in refusal(folder / ".env")
    (folder / "prod.env").symlink_to(folder / "nowhere")
    assert "symbolic link" in refusal(folder / "prod.env")


def test_what_is_no_plain_file_is_refused_without_waiting_for_it(folder: Path) -> None:
    os.mkfifo(folder / ".env")
    (folder / "a.env").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "b.env"))
        for name in (".env", "a.env", "b.env"):
            assert "is not a plain file" in refusal(folder / name)


@AS_ROOT
def test_a_device_is_refused(folder: Path) -> None:
    os.mknod(folder / ".env", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert "is not a plain file" in refusal(folder / ".env")


def test_a_file_with_two_names_is_refused(folder: Path) -> None:
    (folder / ".env").write_text("A=1\n")
    (folder / "other").hardlink_to(folder / ".env")
    assert "hard links" in refusal(folder / ".env")


@AS_ROOT
def test_a_file_of_another_user_is_refused(folder: Path) -> None:
    (folder / ".env").write_text("A=1\n")
    os.chown(folder / ".env", 12345, -1)
    assert "belongs to another user" in refusal(folder / ".env")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(folder: Path, mode: int) -> None:
    (folder / ".env").write_text("A=1\n")
    folder.chmod(mode)
    assert "others may write" in refusal(folder / ".env")


def test_a_file_that_is_too_large_or_ambiguous_is_refused(folder: Path) -> None:
    (folder / ".env").write_bytes(b"#" * (1 << 20))
    ready(folder / ".env").write(Secret(KEY))
    assert len((folder / ".env").read_bytes()) == (1 << 20) + len(f"\n{NAME}={KEY}\n")
    (folder / ".env").write_bytes(b"#" * (1 << 20) + b"#")
    assert "larger than 1 MiB" in refusal(folder / ".env")
    (folder / ".env").write_text("A='never closed\n")
    assert "cannot be edited: line 1 begins a quote" in refusal(folder / ".env")


def test_a_missing_folder_is_refused(folder: Path) -> None:
    assert "No such file" in refusal(folder / "none" / ".env")


@pytest.mark.parametrize("secret", ["", f"{KEY} ", f"{KEY}\nA=1", f"{KEY}#", f"{KEY}'", f"{KEY}$x", f"{KEY}\ud800"])
def test_a_secret_that_would_break_the_line_is_refused(folder: Path, secret: str) -> None:
    (folder / ".env").write_text("A=1\n")
    message = failure(ready(folder / ".env"), secret)
    assert "could not hold safely" in message or "not valid text" in message
    assert (folder / ".env").read_text() == "A=1\n"


# --- changed between check and write ---------------------------------------------------------------


def test_a_link_put_in_its_place_is_not_followed(folder: Path) -> None:
    path, target = folder / ".env", folder / "target"
    path.write_text("A=1\n")
    prepared = ready(path)
    path.rename(target)
    path.symlink_to(target)
    assert "symbolic link" in failure(prepared)
    assert target.read_text() == "A=1\n"


def test_a_folder_put_in_its_place_is_noticed(folder: Path) -> None:
    place = folder / "project"
    place.mkdir(0o700)
    prepared = ready(place / ".env")
    place.rename(folder / "moved")
    place.mkdir(0o700)
    assert "another folder took the place" in failure(prepared)
    assert list(place.iterdir()) == list((folder / "moved").iterdir()) == []


def test_a_folder_that_vanished_or_was_opened_to_others_is_noticed(folder: Path) -> None:
    place = folder / "project"
    place.mkdir(0o700)
    prepared, second = ready(place / ".env"), ready(place / ".env")
    place.chmod(0o777)
    assert "others may write" in failure(prepared)
    place.rmdir()
    assert "No such file" in failure(second)


def test_a_file_that_became_ambiguous_is_left_as_it_is(folder: Path) -> None:
    path = folder / ".env"
    prepared = ready(path)
    path.write_text('A="never closed\n')
    assert "line 1 begins a quote" in failure(prepared)
    assert path.read_text() == 'A="never closed\n'


SWAPPER = """
import os, sys
from venice_mcp.secrets import Destination, Secret, SinkError, SinkLimits
from venice_mcp.secrets.delivery import prepare
path, act = sys.argv[1], sys.argv[2]
prepared = prepare(Destination("dotenv", path=path, variable="A"), SinkLimits())
done = []
def watch(event, args):
    # Between the last look at the file and what comes after it.
    if event == "os.rename" and act == "after" and not done:
        done.append(1)
        os.rename(os.path.dirname(path), os.path.dirname(path) + "-moved")
        os.mkdir(os.path.dirname(path), 0o700)
        if "lookalike" in sys.argv:
            with open(path, "w") as file:
                file.write("C=3\\n")
    if event == "open" and str(args[0]).endswith("-tmp") and act == "before" and not done:
        done.append(1)
        with open(path, "w") as file:
            file.write("B=2\\n")
sys.addaudithook(watch)
try:
    prepared.write(Secret("mustNotLeak-0123456789"))
except SinkError as error:
    print(error)
"""


def run_swapper(path: Path, *acts: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", SWAPPER, str(path), *acts],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    ).stdout


def test_what_another_program_writes_during_the_edit_is_kept(folder: Path) -> None:
    (folder / ".env").write_text("B=1\n")
    assert run_swapper(folder / ".env", "before") == ""
    assert (folder / ".env").read_text() == "B=2\nA=mustNotLeak-0123456789\n"


@pytest.mark.parametrize("existing", [None, "A=old\n"])
@pytest.mark.parametrize(("act", "problem"), [("", "No such file"), ("lookalike", "another folder took the place")])
def test_a_secret_that_went_to_a_folder_that_was_moved_is_taken_back(
    folder: Path, existing: str | None, act: str, problem: str
) -> None:
    place = folder / "project"
    place.mkdir(0o700)
    if existing is not None:
        (place / ".env").write_text(existing)
    output = run_swapper(place / ".env", "after", act)
    assert problem in output
    assert "mustNotLeak" not in output
    moved = folder / "project-moved"
    assert {path.name: path.read_text() for path in moved.iterdir()} == ({".env": existing} if existing else {})
    assert {path.name: path.read_text() for path in place.iterdir()} == ({".env": "C=3\n"} if act else {})


# --- disks -----------------------------------------------------------------------------------------


@contextmanager
def small_disk(at: Path) -> Generator[Path]:
    libc = ctypes.CDLL(None, use_errno=True)
    at.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(at), b"tmpfs", 0, b"size=64k,mode=700") != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield at
    finally:
        libc.umount2(os.fsencode(at), 2)


def fill(disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (disk / "filler").write_bytes(bytes(1 << 20))


@AS_ROOT
@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_a_full_disk_is_noticed_before_there_is_a_key(folder: Path) -> None:
    with small_disk(folder / "disk") as disk:
        (disk / ".env").write_text("A=1\n")
        fill(disk)
        assert "No space left" in refusal(disk / ".env")
        assert (disk / ".env").read_text() == "A=1\n"


@AS_ROOT
@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_a_disk_that_fills_up_later_leaves_the_file_as_it_was(folder: Path) -> None:
    with small_disk(folder / "disk") as disk:
        (disk / ".env").write_text("A=1\n")
        prepared = ready(disk / ".env")
        fill(disk)
        assert "No space left" in failure(prepared)
        assert (disk / ".env").read_text() == "A=1\n"
        assert sorted(path.name for path in disk.iterdir()) == [".env", "filler"]


@AS_ROOT
@pytest.mark.skipif(sys.platform != "linux", reason="bind mounts are Linux's")
def test_a_file_that_is_mounted_by_itself_is_refused(folder: Path) -> None:
    with small_disk(folder / "disk") as disk:
        (disk / "source").write_text("A=1\n")
        (folder / ".env").touch()
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mount(os.fsencode(disk / "source"), os.fsencode(folder / ".env"), None, 4096, None) == 0
        try:
            assert "mounted by itself" in refusal(folder / ".env")
        finally:
            libc.umount2(os.fsencode(folder / ".env"), 2)


# --- afterwards ------------------------------------------------------------------------------------


def test_whether_the_secret_arrived_can_be_told_later(folder: Path) -> None:
    path = folder / ".env"
    assert holds(at(path), ANYWHERE, "2V2jNW") is False
    ready(path).write(Secret(KEY))
    assert holds(at(path), ANYWHERE, "2V2jNW") is True
    assert holds(at(path), ANYWHERE, "3V3jNW") is False
    assert holds(at(path, "OTHER"), ANYWHERE, "2V2jNW") is False
    assert holds(at(path), ANYWHERE, "") is None
    assert holds(at(path), SinkLimits(folders=("/nowhere",)), "2V2jNW") is None
    path.write_text(f"{NAME}=`{KEY}`\n")
    assert holds(at(path), ANYWHERE, "2V2jNW") is None
