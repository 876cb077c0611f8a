"""The one table of hosts: where each keeps its servers, its own command line, and how a key reaches a server there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, cast

from venice_mcp.installing.machine import Machine

NAME = "venice"
"""What the server is called in every host."""
ADMIN_KEY = "VENICE_ADMIN_KEY"
KEY_FILE = "VENICE_ADMIN_KEY_FILE"
SANDBOX = "VENICE_MCP_SANDBOX"

Entry = dict[str, Any]


@dataclass(frozen=True)
class Host:
    """One row. The facts are from the host's documentation at `docs`; those with `program` were also tried.

    Attributes:
        files: its files with servers for this user. The first one that exists is used, or else the first.
        within: the names that lead to the servers in it.
        typed: the entry's `type`, if it has one.
        joined: whether `command` is one list with the arguments, and the variables are called `environment`.
        program: its own command line.
        add: the arguments that add an entry with it; None if it cannot add this one.
        remove: the arguments that take the entry out with it; () if it has none.
        expresses: the members of an entry that `add` keeps; None for all.
        edited: whether its file may be edited where its command line does not do.
        variable: how an entry refers to a variable of the host's own environment; "" if it cannot or need not.
        input_id: the host asks for the key itself, under this name, and an entry refers to that.
        key: how a key reaches the server when no file was named.
        after: what makes the host see a change.
    """

    name: str
    title: str
    docs: str
    files: Callable[[Machine], tuple[PurePath, ...]]
    within: tuple[str, ...]
    key: str
    after: str
    typed: str = ""
    joined: bool = False
    program: str = ""
    add: Callable[[Entry], list[str] | None] = lambda _: None
    remove: tuple[str, ...] = ()
    expresses: frozenset[str] | None = None
    edited: Literal["always", "to remove", "never"] = "always"
    variable: str = ""
    input_id: str = ""

    @property
    def reference(self) -> str:
        """What an entry says instead of the key; "" if nothing."""
        return f"${{input:{self.input_id}}}" if self.input_id else self.variable

    @property
    def variables(self) -> str:
        """The entry's member with environment variables."""
        return "environment" if self.joined else "env"

    def entry(self, command: str, args: tuple[str, ...]) -> Entry:
        start: Entry = {"type": self.typed} if self.typed else {}
        if self.joined:
            return start | {"command": [command, *args]}
        return start | {"command": command, "args": list(args)}

    def question(self) -> Entry:
        """The question that the host asks for the key."""
        return {"type": "promptString", "id": self.input_id, "description": "Venice ADMIN key", "password": True}


def words_of(entry: Mapping[str, Any]) -> list[str]:
    """The command line of an entry, however it is spelled."""
    command, args = entry.get("command"), entry.get("args")
    parts: list[Any] = [
        *(command if isinstance(command, list) else [command]),
        *(args if isinstance(args, list) else []),
    ]
    return [part for part in parts if isinstance(part, str)]


