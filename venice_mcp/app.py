"""What the tools share while the server runs, and the one way a secret may be shown."""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from mcp.server.mcpserver import Context

from venice_mcp.client import VeniceClient
from venice_mcp.guard import Guard
from venice_mcp.secrets import Redactor, Secret, SinkLimits
from venice_mcp.settings import Settings
from venice_mcp.store import Store
from venice_mcp.workflows.changing import Changer
from venice_mcp.workflows.critical import Critical
from venice_mcp.workflows.making import Maker
from venice_mcp.workflows.plan_steps import Steps
from venice_mcp.workflows.plans import Planner
from venice_mcp.workflows.recovering import Recovery

Ctx = Context[Any, Any]


@dataclass(frozen=True)
class App:
    """One running server: frozen settings and what was built from them."""

    settings: Settings
    redactor: Redactor
    store: Store
    client: VeniceClient
    guard: Guard
    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    critical: Critical
    transport: str

    @property
    def sink_limits(self) -> SinkLimits:
        """Where the operator's policy lets secrets go."""
        policy = self.settings.policy
        return SinkLimits(
            folders=policy.folders,
            commands=policy.commands,
            keyring_backends=policy.keyring_backends,
        )

    @property
    def maker(self) -> Maker:
        return Maker(self.client, self.guard, self.store, self.critical, self.sink_limits, self.now, self.sleep)

    @property
    def recovery(self) -> Recovery:
        return Recovery(self.client, self.guard, self.store, self.sink_limits, self.now)

    @property
    def changer(self) -> Changer:
        return Changer(self.client, self.guard, self.critical)

    @property
    def planner(self) -> Planner:
        return Planner(Steps(self.maker, self.changer), self.recovery)


def app_of(ctx: Ctx) -> App:
    """The app behind a request."""
    return cast("App", ctx.request_context.lifespan_context)


_shown: ContextVar[list[Secret] | None] = ContextVar("secrets shown in this request", default=None)


@contextmanager
def showing() -> Generator[list[Secret]]:
    """Collects what one request is allowed to show; everything else is redacted from its result."""
    allowed: list[Secret] = []
    token = _shown.set(allowed)
    try:
        yield allowed
    finally:
        _shown.reset(token)


def show(secret: Secret) -> str:
    """The plain secret, for the one result of the call that made it."""
    allowed = _shown.get()
    if allowed is None:
        raise RuntimeError("secrets are shown only within a request")
    allowed.append(secret)
    return secret.reveal()
