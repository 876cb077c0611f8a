"""`make bundle`: pack dist/venice-mcp-VERSION.mcpb, look into it, and start the server that is in it.

The bundle is packed from a folder of its own that holds only what runs, so nothing has to be kept out. Its
dependencies are locked with hashes, in the versions of requirements.lock.
"""

import json
import os
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from shipping.toolbox import MCPB, ROOT, UV, ShippingError, clean_environment, run, tools_of
from venice_mcp import __version__
from venice_mcp.tools import TOOLS

DIST = ROOT / "dist"
FILES = ("manifest.json", "README.md", "LICENSE")
TABLES = re.compile(r"build-system|project(\..*)?|tool\.hatch\.version|tool\.hatch\.build\.targets\.wheel")
ALLOWED = re.compile(
    r"manifest\.json|README\.md|LICENSE|pyproject\.toml|uv\.lock|venice_mcp/(.+\.(py|json)|py\.typed)",
)
# What says where packages come from; the lock shall say the same wherever it is made.
_HARMLESS = ("UV_CACHE_DIR", "UV_HTTP_TIMEOUT", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS")


def bundle() -> Path:
    """Pack, look, start; the path of what was packed.

    Raises:
        ShippingError: something failed, or something is in it that does not belong there.
    """
    target = DIST / f"venice-mcp-{__version__}.mcpb"
    DIST.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch) / "stage"
        fill(stage)
        run([*MCPB, "validate", str(stage / "manifest.json")])
        run([*MCPB, "pack", str(stage), str(target)])
        names = contents(target)
        unpacked = Path(scratch) / "unpacked"
        run([*MCPB, "unpack", str(target), str(unpacked)])
        start(unpacked, Path(scratch) / "home")
    print(f"{target.relative_to(ROOT)}: {len(names)} files, {target.stat().st_size // 1024} KiB; it starts")
    return target


def fill(stage: Path) -> None:
    """Put together what is packed."""
    stage.mkdir()
    for name in FILES:
        shutil.copyfile(ROOT / name, stage / name)
    keep_out = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    shutil.copytree(ROOT / "venice_mcp", stage / "venice_mcp", ignore=keep_out)
    (stage / "pyproject.toml").write_text(project((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    env = {name: value for name, value in os.environ.items() if not name.startswith("UV_") or name in _HARMLESS}
    run([UV, "lock", "--no-config", "--quiet", "--project", str(stage)], cwd=stage, env=env)
    sources = set(re.findall(r'registry = "([^"]*)"', (stage / "uv.lock").read_text(encoding="utf-8")))
    if len(sources) != 1 or not all(each.startswith("https://") for each in sources):
        raise ShippingError(f"the lock names {', '.join(sorted(sources))} instead of uv's own index alone")


def project(text: str) -> str:
    """pyproject.toml without what is for developers, held to the versions of requirements.lock."""
    tables = re.split(r"^(?=\[[^\[\]]+\]$)", text, flags=re.MULTILINE)
    kept = [table for table in tables if (head := re.match(r"\[(.+)\]", table)) and TABLES.fullmatch(head[1])]
    pins = re.findall(r"^([\w.-]+==[^\\\n]+?) *\\?$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    held = json.dumps(pins, indent=1)
    return "".join(kept) + f"\n[tool.uv]\nconstraint-dependencies = {held}\nbuild-constraint-dependencies = {held}\n"


def contents(target: Path) -> list[str]:
    """The names in the archive.

    Raises:
        ShippingError: one of them has no business there, or a module is missing.
    """
    with zipfile.ZipFile(target) as archive:
        names = archive.namelist()
    odd = [name for name in names if not ALLOWED.fullmatch(name) or "test" in name.lower()]
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "venice_mcp").rglob("*.py")}
    if odd or not modules <= set(names):
        raise ShippingError(f"in the bundle: {', '.join(odd)}; missing: {', '.join(modules - set(names))}")
    return names


def start(unpacked: Path, home: Path) -> None:
    """Start the server as the manifest says, in an environment without anything of ours."""
    manifest: dict[str, Any] = json.loads((unpacked / "manifest.json").read_text(encoding="utf-8"))
    config = manifest["server"]["mcp_config"]
    home.mkdir()
    env = clean_environment(home) | {name: _default(manifest, value) for name, value in config["env"].items()}
    command = [UV, *(each.replace("${__dirname}", str(unpacked)) for each in config["args"])]
    found = tools_of(command, cwd=home, env=env)
    if found != [spec.name for spec in TOOLS] or found != [tool["name"] for tool in manifest["tools"]]:
        raise ShippingError(f"the server in the bundle offers {', '.join(found)}")
    # What a terminal is told to run must work from there as well.
    python = unpacked / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run([str(python), "-P", "-m", "venice_mcp", "approve"], cwd=home, env=env)


def _default(manifest: dict[str, Any], value: str) -> str:
    """What a host fills in for an option that was left alone."""
    name = value.removeprefix("${user_config.").removesuffix("}")
    return str(manifest["user_config"][name]["default"])
