"""Asking a person through the client: the chain of resolvers before a guarded tool.

It works in every protocol era. `find` reads the target and freezes what will be shown; `ask` asks. From
2026-07-28 on resolvers run again with the answer, so `find` notices a changed target by itself; on older
connections `look_again` compares when the answer arrives, and `ask_again` asks anew if it must.
"""

import hashlib
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Annotated, Any, Protocol, cast

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import AcceptedElicitation, Elicit, ElicitationResult, Resolve
from mcp_types.version import is_version_at_least
from pydantic import BaseModel, Field, create_model

from venice_mcp.client.hurry import begin_anew
from venice_mcp.consent import canonical
from venice_mcp.guard import Guard
from venice_mcp.proposals import Answer, Case, Proposal, Standing, Tick, Verdict
from venice_mcp.store import Approval

_ASKING_IN_RESULTS = "2026-07-28"
"""From this protocol version on a question travels in a result, and resolvers run again with the answer."""


class HasGuard(Protocol):
    @property
    def guard(self) -> Guard: ...


def can_ask(ctx: Context[Any, Any]) -> bool:
    """Whether this client can put a form before a person, in the era of this connection."""
    capabilities = ctx.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    return asks_in_results(ctx) or ctx.session.can_send_request


def asks_in_results(ctx: Context[Any, Any]) -> bool:
    return ctx.protocol_version is not None and is_version_at_least(ctx.protocol_version, _ASKING_IN_RESULTS)


def fingerprint(tool: str, arguments: BaseModel, target_id: str | None = None) -> str:
    """A digest of a call: the tool, its exact arguments and the key they name."""
    exact = {"tool": tool, "arguments": arguments.model_dump(mode="json"), "target": target_id}
    return hashlib.sha256(canonical(exact).encode()).hexdigest()


@cache
def _typed(word: str) -> type[Answer]:
    field = Field(default="", title=f"Type {word}", description=f"Type {word} to approve", max_length=40)
    return create_model("TypedWord", __base__=Answer, word=(str, field))


_asked: ContextVar[list[Approval] | None] = ContextVar("approvals asked for in this call", default=None)


@contextmanager
def noting_questions() -> Generator[list[Approval]]:
    """Collects which approvals this call asks for, in case the client fails to ask."""
    asked: list[Approval] = []
    token = _asked.set(asked)
    try:
        yield asked
    finally:
        _asked.reset(token)


def _form(case: Case, guard: Guard) -> Elicit[Answer]:
    asked = _asked.get()
    if asked is not None:
        asked.append(case.approval)
    word = case.proposal.question.word
    return Elicit(guard.question(case), _typed(word) if word else Tick)


def _guard(ctx: Context[Any, Any]) -> Guard:
    return cast("HasGuard", ctx.request_context.lifespan_context).guard


def asks_first(propose: Callable[[Any, Context[Any, Any]], Awaitable[Proposal | None]]) -> Resolve:
    """The resolver chain of a guarded tool: annotate a parameter `Annotated[Verdict, asks_first(propose)]`.

    `propose` gets the tool's validated `args`; it reads the target and must not write. When it proposes nothing,
    nobody is asked and the verdict is None.
    """

    async def find(args: Any, ctx: Context[Any, Any]) -> Case | None:
        proposal = await propose(args, ctx)
        return await _guard(ctx).open_case(proposal) if proposal is not None else None

    async def ask(ctx: Context[Any, Any], case: Annotated[Case | None, Resolve(find)]) -> Elicit[Answer] | Standing:
        if case is None or case.granted:
            return Standing("granted")
        if case.unasked is not None:
            return Standing("allowed")
        if _guard(ctx).gate.on_terminal_only:
            return Standing("terminal")
        return _form(case, _guard(ctx)) if can_ask(ctx) else Standing("cannot_ask")

    async def look_again(
        args: Any,
        ctx: Context[Any, Any],
        case: Annotated[Case | None, Resolve(find)],
        first: Annotated[ElicitationResult[Answer], Resolve(ask)],
    ) -> Case | None:
        answered = isinstance(first, AcceptedElicitation) and isinstance(cast("object", first.data), Answer)
        if answered and not asks_in_results(ctx):
            begin_anew()
        if case is None or not answered or asks_in_results(ctx) or case.proposal.target is None:
            return case
        proposal = await propose(args, ctx)
        return await _guard(ctx).open_case(proposal) if proposal is not None else None

    async def ask_again(
        ctx: Context[Any, Any],
        case: Annotated[Case | None, Resolve(find)],
        later: Annotated[Case | None, Resolve(look_again)],
    ) -> Elicit[Answer] | Standing:
        if case is None or later is None or later.code == case.code:
            return Standing("granted")
        return _form(later, _guard(ctx))

    async def verdict(
        case: Annotated[Case | None, Resolve(find)],
        first: Annotated[ElicitationResult[Answer], Resolve(ask)],
        later: Annotated[Case | None, Resolve(look_again)],
        second: Annotated[ElicitationResult[Answer], Resolve(ask_again)],
    ) -> Verdict | None:
        if case is None or later is None:
            return None
        if isinstance(second, AcceptedElicitation) and isinstance(cast("object", second.data), Answer):
            begin_anew()
        return Verdict(case, first) if later.code == case.code else Verdict(later, second)

    # The wire names a question after its resolver; these names are for the people who read traces.
    ask.__qualname__, ask_again.__qualname__ = "approval", "approval_anew"
    return Resolve(verdict)
