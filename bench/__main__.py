"""Measure, print budget against measurement, and exit with status 1 when a budget is missed."""

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

from bench import budgets
from bench.audit import audit
from bench.budgets import Line
from bench.provision import provision
from bench.scan import scan
from bench.stdio import ServerError

PARTS = ("start", "tools", "listings", "imports", "audit", "provision", "scan")


def print_line(line: Line) -> None:
    print(f"{'ok  ' if line.met else 'MISS'}  {line.what:<42} {line.budget:>20}  {line.measured}", flush=True)


def measure(part: str, ours: list[str], home: Path, pairs: int) -> tuple[list[Line], list[str]]:
    """One part's lines, and the details that are shown below the table."""
    match part:
        case "start":
            return budgets.start_and_memory(ours, home, pairs), []
        case "tools":
            lines, costs = budgets.tool_list(budgets.listed_tools(ours, home))
            return lines, ["Tokens by tool", *costs]
        case "listings":
            return budgets.listings(ours, home), []
        case "scan":
            return scan(), []
        case "provision":
            return provision(home), []
        case "audit":
            return audit(ours, home), []
        case _:
            lines, spent = budgets.imports(ours, home)
            return lines, [
                "Where the rest of start-up goes: imports beyond hello world's, by package",
                *spent,
            ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=11, help="how often the two servers take turns")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part; may be repeated")
    parser.add_argument("--command", help="another stdio server to measure, e.g. 'python bench/hello.py'")
    options = parser.parse_args()
    asked: str | None = options.command
    ours = shlex.split(asked) if asked else budgets.OURS
    missed = 0
    details: list[list[str]] = []
    print(f"      {'what':<42} {'budget':>20}  measured")
    with tempfile.TemporaryDirectory() as home:
        for part in options.only or PARTS:
            try:
                lines, detail = measure(part, ours, Path(home), max(1, options.pairs))
            except ServerError as error:
                lines, detail = [Line(part, "", f"could not be measured: {error}", met=False)], []
            for line in lines:
                print_line(line)
            missed += sum(not line.met for line in lines)
            if detail:
                details.append(detail)
    for title, *rows in details:
        print(f"\n{title}")
        for row in rows:
            print(f"  {row}")
    print(f"\n{missed} missed" if missed else "\nEvery budget is met")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
