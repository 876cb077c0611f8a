"""The rules and the hook that docs/LEAKS.md hands out do what it says."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_bad_input import OLD_KEY, OTHER_KEY
from tests.test_harness import ROOT
from tests.test_leaks_patterns import NO_FINDINGS, NOTATIONS, bodies, found, prefixed
from venice_mcp.tools.scanning import PREVENTION

TEXT = (ROOT / "docs" / "LEAKS.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert match is not None
    return match[1]


RULES = {rule["id"]: rule for rule in tomllib.loads(block("toml"))["rules"]}
GITLEAKS = re.compile(RULES["venice-api-key"]["regex"])
ASSIGNED = re.compile(RULES["venice-api-key-assigned"]["regex"])


def test_the_rules_use_nothing_that_re2_lacks() -> None:
    for rule in RULES.values():
        assert not re.search(r"\(\?[=!<]|[+*?}]\+|\\[1-9]|\(\?P=", rule["regex"])


@given(key=prefixed, notation=st.sampled_from(sorted(NOTATIONS)))
def test_gitleaks_finds_whatever_the_scanner_finds_by_its_prefix(key: str, notation: str) -> None:
    text = NOTATIONS[notation].format(key)
    match = GITLEAKS.search(text)
    assert match is not None
    assert match[0] == key
    assert any(word in text.lower() for word in RULES["venice-api-key"]["keywords"])
    assert found(text)


@given(body=bodies, notation=st.sampled_from(["a shell", ".env", "JSON", "nested JSON", "a query"]))
def test_the_second_rule_finds_plain_assignments_of_old_keys(body: str, notation: str) -> None:
    match = ASSIGNED.search(NOTATIONS[notation].format(body))
    if notation in ("a shell", ".env", "JSON"):
        assert match is not None
        assert match[RULES["venice-api-key-assigned"]["secretGroup"]] == body


def test_the_same_expression_stands_in_every_rule_and_in_the_tool() -> None:
    assert re.findall(r're\.compile\(r"(.*?)"\)', block("python")) == [GITLEAKS.pattern]
    assert GITLEAKS.pattern in PREVENTION
    assert GITLEAKS.pattern.replace("(?:", "(") in block("sh")
    compile(block("python"), "venice_detector.py", "exec")


def test_short_placeholders_are_let_through_by_the_rule() -> None:
    for text in NO_FINDINGS:
        if "KEY_xxx" not in text and "_PLEASE" not in text and "EXAMPLE_" not in text and "KEY_abcdef" not in text:
            assert not GITLEAKS.search(text), text


@pytest.mark.parametrize(("content", "refused"), [(OTHER_KEY, True), ("VENICE_API_KEY=${KEY}", False)])
def test_the_hook_stops_a_commit_with_a_key_and_does_not_print_it(tmp_path: Path, content: str, refused: bool) -> None:
    git = shutil.which("git") or "git"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [git, "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env)

    run("init", "-q")
    hook = tmp_path / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(block("sh"))
    hook.chmod(0o755)
    (tmp_path / "settings.py").write_text(f"key = '{content}'\n")
    run("add", ".")
    done = run("commit", "-q", "-m", "one")
    assert (done.returncode != 0) == refused
    assert ("settings.py" in done.stderr) == refused
    assert OTHER_KEY not in done.stdout + done.stderr
    assert OLD_KEY not in done.stdout + done.stderr
