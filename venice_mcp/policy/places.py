"""Where the operator's policy and the default state are, worked out without the environment.

HOME, XDG_CONFIG_HOME and the like can be set by a project that configures this server. If they decided where the
operator's file is, a project could hide it, or bring a file of its own that grants something.
"""

import sys
from pathlib import Path

from venice_mcp.systems import home, known_folder

NAME = "venice-mcp"
FILE = "policy.toml"


class PolicyError(Exception):
    """A policy that cannot be used: what is wrong with it, in our own words."""


def operator_file(config_dir: Path | None = None) -> Path | None:
    """The operator's own policy, whether it exists or not; None when there is no place for one."""
    folder = config_dir or operator_dir()
    return folder / FILE if folder else None


def operator_dir() -> Path | None:
    """The folder of the operator's own policy."""
    if sys.platform == "win32":
        return _in_local()
    return _in_home("Library/Application Support" if sys.platform == "darwin" else ".config")


def trusted_state_dir() -> Path | None:
    """Where state is kept when nobody chose otherwise."""
    if sys.platform == "win32":
        return _in_local()
    return _in_home("Library/Application Support" if sys.platform == "darwin" else ".local/state")


def _in_local() -> Path | None:
    # Not platformdirs: what it says there can be overridden by a variable.
    folder = known_folder("local")
    return folder / NAME if folder else None


def _in_home(place: str) -> Path | None:
    folder = home()
    return folder / place / NAME if folder else None


def absolute(name: str) -> Path:
    """The path that a policy names. A leading ~ is the home that the system knows.

    Raises:
        PolicyError: it is neither absolute nor below ~, or no system could open it.
    """
    if "\0" in name or ".." in Path(name).parts:
        raise PolicyError("must be a path without .. in it")
    if name == "~" or name.startswith(("~/", "~\\") if sys.platform == "win32" else "~/"):
        folder = home()
        if folder is None:
            raise PolicyError("begins with ~, and the system knows no home for this user; write the whole path")
        return folder / name[2:]
    if not Path(name).is_absolute():
        raise PolicyError("must be an absolute path or begin with ~/")
    return Path(name)
