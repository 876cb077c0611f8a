"""A CSV or JSON file takes one key after the other: every entry once, none replaced, and the file stays private."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("secrets go into no file and no command there", allow_module_level=True)

import csv
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Literal

from hypothesis import example, given
from hypothesis import strategies as st

from tests.test_sinks_dotenv import AS_ROOT, failure, fill, small_disk
from venice_mcp.secrets import Destination, Prepared, Secret, SinkError, SinkLimits
from venice_mcp.secrets.delivery import described, holds, leftover, prepare

KEY = "VENICE_INFERENCE_KEY_mustNotLeak-0123456789abcdef2V2jNW"
OLD = "VENICE_INFERENCE_KEY_mustNotLeak-of-somebody-else-3V3jNW"
ANYWHERE = SinkLimits()
Kind = Literal["csv", "json"]
kinds = pytest.mark.parametrize("kind", ["csv", "json"])
FORMULA = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def at(path: Path, entry: str = "app") -> Destination:
    return Destination("csv" if path.suffix == ".csv" else "json", path=str(path), entry=entry)


def ready(path: Path, entry: str = "app") -> Prepared:
    return prepare(at(path, entry), ANYWHERE)


def refusal(path: Path, entry: str = "app", limits: SinkLimits = ANYWHERE) -> str:
    before = look(path.parent)
    with pytest.raises(SinkError) as caught:
        prepare(at(path, entry), limits)
    assert look(path.parent) == before
    assert "mustNotLeak" not in repr(caught.value.__context__) + repr(caught.value)
    return str(caught.value)


def look(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.name: (path.lstat().st_mode, path.read_bytes() if path.is_file() else None) for path in paths}


def private(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o600)
    return path


def written(kind: Kind, held: dict[str, str]) -> str:
    if kind == "json":
        return json.dumps(held, indent=2, ensure_ascii=False) + "\n"
    return "".join(f"{line}\n" for line in ["description,api_key", *(f"{name},{key}" for name, key in held.items())])


def read_by_others(path: Path) -> dict[str, str]:
    """The file as the standard library's readers have it, with the mark of spreadsheets taken off."""
    if path.suffix == ".json":
        return json.loads(path.read_text())
    with path.open(newline="") as file:
        rows = [(row["description"], row["api_key"]) for row in csv.DictReader(file, strict=True)]
    return {name.removeprefix("'"): key for name, key in rows}


# What `ready` does, without importing what tests need.
OURS = f"""
import os, sys
from pathlib import Path
from venice_mcp.secrets import Destination, Secret, SinkError, SinkLimits
from venice_mcp.secrets.delivery import prepare
KEY, path = {KEY!r}, Path(sys.argv[1])
def ready(entry="app"):
    return prepare(Destination(path.suffix[1:], path=str(path), entry=entry), SinkLimits())
"""


def python(code: str, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", OURS + code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    )


# --- added -----------------------------------------------------------------------------------------


@kinds
def test_a_new_file_gets_the_entry_and_is_private(folder: Path, kind: Kind) -> None:
    path = folder / f"keys.{kind}"
    prepared = ready(path, "staging backend")
    assert (prepared.notes, prepared.occupant, look(folder)) == ((), None, {})
    prepared.write(Secret(KEY))
    prepared.discard()
    assert path.read_text() == written(kind, {"staging backend": KEY})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in folder.iterdir()] == [path.name]
    assert described(at(path, "staging backend")) == f'the entry "staging backend" in the file "{path}"'
    assert Destination.from_data(at(path).as_data()) == at(path)


@kinds
def test_further_entries_stand_behind_those_that_are_there(folder: Path, kind: Kind) -> None:
    path = private(folder / f"keys.{kind}", written(kind, {"z": OLD, "a": ""}))
    for entry in ("m", "b"):
        ready(path, entry).write(Secret(f"{KEY}-{entry}"))
    assert path.read_text() == written(kind, {"z": OLD, "a": "", "m": f"{KEY}-m", "b": f"{KEY}-b"})


@kinds
@pytest.mark.parametrize("text", ["", "\n", "\ufeff"])
def test_a_file_that_is_empty_is_begun(folder: Path, kind: Kind, text: str) -> None:
    path = private(folder / f"keys.{kind}", text)
    ready(path).write(Secret(KEY))
    assert path.read_text(encoding="utf-8-sig").lstrip("\n") == written(kind, {"app": KEY})


