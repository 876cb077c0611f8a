"""The scan for leaked keys: a generated tree of 100,000 files and 1 GB, warm, in a process of its own."""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.budgets import Line
from bench.stdio import ROOT, ServerError

FILES = 100_000
TOTAL_BYTES = 1_000_000_000
SECONDS = 10.0
MEMORY_MIB = 64
PLANTED = 20

# Random, of the shape of a real key, and nobody's.
_KEY = "VENICE_INFERENCE_KEY_" + "q7Rk-2Zx_9vTnB4yLmWc8HsPd3Ge5UjA6FoKi1xCt{:02}"
_WORDS = """
import from return private public static def class const export function value token self config string number
the of to and settings error request response client server handler async await model message
"""
_MEASURE = """
import json, resource, sys, anyio
from venice_mcp.leaks.scanning import Request, scan
async def silence(progress): pass
outcome = anyio.run(scan, Request((sys.argv[1],)), silence)
workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
unit = 1024 * 1024 if sys.platform == "darwin" else 1024
print(json.dumps([outcome.seconds, workers / unit, outcome.progress.scanned, len(outcome.found), outcome.stopped]))
"""


def generate(root: Path, files: int) -> None:
    """Source-like files, one in thirty of which speaks of keys without holding one."""
    chance = random.Random(1)  # noqa: S311 - no secret
    blocks = [_block(chance) for _ in range(64)]
    average = TOTAL_BYTES / FILES
    with_key = set(chance.sample(range(files), min(PLANTED, files)))
    for number in range(files):
        folder = root / f"package{number // 1000}" / f"module{number // 100 % 10}"
        if number % 100 == 0:
            folder.mkdir(parents=True)
        content = chance.choice(blocks)[: int(average * chance.uniform(0.1, 1.9))]
        if number % 30 == 0:
            content += b'\nprivate key of the wallet\napi_key = os.environ["VENICE_API_KEY"]\n'
        if number in with_key:
            content += f"\nVENICE_API_KEY={_KEY.format(number % 100)}\n".encode()
        (folder / f"file{number}.py").write_bytes(content)


def _block(chance: random.Random) -> bytes:
    lines: list[str] = []
    while sum(map(len, lines)) < 2 * TOTAL_BYTES / FILES:
        words = chance.choices(_WORDS.split(), k=chance.randrange(2, 12))
        lines.append("    " * chance.randrange(4) + " ".join(words) + chance.choice(["", "(x)", " = 1", ":"]))
    return "\n".join(lines).encode()


def scan(files: int = FILES) -> list[Line]:
    """Time and the memory of the larger worker; the best of two, because what it measures is not the neighbours."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), files)
        runs = [_measured(folder) for _ in range(3)][1:]  # the first warms the file cache
    seconds, memory, scanned, found, stopped = min(runs)
    whole = scanned == files and found == PLANTED and not stopped
    return [
        Line(
            f"seconds to scan {files:,} files (1 GB, warm)",
            f"{SECONDS:.0f} s",
            f"{seconds:.1f} s" if whole else f"not whole: {scanned:,} files, {found} found, {stopped or 'to the end'}",
            whole and seconds <= SECONDS,
        ),
        Line("peak memory of a worker", f"{MEMORY_MIB} MiB", f"{memory:.0f} MiB", memory <= MEMORY_MIB),
    ]


def _measured(folder: str) -> tuple[float, float, int, int, str]:
    command = [sys.executable, "-c", _MEASURE, folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise ServerError(f"the scan failed:\n{done.stderr[-2000:]}")
    seconds, memory, scanned, found, stopped = json.loads(done.stdout)
    return seconds, memory, scanned, found, stopped
