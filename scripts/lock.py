"""Resolve pyproject.toml into requirements.lock: every platform, Python 3.11 and later, with hashes.

The result must be the same on every machine and must not say where it was made, so no index, find-links or
configuration of this one takes part, and a lock that names a host is refused.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
HEADER = """\
# Every dependency of venice-mcp and of its development tools, pinned with the hashes of all published files.
# Made by `make lock` from pyproject.toml and scripts/constraints.txt; do not edit.
"""
# Settings of uv that change nothing but how it reaches the index.
HARMLESS = ("UV_CACHE_DIR", "UV_HTTP_TIMEOUT", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS")


def compile_command(uv: str, output: Path, *, upgrade: bool) -> list[str]:
    # fmt: off
    command = [
        uv, "pip", "compile", "pyproject.toml",
        "--universal", "--python-version", "3.11", "--all-extras", "--group", "dev",
        "--constraints", "scripts/constraints.txt", "--generate-hashes",
        "--no-config", "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--quiet",
        "--output-file", str(output),
    ]
    # fmt: on
    return [*command, "--upgrade"] if upgrade else command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take newer versions than the lock has now")
    upgrade = bool(parser.parse_args().upgrade)
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("lock: uv is not on PATH. Only this target needs it: pip install uv (in any environment)")
    env = {name: value for name, value in os.environ.items() if not name.startswith("UV_") or name in HARMLESS}
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / LOCK.name
        if LOCK.exists():
            shutil.copyfile(LOCK, output)  # uv keeps the versions it finds there
        command = compile_command(uv, output, upgrade=upgrade)
        if subprocess.run(command, cwd=ROOT, env=env, check=False).returncode:
            sys.exit("lock: uv could not resolve; requirements.lock is as it was")
        resolved = output.read_text()
    if "://" in resolved or "--index" in resolved or "--find-links" in resolved:
        sys.exit("lock: the result names a host or an index; requirements.lock is as it was")
    LOCK.write_text(HEADER + resolved)
    print(f"lock: {resolved.count('==')} requirements")


if __name__ == "__main__":
    main()
