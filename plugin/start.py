"""Start the server of the Claude Code plugin; nothing has to be installed for it but a Python.

python3 -E -s start.py [DATA]

-E and -s: no variable of a project, and nothing but the standard library and this folder, decides what is imported.
The server runs in an environment of its own in DATA, made once from requirements.lock beside this file by uv if there
is one, else by venv and pip. Where a client keeps data for plugins follows from variables that a project may set, so
this is in the home that the system knows unless another absolute folder is named. That can take longer than a client
waits for a server, so after PATIENCE_S the client is answered from here (`waiting`) until the environment is there.
stdout belongs to MCP; what is done is told on stderr. Needs Python 3.9 and its standard library; the server needs
3.11, which uv can fetch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

if sys.version_info < (3, 9):  # noqa: UP036 - whatever python3 is starts this
    sys.exit("venice-keys: python3 on PATH is too old; Python 3.9 or newer must be there")

import environment
import making
import places
import variables
import waiting

PATIENCE_S = 8.0  # Claude Code gives a server 30 s to answer, a health check less
_LOOK_S = 0.1


def main(arguments: list[str]) -> int:
    given = variables.for_the_server(os.environ)
    data = data_folder(arguments)
    if data is None:
        return waiting.serve(Failed("this system knows no home folder for the user who runs it"), given)
    if environment.is_ready(data):
        return become(environment.command(data), given)
    tell(f"making the server's environment in {data}, once; its log is {environment.log(data).name} there")
    try:
        installer = making.begin(data)
    except OSError as error:
        return waiting.serve(Failed(f"{data} cannot be written to ({error.strerror})"), given)
    started = time.monotonic()
    while installer.poll() is None and time.monotonic() - started < PATIENCE_S:
        time.sleep(_LOOK_S)
    if environment.is_ready(data):
        tell(f"made in {time.monotonic() - started:.0f} s")
        return become(environment.command(data), given)
    return waiting.serve(Making(data, installer), given)


def data_folder(arguments: list[str]) -> Path | None:
    """This user's own folder, or the one that was named; a placeholder that a client left would name a project's."""
    named = arguments[0] if arguments else ""
    return Path(named) if os.path.isabs(named) and "${" not in named else places.data_folder()


class Making:
    """An environment that is being made by another process."""

    def __init__(self, data: Path, installer: subprocess.Popen[bytes]) -> None:
        self._data = data
        self._installer = installer
        self._started = time.monotonic()

    def command(self) -> list[str] | None:
        """What runs the server, once there is something to run it."""
        return environment.command(self._data) if environment.is_ready(self._data) else None

    def problem(self) -> str | None:
        """Why there will be none."""
        if self._installer.poll() is None or environment.is_ready(self._data):
            return None
        return environment.problem(self._data)


class Failed:
    """No environment, and none will come."""

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def command(self) -> list[str] | None:
        return None

    def problem(self) -> str | None:
        return self._problem


def become(command: list[str], variables: dict[str, str]) -> int:
    """Run the server in place of this process, where a system can do that."""
    if os.name == "posix":
        os.execve(command[0], command, variables)  # noqa: S606 - there is no shell to want
    return subprocess.run(command, env=variables, check=False).returncode


def tell(text: str) -> None:
    sys.stderr.write(f"venice-keys: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
    except KeyboardInterrupt:
        status = 130
    # Everything was flushed. Ending in the usual way would abort while a thread still reads stdin.
    os._exit(status)
