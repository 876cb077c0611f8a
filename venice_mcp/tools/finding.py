"""Which key is this? Told from what a person can know of it; ambiguity is shown, never guessed among."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, cast

import anyio.to_thread
from mcp_types import CallToolResult
from pydantic import AfterValidator, Field, model_validator

from venice_mcp.app import App, Ctx, app_of
from venice_mcp.errors import VeniceError
from venice_mcp.models.hygiene import FoundKey, FoundKeys
from venice_mcp.models.wire import Key
from venice_mcp.questions import caps
from venice_mcp.secrets import looks_like_secret
from venice_mcp.settings import Credential, KeyKind
from venice_mcp.store import StoreError
from venice_mcp.store.remembered import Remembered, remembered
from venice_mcp.text import cell, plain, plural, quoted, table, when
from venice_mcp.tools.arguments import Arguments
from venice_mcp.tools.build import answer
from venice_mcp.tools.fields import PASTED, KeyType, Last6, problem, problem_at
from venice_mcp.tools.keys import runs_on
from venice_mcp.tools.listing import row_of

_SHOWN = 10
_TOLD = 3
_GONE = "It may be revoked or expired (Venice lists neither), mistyped, or belong to another account."


def _words(value: str) -> str:
    if not plain(value):
        raise problem("must hold visible characters")
    return value


class FindApiKey(Arguments):
    last6_chars: Annotated[Last6, Field(description="How the key ends; case matters")] | None = None
    description: (
        Annotated[str, Field(max_length=64, description="All or part of it"), AfterValidator(_words)] | None
    ) = None
    configured: Annotated[KeyType, Field(description="The key of this type that this server holds")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _point_to_the_ending(cls, values: Any) -> Any:
        for name, value in cast("dict[Any, Any]", values).items() if isinstance(values, dict) else ():
            if isinstance(value, str) and looks_like_secret(value):
                raise problem_at(str(name), f"{PASTED}; to find a key, give only its last six characters")
        return cast("Any", values)

    @model_validator(mode="after")
    def _one(self) -> "FindApiKey":
        if sum(value is not None for value in (self.last6_chars, self.description, self.configured)) != 1:
            raise problem_at("last6_chars", "give exactly one of last6_chars, description and configured")
        return self


class _Match(NamedTuple):
    """`by` is how they were looked for, `head` a sentence with what came of it."""

    by: str
    head: str
    keys: list[Key]
    notes: list[str]


async def venice_find_api_key(args: FindApiKey, ctx: Ctx) -> Annotated[CallToolResult, FoundKeys]:
    """Tell which key a person means, by its last six characters, its description, or as the one this server holds.
    Never takes the key itself. If several match, ask the person which."""
    app = app_of(ctx)
    if args.configured is not None:
        found = await _configured(app, args.configured)
    else:
        keys = await app.client.list_api_keys()
        found = _by_ending(keys, args.last6_chars) if args.last6_chars else _described(keys, args.description or "")
        if not found.keys:
            found.notes.extend(await _remembered(app, _past(args.last6_chars, args.description or "")))
    made_here = await _made_here(app, found.notes)
    rows = [await _row(app, key, made_here) for key in found.keys[:_SHOWN]]
    if len(found.keys) > len(rows):
        found.notes.append(f"{len(rows)} of them shown; give more of it, or page with venice_list_api_keys.")
    if len(found.keys) > 1:
        found.notes.append("Ask the person which one is meant, then use its id.")
    result = FoundKeys(
        by=found.by, matching=len(found.keys), columns=list(FoundKey._fields), rows=rows, notes=found.notes
    )
    return answer(_text(found.head, result), result)


# --- ways to find ---------------------------------------------------------------------------------


def _by_ending(keys: list[Key], last6: str) -> _Match:
    found = [key for key in keys if key.last6_chars == last6]
    by, head = "last six characters", _counted(found, "ends in", "end in", plain(last6, 6))
    if found:
        return _Match(by, head, found, [])
    alike = [key for key in keys if key.last6_chars.casefold() == last6.casefold()]
    notes = [f"But for upper and lower case it is the ending of {_listed(alike)}: read it again."] if alike else []
    return _Match(by, head, [], [*notes, _GONE])


def _described(keys: list[Key], description: str) -> _Match:
    """Exactly, else but for case and spaces, else in part; the first that finds anything."""
    wanted = plain(description, 64)
    folded = _folded(wanted)
    name = quoted(wanted, 64)
    ways: tuple[tuple[str, str, Callable[[Key], bool]], ...] = (
        ("description, exactly", f"the description {name}", lambda key: plain(key.description, 64) == wanted),
        (
            "description, but for case",
            f"the description {name}, but for upper and lower case",
            lambda key: _folded(key.description) == folded,
        ),
        (
            "part of the description, any case",
            f"{name} in the description, in any case",
            lambda key: folded in _folded(key.description),
        ),
    )
    for by, what, fits in ways:
        if found := [key for key in keys if fits(key)]:
            return _Match(by, _counted(found, "has", "have", what), found, [])
    return _Match("description", _counted([], "has", "have", f"{name} in the description"), [], [_GONE])


def _counted(keys: list[Key], one: str, many: str, what: str) -> str:
    count = plural(len(keys), "active key") if keys else "No active key"
    return f"{count} {many if len(keys) > 1 else one} {what}."


def _folded(text: str) -> str:
    return plain(text, 200).casefold()


async def _configured(app: App, kind: KeyKind) -> _Match:
    """The account's key with type and ending of the one this server holds: all that can be compared."""
    held = await app.client.keys.get(kind)
    if held.secret is None:
        raise VeniceError(
            held.problem or f"This server holds no {kind} key: {held.variable} is not configured.",
            next_step="venice_status tells what is configured and how to mend it.",
            code="key_missing",
        )
    last6 = held.secret.last6
    by = f"configured {kind} key ...{plain(last6, 6)} ({held.origin})"
    if (await app.client.keys.get("ADMIN")).secret is None:
        told = await _of_itself(app, held)
        more = "Its id, description, caps and last use can be told only with an ADMIN key (VENICE_ADMIN_KEY)."
        return _Match(by, f"Which key of the account the {by} is cannot be told.", [], [told, more])
    found = [key for key in await app.client.list_api_keys() if (key.api_key_type, key.last6_chars) == (kind, last6)]
    head = _counted(found, "fits", "fit", f"the {by}")
    if len(found) > 1:
        return _Match(by, head, found, ["Type and last six characters fit each of them; Venice tells no more."])
    if found:
        return _Match(by, head, found, [])
    notes = [f"Venice does not list it in the account of the ADMIN key. {await _of_itself(app, held)}"]
    return _Match(by, head, [], [*notes, *await _remembered(app, _past(last6, ""))])


