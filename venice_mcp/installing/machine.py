"""Where a host keeps its configuration: functions of platform and environment, for any platform."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath


@dataclass(frozen=True)
class Machine:
    """What places depend on.

    Attributes:
        platform: as `sys.platform` has it.
        home: this user's home, which is where hosts look too.
        env: the environment of this process.
        matching: what is in a folder under a pattern; nothing on a machine that is only thought of.
    """

    platform: str
    home: str
    env: Mapping[str, str]
    matching: Callable[[PurePath, str], Iterable[PurePath]] = lambda _folder, _pattern: ()

    def path(self, text: str) -> PurePath:
        return PureWindowsPath(text) if self.platform == "win32" else PurePosixPath(text)

    @property
    def at_home(self) -> PurePath:
        return self.path(self.home)

    @property
    def dot_config(self) -> PurePath:
        """~/.config on every platform, or what XDG_CONFIG_HOME names instead."""
        return self._named("XDG_CONFIG_HOME") or self.at_home / ".config"

    @property
    def programs_data(self) -> PurePath:
        """Where desktop programs keep what belongs to a user."""
        if self.platform == "win32":
            return self._named("APPDATA") or self.at_home / "AppData" / "Roaming"
        if self.platform == "darwin":
            return self.at_home / "Library" / "Application Support"
        return self.dot_config

    @property
    def packaged_data(self) -> PurePath:
        """Where Windows keeps what programs from its store have in place of `programs_data`."""
        return (self._named("LOCALAPPDATA") or self.at_home / "AppData" / "Local") / "Packages"

    def moved(self, variable: str, usual: PurePath) -> PurePath:
        """The folder that a variable names, else the usual one. A relative one is as useless as its host finds it."""
        named = self.env.get(variable, "").strip()
        return self.path(named) if named else usual

    def _named(self, variable: str) -> PurePath | None:
        folder = self.path(self.env.get(variable, "").strip())
        return folder if folder.is_absolute() else None


def this_machine() -> Machine:
    def matching(folder: PurePath, pattern: str) -> Iterable[PurePath]:
        return sorted(Path(folder).glob(pattern))

    return Machine(sys.platform, os.path.expanduser("~"), os.environ, matching)
