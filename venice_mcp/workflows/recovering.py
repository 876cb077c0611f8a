"""Recovery: what the journal has open, settled as far as reading Venice and the destinations can settle it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import anyio.to_thread

from venice_mcp.client import VeniceClient
from venice_mcp.consent import canonical
from venice_mcp.errors import VeniceError
from venice_mcp.guard import Guard
from venice_mcp.models.requests import KeyChange
from venice_mcp.models.wire import Key
from venice_mcp.secrets import Destination, SinkLimits
from venice_mcp.secrets.delivery import described, holds, leftover
from venice_mcp.store import MAKING, Matter, Store
from venice_mcp.text import parse_time, plain, quoted
from venice_mcp.workflows.changing import not_stated
from venice_mcp.workflows.finding_out import appeared, as_asked, named

SETTLES_AFTER = timedelta(seconds=60)
"""A write that was sent may still take effect for so long; before, absence proves nothing."""

_SURELY_LATER = timedelta(minutes=5)
"""A use so long after the making is nobody's clock being off, nor our own read that proves a minted key."""
_NOT_LISTED = "The key is not in this account's list: it is gone, or belongs to another account."

Remedy = Literal["none", "wait", "revoke", "acknowledge or revoke", "look", "acknowledge"]
_BY_WORD: tuple[Remedy, ...] = ("acknowledge", "acknowledge or revoke", "look")


@dataclass(frozen=True)
class Finding:
    """What is known about one write that was not accounted for.

    Attributes:
        write: its name in the record.
        what: our account of it, one or two sentences.
        remedy: what is left to do; "none" when it is settled now.
        key_id: the key it is about, if that is known.
        candidates: keys that may be the one it made.
    """

    write: str
    what: str
    remedy: Remedy
    key_id: str | None = None
    candidates: tuple[Key, ...] = field(default=())


