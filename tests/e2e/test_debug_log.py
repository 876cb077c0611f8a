"""A whole live server at its most talkative: real keys over real TLS through the operator's proxy, and no secret told.

The process believes that it speaks to Venice. Its keys come from a keyring and a keystore, so that every library that
ever holds one of them takes part and logs all it wants to: keyring, eth_account, httpx, httpcore, h11, uvicorn, mcp.
"""

import asyncio
import json
import re
import ssl
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import httpx2  # the client's; the server's own is httpx
import pytest
from eth_account import Account
from mcp.client.streamable_http import streamable_http_client

from tests.e2e.bench import IDLE, LEGACY, MODERN, Json, Person, connect, done
from tests.e2e.processes import http_server, stdio
from tests.test_canary import leaks
from tests.test_harness import ADMIN_KEY, INFERENCE_KEY, WALLET_KEY
from tests.test_network import Authority, Handle, listening, proxy
from venice_mcp.sandbox import Sandbox, create_app

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="the place of the policy cannot be moved there"),
]
PASSWORD = "a-password-that-must-not-leak-8264"
HEADERS = ("authorization", "content-type")
TOLD = re.compile(rb'"(?:token|signature|apiKey)": ?"([^"]+)"')
LIBRARIES = ("httpcore.connection", "httpcore.proxy", "httpcore.http11", "httpx", "keyring", "mcp", "asyncio")

CHATTY_KEYRING = f"""
import logging
from keyring.backend import KeyringBackend
class Chatty(KeyringBackend):
    priority = 1
    def get_password(self, service, username):
        found = {{"VENICE_ADMIN_KEY": {ADMIN_KEY!r}, "VENICE_API_KEY": {INFERENCE_KEY!r}}}.get(username)
        logging.getLogger("keyring.chatty").debug("found %r for %s", found, username, extra={{"password": found}})
        return found
    set_password = get_password
"""
# The operator's policy is looked for where the system says this user lives, which no variable can change.
ELSEWHERE = """
import pwd
_known = pwd.getpwuid
pwd.getpwuid = lambda uid: pwd.struct_passwd((*_known(uid)[:5], {home!r}, _known(uid)[6]))
"""


@dataclass
class Venice:
    """The sandbox behind TLS, and every secret that came by."""

    sandbox: Sandbox
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    operations: list[str] = field(default_factory=list[str])

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = first.split(" ")
        kept = {name: headers[name] for name in HEADERS if name in headers}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.sandbox), base_url="http://venice") as inner:
            answer = await inner.request(method, path, content=body, headers=kept)
        for told in TOLD.findall(body + answer.content):
            self.secrets[f"{len(self.secrets)} in {method}"] = told.decode()
        self.operations.append(method)
        writer.write(
            f"HTTP/1.1 {answer.status_code} Told\r\nContent-Type: application/json\r\n"
            f"X-Echo: {kept.get('authorization', 'nobody')}\r\nContent-Length: {len(answer.content)}\r\n\r\n".encode()
            + answer.content
        )
        await writer.drain()


class Live:
    """The operator's machine: a home with a policy, a keyring and a keystore."""

    def __init__(self, folder: Path, authority: Authority, proxy_port: int) -> None:
        self.state = folder / "state"
        home, modules = folder / "home", folder / "modules"
        operator = home / ("Library/Application Support" if sys.platform == "darwin" else ".config") / "venice-mcp"
        for made in (home, modules, operator):
            made.mkdir(parents=True, mode=0o700)
        policy = f'[network]\nproxy = "http://127.0.0.1:{proxy_port}"\nca_file = "{authority.file}"\n'
        (operator / "policy.toml").write_text(policy)
        (operator / "policy.toml").chmod(0o600)
        (modules / "chatty_keyring.py").write_text(CHATTY_KEYRING)
        (modules / "sitecustomize.py").write_text(ELSEWHERE.format(home=str(home)))
        keystore = cast("Any", Account).encrypt(WALLET_KEY, PASSWORD, kdf="scrypt", iterations=2)
        self.ciphertext = str(keystore["crypto"]["ciphertext"])
        (home / "keystore.json").write_text(json.dumps(keystore))
        (home / "password").write_text(PASSWORD + "\n")
        self.environment = {
            "PYTHONPATH": str(modules),
            "PYTHON_KEYRING_BACKEND": "chatty_keyring.Chatty",
            "VENICE_MCP_KEYRING": "1",
            "VENICE_WALLET_KEYSTORE_FILE": str(home / "keystore.json"),
            "VENICE_WALLET_PASSWORD_FILE": str(home / "password"),
        }

    @contextmanager
    def wire(self, kind: str, log: Path) -> Generator[tuple[Callable[[], AbstractAsyncContextManager[Any]], Path]]:
        """A way to connect, and where the server's stderr goes."""
        if kind == "stdio":
            with log.open("w") as written:
                yield (lambda: stdio(self.state, self.environment, written)), log
            return
        with http_server(self.state, self.environment) as server:
            token = (self.state / "http-token").read_text().strip()
            yield (lambda: _with_token(server.url, token)), server.log