@kinds
def test_a_file_that_others_can_read_is_narrowed_and_that_is_told(folder: Path, kind: Kind) -> None:
    path = private(folder / f"keys.{kind}", written(kind, {"z": OLD}))
    path.chmod(0o644)
    prepared = ready(path)
    assert prepared.notes == ("only its owner can read the file from then on",)
    prepared.write(Secret(KEY))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('\ufeffdescription,api_key\r\n"a",\'x\r\n', '\ufeffdescription,api_key\r\n"a",\'x\r\napp,{}\r\n'),
        ("description,api_key\nz,1", "description,api_key\nz,1\napp,{}\n"),
        ('"description","api_key"\n\n"a\nb",1\n', '"description","api_key"\n\n"a\nb",1\napp,{}\n'),
        ("description,api_key", "description,api_key\napp,{}\n"),
    ],
)
def test_every_byte_of_a_csv_file_stays(folder: Path, before: str, after: str) -> None:
    path = private(folder / "keys.csv", before)
    ready(path).write(Secret(KEY))
    assert path.read_bytes() == after.format(KEY).encode()


NAMES = st.lists(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=64).filter(
        lambda name: name.isprintable() and bool(name.strip("\u115f\u1160\u3164\uffa0\u2800 "))
    ),
    max_size=4,
    unique=True,
)


@kinds
@given(names=NAMES)
@example(names=["=1+1", "'=1+1", "''", "+1", "-1", "@x", "\uff1d1", "a", "'a"])
@example(names=['a"b', "a,b", 'a;=cmd|" /C calc"!A0', 'a";=1', "description", "__proto__", "a'", "</script>"])
@example(names=[" a", "a ", " =1", "' =1", "null", "0", "a=b", "#", "\\", "\\u0041"])
def test_any_names_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, kind: Kind, names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("table", numbered=True) / f"keys.{kind}"
    path.parent.chmod(0o700)
    wanted = [(name, f"{KEY[:30]}{number:06}") for number, name in enumerate(names)]
    for number, (name, key) in enumerate(wanted):
        ready(path, name).write(Secret(key))
        assert "already has an entry" in refusal(path, name)
        # Every name that stands there is found with its own key, and none that does not.
        assert [holds(at(path, each), ANYWHERE, key[-6:]) for each in names] == [n == number for n in range(len(names))]
    if kind == "json" and names:
        assert list(json.loads(path.read_text()).items()) == wanted
    if kind == "csv" and names:
        with path.open(newline="") as file:
            rows = list(csv.reader(file, strict=True))
        assert rows[0] == ["description", "api_key"]
        assert [key for _, key in rows[1:]] == [key for _, key in wanted]
        assert not any(name.lstrip().startswith(FORMULA) for name, _ in rows[1:])
        assert [name == row[0] or f"'{name}" == row[0] for (name, _), row in zip(wanted, rows[1:], strict=True)]


@given(names=NAMES, separator=st.sampled_from(";\t|"))
@example(names=["x;=1+1", 'x;=cmd|" /C calc"!A0'], separator=";")
def test_no_cell_begins_a_formula_whatever_a_spreadsheet_takes_for_a_separator(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], separator: str
) -> None:
    path = tmp_path_factory.mktemp("cells", numbered=True) / "keys.csv"
    for name in names:
        ready(path, name).write(Secret(KEY))
    if names:
        with path.open(newline="") as file:
            cells = [cell for row in csv.reader(file, delimiter=separator) for cell in row]
        assert not any(cell.lstrip(" ").startswith(FORMULA) for cell in cells)


# --- refused ---------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("held", [OLD, ""])
def test_an_entry_that_is_there_is_never_replaced(folder: Path, kind: Kind, held: str) -> None:
    path = private(folder / f"keys.{kind}", written(kind, {"a": OLD, "app": held}))
    assert "already has an entry of this name" in refusal(path)


@kinds
def test_an_entry_that_appeared_meanwhile_is_never_replaced(folder: Path, kind: Kind) -> None:
    path = folder / f"keys.{kind}"
    first, second = ready(path), ready(path)
    second.write(Secret(OLD))
    assert "already has an entry of this name" in failure(first)
    assert read_by_others(path) == {"app": OLD}


