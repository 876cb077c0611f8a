"""Destinations are told in words, kept within the operator's folders, and looked at after a crash."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from venice_mcp.secrets import DISPLAY, Destination, FileSink, Secret, SinkError, SinkLimits
from venice_mcp.secrets.delivery import described, holds, leftover, prepare
from venice_mcp.secrets.destinations import DestinationKind

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="secrets go into no file and no command there")

KEY = "VENICE_INFERENCE_KEY_mustNotLeak-0123456789abcdef2V2jNW"
ANYWHERE = SinkLimits()
KINDS: list[DestinationKind] = ["file", "dotenv"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def at(kind: DestinationKind, path: Path | str) -> Destination:
    return Destination(kind, path=str(path), variable="VENICE_API_KEY" if kind == "dotenv" else None)


def refusal(destination: Destination, limits: SinkLimits = ANYWHERE) -> str:
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(SinkError) as caught:
        prepare(destination, limits)
    assert "mustNotLeak" not in str(caught.value)
    assert len(os.listdir("/dev/fd")) == before
    return str(caught.value)


# --- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        (DISPLAY, "this chat, once"),
        (Destination("file", path="/x/y"), 'the new file "/x/y"'),
        (Destination("dotenv", path="/x/.env", variable="VENICE_API_KEY"), 'VENICE_API_KEY in the file "/x/.env"'),
        (Destination("keyring", variable="X"), "the system keyring (service venice-mcp-keys, entry X)"),
        (Destination("command", name="op"), 'the command "op" of this server\'s policy'),
        (Destination("command", name="op", variable="X"), 'the command "op" of this server\'s policy, for X'),
        (Destination("file", path='/x" and\n\u202e/y'), 'the new file "/x\' and /y"'),
        (Destination("file"), 'the new file ""'),
    ],
)
def test_a_destination_in_words(destination: Destination, words: str) -> None:
    assert described(destination) == words
    assert Destination.from_data(destination.as_data()) == destination


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a  b", 'a"b', "a\u0301\u0301\u0301", "\u3164", "x" * 300])
def test_a_path_that_a_person_could_not_see_as_it_is_is_refused(folder: Path, kind: DestinationKind, name: str) -> None:
    message = refusal(at(kind, f"{folder}/{name}/.env"))
    assert "cannot be shown" in message or "can be shown" in message or "invisible" in message


# --- members ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("destination", "problem"),
    [
        (DISPLAY, "is not prepared"),
        (Destination("file"), "lacks path"),
        (Destination("dotenv"), "lacks path and variable"),
        (Destination("dotenv", path="/x/.env"), "lacks variable"),
        (Destination("keyring"), "lacks variable"),
        (Destination("command"), "lacks name"),
        (Destination("file", path="/x", variable="X"), "takes no variable"),
        (Destination("keyring", path="/x", variable="X", name="x"), "takes no name and no path"),
        (Destination("display", path="/x"), "takes no path"),
    ],
)
def test_a_destination_has_what_its_kind_needs_and_no_more(destination: Destination, problem: str) -> None:
    assert problem in refusal(destination)
    assert holds(destination, ANYWHERE, "2V2jNW") is None


# --- folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_within_an_allowed_folder_is_accepted(
    folder: Path, kind: DestinationKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = folder / "home" / "inner"
    inner.mkdir(0o700, parents=True)
    (folder / "link").symlink_to(folder / "home")
    monkeypatch.setenv("HOME", str(folder / "home"))
    (folder / "way-in").symlink_to(inner)
    for path in (inner, folder / "way-in", folder / "link" / "inner"):
        prepare(at(kind, path / ".env"), SinkLimits(folders=(str(inner),))).discard()
    for allowed in ("~", str(folder / "link"), str(inner), "/"):
        prepared = prepare(at(kind, inner / ".env"), SinkLimits(folders=("/nowhere", allowed)))
        prepared.write(Secret(KEY))
        assert KEY in (inner / ".env").read_text()
        (inner / ".env").unlink()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_elsewhere_is_refused_and_the_allowed_folders_are_named(folder: Path, kind: DestinationKind) -> None:
    allowed, beside = folder / "keys", folder / "keys-not"
    allowed.mkdir(0o700)
    beside.mkdir(0o700)
    (beside / "sub").mkdir(0o700)
    (allowed / "way-out").symlink_to(beside)
    limits = SinkLimits(folders=(str(allowed), "/nowhere"))
    for path in (
        beside / ".env",
        folder / ".env",
        allowed / "way-out" / ".env",
        allowed / "way-out/sub/.env",
        f"{allowed}/../keys-not/.env",
    ):
        message = refusal(at(kind, path), limits)
        assert message.endswith(f'not within the folders that this server\'s policy allows: "{allowed}", "/nowhere"')
    assert [path.name for path in beside.rglob("*")] == ["sub"]
    assert refusal(at(kind, allowed / ".env"), SinkLimits(folders=())).endswith("allows: none at all")
    assert "not within" in refusal(at(kind, allowed / ".env"), SinkLimits(folders=("keys", "")))


SWAPPER = """
import os, sys
from venice_mcp.secrets import Destination, SinkError, SinkLimits
from venice_mcp.secrets.delivery import prepare
link, allowed, kind = sys.argv[1:]
real = os.path.realpath
# The link leads out of the allowed folder when it is opened, and into it when it is looked at afterwards.
def swapping(path, **options):
    if path == link:
        os.unlink(link)
        os.symlink(allowed, link)
    return real(path, **options)
