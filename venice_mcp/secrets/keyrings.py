"""Delivery of a new key into the keyring of the operating system, through the optional `keyring` package."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol, cast

from venice_mcp.secrets.sinks import OneDelivery, SinkError, check_variable
from venice_mcp.secrets.types import Secret
from venice_mcp.systems import home, known_folder
from venice_mcp.text import plain, quoted

SERVICE: Final = "venice-mcp-keys"

_OF_SYSTEMS: Final = frozenset(
    f"keyring.backends.{system}" for system in ("SecretService", "macOS", "Windows", "kwallet", "libsecret")
)
_CHAINER: Final = "keyring.backends.chainer"
_NO_STORE: Final = frozenset({"keyring.backends.fail", "keyring.backends.null"})


class Backend(Protocol):
    """What is used of a `keyring.backend.KeyringBackend`."""

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...

    def delete_password(self, service: str, username: str) -> None: ...


def system_keyring() -> "Backend | None":
    """The backend that the keyring package chooses, which takes a while the first time; None without the package.

    The package's own settings may name a folder to import from. They are read in the home that the system knows only:
    a project that sets HOME or XDG_CONFIG_HOME could otherwise run its code here, beside the keys. May raise anything,
    because looking for backends runs other people's code.
    """
    try:
        import keyring  # optional and slow to import
    except ImportError:
        return None
    from keyring.util import platform_

    platform_.config_root = _settings_folder
    return cast("Backend", keyring.get_keyring())


def _settings_folder() -> Path:
    """Where the keyring package keeps its settings; a place without any if this user has no home."""
    if sys.platform == "win32":
        folder = known_folder("local")
        return folder / "Python Keyring" if folder else Path(os.devnull)
    folder = home()
    return folder / ".config" / "python_keyring" if folder else Path(os.devnull)


class PreparedEntry(OneDelivery):
    """An entry of the keyring that is free."""

    def __init__(self, backend: Backend, entry: str, accepted: tuple[str, ...]) -> None:
        super().__init__(f"the system keyring, entry {entry}")
        self._backend = backend
        self._entry = entry
        self._accepted = accepted

    def _deliver(self, secret: Secret) -> str | None:
        """Make the entry and read it back; an entry that is not as it should be is removed again."""
        # A chain looks its links up anew each time, and somebody may have taken the entry since.
        problem = _unfit(self._backend, self._accepted) or _taken(self._backend, self._entry)
        if problem:
            return problem
        try:
            self._backend.set_password(SERVICE, self._entry, secret.reveal())
            kept = self._backend.get_password(SERVICE, self._entry)
            if isinstance(kept, str) and Secret(kept) == secret:
                return None
            problem = "reading it back gave something else"
        except Exception as error:  # noqa: BLE001 - a backend is other people's code and may raise anything
            problem = _failure(error)
        return problem + _removed(self._backend, self._entry)


def prepare_entry(entry: str, accepted: tuple[str, ...]) -> PreparedEntry:
    """Find out whether the keyring can take a new entry; may ask the person to unlock it.

    Raises:
        SinkError: there is no keyring of the operating system, nor one of `accepted`, or the entry exists.
    """
    check_variable(entry)
    backend = _backend(accepted)
    problem = _taken(backend, entry)
    if problem:
        raise SinkError(f"the system keyring cannot be used: {problem}")
    return PreparedEntry(backend, entry, accepted)


def entry_now(entry: str, accepted: tuple[str, ...]) -> Secret | None:
    """What the entry holds; None if there is none.

    Raises:
        SinkError: that cannot be told.
    """
    backend = _backend(accepted)
    try:
        kept = backend.get_password(SERVICE, entry)
        return None if kept is None else Secret(kept)
    except Exception as error:  # noqa: BLE001 - a backend is other people's code and may raise anything
        problem = _failure(error)
    raise SinkError(f"the system keyring cannot be read: {problem}")


def _backend(accepted: tuple[str, ...]) -> Backend:
    try:
        backend = system_keyring()
        problem = _unfit(backend, accepted)
    except Exception as error:  # noqa: BLE001 - looking for backends runs other people's code
        problem = _failure(error)
    else:
        if backend is None:
            raise SinkError("the keyring package is missing; install venice-mcp[keyring]")
        if problem is None:
            return backend
    raise SinkError(f"the system keyring cannot be used: {problem}")


def _unfit(backend: object, accepted: tuple[str, ...]) -> str | None:
    """Why a backend, or a link of a chain of them, must not get a secret."""
    kind = type(backend)
    if kind.__module__ == _CHAINER:
        links = list(cast("Iterable[object]", getattr(backend, "backends", ())))
        if not links:
            return "this system offers none"
        return next((problem for link in links if (problem := _unfit(link, accepted))), None)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__ in _OF_SYSTEMS or name in accepted:
        return None
    if kind.__module__ in _NO_STORE:
        return "this system offers none"
    return (
        f"the backend {quoted(name, 120)} is none of an operating system;"
        " the operator can name it in the policy if it keeps secrets safe"
    )


def _taken(backend: Backend, entry: str) -> str | None:
    try:
        if backend.get_password(SERVICE, entry) is None:
            return None
    except Exception as error:  # noqa: BLE001 - a backend is other people's code and may raise anything
        return _failure(error)
    return f"it already has an entry {entry}, and nothing is overwritten"


def _removed(backend: Backend, entry: str) -> str:
    """Remove the entry; words to add if it may still be there."""
    try:
        if backend.get_password(SERVICE, entry) is not None:
            backend.delete_password(SERVICE, entry)
        if backend.get_password(SERVICE, entry) is None:
            return ""
    except Exception:  # noqa: BLE001, S110 - whatever it was, the entry may still be there
        pass
    return "; its entry could not be removed"


def _failure(error: Exception) -> str:
    # Only the name of its type: the message may hold anything, the secret too.
    return f"it failed with {plain(type(error).__name__, 60)}"
