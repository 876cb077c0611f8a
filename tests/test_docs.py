"""The documents tell the truth: what they name exists, what is generated is current, commands are accepted."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from venice_mcp import HOMEPAGE, __version__, cli
from venice_mcp.policy import document
from venice_mcp.policy.files import read
from venice_mcp.policy.summary import summary
from venice_mcp.tasks import TASKS
from venice_mcp.tools import TOOLS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SKILLS = sorted((ROOT / "skills").glob("*/SKILL.md"))
SLASH_COMMANDS = {task.name for task in TASKS}
KNOWLEDGE = [skill for skill in SKILLS if skill.parent.name not in SLASH_COMMANDS]
PAGES = [
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "skills").glob("**/*.md")),
]
MANIFEST: dict[str, Any] = json.loads((ROOT / "manifest.json").read_text(encoding="utf-8"))
TOOL_NAMES = {spec.name for spec in TOOLS}
ARGUMENTS = {name for spec in TOOLS for name in spec.arguments.model_fields}
# Not tools although they begin like one.
PACKAGE = {"venice_mcp"}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def of_page(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=of_page)
every_skill = pytest.mark.parametrize("skill", KNOWLEDGE, ids=of_page)


def test_a_file_that_is_named_with_its_version_has_this_one() -> None:
    assert re.findall(r"venice-mcp-(\S+)\.mcpb", text_of(README)) == [__version__]


# --- generated ------------------------------------------------------------------------------------


def test_generated_tables_and_the_manifest_are_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "docs.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun: .venv/bin/python scripts/docs.py"


def test_the_table_of_tools_says_which_of_them_ask_first() -> None:
    rows = dict(re.findall(r"^\| `(venice_\w+)` \|.*\| (yes|no) \|$", text_of(README), re.MULTILINE))
    assert set(rows) == TOOL_NAMES
    # The audit writes a file at most, and nothing at Venice.
    writing = {s.name for s in TOOLS if not s.read_only} - {"venice_audit_api_keys"}
    assert {name for name, asks in rows.items() if asks == "yes"} == writing


# --- names ----------------------------------------------------------------------------------------


@every_page
def test_every_tool_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"\bvenice_[a-z0-9]\w*", text_of(page)))
    # How keys begin, as gitleaks wants it spelled.
    assert named <= TOOL_NAMES | PACKAGE | {"venice_inference_key_", "venice_admin_key_"}


@every_page
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
    missing = [
        link
        for link in links
        if not link.startswith(("https://", "http://", "#")) and not (page.parent / link.split("#")[0]).is_file()
    ]
    assert missing == []


@every_page
def test_pages_are_plain_ascii_with_lines_that_can_be_read(page: Path) -> None:
    text = text_of(page)
    assert text.isascii()
    prose = [line for line in text.splitlines() if not line.startswith(("|", "description: "))]
    assert max(len(line) for line in prose) <= 120


@every_page
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)(?:[A-Z_]+=\S+ )?make ([a-z-]+)", text_of(page), re.MULTILINE))
    assert named <= targets


def test_every_module_has_its_place_in_the_contributors_table() -> None:
    table = text_of(ROOT / "CONTRIBUTING.md").split("## Layout")[1].split("Besides:")[0]
    first_cells = " ".join(re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE))
    named = {name.rstrip("/") for name in re.findall(r"`([^`]+)`", first_cells)}
    found = {
        path.stem
        for path in (ROOT / "venice_mcp").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and not path.stem.startswith("__")
    }
    assert named == found


# --- commands -------------------------------------------------------------------------------------


def shell_commands(text: str) -> Iterator[list[str]]:
    """The commands in shell blocks and in running text, as words."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            yield words[: words.index(">")] if ">" in words else words
    for code in re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)):
        if "venice-mcp" in code:
            yield shlex.split(code)


def json_commands(text: str) -> Iterator[list[str]]:
    for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL):
        content = json.loads(block)
        for server in (content.get("mcpServers") or content["servers"]).values():
            yield [server["command"], *server["args"]]


def our_arguments(words: list[str]) -> list[str] | None:
    """What follows `venice-mcp` where that is the program: first, or what uvx or another program runs."""
    program = next((at for at, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)), 0)
    for at, word in enumerate(words):
        if word != "venice-mcp" and not word.endswith("/bin/venice-mcp"):
            continue
        if at == program or "uvx" in words[:at]:
            return words[at + 1 :]
    return None


