"""What is built, what CI runs, and what may not be in the tree."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def setup_script() -> ModuleType:
    """scripts/setup_venv.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("setup_venv", ROOT / "scripts" / "setup_venv.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a freshly built wheel."""
    where = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(where)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (built,) = where.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


def test_the_wheel_holds_every_module_and_the_typing_marker(wheel: list[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "venice_mcp").rglob("*.py")}
    assert "venice_mcp/py.typed" in wheel
    assert modules <= set(wheel)


def test_the_wheel_holds_the_package_its_metadata_and_nothing_else(wheel: list[str]) -> None:
    assert {name.split("/")[0].removesuffix(".dist-info").split("-")[0] for name in wheel} == {"venice_mcp"}
    assert [name for name in wheel if "test" in name.lower() or "__pycache__" in name] == []


def test_the_wheel_carries_the_licence(wheel: list[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)


def test_ci_runs_exactly_make_test() -> None:
    script = ROOT / ".ci" / "run"
    commands = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert commands == ["set -euo pipefail", 'cd "$(dirname "${BASH_SOURCE[0]}")/.."', "exec make test"]
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert os.access(script, os.X_OK)


def test_make_test_runs_every_check_in_order() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    plan = subprocess.run(
        [make, "--dry-run", "test"], cwd=ROOT, env=env, check=True, capture_output=True, text=True, timeout=30
    ).stdout
    steps = ("setup_venv.py", "/ruff check", "/ruff format --check", "/basedpyright", "-m pytest")
    places = [plan.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)


def test_what_the_type_checker_may_not_skip_is_included() -> None:
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["basedpyright"]["include"]
    assert {"venice_mcp", "tests", "bench", "conformance", "shipping", "plugin", "hooks", "scripts"} <= set(checked)


@pytest.mark.parametrize(
    ("changed", "exact", "work"),
    [
        ({}, False, "nothing"),
        ({"project": "edited"}, False, "project"),
        ({"lock": "edited"}, False, "all"),
        ({"place": "elsewhere"}, False, "all"),
        ({"python": "3.99"}, False, "nothing"),
        ({"python": "3.99"}, True, "all"),
    ],
)
def test_setup_does_again_only_what_a_change_calls_for(changed: dict[str, str], exact: bool, work: str) -> None:
    script = setup_script()
    wanted: dict[str, str] = script.wanted_stamp()
    assert script.work_to_do(wanted | changed, wanted, exact=exact) == work
    assert script.work_to_do({}, wanted, exact=exact) == "all"


@pytest.mark.parametrize("uv", [None, "uv"])
def test_setup_installs_nothing_without_a_hash_but_the_project_itself(uv: str | None) -> None:
    _make, fill, add_project = setup_script().install_commands(uv)
    assert "--require-hashes" in fill
    assert {"--no-deps", "--no-build-isolation"} <= set(add_project)


def tree() -> list[Path]:
    """Every file that is, or could be, committed."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=30).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    # Put together here so that this file does not name them either.
    places = {"/" + "work", "/" + "root", "/opt" + "/pypi", "/opt" + "/wheels"}
    # A checkout or home right below / (as in a container) is too common a word to look for.
    places |= {str(place) for place in (ROOT, Path.home()) if len(place.parts) > 2}
    path = "|".join(re.escape(one) for one in sorted(places))
    machine = re.compile(
        rf"(?<![\w.:$}}/-])(?:{path})(?![\w-])|\.\./" + r"shared\b|/(?:home|Users)/(?!you\b|me\b|user\b)\w"
    )
    found: list[str] = []
    for file in tree():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # not text
        found += [
            f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), 1)
            if machine.search(line)
        ]
    assert found == []
