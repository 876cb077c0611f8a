"""What is there already when a key is to be made: keys of its name, and the key whose secret it would overwrite."""

from collections.abc import Sequence

import anyio.to_thread

from venice_mcp.app import App
from venice_mcp.models.wire import Key
from venice_mcp.questions import named_key
from venice_mcp.secrets import Destination
from venice_mcp.secrets.delivery import replaced
from venice_mcp.secrets.dotenv import REPLACES
from venice_mcp.text import plain, plural

_SHOWN = 3


async def left_behind(
    app: App, destination: Destination, occupant: str | None, keys: Sequence[Key], *, ends: str = ""
) -> Key | None:
    """The active key whose secret a new one would overwrite; not the one of id `ends`, which ends anyway."""
    if occupant is None:
        return None
    endings = {key.last6_chars for key in keys}
    ending = await anyio.to_thread.run_sync(replaced, destination, app.sink_limits, endings)
    found = [key for key in keys if ending is not None and key.last6_chars == ending]
    return found[0] if len(found) == 1 and found[0].id != ends else None


def lives_on(notes: Sequence[str], key: Key | None) -> tuple[str, ...]:
    """The notes on a place for a person, before, with the key that is left behind."""
    if key is None:
        return tuple(notes)
    named = f"{REPLACES}, the key ...{plain(key.last6_chars, 6)}, which lives on: revoke it if nothing uses it"
    return (named, *(note for note in notes if note != REPLACES))


def still_there(key: Key) -> str:
    """The same for the answer, when it is done."""
    return (
        f"ATTENTION: the {named_key(key)}, id {plain(key.id, 40)}, whose secret was overwritten, lives on: revoke it"
        " (venice_revoke_api_key) if nothing uses it."
    )


def namesakes(description: str, keys: Sequence[Key]) -> tuple[str, ...]:
    """A note for a person on keys that are called the same."""
    wanted = _folded(description)
    same = [f"...{plain(key.last6_chars, 6)}" for key in keys if _folded(key.description) == wanted]
    if not same:
        return ()
    more = f" and {len(same) - _SHOWN} more" if len(same) > _SHOWN else ""
    return (f"there already under this description: {plural(len(same), 'key')} {', '.join(same[:_SHOWN])}{more}",)


def _folded(description: str) -> str:
    return " ".join(plain(description, 200).casefold().split())
