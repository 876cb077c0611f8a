"""The rules in force, as decisions read them: plain, frozen, and cheap to import.

Files are added up by keeping the rules of each: whatever is asked must pass all of them, so that the stricter wins
without anybody having to work out which one that is.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from venice_mcp.secrets.destinations import DestinationKind
from venice_mcp.secrets.sinks import Command, SinkLimits

KeyType = Literal["INFERENCE", "ADMIN"]
Period = Literal["EPOCH", "MONTH", "LIFETIME"]
Privacy = Literal["PRIVATE_ONLY", "PRIVATE_TEXT", "ALL"]
Currency = Literal["usd", "diem"]
Act = Literal["create", "mint", "revoke"]

CURRENCIES: tuple[Currency, ...] = ("usd", "diem")
PATH_KINDS = ("file", "dotenv", "csv", "json")
"""Destinations that stand in a folder."""


@dataclass(frozen=True)
class ToolRules:
    """Which tools are offered: shell patterns, and a tool that is hidden is not offered."""

    offer: tuple[str, ...] = ("*",)
    hide: tuple[str, ...] = ()

    def offers(self, tool: str) -> bool:
        return _matches(tool, self.offer) and not _matches(tool, self.hide)


@dataclass(frozen=True)
class KeyRules:
    """What a key may be and may be made to be. None and empty mean: no rule.

    Attributes:
        types: that may be created or minted.
        require_caps: currencies in which a key must have a cap.
        max_cap: ceilings per window and currency.
        max_days: the longest expiry from now.
        description: a regular expression that a whole description must match.
        model_privacy: the widest that may be given.
    """

    types: tuple[KeyType, ...] | None = None
    require_caps: tuple[Currency, ...] = ()
    max_cap: Mapping[Period, Mapping[Currency, float]] = field(
        default_factory=dict[Period, Mapping[Currency, float]],
    )
    max_days: float | None = None
    description: str | None = None
    model_privacy: Privacy | None = None


@dataclass(frozen=True)
class SecretRules:
    """Where new secrets may go. None means: no rule. Folders are absolute, with links followed."""

    sinks: tuple[DestinationKind, ...] | None = None
    folders: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Allowance:
    """Keys that may be made without asking anybody: INFERENCE keys only, within all of these.

    Attributes:
        name: what its budget is counted under.
        operations: what it covers; "revoke" only of keys made under this same allowance.
        max_cap: a currency left out must be capped at 0; infinity is any cap, or none.
        limit_period: the window the caps are for; one that resets less often will do as well.
        per_day: how many keys in any 24 hours.
    """

    name: str
    max_cap: Mapping[Currency, float]
    limit_period: Period
    max_days: float
    sinks: tuple[DestinationKind, ...]
    per_day: int
    operations: tuple[Act, ...] = ("create",)
    description: str | None = None


@dataclass(frozen=True)
class Policy:
    """All rules in force. The tuples hold one member per file, and every one must be met."""

    read_only: bool = False
    tools: tuple[ToolRules, ...] = ()
    keys: tuple[KeyRules, ...] = ()
    secrets: tuple[SecretRules, ...] = ()
    keyring_backends: tuple[str, ...] = ()
    commands: Mapping[str, Command] = field(default_factory=dict[str, Command])
    how: Literal["client", "terminal"] = "client"
    narrowing_unasked: bool = False
    allowances: tuple[Allowance, ...] = ()
    state_dir: Path | None = None
    proxy: str | None = None
    ca_file: Path | None = None

    def offers(self, tool: str) -> bool:
        """Whether a tool is there at all."""
        return all(rules.offers(tool) for rules in self.tools)

    def allows_sink(self, kind: str) -> bool:
        """Whether a new secret may go to this kind of place."""
        return all(rules.sinks is None or kind in rules.sinks for rules in self.secrets)

    @property
    def folders(self) -> tuple[str, ...] | None:
        """Where files with secrets must lie; None is anywhere. Of two lists, what lies within both is left."""
        left: tuple[str, ...] | None = None
        for rules in self.secrets:
            if rules.folders is None:
                continue
            if left is None:
                left = rules.folders
                continue
            both = [inner for one in left for other in rules.folders if (inner := _inner(one, other))]
            left = tuple(dict.fromkeys(both))
        return left

    @property
    def sink_limits(self) -> SinkLimits:
        """The same for those who deliver secrets."""
        return SinkLimits(folders=self.folders, commands=self.commands, keyring_backends=self.keyring_backends)


def merged(base: Policy, extra: Policy) -> Policy:
    """The stricter of both in everything. What only the operator's own file may say is taken from `base`.

    An `extra` that wants every approval given on a terminal takes back what `base` lets pass without asking.
    """
    strict = extra.how == "terminal"
    return replace(
        base,
        read_only=base.read_only or extra.read_only,
        tools=base.tools + extra.tools,
        keys=base.keys + extra.keys,
        secrets=base.secrets + extra.secrets,
        how="terminal" if strict else base.how,
        narrowing_unasked=base.narrowing_unasked and not strict,
        allowances=() if strict else base.allowances,
    )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def within(path: str, folder: str) -> bool:
    """Whether an absolute path is a folder or lies in it, by its name."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _inner(one: str, other: str) -> str | None:
    if within(one, other):
        return one
    return other if within(other, one) else None
