"""The one table of hosts: where each keeps its servers, its own command line, and how a key reaches a server there."""

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
        toml: whether its file is TOML and not JSON.
        program: its own command line.
        adds: what follows the program to add an entry, up to its variables.
        replaces: whether adding replaces an entry that is there; else it fails.
        removes: what follows the program to take the entry out; () if it cannot.
        edited: whether its file may be edited where its command line does not do.
        variable: how an entry refers to a variable of the host's own environment; "" if it cannot or need not.
        references: a regular expression for every value that it takes for a reference and not as it stands.
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
    toml: bool = False
    program: str = ""
    adds: tuple[str, ...] = ()
    replaces: bool = True
    removes: tuple[str, ...] = ()
    edited: Literal["always", "to remove", "never"] = "always"
    variable: str = ""
    references: str = r"\$\{(?:env|input):[\w-]+\}"
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

    def adding(self, entry: Entry) -> tuple[str, ...]:
        """What follows the program to add an entry."""
        variables = [word for name, value in variables_of(entry).items() for word in ("--env", f"{name}={value}")]
        return (*self.adds, *variables, "--", *words_of(entry))

    def question(self) -> Entry:
        """The question that the host asks for the key."""
        return {"type": "promptString", "id": self.input_id, "description": "Venice ADMIN key", "password": True}


def words_of(entry: Mapping[str, Any]) -> list[str]:
    """The command line of an entry, however it is spelled; empty if something in it is no word."""
    command, args = entry.get("command"), entry.get("args", [])
    parts = cast("list[Any]", [command, *cast("list[Any]", args)] if isinstance(args, list) else [args])
    words = cast("list[Any]", command) if isinstance(command, list) else parts
    return words if all(isinstance(word, str) for word in words) else []


def variables_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The environment variables of an entry, however they are called."""
    found: Any = entry.get("environment", entry.get("env"))
    return dict(cast("dict[str, Any]", found)) if isinstance(found, dict) else {}


def _claude_desktop(machine: Machine) -> tuple[PurePath, ...]:
    """From Windows' store it sees a folder of its own in place of the usual one."""
    packaged = machine.matching(machine.packaged_data, "Claude_*/LocalCache/Roaming/Claude")
    return tuple(folder / "claude_desktop_config.json" for folder in (*packaged, machine.programs_data / "Claude"))


def _claude_code(machine: Machine) -> tuple[PurePath, ...]:
    """An old file, if it is there, is the only one that is read."""
    old = machine.matching(machine.moved("CLAUDE_CONFIG_DIR", machine.at_home / ".claude"), ".config.json")
    return (*old, machine.moved("CLAUDE_CONFIG_DIR", machine.at_home) / ".claude.json")[:1]


HOSTS = (
    Host(
        name="claude-code",
        title="Claude Code",
        docs="https://code.claude.com/docs/en/mcp",
        files=_claude_code,
        within=("mcpServers",),
        typed="stdio",
        program="claude",
        adds=("mcp", "add", "--scope", "user", NAME),
        replaces=False,
        removes=("mcp", "remove", "--scope", "user", NAME),
        references=r"\$\{\w+\}",
        edited="never",  # the file holds much else, and a running Claude Code writes it
        key="Claude Code hands on its own environment: a key, or the name of its file, that is set in your shell is"
        " found. The plugin keeps a key as a sensitive option instead.",
        after="Start a new session, then /mcp shows it.",
    ),
    Host(
        name="claude-desktop",
        title="Claude Desktop",
        docs="https://modelcontextprotocol.io/docs/develop/connect-local-servers",
        files=_claude_desktop,
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
        adds=("mcp", "add", NAME),
        removes=("mcp", "remove", NAME),
        toml=True,
        edited="never",
        references="(?!)",
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
        # Not its own command line: that writes the values of all variables that any entry refers to into the file.
        references=r"\$\{?\w+\}?",
        key="Gemini CLI keeps keys from servers unless an entry names them, and its own gemini mcp commands write the"
        " value of what an entry names into the file: name a file with --key-file, or use the system keyring.",
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
        adds=("mcp", "add", NAME),
        edited="to remove",  # its command line cannot; and version 2 has another format, which it knows itself
        references=r"\{env:\w+\}",
        key="OpenCode hands on its own environment: a key, or the name of its file, that is set in your shell is"
        " found.",
        after="Start a new session.",
    ),
)


def host_named(name: str) -> Host | None:
    return next((host for host in HOSTS if host.name == name), None)
