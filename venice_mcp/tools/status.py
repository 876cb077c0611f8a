"""What this server is set up with, what waits for a person, and how to mend what is missing."""

from typing import Annotated

import anyio.to_thread
from mcp_types import CallToolResult

from venice_mcp import __version__, wallet
from venice_mcp.app import App, Ctx, app_of
from venice_mcp.asking import can_ask
from venice_mcp.models.results import ConfiguredKey, PendingApproval, Status
from venice_mcp.operating import approve_command, giving
from venice_mcp.policy.summary import summary
from venice_mcp.settings import NOT_CONFIGURED, Credential
from venice_mcp.store import Approval, StoreError
from venice_mcp.text import cell, plain, table, to_wire
from venice_mcp.tools.arguments import NoArguments
from venice_mcp.tools.build import answer
from venice_mcp.tools.recover import open_plans
from venice_mcp.workflows.recovering import told


async def venice_status(args: NoArguments, ctx: Ctx) -> Annotated[CallToolResult, Status]:
    """Show which Venice keys this server holds (type, last six, origin), sandbox or live, what waits for approval, and
    what is missing with its fix. Call it first when anything about keys fails."""
    app = app_of(ctx)
    asking = can_ask(ctx) and not app.guard.gate.on_terminal_only
    result = await status_of(app, asking=asking, protocol_version=ctx.protocol_version)
    return answer(_text(result, app), result)


async def status_of(app: App, *, asking: bool, protocol_version: str | None) -> Status:
    """The state of this server, without sending anything to Venice."""
    problems = list(app.settings.problems)
    try:
        account = await app.client.keys.account()
        waiting = await anyio.to_thread.run_sync(lambda: app.store.approvals.waiting(app.now(), account=account))
        matters = [told(item) for item in await app.recovery.open_matters()]
        matters += [f"plan {plan.plan}, not finished: {plan.what.rstrip('.')}" for plan in await open_plans(app)]
    except StoreError as error:
        waiting, matters = [], []
        problems.append(f"{error.what} {error.next_step} Until then nothing can be created, changed or revoked.")
    found = await app.client.keys.all()
    admin = await app.client.keys.get("ADMIN")
    if admin.secret is None and not admin.problem:
        problems.append(
            "No ADMIN key: listing, creating, changing and revoking keys and billing need one."
            f" {giving('ADMIN', app.settings.host)}"
        )
    # Deriving a wallet's address imports and computes for a while, off the event loop.
    keys = await anyio.to_thread.run_sync(lambda: [_configured(item) for item in found])
    return Status(
        mode=app.settings.mode,
        version=__version__,
        keys=keys,
        can_ask=asking,
        approve_command=None if asking else approve_command(None, app.store.folder),
        protocol_version=protocol_version,
        pending=[_pending(item, app) for item in waiting],
        open_matters=matters,
        policy=[*summary(app.settings.policy), *(f"from {path}" for path in app.settings.policy_sources)],
        problems=problems,
    )


def _configured(found: Credential) -> ConfiguredKey:
    is_wallet = found.kind == "WALLET"
    return ConfiguredKey(
        variable=found.variable,
        api_key_type=found.kind,
        configured=found.secret is not None,
        last6_chars=found.secret.last6 if found.secret is not None and not is_wallet else None,
        origin=None if found.origin == NOT_CONFIGURED else found.origin,
        problem=found.problem,
        address=wallet.address_of(found.secret) if found.secret is not None and is_wallet else None,
    )


def _pending(item: Approval, app: App) -> PendingApproval:
    return PendingApproval(
        code=item.code,
        state=item.state,
        tool=plain(str(item.data["tool"]), 60),
        what=plain(str(item.data["headline"]), 160),
        expires_at=to_wire(item.expires_at),
        command=approve_command(item.code, app.store.folder) if item.state == "pending" else None,
    )


def _text(status: Status, app: App) -> str:
    where = {
        "sandbox": "SANDBOX inside this process: nothing here is real.",
        "loopback": f"SANDBOX at {app.settings.base_url}: nothing here is real.",
        "live": "LIVE: api.venice.ai.",
    }[status.mode]
    why = "Policy takes approvals from a terminal only"
    if not app.guard.gate.on_terminal_only:
        why = "This client cannot ask a person"
    asking = (
        "This client can ask a person."
        if status.can_ask
        else f"{why}: a person approves in a terminal of their own, where `{status.approve_command}` lists what waits."
    )
    rows = [
        [
            key.variable,
            key.api_key_type,
            f"...{key.last6_chars}" if key.last6_chars else (key.address or "-"),
            key.origin or NOT_CONFIGURED,
        ]
        for key in status.keys
    ]
    lines = [f"venice-mcp {status.version}. {where} {asking}", table(["key", "type", "last6", "from"], rows)]
    lines += [_waiting(item) for item in status.pending]
    lines += [f"Not accounted for, settle with venice_recover: {item}." for item in status.open_matters]
    lines += ["Policy: " + "; ".join(status.policy)] if status.policy else []
    lines += [f"Problem: {cell(problem, 600)}" for problem in status.problems]
    return "\n".join(lines)


def _waiting(item: PendingApproval) -> str:
    if item.state == "granted":
        return f"Approved, not yet used: {item.what} Call {item.tool} again, unchanged, until {item.expires_at}."
    return f"Waiting for a person: {item.what} [{item.tool}] until {item.expires_at}. To approve: {item.command}"