def variables_of(entry: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables of an entry, however they are called."""
    found: Any = entry.get("environment", entry.get("env"))
    given = cast("dict[Any, Any]", found) if isinstance(found, dict) else {}
    return {str(name): str(value) for name, value in given.items()}


def _equals(entry: Entry, option: str) -> list[str]:
    return [word for name, value in variables_of(entry).items() for word in (option, f"{name}={value}")]


def _claude_add(entry: Entry) -> list[str]:
    return ["mcp", "add-json", "--scope", "user", NAME, json.dumps(entry)]


def _code_add(entry: Entry) -> list[str] | None:
    if "${input:" in str(entry):  # a question can only be declared in the file
        return None
    return ["--add-mcp", json.dumps({"name": NAME, **entry})]


def _codex_add(entry: Entry) -> list[str]:
    return ["mcp", "add", NAME, *_equals(entry, "--env"), "--", *words_of(entry)]


def _gemini_add(entry: Entry) -> list[str]:
    program, *arguments = words_of(entry)
    # After -- nothing is taken for an option of gemini's own.
    separated = ["--", *arguments] if arguments else []
    return ["mcp", "add", "--scope", "user", *_equals(entry, "-e"), NAME, program, *separated]


def _opencode_add(entry: Entry) -> list[str]:
    return ["mcp", "add", NAME, *_equals(entry, "--env"), "--", *words_of(entry)]


HOSTS = (
    Host(
        name="claude-code",
        title="Claude Code",
        docs="https://code.claude.com/docs/en/mcp",
        files=lambda machine: (machine.moved("CLAUDE_CONFIG_DIR", machine.at_home) / ".claude.json",),
        within=("mcpServers",),
        typed="stdio",
        program="claude",
        add=_claude_add,
        remove=("mcp", "remove", "--scope", "user", NAME),
        edited="never",  # the file holds much else, and a running Claude Code writes it
        key="Claude Code hands on its own environment: a key, or the name of its file, that is set in your shell is"
        " found. The plugin keeps a key as a sensitive option instead.",
        after="Start a new session, then /mcp shows it.",
    ),
    Host(
        name="claude-desktop",
        title="Claude Desktop",
        docs="https://modelcontextprotocol.io/docs/develop/connect-local-servers",
        files=lambda machine: (machine.programs_data / "Claude" / "claude_desktop_config.json",),
        within=("mcpServers",),
        key="Claude Desktop hands no key on: name a file with --key-file, or use the system keyring. The bundle keeps a"
        " key as a sensitive setting instead.",
        after="Quit Claude Desktop and start it again.",
    ),
    Host(
        name="cursor",
        title="Cursor",
        docs="https://cursor.com/docs/context/mcp",
        files=lambda machine: (machine.at_home / ".cursor" / "mcp.json",),
        within=("mcpServers",),
        variable=f"${{env:{ADMIN_KEY}}}",
        key=f"The entry refers to {ADMIN_KEY} in the environment that Cursor is started in.",
        after="Switch it on in Cursor's settings under MCP, if it is not.",
    ),
    Host(
        name="vscode",
        title="VS Code",
        docs="https://code.visualstudio.com/docs/copilot/reference/mcp-configuration",
        files=lambda machine: (machine.programs_data / "Code" / "User" / "mcp.json",),
        within=("servers",),
        typed="stdio",
        program="code",
        add=_code_add,
        input_id="venice-admin-key",
        key="VS Code asks for the ADMIN key when it first starts the server, and keeps it encrypted.",
        after='Run "MCP: List Servers" from the command palette and start it.',
    ),
    Host(
        name="codex",
        title="Codex",
        docs="https://developers.openai.com/codex/mcp",
        files=lambda machine: (machine.moved("CODEX_HOME", machine.at_home / ".codex") / "config.toml",),
        within=("mcp_servers",),
        program="codex",
        add=_codex_add,
        remove=("mcp", "remove", NAME),
        expresses=frozenset({"command", "args", "env"}),
        edited="never",  # TOML
        key=f"Codex hands no key on: name a file with --key-file, use the system keyring, or add the line env_vars ="
        f' ["{ADMIN_KEY}"] below [mcp_servers.{NAME}].',
        after="Start a new session, then /mcp shows it.",
    ),
    Host(
        name="gemini",
        title="Gemini CLI",
        docs="https://github.com/google-gemini/gemini-cli/blob/main/docs/tools/mcp-server.md",
        files=lambda machine: (machine.moved("GEMINI_CLI_HOME", machine.at_home) / ".gemini" / "settings.json",),
        within=("mcpServers",),
        program="gemini",
        add=_gemini_add,
        remove=("mcp", "remove", "--scope", "user", NAME),
        expresses=frozenset({"command", "args", "env"}),
        variable=f"${ADMIN_KEY}",
        key=f"Gemini CLI keeps keys from servers unless an entry names them; this one names {ADMIN_KEY} of the"
        " environment that gemini runs in.",
        after="Start gemini in a folder that you trust, then /mcp shows it.",
    ),
    Host(
        name="windsurf",
        title="Windsurf",
        docs="https://docs.windsurf.com/windsurf/cascade/mcp",
        files=lambda machine: (machine.at_home / ".codeium" / "windsurf" / "mcp_config.json",),
        within=("mcpServers",),
        variable=f"${{env:{ADMIN_KEY}}}",
        key=f"The entry refers to {ADMIN_KEY} in the environment that Windsurf is started in.",
        after="Press the refresh button of Cascade's MCP panel.",
    ),
    Host(
        name="opencode",
        title="OpenCode",
        docs="https://opencode.ai/docs/mcp-servers",
        files=lambda machine: tuple(
            machine.dot_config / "opencode" / name for name in ("opencode.jsonc", "opencode.json", "config.json")
        ),
        within=("mcp",),
        typed="local",
        joined=True,
        program="opencode",
        add=_opencode_add,
        expresses=frozenset({"type", "command", "environment"}),
        edited="to remove",  # its command line cannot; and version 2 has another format, which it knows itself
        key="OpenCode hands on its own environment: a key, or the name of its file, that is set in your shell is"
        " found.",
        after="Start a new session.",
    ),
)


def host_named(name: str) -> Host | None:
    return next((host for host in HOSTS if host.name == name), None)
