"""Reading a policy file without trusting whoever else could have written it."""

import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from venice_mcp.policy.places import PolicyError
from venice_mcp.policy.rules import Policy
from venice_mcp.text import quoted

MAX_BYTES = 64 * 1024
_MAX_LINKS = 40
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_POSITION = re.compile(r"at line [0-9]+, column [0-9]+|at end of document")


def read(path: Path, *, trusted: bool = True) -> Policy:
    """The policy in a file.

    Args:
        path: of the file, absolute; links are followed.
        trusted: whether it is the operator's own, which alone may grant anything.

    Raises:
        PolicyError: it cannot be read, others could have written it, or it says what no policy can say.
    """
    data = _parsed(_text(path))
    from venice_mcp.policy.document import policy_of  # only needed when there is a policy

    return policy_of(data, trusted=trusted)


def _text(path: Path) -> str:
    try:
        for hop in _hops(path):
            _check_folder(hop.parent)
            for folder in hop.parent.parents:
                _check_above(folder)
        # Opening a pipe must not wait for whoever may write to it.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            _check_file(os.fstat(file))
            with os.fdopen(file, "rb", closefd=False) as stream:
                data = stream.read(MAX_BYTES + 1)
        finally:
            os.close(file)
    except OSError as error:
        raise PolicyError(f"it cannot be read ({_reason(error)})") from None
    except ValueError:
        raise PolicyError("its path names no file") from None
    if len(data) > MAX_BYTES:
        raise PolicyError(f"it is longer than {MAX_BYTES // 1024} KiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PolicyError("it is not UTF-8 text") from None


def _parsed(text: str) -> dict[str, object]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # The parser's words may repeat what stands in the file, so only the place is taken over.
        place = _POSITION.search(str(error)) if isinstance(error, ValueError) else None
        raise PolicyError(f"it is not TOML{f' ({place[0]})' if place else ''}") from None


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else "unknown reason"


# --- who could have written it --------------------------------------------------------------------


def _hops(path: Path) -> Iterator[Path]:
    """Every link on the way to the file, in whichever folder it stands, and what the path is in the end."""
    current, rest = Path(path.anchor), list(path.parts[1:])
    for _ in range(_MAX_LINKS):
        while rest and not (current / rest[0]).is_symlink():
            current /= rest.pop(0)
        if not rest:
            break
        link = current / rest.pop(0)
        yield link
        target = Path(os.path.normpath(current / os.readlink(link)))
        current, rest = Path(target.anchor), [*target.parts[1:], *rest]
    else:
        raise PolicyError("it cannot be read (too many links lead to it)")
    yield path
    yield Path(os.path.realpath(path))


def _check_folder(folder: Path) -> None:
    """Whoever may write to the folder itself may put another file in the place of this one."""
    found = os.stat(folder)
    if sys.platform == "win32":
        return
    if found.st_uid not in (0, os.getuid()):
        raise PolicyError(f"the folder {quoted(str(folder), 200)} belongs to another user")
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise PolicyError(f"others may write to the folder {quoted(str(folder), 200)} (chmod go-w)")


def _check_above(folder: Path) -> None:
    """Further up it is enough that others cannot rename what is there, as in a sticky folder such as /tmp.

    Who owns it is left alone: in a container the folders above a home often seem to be nobody's.
    """
    found = os.stat(folder)
    if sys.platform != "win32" and found.st_mode & _WRITABLE_BY_OTHERS and not found.st_mode & stat.S_ISVTX:
        raise PolicyError(f"others may write to the folder {quoted(str(folder), 200)} (chmod go-w)")


def _check_file(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise PolicyError("it is not a regular file")
    if sys.platform == "win32":
        return
    if found.st_uid not in (0, os.getuid()):
        raise PolicyError("it belongs to another user")
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise PolicyError("others may write to it (chmod go-w)")
