"""What each key has spent, added up from the account's usage entries."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from venice_mcp.sandbox import moments
from venice_mcp.sandbox.state import Key, UsageEntry

# Bundled credits count towards neither: key usage has no member for them.
_CURRENCIES = {"USD": "usd", "DIEM": "diem"}


@dataclass(frozen=True)
class KeyUsage:
    entries: dict[str, list[UsageEntry]]
    at: datetime

    def members(self, key: Key) -> dict[str, object]:
        """`usage`, and `currentPeriodUsage` for a key with caps. Their amounts are strings."""
        trailing = self.spent(key, self.at - timedelta(days=7))
        members: dict[str, object] = {"usage": {"trailingSevenDays": {**_text(trailing), "vcu": "0.0000"}}}
        if key.caps:
            members["currentPeriodUsage"] = _text(self.spent(key, moments.period_start(key.limit_period, self.at)))
        return members

    def spent(self, key: Key, since: datetime) -> dict[str, float]:
        total = {"usd": 0.0, "diem": 0.0}
        for entry in self.entries.get(key.id, []):
            if entry.currency in _CURRENCIES and since <= entry.at <= self.at:
                total[_CURRENCIES[entry.currency]] += entry.cost
        return total


def by_key(entries: Sequence[UsageEntry], at: datetime) -> KeyUsage:
    sorted_out: defaultdict[str, list[UsageEntry]] = defaultdict(list)
    for entry in entries:
        if entry.key_id is not None:
            sorted_out[entry.key_id].append(entry)
    return KeyUsage(sorted_out, at)


def _text(amounts: dict[str, float]) -> dict[str, str]:
    return {name: f"{amount:.4f}" for name, amount in amounts.items()}