@pytest.mark.parametrize(
    "text",
    [
        "name,key\n",
        "description;api_key\na;b\n",
        "description,api_key\na\n",
        "description,api_key\na,b,c\n",
        'description,api_key\n"a,b\n',
        'description,api_key\n"a"x,b\n',
        " \n",
        "x\0",
        b"description,api_key\n\xff,mustNotLeak\n",
        "description,api_key\n" + "x" * 200_000 + ",mustNotLeak\n",
        "A=mustNotLeak\n",
    ],
    ids=range(11),
)
def test_what_is_no_csv_of_keys_is_refused(folder: Path, text: str | bytes) -> None:
    message = refusal(private(folder / "keys.csv", text))
    assert "is not CSV with the header" in message or "not a text file" in message


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '"mustNotLeak"',
        "null",
        '{"a": 1}',
        '{"a": {"b": "mustNotLeak"}}',
        '{"a": ["b", "mustNotLeak"]}',
        '{"a": "mustNotLeak", "b": null}',
        '{"a": "mustNotLeak", "a": "b"}',
        '{"a": "mustNotLeak",}',
        '{"a": "mustNotLeak"} {}',
        "{a: 1}",
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 10_000,
        b'{"a": "\xff"}',
        "\ufeff\ufeff{}",
        '{"a":"' + '\\"' * 200_000,
    ],
    ids=range(17),
)
def test_what_is_no_json_object_of_keys_is_refused(folder: Path, text: str | bytes) -> None:
    message = refusal(private(folder / "keys.json", text))
    assert "is not one JSON object" in message or "names an entry twice" in message or "not a text file" in message


def test_half_a_character_in_a_json_file_stays_half(folder: Path) -> None:
    path = private(folder / "keys.json", '{"\\ud800": "\\udead", "\u00e9": "x"}')
    ready(path).write(Secret(KEY))
    assert json.loads(path.read_text()) == {"\ud800": "\udead", "\u00e9": "x", "app": KEY}


@kinds
def test_a_file_takes_a_thousand_entries_of_a_megabyte(folder: Path, kind: Kind) -> None:
    path = private(folder / f"keys.{kind}", written(kind, {f"n{number}": OLD for number in range(999)}))
    ready(path).write(Secret(KEY))
    assert len(read_by_others(path)) == 1000
    assert "has 1000 entries or more" in refusal(path, "one more")
    private(path, written(kind, {str(number): "x" * 104_000 for number in range(11)}))
    assert "larger than 1 MiB" in refusal(path)


@kinds
@pytest.mark.parametrize("entry", ["", " ", "a\nb", "a\tb", "a\x1b[31mb", "a\u202eb", "\u3164", "a" * 65, "\ud800"])
def test_an_entry_that_nobody_could_see_is_refused(folder: Path, kind: Kind, entry: str) -> None:
    assert "is not a name of at most 64 visible characters" in refusal(folder / f"keys.{kind}", entry)


@kinds
def test_a_key_pasted_as_entry_is_refused_and_not_repeated(folder: Path, kind: Kind) -> None:
    assert "the entry looks like a key" in refusal(folder / f"keys.{kind}", KEY)


@pytest.mark.parametrize("name", ["keys", "keys.txt", "csv", ".csv", ".keys.csv", "keys.csv.bak", "keys.CSV"])
def test_a_file_by_another_name_is_not_edited(folder: Path, name: str) -> None:
    private(folder / name, "precious")
    with pytest.raises(SinkError, match=r"is not called NAME\.csv"):
        prepare(Destination("csv", path=str(folder / name), entry="app"), ANYWHERE)
    with pytest.raises(SinkError, match=r"is not called NAME\.json"):
        prepare(Destination("json", path=str(folder / name), entry="app"), ANYWHERE)
    assert (folder / name).read_text() == "precious"


