"""`make demo` shows what it says, fails when something does not hold, and lets a reader refuse."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("the demo's server and terminal are driven the POSIX way", allow_module_level=True)

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
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


# --- a process that has imported what a tour needs -------------------------------------------------

# Imports once what takes a second, and then is, in a process of its own each time, `python demo/run.py` or STAGE, on
# the streams that come with the order.
IMPORTED = """
import json, os, runpy, socket, sys
import anyio._backends._asyncio, demo.tour
orders = socket.socket(fileno=int(sys.argv[1]))
while True:
    order, descriptors, _, _ = socket.recv_fds(orders, 1 << 16, 3)
    if not order:
        break
    child = os.fork()
    if child == 0:
        orders.close()
        os.setsid()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)
        order = json.loads(order)
        os.environ.clear()
        os.environ.update(order["env"])
        os.chdir(order["folder"])
        sys.argv = order["command"]
        status = 0
        try:
            if sys.argv[0] == "-c":
                exec(sys.argv[1])
            else:
                runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as ended:
            status = ended.code
        sys.stdout.flush()
        os._exit(status)
    for descriptor in descriptors:
        os.close(descriptor)
    orders.sendall(b"%d " % child)
    orders.sendall(b"%d\\n" % os.waitpid(child, 0)[1])
"""


@dataclass(frozen=True)
class Imported:
    orders: socket.socket

    def start(self, command: list[str], env: dict[str, str], folder: Path, *streams: int) -> int:
        """The process that runs the command from now on; the streams are its stdin, stdout and stderr."""
        order = {"command": command, "env": env, "folder": str(folder)}
        socket.send_fds(self.orders, [json.dumps(order).encode()], streams)
        return int(self._told(b" "))

    def ended(self) -> int:
        """The exit status of that process, once it has ended; negative for a signal."""
        return os.waitstatus_to_exitcode(int(self._told(b"\n")))

    def _told(self, end: bytes) -> bytes:
        told = b""
        while not told.endswith(end):
            more = self.orders.recv(1)
            assert more, "the process that imports is gone"
            told += more
        return told


@pytest.fixture(scope="module")
def imported() -> Iterator[Imported]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(TAKES_S)
        path = os.pathsep.join([str(ROOT), VARIABLES["PYTHONPATH"]])
        with subprocess.Popen(
            [sys.executable, "-c", IMPORTED, str(theirs.fileno())],
            env=environment(PYTHONPATH=path),
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
        ) as process:
            theirs.close()
            try:
                yield Imported(ours)
            finally:
                ours.close()
                process.wait(timeout=TAKES_S)


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
def test_whoever_ends_the_demo_by_a_signal_ends_its_sandbox_too(
    imported: Imported, number: signal.Signals, tmp_path: Path
) -> None:
    ours, theirs = os.pipe()
    with open(os.devnull, "r+b") as nothing, open(ours) as output:
        streams = (nothing.fileno(), theirs, nothing.fileno())
        pid = imported.start(["-c", STAGE], environment(), tmp_path, *streams)
        os.close(theirs)
        url = output.readline()
        found = SERVES.search(url)
        assert found is not None
        # Whoever is connected sees the sandbox end, which nobody waits for after some of the signals.
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=TAKES_S) as witness:
            os.kill(pid, number)
            status = imported.ended()
            with suppress(ConnectionResetError):  # how it ends if the sandbox had not come to accepting it
                assert witness.recv(1) == b""
    assert status == -number
    assert is_gone(url)


# --- what must fail -------------------------------------------------------------------------------


def sabotaged(imported: Imported, folder: Path, main: str, *arguments: str) -> tuple[int, str]:
    """The demo with another package in the place of venice_mcp: its exit status and what it printed."""
    package = folder / "venice_mcp"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(main)
    env = environment(PYTHONPATH=f"{folder}{os.pathsep}{VARIABLES['PYTHONPATH']}")
    with open(os.devnull, "rb") as nothing, (folder / "out").open("wb") as out:
        streams = (nothing.fileno(), out.fileno(), out.fileno())
        imported.start([str(DEMO), *arguments], env, folder, *streams)
        return imported.ended(), (folder / "out").read_text()


def test_a_server_that_cannot_start_fails_the_demo_in_a_few_words(imported: Imported, tmp_path: Path) -> None:
    status, text = sabotaged(imported, tmp_path, 'import sys; sys.exit("out of order")')
    assert status == 1
    assert "FAILED   the server could not be used" in text
    assert "stderr   out of order" in text
    assert "Traceback" not in text


REAL = """
import os, subprocess, sys
env = os.environ | {"PYTHONPATH": os.environ["PYTHONPATH"].split(os.pathsep)[1]}
command = [sys.executable, "-m", "venice_mcp", *sys.argv[1:]]
"""


def test_a_server_that_answers_something_else_fails_the_step_that_looks(imported: Imported, tmp_path: Path) -> None:
    main = REAL + "os.execve(command[0], command, env | {'VENICE_MCP_SANDBOX_SCENARIO': 'empty'})\n"
    status, text = sabotaged(imported, tmp_path, main)
    assert status == 1
    assert "FAILED   this should hold, and does not: the sandbox's team has 25 keys" in text
    assert f"FAILED at step 2 of {STEPS}." in text


# Of the key that went to a file in the folder where servers of the demo run.
LEAKING = (
    REAL
    + """
