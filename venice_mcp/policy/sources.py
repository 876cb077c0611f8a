"""Which policies are in force: the operator's own, and whatever else was named to make it stricter."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from venice_mcp.policy.files import read
from venice_mcp.policy.places import PolicyError, absolute, operator_file
from venice_mcp.policy.rules import Policy, SecretRules, merged
from venice_mcp.text import quoted

FILE_VARIABLE = "VENICE_MCP_POLICY"
READ_ONLY_VARIABLE = "VENICE_MCP_READ_ONLY"
_ON, _OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
# What a bundle's host hands over for an option that was left empty. Whoever wrote any other one meant a restriction.
_PLACEHOLDER = re.compile(r"\$\{user_config\.[^}]*\}")
_STOPPED = Policy(read_only=True, secrets=(SecretRules(sinks=()),), how="terminal")
"""What is in force besides while a policy cannot be used: whatever it forbids, this forbids too."""


@dataclass(frozen=True)
class InForce:
    """The rules, and where they come from.

    Attributes:
        sources: the files and variables that have a say.
        problem: why nothing may be written, if so: a policy that cannot be used is never left out silently.
        notes: what else the operator should know.
    """

    policy: Policy = field(default_factory=Policy)
    sources: tuple[str, ...] = ()
    problem: str | None = None
    notes: tuple[str, ...] = ()


def in_force(env: Mapping[str, str], *, config_dir: Path | None = None, policy_file: Path | None = None) -> InForce:
    """The operator's file, made stricter by VENICE_MCP_POLICY, by `policy_file` and by VENICE_MCP_READ_ONLY.

    A project can set variables and flags, so those only ever take something away.
    """
    policy, sources, problems, notes = Policy(), list[str](), list[str](), list[str]()
    for path, trusted in _files(env, config_dir, policy_file):
        try:
            found = read(_checked(path), trusted=trusted)
        except PolicyError as error:
            problems.append(
                f"The policy {quoted(str(path), 200)} cannot be used: {error}. Mend it and restart the server;"
                " until then nothing is created, changed or revoked."
            )
            continue
        policy = found if trusted else merged(policy, found)
        sources.append(str(path))
    chosen = env.get(READ_ONLY_VARIABLE, "").strip().lower()
    if chosen not in _OFF and not _PLACEHOLDER.fullmatch(chosen):
        policy = merged(policy, Policy(read_only=True))
        sources.append(READ_ONLY_VARIABLE)
        if chosen not in _ON:
            notes.append(f"{READ_ONLY_VARIABLE} should be 1 or 0; what it is set to is taken for 1.")
    if problems:
        policy = merged(policy, _STOPPED)
    return InForce(policy, tuple(sources), " ".join(problems) or None, tuple(notes))


def _files(env: Mapping[str, str], config_dir: Path | None, policy_file: Path | None) -> list[tuple[Path | str, bool]]:
    """Every file with a say, and whether it is the operator's own. Only that one may be missing."""
    found: list[tuple[Path | str, bool]] = []
    own = operator_file(config_dir)
    if own is not None and _may_exist(own):
        found.append((own, True))
    named = env.get(FILE_VARIABLE, "").strip()
    if named and not _PLACEHOLDER.fullmatch(named):
        found.append((named, False))
    if policy_file is not None:
        found.append((str(policy_file), False))
    return found


def _may_exist(path: Path) -> bool:
    """False only when the system says that nothing is there; a link that leads nowhere is something."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _checked(path: Path | str) -> Path:
    """A path as it was typed, made absolute."""
    if isinstance(path, Path):
        return path
    return absolute(path) if path.startswith("~") else Path(os.path.abspath(path))
