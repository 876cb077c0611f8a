"""Revoking and changing several keys under one approval, each named by its id."""

from typing import Annotated

import anyio.to_thread
from mcp_types import CallToolResult
from pydantic import AfterValidator, Field

from venice_mcp.app import App, Ctx, app_of
from venice_mcp.asking import asks_first, fingerprint
from venice_mcp.errors import ArgumentError, VeniceError
from venice_mcp.models.plans import PlanResult
from venice_mcp.models.requests import KeyChange
from venice_mcp.models.wire import Key
from venice_mcp.plan_questions import about_revoking, about_updating
from venice_mcp.proposals import PLAN, Proposal, Step, Verdict, digest
from venice_mcp.questions import Question
from venice_mcp.store.remembered import Remembered, remembered
from venice_mcp.text import plain, quoted
from venice_mcp.tools.arguments import Arguments, ChangeArguments
from venice_mcp.tools.fields import EXAMPLE_ID, OneOfMany, problem
from venice_mcp.tools.keys import change_of, runs_on
from venice_mcp.tools.plans import carried_out, nothing_to_do, reread_all, running, told
from venice_mcp.tools.times import expiry


def _each_once(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise problem("names a key twice")
    return values


MOST_KEYS = 100
KeyIds = Annotated[
    list[OneOfMany],
    Field(
        min_length=1,
        max_length=MOST_KEYS,
        description=f"From venice_list_api_keys; at most {MOST_KEYS}",
        examples=[[EXAMPLE_ID]],
    ),
    AfterValidator(_each_once),
]


class RevokeApiKeys(Arguments):
    key_ids: KeyIds


class UpdateApiKeys(ChangeArguments):
    key_ids: KeyIds


async def keys_named(app: App, key_ids: list[str]) -> list[Key]:
    """The keys, in the order they were named.

    Raises:
        VeniceError: one is not there, or this server itself runs on one.
    """
    listed = {key.id: key for key in await app.client.list_api_keys()}
    missing = [key_id for key_id in key_ids if key_id not in listed]
    if missing:
        before = await _revoked_here(app, set(missing))
        raise VeniceError(
            f"key_ids: Venice lists no active key {', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''}."
            f"{f' {before} of {len(missing)} revoked from here before.' if before else ''}",
            next_step="Leave out what is gone, or look with venice_list_api_keys; nothing was asked or done.",
            code="not_found",
        )
    keys = [listed[key_id] for key_id in key_ids]
    own = [key.id for key in keys if await runs_on(app, key)]
    if own:
        raise VeniceError(
            f"key_ids: this server itself runs on {plain(own[0], 40)}, so it is never handled together with others.",
            next_step="Leave it out; if the person wants exactly this, use the tool for one key.",
            code="own_key",
        )
    return keys


async def _revoked_here(app: App, missing: set[str]) -> int:
    """How many of these keys the record knows to be revoked: whoever lost an answer may ask for the same again."""
    account = await app.client.keys.account()

    def fits(each: Remembered) -> bool:
        return each.key_id in missing and each.revoked_at is not None

    return len(await anyio.to_thread.run_sync(remembered, app.store.record, account, fits))


def _plan(
    ctx: Ctx, tool: str, print_of_call: str, question: Question, steps: list[Step], keys: list[Key], already: list[str]
) -> Proposal:
    return Proposal(
        tool=tool,
        fingerprint=print_of_call,
        operation=PLAN,
        intent={},
        question=question,
        target={key.id: key.settings() for key in keys},
        reread=reread_all(app_of(ctx), [key.id for key in keys]),
        steps=tuple(steps),
        about={"already": already} if already else {},
    )


# --- revoke ---------------------------------------------------------------------------------------


async def propose_revoking_several(args: RevokeApiKeys, ctx: Ctx) -> Proposal:
    app, name = app_of(ctx), venice_revoke_api_keys.__name__
    print_of_call = fingerprint(name, args)
    begun = await running(ctx, print_of_call)
    if begun is not None:
        return begun
    keys = await keys_named(app, args.key_ids)
    steps = [Step("deleteApiKey", {"id": key.id}, key.description, target=digest(key.settings())) for key in keys]
    return _plan(ctx, name, print_of_call, about_revoking(keys, app.now()), steps, keys, [])


async def venice_revoke_api_keys(
    args: RevokeApiKeys, ctx: Ctx, verdict: Annotated[Verdict, asks_first(propose_revoking_several)]
) -> Annotated[CallToolResult, PlanResult]:
    """Revoke several keys for good after a person saw the list with each one's last use and approved it. Use it to
    clean up after venice_audit_api_keys. What changed meanwhile is left alone; call again to go on."""
    return told(await carried_out(ctx, verdict))


# --- update ---------------------------------------------------------------------------------------


async def propose_updating_several(args: UpdateApiKeys, ctx: Ctx) -> Proposal | None:
    app, name = app_of(ctx), venice_update_api_keys.__name__
    print_of_call = fingerprint(name, args)
    begun = await running(ctx, print_of_call)
    if begun is not None:
        return begun
    expiry(args, app.now())  # refused before anything is read
    keys = await keys_named(app, args.key_ids)
    changes: list[tuple[Key, KeyChange]] = []
    already: list[str] = []
    for key in keys:
        try:
            changes.append((key, change_of(key, args, app.now())))
        except ArgumentError as error:
            if error.argument != "arguments":
                problem_of = f"does not fit {quoted(key.description)}: {error.what}"
                raise ArgumentError(error.argument, problem_of, error.next_step) from None
            already.append(key.description)
    if not changes:
        return None
    steps = [
        Step("updateApiKey", change.intent(), key.description, target=digest(key.settings())) for key, change in changes
    ]
    question = about_updating(changes, app.now(), same=len(already))
    return _plan(ctx, name, print_of_call, question, steps, [key for key, _ in changes], already)


async def venice_update_api_keys(
    args: UpdateApiKeys, ctx: Ctx, verdict: Annotated[Verdict | None, asks_first(propose_updating_several)]
) -> Annotated[CallToolResult, PlanResult]:
    """Make the same change to several keys after a person approved the before and after of each. Use it for a cap on
    every key that has none. Keys that are so already are left alone; call again to go on."""
    if verdict is None:
        return nothing_to_do([], "All these keys have these settings already.")
    return told(await carried_out(ctx, verdict))
