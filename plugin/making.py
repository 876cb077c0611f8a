"""Making the environment the plugin's server runs in.

`python3 making.py [DATA]` makes it; `begin` starts that as a process of its own, which goes on when the client loses
its patience, and whose output is in the log. No package is installed that requirements.lock has no hash for, and none
is built: building would fetch others, without a hash.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import environment
import places
import variables

OLDEST, NEWEST = (3, 11), (3, 14)
"""The versions of Python that the lock has wheels for."""
USED = "mcp, httpx, eth_account, keyring, venice_mcp.server"
"""What the server cannot do without; its Python can import it, or the environment is not whole."""
_UNUSED_S = 30 * 24 * 3600
_TIMEOUT_S = 900


def begin(data: Path) -> subprocess.Popen[bytes]:
    """Start making the environment.

    Raises:
        OSError: the data folder cannot be written to.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    # What pip says may name an index with its password. Added to: another installer may be at work.
    file = os.open(environment.log(data), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(file, "ab") as output:
        if os.name != "nt":
            os.fchmod(file, 0o600)
        return subprocess.Popen(
            [sys.executable, "-E", "-s", str(Path(__file__).resolve()), str(data)],
            cwd=data,  # not where a person works, whose files would configure pip and uv
            env=variables.for_installing(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A client that gives up takes its own processes with it, and would so each time. Means nothing on Windows.
            start_new_session=True,
        )


def make(data: Path) -> str | None:
    """Make the environment in one way or another; what went wrong, if none did."""
    folder = environment.folder(data)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _one_at_a_time(data) as held:
        if environment.is_ready(data):
            return None
        _clear_own_log(data)
        # Its Python may have got a newer one's place that does as well.
        if environment.stamp(data).exists() and _seal(data, held):
            return None
        problems: list[str] = []
        for name, commands in _ways(data, held):
            print(f"with {name}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            if all(_run(each, data, held) for each in commands) and _seal(data, held):
                _remove_unused(data)
                return None
            problems.append(f"{name} failed, see above.")
        shutil.rmtree(folder, ignore_errors=True)
    hint = (
        f"Python {_dotted(OLDEST)} to {_dotted(NEWEST)} (on Debian and Ubuntu with the package python3-venv) or uv must"
        " be on PATH, and the package index must be reachable."
    )
    return " ".join([*problems, hint])


def _ways(data: Path, held: IO[bytes]) -> list[tuple[str, list[list[str]]]]:
    """The commands that make and fill an environment, best way first."""
    folder, python = str(environment.folder(data)), str(environment.python(data))
    locked = ["--quiet", "--only-binary", ":all:", "--require-hashes", "-r", str(environment.LOCK)]
    own = _fitting(data, held)
    found: list[tuple[str, list[list[str]]]] = []
    if uv := shutil.which("uv") or _in_home("uv"):
        wanted = own or f">={_dotted(OLDEST)},<{NEWEST[0]}.{NEWEST[1] + 1}"
        made = [uv, "venv", "--no-project", "--quiet", "--python", wanted, folder]
        found.append(("uv", [made, [uv, "pip", "install", "--compile-bytecode", "--python", python, *locked]]))
    if own:
        pip = [python, "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *locked]
        found.append(("venv and pip", [[own, "-I", "-m", "venv", folder], pip]))
    return found


def _fitting(data: Path, held: IO[bytes]) -> str | None:
    """A Python that the lock has wheels for."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python{NEWEST[0]}.{minor}")
        # A version manager puts names on PATH that stand for nothing.
        if found and _run([found, "-I", "-c", ""], data, held):
            return found
    return None


def _in_home(program: str) -> str | None:
    home = places.home()
    return shutil.which(program, path=str(home / ".local" / "bin")) if home else None


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _run(each: list[str], data: Path, held: IO[bytes]) -> bool:
    """Whether a command ended well. It holds the lock on its own: this process may be killed, and it goes on."""
    own = () if os.name == "nt" else (held.fileno(),)
    try:
        return subprocess.run(each, cwd=data, check=False, timeout=_TIMEOUT_S, pass_fds=own).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{each[0]}: {type(error).__name__}", flush=True)
        return False


# --- files ----------------------------------------------------------------------------------------


def _seal(data: Path, held: IO[bytes]) -> bool:
    """Have the environment import this version of the plugin, see whether it can, and say that it is whole."""
    try:
        # A line of Python, in ASCII: how other lines are decoded depends on Python's version and on Windows.
        line = f"import sys; sys.path.append({str(environment.ROOT)!a})\n"
        environment.pointer(data).write_text(line, encoding="ascii")
        if not _run([str(environment.python(data)), "-I", "-c", f"import {USED}"], data, held):
            print("what was installed cannot be used", flush=True)
            return False
        stamp = environment.stamp(data)
        fresh = stamp.with_name("whole.new")
        fresh.write_text(environment.state(data), encoding="ascii")
        fresh.replace(stamp)
    except OSError as error:
        print(f"the environment is not whole: {type(error).__name__}", flush=True)
        return False
    return True


def _remove_unused(data: Path) -> None:
    """Remove environments of other versions that were not used, or not finished, for a month."""
    for folder in data.glob("env-*"):
        stamp = folder / "whole"
        with suppress(OSError):
            last = (stamp if stamp.exists() else folder).stat().st_mtime
            if folder != environment.folder(data) and time.time() - last > _UNUSED_S:
                shutil.rmtree(folder, ignore_errors=True)


def _clear_own_log(data: Path) -> None:
    """Begin the log anew, if the output goes there."""
    with suppress(OSError):
        if os.path.samestat(os.fstat(1), environment.log(data).stat()):
            os.ftruncate(1, 0)


@contextmanager
def _one_at_a_time(data: Path) -> Generator[IO[bytes]]:
    """Two sessions that start together take turns; the lock ends with the processes that hold it."""
    with (data / "lock").open("a+b") as held:
        _wait_for(held)
        yield held


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
    named = Path(sys.argv[1]) if len(sys.argv) > 1 else places.data_folder()
    sys.exit(make(named) if named else "this system knows no home folder for the user who runs it")
