"""The Claude Code plugin: what it declares, the hook that has Claude Code ask, and how its server is started."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venice_mcp import HOMEPAGE, __version__
from venice_mcp.prompts import arguments_of
from venice_mcp.settings import load
from venice_mcp.tasks import TASKS
from venice_mcp.tools import TOOLS
from venice_mcp.tools.arguments import Recover
from venice_mcp.tools.audit import AuditApiKeys

ROOT = Path(__file__).resolve().parent.parent
START = ROOT / "plugin" / "start.py"
HOOK = ROOT / "hooks" / "ask_first.py"
WRITES = [spec.name for spec in TOOLS if not spec.read_only]
ADMIN_KEY = "VENICE_ADMIN_KEY_8tRq-Zk3vN1xYb_Lw6HsPd0eGmUjC4aFoT9iKxB2nQ"
PREFIX = "mcp__plugin_venice-keys_venice__"
Json = dict[str, Any]


def declared(name: str) -> Json:
    content: Json = json.loads((ROOT / name).read_text(encoding="utf-8"))
    return content


PLUGIN = declared(".claude-plugin/plugin.json")
SERVER: Json = PLUGIN["mcpServers"]["venice"]


def clean(extra: Mapping[str, str], home: Path) -> dict[str, str]:
    """An environment without anything of whoever runs the tests."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), **extra}


# --- what is declared -----------------------------------------------------------------------------


def test_the_plugin_and_its_marketplace_agree_with_the_code() -> None:
    (entry,) = declared(".claude-plugin/marketplace.json")["plugins"]
    assert (entry["name"], entry["source"]) == (PLUGIN["name"], "./")
    assert (PLUGIN["name"], list(PLUGIN["mcpServers"])) == ("venice-keys", ["venice"])
    assert PLUGIN["version"] == __version__
    assert PLUGIN["repository"] == HOMEPAGE
    # A file of that name would also be read as configuration of this project.
    assert not (ROOT / ".mcp.json").exists()


def test_what_the_plugin_starts_is_in_the_plugin() -> None:
    program = SERVER["args"][0].replace("${CLAUDE_PLUGIN_ROOT}", str(ROOT))
    assert Path(program) == START
    assert START.is_file()
    (command,) = hook_declared()["hooks"]
    assert command["command"] == 'python3 "${CLAUDE_PLUGIN_ROOT}/hooks/ask_first.py"'
    assert HOOK.is_file()


def test_no_option_is_needed_and_keys_are_kept_secret() -> None:
    for name, option in PLUGIN["userConfig"].items():
        assert option["required"] is False
        # Without a default, a host may hand the placeholder over or drop the server.
        assert option["default"] in ("", False)
        assert option.get("sensitive", False) is name.endswith("_key")
        assert option["title"]
        assert option["description"].endswith(".")


