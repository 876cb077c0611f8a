"""Changing and revoking a key: done once; when the answer is lost, Venice is asked what became of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from venice_mcp.client import VeniceClient
from venice_mcp.consent import Consent, canonical
from venice_mcp.errors import AnswerLost, Changed, VeniceError
from venice_mcp.guard import Guard
from venice_mcp.models.requests import KeyChange
from venice_mcp.models.wire import Key
from venice_mcp.proposals import Plan, Target, Verdict
from venice_mcp.questions import label
from venice_mcp.workflows.critical import Critical

_CONFIRMED_BY_READING = "Venice's answer was lost; reading the key again shows that it was done."


@dataclass(frozen=True)
class Changer:
    """What changing a key needs."""

    client: VeniceClient
    guard: Guard
    critical: Critical

    async def update(self, verdict: Verdict) -> tuple[Key, tuple[str, ...]]:
        """The key after the approved change, and notes on how that is known.

        Raises:
            VeniceError: not approved, refused, or the outcome is not what was asked for.
        """
        change = KeyChange.model_validate(verdict.case.proposal.intent)
        approved = await self.guard.judge(verdict)
        return await self._update(change.id, lambda send: self.guard.carry_out(approved, send))

    async def update_step(self, plan: Plan, number: int, current: Target) -> tuple[Key, tuple[str, ...]]:
        """Like `update`, for one step of a plan."""
        key_id = str(plan.steps[number - 1].intent["id"])
        return await self._update(key_id, lambda send: self.guard.carry_step(plan, number, current, send))

    async def revoke(self, verdict: Verdict) -> tuple[str, ...]:
        """Revoke the approved key; notes on how that is known.

        Raises:
            VeniceError: not approved, refused, or it still lives.
        """
        key_id = str(verdict.case.proposal.intent["id"])
        approved = await self.guard.judge(verdict)
        return await self._revoke(key_id, lambda send: self.guard.carry_out(approved, send))

    async def revoke_step(self, plan: Plan, number: int, current: Target) -> tuple[str, ...]:
        """Like `revoke`, for one step of a plan."""
        key_id = str(plan.steps[number - 1].intent["id"])
        return await self._revoke(key_id, lambda send: self.guard.carry_step(plan, number, current, send))

    async def undo_step(self, plan: Plan, number: int, key_id: str) -> tuple[str, ...]:
        """Revoke the key that a step made and whose secret nobody has; notes on how that is known."""
        return await self._revoke(key_id, lambda send: self.guard.undo_step(plan, number, send))

    async def _update(
        self, key_id: str, carry: Callable[[Callable[[Consent], Awaitable[Key]]], Awaitable[tuple[Key, Consent]]]
    ) -> tuple[Key, tuple[str, ...]]:
        sent: list[KeyChange] = []

        async def patch(consent: Consent) -> Key:
            # The consent has the last word on what is sent: a step's expiry is reckoned from when it begins.
            sent.append(KeyChange.model_validate(consent.intent))
            return await self.client.update_api_key(sent[0], consent)

        with self.critical.section(f"changing key {key_id}"):
            try:
                key, _ = await carry(patch)
                return key, _unexpected(sent[0], key)
            except AnswerLost as lost:
                return await self._find_out_update(lost, sent[0])

    async def _revoke(
        self, key_id: str, carry: Callable[[Callable[[Consent], Awaitable[None]]], Awaitable[object]]
    ) -> tuple[str, ...]:
        async def delete(consent: Consent) -> None:
            await self.client.delete_api_key(key_id, consent)

        with self.critical.section(f"revoking key {key_id}"):
            try:
                await carry(delete)
            except AnswerLost as lost:
                return await find_out_revoked(self.client, self.guard, key_id, lost)
            return ()

    async def _find_out_update(self, lost: AnswerLost, change: KeyChange) -> tuple[Key, tuple[str, ...]]:
        try:
            key = await self.client.get_api_key(change.id)
        except VeniceError:
            raise _unknown(lost, f"Read {change.id} with venice_get_api_key before trying again.") from None
        unexpected = _unexpected(change, key)
        if not unexpected and not_stated(change, key):
            raise _unknown(lost, "Venice does not say for which addresses a key is; ask the person to look there.")
        if not unexpected:
            await self.guard.note(lost.write, "settled", **{"as": "done", "how": "read again"})
            return key, (_CONFIRMED_BY_READING,)
        raise VeniceError(
            f"{lost.what} Reading the key again does not show all that was asked for.",
            next_step="Read it once more with venice_get_api_key in a minute, then call again if it is still so.",
            changed=Changed.UNKNOWN,
            code="probably_not_done",
        )


async def find_out_revoked(client: VeniceClient, guard: Guard, key_id: str, lost: AnswerLost) -> tuple[str, ...]:
    """Whether a key is gone although the answer to its revocation was lost; notes on how that is known.

    Raises:
        VeniceError: still there, or not to be found out.
    """
    try:
        keys = await client.list_api_keys()
    except VeniceError:
        raise _unknown(lost, f"Look for {key_id} with venice_list_api_keys before trying again.") from None
    if key_id not in {key.id for key in keys}:
        await guard.note(lost.write, "settled", **{"as": "done", "how": "no longer listed"})
        return ("Venice's answer was lost; the key is no longer in the list of active keys.",)
    raise VeniceError(
        f"{lost.what} The key is still in the list of active keys.",
        next_step="Look again with venice_list_api_keys in a minute, then call again if it is still there.",
        changed=Changed.UNKNOWN,
        code="probably_not_done",
    ) from None


def not_stated(change: KeyChange, key: Key) -> bool:
    """Whether reading the key cannot show if the change was made: Venice does not always state its addresses."""
    return "ip_allowlist" in change.model_fields_set and key.settings()["ip_allowlist"] is None


def _unexpected(change: KeyChange, key: Key) -> tuple[str, ...]:
    """A note for each setting that Venice reports otherwise than it was asked for."""
    wanted, got = change.applied_to(key), key.settings()
    return tuple(
        f"Venice's answer shows another {label(name)} than was asked for; read the key again to be sure."
        for name in wanted
        if canonical(wanted[name]) != canonical(got[name])
        and not (name == "ip_allowlist" and got[name] is None)  # Venice does not always say
    )


def _unknown(lost: AnswerLost, next_step: str) -> VeniceError:
    return VeniceError(
        f"{lost.what} What became of it could not be found out.",
        next_step=next_step,
        changed=Changed.UNKNOWN,
        code="outcome_unknown",
    )
