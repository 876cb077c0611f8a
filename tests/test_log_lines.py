"""A log line is what it seems to be: it names its request, and nothing that was logged can forge or color another."""

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.bench import Json
from tests.e2e.processes import OURS, environment, handshake, line_of, send, spawned
from tests.test_harness import ERAS, house
from venice_mcp.secrets import Redactor, Secret, install_logging
from venice_mcp.secrets.logs import request_logged

KEY = "VENICE_ADMIN_KEY_mustNotLeak-0123456789abcdefghi2V2jNW"
FORGED = "2026-11-23T09:00:00Z INFO venice_mcp.guard: approved by a person"
RECORD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [A-Z]+ (\[r-[0-9a-f]{6}\] )?\S+: .*")
CONTINUED = "  | "
BREAKING = [
    f"done\n{FORGED}",
    f"done\r\n{FORGED}",
    f"done\r{FORGED}",
    f"done\x0b{FORGED}",
    f"done\x85{FORGED}",
    f"done\u2028{FORGED}",
    f"\x1b[2K\x1b[1A{FORGED}",
    f"\x1b]0;title\x07{FORGED}",
    f"\x9b31m{FORGED}",
    f"\u202e{FORGED}\u2066",
    f"done\n{CONTINUED}\n{FORGED}",
]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    factory, handlers, level = logging.getLogRecordFactory(), root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    logging.setLogRecordFactory(factory)
    root.handlers[:] = handlers
    root.setLevel(level)


def install(level: str = "INFO", *, json_lines: bool = False) -> io.StringIO:
    stream, redactor = io.StringIO(newline=""), Redactor()
    redactor.add(Secret(KEY))
    install_logging(redactor, level=level, stream=stream, json_lines=json_lines)
    return stream


def records_in(written: str) -> list[str]:
    """The lines that are records; fails for a line that is neither one nor marked as belonging to one."""
    assert written.endswith("\n")
    lines = written.splitlines()
    assert lines == written[:-1].split("\n"), "something else than our own line end ends a line"
    assert all(line.isprintable() for line in lines)
    found = [line for line in lines if not line.startswith(CONTINUED)]
    assert all(RECORD.fullmatch(line) for line in found), found
    return found


# --- nothing that is logged makes a line ----------------------------------------------------------------


@pytest.mark.parametrize("text", BREAKING, ids=ascii)
def test_a_message_stays_on_its_line(text: str) -> None:
    stream = install()
    logging.getLogger("app").info(text)
    logging.getLogger("app").info("argument %s", text)
    logging.getLogger("app").info("mapping %(given)s", {"given": text})
    logging.getLogger(f"app {text}".replace(".", "")).info("named by a stranger")
    assert len(stream.getvalue().splitlines()) == 4
    assert all(line.isprintable() for line in stream.getvalue().splitlines())


@pytest.mark.parametrize("text", BREAKING, ids=ascii)
def test_a_traceback_keeps_its_lines_and_none_passes_for_a_record(text: str) -> None:
    stream = install()
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("app").exception("failed", stack_info=True)
    written = stream.getvalue()
    assert len(records_in(written)) == 1
    assert f"{CONTINUED}Traceback (most recent call last):\n" in written
    assert f"{CONTINUED}Stack (most recent call last):\n" in written


@given(st.text(), st.text(max_size=20))
def test_no_text_at_all_makes_a_second_record_or_a_control_character(text: str, word: str) -> None:
    stream = install()
    try:
        raise RuntimeError(text)
    except RuntimeError:
        logging.getLogger("app").exception("given: %s; %s", text, word)
    assert len(records_in(stream.getvalue())) == 1


@given(st.text(max_size=40), st.integers(1, len(KEY) - 1), st.sampled_from(["\n", "\r\n", "\t", "\u200b", " "]))
def test_a_secret_is_found_before_what_stands_in_it_is_escaped(around: str, cut: int, between: str) -> None:
    stream = install()
    logging.getLogger("app").info(f"{around} {KEY[:cut]}{between}{KEY[cut:]}")
    try:
        raise RuntimeError(f"{around}\n{KEY[:cut]}{between}{KEY[cut:]}")
    except RuntimeError:
        logging.getLogger("app").exception("failed")
    logging.getLogger().handlers[-1].close()
    written = stream.getvalue()
    longest = max(KEY[:cut].removeprefix("VENICE_ADMIN_KEY_"), KEY[cut:], key=len)
    assert len(longest) < 12 or longest not in written


@pytest.mark.parametrize("text", BREAKING, ids=ascii)
def test_a_json_line_is_one_line_and_holds_what_was_said(text: str) -> None:
    stream = install(json_lines=True)
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("app").exception("failed %s", text)
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    said = json.loads(line)
    assert said["message"] == f"failed {text}"
    assert said["exception"].endswith(text)
    assert "request" not in said