@asynccontextmanager
async def _with_token(url: str, token: str) -> AsyncGenerator[Any]:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30) as caller,
        streamable_http_client(url, http_client=caller) as streams,
    ):
        yield streams


async def _everything(transport: AbstractAsyncContextManager[Any], era: str, idle: str) -> list[Json]:
    """Use every library that there is to use, and some that fail."""
    results: list[Json] = []
    async with connect(transport, era, Person()) as client:
        for tool, arguments in (
            ("venice_status", {}),
            ("venice_list_api_keys", {}),
            ("venice_create_api_key", {"description": "made by a live server"}),
            ("venice_update_api_key", {"key_id": idle, "consumption_limit": {"usd": 3}}),
            ("venice_create_web3_api_key", {"description": "minted", "consumption_limit": {"usd": 1}}),
            ("venice_get_rate_limits", {}),
            ("venice_get_rate_limit_log", {}),
            ("venice_get_billing_balance", {}),
            ("venice_revoke_api_key", {"key_id": idle}),
        ):
            results.append(done(await client.call_tool(tool, cast("Json", arguments))))
        refused = await client.call_tool("venice_revoke_api_key", {"key_id": ADMIN_KEY})
        assert refused.is_error
    return results


@pytest.mark.parametrize(("kind", "era"), [("stdio", LEGACY), ("http", MODERN)])
async def test_no_library_logs_a_secret_of_a_live_server(tmp_path: Path, kind: str, era: str) -> None:
    authority = Authority(tmp_path)
    venice = Venice(create_app(scenario="demo", admin_key=ADMIN_KEY, inference_key=INFERENCE_KEY, limits=False))
    held = venice.sandbox.keys()
    idle = next(str(key["id"]) for key in held if key["description"] == IDLE)
    context: ssl.SSLContext = authority.server("api.venice.ai")
    handle: Handle = venice.handle
    async with listening(handle, context) as port, proxy(port) as between:
        live = Live(tmp_path, authority, between.port)
        with live.wire(kind, tmp_path / "stderr") as (opened, log):
            results = await _everything(opened(), era, idle)
        assert between.took("CONNECT api.venice.ai:443")
    secrets = venice.secrets | {
        "admin": ADMIN_KEY,
        "inference": INFERENCE_KEY,
        "wallet": WALLET_KEY,
        "password": PASSWORD,
        "keystore": live.ciphertext,
    }
    if kind == "http":
        secrets["bearer"] = (live.state / "http-token").read_text().strip()
    assert len(venice.secrets) >= 4, "two new keys, a token and a signature"
    assert {"POST", "PATCH", "DELETE"} <= set(venice.operations)
    assert [key["origin"] for key in results[0]["keys"]] == [
        "system keyring",
        "system keyring",
        "keystore named by VENICE_WALLET_KEYSTORE_FILE",
    ]
    written = log.read_bytes()
    for library in LIBRARIES:
        assert f" {library}".encode() in written, f"{library} said nothing"
    assert re.search(rb"\[r-[0-9a-f]{6}\] httpx: HTTP Request: POST https://api.venice.ai", written)
    assert b"Traceback" not in written
    assert not leaks(written, secrets)
    for path in live.state.rglob("*"):
        if path.is_file() and path.name != "http-token":
            assert not leaks(path.read_bytes(), secrets), path.name
