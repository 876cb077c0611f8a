"""What the code does on another system: as pure functions, and in a process that lacks what Windows lacks.

None of it ran on Windows or macOS; docs/PLATFORMS.md says what that means.
"""

import base64
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.e2e.processes import OURS, ends_within, environment, handshake, line_of, send, spawned
from venice_mcp.systems import as_command, is_within

PYTHON = r"C:\Users\jane\venv\Scripts\python.exe"
WINDOWSLIKE = Path(__file__).parent / "windowslike"

# --- a command to paste ---------------------------------------------------------------------------


def command(folder: str, program: str = PYTHON) -> str:
    return as_command([program, "-P", "-m", "venice_mcp", "approve", "ABCD-EFGH", "--state-dir", folder], windows=True)


@pytest.mark.parametrize(
    ("folder", "end"),
    [
        (r"C:\state", r"C:\state"),
        (r"C:\Users\Jane Doe\AppData\Local\venice-mcp", r'"C:\Users\Jane Doe\AppData\Local\venice-mcp"'),
        (r"C:\Jürgen\state", r"C:\Jürgen\state"),
        (r"C:\a & b (c) O'Hara;d!^", r'''"C:\a & b (c) O'Hara;d!^"'''),
        ("\\\\server\\share name\\", r'"\\server\share name\\"'),
    ],
)
def test_on_windows_names_are_quoted_as_cmd_and_powershell_both_read_them(folder: str, end: str) -> None:
    assert command(folder) == rf"{PYTHON} -P -m venice_mcp approve ABCD-EFGH --state-dir {end}"


def test_a_program_with_a_space_is_called_through_powershell() -> None:
    program = r"C:\Users\Pat O'Hara\python.exe"
    assert command(r"C:\state", program) == (
        r"""powershell -NoProfile -Command "& 'C:\Users\Pat O''Hara\python.exe' -P -m venice_mcp"""
        r''' approve ABCD-EFGH --state-dir 'C:\state'"'''
    )


def read_by_powershell(call: str) -> list[str]:
    """The words of a call in which all that is not bare is in single quotes, by PowerShell's rules for them."""
    quote = "['\u2018\u2019\u201a\u201b]"
    word = rf"{quote}((?:{quote}{{2}}|(?!{quote}).)*+){quote}|([\w.-]+)"
    assert re.fullmatch(rf"&(?: (?:{word}))+", call, re.DOTALL), call
    return [
        re.sub(rf"({quote}){quote}", r"\1", each[1]) if each[1] is not None else each[2]
        for each in re.finditer(rf" (?:{word})", call[1:], re.DOTALL)
    ]


@given(st.text(st.sampled_from("aé \\:.-_&|<>^%!$`'\"\u2018\u2019\u201c;,()#@{}[]~+=/\n"), min_size=1, max_size=12))
@example("%TEMP%")
@example("a\u2019; calc \u2018")
@example('a" & calc & "')
def test_whatever_a_folder_is_called_the_line_runs_only_ours(folder: str) -> None:
    line = command(folder)
    encoded = re.fullmatch(r"powershell -NoProfile -EncodedCommand ([A-Za-z0-9+/=]+)", line)
    if encoded:
        assert read_by_powershell(base64.b64decode(encoded[1]).decode("utf-16-le"))[-1] == folder
        return
    # Nothing that either shell reacts to, in or out of double quotes, and nothing but the folder between those.
    assert not re.search(r'[%$`\n|<>"\u2018-\u201f]', line.replace(f'"{folder}', "", 1).removesuffix('"')), line
    outside = re.sub(r'"[^"]*"', "", line)
    assert re.fullmatch(r"[\w\\:. -]+", outside), line


@given(st.lists(st.text(min_size=1), min_size=1))
def test_elsewhere_a_posix_shell_reads_the_words_again(words: list[str]) -> None:
    assert shlex.split(as_command(words, windows=False)) == words


@pytest.mark.parametrize(
    ("path", "within"),
    [
        (r"C:\Users\jane", True),
        (r"c:\USERS\Jane\AppData\Local\venice-mcp", True),
        ("C:/users/jane/state", True),
        (r"C:\Users\jane\..\mallory\state", False),
        (r"C:\Users\janet\state", False),
        (r"D:\Users\jane\state", False),
        (r"C:\Users", False),
        (r"\\host\Users\jane", False),
    ],
)
def test_what_lies_within_a_profile_is_told_by_names_as_windows_compares_them(path: str, within: bool) -> None:
    assert is_within(path, r"C:\Users\jane") is within


# --- a process without what Windows lacks ---------------------------------------------------------

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="takes away what Windows has not got in the first place")


