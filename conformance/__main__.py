"""Start the server on a free port, run every scenario that applies, print a table; status 1 on a surprise."""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

from conformance import suite
from conformance.scenarios import EXPECTED_FAILURES, SCENARIOS

ROOT = Path(__file__).resolve().parent.parent
ANNOUNCEMENT = "Listening on "
START_TIMEOUT_S = 30
OURS = [sys.executable, "-m", "venice_mcp", "serve", "--http", "--port", "0", "--sandbox"]


def server_environment(home: str) -> dict[str, str]:
    """Nothing of the caller's: no Venice key, no state, no configuration."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "XDG_STATE_HOME": f"{home}/state"}


@contextmanager
def running_server(command: list[str]) -> Generator[str]:
    """Start the server, yield the URL that it announces on stderr, and end it."""
    with tempfile.TemporaryDirectory() as home:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=server_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        stderr = process.stderr
        assert stderr is not None  # noqa: S101 (it was asked for as a pipe)
        said: list[str] = []
        announced: Queue[str] = Queue()

        def follow() -> None:
            for line in stderr:
                said.append(line)
                _, found, url = line.partition(ANNOUNCEMENT)
                if found:
                    announced.put(url.strip())
            announced.put("")  # it ended

        threading.Thread(target=follow, daemon=True).start()
        try:
            try:
                url = announced.get(timeout=START_TIMEOUT_S)
            except Empty:
                url = ""
            if not url:
                tail = "".join(said[-30:])
                sys.exit(f"conformance: the server did not say '{ANNOUNCEMENT}URL'. It said:\n{tail}")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def verdict(scenario: str, outcome: suite.Outcome) -> tuple[str, bool]:
    """What to print, and whether it was to be expected."""
    known = EXPECTED_FAILURES.get(scenario)
    match outcome.result, known:
        case "pass", None:
            return "pass", True
        case "pass", _:
            return "UNEXPECTED PASS: take it out of EXPECTED_FAILURES", False
        case "fail", str(reason):
            return f"expected failure: {reason}", True
        case result, _:
            return f"{result.upper()}: {outcome.reason}", False


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("--command", help="another server to test; it must announce its URL the same way")
    asked: str | None = parser.parse_args().command
    try:
        suite.install()
    except suite.SuiteError as error:
        sys.exit(f"conformance: {error}")
    surprises = 0
    with running_server(shlex.split(asked) if asked else OURS) as url:
        for spec_version, scenarios in SCENARIOS.items():
            for scenario in scenarios:
                text, expected = verdict(scenario, suite.run(url, scenario, spec_version))
                surprises += not expected
                print(f"{spec_version}  {scenario:<43} {text}", flush=True)
    total = sum(map(len, SCENARIOS.values()))
    print(f"\n{total - surprises} of {total} as expected")
    sys.exit(1 if surprises else 0)


if __name__ == "__main__":
    main()
