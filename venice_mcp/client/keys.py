"""The configured keys while the server runs: looked up once, known to the redactor from then on."""

from dataclasses import replace

import anyio
import anyio.to_thread

from venice_mcp.secrets import Redactor
from venice_mcp.settings import VARIABLES, Credential, KeyKind, Settings, from_keyring
from venice_mcp.wallet import KeystoreError, open_keystore


class ConfiguredKeys:
    """Keys from the settings, and from the operating system's keyring when the settings have none.

    The keyring is asked on first need and in a thread: it is slow to import and may wait for a person to unlock it.
    So is a keystore opened, which is slow on purpose.
    """

    def __init__(self, settings: Settings, redactor: Redactor) -> None:
        self._settings = settings
        self._redactor = redactor
        self._found: dict[KeyKind, Credential] = {}
        self._lock = anyio.Lock()
        for kind, credential in settings.credentials.items():
            if credential.keystore is not None:
                redactor.add(credential.keystore.password, label="wallet password")
            elif credential.secret is not None or credential.problem is not None or not settings.use_keyring:
                self._remember(kind, credential)

    @property
    def host(self) -> str:
        """What started this server, as the settings know it."""
        return self._settings.host

    async def get(self, kind: KeyKind) -> Credential:
        """The key of this kind, or a credential without a secret that says why there is none."""
        if kind in self._found:  # never behind a keyring that waits for a person
            return self._found[kind]
        async with self._lock:
            if kind not in self._found:
                credential = self._settings.credentials.get(kind, Credential(kind))
                if credential.keystore is not None:
                    credential = await anyio.to_thread.run_sync(_opened, credential)
                elif self._settings.use_keyring:
                    credential = await anyio.to_thread.run_sync(from_keyring, kind, self._settings.mode)
                self._remember(kind, credential)
        return self._found[kind]

    async def account(self) -> str:
        """Whose keys these are, for the local record: approvals of one account mean nothing for another."""
        if self._settings.mode == "sandbox":
            return self._settings.account
        admin = await self.get("ADMIN")
        return f"{self._settings.account}:{admin.secret.last6 if admin.secret else '-'}"

    async def runs_on(self, api_key_type: str, last6: str) -> bool:
        """Whether this server itself uses such a key, as far as type and last six tell."""
        held = [await self.get("ADMIN"), await self.get("INFERENCE")]
        return any(
            item.secret is not None and item.kind == api_key_type and item.secret.last6 == last6 for item in held
        )

    async def all(self) -> list[Credential]:
        return [await self.get(kind) for kind in VARIABLES]

    def _remember(self, kind: KeyKind, credential: Credential) -> None:
        if credential.secret is not None:
            self._redactor.add(credential.secret, label="wallet key" if kind == "WALLET" else "key")
        self._found[kind] = credential


def _opened(credential: Credential) -> Credential:
    """The key out of its keystore, or why it does not come out."""
    if credential.keystore is None:
        return credential
    try:
        secret = open_keystore(credential.keystore.content, credential.keystore.password)
    except KeystoreError as error:
        return replace(credential, keystore=None, problem=f"The {credential.origin} {error}")
    return replace(credential, keystore=None, secret=secret)