def windowslike(home: Path) -> dict[str, str]:
    profile = home / "profile"
    profile.mkdir(exist_ok=True)
    return environment(home, PYTHONPATH=str(WINDOWSLIKE), WINDOWSLIKE_PROFILE=str(profile), VENICE_MCP_SANDBOX="1")


def ended(home: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*command], env=windowslike(home), cwd=home, capture_output=True, text=True, check=False, timeout=60
    )


# platformdirs takes the variable for the answer.
EVERYTHING = r"""
import importlib, json, os, pkgutil, sys, venice_mcp
os.environ["WIN_PD_OVERRIDE_LOCAL_APPDATA"] = "C:\\evil"
for found in pkgutil.walk_packages(venice_mcp.__path__, "venice_mcp."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
from pathlib import Path
from venice_mcp.approving import _user
from venice_mcp.errors import VeniceError
from venice_mcp.policy.places import operator_file, trusted_state_dir
from venice_mcp.store import Store
assert sys.platform == "win32" and _user()
said = {"operator": str(operator_file()), "state": str(trusted_state_dir())}
try:
    Store(Path("shared").absolute()).trail.verify()
except VeniceError as error:
    said["shared"] = str(error)
record = Store(Path("profile", "purged").absolute()).record
with record.transaction():
    pass
said["before"] = record.exists()
record.purge()
said["after"] = record.exists()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The home, and what all modules together say there."""
    home = tmp_path_factory.mktemp("everything")
    done = ended(home, sys.executable, "-c", EVERYTHING)
    assert done.stderr == ""
    return home, json.loads(done.stdout)


@POSIX
def test_every_module_imports_there_and_the_operators_place_is_not_the_environments(
    everything: tuple[Path, dict[str, Any]],
) -> None:
    home, said = everything
    place = home / "profile" / "venice-mcp"
    assert (said["operator"], said["state"]) == (str(place / "policy.toml"), str(place))


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[int, dict[str, Any]], str]:
    """What a server answered there, by the number of the call, and what it wrote to stderr until Ctrl-C ended it."""
    home = tmp_path_factory.mktemp("windowslike")
    calls: dict[int, tuple[str, dict[str, Any]]] = {
        2: ("venice_list_api_keys", {}),
        3: ("venice_create_api_key", create(deliver_to={"kind": "file", "path": str(home / "key")})),
        4: ("venice_create_api_key", create(deliver_to={"kind": "command", "name": "vault"})),
        5: ("venice_scan_for_leaked_keys", {"folders": [str(home)]}),
        6: ("venice_status", {}),
    }
    log = home / "stderr"
    with spawned([*OURS, "--state-dir", str(home / "profile" / "state")], windowslike(home), log) as server:
        handshake(server)
        found: dict[int, dict[str, Any]] = {}
        for number, (name, arguments) in calls.items():
            send(server, {"id": number, "method": "tools/call", "params": {"name": name, "arguments": arguments}})
            found[number] = json.loads(line_of(server))
        assert ends_within(server, 2.0, signal.SIGINT) < 2.0
    assert server.returncode == 0
    return found, log.read_text()


def create(**more: object) -> dict[str, object]:
    return {"description": "there", "api_key_type": "INFERENCE", "consumption_limit": {"usd": 1}, **more}


def text_of(answer: dict[str, Any]) -> str:
    return cast("str", answer["result"]["content"][0]["text"])


@POSIX
@pytest.mark.parametrize(
    ("number", "said"),
    [
        (2, "25 active keys"),
        (3, "this system offers no way to make a private file safely; a secret can go to the keyring"),
        (4, "this server's policy defines no command"),
        (5, "This system cannot open files relative to a folder, so a safe walk is not possible here."),
        (6, "sandbox"),
    ],
)
def test_a_server_there_answers_reads_and_refuses_what_it_cannot_keep(
    answers: tuple[dict[int, dict[str, Any]], str], number: int, said: str
) -> None:
    found, log = answers
    assert said in text_of(found[number])
    assert "Traceback" not in log


@POSIX
def test_a_record_or_token_outside_of_the_profile_is_refused_there(
    everything: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    assert "is not in your user profile, so others might write to it" in everything[1]["shared"]
    shared = tmp_path / "shared"
    state = str(tmp_path / "profile" / "state")
    options = ["--state-dir", state, "--port", "0", "--token-file", str(shared / "token")]
    served = ended(tmp_path, *OURS, "serve", "--http", *options)
    assert (served.returncode, served.stdout) == (1, "")
    assert "must lie in your user profile" in served.stderr
    assert not (shared / "token").exists()


@POSIX
def test_purging_closes_the_record_before_it_removes_it_there(everything: tuple[Path, dict[str, Any]]) -> None:
    home, said = everything
    assert (said["before"], said["after"]) == (True, False)
    assert list((home / "profile" / "purged").iterdir()) == []
