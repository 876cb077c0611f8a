"""What other programs read about this project, made from the code; `scripts/docs.py` writes it.

The Claude Code plugin (plugin.json, marketplace.json, hooks.json and the lock its environment is made of), the entry in
the MCP registry (server.json), and the parts of the MCP bundle's manifest.json that the code decides.
"""

import importlib.util
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from venice_mcp import HOMEPAGE, __version__
from venice_mcp.prompts import arguments_of
from venice_mcp.settings import SCENARIOS
from venice_mcp.tasks import TASKS, Task
from venice_mcp.tools import TOOLS

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = "venice-keys"
SERVER = "venice"
TITLE = "Venice API keys"
DESCRIPTION = "Manage Venice.ai API keys; every write is approved by a person first"
AUTHOR = {"name": "The venice-mcp authors", "url": HOMEPAGE}
KEYWORDS = ["venice", "venice.ai", "api-keys", "secrets", "mcp"]
REGISTRY_SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
EXTRA = "keyring"
"""What is installed besides the dependencies: the options tell people that a key may come from there."""

Json = dict[str, Any]


def _module(path: str) -> ModuleType:
    """A script that is no part of a package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _text(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _option(title: str, description: str, *, secret: bool = False) -> Json:
    kind = {"type": "string"} if secret else {"type": "boolean"}
    default = {"sensitive": True, "required": False, "default": ""} if secret else {"required": False, "default": False}
    return {**kind, "title": title, "description": description, **default}


OPTIONS: dict[str, Json] = {
    "admin_key": _option(
        "ADMIN key",
        "Venice ADMIN key: needed to manage keys and to read billing. Leave it empty to use the system"
        " keyring or the sandbox.",
        secret=True,
    ),
    "inference_key": _option(
        "INFERENCE key", "Venice INFERENCE key, for reading its rate limits. Optional.", secret=True
    ),
    "wallet_key": _option(
        "Wallet private key",
        "Private key of a wallet with staked VVV, for minting keys. Optional; most people leave it empty.",
        secret=True,
    ),
    "sandbox": _option(
        "Use the sandbox",
        "Try it out on a built-in imitation of Venice; no key is used and nothing is sent.",
    ),
}
"""What hosts ask a person for. Without a default a host may hand the placeholder over, or drop the server."""


def plugin(_: str) -> str:
    """.claude-plugin/plugin.json. hooks/hooks.json and skills/ are found by their place."""
    known = _module("plugin/variables.py").OPTIONS
    variables = {f"VENICE_KEYS_{name.upper()}": f"${{user_config.{name}}}" for name in OPTIONS}
    if set(variables) != set(known):
        raise SystemExit("scripts/manifests.py: OPTIONS differ from those of plugin/variables.py")
    return _text(
        {
            "name": PLUGIN,
            "version": __version__,
            "description": f"{DESCRIPTION}. Tools, slash commands and skills; works without a key on a sandbox.",
            "author": AUTHOR,
            "homepage": HOMEPAGE,
            "repository": HOMEPAGE,
            "license": "MIT",
            "keywords": KEYWORDS,
            "mcpServers": {
                SERVER: {
                    "command": "python3",
                    # Without -E a project's PYTHONPATH decides what is imported, with the keys at hand.
                    "args": ["-E", "-s", "${CLAUDE_PLUGIN_ROOT}/plugin/start.py"],
                    "env": variables,
                }
            },
            "userConfig": OPTIONS,
        }
    )


def marketplace(_: str) -> str:
    """.claude-plugin/marketplace.json: this repository offers itself."""
    entry = {"name": PLUGIN, "source": "./", "description": DESCRIPTION, "category": "security", "keywords": KEYWORDS}
    return _text({"name": "venice-mcp", "owner": AUTHOR, "description": f"{TITLE} for agents", "plugins": [entry]})


def hooks(_: str) -> str:
    """hooks/hooks.json: which tools the hook is asked about."""
    tools = [spec.name for spec in TOOLS if not spec.read_only]
    if set(tools) != set(_module("hooks/ask_first.py").WRITES):
        raise SystemExit("hooks/ask_first.py: WRITES must name exactly the tools that are not read only")
    # In the form for a shell, which older releases know as well. An option of the plugin in it that is not set makes
    # Claude Code leave the hook out. Without -I a project's PYTHONPATH could have it say nothing.
    command = {"type": "command", "command": 'python3 -I "${CLAUDE_PLUGIN_ROOT}/hooks/ask_first.py"', "timeout": 10}
    matcher = f"^mcp__plugin_{PLUGIN}_{SERVER}__({'|'.join(tools)})$"
    return _text(
        {
            "description": "Has Claude Code ask before a write, whatever has been allow-listed",
            "hooks": {"PreToolUse": [{"matcher": matcher, "hooks": [command]}]},
        }
    )


def server(variables: Mapping[str, str]) -> str:
    """server.json for the MCP registry. `variables`: what each one means, in Markdown."""
    name = re.search(r"mcp-name: (\S+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    if name is None or len(DESCRIPTION) > 100:
        raise SystemExit("server.json needs mcp-name in README.md and a description of at most 100 characters")
    return _text(
        {
            "$schema": REGISTRY_SCHEMA,
            "name": name[1],
            "title": TITLE,
            "description": DESCRIPTION,
            "version": __version__,
            "websiteUrl": HOMEPAGE,
            "repository": {"url": HOMEPAGE, "source": "github"},
            "packages": [
                {
                    "registryType": "pypi",
                    "identifier": "venice-mcp",
                    "version": __version__,
                    "runtimeHint": "uvx",
                    "transport": {"type": "stdio"},
                    "environmentVariables": [_variable(*each) for each in variables.items()],
                }
            ],
        }
    )


def _variable(name: str, meaning: str) -> Json:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", meaning).replace("`", "")
    found: Json = {"name": name, "description": plain, "isRequired": False}
    found["isSecret"] = name.endswith(("_KEY", "_PASSWORD"))
    found["format"] = "filepath" if name.endswith(("_FILE", "_POLICY", "_DIR")) else "string"
    if name == "VENICE_MCP_SANDBOX_SCENARIO":
        found["choices"] = list(SCENARIOS)
    return found


def bundle(content: Json) -> Json:
    """The parts of manifest.json that the code decides, besides tools and version."""
    variables = _module("plugin/variables.py").OPTIONS
    env = {variables[f"VENICE_KEYS_{name.upper()}"]: f"${{user_config.{name}}}" for name in OPTIONS}
    content["description"] = DESCRIPTION
    content["server"] = {
        "type": "uv",
        "entry_point": "venice_mcp/__main__.py",
        "mcp_config": {
            "command": "uv",
            "args": f"run --frozen --no-dev --extra {EXTRA} --directory ${{__dirname}} venice-mcp".split(),
            "env": env,
        },
    }
    content["user_config"] = OPTIONS
    content["prompts"] = [_prompt(task) for task in TASKS]
    return content


def _prompt(task: Task) -> Json:
    """A prompt as it stands in a manifest, for hosts that show prompts before the server runs."""
    names = arguments_of(task)
    given = ", ".join(f"{name} ${{arguments.{name}}}" for name in names)
    text = f"# {task.title}\n\nThe person gave (nothing, where a placeholder was left): {given}.\n\n{task.body}"
    return {"name": task.name, "description": task.description, "arguments": list(names), "text": text}


# --- the lock of what runs ------------------------------------------------------------------------


def runtime_lock(_: str) -> str:
    """plugin/requirements.lock: of requirements.lock what the server needs to run, with hashes and without what is
    for developers.
    """
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = [(each[1], each[0]) for each in re.finditer(r"^([\w.-]+)==.*\n(?: +.*\n)*", text, re.MULTILINE)]
    kept = _closure(blocks)
    head = "# What the server needs to run, taken from requirements.lock by scripts/docs.py; do not edit.\n"
    lines = [line for name, block in blocks if name in kept for line in block.splitlines(keepends=True)]
    return head + "".join(line for line in lines if not line.lstrip().startswith("#"))


def _closure(blocks: list[tuple[str, str]]) -> set[str]:
    """The project's dependencies and theirs, by the comments that say why each is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted: list[str] = [*project["dependencies"], *project["optional-dependencies"][EXTRA]]
    kept = {re.split(r"[^A-Za-z0-9_-]", each, maxsplit=1)[0] for each in wanted}
    via = [(name, set(re.findall(r"^ +#(?: via| {2}) ([\w.-]+)", block, re.MULTILINE))) for name, block in blocks]
    while more := {name for name, needed_by in via if needed_by & kept} - kept:
        kept |= more
    if missing := kept - {name for name, _ in blocks}:
        raise SystemExit(f"requirements.lock lacks {', '.join(sorted(missing))}; run make lock")
    return kept
