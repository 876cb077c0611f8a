"""Slash commands of the Claude Code plugin, one skill for each task; `scripts/docs.py` writes them."""

import json
from collections.abc import Callable
from functools import partial

from manifests import PLUGIN

from venice_mcp.tasks import TASKS, Task


def rows() -> list[tuple[str, ...]]:
    """For README: the command, what it does, who starts it."""
    return [
        (
            f"`/{PLUGIN}:{task.name} {task.argument_hint}`",
            task.description,
            "only you" if task.writes else "you, or the model when you ask for it",
        )
        for task in TASKS
    ]


def pages() -> dict[str, Callable[[str], str]]:
    """By path, what makes each."""
    return {f"skills/{task.name}/SKILL.md": partial(_page, task) for task in TASKS}


def _page(task: Task, _: str) -> str:
    front = {"name": task.name, "description": task.description, "argument-hint": json.dumps(task.argument_hint)}
    if task.writes:
        front["disable-model-invocation"] = "true"
    head = [f"{name}: {value}" for name, value in front.items()]
    return "\n".join(
        [
            "---",
            "# Made by scripts/docs.py from venice_mcp/tasks.py; do not edit.",
            *head,
            "---",
            "",
            f"# {task.title}",
            "",
            "What the person said (empty: no details were given): $ARGUMENTS",
            "",
            task.body,
            "",
        ]
    )
