"""What a host can show besides tools: keys, limits, the audit trail, the operator's rules. All of it is only read.

A resource is there when policy offers a tool that reads the same; the audit trail, which describes keys, when policy
offers one that shows keys.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import anyio.to_thread
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.mcpserver.resources import FunctionResource
from mcp_types import Annotations

from venice_mcp.app import App
from venice_mcp.changes import AUDIT_LOG, KEYS, key_uri
from venice_mcp.errors import VeniceError
from venice_mcp.models.results import KeyRow
from venice_mcp.models.wire import MAX_ACTIVE_KEYS
from venice_mcp.operating import command
from venice_mcp.policy.summary import summary
from venice_mcp.store import as_json
from venice_mcp.text import plain
from venice_mcp.tools.keys import detail_of
from venice_mcp.tools.limits import limits_of
from venice_mcp.tools.listing import row_of

KEY: Final = f"{KEYS}/{{id}}"
LIMITS: Final = "venice://limits"
POLICY: Final = "venice://policy"
_JSON, _LINES = "application/json", "application/x-ndjson"
_ENTRIES = 20
MOST_CHARACTERS: Final = 200_000
_LONGEST_ENTRY = 40_000
Reader = Callable[[App], Awaitable[str]]


class Shown(NamedTuple):
    """A resource: there with any of `tools`; `priority` from 0 (optional) to 1 (important)."""

    uri: str
    name: str
    title: str
    description: str
    tools: tuple[str, ...]
    priority: float
    read: Reader
    mime_type: str = _JSON


# --- reading --------------------------------------------------------------------------------------


async def _keys(app: App) -> str:
    """A row a key; descriptions are other people's words."""
    keys = sorted(await app.client.list_api_keys(), key=lambda key: (key.description.casefold(), key.id))
    rows = [_compact(row_of(key)) for key in keys[:MAX_ACTIVE_KEYS]]
    head = _compact({"total": len(keys), "shown": len(rows), "columns": KeyRow._fields})
    return head[:-1] + ',"rows":[\n' + ",\n".join(rows) + "\n]}"


async def _limits(app: App) -> str:
    return _compact((await limits_of(app, None, "")).model_dump(exclude_none=True))


async def _audit_log(app: App) -> str:
    """The newest entries, oldest of them first, each with the hash it is chained by."""
    account = await app.client.keys.account()
    entries = await anyio.to_thread.run_sync(lambda: app.store.trail.latest(_ENTRIES, account))
    lines: list[str] = []
    left = MOST_CHARACTERS
    for entry in map(as_json, reversed(entries)):
        line = json.dumps(entry) + "\n"
        if len(line) > _LONGEST_ENTRY:
            elsewhere = f"too long to be shown here; see `{command('audit-log', 'export')}`"
            line = json.dumps(entry | {"data": elsewhere}) + "\n"
        left -= len(line)
        if left < 0:
            break
        lines.append(line)
    return "".join(reversed(lines))


async def _policy(app: App) -> str:
    settings = app.settings
    told: dict[str, Any] = {
        "rules": summary(settings.policy),
        "sources": [plain(source, 200) for source in settings.policy_sources],
    }
    return _compact(told | ({"problem": settings.policy_problem} if settings.policy_problem else {}))


async def _key(app: App, key_id: str) -> str:
    try:
        return _compact(detail_of(await app.client.get_api_key(key_id)).model_dump(exclude_none=True))
    except VeniceError as error:
        if error.code == "not_found":
            raise _no_such_key() from None
        raise ResourceError(str(error)) from None


def _no_such_key() -> ResourceNotFoundError:
    return ResourceNotFoundError(f"No active key has this id; {KEYS} lists the ids that there are.")


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- offering -------------------------------------------------------------------------------------

RESOURCES: Final = (
    Shown(
        KEYS,
        "keys",
        "API keys",
        "All active keys: description, type, last six, caps and their window, last use, expiry; never secrets",
        ("venice_list_api_keys",),
        0.9,
        _keys,
    ),
    Shown(
        LIMITS,
        "limits",
        "Rate limits",
        "Rate limits per model, tier and balances of the key that this server holds",
        ("venice_get_rate_limits",),
        0.6,
        _limits,
    ),
    Shown(
        AUDIT_LOG,
        "audit-log",
        "Audit trail",
        f"The latest {_ENTRIES} entries: who asked for what, how it was approved, what became of it",
        ("venice_list_api_keys", "venice_get_api_key"),
        0.4,
        _audit_log,
        _LINES,
    ),
    Shown(
        POLICY,
        "policy",
        "Operator's rules",
        "What the operator's policy allows, forbids and lets pass unasked, as it is in force",
        ("venice_status",),
        0.3,
        _policy,
    ),
)


def add_resources(server: MCPServer[App], app: App, tools: frozenset[str]) -> Callable[[str], bool]:
    """Offer what `tools` read. Returns whether a URI is one of a resource that is offered."""
    offered = [each for each in RESOURCES if not tools.isdisjoint(each.tools)]
    for each in offered:
        server.add_resource(
            FunctionResource(
                uri=each.uri,
                name=each.name,
                title=each.title,
                description=each.description,
                mime_type=each.mime_type,
                annotations=_annotations(each.priority),
                fn=_reading(each.read, app),
            )
        )
    with_keys = "venice_get_api_key" in tools
    if with_keys:

        @server.resource(
            KEY,
            name="key",
            title="API key",
            description="One key's settings, use and spend; never its secret",
            mime_type=_JSON,
            annotations=_annotations(0.7),
        )
        async def one_key(id: str) -> str:  # pyright: ignore[reportUnusedFunction] - the template's name
            return await _key(app, id)

    uris = frozenset(each.uri for each in offered)
    return lambda uri: uri in uris or (with_keys and key_uri(uri.rpartition("/")[2]) == uri)


def _reading(read: Reader, app: App) -> Callable[[], Awaitable[str]]:
    async def text() -> str:
        try:
            found = await read(app)
        except VeniceError as error:
            raise ResourceError(str(error)) from None
        if len(found) > MOST_CHARACTERS:
            raise ResourceError("This is too long to be shown as a resource; the tools show parts of it.")
        return found

    return text


def _annotations(priority: float) -> Annotations:
    return Annotations(audience=["user", "assistant"], priority=priority)