@dataclass(frozen=True)
class Recovery:
    """Looks into open matters. Reads only; a key is revoked by the tool, after approval."""

    client: VeniceClient
    guard: Guard
    store: Store
    limits: SinkLimits
    now: Callable[[], datetime]

    async def open_matters(self) -> list[Matter]:
        """What the record has open at this Venice, without asking Venice."""
        account = await self.client.keys.account()
        return await anyio.to_thread.run_sync(lambda: self.store.journal.open_matters(account, self.now()))

    async def look(self, plan: str = "") -> list[Finding]:
        """Each open matter, or each of one plan, settled if it can be."""
        matters = [
            matter for matter in await self.open_matters() if matter.write.startswith(f"{plan}/" if plan else "")
        ]
        if not matters:
            return []
        try:
            keys = await self.client.list_api_keys()
        except VeniceError as error:
            return [_unreadable(item, error) for item in matters]
        return [await self._looked_into(matter, keys) for matter in matters]

    async def acknowledge(self, named_so: str) -> Matter:
        """Take somebody's word that a displayed secret is stored, or on what reading Venice cannot tell.

        Raises:
            VeniceError: nothing is open under that key id or name, or it is not a matter of anybody's word.
        """
        for matter in await self.open_matters():
            if named_so not in (matter.key_id, matter.write):
                continue
            if matter.standing != "displayed":
                # Whatever can be found out is found out, and a key whose secret is lost must not live on unlisted.
                found = next((item for item in await self.look() if item.write == matter.write), None)
                if found is None or found.remedy not in _BY_WORD:
                    raise VeniceError(
                        f"acknowledge: {found.what if found else 'it is settled now.'}",
                        next_step="Call venice_recover without arguments and do what it names for this entry.",
                        code="bad_argument",
                    )
            await self.guard.note(matter.write, "acknowledged")
            return matter
        raise VeniceError(
            "acknowledge: nothing is open under that name.",
            next_step="Call venice_recover without arguments to see what is.",
            code="bad_argument",
        )

    async def _looked_into(self, matter: Matter, keys: list[Key]) -> Finding:
        what = f"{told(matter)}."
        if matter.under_way:
            return Finding(matter.write, f"{what} It is still under way.", "wait", matter.key_id)
        account = await self.client.keys.account()
        # The list is another account's, perhaps: what is not in it may be somewhere else.
        ours = matter.operation != "postApiKeyGenerateWeb3Key" and matter.account == account
        try:
            if matter.operation in MAKING:
                return await self._making(matter, keys, what, ours=ours)
            if matter.operation == "deleteApiKey":
                return await self._revoking(matter, keys, what, ours=ours)
            return await self._changing(matter, keys, what, ours=ours)
        except VeniceError as error:
            return _unreadable(matter, error)

    async def _making(self, matter: Matter, keys: list[Key], what: str, *, ours: bool) -> Finding:
        if matter.key_id is None:
            return await self._search(matter, keys, what, ours=ours)
        key = next((item for item in keys if item.id == matter.key_id), None)
        if key is None and ours:
            await self._settle(matter, "gone")
            return Finding(matter.write, f"{what} The key is no longer there, so nothing is left to do.", "none")
        destination = _destination(matter)
        there = await self._holds(destination, matter.last6)
        if there:
            await self.guard.note(matter.write, "delivered", to=destination.as_data(), how="found there")
            return Finding(matter.write, f"{what} Its secret is in {described(destination)}.", "none", matter.key_id)
        if key is None:
            return Finding(matter.write, f"{what} {_NOT_LISTED}", "acknowledge", matter.key_id)
        used = parse_time(key.last_used_at)
        in_use = used is not None and matter.made_at is not None and used > matter.made_at + _SURELY_LATER
        if matter.standing == "displayed":
            if in_use:
                await self._settle(matter, "in use")
                return Finding(matter.write, f"{what} The key is in use, so somebody has it.", "none", matter.key_id)
            more = "Its secret was displayed once; whether anybody stored it is not known."
            return Finding(matter.write, f"{what} {more}", "acknowledge or revoke", matter.key_id)
        if not matter.lost and (there is None or in_use):
            more = f"Whether its secret arrived ({described(destination)}) cannot be told."
            return Finding(matter.write, f"{what} {more}", "acknowledge or revoke", matter.key_id)
        empty = destination.kind == "file" and await anyio.to_thread.run_sync(leftover, destination)
        if matter.found:
            what += " It was told by its name only, and may be somebody else's."
        more = f" An empty file is left at {quoted(destination.path or '', 200)}." if empty else ""
        return Finding(matter.write, f"{what} Its secret was not delivered and is lost.{more}", "revoke", matter.key_id)

    async def _search(self, matter: Matter, keys: list[Key], what: str, *, ours: bool) -> Finding:
        """A create that was sent, perhaps, and no answer is on record."""
        intent = matter.intended["intent"]
        description, kind = str(intent["description"]), str(intent["api_key_type"])
        account = await self.client.keys.account()
        made_here = await anyio.to_thread.run_sync(self.store.journal.made_ids, account)
        unclaimed = [key for key in keys if key.id not in made_here]
        found = appeared(unclaimed, matter.intended.get("before"), matter.at, description, kind)
        fitting = [key for key in found if as_asked(key, description, kind)]
        if len(fitting) == 1:
            key = fitting[0]
            names = {"id": plain(key.id, 40), "last6": plain(key.last6_chars, 6)}
            await self.guard.note(matter.write, "made", **names, how="found in the list")
            known = replace(
                matter, key_id=names["id"], last6=names["last6"], standing="undelivered", made_at=matter.at, found=True
            )
            # What displays a secret must have had the answer; without it nobody can.
            lost = replace(known, lost=_destination(matter).kind == "display")
            others = [each for each in found if each is not key]
            # One of them may be ours under a new name, and this one somebody else's.
            doubt = f" It was told by its name; made at that time too: {named(others)}." if others else ""
            return await self._making(lost, keys, f"{told(lost)}.{doubt}", ours=ours)
        if found:
            more = f"It may be one of these, or none: {named(found)}."
            return Finding(matter.write, f"{what} {more}", "look", candidates=tuple(found[:5]))
        if self._is_fresh(matter):
            return Finding(matter.write, f"{what} No such key is there yet.", "wait")
        if not ours:
            return Finding(matter.write, f"{what} {_NOT_LISTED}", "acknowledge")
        await self._settle(matter, "not done")
        return Finding(matter.write, f"{what} No such key was made.", "none")

    async def _revoking(self, matter: Matter, keys: list[Key], what: str, *, ours: bool) -> Finding:
        key_id = str(matter.intended["intent"]["id"])
        if key_id in {key.id for key in keys}:
            if self._is_fresh(matter):
                return Finding(matter.write, f"{what} The key is still there.", "wait", key_id)
            await self._settle(matter, "not done")
            return Finding(matter.write, f"{what} It was not done: the key is still there.", "none", key_id)
        if not ours:
            return Finding(matter.write, f"{what} {_NOT_LISTED}", "acknowledge", key_id)
        await self._settle(matter, "done")
        return Finding(matter.write, f"{what} It was done: the key is no longer there.", "none")

    async def _changing(self, matter: Matter, keys: list[Key], what: str, *, ours: bool) -> Finding:
        change = KeyChange.model_validate(matter.intended["intent"])
        if change.id not in {key.id for key in keys}:
            if not ours:
                return Finding(matter.write, f"{what} {_NOT_LISTED}", "acknowledge", change.id)
            await self._settle(matter, "gone")
            return Finding(matter.write, f"{what} The key is no longer there.", "none")
        key = await self.client.get_api_key(change.id)
        wanted, got = change.applied_to(key), key.settings()
        unsaid = not_stated(change, key)
        told_of = [name for name in wanted if not (unsaid and name == "ip_allowlist")]
        if any(canonical(wanted[name]) != canonical(got[name]) for name in told_of):
            if self._is_fresh(matter):
                return Finding(matter.write, f"{what} Not all of it shows yet.", "wait", key.id)
            await self._settle(matter, "not done")
            return Finding(matter.write, f"{what} It was not done, or was changed again since.", "none", key.id)
        if unsaid:
            more = "Venice does not say for which addresses the key is, so this cannot be told here."
            return Finding(matter.write, f"{what} {more}", "acknowledge", key.id)
        await self._settle(matter, "done")
        return Finding(matter.write, f"{what} It was done.", "none", key.id)

    def _is_fresh(self, matter: Matter) -> bool:
        """Whether the write may still take effect; not if its time lies ahead, which is a clock that was wrong."""
        return timedelta() <= self.now() - matter.at < SETTLES_AFTER

    async def _holds(self, destination: Destination, last6: str | None) -> bool | None:
        """Whether the secret is where it should be; None when that cannot be told."""
        if destination.kind == "display" or not last6:
            return False
        return await anyio.to_thread.run_sync(holds, destination, self.limits, last6)

    async def _settle(self, matter: Matter, outcome: str) -> None:
        data: dict[str, Any] = {"as": outcome, "how": "venice_recover"}
        await self.guard.note(matter.write, "settled", **data)


def _unreadable(matter: Matter, error: VeniceError) -> Finding:
    return Finding(matter.write, f"{told(matter)}. It could not be looked into: {error.what}", "wait", matter.key_id)


def told(matter: Matter) -> str:
    """One line about a matter, from the record alone."""
    intent: Mapping[str, Any] = matter.intended.get("intent") or {}
    target: Mapping[str, Any] = matter.intended.get("target") or {}
    when = f"{matter.at:%Y-%m-%d %H:%M} UTC"
    name = quoted(str(intent.get("description") or target.get("description") or ""))
    which = f" {plain(matter.key_id, 40)} (...{plain(matter.last6 or '', 6)})" if matter.key_id else ""
    about = f" {plain(str(intent.get('id', '')), 40)}"
    doing = {
        "createApiKey": f"creating the key {name}{which}",
        "postApiKeyGenerateWeb3Key": f"minting the key {name}{which}",
        "updateApiKey": f"changing the key {name}{about}",
        "deleteApiKey": f"revoking the key{about}",
    }.get(matter.operation, plain(matter.operation, 40))
    return f"{when}, {doing}"


def _destination(matter: Matter) -> Destination:
    return Destination.from_data(matter.intended.get("deliver_to") or {})