os.path.realpath = swapping
try:
    variable = "A" if kind == "dotenv" else None
    prepare(Destination(kind, path=link + "/.env", variable=variable), SinkLimits(folders=(allowed,)))
    print("accepted")
except SinkError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_that_is_turned_between_opening_and_looking_is_noticed(folder: Path, kind: DestinationKind) -> None:
    allowed, outside, link = folder / "keys", folder / "outside", folder / "link"
    allowed.mkdir(0o700)
    outside.mkdir(0o700)
    link.symlink_to(outside)
    done = subprocess.run(
        [sys.executable, "-c", SWAPPER, str(link), str(allowed), kind],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert "not within the folders" in done.stdout
    assert list(outside.iterdir()) == list(allowed.iterdir()) == []


# --- after a crash ---------------------------------------------------------------------------------


def test_a_file_that_was_prepared_and_never_written_is_known_again(folder: Path) -> None:
    destination = at("file", folder / "key")
    assert not leftover(destination)
    assert holds(destination, ANYWHERE, "2V2jNW") is False
    prepared = prepare(destination, ANYWHERE)
    assert leftover(destination)
    assert holds(destination, ANYWHERE, "2V2jNW") is False
    prepared.write(Secret(KEY))
    assert not leftover(destination)
    assert holds(destination, ANYWHERE, "2V2jNW") is True
    assert holds(destination, ANYWHERE, "3V3jNW") is False


def test_an_empty_file_that_is_not_private_is_not_ours(folder: Path) -> None:
    (folder / "key").touch()
    (folder / "key").chmod(0o644)
    assert not leftover(at("file", folder / "key"))
    (folder / "key").chmod(0o600)
    assert leftover(at("file", folder / "key"))
    (folder / "link").symlink_to(folder / "key")
    assert not leftover(at("file", folder / "link"))
    (folder / "key").write_bytes(b"\n")
    assert not leftover(at("file", folder / "key"))
    assert not leftover(at("file", folder / "none" / "key"))
    assert not leftover(at("dotenv", folder / ".env"))
    assert not leftover(DISPLAY)


def test_a_secret_that_was_written_but_not_cut_to_length_counts_as_unknown(folder: Path) -> None:
    (folder / "key").write_bytes(f"{KEY}\n".encode() + bytes(4000))
    (folder / "key").chmod(0o600)
    assert holds(at("file", folder / "key"), ANYWHERE, "2V2jNW") is None
    assert holds(at("file", "key"), ANYWHERE, "2V2jNW") is None
    assert holds(DISPLAY, ANYWHERE, "2V2jNW") is None


def test_the_sink_that_came_first_is_still_there(folder: Path) -> None:
    with FileSink.prepare(str(folder / "key")) as prepared:
        assert prepared.path == str(folder / "key")
        assert prepared.notes == ()
    assert list(folder.iterdir()) == []


def test_loading_the_front_loads_nothing_heavy() -> None:
    heavy = {"subprocess", "keyring", "shutil", "fcntl"}
    code = f"import sys, venice_mcp.secrets.delivery; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout == "set()\n"
