"""Where a host keeps its configuration: pure functions of platform and environment, for any platform."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath


@dataclass(frozen=True)
class Machine:
    """What places depend on.

    Attributes:
        platform: as `sys.platform` has it.
        home: this user's home, which is where hosts look too.
        env: the environment of this process.
    """

    platform: str
    home: str
    env: Mapping[str, str]

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

    def moved(self, variable: str, usual: PurePath) -> PurePath:
        """The folder that a variable names, else the usual one."""
        return self._named(variable) or usual

    def _named(self, variable: str) -> PurePath | None:
        folder = self.path(self.env.get(variable, "").strip())
        return folder if folder.is_absolute() else None
