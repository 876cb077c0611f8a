"""`venice-mcp install`: real files in a home of their own, and hosts' command lines that are real programs."""

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("owners, modes and scripts as programs are tested", allow_module_level=True)

import argparse
import json
import os
import select
import signal
import stat
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_harness import ADMIN_KEY, ROOT, WALLET_KEY
from venice_mcp import HOMEPAGE, __version__, cli
from venice_mcp.installing import configfile, jsontext
from venice_mcp.installing.entries import Choice, look, same, wanted
from venice_mcp.installing.hosts import HOSTS, NAME, host_named, variables_of
from venice_mcp.installing.launching import OF_SERVE, SERVING, CannotStart, Launch, Running, launch, own_arguments
from venice_mcp.installing.machine import Machine

Json = dict[str, Any]
START: Json = {"command": sys.executable, "args": ["-E", "-P", "-m", "venice_mcp"]}
OTHERS = (
    '{\r\n\t"theme" : "dark",\r\n\t"mcpServers": { "files": {"command":"npx", "args":[1.50, "\\u00e9"]} },'
    '\r\n\t"z": 1e2}\r\n'
)
FAKE = f"""#!{sys.executable} -IS
import json, os, pathlib, subprocess, sys, time
home, words = pathlib.Path(os.environ["HOME"]), sys.argv[1:]
near = [os.getcwd(), *(os.environ.get(name, "") for name in ("PWD", "OLDPWD"))]
with open(home / "calls", "a") as calls:
    secrets = [name for name in os.environ if name.startswith("VENICE_")]
    calls.write(json.dumps([pathlib.Path(sys.argv[0]).name, words, secrets, near]) + "\\n")
if (home / "broken").exists() and (home / "broken").read_text() in words[1]:
    sys.exit("cannot\\x1b[31m write VENICE_ADMIN_KEY_" + "x" * 43)
"""
WRITES_JSON = """
file = home / ".claude.json"
content = json.loads(file.read_text()) if file.exists() else {}
servers = content.setdefault("mcpServers", {})
if "remove" in words:
    del servers["venice"]
elif "venice" in servers:
    sys.exit("MCP server venice already exists in user config")
else:
    options, (program, *args) = words[5 : words.index("--")], words[words.index("--") + 1 :]
    env = dict(option.split("=", 1) for option in options[1::2])
    servers["venice"] = {"type": "stdio", "command": program, "args": args, "env": env}
file.write_text(json.dumps(content))
"""


@dataclass
class Home:
    """A home of its own, and what was printed there."""

    path: Path
    capsys: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    def install(self, *words: str) -> int:
        try:
            status = cli.run(["install", *words])
        except SystemExit as end:
            status = int(str(end.code))
        self.out, self.err = self.capsys.readouterr()
        for secret in (ADMIN_KEY, WALLET_KEY):
            assert secret not in self.out + self.err
        return status

    def file(self, name: str, text: str | bytes = "") -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def program(self, name: str, more: str = "") -> None:
        self.file(f"bin/{name}", FAKE + more).chmod(0o755)

    def calls(self) -> list[Any]:
        file = self.path / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def key_file(self) -> str:
        path = self.file("keys/admin.key", ADMIN_KEY)
        path.chmod(0o600)
        return str(path)

    def everything(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.path.rglob("*") if path.is_file()}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Home:
    """Where nothing is installed; the operator's keys are in the environment, as they may well be."""
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "GEMINI_CLI_HOME", "VENICE_MCP_SANDBOX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("VENICE_ADMIN_KEY", ADMIN_KEY)
    monkeypatch.setenv("VENICE_WALLET_KEY", WALLET_KEY)
    monkeypatch.setattr("sys.argv", ["pytest"])
    return Home(tmp_path, capsys)


SCRIPT = "from venice_mcp.__main__ import main"


