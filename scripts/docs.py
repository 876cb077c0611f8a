"""Write what is generated: the tables in README.md, manifest.json, the tools' schemas, what `manifests` makes, and the
slash commands.

`python scripts/docs.py` writes; `--check` only tells what is out of date and exits with status 1 if anything is.
"""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import host_sections
import manifests
import slash_commands

from venice_mcp import __version__, cli, policy, settings
from venice_mcp.sandbox import SCENARIOS
from venice_mcp.tools import TOOLS
from venice_mcp.tools.build import SCHEMAS, ToolSpec, derived

ROOT = Path(__file__).resolve().parent.parent
README = "README.md"
MANIFEST = "manifest.json"

LAUNCHERS_OWN = {"VENICE_MCP_HOST"}
"""Variables that nobody sets by hand."""
ENVIRONMENT = {
    "VENICE_ADMIN_KEY": "The ADMIN key, for managing keys and reading billing",
    "VENICE_ADMIN_KEY_FILE": "A file that holds it",
    "VENICE_API_KEY": "An INFERENCE key, for reading rate limits",
    "VENICE_API_KEY_FILE": "A file that holds it",
    "VENICE_WALLET_KEY": "Private key of a wallet with staked VVV, for minting keys",
    "VENICE_WALLET_KEY_FILE": "A file that holds it",
    "VENICE_WALLET_KEYSTORE_FILE": "Instead: an encrypted keystore file (Web3 secret storage, version 3)",
    "VENICE_WALLET_PASSWORD": "The keystore's password",
    "VENICE_WALLET_PASSWORD_FILE": "A file that holds it",
    "VENICE_MCP_KEYRING": "`0` leaves the operating system's keyring alone",
    "VENICE_MCP_STATE_DIR": "Where the record is kept, like `--state-dir`; a policy that names a place is stronger",
    "VENICE_MCP_POLICY": "One more policy file, like `--policy`; it can only restrict",
    "VENICE_MCP_READ_ONLY": "`1` lets nothing be created, changed or revoked",
    "VENICE_MCP_SANDBOX": "`1` runs on the built-in sandbox, like `--sandbox`",
    "VENICE_MCP_SANDBOX_SCENARIO": "What is in it: one of the [scenarios](#sandbox)",
    "VENICE_MCP_HOST": "`plugin`, set by the plugin of Claude Code: errors then say how a key is given there",
    "VENICE_BASE_URL": "A sandbox on loopback such as `http://127.0.0.1:8700/api/v1`; anything else is refused",
}


def parser() -> argparse.ArgumentParser:
    """The real command line."""
    return cli.parser()


def asks_first(spec: ToolSpec) -> bool:
    """Whether a tool is guarded: it then takes the guard's verdict."""
    return "verdict" in inspect.signature(spec.fn).parameters


def summary(spec: ToolSpec) -> str:
    """The first sentence of the tool's description."""
    text = " ".join((spec.fn.__doc__ or "").split())
    return re.split(r"(?<=[.])\s", text, maxsplit=1)[0]


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def tool_table() -> str:
    rows = [(f"`{spec.name}`", summary(spec), "yes" if asks_first(spec) else "no") for spec in TOOLS]
    return table(("Tool", "What it does", "Asks first?"), rows)


def command_table() -> str:
    """One row per command; what every command shares is explained with the first only."""
    top = parser()
    shared = dict(_options(top))
    rows = [("`venice-mcp`", "serve on stdio", _told(shared))]
    for name, told, command in _commands("venice-mcp", top):
        options = {form: "" if form in shared else text for form, text in _options(command)}
        rows.append((f"`{name}`", told, _told(options)))
    return table(("Command", "What it does", "Options"), rows)


