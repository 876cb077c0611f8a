"""A person hears when git would take a secret along, and asking git runs nothing that a repository names."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from venice_mcp.secrets import Destination, SinkLimits
from venice_mcp.secrets.delivery import prepare

GIT = shutil.which("git")
pytestmark = pytest.mark.skipif(GIT is None, reason="needs git")
TRACKED, EXPOSED = "git tracks this file", "git does not ignore this file"
UNKNOWN = "whether git ignores it could not be checked"


def git(folder: Path, *arguments: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run([GIT or "", "-C", str(folder), *arguments], check=True, capture_output=True, env=environment)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    path.mkdir(0o700)
    git(path, "init", "-q")
    return path


def notes(path: Path, kind: str = "dotenv") -> tuple[str, ...]:
    variable = "VENICE_API_KEY" if kind == "dotenv" else None
    prepared = prepare(Destination.from_data({"kind": kind, "path": str(path), "variable": variable}), SinkLimits())
    prepared.discard()
    return prepared.notes


def test_outside_of_a_repository_there_is_nothing_to_say(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert notes(tmp_path / ".env") == ()


@pytest.mark.parametrize("kind", ["dotenv", "file"])
def test_a_file_that_git_does_not_ignore_is_told_of(repository: Path, kind: str) -> None:
    assert notes(repository / ".env", kind) == (EXPOSED,)
    (repository / ".gitignore").write_text("*.env\n.env\n")
    assert notes(repository / ".env", kind) == ()
    (repository / ".gitignore").write_text("*.env\n.env\n!/sub/.env\n")
    (repository / "sub").mkdir(0o700)
    assert notes(repository / "sub" / ".env", kind) == (EXPOSED,)
    assert notes(repository / "sub" / "x.env", kind) == ()


def test_a_file_that_git_tracks_is_told_of_even_if_it_is_ignored(repository: Path) -> None:
    (repository / ".env").touch(0o600)
    git(repository, "add", ".env")
    assert notes(repository / ".env") == (TRACKED,)
    (repository / ".gitignore").write_text(".env\n")
    assert notes(repository / ".env") == (TRACKED,)


@pytest.mark.parametrize("name", [":(top)key", "*", "key[1]", "-q", "!key", "#key"])
def test_a_name_is_never_a_pattern_or_an_option(repository: Path, name: str) -> None:
    (repository / "other").touch(0o600)
    git(repository, "add", "other")
    assert notes(repository / name, "file") == (EXPOSED,)
    (repository / ".gitignore").write_text("\\" + name.replace("[", "\\[") + "\n")
    assert notes(repository / name, "file") == ()


def test_the_settings_of_another_repository_in_the_environment_do_not_count(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.excludesFile")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(other / "ignore"))
    (other / "ignore").write_text(".env\n")
    assert notes(repository / ".env") == (EXPOSED,)


def test_what_a_hostile_repository_wants_run_does_not_run(repository: Path, tmp_path: Path) -> None:
    evidence, program = tmp_path / "evidence", tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$0 $@" >> {evidence}\n')
    program.chmod(0o755)
    (repository / ".env").touch(0o600)
    git(repository, "add", ".env")
    hooks = repository / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-index-change", "fsmonitor-watchman", "pre-commit"):
        (hooks / hook).write_bytes(program.read_bytes())
        (hooks / hook).chmod(0o755)
    for setting in ("core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "pager.ls-files", "core.askPass"):
        git(repository, "config", setting, str(program))
    # Shown to be hostile: without our settings, git does run it.
    subprocess.run([GIT or "", "-C", str(repository), "status"], check=False, capture_output=True)
    assert evidence.exists()
    evidence.unlink()
    assert notes(repository / ".env") == (TRACKED,)
    assert notes(repository / "x.env") == (EXPOSED,)
    assert not evidence.exists()


def test_a_repository_that_git_cannot_read_is_told_of(repository: Path) -> None:
    (repository / ".git" / "config").write_text("[broken\n")
    assert notes(repository / ".env") == (UNKNOWN,)


def test_a_missing_git_is_told_of_only_in_a_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert notes(repository / ".env") == (UNKNOWN,)
    assert notes(tmp_path / ".env") == ()


def test_a_git_that_lies_in_the_current_folder_is_not_run(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "git").write_text(f"#!/bin/sh\n: > {tmp_path}/evidence\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".")
    assert notes(repository / ".env") == (UNKNOWN,)
    assert not (tmp_path / "evidence").exists()


def test_a_git_that_hangs_is_not_waited_for(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "git").write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    (bin_ / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    monkeypatch.setattr("venice_mcp.secrets.tracking._TIMEOUT_S", 0.2)
    assert notes(repository / ".env") == (UNKNOWN,)


def test_git_gets_no_secret_of_the_server(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "git").write_text(f"#!/bin/sh\nenv >> {tmp_path}/environment\nexit 1\n")
    (bin_ / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    monkeypatch.setenv("VENICE_ADMIN_KEY", "mustNotLeak")
    assert notes(repository / ".env") == (EXPOSED,)
    environment = (tmp_path / "environment").read_text()
    assert "GIT_OPTIONAL_LOCKS=0" in environment
    assert "mustNotLeak" not in environment
