"""Delivery of a new key to a program that the operator's policy names, on its standard input."""

import os
import stat
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from venice_mcp.secrets.folders import OTHERS_MAY_WRITE
from venice_mcp.secrets.sinks import PLACEHOLDER, Command, OneDelivery, SinkError, check_variable, reason
from venice_mcp.secrets.types import Secret
from venice_mcp.systems import effective_user, kill_group
from venice_mcp.text import quoted

if TYPE_CHECKING:
    from subprocess import Popen

# What an empty pipe takes at once on every system, so that writing never waits for the program to read.
_MOST_BYTES: Final = 4096
_LAST_WORDS_S: Final = 5.0
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class PreparedCommand(OneDelivery):
    """A program that can be run."""

    def __init__(self, name: str, command: Command, variable: str | None) -> None:
        super().__init__(f"the command {quoted(name)}")
        self._command = command
        self._variable = variable

    def _deliver(self, secret: Secret) -> str | None:
        """Run the program and give it the secret and a line feed; it must take both and end well in time."""
        try:
            data = (secret.reveal() + "\n").encode()
        except UnicodeEncodeError:
            return "it is not valid text"
        if len(data) > _MOST_BYTES:
            return "it is too long"
        problem = _unfit(self._command.argv[0])
        return problem or _run(self._command, self._command.filled(self._variable), data)


def prepare_command(name: str, variable: str | None, commands: Mapping[str, Command]) -> PreparedCommand:
    """Find out whether the command can be run; nothing is run.

    Raises:
        SinkError: the policy does not define it, it takes other arguments, or others could have changed the program.
    """
    command = commands.get(name)
    if command is None:
        known = ", ".join(quoted(each) for each in sorted(commands)) or "none"
        raise SinkError(f"this server's policy defines no command {quoted(name)}; it defines: {known}")
    if sys.platform == "win32":
        raise SinkError("this system offers no way to end a program with all that it started")
    odd = not command.argv or any("\0" in item for item in command.argv)
    problem = "it has no program" if odd else _unfit(command.argv[0])
    if problem:
        raise SinkError(f"the command {quoted(name)} cannot be run: {problem}")
    if command.uses_variable and variable is None:
        raise SinkError(f"the command {quoted(name)} needs a variable")
    if variable is not None:
        if not command.uses_variable:
            raise SinkError(f"the command {quoted(name)} takes no variable")
        check_variable(variable)
    return PreparedCommand(name, command, variable)


def _unfit(program: str) -> str | None:
    """Why a program must not get a secret: others than its owner and root could have put it there."""
    if not os.path.isabs(program) or PLACEHOLDER in program:
        return "its program is not an absolute path"
    try:
        real = os.path.realpath(program, strict=True)
        status = os.stat(real)
        # A link can be turned by whoever may write to the folder it stands in.
        folders = [os.stat(os.path.dirname(path)) for path in (program, real)]
    except OSError as error:
        return reason(error)
    if not stat.S_ISREG(status.st_mode) or not os.access(real, os.X_OK):
        return "its program is not an executable file"
    if status.st_uid not in (0, effective_user()):
        return "its program belongs to another user"
    if any(each.st_mode & OTHERS_MAY_WRITE for each in (status, *folders)):
        return "others may write to its program or the folder of it"
    return None


def _environment(passed: Iterable[str]) -> dict[str, str]:
    """A small environment: variables that a project sets could lead the program, and the secret, somewhere else."""
    found = {"PATH": _PATH, "LANG": "C.UTF-8"}
    if sys.platform != "win32":  # where `prepare_command` has refused
        import pwd

        with suppress(KeyError):
            user = pwd.getpwuid(os.getuid())
            found |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
    return found | {name: os.environ[name] for name in passed if name in os.environ and not name.startswith("VENICE_")}


def _run(command: Command, argv: list[str], data: bytes) -> str | None:
    import subprocess  # slow to import, and most starts never need it

    timeout_s = command.timeout_s
    until = time.monotonic() + timeout_s
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env=_environment(command.pass_env),
            start_new_session=True,
        )
    except OSError as error:
        return f"it could not be started: {reason(error)}"
    try:
        accepted = _feed(process, data)
        status = process.wait(max(until - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return f"it did not end within {timeout_s:g} s and was killed"
    finally:
        _end(process)
    if status != 0:
        return f"it ended with status {status}" if status > 0 else f"it was ended by signal {-status}"
    return None if accepted else "it ended before it took the secret"


def _feed(process: "Popen[bytes]", data: bytes) -> bool:
    """Whether the program, or the pipe to it, took all of it."""
    if process.stdin is None:
        return False
    try:
        return process.stdin.write(data) == len(data)
    except OSError:
        # It closed its end; how it ends says more.
        return False
    finally:
        with suppress(OSError):
            process.stdin.close()


def _end(process: "Popen[bytes]") -> None:
    """Kill the program with all that it started, if it still runs."""
    if process.poll() is not None:
        return
    # It leads its group, whose number is its own and cannot be given to others before it was waited for.
    with suppress(OSError):
        kill_group(process.pid)
    import subprocess

    with suppress(subprocess.TimeoutExpired):
        process.wait(_LAST_WORDS_S)
