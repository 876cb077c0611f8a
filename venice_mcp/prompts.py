"""MCP prompts: the jobs of `tasks`, for hosts other than those with our slash commands."""

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.prompts.base import PromptArgument
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from venice_mcp.app import App
from venice_mcp.secrets import Redactor, looks_like_secret
from venice_mcp.settings import PLUGIN
from venice_mcp.tasks import TASKS, Task
from venice_mcp.text import plural, quoted

MOST = 2_000
"""Characters of one argument; more is for the chat."""
_DESCRIPTIONS = {
    "request": "What you want, in your own words",
    "key": "A key: its id, last six characters or description, never the key itself",
    "model": "A model id",
}
_WITHHELD = (
    "What looks like a key or another secret is not passed on; where you see it all the same, neither use nor repeat"
    " it. Say that a key belongs in no chat, that what was typed may stand in this conversation and its history, and"
    " that the key should be replaced; ask for its description or last six characters instead."
)
# Claude Code gives each argument one word, but shows the model all that was typed beside the prompt.
_PERHAPS_CUT = "If more was typed, go by all of it."


def add_prompts(server: MCPServer[App], app: App, tools: frozenset[str]) -> frozenset[str]:
    """Offer the tasks whose tools are all there. Returns the names of the prompts.

    In the plugin none: it has a slash command for each, and Claude Code would list every job twice.
    """
    offered = [task for task in TASKS if tools.issuperset(task.needs) and app.settings.host != PLUGIN]
    for task in offered:
        names = arguments_of(task)
        server.add_prompt(
            Prompt(
                name=task.name,
                title=task.title,
                description=task.description,
                arguments=[
                    PromptArgument(name=name, description=_DESCRIPTIONS[name], required=False) for name in names
                ],
                fn=_served(task, app.redactor, tools),
                context_kwarg=None,
            )
        )
    return frozenset(task.name for task in offered)


def arguments_of(task: Task) -> tuple[str, ...]:
    """`request` comes first: a host that deals words out to the arguments then keeps their order."""
    return ("request", *task.arguments)


def _served(task: Task, redactor: Redactor, tools: frozenset[str]) -> Callable[..., Coroutine[Any, Any, str]]:
    async def serve(**given: str) -> str:
        names = arguments_of(task)
        if not given.keys() <= set(names):
            # Not which: a secret can be anywhere.
            raise MCPError(code=INVALID_PARAMS, message=f"The prompt {task.name} takes only: {', '.join(names)}")
        ordered = {name: given[name] for name in names if given.get(name, "").strip()}
        return "\n\n".join([f"# {task.title}", _told(ordered, redactor), *_missing(task, tools), task.body])

    return serve


def _told(given: Mapping[str, str], redactor: Redactor) -> str:
    """What came with the prompt, as data."""
    if not given:
        return "No details were given."
    withheld, told = False, list[str]()
    for name, value in given.items():
        if len(value) > MOST:
            told.append(f"{name} (withheld: over {plural(MOST, 'character')}; ask for it in the chat)")
        elif looks_like_secret(value) or redactor.redact(value) != value:
            withheld = True
            told.append(f"{name} (withheld)")
        else:
            told.append(f"{name} {quoted(value, MOST)}")
    return f"The person gave: {', '.join(told)}. {_WITHHELD if withheld else _PERHAPS_CUT}"


def _missing(task: Task, tools: frozenset[str]) -> list[str]:
    named = set(re.findall(r"`(venice_\w+)`", task.body))
    hidden = ", ".join(sorted(named - tools))
    return [f"The operator's policy does not offer {hidden} here; say so where it would be needed."] if hidden else []
