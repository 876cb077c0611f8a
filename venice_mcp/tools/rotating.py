"""Rotation: a successor in the place of a key, proven to work before the old key ends."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Self

import anyio.to_thread
from mcp_types import CallToolResult
from pydantic import Field, model_validator

from venice_mcp.app import App, Ctx, app_of
from venice_mcp.asking import asks_first, fingerprint
from venice_mcp.errors import VeniceError
from venice_mcp.models.plans import PlanResult
from venice_mcp.models.wire import MAX_ACTIVE_KEYS, Key
from venice_mcp.plan_questions import about_rotation
from venice_mcp.proposals import PLAN, Proposal, Step, Verdict, digest
from venice_mcp.text import away, parse_time, plain, to_wire, when
from venice_mcp.tools.arguments import OneKey, Sink
from venice_mcp.tools.fields import ExpiresInDays, problem_at
from venice_mcp.tools.keys import listed_key, runs_on
from venice_mcp.tools.occupants import left_behind, lives_on, still_there
from venice_mcp.tools.plans import carried_out, reread_all, running, told
from venice_mcp.workflows.successors import successor_of

MOST_GRACE_DAYS = 90


class RotateApiKey(OneKey):
    deliver_to: Annotated[
        Sink,
        Field(
            description="For the new secret, e.g. {'kind':'dotenv','path':'~/.env','variable':'VENICE_API_KEY'};"
            " not display"
        ),
    ]
    grace_hours: Annotated[
        float,
        Field(
            ge=0,
            le=24 * MOST_GRACE_DAYS,
            allow_inf_nan=False,
            description=f"The old key lives on so long, at most {MOST_GRACE_DAYS} days; 0 ends it at once",
        ),
    ] = 24
    leaked: Annotated[bool, Field(description="Emergency: revokes the old key FIRST, then makes the successor")] = False
    own_key: Annotated[bool, Field(description="Needed for a key this server runs on")] = False
    expires_in_days: (
        Annotated[ExpiresInDays, Field(description="Of the new key; default: as long as the old one's")] | None
    ) = None

    @model_validator(mode="after")
    def _saved(self) -> Self:
        if self.deliver_to.kind == "display":
            raise problem_at("deliver_to", "a successor's secret is saved, never shown; name a file, dotenv or keyring")
        return self


async def _say_if_replaced(app: App, key_id: str, account: str, keys: Sequence[Key]) -> None:
    """Whoever calls again, because the answer was lost, learns what became of the key.

    Raises:
        VeniceError: it was replaced, and is gone.
    """
    before = await anyio.to_thread.run_sync(app.store.plans.replacement, key_id, account)
    if before is None or before.key_id is None:
        return
    ending = f" ...{plain(before.last6, 6)}" if before.last6 else ""
    lives = any(each.id == before.key_id for each in keys)
    raise VeniceError(
        f"That key was rotated already, {away(before.at, app.now())}, and is gone; its successor"
        f" {before.key_id}{ending} {'is active' if lives else 'is not active any more either'}.",
        next_step="Nothing is left to do. To replace the successor, rotate that one."
        if lives
        else "If there is to be a key again, create one.",
        code="replaced",
    )


async def propose_rotation(args: RotateApiKey, ctx: Ctx) -> Proposal:
    app, name = app_of(ctx), venice_rotate_api_key.__name__
    print_of_call = fingerprint(name, args)
    begun = await running(ctx, print_of_call)
    if begun is not None:
        return begun
    keys, now = await app.client.list_api_keys(), app.now()
    account = await app.client.keys.account()
    if args.key_id is not None and all(each.id != args.key_id for each in keys):
        await _say_if_replaced(app, args.key_id, account, keys)
    key = listed_key(keys, args)
    own = await runs_on(app, key)
    if own and not args.own_key:
        raise VeniceError(
            "This server itself runs on that key, and would be locked out when it ends.",
            next_step="Rotate another key; or, if the person wants exactly this, call again with own_key true and then"
            " configure the server with the new key.",
            code="own_key",
        )
    if own and args.leaked and key.api_key_type == "ADMIN":
        raise VeniceError(
            "This server itself runs on that ADMIN key: once it is revoked, no successor could be made.",
            next_step="Call with leaked false and grace_hours 0: the successor is made first, then the key is revoked.",
            code="own_key",
        )
    lifetime = to_wire(now + timedelta(days=args.expires_in_days)) if args.expires_in_days else None
    settings = successor_of(key, now, lifetime)
    if len(keys) >= MAX_ACTIVE_KEYS and not args.leaked:
        raise VeniceError(
            f"The account has {len(keys)} active keys of {MAX_ACTIVE_KEYS} allowed: no room for a successor.",
            next_step="Revoke a key nobody uses first (venice_audit_api_keys finds some).",
            code="too_many_keys",
        )
    before = await anyio.to_thread.run_sync(app.store.plans.replacement, key.id, account)
    notes, occupant = await app.maker.look_at(args.deliver_to.destination(), planned=True)
    behind = await left_behind(app, args.deliver_to.destination(), occupant, keys, ends=key.id)
    make = Step(
        "createApiKey",
        settings.model_dump(mode="json"),
        settings.description,
        destination=args.deliver_to.destination(),
        occupant=occupant,
    )
    end, words = _ending(args, key, now, own=own)
    steps = (end, make) if args.leaked and end is not None else (make, *([end] if end is not None else []))
    return Proposal(
        tool=name,
        fingerprint=print_of_call,
        operation=PLAN,
        intent={},
        question=about_rotation(
            key,
            settings,
            destination=args.deliver_to.destination(),
            ending=words,
            leaked=args.leaked,
            own=own,
            at_once=args.grace_hours == 0,
            before=before,
            now=now,
            notes=lives_on(notes, behind),
        ),
        target={key.id: key.settings()},
        reread=reread_all(app, [key.id]),
        own_key=own,
        steps=steps,
        in_order=True,
        about={"replaces": key.id, "notes": [*_notes(args, own=own), *([still_there(behind)] if behind else [])]},
    )


def _notes(args: RotateApiKey, *, own: bool) -> list[str]:
    """What is left to do when it is done."""
    users = "this server, which still holds the old key," if own else "whatever uses the old key"
    return [
        f"Restart {users} with the new one{'' if args.leaked or not args.grace_hours else ' before the old one ends'}."
    ]


def _ending(args: RotateApiKey, key: Key, now: datetime, *, own: bool) -> tuple[Step | None, str]:
    """The step that ends the old key, and in words when that is."""
    target, label = digest(key.settings()), key.description
    if args.leaked or args.grace_hours == 0:
        return Step("deleteApiKey", {"id": key.id}, label, target=target, own_key=own), "revoked at once"
    grace = timedelta(hours=args.grace_hours)
    latest = parse_time(key.expires_at)
    if latest is not None and latest <= now + grace:
        return None, f"by itself, as it did anyway, {when(key.expires_at, now)}"
    intent = {"id": key.id, **({"expires_at": to_wire(latest)} if latest is not None else {})}
    hours = f"{args.grace_hours:g} h"
    words = f"Venice ends it {hours} after that, about {when(to_wire(now + grace), now)}"
    step = Step("updateApiKey", intent, label, target=target, own_key=own, ends_after_s=grace.total_seconds())
    return step, words


async def venice_rotate_api_key(
    args: RotateApiKey, ctx: Ctx, verdict: Annotated[Verdict, asks_first(propose_rotation)]
) -> Annotated[CallToolResult, PlanResult]:
    """Replace a key by a successor with the same settings after a person approved it. It is saved to deliver_to and
    proven to work; only then the old key ends, after a grace period that Venice enforces. Use it on a schedule or when
    somebody leaves; for a leaked key set leaked. If it says so, call again with the same arguments to go on."""
    return told(await carried_out(ctx, verdict))