@every_page
def test_every_command_is_accepted_by_the_real_parser(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli.parser()
    for words in [*shell_commands(text_of(page)), *json_commands(text_of(page))]:
        arguments = our_arguments(words)
        if arguments is None:
            continue
        status: object = 0
        try:
            parser.parse_args(arguments)
        except SystemExit as end:  # --version and --help end like this too, with 0
            status = end.code
        assert status == 0, f"{' '.join(words)}: {capsys.readouterr().err}"


def test_the_readme_shows_enough_commands_for_that_to_mean_something() -> None:
    text = text_of(README)
    ours = [our_arguments(words) for words in shell_commands(text)]
    assert [] in ours, "serving on stdio"
    assert {arguments[0] for arguments in ours if arguments} >= {"approve", "doctor", "sandbox", "serve", "--sandbox"}
    assert len(list(json_commands(text))) == 3


# --- the policy -----------------------------------------------------------------------------------


def test_the_example_policy_is_the_one_on_the_page_and_says_something_about_everything(tmp_path: Path) -> None:
    example = text_of(ROOT / "docs" / "policy.example.toml")
    assert f"```toml\n{example}```\n" in text_of(ROOT / "docs" / "POLICY.md")
    copy = tmp_path / "policy.toml"
    copy.write_text(example)
    copy.chmod(0o600)
    policy = read(copy)
    assert policy.allowances
    assert policy.commands
    assert len(summary(policy)) >= 7


def test_the_policy_page_explains_every_member() -> None:
    page = text_of(ROOT / "docs" / "POLICY.md")
    for table, members in policy_members().items():
        for member in members:
            assert f"`{table}.{member}" in page or f"`{member}`" in page, f"{table}.{member}"


def policy_members() -> dict[str, set[str]]:
    """The members of every table of a policy file."""
    found: dict[str, set[str]] = {}
    for name, shape in vars(document).items():
        if isinstance(shape, type) and issubclass(shape, BaseModel) and name.startswith("_") and name != "_Table":
            found[name.strip("_").lower()] = set(shape.model_fields) - {
                "keys",
                "tools",
                "secrets",
                "network",
                "approval",
            }
    assert len(found) >= 8
    return found


# --- owner and version ----------------------------------------------------------------------------


def test_the_owner_is_the_same_everywhere() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    assert project["urls"]["Homepage"] == HOMEPAGE
    owner_and_name = HOMEPAGE.removeprefix("https://github.com/")
    assert f"mcp-name: io.github.{owner_and_name}" in text_of(README)
    everything = "\n".join([*map(text_of, PAGES), json.dumps(MANIFEST)])
    others = {"https://github.com/gitleaks/gitleaks"}
    assert set(re.findall(r"https://github\.com/[\w-]+/[\w-]+", everything)) - others == {HOMEPAGE}


def test_the_changelog_has_the_current_version() -> None:
    text = text_of(ROOT / "CHANGELOG.md")
    assert re.search(rf"^## \[{re.escape(__version__)}\]", text, re.MULTILINE)
    assert "## [Unreleased]" in text


# --- manifest.json --------------------------------------------------------------------------------


def test_the_manifest_lists_exactly_our_tools_and_version() -> None:
    assert [tool["name"] for tool in MANIFEST["tools"]] == [spec.name for spec in TOOLS]
    assert MANIFEST["version"] == __version__
    assert MANIFEST["manifest_version"] == "0.4"


def test_the_manifest_starts_the_server_with_settings_that_exist() -> None:
    server = MANIFEST["server"]
    assert server["type"] == "uv"
    assert (ROOT / server["entry_point"]).is_file()
    assert server["mcp_config"]["args"][-1] == "venice-mcp"
    documented = set(re.findall(r"^\| `(VENICE_\w+)` \|", text_of(README), re.MULTILINE))
    assert set(server["mcp_config"]["env"]) <= documented
    asked_for = {f"${{user_config.{name}}}" for name in MANIFEST["user_config"]}
    assert set(server["mcp_config"]["env"].values()) == asked_for


def test_the_manifest_keeps_keys_secret_and_needs_none() -> None:
    for name, option in MANIFEST["user_config"].items():
        assert option["required"] is False
        # Without a default, a host may hand over the placeholder itself.
        assert option["default"] in ("", False)
        assert option.get("sensitive", False) is name.endswith("_key")


# --- skills ---------------------------------------------------------------------------------------


def test_there_are_two_skills_and_a_slash_command_for_every_task() -> None:
    assert {skill.parent.name for skill in KNOWLEDGE} == {"venice-api-keys", "venice-limits"}
    assert {skill.parent.name for skill in SKILLS} == SLASH_COMMANDS | {skill.parent.name for skill in KNOWLEDGE}


@every_skill
def test_a_skill_has_portable_front_matter(skill: Path) -> None:
    _, front, _ = text_of(skill).split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in front.splitlines())
    assert set(fields) == {"name", "description"}
    assert fields["name"] == skill.parent.name
    assert 0 < len(fields["description"]) <= 1024
    assert not re.search(r"[<>]", fields["description"])


@pytest.mark.parametrize("page", sorted((ROOT / "skills").glob("**/*.md")), ids=of_page)
def test_a_skill_names_only_tools_and_arguments_that_exist(page: Path) -> None:
    named = set(re.findall(r"`([a-z][a-z0-9_]*)`", text_of(page)))
    assert named <= TOOL_NAMES | ARGUMENTS
    assert named & TOOL_NAMES or page.parent.name == "references"


@every_skill
def test_every_reference_of_a_skill_is_named_in_it(skill: Path) -> None:
    linked = set(re.findall(r"\]\((references/[^)]+)\)", text_of(skill)))
    assert linked == {f"references/{page.name}" for page in skill.parent.glob("references/*")}


@every_skill
def test_a_skill_is_short_and_repeats_no_schema(skill: Path) -> None:
    text = text_of(skill)
    assert len(text.splitlines()) < 150
    assert "```json" not in text
