"""`make demo` shows what it says, fails when something does not hold, and lets a reader refuse."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("the demo's server and terminal are driven the POSIX way", allow_module_level=True)

import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.user import VARIABLES

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "demo" / "run.py"
STEPS = 30
SECRET = re.compile(r"VENICE_(?:INFERENCE|ADMIN)_KEY_SANDBOX_[A-Za-z0-9]{16,}")
TAKES_S = 90
CTRL_C = "ctrl-c"


def environment(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VENICE_", "PYTHON"))}
    kept.pop("NO_COLOR", None)
    return kept | VARIABLES | extra


def run_demo(**extra: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(DEMO)],
        env=environment(**extra),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=TAKES_S,
        check=False,
    )


@pytest.fixture(scope="module")
def transcript() -> str:
    """What a whole tour prints where colours would be possible but nobody looks at a terminal."""
    done = run_demo(VENICE_ADMIN_KEY="VENICE_ADMIN_KEY_must-not-leak-0123456789")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_step_is_told_and_ends_with_ok(transcript: str) -> None:
    steps = re.findall(r"^ ?(\d+)\. ", transcript, re.MULTILINE)
    assert steps == [str(number) for number in range(1, STEPS + 1)]
    assert len(re.findall(r"^  ok  ", transcript, re.MULTILINE)) == STEPS
    assert not re.search(r"^  FAILED", transcript, re.MULTILINE)
    assert f"All {STEPS} steps did what they say" in transcript


def test_the_tour_covers_every_tool_but_the_token_that_minting_fetches_itself(transcript: str) -> None:
    from venice_mcp.tools import TOOLS

    called = set(re.findall(r"^  agent +(venice_\w+)\(", transcript, re.MULTILINE))
    assert called == {spec.name for spec in TOOLS} - {"venice_get_web3_token"}


def test_the_created_secret_is_printed_once_and_no_other_key_ever(transcript: str) -> None:
    assert len(SECRET.findall(transcript)) == 1
    assert "must-not-leak" not in transcript


def test_the_transcript_is_plain_text_of_at_most_100_columns_when_it_is_not_a_terminal(transcript: str) -> None:
    assert "\x1b" not in transcript
    assert max(len(line) for line in transcript.splitlines()) <= 100


def test_the_third_act_gets_a_load_past_429_and_402_and_ends_its_sandbox(transcript: str) -> None:
    # `200 200 ... 429`, at the pace that was named, with a cap, and after the call that was named.
    loads = re.findall(r"^  program .*: ([\d ]+)$", transcript, re.MULTILINE)
    ends = [load.split()[-1] for load in loads]
    assert ends == ["429", "200", "402", "200"]
    assert loads[1].split() == ["200"] * len(loads[0].split())
    assert is_gone(transcript)


SERVES = re.compile(r"http://127\.0\.0\.1:(\d+)/")


def is_gone(transcript: str) -> bool:
    """Whether nobody listens where the third act's sandbox did."""
    found = SERVES.search(transcript)
    assert found is not None
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", int(found[1]))) != 0


STAGE = """
import sys, anyio, pathlib
from demo.load import served

async def main():
    async with served("empty", pathlib.Path.cwd(), sys.stderr) as place:
        print(place.base_url, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_whoever_ends_the_demo_by_a_signal_ends_its_sandbox_too(number: signal.Signals, tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), VARIABLES["PYTHONPATH"]])
    with subprocess.Popen(
        [sys.executable, "-c", STAGE],
        env=environment(PYTHONPATH=path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline()
        found = SERVES.search(url)
        assert found is not None
        # Whoever is connected sees the sandbox end, which nobody waits for after some of the signals.
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=TAKES_S) as witness:
            process.send_signal(number)
            process.communicate(timeout=TAKES_S)
            with suppress(ConnectionResetError):  # how it ends if the sandbox had not come to accepting it
                assert witness.recv(1) == b""
    assert process.returncode == -number
    assert is_gone(url)


# --- what must fail -------------------------------------------------------------------------------


def sabotaged(folder: Path, main: str) -> "subprocess.CompletedProcess[str]":
    """The demo with another package in the place of venice_mcp."""
    package = folder / "venice_mcp"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(main)
    return run_demo(PYTHONPATH=f"{folder}{os.pathsep}{VARIABLES['PYTHONPATH']}")


def test_a_server_that_cannot_start_fails_the_demo_in_a_few_words(tmp_path: Path) -> None:
    done = sabotaged(tmp_path, 'import sys; sys.exit("out of order")')
    assert done.returncode == 1
    assert "FAILED   the server could not be used" in done.stdout
    assert "stderr   out of order" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


REAL = """
import os, subprocess, sys, threading
env = os.environ | {"PYTHONPATH": os.environ["PYTHONPATH"].split(os.pathsep)[1]}
command = [sys.executable, "-m", "venice_mcp", *sys.argv[1:]]
"""


def test_a_server_that_answers_something_else_fails_the_step_that_looks(tmp_path: Path) -> None:
    done = sabotaged(
        tmp_path, REAL + "os.execve(command[0], command, env | {'VENICE_MCP_SANDBOX_SCENARIO': 'empty'})\n"
    )
    assert done.returncode == 1
    assert "FAILED   this should hold, and does not: the sandbox's team has 25 keys" in done.stdout
    assert f"FAILED at step 2 of {STEPS}." in done.stdout


LEAKING = (
    REAL
    + """
