"""The workflows of GitHub Actions, read as text: what they name exists, and they may do no more than they must.

They were checked with actionlint and never run; docs/PLATFORMS.md says so.
"""

import re
import tomllib
from pathlib import Path

import pytest

from scripts.release_notes import notes

ROOT = Path(__file__).parent.parent
FILES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / ".github" / "workflows").iterdir())}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
each_file = pytest.mark.parametrize("name", FILES)

# What a job is given besides reading, and why it needs that.
GRANTED = {
    "ci.yml": {},
    "release.yml": {
        "pypi": {"id-token": "write"},
        "github": {"contents": "write", "id-token": "write", "attestations": "write"},
    },
}


def jobs(text: str) -> dict[str, str]:
    """Every job's text by its name."""
    _, _, after = text.partition("\njobs:\n")
    names = list(re.finditer(r"^  ([a-z]+):\n", after, re.MULTILINE))
    ends = [*(each.start() for each in names[1:]), len(after)]
    return {each[1]: after[each.end() : end] for each, end in zip(names, ends, strict=True)}


def mapping(text: str, key: str, indent: int) -> dict[str, str] | None:
    """A mapping of words at that depth, without comments."""
    pad = " " * indent
    found = re.search(rf"^{pad}{key}:\n((?:{pad}  [a-z-]+: .+\n)+)", text, re.MULTILINE)
    return dict(re.findall(r"^ +([a-z-]+): (\w+)", found[1], re.MULTILINE)) if found else None


def test_the_two_workflows_are_ci_and_release() -> None:
    assert set(FILES) == set(GRANTED)


@each_file
def test_a_workflow_reads_and_only_named_jobs_may_do_more(name: str) -> None:
    text = FILES[name]
    assert mapping(text, "permissions", 0) == {"contents": "read"}
    granted = {job: mapping(body, "permissions", 4) for job, body in jobs(text).items()}
    assert {job: rights for job, rights in granted.items() if rights} == GRANTED[name]
    assert text.count("permissions:") == 1 + len(GRANTED[name])


@each_file
def test_no_secret_is_stored_and_no_token_is_left_in_a_checkout(name: str) -> None:
    text = FILES[name]
    assert not re.search(r"secrets\s*[.\[]|secrets: inherit|pull_request_target|password", text)
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


@each_file
def test_every_action_is_pinned_to_a_commit_with_its_release(name: str) -> None:
    used = re.findall(r"^ *(?:- )?uses: (.+)$", FILES[name], re.MULTILINE)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_an_action_is_pinned_to_one_commit_everywhere() -> None:
    pins = {tuple(pin) for text in FILES.values() for pin in re.findall(r"uses: ([\w./-]+)@(\w+)", text)}
    assert len(pins) == len({action for action, _ in pins})


@each_file
def test_every_job_is_bounded_and_runs_do_not_pile_up(name: str) -> None:
    found = jobs(FILES[name])
    assert found
    for job, body in found.items():
        assert re.search(r"^    timeout-minutes: [1-9][0-9]$", body, re.MULTILINE), job
    assert re.search(r"^concurrency:\n  group: ", FILES[name], re.MULTILINE)


@each_file
def test_what_outsiders_choose_is_never_pasted_into_a_script(name: str) -> None:
    for script in re.findall(r"^ *(?:- )?run: (\|\n(?: {10,}.+\n)+|.+\n)", FILES[name], re.MULTILINE):
        assert "${{" not in script, script


@each_file
def test_every_target_and_script_that_is_named_exists(name: str) -> None:
    targets = set(re.findall(r"\bmake ([a-z-]+) PYTHON", FILES[name]))
    assert targets
    assert targets <= set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    for script in re.findall(r"\bscripts/\w+\.py", FILES[name]):
        assert (ROOT / script).is_file(), script


def test_ci_runs_the_pythons_and_systems_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: 3."
    named = [each.removeprefix(prefix) for each in project["classifiers"] if each.startswith(prefix)]
    matrix = jobs(FILES["ci.yml"])["test"]
    pythons = ", ".join(f'"3.{minor}"' for minor in named)
    assert f"python: [{pythons}]" in matrix
    assert project["requires-python"] == f">=3.{named[0]}"
    systems = re.search(r"system: \[(.+)\]", matrix)
    assert systems is not None
    assert {each.strip().split("-")[0] for each in systems[1].split(",")} == {"ubuntu", "macos", "windows"}


def test_windows_runs_the_commands_of_make_test() -> None:
    recipe = re.search(r"^lint:.*?\n\n^test:.*?\n\n", MAKEFILE, re.MULTILINE | re.DOTALL)
    assert recipe is not None
    made = [line.replace("$(BIN)/", "").removesuffix(" $(ARGS)") for line in re.findall(r"^\t@(.+)$", recipe[0], re.M)]
    job = jobs(FILES["ci.yml"])["test"]
    there = [line.replace(".venv/Scripts/", "") for line in re.findall(r"^ {10}(\.venv/Scripts/.+)$", job, re.M)]
    assert there == made


def test_caches_hang_on_the_lock() -> None:
    text = FILES["ci.yml"]
    assert text.count("cache: pip") == text.count("cache-dependency-path: requirements.lock") == len(jobs(text))
    # What is published is not made of what another run left.
    assert not re.search(r"^ *cache:", FILES["release.yml"], re.MULTILINE)


# --- the notes of a release -----------------------------------------------------------------------

LOG = """# Changelog

## [Unreleased]

## [1.2.0] - 2026-11-18

### Added

- More.

## [1.1.0] - 2026-10-01

- Less.

[1.2.0]: https://example.test
"""


def test_a_release_has_the_notes_of_its_own_section() -> None:
    assert notes("v1.2.0", "1.2.0", LOG) == "### Added\n\n- More."
    assert notes("v1.1.0", "1.1.0", LOG) == "- Less."


@pytest.mark.parametrize(
    ("tag", "version", "problem"),
    [
        ("v1.2.1", "1.2.0", "the tag must be v1.2.0"),
        ("1.2.0", "1.2.0", "the tag must be v1.2.0"),
        ("v1.3.0", "1.3.0", "has no line"),
        ("v1x2.0", "1x2.0", "has no line"),
    ],
)
def test_a_tag_that_disagrees_with_version_or_changelog_makes_no_release(tag: str, version: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        notes(tag, version, LOG)


def test_a_section_that_says_nothing_makes_no_release() -> None:
    with pytest.raises(ValueError, match="says nothing"):
        notes("v1.0.0", "1.0.0", "## [1.0.0] - 2026-01-01\n\n## [0.9.0] - 2025-01-01\n\n- x\n")