@pytest.mark.parametrize("json_lines", [False, True])
def test_what_a_library_adds_to_its_records_is_not_printed(json_lines: bool) -> None:
    stream = install(json_lines=json_lines)
    extra: dict[str, Any] = {
        "headers": f"Bearer {KEY}",
        "request": "theirs",
        "color_message": "\x1b[31m",
        "tag": FORGED,
    }
    with request_logged() as name:
        logging.getLogger("lib").info("plain", extra=extra)
    written = stream.getvalue()
    assert "theirs" not in written
    assert "mustNotLeak" not in written
    assert "approved" not in written
    assert name in written


def test_a_warning_ends_without_an_escaped_line_end() -> None:
    stream = install()
    logging.getLogger("py.warnings").warning("a.py:1: UserWarning: look\n  code()\n")
    assert stream.getvalue().endswith(r"UserWarning: look\n  code()" + "\n")


# --- the id of a request --------------------------------------------------------------------------------


def names_in(lines: list[str]) -> list[str | None]:
    return [found[1].strip()[1:-1] if (found := RECORD.fullmatch(line)) and found[1] else None for line in lines]


def test_tasks_and_threads_of_a_request_carry_its_id_and_others_do_not() -> None:
    stream = install()
    log = logging.getLogger("app")

    async def one(names: list[str]) -> None:
        with request_logged() as name:
            names += [name] * 3
            log.info("here")
            await anyio.to_thread.run_sync(log.info, "in a thread")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_say, log)

    async def both() -> list[str]:
        names: list[str] = []
        log.info("before")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, names)
            tasks.start_soon(one, names)
        log.info("after")
        return names

    names = anyio.run(both)
    found = names_in(records_in(stream.getvalue()))
    assert len(set(names)) == 2
    assert (found[0], found[-1]) == (None, None)
    assert sorted(str(name) for name in found[1:-1]) == sorted(names)


async def _say(log: logging.Logger) -> None:
    log.info("in a task")


@pytest.mark.parametrize("era", ERAS)
def test_every_line_of_a_call_has_the_same_id_and_no_other_call_has_it(tmp_path: Path, era: str) -> None:
    stream = install("DEBUG")
    bench = house(tmp_path)

    async def calls() -> None:
        async with bench.client(era) as client:
            for _ in range(3):
                await client.call_tool("venice_list_api_keys", {})

    bench.run(calls)
    sent = [line for line in records_in(stream.getvalue()) if " httpx: HTTP Request: GET" in line]
    assert len(sent) == 3
    names = names_in(sent)
    assert None not in names
    assert len(set(names)) == 3


def test_a_server_writes_json_lines_that_name_the_request(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [*OURS, "--sandbox", "--log-format", "json", "--log-level", "debug"]
    client_id = f"ours-{KEY}"
    with spawned(command, environment(tmp_path, VENICE_MCP_STATE_DIR=str(tmp_path / "state")), log) as server:
        handshake(server)
        call: Json = {"name": "venice_list_api_keys", "arguments": {}}
        send(server, {"id": client_id, "method": "tools/call", "params": call})
        assert json.loads(line_of(server))["id"] == client_id
    said = [json.loads(line) for line in log.read_text().splitlines()]
    named = [line for line in said if line["logger"] == "httpx"]
    assert named
    assert all(re.fullmatch("r-[0-9a-f]{6}", line["request"]) for line in named)
    assert "mustNotLeak" not in log.read_text()


# --- a start that fails -----------------------------------------------------------------------------------

BROKEN_START = f"""
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "venice_mcp.server":
            raise ImportError("broken by {KEY}\\n{FORGED}\\x1b[31m")
sys.meta_path.insert(0, Broken())
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_start_that_fails_is_logged_like_everything_else(tmp_path: Path, form: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(BROKEN_START)
    done = subprocess.run(
        [*OURS, "--sandbox", "--log-format", form],
        env=environment(tmp_path, PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "mustNotLeak" not in done.stderr
    if form == "json":
        (line,) = done.stderr.splitlines()
        assert "ImportError" in json.loads(line)["exception"]
    else:
        (line,) = records_in(done.stderr)
        assert "ended unexpectedly" in line
        assert f"{CONTINUED}ImportError" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="file names there hold no control characters")
def test_a_reason_not_to_serve_is_told_without_control_characters(tmp_path: Path) -> None:
    token = tmp_path / f"token\n{FORGED}\x1b[31m"
    token.write_text("short")
    done = subprocess.run(
        [*OURS, "serve", "--sandbox", "--http", "--port", "0", "--token-file", str(token)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("venice-mcp: ")
    assert line.isprintable()