import re
if "sandbox" in sys.argv:
    os.execve(command[0], command, env)
real = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
seen = []

def back():
    for line in real.stdout:
        seen.extend(re.findall(rb"VENICE_INFERENCE_KEY_SANDBOX_(\\\\w+)", line))
        sys.stdout.buffer.write(line)
        sys.stdout.flush()

reader = threading.Thread(target=back)
reader.start()
for line in sys.stdin.buffer:
    real.stdin.write(line)
    real.stdin.flush()
real.stdin.close()
reader.join()
sys.stderr.write("".join(piece.decode()[3:18] for piece in seen[:1]))
"""
)


def test_a_server_that_leaks_part_of_the_secret_to_its_log_is_caught(tmp_path: Path) -> None:
    done = sabotaged(tmp_path, LEAKING.replace("\\\\", "\\"))
    assert done.returncode == 1
    assert "FAILED   this should hold, and does not: none on stderr" in done.stdout
    assert f"FAILED at step {STEPS} of {STEPS}." in done.stdout


# --- the reader answers ---------------------------------------------------------------------------


def drive(extra: dict[str, str], answers: list[str]) -> tuple[int, str]:
    """Run the demo on a pty, typing one answer at each prompt; the exit status and all that was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(DEMO)],
        # Wide enough that no sentence looked for is broken.
        env=environment(**({"TERM": "xterm", "COLUMNS": "100"} | extra)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    text = ""
    waiting = list(answers)
    asked = 0
    deadline = time.monotonic() + TAKES_S
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 1.0)[0]:
                continue
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            text += chunk.decode("utf-8", errors="replace")
            if text.count("your answer: ") > asked and waiting:
                asked += 1
                answer = waiting.pop(0)
                if answer == CTRL_C:
                    os.killpg(process.pid, signal.SIGINT)
                else:
                    os.write(ours, answer.encode())
        return process.wait(timeout=10), text.replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_reader_who_refuses_everything_sees_that_nothing_is_written() -> None:
    # Declined, word not typed, closed by Enter, box not ticked, box not ticked, closed by Enter, declined; the second
    # act: box not ticked, and then that server asks nobody any more; the third act has another one: declined.
    status, text = drive(
        {"VENICE_MCP_DEMO_INTERACTIVE": "1", "NO_COLOR": "1"},
        answers=["n\n", "yes please\n", "\n", "maybe\n", "maybe\n", "\n", "n\n", "no way\n", "n\n"],
    )
    assert status == 0, text
    assert len(re.findall(r"^  ok  ", text, re.MULTILINE)) == STEPS
    said = " ".join(text.split())
    assert said.count("not approved, so not done; all 25 keys are as before") == 11
    assert said.count("not approved, so not done; all 6 keys are as before; a call is answered as before") == 1
    assert said.count("whoever declined so much is not asked again at once") == 3
    assert SECRET.findall(text) == []
    assert "No secret was displayed" in text
    assert "\x1b[" not in text, "NO_COLOR counts on a terminal too"


def test_a_reader_may_approve_what_the_tour_declines_and_sees_it_in_colours() -> None:
    status, text = drive(
        {"VENICE_MCP_DEMO_INTERACTIVE": "1"},
        # In the third act the cap is approved, and what would mend it is not.
        answers=["y\n", "change\n", *["n\n"] * 3, "REVOKE\n", "n\n", "n\n", "y\n", "n\n", "change\n", "n\n"],
    )
    assert status == 0, text
    assert "The tour would decline here" in text
    assert "the key is gone" in text
    assert "the cap still holds" in " ".join(text.split())
    assert "\x1b[32mok\x1b[0m" in text
    assert len(SECRET.findall(text)) == 1


def test_interrupting_a_question_stops_the_tour_at_once() -> None:
    status, text = drive({"VENICE_MCP_DEMO_INTERACTIVE": "1"}, answers=[CTRL_C])
    assert status == 130
    assert text.rstrip().endswith("Stopped.")
    assert "Traceback" not in text


def test_interactive_without_a_terminal_is_refused_with_the_reason() -> None:
    done = run_demo(VENICE_MCP_DEMO_INTERACTIVE="1")
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
    assert done.stdout == ""
