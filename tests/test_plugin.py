"""The Claude Code plugin: what it declares, the hook that has Claude Code ask, and how its server is started."""

import ast
import importlib
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import IO, Any, NoReturn, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venice_mcp import HOMEPAGE, __version__
from venice_mcp.policy.places import operator_dir
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


def start_declared(data: Path) -> list[str]:
    """How Claude Code starts the server."""
    # Where Claude Code keeps data of plugins follows from a variable, so it is not asked for that.
    assert not [word for word in SERVER["args"] if "DATA" in word]
    return [
        sys.executable,
        *(str(word).replace("${CLAUDE_PLUGIN_ROOT}", str(ROOT)) for word in SERVER["args"]),
        str(data),
    ]


def hostile(project: Path) -> dict[str, str]:
    """Lay modules into a project that take note of being run, and set what has Python look for them there."""
    for name in ("sitecustomize", "queue", "json", "mcp"):
        (project / f"{name}.py").write_text(f"open({str(project / 'ran')!r}, 'w'); raise SystemExit(0)")
    return {"PYTHONPATH": f".{os.pathsep}{project}{os.pathsep}"}


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
    assert SERVER["command"] == "python3"
    assert str(START) in start_declared(ROOT)
    assert START.is_file()
    assert str(HOOK) in hook_command()
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
    beside = {"plugin", *(other.stem for other in path.parent.glob("*.py"))}
    for node in ast.walk(tree):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | beside


# --- the hook -------------------------------------------------------------------------------------


def hook_declared() -> Json:
    (one,) = declared("hooks/hooks.json")["hooks"]["PreToolUse"]
    return one


def hook_command() -> list[str]:
    """What Claude Code has a shell run."""
    (command,) = hook_declared()["hooks"]
    program, *words = shlex.split(command["command"].replace("${CLAUDE_PLUGIN_ROOT}", str(ROOT)))
    assert program == "python3"
    return [sys.executable, *words]


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
        hook_command(),
        cwd=home,
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


def test_no_variable_of_a_project_silences_the_hook(tmp_path: Path) -> None:
    own = tmp_path / ".config" / "venice-mcp"
    own.mkdir(parents=True)
    (own / "unattended").touch()
    variables = hostile(tmp_path) | {
        "VENICE_KEYS_UNATTENDED": "1",
        "CLAUDE_PLUGIN_OPTION_UNATTENDED": "true",
        "XDG_CONFIG_HOME": str(tmp_path / ".config"),
    }
    # HOME is the project as well.
    assert asked(called("venice_revoke_api_key", {"key_id": "x"}), tmp_path, **variables)
    assert not (tmp_path / "ran").exists()


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


def decided(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What the hook's main says in this process, whatever is on its standard input."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    scope: Json = {"__name__": "hook", "__file__": str(HOOK)}
    exec(compile(HOOK.read_text(encoding="utf-8"), str(HOOK), "exec"), scope)  # noqa: S102
    assert scope["main"]() == 0
    return capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="the system has other places there")
def test_an_operator_can_turn_the_hook_off_with_a_file_beside_the_policy(
    plugin: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pwd

    real = operator_dir()
    assert real is not None
    assert plugin.places.operator_file("unattended") == real / "unattended"

    def elsewhere(_: int) -> SimpleNamespace:
        return SimpleNamespace(pw_dir=str(tmp_path))

    monkeypatch.setattr(pwd, "getpwuid", elsewhere)
    file: Path = plugin.places.operator_file("unattended")
    assert tmp_path in file.parents
    assert '"ask"' in decided(monkeypatch, capsys)
    file.parent.mkdir(parents=True, mode=0o700)
    file.touch(0o600)
    assert decided(monkeypatch, capsys) == ""
    # Where others may write, it says nothing about the operator; nor does a link.
    file.parent.chmod(0o770)
    assert '"ask"' in decided(monkeypatch, capsys)
    file.parent.chmod(0o700)
    file.unlink()
    file.symlink_to(tmp_path)
    assert '"ask"' in decided(monkeypatch, capsys)


@pytest.mark.skipif(sys.platform == "win32", reason="the system has other places there")
def test_a_hook_that_fails_asks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import pwd

    def broken(_: int) -> NoReturn:
        raise OSError("no directory service")

    monkeypatch.setattr(pwd, "getpwuid", broken)
    assert '"ask"' in decided(monkeypatch, capsys)


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

    def interrupt(self) -> int:
        """Press Ctrl-C; how it ended."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._in, self._out, self._err):
            stream.close()


@pytest.fixture(scope="module")
def plugin() -> Generator[ModuleType]:
    """The module `start` of the plugin, which has imported the others."""
    sys.path.insert(0, str(START.parent))
    yield importlib.import_module("start")
    sys.path.remove(str(START.parent))


@pytest.fixture(scope="module")
def prepared(plugin: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as an installation leaves it, whose packages are those of the tests."""
    data = tmp_path_factory.mktemp("data")
    folder: Path = plugin.environment.folder(data)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    packages = plugin.environment.pointer(data).parent
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "packages_of_the_tests.pth").write_text(f"{ours}\n")
    # As if it had been made with another Python; it does with this one as well.
    (folder / "whole").touch()
    assert not plugin.environment.is_ready(data)
    assert plugin.making.make(data) is None
    assert plugin.environment.is_ready(data)
    return data


