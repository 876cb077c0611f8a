"""Provisioning: one key per customer, service or stage, from one template and a list of names."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

import anyio.to_thread
from mcp_types import CallToolResult
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from venice_mcp.app import App, Ctx, app_of
from venice_mcp.asking import asks_first, fingerprint
from venice_mcp.consent import canonical
from venice_mcp.errors import VeniceError
from venice_mcp.models.plans import PlanResult
from venice_mcp.models.wire import MAX_ACTIVE_KEYS
from venice_mcp.plan_questions import about_provisioning
from venice_mcp.proposals import PLAN, Proposal, Step, Verdict
from venice_mcp.secrets import Destination, looks_like_secret
from venice_mcp.tools.arguments import LimitArguments, Part
from venice_mcp.tools.fields import PASTED, Description, clean_text, problem_at
from venice_mcp.tools.keys import settings_of
from venice_mcp.tools.plans import carried_out, nothing_to_do, running, told
from venice_mcp.workflows.templates import (
    MOST_NAMES,
    PLACEHOLDER,
    PlaceKind,
    descriptions,
    places,
    read_names,
    where,
)

_DESCRIPTION: TypeAdapter[str] = TypeAdapter(Description, config=ConfigDict(defer_build=True))


class Places(Part):
    """Where the secrets of many keys go."""

    EXAMPLE: ClassVar[Mapping[str, Any]] = {"kind": "dotenv", "path": "~/.env", "variable": "VENICE_KEY_{NAME}"}
    model_config = ConfigDict(extra="forbid", defer_build=True)
    kind: PlaceKind
    path: Annotated[
        str,
        Field(min_length=1, max_length=200, description="Absolute or ~/; for files a folder"),
        AfterValidator(clean_text),
    ]
    variable: Annotated[
        str, Field(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*\{NAME\}[A-Za-z0-9_]*$", description="For dotenv")
    ] = "VENICE_KEY_{NAME}"


class ProvisionApiKeys(LimitArguments):
    names: Annotated[list[str], Field(min_length=1, max_length=MOST_NAMES, description="Or names_file")] | None = None
    names_file: (
        Annotated[
            str,
            Field(max_length=200, description="CSV (column name) or JSON list, absolute or ~/"),
            AfterValidator(clean_text),
        ]
        | None
    ) = None
    description: Annotated[
        str, Field(max_length=64, description="Of each key, e.g. 'cust:{name}'"), AfterValidator(clean_text)
    ] = PLACEHOLDER
    deliver_to: Places

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.names is None) == (self.names_file is None):
            raise problem_at("names", "give either names or names_file")
        if PLACEHOLDER not in self.description:
            raise problem_at("description", f"must hold {PLACEHOLDER}, so that each key gets its own")
        return self


async def propose_provisioning(args: ProvisionApiKeys, ctx: Ctx) -> Proposal | None:
    app, tool = app_of(ctx), venice_provision_api_keys.__name__
    names, called = await _names(app, args)
    print_of_call = fingerprint(tool, args, hashlib.sha256(canonical(called).encode()).hexdigest())
    begun = await running(ctx, print_of_call)
    if begun is not None:
        return begun
    limits = settings_of(args, called[0], app.now())
    found = places(args.deliver_to.kind, args.deliver_to.path, args.deliver_to.variable, names, called)
    keys = await app.client.list_api_keys()
    there = {key.description for key in keys}
    new = [(each, place) for each, place in zip(called, found, strict=True) if each not in there]
    if not new:
        return None
    if len(keys) + len(new) > MAX_ACTIVE_KEYS:
        raise VeniceError(
            f"The account has {len(keys)} active keys of {MAX_ACTIVE_KEYS} allowed: no room for {len(new)} more.",
            next_step="Make fewer, or revoke keys nobody uses (venice_audit_api_keys finds some).",
            code="too_many_keys",
        )
    # What was asked before and is open still is what will be asked, or was; its places need no second look.
    asked = await app.guard.is_asked(print_of_call)
    notes = () if asked else await _notes(app, [place for _, place in new])
    settings = [limits.model_copy(update={"description": each}) for each, _ in new]
    already = [each for each in called if each in there]
    return Proposal(
        tool=tool,
        fingerprint=print_of_call,
        operation=PLAN,
        intent={},
        question=about_provisioning(
            settings,
            where=where(args.deliver_to.kind, args.deliver_to.path),
            skipped=len(already),
            active=len(keys),
            now=app.now(),
            notes=notes,
        ),
        steps=tuple(
            Step("createApiKey", each.model_dump(mode="json"), each.description, destination=place)
            for each, (_, place) in zip(settings, new, strict=True)
        ),
        about={"where": where(args.deliver_to.kind, args.deliver_to.path), "already": already},
    )


async def _names(app: App, args: ProvisionApiKeys) -> tuple[list[str], list[str]]:
    """The names and what the keys are called."""
    if args.names is not None:
        names = [name.strip() for name in args.names]
    else:
        folders = app.settings.policy.folders
        names = await anyio.to_thread.run_sync(read_names, args.names_file or "", folders)
    if len(names) > MOST_NAMES:
        raise VeniceError(
            f"names_file: it holds {len(names)} names; one call takes {MOST_NAMES}.",
            next_step="Split the file.",
            code="bad_argument",
        )
    return names, descriptions(names, args.description, _checked)


def _checked(description: str) -> str:
    if looks_like_secret(description):
        raise ValueError(PASTED)
    try:
        return _DESCRIPTION.validate_python(description)
    except ValidationError as error:
        raise ValueError(error.errors(include_input=False, include_url=False)[0]["msg"]) from None


async def _notes(app: App, found: list[Destination]) -> tuple[str, ...]:
    """Whether every secret could be saved where it shall go, before anyone is asked; what to know about that."""
    notes: dict[str, None] = {}
    for place in found:
        more, occupant = await app.maker.look_at(place, planned=True)
        if occupant is not None:
            raise VeniceError(
                "deliver_to: a variable of that name has a value already, and nothing is replaced here.",
                next_step="Choose another file or variable.",
                code="sink_unusable",
            )
        notes |= dict.fromkeys(more)
    return tuple(notes)


async def venice_provision_api_keys(
    args: ProvisionApiKeys, ctx: Ctx, verdict: Annotated[Verdict | None, asks_first(propose_provisioning)]
) -> Annotated[CallToolResult, PlanResult]:
    """Make many INFERENCE keys, one per name, after a person approved it; secrets go to files, never the chat. Use it
    for customers or stages. Descriptions that exist are left alone. At 20 keys a minute: call again with the same
    arguments until finished; nobody is asked again."""
    if verdict is None:
        _, called = await _names(app_of(ctx), args)
        return nothing_to_do(called, "Keys of all these descriptions are there already.")
    return told(await carried_out(ctx, verdict))
