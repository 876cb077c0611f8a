"""The rules in force in short lines, as `venice_status` and `doctor` show them."""

import math
from collections.abc import Iterator

from venice_mcp.models.wire import WINDOWS
from venice_mcp.policy.rules import Allowance, KeyRules, Policy
from venice_mcp.text import exact, quoted

_SHOWN = 10


def summary(policy: Policy) -> list[str]:
    """One line for each kind of rule; empty when there are none."""
    lines: list[str] = []
    if policy.read_only:
        lines.append("Read only: nothing is created, changed or revoked")
    for tools in policy.tools:
        hidden = f", but not {_listed(tools.hide)}" if tools.hide else ""
        lines.append(f"Tools offered: {_listed(tools.offer)}{hidden}")
    lines += [f"Keys: {'; '.join(parts)}" for rules in policy.keys if (parts := list(_of_keys(rules)))]
    lines += _of_secrets(policy)
    if policy.how == "terminal":
        lines.append("Approvals are given on a terminal only")
    if policy.narrowing_unasked:
        lines.append("Changes that only narrow an INFERENCE key go unasked")
    return lines + [_of_allowance(each) for each in policy.allowances]


def _listed(values: tuple[str, ...]) -> str:
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return (", ".join(values[:_SHOWN]) or "none") + more


def _of_keys(rules: KeyRules) -> Iterator[str]:
    if rules.types is not None:
        yield f"only {_listed(rules.types)} may be made"
    if rules.require_caps:
        yield f"caps in {_listed(tuple(each.upper() for each in rules.require_caps))} required"
    for period, ceilings in rules.max_cap.items():
        most = " and ".join(f"{exact(value)} {currency.upper()}" for currency, value in ceilings.items())
        if most:
            yield f"caps of at most {most} {WINDOWS[period]}"
    if rules.max_days is not None:
        yield f"expiry within {exact(rules.max_days)} days required"
    if rules.description is not None:
        yield f"description matches {quoted(rules.description, 200)}"
    if rules.model_privacy is not None:
        yield f"model_privacy at most {rules.model_privacy}"


def _of_secrets(policy: Policy) -> Iterator[str]:
    for rules in policy.secrets:
        if rules.sinks is not None:
            yield f"New secrets go to: {_listed(rules.sinks)}"
    if policy.folders is not None:
        yield f"Files with secrets lie in: {_listed(tuple(quoted(each, 100) for each in policy.folders))}"
    if policy.commands:
        yield f"Commands for secrets: {_listed(tuple(policy.commands))}"


def _of_allowance(each: Allowance) -> str:
    most = [
        f"any {currency.upper()}" if math.isinf(value) else f"{exact(value)} {currency.upper()}"
        for currency, value in each.max_cap.items()
    ]
    described = f", description {quoted(each.description, 100)}" if each.description is not None else ""
    return (
        f"Unasked ({each.name}): {_listed(each.operations)} INFERENCE keys of at most {' and '.join(most)}"
        f" {WINDOWS[each.limit_period]}, expiring within {exact(each.max_days)} days{described},"
        f" secret to {_listed(each.sinks)}; at most {each.per_day} in 24 hours"
    )