def _commands(name: str, above: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Every command below one that has none below itself, with its help."""
    for action in above._actions:  # pyright: ignore[reportPrivateUsage]
        if not isinstance(action, argparse._SubParsersAction):  # pyright: ignore[reportPrivateUsage]
            continue
        below: dict[str, argparse.ArgumentParser] = dict(action.choices)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        helps = {choice.dest: choice.help for choice in action._choices_actions}  # pyright: ignore[reportPrivateUsage]
        for word, command in below.items():
            deeper = list(_commands(f"{name} {word}", command))
            yield from deeper or [(f"{name} {word}", helps[word] or "", command)]


def _told(options: dict[str, str]) -> str:
    own = [f"`{form}`: {text}" for form, text in options.items() if text]
    also = ", ".join(f"`{form.split()[0]}`" for form, text in options.items() if not text)
    return "<br>".join([*own, *([f"also {also}"] if also else [])])


def _options(command: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in command._actions:  # pyright: ignore[reportPrivateUsage]
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):  # pyright: ignore[reportPrivateUsage]
            continue
        name = action.option_strings[-1] if action.option_strings else f"[{action.dest.upper()}]"
        value = "" if action.nargs == 0 or not action.option_strings else f" {_value_of(action)}"
        yield f"{name}{value}", (action.help or "") % {"default": action.default}


def _value_of(action: argparse.Action) -> str:
    if action.choices:
        return "|".join(str(choice) for choice in action.choices)
    return str(action.metavar or action.dest.upper())


def environment_table() -> str:
    """What settings read, held against their source so that none is forgotten."""
    places = [Path(settings.__file__), *Path(policy.__file__).parent.glob("*.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in places)
    read = set(re.findall(r'"(VENICE_[A-Z0-9_]+)"', source))
    read.add("VENICE_WALLET_PASSWORD_FILE")
    read |= {f"{name}_FILE" for name in settings.VARIABLES.values()}
    if read != set(ENVIRONMENT):
        raise SystemExit(f"scripts/docs.py: describe in ENVIRONMENT: {', '.join(sorted(read ^ set(ENVIRONMENT)))}")
    return table(("Variable", "Meaning"), [(f"`{name}`", text) for name, text in ENVIRONMENT.items()])


def scenario_table() -> str:
    return table(("Scenario", "What is in it"), [(f"`{name}`", text) for name, text in SCENARIOS.items()])


def slash_command_table() -> str:
    return table(("Command", "What it does", "Started by"), slash_commands.rows())


TABLES: dict[str, Callable[[], str]] = {
    "hosts": host_sections.sections,
    "tools": tool_table,
    "commands": command_table,
    "environment": environment_table,
    "scenarios": scenario_table,
    "slash commands": slash_command_table,
}


def readme(current: str) -> str:
    """README with every generated part made anew."""
    for name, make in TABLES.items():
        begin, end = f"<!-- generated: {name} -->", "<!-- end of generated -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if len(pattern.findall(current)) != 1:
            raise SystemExit(f"{README}: {begin} is needed once, followed by {end}")
        part = f"{begin}\n{make()}\n{end}"
        current = pattern.sub(lambda _, part=part: part, current)
    return current


def manifest(current: str) -> str:
    """The manifest with the version, the tools and the options that the code has."""
    content: dict[str, Any] = manifests.bundle(json.loads(current))
    content["version"] = __version__
    content["tools"] = [{"name": spec.name, "description": summary(spec)} for spec in TOOLS]
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def schemas(_: str) -> str:
    """What the tools take and answer, ready for a quick start; one line for each tool."""
    rows = [f"{json.dumps(spec.name)}: {json.dumps(derived(spec), separators=(',', ':'))}" for spec in TOOLS]
    return "{\n" + ",\n".join(rows) + "\n}\n"


GENERATED: dict[str, Callable[[str], str]] = {
    README: readme,
    MANIFEST: manifest,
    str(SCHEMAS.relative_to(ROOT)): schemas,
    ".claude-plugin/plugin.json": manifests.plugin,
    ".claude-plugin/marketplace.json": manifests.marketplace,
    "hooks/hooks.json": manifests.hooks,
    "plugin/requirements.lock": manifests.runtime_lock,
    "server.json": lambda _: manifests.server(
        {name: text for name, text in ENVIRONMENT.items() if name not in LAUNCHERS_OWN}
    ),
    **slash_commands.pages(),
}


def main() -> int:
    options = argparse.ArgumentParser(prog="python scripts/docs.py", description=__doc__)
    options.add_argument("--check", action="store_true", help="write nothing; exit status 1 when something is stale")
    check: bool = options.parse_args().check
    stale: list[str] = []
    for name, make in GENERATED.items():
        path = ROOT / name
        current = path.read_text(encoding="utf-8") if path.exists() else ""
        wanted = make(current)
        if wanted != current:
            stale.append(name)
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(wanted, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'out of date; run python scripts/docs.py' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