def test_the_server_starts_in_an_environment_of_its_own_with_options_left_empty(prepared: Path, tmp_path: Path) -> None:
    variables = dict.fromkeys(SERVER["env"], "") | {"VENICE_KEYS_SANDBOX": "true", "VENICE_ADMIN_KEY": ADMIN_KEY}
    # What lies in the folder that a person works in is not imported.
    env = clean(variables | hostile(tmp_path), tmp_path)
    with Session(start_declared(prepared), env, tmp_path) as session:
        assert session.greet()["serverInfo"]["version"] == __version__
        assert session.tools() == [spec.name for spec in TOOLS]
        status = session.status()
        assert status["structuredContent"]["mode"] == "sandbox"
        assert "VENICE_ADMIN_KEY ignored" in json.dumps(status)
        assert session.end() == ""
    assert not (tmp_path / "ran").exists()


def test_a_server_that_cannot_be_installed_says_so_instead_of_failing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Session(start_declared(tmp_path / "file" / "data"), clean({}, tmp_path), tmp_path) as session:
        assert session.greet()["serverInfo"]["name"] == "venice-mcp"
        assert session.tools() == ["venice_status"]
        told = session.status()
        assert told["isError"] is True
        assert "nothing was done at Venice" in told["content"][0]["text"]
        assert "cannot be written to" in told["content"][0]["text"]
        assert "error" in session.ask("server/discover")
        assert "venice-keys: making" in session.end()


@pytest.mark.skipif(sys.platform == "win32", reason="a signal cannot be sent to one process there")
def test_a_client_that_interrupts_the_wait_gets_an_end_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Session(start_declared(tmp_path / "file" / "data"), clean({}, tmp_path), tmp_path) as session:
        session.greet()
        assert session.interrupt() == 130


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


