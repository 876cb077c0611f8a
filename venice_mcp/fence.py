"""What stands around the routes over HTTP: who may come in, and that no refusal repeats what a caller sent."""

import hmac
import json
import re
from typing import TYPE_CHECKING, Any, cast

from venice_mcp.secrets import Secret

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_VERSION = re.compile(r"\d{4}-\d\d-\d\d")
_PLAIN = {
    "Validation error": "The message is no JSON-RPC request, notification or response",
    "Parse error": "The message is no JSON",
}
"""How messages of the SDK begin that go on with parts of what was sent, and what is said instead."""


class Fence:
    """In front of every route: the exact Host, a local Origin or none, and the bearer token when there is one.

    What the SDK refuses before the boundary sees it is answered without repeating what was sent.
    """

    def __init__(self, inner: "ASGIApp", names: frozenset[str], token: Secret | None) -> None:
        self._inner = inner
        self._names = names
        self._token = token

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is None:
            await self._inner(scope, receive, _Unechoed(send))
            return
        from starlette.responses import PlainTextResponse

        status, text = refused
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        await PlainTextResponse(text, status, headers)(scope, receive, send)

    def _refusal(self, scope: "Scope") -> tuple[int, str] | None:
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope.get("headers", []):
            headers.setdefault(name.lower(), []).append(value)
        hosts = headers.get(b"host", [])
        if len(hosts) != 1 or hosts[0].decode("latin-1").lower() not in self._names:
            return 421, "Invalid Host header"
        origins = [value.decode("latin-1").lower() for value in headers.get(b"origin", [])]
        if any(origin not in {f"http://{name}" for name in self._names} for origin in origins):
            return 403, "Invalid Origin header"
        if self._token is None:
            return None
        scheme, _, given = headers.get(b"authorization", [b""])[0].partition(b" ")
        right = hmac.compare_digest(given.strip(), self._token.reveal().encode("ascii"))
        return None if scheme.lower() == b"bearer" and right else (401, "A bearer token is required")


class _Unechoed:
    """Sends an answer on as it comes, but for a refusal in JSON, which is short and is sent when it is whole."""

    def __init__(self, send: "Send") -> None:
        self._onward = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: "Message") -> None:
        if message["type"] == "http.response.start" and message["status"] == 400 and _is_json(message):
            self._start = message
            return
        if self._start is None or message["type"] != "http.response.body":
            await self._onward(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        start, self._start = self._start, None
        body = _unechoed(self._body)
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        await self._onward({**start, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
        await self._onward({**message, "body": body})


def _is_json(start: "Message") -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"application/json") for name, value in start["headers"]
    )


def _unechoed(body: bytes) -> bytes:
    """A JSON-RPC error without the parts of a message that the SDK quotes."""
    try:
        answer: Any = json.loads(body)
        error: dict[str, Any] = answer["error"]
        said = str(error["message"])
    except (ValueError, TypeError, KeyError):
        return body
    error["message"] = next((words for begins, words in _PLAIN.items() if said.startswith(begins)), said)
    data = error.get("data")
    if isinstance(data, dict) and "requested" in data:
        told = cast("dict[str, Any]", data)
        if not _VERSION.fullmatch(str(told["requested"])):
            told["requested"] = "not shown"
    return json.dumps(answer, separators=(",", ":")).encode()