subprocess.run(command, env=env)
with open("app.env") as file:
    sys.stderr.write(file.read().strip()[-18:-3])
"""
)


def test_a_server_that_leaks_part_of_a_secret_to_its_log_is_caught(imported: Imported, tmp_path: Path) -> None:
    status, text = sabotaged(imported, tmp_path, LEAKING, "--act", "2")
    assert status == 1
    assert "FAILED   this should hold, and does not: none on stderr" in text
    assert f"FAILED at step 22 of {STEPS}." in text


# --- the reader answers ---------------------------------------------------------------------------


def drive(imported: Imported, folder: Path, answers: list[str], *arguments: str, **extra: str) -> tuple[int, str]:
    """Run the demo on a pty, typing one answer at each prompt; the exit status and all that was shown."""
    ours, theirs = pty.openpty()
    # Wide enough that no sentence looked for is broken.
    env = environment(TERM="xterm", COLUMNS="100", VENICE_MCP_DEMO_INTERACTIVE="1", **extra)
    pid = imported.start([str(DEMO), *arguments], env, folder, theirs, theirs, theirs)
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
                    os.killpg(pid, signal.SIGINT)
                else:
                    os.write(ours, answer.encode())
        else:
            os.killpg(pid, signal.SIGKILL)
        return imported.ended(), text.replace("\r\n", "\n")
    finally:
        os.close(ours)


def test_a_reader_who_refuses_everything_sees_that_nothing_is_written(imported: Imported, tmp_path: Path) -> None:
    # Declined, word not typed, closed by Enter, box not ticked, box not ticked, closed by Enter, declined; the second
    # act: box not ticked, and then that server asks nobody any more; the third act has another one: declined.
    answers = ["n\n", "yes please\n", "\n", "maybe\n", "maybe\n", "\n", "n\n", "no way\n", "n\n"]
    status, text = drive(imported, tmp_path, answers, NO_COLOR="1")
    assert status == 0, text
    assert len(re.findall(r"^  ok  ", text, re.MULTILINE)) == STEPS
    said = " ".join(text.split())
    assert said.count("not approved, so not done; all 25 keys are as before") == 11
    assert said.count("not approved, so not done; all 6 keys are as before; a call is answered as before") == 1
    assert said.count("whoever declined so much is not asked again at once") == 3
    assert SECRET.findall(text) == []
    assert "No secret was displayed" in text
    assert "\x1b[" not in text, "NO_COLOR counts on a terminal too"


@pytest.fixture(scope="module")
def stopped(imported: Imported, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    """Two acts in which a reader does otherwise than the tour would, and ends it at the last question by Ctrl-C."""
    # In the third act the cap is approved, and what would mend it is not.
    answers = ["y\n", "change\n", *["n\n"] * 3, "REVOKE\n", "n\n", "change\n", CTRL_C]
    return drive(imported, tmp_path_factory.mktemp("stopped"), answers, "--act", "1", "--act", "3")


def test_a_reader_may_approve_what_the_tour_declines_and_sees_it_in_colours(stopped: tuple[int, str]) -> None:
    status, text = stopped
    assert status == 130, "a step that failed would have ended it with 1"
    assert "The tour would decline here" in text
    assert "the key is gone" in text
    assert "the cap still holds" in " ".join(text.split())
    assert "\x1b[32mok\x1b[0m" in text
    assert len(SECRET.findall(text)) == 1


def test_interrupting_a_question_stops_the_tour_at_once(stopped: tuple[int, str]) -> None:
    status, text = stopped
    assert status == 130
    assert text.rstrip().endswith("Stopped.")
    assert "How long will the money last?" not in text
    assert "Traceback" not in text
    assert is_gone(text)


def test_interactive_without_a_terminal_is_refused_with_the_reason() -> None:
    done = run_demo(VENICE_MCP_DEMO_INTERACTIVE="1")
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
    assert done.stdout == ""