@kinds
def test_a_destination_has_what_its_kind_needs_and_no_more(folder: Path, kind: Kind) -> None:
    path = str(folder / f"keys.{kind}")
    for destination, problem in (
        (Destination(kind), "lacks entry and path"),
        (Destination(kind, path=path), "lacks entry"),
        (Destination(kind, path=path, entry="a", variable="A"), "takes no variable"),
        (Destination("dotenv", path=path, entry="a", variable="A"), "takes no entry"),
    ):
        with pytest.raises(SinkError, match=problem):
            prepare(destination, ANYWHERE)
        assert holds(destination, ANYWHERE, "2V2jNW") is None


@kinds
def test_what_is_no_plain_private_place_is_refused(folder: Path, kind: Kind) -> None:
    path = folder / f"keys.{kind}"
    other = private(folder / "other", written(kind, {}))
    path.symlink_to(other)
    assert "symbolic link" in refusal(path)
    path.unlink()
    path.hardlink_to(other)
    assert "hard links" in refusal(path)
    path.unlink()
    os.mkfifo(path)
    assert "not a plain file" in refusal(path)
    path.unlink()
    path.mkdir()
    assert "not a plain file" in refusal(path)
    path.rmdir()
    assert "No such file" in refusal(folder / "none" / path.name)
    folder.chmod(0o770)
    assert "others may write to the folder" in refusal(path)


@AS_ROOT
@kinds
def test_a_device_or_a_file_of_another_user_is_refused(folder: Path, kind: Kind) -> None:
    path = folder / f"keys.{kind}"
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert "not a plain file" in refusal(path)
    path.unlink()
    os.chown(private(path, ""), 12345, -1)
    assert "belongs to another user" in refusal(path)


@kinds
def test_only_the_folders_of_the_policy_will_do(folder: Path, kind: Kind) -> None:
    allowed = folder / "keys"
    allowed.mkdir(0o700)
    (allowed / "way-out").symlink_to(folder)
    limits = SinkLimits(folders=(str(allowed),))
    for path in (folder / f"keys.{kind}", allowed / "way-out" / f"keys.{kind}"):
        assert "not within the folders that this server's policy allows" in refusal(path, limits=limits)
    prepare(at(allowed / f"keys.{kind}"), limits).write(Secret(KEY))
    assert holds(at(allowed / f"keys.{kind}"), limits, "2V2jNW") is True
    assert holds(at(allowed / f"keys.{kind}"), SinkLimits(folders=("/nowhere",)), "2V2jNW") is None


@kinds
@pytest.mark.parametrize("secret", ["", f"{KEY} ", f"{KEY}\n", f"{KEY},x", f'{KEY}"', f"={KEY}", f"{KEY}\u00e9"])
def test_a_secret_that_a_cell_could_not_hold_safely_is_refused(folder: Path, kind: Kind, secret: str) -> None:
    path = private(folder / f"keys.{kind}", written(kind, {"a": OLD}))
    assert "not every program would read" in failure(ready(path), secret)
    assert path.read_text() == written(kind, {"a": OLD})


# --- changed between check and write, and while others write ----------------------------------------


@kinds
def test_what_became_another_file_meanwhile_is_left_as_it_is(folder: Path, kind: Kind) -> None:
    place = folder / "project"
    place.mkdir(0o700)
    path = place / f"keys.{kind}"
    prepared = [ready(path) for _ in range(4)]
    private(path, "mustNotLeak")
    assert "it is not" in failure(prepared[0])
    assert path.read_text() == "mustNotLeak"
    path.rename(folder / "elsewhere")
    path.symlink_to(folder / "elsewhere")
    assert "symbolic link" in failure(prepared[1])
    place.rename(folder / "moved")
    place.mkdir(0o700)
    assert "another folder took the place" in failure(prepared[2])
    place.rmdir()
    assert "No such file" in failure(prepared[3])
    assert (folder / "elsewhere").read_text() == "mustNotLeak"


SPOILER = """
prepared = ready()
done = []
def spoil(event, args):
    # The new file is written, and not yet in its place.
    if event == "os.rename" and not done:
        done.append(1)
        (path.parent / str(args[0])).write_text(sys.argv[2])
sys.addaudithook(spoil)
try:
    prepared.write(Secret(KEY))
except SinkError as error:
    print(error)
"""


