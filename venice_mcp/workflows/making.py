"""Making a key: checked before, made once, its secret delivered or the key revoked again, lost answers found out."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
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
from venice_mcp.guard import Guard
from venice_mcp.models.requests import NewKeySettings
from venice_mcp.models.wire import MAX_ACTIVE_KEYS, Key, NewKeyData, one_spelling_of_ranges
from venice_mcp.proposals import Plan, Verdict
from venice_mcp.questions import attention, label, shown
from venice_mcp.secrets import Destination, Prepared, Secret, SinkError, SinkLimits
from venice_mcp.secrets.delivery import described, look_at, prepare
from venice_mcp.store import MAKING_PACE, Store
from venice_mcp.text import plain, quoted
from venice_mcp.workflows.changing import find_out_revoked
from venice_mcp.workflows.critical import Critical
from venice_mcp.workflows.finding_out import account_of_loss, appeared, as_asked, marks

MAX_PACE_WAIT_S = 25.0
READ_BACK_S = 8.0
LONGEST_COMMAND_S = 30.0
"""Of a command that takes a secret within a plan, whose calls must answer in time."""
Send = Callable[[Consent], Awaitable[NewKeyData]]
_NOT_READ_BACK = "The new key could not be read back; its settings are told as they were asked for."
NOT_PROVEN = "ATTENTION: Venice did not accept a read with the new key ({}); check it before relying on it."
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """A key that exists at Venice. `secret` is for display; None when it was delivered to `destination`.

    `doubt` is why it could not be proven to work, where that was tried and failed.
    """

    id: str
    last6: str
    secret: Secret | None
    destination: Destination
    notes: tuple[str, ...] = field(default=())
    doubt: str | None = None


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
    """What making a key needs. `sleep` and `now` are injected; `limits` says where secrets may go."""

    client: VeniceClient
    guard: Guard
    store: Store
    critical: Critical
    limits: SinkLimits
    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep

    async def create(self, verdict: Verdict) -> Made:
        """Redeem the verdict and make the key it names.

        Raises:
            VeniceError: with `changed` telling whether a key exists now, and which.
        """
        settings = NewKeySettings.model_validate(verdict.case.proposal.intent)

        async def post(consent: Consent) -> NewKeyData:
            return await self.client.create_api_key(settings, consent)

        return await self._make(verdict, settings, self.room_for_one_more, post, ours=True)

    async def mint(self, verdict: Verdict, signer: Signer) -> Made:
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

        return await self._make(verdict, settings, look, post, ours=False)

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

    async def pace_wait_s(self) -> float:
        """Until when one more key stays within 20 creates a minute on this machine, in seconds from now."""
        since = self.now() - MAKING_PACE.window
        account = await self.client.keys.account()
        written = await anyio.to_thread.run_sync(
            lambda: self.store.approvals.written_since(MAKING_PACE, account=account, since=since)
        )
        # Those of a clock that was ahead happened at another time than they say.
        written = [at for at in written if at <= self.now()]
        if len(written) < MAKING_PACE.most:
            return 0.0
        return max(0.0, (written[-MAKING_PACE.most] + MAKING_PACE.window - self.now()).total_seconds())

    async def keep_pace(self) -> None:
        """Wait, for at most 25 s, until one more key stays within the pace."""
        wait = await self.pace_wait_s()
        if wait > MAX_PACE_WAIT_S:
            raise VeniceError(
                f"Venice allows {MAKING_PACE.most} new keys in a minute, and they were made.",
                next_step=f"Call again in {int(wait) + 1} s; the person will be asked again.",
                code="create_pace",
            )
        if wait:
            await self.sleep(wait)

    async def create_step(self, plan: Plan, number: int, keys: Sequence[Key]) -> Made:
        """Make the key of one step of a plan; in a plan that goes in order it is also proven to work.

        `keys` are the active keys as they were read a moment ago.

        Raises:
            VeniceError: as for `create`.
        """
        step = plan.steps[number - 1]
        settings = NewKeySettings.model_validate(step.intent)

        async def post(consent: Consent) -> NewKeyData:
            return await self.client.create_api_key(settings, consent)

        async def carry(send: Send, noting: Mapping[str, Any]) -> tuple[NewKeyData, Consent]:
            return await self.guard.carry_step(plan, number, None, send, noting)

        before = marks(keys) if plan.in_order else None
        prepared = await self._prepared(step.destination or Destination(), step.occupant)
        return await self._carried(
            settings, step.destination or Destination(), prepared, before, carry, post, prove=plan.in_order
        )

    async def _make(
        self,
        verdict: Verdict,
        settings: NewKeySettings,
        look: Callable[[], Awaitable[list[Key] | None]],
        post: Send,
        *,
        ours: bool,
    ) -> Made:
        approved = await self.guard.judge(verdict)
        proposal = verdict.case.proposal
        destination = proposal.destination or Destination()
        before = marks(await look())
        await self.keep_pace()
        try:
            prepared = await self._prepared(destination, proposal.occupant)
        except VeniceError as error:
            if error.code == "target_changed":
                await self.guard.set_aside(verdict.case, "destination changed")
            raise

        async def carry(send: Send, noting: Mapping[str, Any]) -> tuple[NewKeyData, Consent]:
            return await self.guard.carry_out(approved, send, noting)

        return await self._carried(settings, destination, prepared, before, carry, post, ours=ours)

    async def _carried(
        self,
        settings: NewKeySettings,
        destination: Destination,
        prepared: Prepared | None,
        before: str | None,
        carry: Callable[[Send, Mapping[str, Any]], Awaitable[tuple[NewKeyData, Consent]]],
        post: Send,
        *,
        ours: bool = True,
        prove: bool = False,
    ) -> Made:
        try:
            # From the moment the approval is spent nothing may interrupt: the key and its secret must be accounted for.
            with self.critical.section(f"making the key {quoted(settings.description)}") as section:
                section.leftover = prepared.discard if prepared is not None else None
                asked_at = self.now()
                try:
                    new, consent = await carry(post, {"before": before})
                except AnswerLost as lost:
                    raise await self._account_for(lost, settings, before, asked_at, ours=ours) from None
                section.doing = f"making the key {_name(new)}"
                made = await self._deliver(new, consent, destination, prepared)
        finally:
            if prepared is not None:
                prepared.discard()
        notes = await self._last_look(made, new, settings, consent, ours=ours)
        if prove:
            doubt = await self.proof(new.api_key)
            if doubt is None:
                await self.guard.note(consent.write, "proven")
            return replace(made, notes=(*made.notes, *notes), doubt=doubt)
        return replace(made, notes=(*made.notes, *notes))

    async def proof(self, secret: Secret) -> str | None:
        """None if Venice answers a read with the key; else why it does not. A key may need a moment to open."""
        doubt = ""
        for pause in (0.0, 1.0, 2.0):
            if pause:
                await self.sleep(pause)
            try:
                await self.client.get_rate_limits(secret)
            except VeniceError as error:
                doubt = plain(error.what, 160)
            else:
                return None
        return doubt

    async def check_place(self, destination: Destination, occupant: str | None) -> None:
        """Whether a secret could be saved there now, over what was there when the person was asked.

        Raises:
            VeniceError: it could not.
        """
        prepared = await self._prepared(destination, occupant)
        if prepared is not None:
            prepared.discard()

    async def _prepared(self, destination: Destination, occupant: str | None) -> Prepared | None:
        """The place for the secret, if it still holds what it held when the person was asked."""
        if destination.kind == "display":
            return None
        prepared = await self.prepare(destination)
        if prepared.occupant != occupant:
            prepared.discard()
            raise VeniceError(
                f"The destination changed while the question was open: {described(destination)} no longer holds"
                " what it held, so nothing was made.",
                next_step="Call again; the person will be asked about it as it is now.",
                code="target_changed",
            )
        return prepared

    async def look_at(self, destination: Destination, *, planned: bool = False) -> tuple[tuple[str, ...], str | None]:
        """Notes on a place and what stands there now, before anyone is asked; nothing is made there.

        What is `planned` may find what a crashed call of the same plan left, and must answer in time.

        Raises:
            VeniceError: a secret could not be saved there.
        """
        command = self.limits.commands.get(destination.name or "")
        if planned and command is not None and command.timeout_s > LONGEST_COMMAND_S:
            raise VeniceError(
                f"deliver_to: this command may take {command.timeout_s:g} s, too long for a call that must answer"
                f" within 45 s; {LONGEST_COMMAND_S:g} s would do.",
                next_step="Name another destination; only the operator changes the policy.",
                code="sink_unusable",
            )
        try:
            return await anyio.to_thread.run_sync(lambda: look_at(destination, self.limits, over_leftover=planned))
        except SinkError as error:
            raise _unusable(error) from None

    async def prepare(self, destination: Destination) -> Prepared:
        """Make sure, before the key exists, that its secret can go where it shall go.

        Raises:
            VeniceError: it cannot.
        """
        try:
            return await anyio.to_thread.run_sync(prepare, destination, self.limits)
        except SinkError as error:
            raise _unusable(error) from None

    async def _deliver(
        self, new: NewKeyData, consent: Consent, destination: Destination, prepared: Prepared | None
    ) -> Made:
        secret = new.api_key
        if prepared is None:
            return Made(new.id, secret.last6, secret, destination)
        try:
            await anyio.to_thread.run_sync(prepared.write, secret)
        except OSError as error:
            reason = str(error) if isinstance(error, SinkError) else type(error).__name__
            raise await self._take_back(new, consent, reason) from None
        await self.guard.note(consent.write, "delivered", to=destination.as_data())
        _log.info("Made the key %s; its secret is in %s", _name(new), described(destination))
        notes = (attention(prepared.notes),) if prepared.notes else ()
        return Made(new.id, secret.last6, None, destination, notes)

    async def _last_look(
        self, made: Made, new: NewKeyData, settings: NewKeySettings, consent: Consent, *, ours: bool
    ) -> tuple[str, ...]:
        """Notes on the new key, read back. It can be cancelled, and then a key nobody has seen is revoked."""
        with self.critical.section(f"handing over the key {_name(new)}", shield=False):
            try:
                await anyio.lowlevel.checkpoint()
                notes = await self._doubts(new, settings, ours=ours)
                if made.secret is not None:
                    await self.guard.note(consent.write, "displayed")
                    _log.info("Made the key %s; its secret goes to the chat", _name(new))
            except anyio.get_cancelled_exc_class():
                with self.critical.section(f"revoking the key {_name(new)} again"):
                    await self._nobody_waits(made, new, consent)
                raise
            return notes

    async def _doubts(self, new: NewKeyData, settings: NewKeySettings, *, ours: bool) -> tuple[str, ...]:
        """Notes on settings that are not as asked for; the answer to a create may echo them wrongly, so it is read."""
        notes = (_NOT_READ_BACK,) if ours else ()
        # Whatever goes wrong here, the key exists and its secret must still be handed over.
        with anyio.move_on_after(READ_BACK_S), suppress(Exception):
            key = await self.client.get_api_key(new.id) if ours else await self._listed(new.id)
            if key is not None:
                notes = self._differences(settings, key.settings())
            # A key for certain addresses may well not open anything from here.
            if not ours and settings.ip_allowlist is None:
                notes = (*notes, *await self._unproven(new))
        return notes

    async def _unproven(self, new: NewKeyData) -> tuple[str, ...]:
        """What a minted key's owner should know when it does not open anything: the answer alone proves nothing."""
        try:
            await self.client.get_rate_limits(new.api_key)
        except VeniceError as error:
            return (NOT_PROVEN.format(plain(error.what, 120)),)
        return ()

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

    def is_exactly(self, key: Key, intent: Mapping[str, Any]) -> bool:
        """Whether a key is in every setting what was asked for."""
        return not self._differences(NewKeySettings.model_validate(intent), key.settings())

    async def _revoke_again(self, new: NewKeyData, consent: Consent) -> None:
        async def delete(undoing: Consent) -> None:
            await self.client.delete_api_key(new.id, undoing)

        try:
            await self.guard.take_back(consent, delete)
        except AnswerLost as lost:
            await find_out_revoked(self.client, self.guard, new.id, lost)

    async def _take_back(self, new: NewKeyData, consent: Consent, why: str) -> VeniceError:
        """Revoke the key whose secret could not be saved; nobody holds it, so it must not live."""
        key_id = plain(new.id, 40)
        problem = f"The key {_name(new)} was made, but its secret could not be saved: {plain(why, 200)}."
        await self.guard.note(consent.write, "lost", why=plain(why, 200))
        try:
            await self._revoke_again(new, consent)
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
        if made.secret is None:
            _log.warning("The call was cancelled after key %s was made; its secret was saved.", name)
            return
        try:
            await self._revoke_again(new, consent)
        except VeniceError as error:
            _log.warning("The call was cancelled after key %s was made; revoke it: %s", name, error.what)
        else:
            _log.warning("The call was cancelled after key %s was made; it was revoked again.", name)

    async def _account_for(
        self, lost: AnswerLost, settings: NewKeySettings, before: str | None, asked_at: datetime, *, ours: bool
    ) -> VeniceError:
        """What became of a create whose answer was lost; a key that can only be this one is recorded as made."""
        description, kind = settings.description, settings.api_key_type
        after = await self._keys_if_readable() if before is not None else None
        new = None
        if after is not None:
            account = await self.client.keys.account()
            made_here = await anyio.to_thread.run_sync(self.store.journal.made_ids, account)
            unclaimed = [key for key in after if key.id not in made_here]
            new = appeared(unclaimed, before, asked_at, description, kind)
        if new is not None and len(new) == 1 and as_asked(new[0], description, kind):
            names = {"id": plain(new[0].id, 40), "last6": plain(new[0].last6_chars, 6)}
            await self.guard.note(lost.write, "made", **names, how="found in the list")
            await self.guard.note(lost.write, "lost", why="Venice's answer was lost")
        return account_of_loss(lost, description, new, ours=ours)


def _unusable(error: SinkError) -> VeniceError:
    return VeniceError(
        f"deliver_to: {plain(str(error), 300)}.",
        next_step="Name another destination, or mend this one.",
        code="sink_unusable",
    )


def _name(new: NewKeyData) -> str:
    return f"{plain(new.id, 40)} (...{new.api_key.last6})"
