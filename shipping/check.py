"""`make plugin-check`: what Claude Code and the Agent Skills validator say about the plugin.

The manifests are validated, then the plugin is installed from this checkout by the real program in an empty home, and
its server is started as Claude Code starts it: once by plain Python, once by uv.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from shipping.toolbox import CLAUDE, ROOT, SKILLS_REF, UV, ShippingError, clean_environment, run, tools_of
from venice_mcp.tools import TOOLS

KNOWLEDGE = ("venice-api-keys", "venice-limits")
ID = "venice-keys@venice-mcp"
HEALTH_TIMEOUT_S = 180


def check() -> None:
    """Validate, install, start.

    Raises:
        ShippingError: something is not in order.
    """
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        home.mkdir()
        env = clean_environment(home)
        for name in ("marketplace.json", "plugin.json"):
            run([*CLAUDE, "plugin", "validate", "--strict", str(ROOT / ".claude-plugin" / name)], env=env)
        for skill in KNOWLEDGE:
            run([SKILLS_REF, "validate", str(ROOT / "skills" / skill)], env=env)
        start(Path(scratch), env)
        install(home, env)


def start(scratch: Path, env: dict[str, str]) -> None:
    """Start the plugin's server in fresh environments, made by pip and by uv."""
    plugin: dict[str, Any] = json.loads((ROOT / ".claude-plugin" / "plugin.json").read_text(encoding="utf-8"))
    server = plugin["mcpServers"]["venice"]
    for name, path in (
        ("venv and pip", without_uv(env["PATH"])),
        ("uv", f"{Path(UV).parent}{os.pathsep}{env['PATH']}"),
    ):
        data = scratch / f"data-{name.split()[0]}"
        args: list[str] = [each.replace("${CLAUDE_PLUGIN_ROOT}", str(ROOT)) for each in server["args"]]
        variables = dict.fromkeys(server["env"], "") | {"VENICE_KEYS_SANDBOX": "true"}
        command = [shutil.which(str(server["command"]), path=path) or "python3", *args, str(data)]
        found: list[str] = []
        for _ in range(2):  # the first may be answered before the server can be
            found = tools_of(command, cwd=scratch, env=env | {"PATH": path} | variables)
            if len(found) > 1:
                break
            wait_for(data, env)
        if found != [spec.name for spec in TOOLS]:
            raise ShippingError(f"the plugin's server, installed with {name}, offers {', '.join(found)}")
        if f"with {name}\n" not in (data / "install.log").read_text(encoding="utf-8"):
            raise ShippingError(f"{name} was to install the server, and something else did: see {data}/install.log")
        print(f"the plugin's server starts, installed with {name}")


def wait_for(data: Path | None, env: dict[str, str]) -> None:
    """Wait until the installation that a start began is over: it holds the lock for as long as it runs."""
    python = shutil.which("python3", path=env["PATH"]) or "python3"
    run([python, str(ROOT / "plugin" / "making.py"), *([str(data)] if data else [])], env=env)


def without_uv(path: str) -> str:
    return os.pathsep.join(each for each in path.split(os.pathsep) if not (Path(each) / "uv").exists())


def install(home: Path, env: dict[str, str]) -> None:
    """Install the plugin as a person would; Claude Code then starts its server and says whether it answers.

    The environment is made where the system has this user's home, whatever HOME says, and stays there.
    """
    run([*CLAUDE, "plugin", "marketplace", "add", str(ROOT)], env=env, cwd=home)
    run([*CLAUDE, "plugin", "install", ID], env=env, cwd=home)
    for state in ("is being installed", "is installed"):
        # fmt: off
        listed = subprocess.run(
            [*CLAUDE, "mcp", "list"],
            cwd=home, env=env, capture_output=True, text=True, timeout=HEALTH_TIMEOUT_S, check=False,
        ).stdout
        # fmt: on
        wait_for(None, env)
        if not re.search(r"plugin:venice-keys:venice: .*Connected", listed):
            raise ShippingError(f"Claude Code could not connect while the server {state}: {listed}")
        print(f"Claude Code connects while the server {state}")
