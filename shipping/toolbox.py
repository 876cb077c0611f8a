"""The pinned tools that pack and check, installed into `.shipping`, which git ignores: npm packages and Python ones.

Node is the one that basedpyright brings along, as for the conformance suite.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from conformance.suite import DONE, NODE, NPM_CI, is_installed, node_environment

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
INSTALLED = ROOT / ".shipping"
PINS = ("package.json", "package-lock.json", "requirements.lock")
PACKAGES = INSTALLED / "node_modules" / "@anthropic-ai"
CLAUDE = [NODE, str(PACKAGES / "claude-code" / "cli-wrapper.cjs")]
MCPB = [NODE, str(PACKAGES / "mcpb" / "dist" / "cli" / "cli.js")]
BIN = INSTALLED / "python" / ("Scripts" if os.name == "nt" else "bin")
UV = str(BIN / "uv")
SKILLS_REF = str(BIN / "agentskills")
START_TIMEOUT_S = 120


class ShippingError(Exception):
    """Something that is shipped is not in order, or a tool could not be had."""


def install() -> None:
    """Install exactly what the pins say, unless it is there already. Runs no install scripts."""
    if is_installed(HERE, INSTALLED, PINS):
        return
    print("installing the tools, once", flush=True)
    run(NPM_CI, cwd=INSTALLED)
    run([sys.executable, "-m", "venv", str(INSTALLED / "python")])
    pip = [str(BIN / "python"), "-I", "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--quiet"]
    run([*pip, "--require-hashes", "-r", str(INSTALLED / "requirements.lock")])
    (INSTALLED / DONE).touch()


def clean_environment(home: Path) -> dict[str, str]:
    """Nothing of the caller's but how to find programs and how to reach package indexes: no key, no configuration."""
    how = ("PIP_", "SSL_CERT", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_HTTP_TIMEOUT", "REQUESTS_CA_BUNDLE")
    # Homes are replaced: a program that looks for its settings finds an empty place.
    kept = {name: value for name, value in os.environ.items() if name.startswith(how) or name.endswith("_PROXY")}
    path = f"{Path(NODE).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return kept | {"PATH": path, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "LC_ALL": "C.UTF-8"}


def run(command: list[str], *, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run a command whose output people shall see.

    Raises:
        ShippingError: it failed.
    """
    if subprocess.run(command, cwd=cwd, env=env or node_environment(), check=False).returncode:
        raise ShippingError(f"this failed: {' '.join(command)}")


def tools_of(command: list[str], *, cwd: Path, env: dict[str, str]) -> list[str]:
    """The names of the tools that a server offers on stdio. What it takes long for is told to nobody but its log.

    Raises:
        ShippingError: it did not start, or offers none.
    """
    about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "make", "version": "1"}}
    with subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None  # noqa: S101 - both were asked for as pipes
        assert server.stdout is not None  # noqa: S101
        for message in (
            {"id": 1, "method": "initialize", "params": about},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/list"},
        ):
            server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            server.stdin.flush()
        found: list[str] = []
        for line in server.stdout:
            answer: dict[str, Any] = json.loads(line)
            if answer.get("id") == 2:
                found = [str(tool["name"]) for tool in answer["result"]["tools"]]
                break
        server.stdin.close()
        try:
            server.wait(timeout=START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
    if not found:
        raise ShippingError(f"no tools from: {' '.join(command)}")
    return found
