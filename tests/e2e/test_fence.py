"""What the SDK refuses over HTTP before our boundary sees it comes back without what was sent."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from mcp.server.transport_security import TransportSecuritySettings

from tests.e2e.bench import MODERN, Json, world
from tests.e2e.processes import INITIALIZE
from venice_mcp.fence import Fence

pytestmark = pytest.mark.anyio
PASTED = "VENICE_INFERENCE_KEY_q7Rk-2Zx_9vTnB4yLmWc8HsPd3Ge5UjA6FoKi1xCt"
HOST = "127.0.0.1:8765"
JSON = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
ENVELOPE: Json = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}


@asynccontextmanager
async def served(folder: Path) -> AsyncGenerator[httpx.AsyncClient]:
    security = TransportSecuritySettings(allowed_hosts=[HOST])
    inner = world(folder).server.streamable_http_app(transport_security=security)
    transport = httpx.ASGITransport(app=Fence(inner, frozenset({HOST}), None))
    async with (
        inner.router.lifespan_context(inner),
        httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}", headers=JSON) as client,
    ):
        yield client


async def session(client: httpx.AsyncClient) -> dict[str, str]:
    """The headers of a 2025-era session."""
    begin = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}
    begun = await client.post("/mcp", json=begin)
    assert begun.status_code == 200, begun.text
    return {"mcp-session-id": begun.headers["mcp-session-id"]}


def request(**more: object) -> Json:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", **more}


async def test_a_message_that_is_none_is_refused_in_plain_words(tmp_path: Path) -> None:
    bodies = [request(params=PASTED), request(params=[PASTED]), request(method=[PASTED]), [PASTED]]
    async with served(tmp_path) as client:
        headers = await session(client)
        for body in bodies:
            answer = await client.post("/mcp", headers=headers, json=body)
            assert answer.status_code == 400
            assert answer.json()["error"] == {
                "code": -32602,
                "message": "The message is no JSON-RPC request, notification or response",
            }
            assert answer.headers["mcp-session-id"] == headers["mcp-session-id"]
        answer = await client.post("/mcp", headers=headers, content=f'{{"x": {PASTED}')
        assert answer.json()["error"] == {"code": -32700, "message": "The message is no JSON"}


@pytest.mark.parametrize(("version", "told"), [(PASTED, "not shown"), ("2031-01-01", "2031-01-01")])
async def test_a_version_that_is_none_is_not_repeated(tmp_path: Path, version: str, told: str) -> None:
    meta = ENVELOPE["_meta"] | {"io.modelcontextprotocol/protocolVersion": version}
    body = request(method="tools/list", params={"_meta": meta})
    headers = {"MCP-Protocol-Version": version, "Mcp-Method": "tools/list"}
    async with served(tmp_path) as client:
        answer = await client.post("/mcp", headers=headers, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["data"] == {"supported": [MODERN], "requested": told}


async def test_whatever_else_is_said_passes_as_it_is(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        assert (await client.post("/mcp", json=request(id=5, method="ping", params={}))).json() == {
            "jsonrpc": "2.0",
            "id": None,
            "error": {"code": -32600, "message": "Bad Request: Missing session ID"},
        }
        uri = "venice://nothing"
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "resources/read", "Mcp-Name": uri}
        read = await client.post(
            "/mcp", headers=headers, json=request(method="resources/read", params={"uri": uri, **ENVELOPE})
        )
        assert read.json()["error"]["message"].startswith("No such resource; resources/list")
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}
        listed = await client.post("/mcp", headers=headers, json=request(method="tools/list", params=ENVELOPE))
        assert len(json.loads(listed.content)["result"]["tools"]) > 20
