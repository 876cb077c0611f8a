"""The tools for one key: get, create, update, revoke."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from mcp_types import CallToolResult

from venice_mcp.app import App, Ctx, app_of, show
from venice_mcp.asking import asks_first, fingerprint
from venice_mcp.client.api import not_found
from venice_mcp.errors import ArgumentError, VeniceError
from venice_mcp.models.requests import KeyChange, NewKeySettings
from venice_mcp.models.results import KeyDetail, NewKey, RevokedKey, UpdatedKey
from venice_mcp.models.wire import Key, one_spelling_of_ranges
from venice_mcp.proposals import Proposal, Target, Verdict
from venice_mcp.questions import about_create, about_revoke, about_update, caps, label, shown
from venice_mcp.secrets import Destination
from venice_mcp.secrets.delivery import described
from venice_mcp.text import parse_time, plain, quoted, when
from venice_mcp.tools.arguments import (
    ChangeArguments,
    CreateApiKey,
    KeySettingsArguments,
    LimitArguments,
    OneKey,
    UpdateApiKey,
)
from venice_mcp.tools.build import answer
from venice_mcp.tools.occupants import left_behind, lives_on, namesakes, still_there
from venice_mcp.tools.times import expiry
from venice_mcp.workflows.making import Made

SHOWN_ONCE = (
    "The secret above now stands in this conversation and its history, and will not be shown again."
    " Copy it to where it belongs, then call venice_recover with acknowledge set to the key's id;"
    " next time pass deliver_to to keep it out of the chat."
)


async def venice_get_api_key(args: OneKey, ctx: Ctx) -> Annotated[CallToolResult, KeyDetail]:
    """Show one key's settings, use and spend, by id or last six characters. It cannot show the secret; nobody can."""
    app = app_of(ctx)
    detail = detail_of(await find_key(app, args))
    return answer(_detail_text(detail, app.now()), detail)


async def find_key(app: App, args: OneKey) -> Key:
    """The one key the arguments name.

    Raises:
        VeniceError: none or several fit; several are listed, never guessed among.
    """
    if args.key_id is not None:
        return await app.client.get_api_key(args.key_id)
    # Read by id, like every later look at it, so that two endpoints' spellings never count as a change.
    return await app.client.get_api_key(listed_key(await app.client.list_api_keys(), args).id)


def listed_key(keys: Sequence[Key], args: OneKey) -> Key:
    """The one key of a list that the arguments name; raises like `find_key`."""
    if args.key_id is not None:
        found = [key for key in keys if key.id == args.key_id]
    else:
        found = [key for key in keys if key.last6_chars == args.last6_chars]
    if not found:
        raise not_found(args.key_id) if args.key_id else not_found(last6=args.last6_chars or "")
    if len(found) > 1:
        listed = ", ".join(f"{plain(key.id, 40)} {quoted(key.description)}" for key in found[:5])
        raise VeniceError(
            f"last6_chars: {len(found)} keys end in {args.last6_chars}: {listed}.",
            next_step="Ask the person which one, then give its key_id.",
            code="ambiguous",
        )
    return found[0]


async def runs_on(app: App, key: Key) -> bool:
    """Whether this server itself uses the key, as far as type and last six tell."""
    return await app.client.keys.runs_on(key.api_key_type, key.last6_chars)