@kinds
def test_what_cannot_be_read_back_is_taken_back(folder: Path, kind: Kind) -> None:
    path = private(folder / f"keys.{kind}", written(kind, {"z": OLD}))
    output, _ = python(SPOILER, str(path), written(kind, {"app": OLD})).communicate()
    assert "reading it back gave something else" in output.decode()
    assert "mustNotLeak" not in output.decode()
    assert path.read_text() == written(kind, {"z": OLD})
    assert [each.name for each in folder.iterdir()] == [path.name]


WRITER = """
prepared = [ready(name) for name in sys.argv[2:]]
print("ready", flush=True)
sys.stdin.readline()
for each, name in zip(prepared, sys.argv[2:]):
    each.write(Secret(f"{KEY}-{name}"))
"""


@kinds
def test_no_entry_of_several_processes_at_once_is_lost(folder: Path, kind: Kind) -> None:
    path = private(folder / f"keys.{kind}", written(kind, {"kept": OLD}))
    names = [[f"key-{process}-{number}" for number in range(10)] for process in range(3)]
    writers = [python(WRITER, str(path), *each) for each in names]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    wanted = {name: f"{KEY}-{name}" for each in names for name in each}
    assert read_by_others(path) == {"kept": OLD, **wanted}
    assert [each.name for each in folder.iterdir()] == [path.name]


KILLED = """
before = path.read_bytes()
at, seen = 0, set()
while True:
    path.write_bytes(before)
    path.chmod(0o600)
    prepared = ready()
    child = os.fork()
    if child == 0:
        left = at
        def step(frame, event, argument):
            global left
            if os.path.basename(frame.f_code.co_filename) not in ("exchange.py", "folders.py", "tables.py"):
                return None
            left -= 1
            if left < 0:
                os._exit(9)
            return step
        sys.settrace(step)
        prepared.write(Secret(KEY))
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    prepared.discard()
    print(at, ended, path.read_bytes().hex(), oct(path.stat().st_mode & 0o777), flush=True)
    if ended == 0:
        break
    at += 1
"""


@kinds
def test_a_process_killed_at_any_line_leaves_the_old_file_or_the_new_one(folder: Path, kind: Kind) -> None:
    old, new = written(kind, {"z": OLD}), written(kind, {"z": OLD, "app": KEY})
    path = private(folder / f"keys.{kind}", old)
    output, _ = python(KILLED, str(path)).communicate()
    lines = [line.split() for line in output.decode().splitlines()]
    found = [bytes.fromhex(line[2]).decode() for line in lines]
    assert len(lines) > 60
    assert lines[-1][1] == "0"
    # Old until the one step that exchanges them, and new from then on.
    at = found.index(new)
    assert found == [old] * at + [new] * (len(found) - at)
    assert 20 < at < len(found) - 5
    assert {line[3] for line in lines} == {"0o600"}
    # What the last of them left beside the file is gone with the next write.
    ready(path, "next").write(Secret(KEY))
    assert [each.name for each in folder.iterdir()] == [path.name]


# --- disks -----------------------------------------------------------------------------------------


@AS_ROOT
@ON_LINUX
@kinds
def test_a_full_disk_is_noticed_before_there_is_a_key_or_leaves_the_file_as_it_was(folder: Path, kind: Kind) -> None:
    with small_disk(folder / "disk") as disk:
        path = private(disk / f"keys.{kind}", written(kind, {"z": OLD}))
        prepared = ready(path)
        fill(disk)
        assert "No space left" in refusal(path)
        assert "No space left" in failure(prepared)
        assert path.read_text() == written(kind, {"z": OLD})
        assert sorted(each.name for each in disk.iterdir()) == ["filler", path.name]


# --- afterwards ------------------------------------------------------------------------------------


@kinds
def test_whether_the_secret_arrived_can_be_told_later(folder: Path, kind: Kind) -> None:
    path = folder / f"keys.{kind}"
    assert holds(at(path), ANYWHERE, "2V2jNW") is False
    ready(path).write(Secret(KEY))
    ready(path, "other").write(Secret(OLD))
    assert [holds(at(path), ANYWHERE, tail) for tail in ("2V2jNW", "3V3jNW", "")] == [True, False, None]
    assert [holds(at(path, "other"), ANYWHERE, tail) for tail in ("2V2jNW", "3V3jNW")] == [False, True]
    assert not leftover(at(path))
    private(path, "mustNotLeak")
    assert holds(at(path), ANYWHERE, "2V2jNW") is None
