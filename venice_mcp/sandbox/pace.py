"""The limits of an account on each model, counted from what its calls were charged."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from venice_mcp.sandbox import moments
from venice_mcp.sandbox.catalogue import Model
from venice_mcp.sandbox.limits import unix
from venice_mcp.sandbox.state import Account, UsageEntry

KINDS = ("RPM", "RPD", "TPM")
_BY_TYPE = {"text": {"RPM": 150, "RPD": 30_000, "TPM": 1_000_000}, "embedding": {"RPM": 500}}
_OTHERS = {"RPM": 20, "RPD": 14_400}
_MINUTE = timedelta(seconds=60)


def limits_of(model: Model, account: Account) -> dict[str, int]:
    """RPM, RPD and TPM, as far as the model has them."""
    return _BY_TYPE.get(model.type, _OTHERS) | account.conditions.limits.get(model.id, {})


@dataclass(frozen=True)
class Budget:
    """One limit: reached when as much as it allows was used, so that the last call may go over it."""

    kind: str
    amount: int
    used: int
    # When something is used no longer; if the limit is reached, when it is below it again.
    frees_at: datetime

    @property
    def left(self) -> int:
        return max(0, self.amount - self.used)


class Pace:
    """What is left of a model's limits at one moment. Only calls that were answered count."""

    def __init__(self, account: Account, model: Model, at: datetime) -> None:
        self._at = at
        today = list(takewhile(lambda entry: entry.at >= moments.day_start(at), reversed(account.charged)))
        # A minute may reach back over midnight.
        minute = takewhile(lambda entry: at - entry.at < _MINUTE, reversed(account.charged))
        self._minute = [entry for entry in reversed(list(minute)) if entry.model_id == model.id]
        self._amounts = limits_of(model, account)
        calls_today = sum(_one_call(entry) for entry in today if entry.model_id == model.id)
        self._budgets = {budget.kind: budget for budget in self._counted(calls_today)}

    def _counted(self, calls_today: int) -> Iterator[Budget]:
        for kind, amount in self._amounts.items():
            if kind == "RPD":
                yield Budget(kind, amount, calls_today, moments.next_day(self._at))
            else:
                yield self._in_a_minute(kind, amount, _one_call if kind == "RPM" else _tokens)

    def _in_a_minute(self, kind: str, amount: int, size: Callable[[UsageEntry], int]) -> Budget:
        used = left = sum(map(size, self._minute))
        frees_at = self._at + _MINUTE
        for entry in self._minute:
            if left < min(amount, used):
                break
            left -= size(entry)
            frees_at = entry.at + _MINUTE
        return Budget(kind, amount, used, frees_at)

    @property
    def reached(self) -> Budget | None:
        """The limit that is reached; of several, the one that ends last."""
        spent = [budget for budget in self._budgets.values() if not budget.left]
        return max(spent, key=lambda budget: budget.frees_at, default=None)

    def headers(self) -> Mapping[str, str]:
        headers = {"x-ratelimit-type": "user"}
        counted = [self._budgets[kind] for kind in ("RPD", "RPM") if kind in self._budgets]
        if counted:
            # There is one header for two limits: the one with less left is the one that matters.
            requests = min(counted, key=lambda budget: budget.left)
            headers |= {
                "x-ratelimit-limit-requests": str(requests.amount),
                "x-ratelimit-remaining-requests": str(requests.left),
                "x-ratelimit-reset-requests": unix(requests.frees_at),
            }
        if tokens := self._budgets.get("TPM"):
            headers |= {
                "x-ratelimit-limit-tokens": str(tokens.amount),
                "x-ratelimit-remaining-tokens": str(tokens.left),
                # Seconds from now, unlike the reset of requests.
                "x-ratelimit-reset-tokens": str(math.ceil((tokens.frees_at - self._at).total_seconds())),
            }
        return headers


def _one_call(entry: UsageEntry) -> int:
    return int(entry.part == "Input")


def _tokens(entry: UsageEntry) -> int:
    return entry.quantity