def detail_of(key: Key) -> KeyDetail:
    """Venice's key as a result; every text in it made harmless."""
    week, period = (key.usage.trailing_seven_days if key.usage else None), key.current_period_usage
    return KeyDetail(
        id=plain(key.id, 40),
        description=plain(key.description, 64),
        api_key_type=plain(key.api_key_type, 20),
        last6_chars=plain(key.last6_chars, 6),
        usd_cap=key.consumption_limits.usd,
        diem_cap=key.consumption_limits.diem,
        vcu_cap=key.consumption_limits.vcu,
        limit_period=plain(key.limit_period, 20),
        model_privacy=plain(key.model_privacy, 20),
        created_at=_safe(key.created_at),
        expires_at=_safe(key.expires_at),
        last_used_at=_safe(key.last_used_at),
        ip_allowlist=[plain(item, 50) for item in key.ip_allowlist] if key.ip_allowlist else None,
        usd_last_7_days=plain(week.usd, 24) if week else None,
        diem_last_7_days=plain(week.diem, 24) if week else None,
        usd_current_period=plain(period.usd, 24) if period else None,
        diem_current_period=plain(period.diem, 24) if period else None,
    )


def _safe(value: str | None) -> str | None:
    return plain(value, 40) if value is not None else None


def _detail_text(key: KeyDetail, now: datetime) -> str:
    lines = [
        f"{key.api_key_type} key {quoted(key.description)} ...{key.last6_chars}, id {key.id}",
        f"Cap: {caps(key.usd_cap, key.diem_cap, key.limit_period, key.vcu_cap)}. Models: {key.model_privacy}.",
        f"Created {when(key.created_at, now, 'unknown')}. Last used {when(key.last_used_at, now)}."
        f" Expires: {when(key.expires_at, now)}.",
    ]
    if key.usd_last_7_days is not None:
        lines.append(f"Spent in 7 days: {key.usd_last_7_days} USD, {key.diem_last_7_days} DIEM.")
    if key.usd_current_period is not None:
        lines.append(
            f"Spent in the current {key.limit_period}: {key.usd_current_period} USD, {key.diem_current_period} DIEM."
        )
    if key.ip_allowlist:
        lines.append("Only from: " + ", ".join(key.ip_allowlist))
    return "\n".join(lines)


# --- create ---------------------------------------------------------------------------------------


def settings_of(args: LimitArguments, description: str, now: datetime, kind: str = "INFERENCE") -> NewKeySettings:
    """The arguments as fully decided settings."""
    return NewKeySettings(
        api_key_type=kind,
        description=description,
        usd_cap=args.usd_cap,
        diem_cap=args.diem_cap,
        limit_period=args.limit_period,
        model_privacy=args.model_privacy,
        expires_at=expiry(args, now),
        ip_allowlist=tuple(args.ip_allowlist) if args.ip_allowlist else None,
    )


async def check_destination(args: KeySettingsArguments, ctx: Ctx) -> tuple[tuple[str, ...], str | None]:
    """Whether the secret could be saved where it shall go; notes on that, and the occupant.

    When the answer comes back, the record's are those of the question that was asked.
    """
    if args.destination.kind == "display":
        return (), None
    return await app_of(ctx).maker.look_at(args.destination)


async def propose_create(args: CreateApiKey, ctx: Ctx) -> Proposal:
    app = app_of(ctx)
    settings = settings_of(args, args.description, app.now(), args.api_key_type)
    # No use in asking for what cannot be done; looked at again right before the write.
    keys = await app.maker.room_for_one_more() if ctx.request_state is None else []
    notes, occupant = await check_destination(args, ctx)
    behind = await left_behind(app, args.destination, occupant, keys)
    notes = (*namesakes(args.description, keys), *lives_on(notes, behind))
    return Proposal(
        tool=venice_create_api_key.__name__,
        fingerprint=fingerprint(venice_create_api_key.__name__, args),
        operation="createApiKey",
        intent=settings.model_dump(mode="json"),
        question=about_create(settings, destination=args.destination, now=app.now(), notes=notes),
        destination=args.destination,
        occupant=occupant,
        about={"notes": [still_there(behind)]} if behind else {},
    )


