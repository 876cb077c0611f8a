"""Make `.venv` out of requirements.lock, then install this project into it, editable.

Nothing is fetched that the lock has no hash for. What was installed is written to a stamp inside `.venv`: a
changed lock (or a moved or broken `.venv`) makes a new one, a changed pyproject.toml installs the project
again, and otherwise nothing is done. With uv on PATH it does the work; plain venv and pip are enough.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "Scripts" / "python.exe" if sys.platform == "win32" else VENV / "bin" / "python"
STAMP = VENV / "setup-stamp.json"
LOCK = ROOT / "requirements.lock"
PYPROJECT = ROOT / "pyproject.toml"

# A user's own settings that would put packages elsewhere, or add some that the lock does not name.
DIVERTING = (
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_CONSTRAINT",
    "PIP_REQUIREMENT",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_TARGET",
    "PYTHONPATH",
    "PYTHONHOME",
)


def wanted_stamp() -> dict[str, str]:
    """What `.venv` must be made of; the place is included because a copied one still runs the old tree."""
    return {
        "lock": hashlib.sha256(LOCK.read_bytes()).hexdigest(),
        "project": hashlib.sha256(PYPROJECT.read_bytes()).hexdigest(),
        "place": str(VENV),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }


def present_stamp() -> dict[str, str]:
    """What the last finished setup made `.venv` of; empty when there was none."""
    if not VENV_PYTHON.exists():
        return {}
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


def work_to_do(present: dict[str, str], wanted: dict[str, str], *, exact: bool) -> str:
    """Say what is needed: "all", "project" or "nothing"."""
    made_of = ("lock", "place", "python") if exact else ("lock", "place")
    if any(present.get(name) != wanted[name] for name in made_of):
        return "all"
    return "nothing" if present.get("project") == wanted["project"] else "project"


def install_commands(uv: str | None) -> tuple[list[str], list[str], list[str]]:
    """The commands that make the environment, fill it from the lock, and add the project."""
    project = ["--no-deps", "--no-build-isolation", "--quiet", "--editable", str(ROOT)]
    locked = ["--quiet", "--require-hashes", "-r", str(LOCK)]
    if uv:
        # --no-config: no uv.toml of a parent directory or of the user has a say.
        into = [uv, "pip", "install", "--no-config", "--python", str(VENV_PYTHON)]
        make = [uv, "venv", "--no-config", "--no-project", "--quiet", "--python", sys.executable, str(VENV)]
    else:
        # Compiled is what gets imported, when it is: most of what large libraries bring never does.
        into = [str(VENV_PYTHON), "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-compile"]
        make = [sys.executable, "-m", "venv", str(VENV)]
    return make, into + locked, into + project


def run(command: list[str]) -> None:
    env = {name: value for name, value in os.environ.items() if name not in DIVERTING}
    env |= {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_REQUIRE_VIRTUALENV": "0"}
    status = subprocess.run(command, cwd=ROOT, env=env, check=False).returncode
    if status:
        sys.exit(f"setup: this failed with status {status}: {' '.join(command)}")


def remove_venv() -> None:
    if VENV.is_symlink():
        VENV.unlink()
    elif VENV.exists():
        shutil.rmtree(VENV)


def take_turns(file: int) -> None:
    """Two makes in one tree take turns; on Windows, where there is no make, nobody else is expected."""
    if sys.platform == "win32":
        return
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exact", action="store_true", help="make .venv anew if it has another Python version")
    exact = bool(parser.parse_args().exact)
    started = time.monotonic()
    with LOCK.open("rb") as held:
        take_turns(held.fileno())
        wanted, present = wanted_stamp(), present_stamp()
        work = work_to_do(present, wanted, exact=exact)
        if work == "nothing":
            return
        uv = shutil.which("uv")
        missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
        if missing and not uv:
            sys.exit(
                f"setup: {sys.executable} comes without {' and '.join(missing)}, so it cannot make .venv. "
                "Install them (Debian and Ubuntu: apt install python3-venv) or put uv on PATH."
            )
        make, fill, add_project = install_commands(uv)
        if work == "all":
            print(f"setup: making .venv with {'uv' if uv else 'pip'}, once", flush=True)
            remove_venv()
            run(make)
            run(fill)
        else:
            print("setup: pyproject.toml changed, installing the project again", flush=True)
            wanted["python"] = present["python"]
            STAMP.unlink()
        run(add_project)
        STAMP.write_text(json.dumps(wanted, indent=1) + "\n")
    print(f"setup: done in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
