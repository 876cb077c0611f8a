"""What a host offers while somebody types: key ids found by description, id or last six; model ids; key types.

What is typed may be a pasted secret: it is compared here, and neither sent, recorded nor answered with. That nothing
can be offered is no error: no ADMIN key, a tool hidden by policy, Venice not answering.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Generic, TypeVar, get_args

import anyio
from mcp.server.mcpserver import MCPServer
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from venice_mcp.app import App
from venice_mcp.changes import key_uri
from venice_mcp.client.hurry import answered_within
from venice_mcp.errors import VeniceError
from venice_mcp.models.wire import Key, Model
from venice_mcp.resources import KEY
from venice_mcp.text import parse_time, plain
from venice_mcp.tools.fields import KeyType

MOST = 100
"""Values in one answer, as MCP has it."""
KEPT_FOR = timedelta(seconds=30)
_ANSWERED_S = 5.0
_LONGEST = 200
"""Characters of what is typed that are looked at: no description and no id is longer."""
_NEVER = datetime.min.replace(tzinfo=UTC)
_log = logging.getLogger(__name__)
T = TypeVar("T")


class _Kept(Generic[T]):
    """The answer to a read, empty when it failed, for as long as somebody may be typing one word."""

    def __init__(self, read: Callable[[], Awaitable[list[T]]]) -> None:
        self._read = read
        self._lock = anyio.Lock()
        self._found: list[T] = []
        # By a clock that nobody sets: by another one it could be kept for hours.
        self._until_s = -inf
        self._forgotten = 0

    async def get(self) -> list[T]:
        async with self._lock:
            if anyio.current_time() >= self._until_s:
                before = self._forgotten
                # Failures are kept as well: Venice blocks a key that fails too often.
                self._found = []
                try:
                    # Hosts cancel a completion when the next letter is typed, and would begin anew with each.
                    with anyio.CancelScope(shield=True), answered_within(_ANSWERED_S, tries=1):
                        self._found = await self._read()
                except VeniceError:
                    pass  # said by every tool that needs the same
                except Exception:  # noqa: BLE001 - a defect must not stand in the way of whoever types
                    _log.exception("What could be offered was not read")
                if self._forgotten == before:
                    self._until_s = anyio.current_time() + KEPT_FOR.total_seconds()
        return self._found

    def forget(self) -> None:
        """Read anew the next time; what is being read now may be from before as well."""
        self._forgotten += 1
        self._until_s = -inf


class Completer:
    """Completes the arguments of prompts and of the template for one key."""

    def __init__(self, app: App, tools: frozenset[str]) -> None:
        self._keys = _Kept(app.client.list_api_keys)
        self._models = _Kept(app.client.list_models)
        self._with_keys = "venice_list_api_keys" in tools
        self._with_models = "venice_diagnose" in tools
        app.guard.changes.forgetting(self._keys.forget)

    async def complete(
        self,
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        """Best matches first, because hosts show nothing but the values."""
        typed = " ".join(argument.value[:_LONGEST].casefold().split()).lstrip(".")
        template = isinstance(ref, ResourceTemplateReference)
        if template and not (ref.uri == KEY and argument.name == "id"):
            return _answer(())
        match "key" if template else argument.name:
            case "key":
                return _answer(_keys_for(typed, await self._keys.get()) if self._with_keys else ())
            case "model":
                return _answer(_models_for(typed, await self._models.get()) if self._with_models else ())
            case "api_key_type":
                return _answer([name for name in get_args(KeyType) if name.casefold().startswith(typed)])
            case _:
                return _answer(())


def add_completions(server: MCPServer[App], app: App, tools: frozenset[str]) -> None:
    """Offer completion of what the prompts take, and of the id in the template for one key."""
    server.completion()(Completer(app, tools).complete)


def _answer(values: Sequence[str]) -> Completion:
    return Completion(values=list(values[:MOST]), total=len(values), has_more=len(values) > MOST)


def _keys_for(typed: str, keys: list[Key]) -> list[str]:
    """Ids of the keys that fit; of those that fit equally the one used last comes first."""
    recent = sorted(keys, key=lambda key: (_used(key), key.id), reverse=True)
    known = [key for key in recent if key_uri(key.id) is not None]
    ranked = [(rank, key.id) for key in known if (rank := _rank_of_key(typed, key)) is not None]
    return [key_id for _, key_id in sorted(ranked, key=lambda each: each[0])]


def _used(key: Key) -> datetime:
    return parse_time(key.last_used_at) or parse_time(key.created_at) or _NEVER


def _rank_of_key(typed: str, key: Key) -> int | None:
    """How well a key fits, 0 best; None if it does not."""
    last6, by_name = key.last6_chars.casefold(), _rank(typed, plain(key.description, 64))
    if typed and typed == last6:
        return 0
    if by_name is not None:
        return by_name
    if key.id.casefold().startswith(typed) or last6.startswith(typed):
        return 5
    return 6 if len(typed) > 2 and last6.endswith(typed) else None


def _models_for(typed: str, models: list[Model]) -> list[str]:
    names = sorted({name for model in models if (name := plain(model.id, _LONGEST))})
    ranked = [(rank, name) for name in names if (rank := _rank(typed, name)) is not None]
    return [name for _, name in sorted(ranked)]


def _rank(typed: str, name: str) -> int | None:
    """How well a name fits: whole, its beginning, the beginning of a word, a part, all words somewhere."""
    name = name.casefold()
    if name == typed:
        return 0
    if name.startswith(typed):
        return 1
    if typed in name:
        return 2 if re.search(rf"(?<![^\W_]){re.escape(typed)}", name) else 3
    return 4 if all(word in name for word in typed.split()) else None