def console_script(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "venice-mcp"
    path.write_text(f"#!/usr/bin/python\nimport sys\n{text}\nsys.exit(main())\n")
    return path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- the table ------------------------------------------------------------------------------------


def test_the_command_line_knows_the_hosts_of_the_table() -> None:
    assert tuple(host.name for host in HOSTS) == cli.HOSTS
    assert len(set(cli.HOSTS)) == 8
    assert all(host.docs.startswith("https://") for host in HOSTS)


@pytest.mark.parametrize(
    ("name", "linux", "mac", "windows"),
    [
        ("claude-code", "/h/.claude.json", "/h/.claude.json", "C:\\h\\.claude.json"),
        (
            "claude-desktop",
            "/h/.config/Claude/claude_desktop_config.json",
            "/h/Library/Application Support/Claude/claude_desktop_config.json",
            "D:\\roaming\\Claude\\claude_desktop_config.json",
        ),
        ("cursor", "/h/.cursor/mcp.json", "/h/.cursor/mcp.json", "C:\\h\\.cursor\\mcp.json"),
        (
            "vscode",
            "/h/.config/Code/User/mcp.json",
            "/h/Library/Application Support/Code/User/mcp.json",
            "D:\\roaming\\Code\\User\\mcp.json",
        ),
        ("codex", "/h/.codex/config.toml", "/h/.codex/config.toml", "C:\\h\\.codex\\config.toml"),
        ("gemini", "/h/.gemini/settings.json", "/h/.gemini/settings.json", "C:\\h\\.gemini\\settings.json"),
        (
            "windsurf",
            "/h/.codeium/windsurf/mcp_config.json",
            "/h/.codeium/windsurf/mcp_config.json",
            "C:\\h\\.codeium\\windsurf\\mcp_config.json",
        ),
        (
            "opencode",
            "/h/.config/opencode/opencode.jsonc",
            "/h/.config/opencode/opencode.jsonc",
            "C:\\h\\.config\\opencode\\opencode.jsonc",
        ),
    ],
)
def test_each_system_has_its_place_for_the_file(name: str, linux: str, mac: str, windows: str) -> None:
    host = host_named(name)
    assert host is not None
    machines = (
        Machine("linux", "/h", {}),
        Machine("darwin", "/h", {}),
        Machine("win32", "C:\\h", {"APPDATA": "D:\\roaming"}),
    )
    assert [str(host.files(machine)[0]) for machine in machines] == [linux, mac, windows]


def test_places_that_a_variable_moves_are_followed_there_unless_it_is_relative() -> None:
    env = {"CODEX_HOME": "/c", "CLAUDE_CONFIG_DIR": "/k", "XDG_CONFIG_HOME": "relative", "GEMINI_CLI_HOME": "/g"}
    machine = Machine("linux", "/h", env)
    found = {host.name: str(host.files(machine)[0]) for host in HOSTS}
    assert found["codex"] == "/c/config.toml"
    assert found["claude-code"] == "/k/.claude.json"
    assert found["gemini"] == "/g/.gemini/settings.json"
    assert found["vscode"] == "/h/.config/Code/User/mcp.json"


# --- how it is started ----------------------------------------------------------------------------

GIT = json.dumps({"url": HOMEPAGE, "vcs_info": {"vcs": "git", "commit_id": "c0ffee", "requested_revision": "main"}})
LOCAL = '{"url": "file:///src/my%20co", "dir_info": {}}'
IN_CACHE = "/home/you/.cache/uv/archive-v0/Abc123"


def now(**other: Any) -> Running:
    usual: Json = {
        "program": "",
        "python": "/v/bin/python",
        "prefix": "/v",
        "installed": True,
        "direct_url": None,
        "uvx": ("/u/uvx",),
        "extras": (),
    }
    return Running(**(usual | other))


@pytest.mark.parametrize(
    ("running", "words"),
    [
        (now(program="/v/bin/venice-mcp"), ["/v/bin/venice-mcp"]),
        (now(), ["/v/bin/python", "-E", "-P", "-m", "venice_mcp"]),
        (now(prefix=IN_CACHE, direct_url=GIT), ["/u/uvx", "--from", f"git+{HOMEPAGE}@main", "venice-mcp"]),
        (now(prefix=IN_CACHE, program="/x/venice-mcp"), ["/u/uvx", "--from", "venice-mcp", "venice-mcp"]),
        (
            now(
                prefix=IN_CACHE,
                direct_url=LOCAL,
                uvx=("/u/uv", "tool", "run"),
            ),
            ["/u/uv", "tool", "run", "--from", "/src/my co", "venice-mcp"],
        ),
        (
            now(prefix=IN_CACHE, direct_url=GIT.replace("//", "//me:secret@"), extras=("keyring",)),
            ["/u/uvx", "--from", f"venice-mcp[keyring] @ git+{HOMEPAGE}@main", "venice-mcp"],
        ),
    ],
)
def test_the_host_starts_what_runs_now(running: Running, words: list[str]) -> None:
    start = launch(running)
    assert [start.command, *start.args] == words


def test_a_package_that_only_the_current_folder_has_cannot_be_installed_anywhere() -> None:
    with pytest.raises(CannotStart, match="uvx --from"):
        launch(now(installed=False))


def test_the_entry_starts_this_server_also_among_modules_of_its_name(home: Home) -> None:
    file = home.file(".cursor/mcp.json")
    home.file("project/venice_mcp/__init__.py", "raise SystemExit('taken in')")
    assert home.install("cursor") == 0
    entry = json.loads(file.read_text())["mcpServers"][NAME]
    done = subprocess.run(
        [entry["command"], *entry["args"], "--version"],
        cwd=home.path / "project",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == f"venice-mcp {__version__}\n"


# --- files ----------------------------------------------------------------------------------------


def test_an_entry_is_added_and_taken_out_and_every_other_byte_is_kept(home: Home) -> None:
    file = home.file(".cursor/mcp.json", OTHERS)
    file.chmod(0o640)
    assert home.install("cursor") == 0, home.err
    text = file.read_bytes().decode()
    entry = START | {"env": {"VENICE_ADMIN_KEY": "${env:VENICE_ADMIN_KEY}"}}
    assert json.loads(text)["mcpServers"][NAME] == entry
    added = f', "{NAME}": {json.dumps(entry)}'
    assert text == OTHERS.replace('"\\u00e9"]}', f'"\\u00e9"]}}{added}')
    (backup,) = home.path.glob(".cursor/*.bak")
    assert (backup.read_bytes().decode(), mode_of(backup), mode_of(file)) == (OTHERS, 0o600, 0o640)
    assert str(backup) in home.out

    before = home.everything()
    assert home.install("cursor") == 0
    assert "nothing was changed" in home.out
    assert home.everything() == before

    assert home.install("cursor", "--remove") == 0
    assert file.read_bytes().decode() == OTHERS
    assert backup.read_bytes().decode() == text
    assert set(home.path.glob(".cursor/*")) == {file, backup}, "one copy, not one more each time"
    before = home.everything()
    assert home.install("cursor", "--remove") == 0
    assert "nothing was changed" in home.out
    assert home.everything() == before


def test_print_changes_nothing_and_shows_the_file_and_the_json(home: Home) -> None:
    for host in HOSTS:
        host_file = host.files(Machine(sys.platform, str(home.path), {}))[0]
        home.file(str(host_file.relative_to(home.path)), "" if host_file.suffix == ".toml" else "{}")
    before = home.everything()
    for host in HOSTS:
        assert home.install(host.name, "--print") == 0
        assert str(host.files(Machine(sys.platform, str(home.path), {}))[0]) in home.out
        text = "\n".join(line for line in home.out.splitlines() if not line.startswith("#"))
        content: Json = tomllib.loads(text) if host.name == "codex" else json.loads(text)
        assert NAME in content[host.within[0]]
    assert home.everything() == before


def test_a_new_file_is_for_its_owner_only(home: Home) -> None:
    (home.path / ".config" / "Claude").mkdir(parents=True)
    assert home.install("claude-desktop", "--sandbox") == 0
    (file,) = (home.path / ".config" / "Claude").iterdir()
    assert json.loads(file.read_text()) == {"mcpServers": {NAME: START | {"env": {"VENICE_MCP_SANDBOX": "1"}}}}
    assert mode_of(file) == 0o600


def test_vs_code_asks_for_the_key_itself_and_its_question_goes_with_the_entry(home: Home) -> None:
    text = '{\n\t"inputs": [\n\t\t{"id": "other", "type": "promptString"}\n\t],\n\t"servers": {}\n}'
    file = home.file(".config/Code/User/mcp.json", text)
    assert home.install("vscode") == 0
    content = json.loads(file.read_text())
    assert content["inputs"][0] == {"id": "other", "type": "promptString"}
    assert content["inputs"][1]["password"] is True
    env = content["servers"][NAME]["env"]
    assert env == {"VENICE_ADMIN_KEY": f"${{input:{content['inputs'][1]['id']}}}"}
    assert "VS Code asks for the ADMIN key" in home.out
    assert home.install("vscode") == 0
    assert "nothing was changed" in home.out
    assert home.install("vscode", "--remove") == 0
    assert file.read_text() == text


def test_what_a_person_added_to_the_entry_stays_and_the_way_to_the_key_changes(home: Home) -> None:
    mine = {
        "command": str(console_script(home.path / "old", SCRIPT)),
        "args": ["--policy", "p"],
        "disabled": True,
        "env": {"VENICE_MCP_POLICY": "q"},
    }
    file = home.file(".cursor/mcp.json", json.dumps({"mcpServers": {NAME: mine}}))

    def env_after(*words: str) -> Json:
        assert home.install("cursor", *words) == 0
        entry = json.loads(file.read_text())["mcpServers"][NAME]
        assert entry == {**START, "args": [*START["args"], "--policy", "p"], "disabled": True, "env": entry["env"]}
        assert entry["env"].pop("VENICE_MCP_POLICY") == "q"
        return entry["env"]

    key_file = home.key_file()
    assert env_after("--sandbox") == {"VENICE_MCP_SANDBOX": "1"}
    assert env_after() == {"VENICE_ADMIN_KEY": "${env:VENICE_ADMIN_KEY}"}
    assert env_after("--key-file", key_file) == {"VENICE_ADMIN_KEY_FILE": key_file}
    assert env_after() == {"VENICE_ADMIN_KEY_FILE": key_file}
    assert env_after("--sandbox") == {"VENICE_ADMIN_KEY_FILE": key_file, "VENICE_MCP_SANDBOX": "1"}


UNTOUCHED: dict[str, Callable[[Home], Path]] = {
    "not plain JSON": lambda home: home.file(".cursor/mcp.json", '{ // mine\n "mcpServers": {} }'),
    "trailing commas": lambda home: home.file(".cursor/mcp.json", '{"mcpServers": {},}'),
    "a name stands in it twice": lambda home: home.file(".cursor/mcp.json", '{"a": 1, "a": 2}'),
    "NaN is not JSON": lambda home: home.file(".cursor/mcp.json", '{"a": NaN}'),
    "no JSON object": lambda home: home.file(".cursor/mcp.json", "[]"),
    '"mcpServers" in it is not an object': lambda home: home.file(".cursor/mcp.json", '{"mcpServers": []}'),
    "not plain JSON (": lambda home: home.file(".cursor/mcp.json", '{"a":' * 100_000),
    "not UTF-8": lambda home: home.file(".cursor/mcp.json", b'{"a": "\xff"}'),
    "write-protected": lambda home: with_mode(home.file(".cursor/mcp.json", "{}"), 0o400),
    "several hard links": lambda home: linked(home.file(".cursor/mcp.json", "{}")),
    "everybody may write to its folder": lambda home: with_mode(home.file(".cursor/mcp.json", "{}"), 0o600, 0o777),
}


def with_mode(path: Path, mode: int, folder: int = 0o700) -> Path:
    path.chmod(mode)
    path.parent.chmod(folder)
    return path


def linked(path: Path) -> Path:
    os.link(path, path.with_name("second"))
    return path


@pytest.mark.parametrize("why", UNTOUCHED)
def test_a_file_that_cannot_be_edited_safely_is_left_alone_and_the_text_printed(home: Home, why: str) -> None:
    file = UNTOUCHED[why](home)
    before = (home.everything(), mode_of(file))
    assert home.install("cursor") == 1
    assert why in home.err
    assert str(file) in home.err
    assert json.loads(home.err[home.err.index("\n\n") :])["mcpServers"][NAME]["command"] == sys.executable
    assert (home.everything(), mode_of(file)) == before


def test_a_link_is_followed_and_stays_one(home: Home) -> None:
    real = home.file("dotfiles/cursor.json", OTHERS)
    link = home.path / ".cursor" / "mcp.json"
    link.parent.mkdir()
    link.symlink_to(real)
    assert home.install("cursor", "--sandbox") == 0
    assert link.is_symlink()
    assert NAME in json.loads(real.read_text())["mcpServers"]
    assert list(real.parent.iterdir()) == [real], "no copy in a folder that may be published"
    assert {file.name for file in link.parent.iterdir()} == {"mcp.json", "mcp.json.venice-mcp.bak"}


def test_links_that_lead_nowhere_in_a_circle_or_to_something_else_are_left_alone(home: Home) -> None:
    link = home.path / ".cursor" / "mcp.json"
    link.parent.mkdir()
    if sys.platform != "win32":  # where this module is skipped, which a type checker does not see
        os.mkfifo(home.path / "fifo")
    for target, why in (
        ("absent", "leads nowhere"),
        ("mcp.json", "link"),
        ("../fifo", "not a file"),
        ("..", "directory"),
    ):
        link.symlink_to(target)
        assert home.install("cursor", "--sandbox") == 1
        assert why in home.err
        assert link.is_symlink()
        link.unlink()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files away")
def test_nothing_of_another_user_is_written_not_even_through_a_link(home: Home) -> None:
    if sys.platform == "win32":
        return
    theirs = home.file("theirs/mcp.json", "{}")
    link = home.path / ".cursor" / "mcp.json"
    link.parent.mkdir()
    link.symlink_to(theirs)
    os.chown(theirs, 12345, 12345)
    assert home.install("cursor", "--sandbox") == 1
    assert "belongs to another user" in home.err
    os.chown(theirs, 0, 0)
    os.chown(theirs.parent, 12345, 12345)
    assert home.install("cursor", "--sandbox") == 1
    assert "its folder belongs to another user" in home.err
    assert theirs.read_text() == "{}"


def test_a_file_that_changed_meanwhile_is_not_overwritten(home: Home) -> None:
    file = home.file("mcp.json", "{}")
    config = configfile.read(file)
    file.write_text('{"new": 1}')
    with pytest.raises(configfile.Untouchable, match="another program changed it"):
        configfile.write(config, '{"ours": 1}')
    assert home.everything() == {file: b'{"new": 1}'}


OTHER_SERVERS: list[Json] = [
    {"command": "npx", "args": ["-y", "venice-mcp"]},
    {"command": "npx", "args": ["server-filesystem", "/home/me/venice-mcp"]},
    {"command": "docker", "args": ["run", "venice-mcp"]},
    {"command": "python", "args": ["-m", "other", "venice_mcp"]},
    {"command": "uvx", "args": ["--from", "venice-mcp", "other"]},
    {"command": "uvx", "args": ["--not-known", "venice-mcp", "other"]},
    {"command": "uv", "args": ["pip", "venice-mcp"]},
    {"command": "uvx", "args": ["--from", "git+https://github.com/someone/venice-images", "venice-mcp"]},
    {"command": "uvx", "args": ["--from", f"git+{HOMEPAGE}-images", "venice-mcp"]},
    {"command": "uvx", "args": ["--from", "venice-mcp @ https://example.com/a.whl", "venice-mcp"]},
    {"command": "uvx", "args": ["--from=other-pkg", "venice-mcp"]},
    {"command": "uvx", "args": ["--from", "venice-mcp", "--from", "other-pkg", "venice-mcp"]},
    {"command": "uvx", "args": ["--from", "", "venice-mcp"]},
    {"command": "uvx", "args": ["--from", "./venice-mcp", "venice-mcp"]},
    {"command": "uvx", "args": ["--from", "/opt", "venice-mcp"]},
    {"command": "uvx", "args": ["venice-mcp@git+https://x"]},
    {"command": "uvx", "args": ["venice-mcp-images"]},
    {"command": "uv", "args": ["tool", "run", "--from", "other-pkg", "venice-mcp"]},
    {"command": "uv", "args": ["run", "--with", "other-pkg", "venice-mcp"]},
    {"command": "uv", "args": ["--directory", "/opt", "run", "venice-mcp"]},
    {"command": "/opt/other/venice-mcp"},
    {"command": "bin/venice-mcp"},
    {"command": "C:\\other\\venice-mcp.exe"},
    {"command": "venice-mcp", "args": ["--model", "flux"]},
    {"command": "venice-mcp", "args": ["--policy"]},
    {"command": "venice-mcp", "args": ["--sandbox=flux"]},
    {"command": "venice-mcp", "args": ["--port", "1"]},
    {"command": "venice-mcp", "args": ["images"]},
    {"command": "venice-mcp", "args": ["doctor"]},
    {"command": "python", "args": ["-m", "venice_mcp", "--model", "flux"]},
    {"command": "venice-mcp", "args": [1]},
    {"command": "venice-mcp", "url": "https://example.com/mcp"},
    {"type": "http", "command": "venice-mcp"},
    {"url": "https://example.com/venice-mcp"},
]


@pytest.mark.parametrize("entry", OTHER_SERVERS, ids=str)
def test_another_server_of_that_name_is_never_touched(home: Home, entry: Json) -> None:
    home.file(".cursor/mcp.json", json.dumps({"mcpServers": {NAME: entry}}))
    before = home.everything()
    for words in ([], ["--print"], ["--remove"]):
        assert home.install("cursor", *words) == 1
        assert "another server called venice" in home.err
        assert (sys.executable in home.err) == (words != ["--remove"])
    assert home.everything() == before


@pytest.mark.parametrize(
    "words",
    [
        ["venice-mcp"],
        ["uvx", "venice-mcp@latest"],
        ["uvx", "venice-mcp@1.2.3"],
        ["uvx", "--from", f"git+{HOMEPAGE}", "venice-mcp"],
        ["uvx", "--from", f"git+{HOMEPAGE}.git@v1#egg=a", "venice-mcp"],
        ["uvx", "--from", f"venice-mcp[keyring] @ git+{HOMEPAGE}@main", "venice-mcp"],
        ["uvx", "--from=venice_mcp[keyring,chart]>=1,<2", "venice-mcp"],
        ["uvx", "-p", "3.12", "--from", str(ROOT), "venice-mcp"],
        ["uvx", "--from", f"venice-mcp[chart] @ {ROOT.as_uri()}", "venice-mcp"],
        ["/u/uv", "tool", "run", "--with=a", "venice-mcp[keyring]==1.0"],
        ["uv", "--directory", str(ROOT), "run", "--frozen", "venice-mcp"],
        ["uv", "run", "python", "-m", "venice_mcp"],
        ["python3.12", "-P", "-I", "-m", "venice_mcp"],
    ],
)
def test_an_entry_that_starts_this_server_is_known_and_its_arguments_are_the_servers(words: list[str]) -> None:
    assert own_arguments([*words, "--policy", "p"]) == ("--policy", "p")


def test_the_options_of_a_server_are_those_of_the_command_line() -> None:
    def options(parser: argparse.ArgumentParser) -> dict[str, bool]:
        found = {name: action.nargs != 0 for action in parser._actions for name in action.option_strings}  # pyright: ignore[reportPrivateUsage]
        return {name: valued for name, valued in found.items() if name not in ("-h", "--help", "--version")}

    root = cli.parser()
    (commands,) = (action.choices for action in root._actions if action.dest == "command")  # pyright: ignore[reportPrivateUsage]
    assert options(root) == SERVING
    assert options(cast("Json", commands)["serve"]) == OF_SERVE
    words = ("--log-level=info", "--sandbox", "serve", "--port", "0", "--http")
    assert own_arguments(["venice-mcp", *words]) == words


def test_a_program_is_ours_if_its_file_is_our_console_script(tmp_path: Path) -> None:
    path = console_script(tmp_path, SCRIPT)
    assert own_arguments([str(path), "--sandbox"]) == ("--sandbox",)
    link = tmp_path / "bin" / "venice-mcp"
    link.parent.mkdir()
    link.symlink_to(path)
    assert own_arguments([str(link)]) == ()
    windows = tmp_path / "venice-mcp.exe"
    windows.write_bytes(b"MZ\x90\0" + path.read_bytes())
    assert own_arguments([str(windows)]) == ()
    console_script(tmp_path, "from venice_images import main")
    assert own_arguments([str(path)]) is None
    path.write_text(SCRIPT)
    assert own_arguments([str(path)]) is None, "no script at all"
    console_script(tmp_path, SCRIPT + "\n#" + "x" * (1 << 20))
    assert own_arguments([str(path)]) is None, "no script of an installer"


@pytest.mark.parametrize("project", ["[project]\nname = 'venice-images'", "project = 1", "[", "\0", ""])
def test_a_folder_is_ours_if_its_project_is(tmp_path: Path, project: str) -> None:
    words = ["uvx", "--from", str(tmp_path), "venice-mcp"]
    assert own_arguments(words) is None
    (tmp_path / "pyproject.toml").write_text(project)
    assert own_arguments(words) is None
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'venice-mcp'")
    assert own_arguments(words) == ()


def test_a_host_that_is_not_there_is_said_not_to_be(home: Home) -> None:
    assert home.install("windsurf") == 1
    assert "Windsurf was not found here" in home.err
    assert home.everything() == {}


def test_without_a_host_they_are_listed_with_what_was_found(home: Home) -> None:
    home.file(".cursor/mcp.json", json.dumps({"mcpServers": {NAME: START}}))
    home.file(".codeium/windsurf/mcp_config.json", "{ // }")
    home.program("claude")
    assert home.install() == 0
    rows = {line.split(" | ")[0]: line.split(" | ")[2:] for line in home.out.splitlines()}
    assert set(rows) >= set(cli.HOSTS)
    assert rows["cursor"] == [str(home.path / ".cursor"), "installed"]
    assert rows["claude-code"] == [str(home.path / "bin" / "claude"), "-"]
    assert rows["windsurf"][1].startswith("unknown: it is not plain JSON")
    assert rows["vscode"] == ["not found", "-"]
    assert home.calls() == []


# --- the text of JSON -----------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
SPELLINGS = st.sampled_from([{}, {"indent": 2}, {"indent": "\t"}, {"indent": 0}, {"separators": (",", ":")}])


def shared(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    return next((at for at, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1), len(one))


@settings(deadline=None, max_examples=60)
@given(
    before=st.dictionaries(st.text(max_size=5), VALUES, max_size=4),
    servers=st.none() | st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
    after=st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
    spelling=SPELLINGS,
    ascii_only=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_json_keeps_its_members_order_and_bytes(
    before: Json, servers: Json | None, after: Json, spelling: Json, ascii_only: bool, line_end: str
) -> None:
    content = before | ({} if servers is None else {"mcpServers": servers}) | after
    expected = json.loads(json.dumps(content))
    if not isinstance(expected.setdefault("mcpServers", {}), dict):
        return
    text = json.dumps(content, ensure_ascii=ascii_only, **spelling).replace("\n", line_end)
    old = expected["mcpServers"].get(NAME)
    expected["mcpServers"][NAME] = START

    new = jsontext.put(text, ("mcpServers", NAME), START)

    assert json.dumps(jsontext.load(new)) == json.dumps(expected)
    if old is None:  # something was put in, and nothing else happened
        assert shared(text, new) + shared(text[::-1], new[::-1]) >= len(text)
    assert jsontext.put(new, ("mcpServers", NAME), START) == new
    del expected["mcpServers"][NAME]
    assert json.dumps(jsontext.load(jsontext.drop(new, ("mcpServers", NAME)))) == json.dumps(expected)


# --- command lines of hosts -----------------------------------------------------------------------


def test_claude_code_is_asked_through_its_own_command_which_gets_no_key_and_sees_no_project(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.path)
    monkeypatch.setenv("PWD", str(home.path))
    home.program("claude", WRITES_JSON)
    assert home.install("claude-code") == 0, home.err
    assert home.install("claude-code") == 0
    assert "nothing was changed" in home.out
    ((program, words, secrets, near),) = home.calls()
    assert [program, *words] == [
        "claude",
        *["mcp", "add", "--scope", "user", "venice", "--"],
        sys.executable,
        *START["args"],
    ]
    assert (secrets, near) == ([], ["/", "", ""])

    assert home.install("claude-code", "--sandbox") == 0, home.err
    assert [words[1] for _, words, *_ in home.calls()[1:]] == ["remove", "add"]
    assert "mcp remove --scope user venice" in home.out, "what is run is shown"
    copy = home.path / ".claude.json.venice-mcp.bak"
    assert NAME in json.loads(copy.read_text())["mcpServers"], "made before anything was run"
    assert home.install("claude-code", "--remove") == 0
    assert json.loads((home.path / ".claude.json").read_text()) == {"mcpServers": {}}
    assert home.install("claude-code", "--remove") == 0
    assert len(home.calls()) == 4


def test_the_old_entry_comes_back_when_claude_takes_no_new_one(home: Home) -> None:
    home.program("claude", WRITES_JSON)
    file = home.file(".claude.json", json.dumps({"a": 1, "mcpServers": {"b": {}, NAME: {"command": "venice-mcp"}}}))
    old = json.loads(file.read_text())
    home.file("broken", "add")
    assert home.install("claude-code", "--sandbox") == 1
    assert json.loads(file.read_text()) == old
    assert "was put back" in home.err
    home.file("broken", "remove")
    assert home.install("claude-code", "--sandbox") == 1
    assert json.loads(file.read_text()) == old
    assert f"{file} is as it was" in home.err


def test_what_a_program_did_is_told_whatever_it_says_itself(home: Home) -> None:
    home.program("claude", WRITES_JSON + "sys.exit(3)")
    assert home.install("claude-code") == 1
    assert "failed with status 3" in home.err
    assert "has the entry now" in home.err


def test_nothing_that_a_program_left_behind_can_write_later(home: Home) -> None:
    if sys.platform == "win32":
        return
    os.mkfifo(home.path / "alive")
    alive = os.open(home.path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    holding = "os.set_inheritable(os.open(home / 'alive', os.O_WRONLY), True)\n"
    child = "[sys.executable, '-c', 'import time; time.sleep(60)']"
    home.program("codex", f"{holding}subprocess.Popen({child}, close_fds=False)")
    assert home.install("codex") == 1
    assert "codex reported success" in home.err
    assert select.select([alive], [], [], 5)[0], "nobody has it open any more"
    os.close(alive)


def test_a_program_that_writes_without_end_is_ended(home: Home) -> None:
    home.program("codex", "while True: os.write(1, b'y' * 65536)")
    assert home.install("codex") == 1
    assert "wrote without end and was ended" in home.err
    assert "is as it was" in home.err


def test_an_interrupt_ends_the_program_and_tells_how_things_stand(home: Home) -> None:
    home.program("codex", f"import signal; os.kill({os.getpid()}, signal.SIGINT)\ntime.sleep(60)")
    assert home.install("codex") == 1
    assert "This was interrupted" in home.err
    assert "config.toml is as it was" in home.err


@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM", "SIGINT"])
def test_a_signal_between_remove_and_add_ends_the_program_and_the_old_entry_comes_back(home: Home, name: str) -> None:
    if sys.platform == "win32":
        return
    os.mkfifo(home.path / "alive")
    alive = os.open(home.path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    file = home.file(".claude.json", json.dumps({"a": 1, "mcpServers": {NAME: {"command": "venice-mcp"}}}))
    old = json.loads(file.read_text())
    hanging = f"""
if "add" in words:
    import signal
    held = os.open(home / "alive", os.O_WRONLY)
    os.kill({os.getpid()}, signal.{name})
    time.sleep(60)
"""
    home.program("claude", hanging + WRITES_JSON)
    number = signal.Signals[name]

    def unexpected(*_: object) -> None:
        pytest.fail("nobody took the signal")

    before = signal.signal(number, unexpected)
    try:
        assert home.install("claude-code", "--sandbox") == 1
        assert signal.getsignal(number) is unexpected, "as it was"
    finally:
        signal.signal(number, before)
    assert "This was interrupted" in home.err
    assert "was put back" in home.err
    assert json.loads(file.read_text()) == old
    assert select.select([alive], [], [], 5)[0], "nobody has it open any more"
    os.close(alive)


def test_a_signal_that_is_ignored_stays_ignored(home: Home) -> None:
    if sys.platform == "win32":
        return
    home.program("claude", f"import signal; os.kill({os.getpid()}, signal.SIGHUP)" + WRITES_JSON)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert home.install("claude-code", "--sandbox") == 0, home.err
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


NEIGHBOUR = {"github": {"command": "npx", "env": {"TOKEN": "$TOKEN"}}}


@pytest.mark.parametrize("words", [[], ["--sandbox"], ["--remove"]])
def test_gemini_never_writes_what_its_neighbours_refer_to(home: Home, words: list[str]) -> None:
    # gemini mcp add and remove (0.61.0, 2026-11-23) save the values of all variables that any entry refers to.
    home.program("gemini")
    file = home.file(".gemini/settings.json", json.dumps({"mcpServers": NEIGHBOUR | {NAME: {"command": "venice-mcp"}}}))
    assert home.install("gemini", *words) == 0, home.err
    servers = json.loads(file.read_text())["mcpServers"]
    assert servers["github"] == NEIGHBOUR["github"]
    assert "VENICE_ADMIN_KEY" not in servers.get(NAME, {}).get("env", {}), "which gemini would write in plain text"
    assert home.calls() == []


RECORDED = {
    "claude-code": (
        "claude mcp add --scope user venice --env VENICE_ADMIN_KEY_FILE=/k -- /v/venice-mcp --policy p",
        """{"mcpServers": {"github": {"type": "stdio", "command": "npx", "args": [], "env": {"TOKEN": "${TOKEN}"}},
        "venice": {"type": "stdio", "command": "/v/venice-mcp", "args": ["--policy", "p"],
        "env": {"VENICE_ADMIN_KEY_FILE": "/k"}}}, "migrationVersion": 13}""",
        "${TOKEN}",
    ),
    "codex": (
        "codex mcp add venice --env VENICE_ADMIN_KEY_FILE=/k -- /v/venice-mcp --policy p",
        """[mcp_servers.github]\ncommand = "npx"\n\n[mcp_servers.github.env]\nTOKEN = "$TOKEN"\n
[mcp_servers.venice]\ncommand = "/v/venice-mcp"\nargs = ["--policy", "p"]\n
[mcp_servers.venice.env]\nVENICE_ADMIN_KEY_FILE = "/k"\n""",
        "$TOKEN",
    ),
    "opencode": (
        "opencode mcp add venice --env VENICE_ADMIN_KEY_FILE=/k -- /v/venice-mcp --policy p",
        """{"$schema": "https://opencode.ai/config.json", "mcp": {"github": {"type": "local", "command": ["npx"],
        "environment": {"TOKEN": "{env:TOKEN}"}}, "venice": {"type": "local",
        "command": ["/v/venice-mcp", "--policy", "p"], "environment": {"VENICE_ADMIN_KEY_FILE": "/k"}}}}""",
        "{env:TOKEN}",
    ),
}
"""Command lines and what the file held then, of claude 2.1.197, codex 0.169.0 and opencode 1.18.33 on 2026-11-23.

TOKEN was in the environment, and a neighbour referred to it."""


@pytest.mark.parametrize("name", RECORDED)
def test_what_the_real_programs_wrote_is_what_was_wanted_and_a_reference_stays_one(home: Home, name: str) -> None:
    command, text, reference = RECORDED[name]
    host = host_named(name)
    assert host is not None
    start = Launch("/v/venice-mcp", ("--policy", "p"), "")
    entry = wanted(host, start, Choice(key_file=Path("/k")), None)
    assert [host.program, *host.adding(entry)] == command.split()
    machine = Machine(sys.platform, str(home.path), {})
    home.file(str(host.files(machine)[0].relative_to(home.path)), text)
    found = look(host, machine)
    assert isinstance(found.entry, dict)
    assert same(cast("Json", found.entry), entry)
    assert found.content is not None
    assert variables_of(found.content[host.within[0]]["github"]) == {"TOKEN": reference}


@pytest.mark.parametrize("name", ["codex", "opencode"])
def test_the_other_command_lines_get_the_words_that_they_document(home: Home, name: str) -> None:
    home.program(name)
    key_file = home.key_file()
    # These programs write nothing, and that is noticed.
    assert home.install(name, "--key-file", key_file) == 1
    assert f"{name} reported success" in home.err
    variable = f"VENICE_ADMIN_KEY_FILE={key_file}"
    words = ["mcp", "add", NAME, "--env", variable, "--", sys.executable, *START["args"]]
    assert [call[:2] for call in home.calls()] == [[name, words]]


@pytest.mark.parametrize("setting", ['env_vars = ["A"]', "tools = {a = {}}", "since = 2026-01-01"])
def test_settings_that_codex_would_drop_stop_it_and_only_what_is_ours_is_printed(home: Home, setting: str) -> None:
    home.program("codex")
    text = f'# mine\n[mcp_servers.venice]\ncommand = "venice-mcp"\n{setting}\n[mcp_servers.venice.env]\n"A.B"="x y"\n'
    file = home.file(".codex/config.toml", text)
    assert home.install("codex") == 1
    assert f"would drop ({setting.split()[0]})" in home.err
    assert f"stays as it is: A.B, {setting.split()[0]}." in home.err
    pasted = tomllib.loads(home.err.split("\n\n", 1)[1])
    assert pasted == {"mcp_servers": {NAME: START}}
    assert (file.read_text(), home.calls()) == (text, [])


def test_a_batch_file_is_said_to_be_one(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/npm/{name}.CMD")  # type: ignore[reportUnknownLambdaType]
    assert home.install("codex") == 1
    assert "codex is a batch file, which is not run" in home.err


def test_an_entry_that_a_host_spelled_without_empty_lists_is_the_same(home: Home) -> None:
    home.program("codex")
    words = ", ".join(f'"{word}"' for word in START["args"])
    home.file(
        ".codex/config.toml", f'[mcp_servers.venice]\ncommand = "{sys.executable}"\nargs = [{words}]\nenv = {{}}\n'
    )
    assert home.install("codex") == 0
    assert "nothing was changed" in home.out
    assert home.calls() == []


def test_a_program_that_fails_is_quoted_harmlessly_and_its_command_shown(home: Home) -> None:
    home.program("claude")
    home.file("broken")
    assert home.install("claude-code") == 1
    assert "failed with status 1: cannot write" in home.err
    assert "\x1b" not in home.err
    assert "x" * 43 not in home.err
    assert "mcp add --scope user venice" in home.err.splitlines()[-1]


def test_no_program_replaces_what_cannot_be_seen(home: Home) -> None:
    home.program("opencode")
    home.file(".config/opencode/opencode.jsonc", '{ // "venice"?\n}')
    assert home.install("opencode") == 1
    assert "it is not plain JSON" in home.err
    assert home.calls() == []


@pytest.mark.parametrize("name", ["claude-code", "codex", "opencode"])
def test_without_the_command_line_of_such_a_host_the_text_is_printed(home: Home, name: str) -> None:
    assert home.install(name) == 1
    assert "is not on PATH" in home.err
    assert sys.executable in home.err
    assert home.everything() == {}


def test_opencode_has_its_entry_taken_out_of_the_file(home: Home) -> None:
    entry = {"type": "local", "command": [sys.executable, "-E", "-P", "-m", "venice_mcp"]}
    file = home.file(".config/opencode/opencode.json", json.dumps({"mcp": {NAME: entry, "b": 1}}))
    assert home.install("opencode", "--remove") == 0
    assert file.read_text() == '{"mcp": {"b": 1}}'


# --- keys -----------------------------------------------------------------------------------------


def test_no_file_and_no_command_ever_holds_a_key(home: Home) -> None:
    for program in ("claude", "codex", "gemini", "opencode"):
        home.program(program)
    for host in HOSTS:
        place = host.files(Machine(sys.platform, str(home.path), {}))[0]
        home.file(str(place.relative_to(home.path)), "" if place.suffix == ".toml" else "{}")
        for words in ([], ["--print"], ["--sandbox"], ["--remove"]):
            home.install(host.name, *words)
    written = b"".join(home.everything().values())
    assert ADMIN_KEY.encode() not in written
    assert WALLET_KEY.encode() not in written
    assert all(secrets == [] for _, _, secrets, _ in home.calls())


def test_a_key_given_for_a_file_or_a_host_is_refused_and_not_shown(home: Home) -> None:
    assert home.install("cursor", "--key-file", ADMIN_KEY) == 2
    assert "revoke it" in home.err
    assert home.install("cursor", "--key-file", WALLET_KEY) == 2
    assert home.install(ADMIN_KEY) == 2
    assert "one of claude-code" in home.err


def test_a_key_file_that_is_not_there_is_told_how_to_be_made(home: Home) -> None:
    home.file(".cursor/mcp.json", "{}")
    assert home.install("cursor", "--key-file", "~/admin.key") == 1
    assert f"There is no file {home.path}/admin.key" in home.err
    assert "umask 077" in home.err


def test_a_key_file_that_others_may_read_is_warned_of(home: Home) -> None:
    home.file(".cursor/mcp.json", "{}")
    key_file = home.key_file()
    os.chmod(key_file, 0o644)
    assert home.install("cursor", "--key-file", key_file) == 0
    assert "WARNING: others may read that file" in home.out


def test_a_key_that_somebody_else_wrote_into_an_entry_is_warned_of_and_put_on_no_command_line(home: Home) -> None:
    env = {"VENICE_ADMIN_KEY": ADMIN_KEY, "VENICE_WALLET_PASSWORD": "hunter2"}
    held = json.dumps({"mcpServers": {NAME: {"command": "venice-mcp", "env": env}}})
    home.file(".cursor/mcp.json", held).chmod(0o644)
    home.file(".claude.json", held)
    home.program("claude", WRITES_JSON)
    assert home.install("cursor") == 0
    assert "WARNING: The entry holds in plain text: VENICE_ADMIN_KEY, VENICE_WALLET_PASSWORD." in home.out
    assert "as VENICE_ADMIN_KEY_FILE, VENICE_WALLET_PASSWORD_FILE instead" in home.out
    for words in ([], ["--key-file", home.key_file()]):
        assert home.install("claude-code", *words) == 1
        assert "would be seen on a command line" in home.err
        assert "hunter2" not in home.err
    assert "This goes: VENICE_ADMIN_KEY." in home.err
    assert home.calls() == []

    assert home.install("cursor", "--key-file", home.key_file()) == 0
    copy = home.path / ".cursor" / "mcp.json.venice-mcp.bak"
    assert f"{copy}\nIt still holds in plain text: VENICE_ADMIN_KEY, VENICE_WALLET_PASSWORD. Delete it" in home.out
    assert mode_of(copy) == 0o600
    assert ADMIN_KEY not in (home.path / ".cursor" / "mcp.json").read_text()


@pytest.mark.parametrize("value", ["corp-secret", "$corp-secret", "${A}corp-secret", "$CORPSECRET", 1, True])
def test_values_that_others_wrote_are_neither_shown_nor_changed(home: Home, value: object) -> None:
    home.program("claude", WRITES_JSON)
    more = {"VENICE_WALLET_KEY": "$corp-secret", "HTTPS_PROXY": "http://me:corp-secret@proxy"}
    for name, place, env, unknown in (
        ("claude-code", ".claude.json", {"TOKEN": value}, {}),
        ("cursor", ".cursor/mcp.json", {"TOKEN": value, **more}, {"b": "corp-secret"}),
    ):
        entry = {"command": "venice-mcp", "env": env, **unknown}
        file = home.file(place, json.dumps({"mcpServers": {NAME: entry}}))
        said = ""
        for words in (["--print"], ["--sandbox"]):
            home.install(name, *words)
            said += home.out + home.err
        assert "stays as it is" in said
        assert "corp-secret" not in said
        assert "CORPSECRET" not in said
        assert "TOKEN" in said
        after = json.loads(file.read_text())["mcpServers"][NAME]["env"]
        assert {name: after[name] for name in env} == env
    assert home.calls() == []


def test_an_argument_for_the_sandbox_is_kept_and_told(home: Home) -> None:
    entry = {"command": "venice-mcp", "args": ["--sandbox"], "env": {"VENICE_MCP_SANDBOX": "true"}}
    file = home.file(".cursor/mcp.json", json.dumps({"mcpServers": {NAME: entry}}))
    assert home.install("cursor", "--key-file", home.key_file()) == 0
    assert "Its own arguments were kept: --sandbox" in home.out
    assert "It runs on the built-in sandbox" in home.out
    assert "The key is read" not in home.out
    assert "VENICE_MCP_SANDBOX" not in json.loads(file.read_text())["mcpServers"][NAME]["env"]


def test_a_person_keeps_a_question_of_their_own_under_our_name(home: Home) -> None:
    file = home.file(".config/Code/User/mcp.json", '{"inputs": [{"id": "venice-admin-key", "type": "command"}]}')
    assert home.install("vscode") == 0
    assert home.install("vscode", "--remove") == 0
    assert json.loads(file.read_text())["inputs"] == [{"id": "venice-admin-key", "type": "command"}]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--key-file", " "], 2, "takes the path of a file"),
        (["--remove", "--key-file", "/nope"], 2, "takes neither"),
        (["--remove", "--sandbox"], 2, "takes neither"),
        (["--key-file", "~/empty"], 1, "There is nothing in"),
        (["--key-file", "~/\udcff"], 1, "not valid text"),
    ],
)
def test_what_makes_no_sense_is_refused(home: Home, words: list[str], status: int, said: str) -> None:
    home.file(".cursor/mcp.json", "{}")
    home.file("empty")
    before = home.everything()
    assert home.install("cursor", *words) == status
    assert said in home.err
    assert home.everything() == before


# --- the file itself ------------------------------------------------------------------------------


def test_a_large_file_that_is_a_hosts_own_is_read_and_its_old_one_is_preferred(home: Home) -> None:
    home.program("claude")
    large = json.dumps({"history": "x" * (9 << 20), "mcpServers": {NAME: START | {"type": "stdio"}}})
    home.file(".claude.json", large)
    assert home.install("claude-code") == 0
    assert "has it already" in home.out
    home.file(".claude/.config.json", "{}")
    assert home.install("claude-code", "--print") == 0
    assert "This would be run" in home.out


def test_a_folder_that_a_variable_names_by_a_relative_path_is_not_guessed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.program("codex")
    monkeypatch.setenv("CODEX_HOME", "here")
    assert home.install("codex") == 1
    assert "by a relative path" in home.err
    assert home.calls() == []


def test_claude_desktop_of_the_windows_store_has_its_own_place() -> None:
    host = host_named("claude-desktop")
    assert host is not None
    folder = PureWindowsPath("L:\\Packages\\Claude_x\\LocalCache\\Roaming\\Claude")
    asked: list[tuple[str, str]] = []

    def matching(inside: PurePath, pattern: str) -> list[PurePath]:
        asked.append((str(inside), pattern))
        return [folder]

    machine = Machine("win32", "C:\\h", {"LOCALAPPDATA": "L:\\"}, matching)
    assert [str(path.parent) for path in host.files(machine)] == [str(folder), "C:\\h\\AppData\\Roaming\\Claude"]
    assert asked == [("L:\\Packages", "Claude_*/LocalCache/Roaming/Claude")]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files away")
def test_a_file_keeps_its_group(home: Home) -> None:
    file = home.file(".cursor/mcp.json", "{}")
    if sys.platform != "win32":
        os.chown(file, -1, 12345)
    file.chmod(0o660)
    assert home.install("cursor", "--sandbox") == 0
    assert (file.stat().st_gid, mode_of(file)) == (12345, 0o660)


def test_a_full_disk_leaves_file_and_copy_as_they_were(home: Home) -> None:
    file = home.file(".cursor/mcp.json", OTHERS)
    assert home.install("cursor", "--sandbox") == 0
    before = home.everything()
    limited = "import resource, signal, sys, venice_mcp.installing.command, venice_mcp.cli as cli\n"
    limited += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
    limited += "sys.exit(cli.run(['install', 'cursor', '--remove']))"
    words = [sys.executable, "-B", "-c", limited]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    assert done.returncode == 1
    assert "cannot be written: File too large" in done.stderr
    assert home.everything() == before, file


def test_one_install_at_a_time(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    file = home.file(".cursor/mcp.json", "{}")
    monkeypatch.setattr(configfile, "_PATIENCE_S", 0)
    other = os.open(home.path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert home.install("cursor", "--sandbox") == 1
    assert "another venice-mcp install is at work" in home.err
    assert file.read_text() == "{}"
    os.close(other)
    assert home.install("cursor", "--sandbox") == 0