async def _of_itself(app: App, held: Credential) -> str:
    """What Venice tells a key about itself."""
    try:
        data = await app.client.get_rate_limits(held.kind)
    except VeniceError as error:
        return f"Asked with it: {error.what}"
    access = "permitted" if data.access_permitted else "NOT permitted"
    return (
        f"Venice accepts it: access {access}, tier {plain(data.api_tier.id, 40) or 'not stated'},"
        f" expires {when(data.key_expiration, app.now())}."
    )


# --- what this record knows -----------------------------------------------------------------------


async def _made_here(app: App, notes: list[str]) -> set[str] | None:
    try:
        if not app.store.record.exists():
            return set()
        account = await app.client.keys.account()
        return await anyio.to_thread.run_sync(app.store.journal.made_ids, account)
    except StoreError as error:
        notes.append(f"Which keys were made here is not known: {error.what}")
        return None


def _past(last6: str | None, description: str) -> Callable[[Remembered], bool]:
    def fits(each: Remembered) -> bool:
        if last6 is not None:
            return each.last6 == last6
        return _folded(description) in _folded(each.description)

    return fits


async def _remembered(app: App, fits: Callable[[Remembered], bool]) -> list[str]:
    try:
        account = await app.client.keys.account()
        past = await anyio.to_thread.run_sync(remembered, app.store.record, account, fits)
    except StoreError:  # told by _made_here
        return []
    more = [f"This server's record knows {len(past) - _TOLD} more."] if len(past) > _TOLD else []
    return [_told(each) for each in past[-_TOLD:]] + more


def _told(each: Remembered) -> str:
    name = f"{quoted(each.description, 64)} ...{plain(each.last6, 6)}, id {plain(each.key_id, 40)}"
    made = f"made from here on {each.made_at:%Y-%m-%d %H:%M} UTC" if each.made_at else ""
    gone = f"revoked from here on {each.revoked_at:%Y-%m-%d %H:%M} UTC" if each.revoked_at else "not revoked from here"
    return f"On record: {name}: {', '.join(part for part in (made, gone) if part)}."


# --- the answer -----------------------------------------------------------------------------------


async def _row(app: App, key: Key, made_here: set[str] | None) -> FoundKey:
    return FoundKey(
        *row_of(key),
        key.id in made_here if made_here is not None else None,
        await runs_on(app, key),
    )


def _text(head: str, result: FoundKeys) -> str:
    rows = [
        [
            row.id,
            cell(row.description),
            row.api_key_type,
            row.last6_chars,
            caps(row.usd_cap, row.diem_cap, row.limit_period),
            row.last_used or "never",
            row.expires or "never",
            {True: "yes", False: "no", None: "?"}[row.made_here],
            "YES" if row.runs_on else "no",
        ]
        for row in result.rows
    ]
    columns = ["id", "description", "type", "last6", "cap", "last used", "expires", "made here", "this server's own"]
    return "\n".join([head, *([table(columns, rows)] if rows else []), *result.notes])


def _listed(keys: list[Key]) -> str:
    return ", ".join(f"{plain(key.id, 40)} {quoted(key.description)}" for key in keys[:_TOLD])
