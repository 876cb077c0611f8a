"""What an audit of five hundred keys costs: requests to Venice, and tokens of the default answer."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

from bench.budgets import KEYS_IN_LARGE, Line, compact, tokens
from bench.stdio import PATIENCE_S, ROOT, ServerError, StdioServer

AUDIT = "venice_audit_api_keys"
REQUESTS = 3
ANSWER_TOKENS = 2_000


def audit(ours: list[str], home: Path) -> list[Line]:
    """One default call on an account of 500 keys, in a sandbox of its own that counts what reaches it."""
    with _sandbox() as told, StdioServer([each for each in ours if each != "--sandbox"], home, **_keys(told)) as server:
        before = _requests(told)
        result = server.request("tools/call", {"name": AUDIT, "arguments": {}})
        sent = _requests(told) - before
    if result.get("isError"):
        raise ServerError(f"{AUDIT} failed: {compact(result)[:500]}")
    answer: dict[str, Any] = result["structuredContent"]
    cost = tokens(compact(result))
    return [
        Line("keys audited", f"{KEYS_IN_LARGE}", f"{answer['total']}", answer["total"] == KEYS_IN_LARGE),
        Line("requests of that audit", f"{REQUESTS}", f"{sent}", 0 < sent <= REQUESTS),
        Line(
            "tokens of its default answer, all parts",
            f"{ANSWER_TOKENS:,}",
            f"{cost:,} ({answer['matching']} findings)",
            0 < cost <= ANSWER_TOKENS,
        ),
    ]


def _keys(told: dict[str, str]) -> dict[str, str]:
    return {
        "VENICE_BASE_URL": told["base_url"],
        "VENICE_ADMIN_KEY": told["admin_key"],
        "VENICE_API_KEY": told["inference_key"],
    }


@contextlib.contextmanager
def _sandbox() -> Generator[dict[str, str]]:
    """A sandbox process, and what it says about itself."""
    command = [sys.executable, "-m", "venice_mcp", "sandbox", "--port", "0", "--scenario", "large", "--control"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise ServerError("the sandbox did not start")
            yield json.loads(line)
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def _requests(told: dict[str, str]) -> int:
    """How many requests of the API the sandbox has answered."""
    with urllib.request.urlopen(f"{told['base_url']}/__control/state", timeout=PATIENCE_S) as answer:  # noqa: S310 - loopback
        counts: dict[str, int] = json.load(answer)["requests"]
    return sum(counts.values())