def test_a_placeholder_that_is_left_names_no_folder_of_a_project(
    plugin: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = plugin.places.data_folder()
    assert own.is_absolute()
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_DATA_HOME", "CLAUDE_PLUGIN_DATA", "LOCALAPPDATA", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    for words in (["${CLAUDE_PLUGIN_DATA}"], [str(tmp_path / "${CLAUDE_PLUGIN_DATA}")], ["data"], ["."], [""], []):
        assert plugin.data_folder(words) == own
    assert plugin.data_folder([str(tmp_path)]) == tmp_path


def test_an_option_wins_over_the_shell_only_when_it_is_given(plugin: ModuleType, tmp_path: Path) -> None:
    shell = {"VENICE_ADMIN_KEY": "from the shell", "VENICE_MCP_SANDBOX": "1"}
    for empty in ("", " ", "${user_config.admin_key}"):
        given = shell | {"VENICE_KEYS_ADMIN_KEY": empty, "VENICE_KEYS_SANDBOX": "false"}
        assert plugin.variables.for_the_server(given) == shell | plugin.variables.HOST
    found = plugin.variables.for_the_server(shell | {"VENICE_KEYS_ADMIN_KEY": ADMIN_KEY})
    assert load({"VENICE_ADMIN_KEY": found["VENICE_ADMIN_KEY"]}, state_dir=tmp_path).credentials["ADMIN"].secret


def test_the_server_gets_no_variable_that_chooses_what_python_runs(plugin: ModuleType) -> None:
    names = ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONBREAKPOINT", "PYTHONWARNINGS", "PYTHON_KEYRING_BACKEND")
    found = plugin.variables.for_the_server(dict.fromkeys(names, "x") | {"PATH": "/bin"})
    assert found == {"PATH": "/bin"} | plugin.variables.HOST


def test_installing_gets_no_key_and_nothing_that_changes_what_is_installed(plugin: ModuleType) -> None:
    keys = ("VENICE_ADMIN_KEY", "VENICE_KEYS_ADMIN_KEY", "CLAUDE_PLUGIN_OPTION_A")
    changing = "PIP_NO_BINARY PIP_DRY_RUN PIP_PYTHON PIP_TARGET PIP_CONFIG_FILE UV_NO_BINARY UV_NO_BINARY_PACKAGE"
    more = "UV_PYTHON UV_CONFIG_FILE UV_CACHE_DIR UV_PYTHON_DOWNLOADS_JSON_URL PYTHONPATH VIRTUAL_ENV"
    kept = "PATH HTTPS_PROXY SSL_CERT_FILE PIP_INDEX_URL PIP_CERT UV_DEFAULT_INDEX UV_INDEX_CORP_PASSWORD"
    given = dict.fromkeys([*keys, *changing.split(), *more.split(), *kept.split()], ADMIN_KEY)
    found = plugin.variables.for_installing(given)
    assert set(found) == {*kept.split(), "PIP_USER", "PIP_REQUIRE_VIRTUALENV"}


def test_every_way_to_install_takes_built_packages_with_hashes_only(
    plugin: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uv").touch(0o755)
    (tmp_path / "uv.exe").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with (tmp_path / "lock").open("ab") as held:
        ways = plugin.making._ways(tmp_path, held)
    assert [name for name, _ in ways] == ["uv", "venv and pip"]
    for _, (_, fill) in ways:
        assert "--only-binary :all: --require-hashes" in " ".join(fill)


def test_an_environment_without_its_python_or_a_package_is_not_whole(plugin: ModuleType, prepared: Path) -> None:
    environment, making = plugin.environment, plugin.making
    sealed: str = environment.stamp(prepared).read_text()
    packages = environment.pointer(prepared).with_name("packages_of_the_tests.pth")
    hidden = packages.rename(packages.with_suffix(".hidden"))
    with (prepared / "lock").open("ab") as held:
        assert not making._seal(prepared, held)
        hidden.rename(packages)
        # An installer that is killed leaves its lock to what it started.
        has_the_lock = "" if os.name == "nt" else f"import os; os.fstat({held.fileno()})"
        assert making._run([sys.executable, "-I", "-c", has_the_lock], prepared, held)
    real = os.path.realpath(environment.python(prepared))
    environment.stamp(prepared).write_text(sealed.replace(ascii(real), "'/usr/bin/python3.10'"))
    assert not environment.is_ready(prepared)
    environment.stamp(prepared).write_text(sealed)
    aside = environment.pointer(prepared).rename(packages.with_suffix(".aside"))
    assert not environment.is_ready(prepared)
    aside.rename(environment.pointer(prepared))
    assert environment.is_ready(prepared)


def test_an_environment_that_cannot_be_written_to_runs_all_the_same(
    plugin: ModuleType, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "utime", refused)
    assert plugin.environment.command(prepared)[1:] == ["-I", "-m", "venice_mcp"]


def test_each_version_of_the_plugin_has_an_environment_and_a_pointer_of_its_own(
    plugin: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plugin.environment.folder(tmp_path)
    other = tmp_path / "Jos\u00e9 \u6f22"
    monkeypatch.setattr(plugin.environment, "ROOT", other)
    assert plugin.environment.folder(tmp_path) != first
    (plugin.environment.folder(tmp_path) / "Lib" / "site-packages").mkdir(parents=True)
    (plugin.environment.folder(tmp_path) / "lib" / "python3.11" / "site-packages").mkdir(parents=True, exist_ok=True)
    with (tmp_path / "lock").open("ab") as held:
        assert not plugin.making._seal(tmp_path, held)  # there is no Python in it
    # As Python runs it, whatever it takes for the encoding of such files.
    monkeypatch.setattr(sys, "path", [])
    exec(plugin.environment.pointer(tmp_path).read_bytes().decode("ascii"))  # noqa: S102
    assert sys.path == [str(other)]


def test_an_installer_beside_another_keeps_the_log_and_has_nobody_else_read_it(
    plugin: ModuleType, prepared: Path
) -> None:
    log: Path = plugin.environment.log(prepared)
    log.write_text("with uv\n")
    log.chmod(0o644)
    installer = plugin.making.begin(prepared)
    assert installer.wait(timeout=20) == 0
    assert log.read_text() == "with uv\n"
    if os.name == "posix":
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
    # It has ended and there is a server: that is no failure.
    assert plugin.Making(prepared, installer).problem() is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("fetching https://me:tok@index.example:8443/simple/mcp/?k=v failed", "https://index.example:8443/***"),
        ("connection broken by 'NewConnectionError(1)': /tok/simple?k=tok", "'NewConnectionError(1)': /***"),
        ("Max retries exceeded with url: /tok/simple/mcp/ (Caused by", "url: /*** (Caused by"),
        ("Failed to fetch: `https://index.example/tok/mcp`", "`https://index.example/***`"),
        ("at https://me:to/tok@index.example/", "https://***/***"),
        ("see ?token=tok", "see ?***"),
        ("\x1b[31mERROR\x1b[0m\nof\x07 /usr/bin/x", "ERROR of /usr/bin/x"),
        ("\u202eno\u200b pip", "no pip"),
    ],
)
def test_what_the_installation_said_is_told_without_secrets_and_control_characters(
    said: str, told: str, plugin: ModuleType, tmp_path: Path
) -> None:
    plugin.environment.log(tmp_path).write_text("x" * 70_000 + f" tok\n{said}", encoding="utf-8")
    found = plugin.environment.problem(tmp_path)
    assert told in found
    assert "tok" not in found
    assert found.isprintable()
