"""What an earlier call left unaccounted for: settle it, acknowledge it, or revoke the orphan."""

from typing import Annotated

from mcp_types import CallToolResult

from venice_mcp.app import Ctx, app_of
from venice_mcp.asking import asks_first, fingerprint
from venice_mcp.errors import VeniceError
from venice_mcp.models.results import OpenMatter, Recovered
from venice_mcp.proposals import Proposal, Verdict
from venice_mcp.tools.arguments import OneKey, Recover
from venice_mcp.tools.build import answer
from venice_mcp.tools.keys import revocation
from venice_mcp.workflows.recovering import Finding

_NEXT: dict[str, str] = {
    "wait": "Call venice_recover again in a minute.",
    "revoke": "Revoke it: venice_recover with revoke.",
    "acknowledge or revoke": "Ask the person: if it is stored, venice_recover with acknowledge; else with revoke.",
    "look": "Ask the person which; revoke it with venice_revoke_api_key, then acknowledge this entry.",
    "acknowledge": "Ask the person to look, then acknowledge this entry.",
}


async def propose_revoking(args: Recover, ctx: Ctx) -> Proposal | None:
    if args.revoke is None:
        return None
    app = app_of(ctx)
    matters = await app.recovery.open_matters()
    if args.revoke not in {matter.key_id for matter in matters}:
        raise VeniceError(
            "revoke: no open matter is about this key.",
            next_step="Call venice_recover without arguments first; revoke other keys with venice_revoke_api_key.",
            code="bad_argument",
        )
    lost = {item.key_id for item in matters if item.lost}
    return await revocation(
        app,
        OneKey(key_id=args.revoke),
        tool=venice_recover.__name__,
        fingerprint=lambda key_id: fingerprint(venice_recover.__name__, args, key_id),
        lost=args.revoke in lost,
    )


async def venice_recover(
    args: Recover, ctx: Ctx, verdict: Annotated[Verdict | None, asks_first(propose_revoking)]
) -> Annotated[CallToolResult, Recovered]:
    """Find out what interrupted or lost calls left behind (writes of unknown outcome, keys whose secret reached
    nobody) and settle it by reading Venice. With revoke, ends such a key after a person approved it. With acknowledge,
    notes that the person stored a displayed secret. Makes no key."""
    app = app_of(ctx)
    done: list[str] = []
    if args.acknowledge is not None:
        matter = await app.recovery.acknowledge(args.acknowledge)
        done.append(f"Acknowledged {matter.write}; it is no longer listed.")
    if verdict is not None and args.revoke is not None:
        notes = await app.changer.revoke(verdict)
        done += [f"Revoked {args.revoke}. It cannot be brought back.", *notes]
    try:
        findings = await app.recovery.look()
    except VeniceError as error:
        if not done:
            raise
        # What was done must not be told as an error that says that nothing was.
        findings = []
        done.append(f"What else is open could not be looked into: {error.what}")
    result = Recovered(
        done=done,
        settled=[item.what for item in findings if item.remedy == "none"],
        open=[_open(item) for item in findings if item.remedy != "none"],
    )
    lines = [*result.done, *result.settled]
    lines += [f"OPEN {item.name}: {item.what} {item.next_step}" for item in result.open]
    return answer("\n".join(lines) or "Nothing is open: every write and every secret is accounted for.", result)


def _open(item: Finding) -> OpenMatter:
    return OpenMatter(name=item.write, what=item.what, key_id=item.key_id, next_step=_NEXT[item.remedy])
