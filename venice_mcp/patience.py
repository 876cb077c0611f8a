"""How soon a person who said no may be asked again: less and less soon, however the request is put."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from venice_mcp.proposals import Proposal
from venice_mcp.store import Denial

DENIALS_COUNT_FOR = timedelta(hours=1)
_AGAIN_AFTER = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
"""How long the same call is not asked again after its first, second and third denial."""
_TOOL_DENIALS, _ALL_DENIALS = 3, 6
"""So many denials of a tool, whatever the arguments, and every call of it waits; so many of anything, and all do."""


def asking_again(denials: Sequence[Denial], proposal: Proposal) -> datetime | None:
    """When this may be asked again, given what was denied of late; None for at once."""
    deeds = _deeds(proposal.deeds())
    same = [item for item in denials if item.fingerprint == proposal.fingerprint or deeds & _deeds(item.deeds)]
    of_the_tool = [item for item in denials if item.tool == proposal.tool]
    ends: list[datetime] = []
    for found, least in ((same, 1), (of_the_tool, _TOOL_DENIALS), (denials, _ALL_DENIALS)):
        if len(found) >= least:
            ends.append(found[-1].at + _AGAIN_AFTER[min(len(found) - least, len(_AGAIN_AFTER) - 1)])
    return max(ends, default=None)


def _deeds(deeds: Sequence[tuple[str, Mapping[str, Any]]]) -> set[tuple[str, str]]:
    """What would be done to which key, however it is called: ending a key by its cap or expiry is ending it."""
    return {
        ("stop" if operation == "deleteApiKey" or _stops(intent) else operation, str(intent["id"]))
        for operation, intent in deeds
        if intent.get("id") is not None
    }


def _stops(intent: Mapping[str, Any]) -> bool:
    return 0 in (intent.get("usd_cap"), intent.get("diem_cap")) or bool({"expires_at", "ip_allowlist"} & intent.keys())