async def venice_create_api_key(
    args: CreateApiKey, ctx: Ctx, verdict: Annotated[Verdict, asks_first(propose_create)]
) -> Annotated[CallToolResult, NewKey]:
    """Create a Venice API key after a person approved it. Prefer INFERENCE, a cap, an expiry and deliver_to; ADMIN
    only for managing keys. The secret is shown once or saved to a file. Never pass or repeat a secret."""
    app = app_of(ctx)
    made = await app.maker.create(verdict)
    proposal = verdict.case.proposal
    made = replace(made, notes=(*made.notes, *(plain(str(each), 300) for each in proposal.about.get("notes", ()))))
    return made_answer(made, NewKeySettings.model_validate(proposal.intent), app.now())


def _place(destination: Destination) -> str:
    """A path where there is one, which a program can open; words for the rest."""
    return destination.path or "" if destination.kind == "file" else described(destination)


def made_answer(made: Made, settings: NewKeySettings, now: datetime, address: str | None = None) -> CallToolResult:
    """The one result that may hold the secret, in both channels because hosts read one or the other."""
    secret = show(made.secret) if made.secret is not None else None
    notes = [*made.notes, *([SHOWN_ONCE] if secret else [])]
    result = NewKey(
        id=plain(made.id, 40),
        description=settings.description,
        api_key_type=settings.api_key_type,
        last6_chars=made.last6,
        usd_cap=settings.usd_cap,
        diem_cap=settings.diem_cap,
        limit_period=settings.limit_period,
        model_privacy=settings.model_privacy,
        expires_at=settings.expires_at,
        address=address,
        api_key=secret,
        delivered_to=_place(made.destination) if secret is None else None,
        notes=notes,
    )
    lines = [
        f"{f'Wallet {address} minted' if address else 'Created'} the {settings.api_key_type} key"
        f" {quoted(settings.description)} ...{made.last6}, id {result.id}.",
        f"Cap: {caps(settings.usd_cap, settings.diem_cap, settings.limit_period)}."
        f" Expires: {when(settings.expires_at, now)}.",
        f"Secret: {secret}" if secret else f"Its secret is in {described(made.destination)}.",
        *notes,
    ]
    return answer("\n".join(lines), result)


# --- update ---------------------------------------------------------------------------------------


def change_of(key: Key, args: ChangeArguments, now: datetime) -> KeyChange:
    """The exact change: only what differs, but always both caps when one changes.

    Raises:
        ArgumentError: the change makes no sense for this key, or changes nothing.
    """
    cleared = set(args.clear or ())
    limit = args.consumption_limit
    change: dict[str, Any] = {}
    new_usd = (
        limit.usd if limit and limit.usd is not None else (None if "usd_cap" in cleared else key.consumption_limits.usd)
    )
    new_diem = (
        limit.diem
        if limit and limit.diem is not None
        else (None if "diem_cap" in cleared else key.consumption_limits.diem)
    )
    if (new_usd, new_diem) != (key.consumption_limits.usd, key.consumption_limits.diem):
        # Whether Venice merges or replaces the cap left out is not documented, so both always go.
        change |= {"usd_cap": new_usd, "diem_cap": new_diem}
    uncapped = new_usd is None and new_diem is None and key.consumption_limits.vcu is None
    if args.limit_period is not None and uncapped:
        raise ArgumentError("limit_period", "has no meaning for a key without a cap.", "Give consumption_limit too.")
    end = "" if "expires_at" in cleared else expiry(args, now)
    if end is not None and (parse_time(end) != parse_time(key.expires_at)):
        change["expires_at"] = end or None
    ips = [] if "ip_allowlist" in cleared else args.ip_allowlist
    if ips is not None and one_spelling_of_ranges(ips) != key.settings()["ip_allowlist"]:
        change["ip_allowlist"] = tuple(ips)
    plain_ones = {
        "description": args.new_description,
        "limit_period": args.limit_period,
        "model_privacy": args.model_privacy,
    }
    for name, value in plain_ones.items():
        if value is not None and value != getattr(key, name):
            change[name] = value
    if not change:
        raise ArgumentError("arguments", "the key already has exactly these settings.", "Nothing needs to be done.")
    return KeyChange(id=key.id, **change)


