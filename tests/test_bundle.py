"""The MCP bundle: what it may hold, and that its dependencies are held to the versions of the lock.

`make bundle` packs it with the real tool and starts the server that is in it; that needs the package registries.
"""

import re
import tomllib
import zipfile
from pathlib import Path

import pytest

from shipping import bundle
from shipping.toolbox import ShippingError

ROOT = Path(__file__).resolve().parent.parent
MODULES = [path.relative_to(ROOT).as_posix() for path in (ROOT / "venice_mcp").rglob("*.py")]
NEEDED = ["manifest.json", "README.md", "LICENSE", "pyproject.toml", "uv.lock", "venice_mcp/py.typed", *MODULES]


def packed(target: Path, *names: str) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return target


def test_a_bundle_of_what_runs_is_accepted(tmp_path: Path) -> None:
    names = [*NEEDED, "venice_mcp/tools/schemas.json"]
    assert bundle.contents(packed(tmp_path / "a.mcpb", *names)) == names


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".git/config",
        "tests/test_bundle.py",
        "venice_mcp/test_keys.py",
        "venice_mcp/__pycache__/app.cpython-311.pyc",
        "venice_mcp/.env",
        "demo/run.py",
        "bench/__main__.py",
        "requirements.lock",
        "state.sqlite3",
    ],
)
def test_a_bundle_with_anything_else_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ShippingError, match=re.escape(name)):
        bundle.contents(packed(tmp_path / "a.mcpb", *NEEDED, name))


def test_a_bundle_without_one_of_our_modules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShippingError, match=r"venice_mcp/app\.py"):
        bundle.contents(packed(tmp_path / "a.mcpb", *(name for name in NEEDED if name != "venice_mcp/app.py")))


def test_the_bundle_is_a_project_without_what_is_for_developers_and_held_to_the_lock() -> None:
    before = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    after = tomllib.loads(bundle.project((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    assert after["project"] == before["project"]
    assert after["build-system"] == before["build-system"]
    assert "dependency-groups" not in after
    assert set(after["tool"]) == {"hatch", "uv"}
    held = after["tool"]["uv"]["constraint-dependencies"]
    names = {re.split(r"==| ", pin)[0] for pin in held}
    assert len(held) == len(re.findall(r"^[\w.-]+==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert {"mcp", "httpx", "hatchling", "eth-account"} <= names
    assert any(" ; python_full_version" in pin for pin in held)
    assert after["tool"]["uv"]["build-constraint-dependencies"] == held
