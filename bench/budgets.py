"""Each measurement as budget lines: what it is, how much it may be, how much it was."""

import json
import re
import statistics
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bench.stdio import ROOT, ServerError, StdioServer

HELLO = [sys.executable, str(ROOT / "bench" / "hello.py")]
OURS = [sys.executable, "-m", "venice_mcp", "--sandbox"]

START_RATIO = 1.20
MEMORY_RATIO = 1.20
ALL_TOOLS_TOKENS = 7_500
TOOL_TOKENS = 400
TOOL_COUNT = 23
LISTING_TOKENS = 2_500
LISTED_KEYS = 50
KEYS_IN_LARGE = 500
# Costly imports that no handshake may need.
MUST_STAY_LAZY = ("eth_account", "httpx")

IMPORT_LINE = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    what: str
    budget: str
    measured: str
    met: bool


def tokens(text: str) -> int:
    """About how many tokens a model sees: four characters each."""
    return round(len(text) / 4)


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def start_and_memory(ours: list[str], home: Path, pairs: int) -> list[Line]:
    """Both servers by turns, so that a busy machine slows both; each ratio is the median over the pairs."""
    starts: list[tuple[float, float]] = []
    memories: list[tuple[int, int]] = []
    for pair in range(-1, pairs):  # the first warms the file cache and writes .pyc files
        taken: dict[str, tuple[float, int]] = {}
        order = [("ours", ours), ("hello", HELLO)]
        for name, command in order if pair % 2 else reversed(order):
            with StdioServer(command, home) as server:
                server.request("tools/list", {})
                taken[name] = server.handshake_s, server.resident_kib()
        if pair >= 0:
            starts.append((taken["ours"][0], taken["hello"][0]))
            memories.append((taken["ours"][1], taken["hello"][1]))
    start = statistics.median(a / b for a, b in starts)
    memory = statistics.median(a / b for a, b in memories)
    ours_ms, hello_ms = (1000 * statistics.median(column) for column in zip(*starts, strict=True))
    ours_mib, hello_mib = (statistics.median(column) / 1024 for column in zip(*memories, strict=True))
    return [
        Line(
            "start to handshake, against hello world",
            f"{START_RATIO:.2f} x",
            f"{start:.2f} x ({ours_ms:.0f} ms : {hello_ms:.0f} ms)",
            start <= START_RATIO,
        ),
        Line(
            "resident memory, against hello world",
            f"{MEMORY_RATIO:.2f} x",
            f"{memory:.2f} x ({ours_mib:.0f} MiB : {hello_mib:.0f} MiB)",
            memory <= MEMORY_RATIO,
        ),
    ]


def listed_tools(ours: list[str], home: Path) -> list[dict[str, Any]]:
    """Every page of tools/list."""
    tools: list[dict[str, Any]] = []
    with StdioServer(ours, home) as server:
        params: dict[str, Any] = {}
        while True:
            answer = server.request("tools/list", params)
            tools += answer["tools"]
            if not answer.get("nextCursor"):
                return tools
            params = {"cursor": answer["nextCursor"]}


def tool_list(tools: list[dict[str, Any]]) -> tuple[list[Line], list[str]]:
    """What the tool list costs a model, and the tools by cost; hosts keep results, hints and pictures from it."""
    unseen = ("outputSchema", "annotations", "icons", "_meta")
    costs = Counter({t["name"]: len(compact({k: v for k, v in t.items() if k not in unseen})) for t in tools})
    total, most = round(costs.total() / 4), max(costs.values(), default=0) / 4
    lines = [
        Line("tools listed", f"{TOOL_COUNT}", f"{len(tools)}", len(tools) == TOOL_COUNT),
        Line(
            "tokens of all tools",
            f"{ALL_TOOLS_TOKENS:,}",
            f"{total:,}",
            len(tools) > 0 and total <= ALL_TOOLS_TOKENS,
        ),
        Line("tokens of the costliest tool", f"{TOOL_TOKENS}", f"{most:.0f}", 0 < most <= TOOL_TOKENS),
    ]
    return lines, [f"{cost / 4:6.0f}  {name}" for name, cost in costs.most_common()]


def call(server: StdioServer, tool: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Text and structured content of a call that must succeed."""
    result = server.request("tools/call", {"name": tool, "arguments": arguments})
    text = "\n".join(part["text"] for part in result.get("content", []) if part["type"] == "text")
    if result.get("isError"):
        raise ServerError(f"{tool} failed: {text[:500]}")
    return text, result.get("structuredContent", {})


def longest_list(structured: dict[str, Any]) -> int:
    """How many keys an answer lists, whatever the field is called."""
    return max((len(cast(list[object], v)) for v in structured.values() if isinstance(v, list)), default=0)


def listings(ours: list[str], home: Path) -> list[Line]:
    """Fifty keys in one answer, and the first page of five hundred."""
    with StdioServer(ours, home, VENICE_MCP_SANDBOX_SCENARIO="large") as server:
        text, structured = call(server, "venice_list_api_keys", {"limit": LISTED_KEYS})
        _, first_page = call(server, "venice_list_api_keys", {})
    listed, on_page = longest_list(structured), longest_list(first_page)
    cursor = next((name for name in ("next_page", "next_cursor") if first_page.get(name)), None)
    return [
        Line("keys in a listing with limit 50", f"{LISTED_KEYS}", f"{listed}", listed == LISTED_KEYS),
        *(
            Line(f"tokens of those 50, {part}", f"{LISTING_TOKENS:,}", f"{cost:,}", 0 < cost <= LISTING_TOKENS)
            for part, cost in (("text", tokens(text)), ("structured", tokens(compact(structured))))
        ),
        Line(
            "keys on the first page of 500",
            f"< {KEYS_IN_LARGE}, with a next page",
            f"{on_page} of {first_page.get('total')}, {cursor or 'no next page'}",
            0 < on_page < KEYS_IN_LARGE and first_page.get("total") == KEYS_IN_LARGE and cursor is not None,
        ),
    ]


def imports_at_handshake(command: list[str], home: Path) -> Counter[str]:
    """Microseconds each top-level package took by itself, of all that was imported up to the handshake."""
    python, *rest = command
    with StdioServer([python, "-X", "importtime", *rest], home) as server:
        told = server.stderr()
    spent: Counter[str] = Counter()
    for own_us, module in IMPORT_LINE.findall(told):
        spent[module.partition(".")[0]] += int(own_us)
    return spent


def imports(ours: list[str], home: Path, top: int = 10) -> tuple[list[Line], list[str]]:
    """Which packages make our start longer than hello world's; the costly ones may not be among them."""
    imports_at_handshake(ours, home)  # warm-up
    mine, theirs = imports_at_handshake(ours, home), imports_at_handshake(HELLO, home)
    loaded = [name for name in MUST_STAY_LAZY if name in mine]
    # A table without mcp was not understood, so it proves nothing.
    understood = "mcp" in mine and "mcp" in theirs
    line = Line(
        f"{' and '.join(MUST_STAY_LAZY)} at handshake",
        "not imported",
        ", ".join(loaded) or ("not imported" if understood else "import times not understood"),
        understood and not loaded,
    )
    more = {name: mine[name] - theirs[name] for name in mine | theirs}
    ranked = sorted(more.items(), key=lambda item: -item[1])[:top]
    rows = [f"{us / 1000:+7.1f} ms  {name}" for name, us in ranked if us > 0]
    return [line], [*rows, f"{(mine.total() - theirs.total()) / 1000:+7.1f} ms  all imports"]
