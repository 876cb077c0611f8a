"""Recovery: what the journal has open, settled as far as reading Venice and the destinations can settle it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
from venice_mcp.workflows.finding_out import appeared, as_asked, named

SETTLES_AFTER = timedelta(seconds=60)
"""A write that was sent may still take effect for so long; before, absence proves nothing."""

Remedy = Literal["none", "wait", "revoke", "acknowledge or revoke", "look", "acknowledge"]


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
        """What the record has open for the account in use, without asking Venice."""
        account = await self.client.keys.account()
        return await anyio.to_thread.run_sync(lambda: self.store.journal.open_matters(account, self.now()))

    async def elsewhere(self) -> int:
        """How many matters stand under other keys of the same Venice."""
        account = await self.client.keys.account()
        return await anyio.to_thread.run_sync(lambda: self.store.journal.elsewhere(account, self.now()))

    async def look(self) -> list[Finding]:
        """Each open matter, settled if it can be."""
        matters = await self.open_matters()
        if not matters:
            return []
        try:
            keys = await self.client.list_api_keys()
        except VeniceError as error:
            why = f"The keys could not be read: {error.what}"
            return [Finding(item.write, f"{self._told(item)} {why}", "wait", item.key_id) for item in matters]
        return [await self._look_into(matter, keys) for matter in matters]

    async def acknowledge(self, named_so: str) -> Matter:
        """Take somebody's word that a displayed secret is stored, or that nothing is to be found out any more.

        Raises:
            VeniceError: nothing is open under that key id or name.
        """
        for matter in await self.open_matters():
            if named_so in (matter.key_id, matter.write):
                await self.guard.note(matter.write, "acknowledged")
                return matter
        raise VeniceError(
            "acknowledge: nothing is open under that name.",
            next_step="Call venice_recover without arguments to see what is.",
            code="bad_argument",
        )

    async def _look_into(self, matter: Matter, keys: list[Key]) -> Finding:
        what = self._told(matter)
        if matter.under_way:
            return Finding(matter.write, f"{what} It may still be under way.", "wait", matter.key_id)
        if matter.operation in MAKING:
            return await self._making(matter, keys, what)
        if matter.operation == "deleteApiKey":
            return await self._revoking(matter, keys, what)
        return await self._changing(matter, keys, what)

    async def _making(self, matter: Matter, keys: list[Key], what: str) -> Finding:
        if matter.key_id is None:
            return await self._search(matter, keys, what)
        key = next((item for item in keys if item.id == matter.key_id), None)
        if key is None and matter.operation == "createApiKey":
            await self._settle(matter, "gone")
            return Finding(matter.write, f"{what} The key is no longer there, so nothing is left to do.", "none")
        destination = _destination(matter)
        if destination.kind != "display" and matter.last6 and await self._holds(destination, matter.last6):
            await self.guard.note(matter.write, "delivered", to=destination.as_data(), how="found there")
            return Finding(matter.write, f"{what} Its secret is in {described(destination)}.", "none", matter.key_id)
        if matter.standing == "displayed":
            used = parse_time(key.last_used_at) if key is not None else None
            if used is not None and matter.made_at is not None and used > matter.made_at:
                await self._settle(matter, "in use")
                return Finding(matter.write, f"{what} The key is in use, so somebody has it.", "none", matter.key_id)
            return Finding(
                matter.write,
                f"{what} Its secret was displayed once; whether anybody stored it is not known.",
                "acknowledge or revoke",
                matter.key_id,
            )
        empty = destination.kind == "file" and await anyio.to_thread.run_sync(leftover, destination)
        more = f" An empty file is left at {quoted(destination.path or '', 200)}." if empty else ""
        return Finding(matter.write, f"{what} Its secret was not delivered and is lost.{more}", "revoke", matter.key_id)

    async def _search(self, matter: Matter, keys: list[Key], what: str) -> Finding:
        """A create that was sent, and no answer is on record."""
        intent = matter.intended["intent"]
        description, kind = str(intent["description"]), str(intent["api_key_type"])
        made_here = await anyio.to_thread.run_sync(self.store.journal.made_ids)
        found = [
            key
            for key in appeared(keys, matter.intended.get("before"), matter.at, description, kind)
            if key.id not in made_here
        ]
        fitting = [key for key in found if as_asked(key, description, kind)]
        if len(fitting) == 1:
            key = fitting[0]
            await self.guard.note(
                matter.write, "made", id=plain(key.id, 40), last6=plain(key.last6_chars, 6), how="found in the list"
            )
            account = await self.client.keys.account()
            again = await anyio.to_thread.run_sync(lambda: self.store.journal.open_matters(account, self.now()))
            later = next((item for item in again if item.write == matter.write), matter)
            return await self._making(later, keys, what) if later.key_id is not None else self._ask(matter, what, found)
        if found:
            return self._ask(matter, what, found)
        if self.now() - matter.at < SETTLES_AFTER:
            return Finding(matter.write, f"{what} No such key is there yet.", "wait")
        if matter.operation != "createApiKey":
            return Finding(
                matter.write,
                f"{what} No such key is in this account, but a wallet's key may belong to another one.",
                "acknowledge",
            )
        await self._settle(matter, "not done")
        return Finding(matter.write, f"{what} No such key was made.", "none")

    @staticmethod
    def _ask(matter: Matter, what: str, found: list[Key]) -> Finding:
        return Finding(
            matter.write,
            f"{what} Several keys may be the one, or none of them: {named(found)}.",
            "look",
            candidates=tuple(found[:5]),
        )

    async def _revoking(self, matter: Matter, keys: list[Key], what: str) -> Finding:
        key_id = str(matter.intended["intent"]["id"])
        if key_id not in {key.id for key in keys}:
            await self._settle(matter, "done")
            return Finding(matter.write, f"{what} It was done: the key is no longer there.", "none")
        if self.now() - matter.at < SETTLES_AFTER:
            return Finding(matter.write, f"{what} The key is still there.", "wait", key_id)
        await self._settle(matter, "not done")
        return Finding(matter.write, f"{what} It was not done: the key is still there.", "none", key_id)

    async def _changing(self, matter: Matter, keys: list[Key], what: str) -> Finding:
        change = KeyChange.model_validate(matter.intended["intent"])
        if change.id not in {key.id for key in keys}:
            await self._settle(matter, "gone")
            return Finding(matter.write, f"{what} The key is no longer there.", "none")
        key = await self.client.get_api_key(change.id)
        wanted, got = change.applied_to(key), key.settings()
        if all(canonical(wanted[name]) == canonical(got[name]) for name in wanted):
            await self._settle(matter, "done")
            return Finding(matter.write, f"{what} It was done.", "none", key.id)
        if self.now() - matter.at < SETTLES_AFTER:
            return Finding(matter.write, f"{what} Not all of it shows yet.", "wait", key.id)
        await self._settle(matter, "not done")
        return Finding(matter.write, f"{what} It was not done, or was changed again since.", "none", key.id)

    async def _holds(self, destination: Destination, last6: str) -> bool:
        return await anyio.to_thread.run_sync(holds, destination, self.limits, last6) is True

    async def _settle(self, matter: Matter, outcome: str) -> None:
        data: dict[str, Any] = {"as": outcome, "how": "venice_recover"}
        await self.guard.note(matter.write, "settled", **data)

    @staticmethod
    def _told(matter: Matter) -> str:
        return f"{told(matter)}."


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
