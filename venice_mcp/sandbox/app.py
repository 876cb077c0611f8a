"""The sandbox itself: the way that every request takes through it."""

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from venice_mcp.sandbox import access, control, moments, scenarios, storage
from venice_mcp.sandbox.access import Access
from venice_mcp.sandbox.call import Call, JsonObject, refused
from venice_mcp.sandbox.limits import Limiter
from venice_mcp.sandbox.operations import OPERATIONS, Operation
from venice_mcp.sandbox.refusal import Refusal
from venice_mcp.sandbox.state import Account, Key, LimitHit, new_secret

BASE_PATH = "/api/v1"
VERSION = "sandbox"


class Sandbox:
    """An ASGI app that answers as Venice does, for one account held in memory or in a file."""

    def __init__(
        self,
        account: Account,
        *,
        state_file: Path | None,
        limits: bool,
        with_control: bool,
        now: Callable[[], datetime],
    ) -> None:
        self.admin_key = account.admin_secret
        self.inference_key = account.inference_secret
        self.requests: Counter[str] = Counter()
        self._account = account
        self._state_file = state_file
        self._limiter = Limiter(on=limits)
        self._now = now
        routes: list[BaseRoute] = [
            Route(BASE_PATH + operation.path, self._endpoint(operation), methods=[operation.method])
            for operation in OPERATIONS
        ]
        if with_control:
            extra = control.control_routes(account, self.requests, self._save, self.now)
            # Beside the API and below it, so that a client with the base URL reaches it as well.
            routes += [Mount("/__control", routes=extra), Mount(f"{BASE_PATH}/__control", routes=extra)]
        self._app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error, 500: _crashed})
        self._app.router.redirect_slashes = False
        self._save()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def now(self) -> datetime:
        return self._now() + timedelta(seconds=self._account.clock_offset_s)

    def keys(self) -> list[JsonObject]:
        """Every key, expired ones and secrets included. Nothing over HTTP shows this."""
        return [control.masked(key) | {"secret": key.secret} for key in self._account.keys.values()]

    def _endpoint(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            self.requests[operation.name] += 1
            # All of the body is read before anything is looked at: from here to the answer nothing is
            # awaited, so that no other request can come between a check and the change it allows.
            return self._answer(operation, request, await request.body())

        return endpoint

    def _answer(self, operation: Operation, request: Request, body: bytes) -> Response:
        at = self.now()
        self._account.begin_epoch(moments.day_start(at))
        host = request.client.host if request.client else None
        caller = None
        if operation.access is not Access.OPEN:
            caller = access.identify(self._account, request.headers.get("authorization"), at)
        name = caller.id if caller else f"address {host}"
        headers = self._common_headers(caller, at)
        call = self._call(request, caller, at, body)
        try:
            self._limiter.refuse_blocked(name, at)
            key_sent = "authorization" in request.headers
            access.admit(operation.access, self._account, caller, host, key_sent=key_sent)
            if caller:
                self._account.touch(caller.id, at)
            response = operation.answer(call)
        except Refusal as refusal:
            response = refused(refusal)
            if refusal.counts and self._limiter.failed(name, at) and caller:
                about = call.subject.model_id or f"endpoint:{request.url.path.lstrip('/')}"
                self._account.log(LimitHit(caller.id, about, "FAILED_REQUESTS", at))
        for header, value in (*call.subject.headers.items(), *headers.items()):
            # A refusal by a limit has said more exactly what is left.
            response.headers.setdefault(header, value)
        self._save()
        return response

    def _call(self, request: Request, caller: Key | None, at: datetime, body: bytes) -> Call:
        return Call(
            account=self._account,
            limiter=self._limiter,
            at=at,
            caller=caller,
            path={name: str(value) for name, value in request.path_params.items()},
            query=tuple(request.query_params.multi_items()),
            headers=request.headers,
            body=body,
        )

    def _common_headers(self, caller: Key | None, at: datetime) -> Mapping[str, str]:
        headers = {"CF-RAY": f"{secrets.token_hex(8)}-SBX", "x-venice-version": VERSION}
        if caller is None:
            return headers
        return {
            **headers,
            "x-venice-balance-usd": _plainly(self._account.usd_balance),
            "x-venice-balance-diem": _plainly(self._account.diem_balance or 0.0),
            **self._limiter.headers(caller.id, at),
        }

    def _save(self) -> None:
        if self._state_file is not None and self._account.unsaved:
            storage.save(self._account, self._state_file)


def create_app(
    *,
    scenario: str = "demo",
    admin_key: str | None = None,
    inference_key: str | None = None,
    state_file: Path | None = None,
    limits: bool = True,
    control: bool = False,
    now: Callable[[], datetime] | None = None,
) -> Sandbox:
    """A sandbox with the account in the state file or, without one, a new account of the scenario.

    Raises:
        ValueError: the scenario is unknown.
        StateFileError: the state file exists and cannot be used.
    """
    clock = now or _utc_now
    account = storage.load(state_file) if state_file else None
    if account is None:
        source = secrets.SystemRandom()
        own = (new_secret("ADMIN", source), new_secret("INFERENCE", source))
        account = scenarios.build(scenario, clock(), own)
        account.signing_key = secrets.token_hex(32)
    account.admin_secret = _adopted(account, account.admin_secret, admin_key)
    account.inference_secret = _adopted(account, account.inference_secret, inference_key)
    return Sandbox(account, state_file=state_file, limits=limits, with_control=control, now=clock)


def _adopted(account: Account, current: str, wanted: str | None) -> str:
    """Make the wanted secret work, unless a key has it already (a key rotated into, say)."""
    if wanted is None or any(key.secret == wanted for key in account.keys.values()):
        return wanted or current
    own = next((key for key in account.keys.values() if key.secret == current), None)
    if own is None:
        raise ValueError("the stored account no longer has the key that this secret was meant for")
    account.put(replace(own, secret=wanted))
    return wanted


def _plainly(amount: float) -> str:
    """Without the exponent that a small number would be written with."""
    whole, _, rest = f"{amount:.8f}".partition(".")
    return f"{whole}.{rest.rstrip('0') or '0'}"


def _utc_now() -> datetime:
    return datetime.now(UTC)


async def _http_error(_request: Request, error: Exception) -> Response:
    """No such route or method, in Venice's form of an error."""
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _crashed(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "An unknown error occurred"}, 500)