def test_no_option_has_the_name_of_a_variable_that_a_shell_may_set() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(VENICE_\w+)` \|", readme, re.MULTILINE))
    assert documented
    assert not set(SERVER["env"]) & documented


def test_the_registry_entry_agrees_with_the_code_and_marks_secrets() -> None:
    entry = declared("server.json")
    (package,) = entry["packages"]
    assert f"mcp-name: {entry['name']}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert entry["version"] == package["version"] == __version__
    assert len(entry["description"]) <= 100
    secret = {each["name"] for each in package["environmentVariables"] if each["isSecret"]}
    assert secret == {"VENICE_ADMIN_KEY", "VENICE_API_KEY", "VENICE_WALLET_KEY", "VENICE_WALLET_PASSWORD"}


def test_the_manifest_of_the_bundle_has_every_prompt_with_its_arguments_in_the_text() -> None:
    prompts = declared("manifest.json")["prompts"]
    assert [each["name"] for each in prompts] == [task.name for task in TASKS]
    for each, task in zip(prompts, TASKS, strict=True):
        assert each["arguments"] == list(arguments_of(task))
        assert set(re.findall(r"\$\{arguments\.(\w+)\}", each["text"])) == set(each["arguments"])
        assert each["text"].endswith(task.body)


def test_the_plugin_installs_exactly_what_the_lock_has_for_running() -> None:
    blocks = [
        dict(re.findall(r"^([\w.-]+)==(.*\n(?:    --hash=.*\n)*)", path.read_text(), re.MULTILINE))
        for path in (ROOT / "plugin" / "requirements.lock", ROOT / "requirements.lock")
    ]
    ours, everything = blocks
    assert {"mcp", "httpx", "eth-account", "keyring", "pydantic-core"} <= set(ours)
    assert not {"pytest", "ruff", "matplotlib", "hypothesis"} & set(ours)
    assert all("--hash=sha256:" in block for block in ours.values())
    assert {name: block for name, block in everything.items() if name in ours} == ours


@pytest.mark.parametrize("path", sorted([HOOK, *START.parent.glob("*.py")]), ids=lambda path: path.name)
def test_what_runs_before_anything_is_installed_needs_an_old_python_and_nothing_else(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    beside = {other.stem for other in path.parent.glob("*.py")}
    for node in ast.walk(tree):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | beside


# --- the hook -------------------------------------------------------------------------------------


def hook_declared() -> Json:
    (one,) = declared("hooks/hooks.json")["hooks"]["PreToolUse"]
    return one


def called(tool: str, arguments: object) -> str:
    """What Claude Code writes to a hook's standard input."""
    return json.dumps(
        {
            "session_id": "00893aaf-19fa-41d2-8238-13269b9b3ca0",
            "transcript_path": "transcript.jsonl",
            "cwd": "project",
            "permission_mode": "default",
            "hook_event_name": "PreToolUse",
            "tool_name": PREFIX + tool,
            "tool_input": arguments,
            "tool_use_id": "toolu_01ABC123",
        }
    )


def asked(text: str | bytes, home: Path, **environment: str) -> str | None:
    """The reason the hook gives for asking; None if it says nothing."""
    done = subprocess.run(
        [sys.executable, str(HOOK)],
        input=text if isinstance(text, bytes) else text.encode(),
        capture_output=True,
        env=clean(environment, home),
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    if not done.stdout:
        return None
    said: Json = json.loads(done.stdout)["hookSpecificOutput"]
    assert (said["hookEventName"], said["permissionDecision"]) == ("PreToolUse", "ask")
    reason: str = said["permissionDecisionReason"]
    assert reason.strip()
    assert "\n" not in reason
    return reason


def reason_of(text: str) -> str | None:
    """The same without a process, for many inputs."""
    scope: Json = {"__name__": "hook"}
    exec(compile(HOOK.read_text(encoding="utf-8"), str(HOOK), "exec"), scope)  # noqa: S102
    found: str | None = scope["reason"](text)
    return found


def test_the_hook_is_asked_about_exactly_the_tools_that_write() -> None:
    matcher = re.compile(hook_declared()["matcher"])
    assert [spec.name for spec in TOOLS if matcher.search(PREFIX + spec.name)] == WRITES


@pytest.mark.parametrize("tool", WRITES)
def test_every_write_is_asked_about_by_its_effect_and_never_by_its_arguments(tool: str, tmp_path: Path) -> None:
    given: Json = {"description": ADMIN_KEY, "key_id": ADMIN_KEY, "revoke": ADMIN_KEY, "report_path": ADMIN_KEY}
    reason = asked(called(tool, given), tmp_path)
    assert reason is not None
    assert reason.startswith(f"{tool} ")
    assert ADMIN_KEY[-6:] not in reason


def test_reads_of_tools_that_can_also_write_are_not_asked_about() -> None:
    assert reason_of(called("venice_recover", {})) is None
    assert reason_of(called("venice_audit_api_keys", {"severity": "high", "report_path": None})) is None
    for name in Recover.model_fields:
        assert reason_of(called("venice_recover", {name: "x"})), name
    assert "report_path" in AuditApiKeys.model_fields
    assert reason_of(called("venice_audit_api_keys", {"report_path": "~/audit.md"}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"venice_recover"',
        "{}",
        '{"tool_name": 1, "tool_input": {}}',
        '{"tool_name": "mcp__plugin_venice-keys_venice__venice_recover"}',
        called("venice_recover", None),
        called("venice_audit_api_keys", ["report_path"]),
        called("venice_new_tool", {}),
        "[" * 100_000,
        b"\xff\xfe{}",
    ],
    ids=lambda text: str(text)[:24],
)
def test_what_the_hook_cannot_read_is_asked_about(text: str | bytes, tmp_path: Path) -> None:
    assert asked(text, tmp_path)


@settings(deadline=None, max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    )
)
def test_no_input_keeps_a_write_from_being_asked_about(given: object) -> None:
    assert reason_of(json.dumps(given))
    assert reason_of(called("venice_revoke_api_key", given))


@pytest.mark.parametrize("name", ["VENICE_KEYS_UNATTENDED", "CLAUDE_PLUGIN_OPTION_UNATTENDED"])
def test_an_operator_can_turn_the_hook_off(name: str, tmp_path: Path) -> None:
    call = called("venice_revoke_api_key", {"key_id": "x"})
    assert asked(call, tmp_path, **{name: "true"}) is None
    assert asked(call, tmp_path, **{name: "false"})
    assert "unattended" in PLUGIN["userConfig"]


# --- starting the server --------------------------------------------------------------------------


class Session:
    """A process that speaks MCP on stdio, line by line."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path) -> None:
        self._process = subprocess.Popen(
            command, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._in: IO[bytes] = self._process.stdin
        self._out: IO[bytes] = self._process.stdout
        self._err: IO[bytes] = self._process.stderr
        self._number = 0

    def ask(self, method: str, **params: object) -> Json:
        self._number += 1
        self.tell(method, id=self._number, params=params)
        while (answer := self.hear()).get("id") != self._number:
            pass
        return answer

    def tell(self, method: str, **members: object) -> None:
        self._in.write(json.dumps({"jsonrpc": "2.0", "method": method, **members}).encode() + b"\n")
        self._in.flush()

    def hear(self) -> Json:
        message: Json = json.loads(self._out.readline())
        return message

    def greet(self) -> Json:
        about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        answer = self.ask("initialize", **about)
        self.tell("notifications/initialized")
        return answer["result"]

    def tools(self) -> list[str]:
        return [tool["name"] for tool in self.ask("tools/list")["result"]["tools"]]

    def status(self) -> Json:
        return self.ask("tools/call", name="venice_status", arguments={})["result"]

    def end(self) -> str:
        """Close the connection; what was said on stderr."""
        self._in.close()
        said = self._err.read().decode()
        self._out.close()
        self._err.close()
        assert self._process.wait(timeout=20) == 0
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._in, self._out, self._err):
            stream.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as an installation leaves it, whose packages are those of the tests."""
    data = tmp_path_factory.mktemp("data")
    script = f"import environment, pathlib; print(environment._folder(pathlib.Path({str(data)!r})))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=START.parent, capture_output=True, text=True, check=True, timeout=20
    )
    folder = Path(done.stdout.strip())
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    (packages,) = folder.glob("lib/python*/site-packages")
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "packages_of_the_tests.pth").write_text(f"{ours}\n")
    (folder / "whole").touch()
    return data


def test_the_server_starts_in_an_environment_of_its_own_with_options_left_empty(prepared: Path, tmp_path: Path) -> None:
    variables = dict.fromkeys(SERVER["env"], "") | {"VENICE_KEYS_SANDBOX": "true", "VENICE_ADMIN_KEY": ADMIN_KEY}
    # What lies in the folder that a person works in is not imported.
    (tmp_path / "mcp.py").write_text("raise SystemExit('imported')")
    variables["PYTHONPATH"] = str(tmp_path)
    env = clean(variables, tmp_path)
    with Session([sys.executable, str(START), str(prepared)], env, tmp_path) as session:
        assert session.greet()["serverInfo"]["version"] == __version__
        assert session.tools() == [spec.name for spec in TOOLS]
        status = session.status()
        assert status["structuredContent"]["mode"] == "sandbox"
        assert "VENICE_ADMIN_KEY ignored" in json.dumps(status)
        assert session.end() == ""


def test_a_server_that_cannot_be_installed_says_so_instead_of_failing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, str(START), str(tmp_path / "file" / "data")]
    with Session(command, clean({}, tmp_path), tmp_path) as session:
        assert session.greet()["serverInfo"]["name"] == "venice-mcp"
        assert session.tools() == ["venice_status"]
        told = session.status()
        assert told["isError"] is True
        assert "nothing was done at Venice" in told["content"][0]["text"]
        assert "cannot be written to" in told["content"][0]["text"]
        assert "error" in session.ask("server/discover")
        assert "venice-keys: making" in session.end()


WAITING = """
import pathlib, sys, waiting
class Soon:
    def command(self):
        ready = pathlib.Path(sys.argv[1]).exists()
        return [sys.executable, "-P", "-m", "venice_mcp", "--sandbox"] if ready else None
    def problem(self):
        return None
sys.exit(waiting.serve(Soon(), dict(__import__("os").environ)))
"""


def test_a_client_that_came_during_the_installation_gets_the_server_when_it_is_ready(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    env = clean({"PYTHONPATH": str(START.parent)}, tmp_path)
    with Session([sys.executable, "-c", WAITING, str(ready)], env, tmp_path) as session:
        session.greet()
        assert session.tools() == ["venice_status"]
        assert "being installed" in session.status()["content"][0]["text"]
        ready.touch()
        changed = [session.hear()["method"] for _ in range(3)]
        assert changed[0] == "notifications/tools/list_changed"
        assert session.tools() == [spec.name for spec in TOOLS]
        assert session.status()["structuredContent"]["mode"] == "sandbox"
        session.end()


def options_as_the_server_gets_them(given: dict[str, str], home: Path) -> dict[str, str]:
    script = "import environment, json, os; print(json.dumps(environment.for_the_server(os.environ)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=START.parent,
        env=clean(given, home),
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_an_option_wins_over_the_shell_only_when_it_is_given(tmp_path: Path) -> None:
    shell = {"VENICE_ADMIN_KEY": "from the shell", "VENICE_MCP_SANDBOX": "1"}
    for empty in ("", " ", "${user_config.admin_key}"):
        given = shell | {"VENICE_KEYS_ADMIN_KEY": empty, "VENICE_KEYS_SANDBOX": "false"}
        found = options_as_the_server_gets_them(given, tmp_path)
        assert {name: found[name] for name in shell} == shell
        assert not [name for name in found if name.startswith("VENICE_KEYS_")]
    found = options_as_the_server_gets_them(shell | {"VENICE_KEYS_ADMIN_KEY": ADMIN_KEY}, tmp_path)
    assert load({"VENICE_ADMIN_KEY": found["VENICE_ADMIN_KEY"]}, state_dir=tmp_path).credentials["ADMIN"].secret


def test_installing_gets_no_key(tmp_path: Path) -> None:
    script = "import environment, json, os; print(json.dumps(environment._without_secrets(os.environ)))"
    keys = {"VENICE_ADMIN_KEY": ADMIN_KEY, "VENICE_KEYS_ADMIN_KEY": ADMIN_KEY, "CLAUDE_PLUGIN_OPTION_A": ADMIN_KEY}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=START.parent,
        env=clean(keys, tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert ADMIN_KEY not in done.stdout
    assert "PATH" in json.loads(done.stdout)
