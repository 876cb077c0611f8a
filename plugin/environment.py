"""The environment the plugin's server runs in: where it is, whether it is whole, and making it.

`python3 environment.py DATA` makes it; `begin` starts that as a process of its own, which goes on when the client
loses its patience, and whose output is in `log(DATA)`. Nothing is installed that requirements.lock has no hash for.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
LOCK = Path(__file__).resolve().parent / "requirements.lock"
OLDEST = (3, 11)
VERSIONS = ("3.14", "3.13", "3.12", "3.11")
OPTIONS = {
    "VENICE_KEYS_ADMIN_KEY": "VENICE_ADMIN_KEY",
    "VENICE_KEYS_INFERENCE_KEY": "VENICE_API_KEY",
    "VENICE_KEYS_WALLET_KEY": "VENICE_WALLET_KEY",
    "VENICE_KEYS_SANDBOX": "VENICE_MCP_SANDBOX",
}
"""The plugin's options and the server's variables. They differ because an option that is left empty would otherwise
hide a variable that is set."""
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
_DIVERTING = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_CONSTRAINT", "PIP_REQUIREMENT", "UV_CONSTRAINT")
_UNUSED_S = 30 * 24 * 3600
_TIMEOUT_S = 900
_TAIL = 600


def own_data_folder() -> Path:
    """Where the environment is when no client says."""
    base = os.environ.get("CLAUDE_PLUGIN_DATA") or os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_DATA_HOME")
    return Path(base or Path.home() / ".local" / "share") / "venice-keys"


def for_the_server(given: Mapping[str, str]) -> dict[str, str]:
    """What was given, with the options that are set under the names the server knows."""
    found = {name: value for name, value in given.items() if name not in _FOREIGN and name not in OPTIONS}
    for option, variable in OPTIONS.items():
        value = given.get(option, "").strip()
        # A host that does not fill an option in hands its placeholder over.
        if value and value.lower() != "false" and not re.fullmatch(r"\$\{[^}]*\}", value):
            found[variable] = value
    return found


def command(data: Path) -> list[str]:
    """What runs the server. -P: nothing is imported from the folder a person works in."""
    python = _python(_folder(data))
    # Every version of the plugin has a folder of its own; the environment serves them all.
    _point_to(ROOT, _folder(data))
    return [str(python), "-P", "-m", "venice_mcp"]


def is_ready(data: Path) -> bool:
    """Whether the environment is whole and its Python is still there."""
    return _stamp(_folder(data)).is_file() and _python(_folder(data)).exists()


def log(data: Path) -> Path:
    return data / "install.log"


def problem(data: Path) -> str:
    """What the last attempt said at its end, on one line."""
    try:
        said = log(data).read_text(encoding="utf-8", errors="replace")
    except OSError:
        said = ""
    return " ".join(said.split())[-_TAIL:] or "nothing was said"


def begin(data: Path) -> subprocess.Popen[bytes]:
    """Start making the environment.

    Raises:
        OSError: the data folder cannot be written to.
    """
    data.mkdir(parents=True, exist_ok=True)
    with log(data).open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), str(data)],
            cwd=data,  # not where a person works, whose files would configure pip and uv
            env=_without_secrets(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A client that gives up takes its own processes with it, and would so each time.
            start_new_session=True,
        )


def make(data: Path) -> str | None:
    """Make the environment in one way or another; what went wrong, if none did."""
    folder = _folder(data)
    data.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(data):
        if is_ready(data):
            return None
        problems: list[str] = []
        for name, commands in _ways(folder):
            print(f"with {name}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            failed = next((each for each in commands if not _run(each, data)), None)
            if failed is None:
                _point_to(ROOT, folder)
                _stamp(folder).touch()
                _remove_unused(data)
                return None
            problems.append(f"{name} failed, see above.")
        shutil.rmtree(folder, ignore_errors=True)
    hint = (
        "Python 3.11 or newer (on Debian and Ubuntu with the package python3-venv) or uv must be on PATH, and the"
        " package index must be reachable."
    )
    return " ".join([*problems, hint])


def _ways(folder: Path) -> list[tuple[str, list[list[str]]]]:
    """The commands that make and fill an environment, best way first."""
    python = str(_python(folder))
    locked = ["--quiet", "--require-hashes", "-r", str(LOCK)]
    own = _new_enough()
    found: list[tuple[str, list[list[str]]]] = []
    if uv := shutil.which("uv") or shutil.which("uv", path=str(Path.home() / ".local" / "bin")):
        wanted = own or f">={OLDEST[0]}.{OLDEST[1]}"
        made = [uv, "venv", "--no-project", "--quiet", "--python", wanted, str(folder)]
        found.append(("uv", [made, [uv, "pip", "install", "--compile-bytecode", "--python", python, *locked]]))
    if own:
        pip = [python, "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", *locked]
        found.append(("venv and pip", [[own, "-m", "venv", str(folder)], pip]))
    return found


def _new_enough() -> str | None:
    if sys.version_info >= OLDEST:
        return sys.executable
    return next((found for version in VERSIONS if (found := shutil.which(f"python{version}"))), None)


def _run(each: list[str], data: Path) -> bool:
    try:
        return subprocess.run(each, cwd=data, check=False, timeout=_TIMEOUT_S).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{each[0]}: {type(error).__name__}", flush=True)
        return False


def _without_secrets(given: Mapping[str, str]) -> dict[str, str]:
    """Installing needs no key, and runs other people's code."""
    return {
        name: value
        for name, value in given.items()
        if not name.startswith(("VENICE_", "CLAUDE_PLUGIN_OPTION_")) and name not in (*_FOREIGN, *_DIVERTING)
    } | {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}


# --- files ----------------------------------------------------------------------------------------


def _folder(data: Path) -> Path:
    return data / f"env-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _stamp(folder: Path) -> Path:
    return folder / "whole"


def _point_to(root: Path, folder: Path) -> None:
    """Have the environment import this version of the plugin, and note that it is in use."""
    packages = folder / "Lib" / "site-packages" if os.name == "nt" else next(folder.glob("lib/python*/site-packages"))
    pointer = packages / "venice_keys.pth"
    wanted = f"{root}\n"
    if not pointer.exists() or pointer.read_text(encoding="utf-8") != wanted:
        fresh = pointer.with_name(f"{pointer.name}.{os.getpid()}")
        fresh.write_text(wanted, encoding="utf-8")
        fresh.replace(pointer)
    if _stamp(folder).exists():
        os.utime(_stamp(folder))


def _remove_unused(data: Path) -> None:
    for stamp in data.glob("env-*/whole"):
        if time.time() - stamp.stat().st_mtime > _UNUSED_S:
            shutil.rmtree(stamp.parent, ignore_errors=True)


@contextmanager
def _one_at_a_time(data: Path) -> Generator[None]:
    """Two sessions that start together take turns; the lock ends with the process."""
    with (data / "lock").open("a+b") as held:
        _wait_for(held)
        yield


def _wait_for(held: IO[bytes]) -> None:
    if os.name != "nt":
        import fcntl

        fcntl.flock(held, fcntl.LOCK_EX)
        return
    import msvcrt

    while True:
        try:
            msvcrt.locking(held.fileno(), msvcrt.LK_LOCK, 1)  # waits for 10 s, then raises
        except OSError:
            continue
        return


if __name__ == "__main__":
    sys.exit(make(Path(sys.argv[1])))
