"""What a host can show besides tools: the latest entries of the audit trail, read-only."""

import json

import anyio.to_thread
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError

from venice_mcp.app import App
from venice_mcp.store import StoreError, as_json

AUDIT_LOG = "venice://audit-log"
_ENTRIES = 20


def add_audit_log(server: MCPServer[App], app: App) -> None:
    """Offer the newest entries as JSON lines, oldest first, each with the hash it is chained by."""

    @server.resource(
        AUDIT_LOG,
        name="audit-log",
        title="Audit trail",
        description=f"The latest {_ENTRIES} entries: who asked for what, how it was approved, what became of it",
        mime_type="application/x-ndjson",
    )
    async def audit_log() -> str:  # pyright: ignore[reportUnusedFunction] - the decorator registers it
        account = await app.client.keys.account()
        try:
            entries = await anyio.to_thread.run_sync(lambda: app.store.trail.latest(_ENTRIES, account))
        except StoreError as error:
            raise ResourceError(str(error)) from None
        return "".join(json.dumps(as_json(entry)) + "\n" for entry in entries)
