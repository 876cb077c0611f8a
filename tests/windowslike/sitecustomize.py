"""Makes a Python process on POSIX look to our code like one on Windows, as far as that goes.

What Windows has not is taken away: modules, functions, flags, signals, the handlers of the event loop. The file system,
the paths and everything compiled stay those of POSIX, so this shows what would fail for want of a name, and the
sentences that refuse; not that anything works on Windows. Loaded by processes that have its folder on PYTHONPATH.
"""

import asyncio
import ctypes
import importlib
import os
import select
import signal
import socket
import sys
from typing import Any, cast

# Other people's modules decide when they are imported what system this is; they keep what they found.
for _name in ("anyio._backends._asyncio", "httpx", "mcp.server.mcpserver", "sqlite3", "subprocess", "uuid", "uvicorn"):
    importlib.import_module(_name)

_MISSING: dict[Any, tuple[str, ...]] = {
    os: (
        *("getuid", "geteuid", "getgid", "fork", "forkpty", "setsid", "killpg", "getpgid", "chown", "fchown", "mkfifo"),
        *("pread", "posix_fallocate", "major", "minor", "openpty", "O_NOFOLLOW", "O_CLOEXEC", "O_DIRECTORY"),
        *("O_NONBLOCK", "O_NOCTTY"),
    ),
    select: ("poll", "POLLHUP", "POLLRDHUP"),
    signal: ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE"),
}
for _module, _names in _MISSING.items():
    for _name in _names:
        if hasattr(_module, _name):
            delattr(_module, _name)
for _name in ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"):
    sys.modules[_name] = cast("Any", None)
os.supports_dir_fd = set()
os.supports_fd = set()


def _no_handlers(*_: object) -> None:
    raise NotImplementedError


cast("Any", asyncio.SelectorEventLoop).add_signal_handler = _no_handlers
socket.SO_EXCLUSIVEADDRUSE = socket.SO_REUSEADDR  # pyright: ignore[reportAttributeAccessIssue]


class _Shell:
    """What is asked of shell32 and ole32: this user's folders, all of which are $WINDOWSLIKE_PROFILE."""

    def SHGetKnownFolderPath(self, _identifier: object, _flags: int, _token: None, found: Any) -> int:
        found._obj.value = os.environ["WINDOWSLIKE_PROFILE"]
        return 0

    def CoTaskMemFree(self, _found: object) -> None: ...


class _Libraries:
    shell32 = ole32 = _Shell()


cast("Any", ctypes).windll = _Libraries()
sys.platform = "win32"
