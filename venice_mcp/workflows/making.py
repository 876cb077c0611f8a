"""Making a key: checked before, made once, its secret delivered or the key revoked again, lost answers found out."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import anyio.to_thread

from venice_mcp.client import VeniceClient
from venice_mcp.consent import Consent, canonical
from venice_mcp.errors import AnswerLost, Changed, VeniceError
from venice_mcp.guard import Guard, Verdict
from venice_mcp.models.requests import NewKeySettings
from venice_mcp.models.wire import MAX_ACTIVE_KEYS, Key, NewKeyData, one_spelling_of_ranges
from venice_mcp.questions import label, shown
from venice_mcp.secrets import FileSink, PreparedFile, Secret, SinkError
from venice_mcp.store import MAKING_PACE, Store
from venice_mcp.text import plain, plural, quoted
from venice_mcp.workflows.changing import revoke
from venice_mcp.workflows.critical import Critical

MAX_PACE_WAIT_S = 25.0
READ_BACK_S = 8.0
_NOT_READ_BACK = "The new key could not be read back; its settings are told as they were asked for."
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """A key that exists at Venice. `secret` is for display; None when it was delivered to `delivered_to`."""

    id: str
    last6: str
    secret: Secret | None
    delivered_to: str | None
    notes: tuple[str, ...] = field(default=())


class Signer(Protocol):
    """A wallet, here or elsewhere."""

    async def token(self) -> Secret:
        """The token to sign."""
        ...

    async def sign(self, token: Secret) -> Secret:
        """Its signature; called only once a person's approval was spent."""
        ...