async def propose_update(args: UpdateApiKey, ctx: Ctx) -> Proposal:
    app = app_of(ctx)
    expiry(args, app.now())  # refused before anything is read
    key = await find_key(app, args)
    change = change_of(key, args, app.now())
    own = await runs_on(app, key)
    return Proposal(
        tool=venice_update_api_key.__name__,
        fingerprint=fingerprint(venice_update_api_key.__name__, args, key.id),
        operation="updateApiKey",
        intent=change.intent(),
        question=about_update(key, change, app.now(), in_use=own),
        target=key.settings(),
        reread=_reread(app, key.id),
        own_key=own,
    )


async def venice_update_api_key(
    args: UpdateApiKey, ctx: Ctx, verdict: Annotated[Verdict, asks_first(propose_update)]
) -> Annotated[CallToolResult, UpdatedKey]:
    """Change a key's description, caps, window, expiry, privacy or addresses after a person approved the before and
    after. What is left out stays; use clear to remove a cap, expiry or address list. The type cannot change."""
    app = app_of(ctx)
    before = verdict.case.proposal.target or {}
    key, notes = await app.changer.update(verdict)
    after, now = key.settings(), app.now()
    changed = {
        name: [plain(shown(name, before[name], now), 200), plain(shown(name, after[name], now), 200)]
        for name in after
        if name in before and before[name] != after[name]
    }
    lines = [f"Changed {quoted(key.description)} ...{plain(key.last6_chars, 6)}, id {plain(key.id, 40)}."]
    lines += [f"{label(name)}: {old} -> {new}" for name, (old, new) in changed.items()]
    result = UpdatedKey(key=detail_of(key), changed=changed, notes=list(notes))
    return answer("\n".join([*lines, *notes]), result)


# --- revoke ---------------------------------------------------------------------------------------


async def propose_revoke(args: OneKey, ctx: Ctx) -> Proposal:
    return await revocation(
        app_of(ctx),
        args,
        tool=venice_revoke_api_key.__name__,
        fingerprint=lambda key_id: fingerprint(venice_revoke_api_key.__name__, args, key_id),
    )


async def revocation(
    app: App, args: OneKey, *, tool: str, fingerprint: Callable[[str], str], lost: bool = False
) -> Proposal:
    """The proposal to revoke one key. `lost` says that nobody has its secret."""
    key = await find_key(app, args)
    own = await runs_on(app, key)
    return Proposal(
        tool=tool,
        fingerprint=fingerprint(key.id),
        operation="deleteApiKey",
        intent={"id": key.id},
        question=about_revoke(key, app.now(), in_use=own, lost=lost),
        target=key.settings(),
        reread=_reread(app, key.id),
        own_key=own,
    )


async def venice_revoke_api_key(
    args: OneKey, ctx: Ctx, verdict: Annotated[Verdict, asks_first(propose_revoke)]
) -> Annotated[CallToolResult, RevokedKey]:
    """Revoke a key for good after a person approved it; whatever uses it fails at once. Check last use first. To
    pause a key instead, update it with {'consumption_limit':{'usd':0,'diem':0}}."""
    app = app_of(ctx)
    target = verdict.case.proposal.target or {}
    notes = await app.changer.revoke(verdict)
    result = RevokedKey(
        id=plain(str(target["id"]), 40),
        description=plain(str(target["description"]), 64),
        last6_chars=plain(str(target["last6_chars"]), 6),
        revoked=True,
        notes=list(notes),
    )
    text = f"Revoked {quoted(result.description)} ...{result.last6_chars}, id {result.id}. It cannot be brought back."
    return answer("\n".join([text, *notes]), result)


def _reread(app: App, key_id: str) -> Callable[[], Any]:
    async def reread() -> Target:
        return (await app.client.get_api_key(key_id)).settings()

    return reread