@dataclass(frozen=True)
class Maker:
    """What making a key needs. `sleep` and `now` are injected."""

    client: VeniceClient
    guard: Guard
    store: Store
    critical: Critical
    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep

    async def create(self, verdict: Verdict, path: str | None) -> Made:
        """Redeem the verdict and make the key it names.

        Raises:
            VeniceError: with `changed` telling whether a key exists now, and which.
        """
        settings = NewKeySettings.model_validate(verdict.case.proposal.intent)

        async def post(consent: Consent) -> NewKeyData:
            return await self.client.create_api_key(settings, consent)

        return await self._make(verdict, settings, path, self.room_for_one_more, post, ours=True)

    async def mint(self, verdict: Verdict, path: str | None, signer: Signer) -> Made:
        """Like `create`, for a wallet. The token is fetched before the approval is spent, and signed after."""
        intent = dict(verdict.case.proposal.intent)
        address = str(intent.pop("address"))
        settings = NewKeySettings.model_validate(intent)
        tokens: list[Secret] = []

        async def look() -> list[Key] | None:
            tokens.append(await signer.token())
            return await self._keys_if_readable()

        async def post(consent: Consent) -> NewKeyData:
            signature = await signer.sign(tokens[0])
            return await self.client.create_web3_api_key(
                settings, address=address, token=tokens[0], signature=signature, consent=consent
            )

        return await self._make(verdict, settings, path, look, post, ours=False)

    async def _keys_if_readable(self) -> list[Key] | None:
        """What a mint can be compared with afterwards: it needs no ADMIN key, so it may not fail for want of one."""
        try:
            return await self.client.list_api_keys()
        except VeniceError:
            return None

    async def room_for_one_more(self) -> list[Key]:
        """The active keys, if there is room for another.

        Raises:
            VeniceError: 500 keys are active.
        """
        keys = await self.client.list_api_keys()
        if len(keys) >= MAX_ACTIVE_KEYS:
            raise VeniceError(
                f"The account has {len(keys)} active keys, and Venice allows {MAX_ACTIVE_KEYS}.",
                next_step="Revoke keys nobody uses (venice_list_api_keys with unused_for_days), then call again.",
                code="too_many_keys",
            )
        return keys

    async def keep_pace(self) -> None:
        """Wait, for at most 25 s, until one more key stays within 20 creates a minute on this machine."""
        since = self.now() - MAKING_PACE.window
        account = await self.client.keys.account()
        spent = await anyio.to_thread.run_sync(
            lambda: self.store.spent_since(account=account, tools=MAKING_PACE.tools, since=since)
        )
        if len(spent) < MAKING_PACE.most:
            return
        wait = (spent[-MAKING_PACE.most] + MAKING_PACE.window - self.now()).total_seconds()
        if wait > MAX_PACE_WAIT_S:
            raise VeniceError(
                f"{len(spent)} keys were made in the last minute, and Venice allows {MAKING_PACE.most}.",
                next_step=f"Call again in {int(wait) + 1} s; the person will be asked again.",
                code="create_pace",
            )
        await self.sleep(max(wait, 0.0))

    async def _make(
        self,
        verdict: Verdict,
        settings: NewKeySettings,
        path: str | None,
        look: Callable[[], Awaitable[list[Key] | None]],
        post: Callable[[Consent], Awaitable[NewKeyData]],
        *,
        ours: bool,
    ) -> Made:
        approved = await self.guard.judge(verdict)
        before = await look()
        await self.keep_pace()
        prepared = await anyio.to_thread.run_sync(prepare, path) if path is not None else None
        try:
            # From the moment the approval is spent nothing may interrupt: the key and its secret must be accounted for.
            with self.critical.section(f"making the key {quoted(settings.description)}") as section:
                section.leftover = prepared.discard if prepared is not None else None
                consent = await self.guard.redeem(approved)
                try:
                    new = await post(consent)
                except AnswerLost as lost:
                    raise await self._account_for(lost, settings, before, ours=ours) from None
                section.doing = f"making the key {_name(new)}"
                made = await self._deliver(new, consent, prepared)
                _log.info(
                    "Made the key %s; its secret goes to %s", _name(new), "the chat" if path is None else "a file"
                )
        finally:
            if prepared is not None:
                prepared.discard()
        return replace(made, notes=await self._last_look(made, new, settings, consent, ours=ours))

    async def _deliver(self, new: NewKeyData, consent: Consent, prepared: PreparedFile | None) -> Made:
        secret = new.api_key
        if prepared is None:
            return Made(new.id, secret.last6, secret, None)
        try:
            await anyio.to_thread.run_sync(prepared.write, secret)
        except OSError as error:
            reason = str(error) if isinstance(error, SinkError) else type(error).__name__
            raise await self._take_back(new, consent, reason) from None
        return Made(new.id, secret.last6, None, prepared.path)

    async def _last_look(
        self, made: Made, new: NewKeyData, settings: NewKeySettings, consent: Consent, *, ours: bool
    ) -> tuple[str, ...]:
        """Notes on the new key, read back. It can be cancelled, and then a key nobody has seen is revoked."""
        with self.critical.section(f"handing over the key {_name(new)}", shield=False):
            try:
                await anyio.lowlevel.checkpoint()
                return await self._doubts(new, settings, ours=ours)
            except anyio.get_cancelled_exc_class():
                with self.critical.section(f"revoking the key {_name(new)} again"):
                    await self._nobody_waits(made, new, consent)
                raise

    async def _doubts(self, new: NewKeyData, settings: NewKeySettings, *, ours: bool) -> tuple[str, ...]:
        """Notes on settings that are not as asked for; the answer to a create may echo them wrongly, so it is read."""
        notes = (_NOT_READ_BACK,) if ours else ()
        # Whatever goes wrong here, the key exists and its secret must still be handed over.
        with anyio.move_on_after(READ_BACK_S), suppress(Exception):
            key = await self.client.get_api_key(new.id) if ours else await self._listed(new.id)
            if key is not None:
                notes = self._differences(settings, key.settings())
        return notes

    async def _listed(self, key_id: str) -> Key | None:
        """The key if the ADMIN key's account lists it; a minted one may belong to another account."""
        return next((key for key in await self._keys_if_readable() or () if key.id == key_id), None)

    def _differences(self, settings: NewKeySettings, got: Mapping[str, Any]) -> tuple[str, ...]:
        wanted = settings.model_dump(exclude_none=True) | {"usd_cap": settings.usd_cap, "diem_cap": settings.diem_cap}
        wanted.pop("ip_allowlist", None)
        if settings.ip_allowlist is not None and got["ip_allowlist"] is not None:
            wanted["ip_allowlist"] = one_spelling_of_ranges(settings.ip_allowlist)
        now = self.now()
        return tuple(
            f"ATTENTION: Venice set {label(name)} to {shown(name, got[name], now)},"
            f" not {shown(name, wanted[name], now)} as asked for."
            for name in wanted
            if canonical(got[name]) != canonical(wanted[name])
        )

    async def _take_back(self, new: NewKeyData, consent: Consent, why: str) -> VeniceError:
        """Revoke the key whose secret could not be saved; nobody holds it, so it must not live."""
        key_id = plain(new.id, 40)
        problem = f"The key {_name(new)} was made, but its secret could not be saved: {plain(why, 200)}."
        try:
            await revoke(self.client, new.id, self.guard.undo(consent))
        except VeniceError as error:
            return VeniceError(
                f"{problem} Revoking it again failed too: {error.what}",
                next_step=f"Revoke {key_id} with venice_revoke_api_key; its secret is lost.",
                changed=Changed.SOMETHING,
                code="secret_lost",
            )
        return VeniceError(
            f"{problem} It was revoked again.",
            next_step="Mend the destination and call again.",
            changed=Changed.NOTHING,
            code="undone",
        )

    async def _nobody_waits(self, made: Made, new: NewKeyData, consent: Consent) -> None:
        """The caller is gone. A key whose secret was to be displayed is revoked: it would be lost and alive."""
        name = _name(new)
        if made.delivered_to is not None:
            _log.warning("The call was cancelled after key %s was made; its secret was saved.", name)
            return
        try:
            await revoke(self.client, new.id, self.guard.undo(consent))
        except VeniceError as error:
            _log.warning("The call was cancelled after key %s was made; revoke it: %s", name, error.what)
        else:
            _log.warning("The call was cancelled after key %s was made; it was revoked again.", name)

    async def _account_for(
        self, lost: AnswerLost, settings: NewKeySettings, before: list[Key] | None, *, ours: bool
    ) -> VeniceError:
        """What became of a create whose answer was lost, found out by comparing the list before and after.

        `ours` is False when the key may belong to another account, whose list this is not: absence then says nothing.
        """
        unknown = VeniceError(
            f"{lost.what} Whether a key was made could not be found out.",
            next_step=f"Look for a new key {quoted(settings.description)} with venice_list_api_keys before calling"
            " again; if there is one, revoke it, because its secret is lost.",
            changed=Changed.UNKNOWN,
            code="outcome_unknown",
        )
        absent = VeniceError(
            f"{lost.what} The list of keys shows no new one.",
            next_step="Look again with venice_list_api_keys in a minute; call again if it is still not there.",
            changed=Changed.UNKNOWN,
            code="probably_not_made",
        )
        if before is None:
            return unknown
        try:
            after = await self.client.list_api_keys()
        except VeniceError:
            return unknown
        known = {key.id for key in before}
        new = [key for key in after if key.id not in known]
        # Venice may spell a description otherwise than it was sent, so others are named too, after the exact ones.
        new.sort(key=lambda key: (key.description, key.api_key_type) != (settings.description, settings.api_key_type))
        if not new:
            return absent if ours else unknown
        names = ", ".join(
            f"{plain(key.id, 40)} (...{plain(key.last6_chars, 6)}) {quoted(key.description)}" for key in new[:5]
        )
        return VeniceError(
            f"{lost.what} The list of keys shows {plural(len(new), 'new key')}: {names}."
            " If it is the one asked for, its secret is lost.",
            next_step="Revoke it with venice_revoke_api_key unless somebody else made it, then call again.",
            changed=Changed.UNKNOWN if len(new) > 1 else Changed.SOMETHING,
            code="secret_lost",
        )


def _name(new: NewKeyData) -> str:
    return f"{plain(new.id, 40)} (...{new.api_key.last6})"


def prepare(path: str) -> PreparedFile:
    """Make the empty file that will hold the secret, before the key exists.

    Raises:
        VeniceError: the file cannot be made.
    """
    try:
        return FileSink().prepare(path)
    except SinkError as error:
        raise VeniceError(
            f"deliver_to: {plain(str(error), 300)}.",
            next_step="Name a new file in an existing folder of yours.",
            code="sink_unusable",
        ) from None
