"""Small teams without a care but one: each is what keeps the sandbox's own INFERENCE key from its work."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from venice_mcp.sandbox import moments
from venice_mcp.sandbox.members import Member, days, minutes
from venice_mcp.sandbox.state import Account, Conditions
from venice_mcp.sandbox.traffic import Habit

OWN_KEY = "venice-mcp sandbox inference"
MODEL = "zai-org-glm-5-1"
TEAM: tuple[Member, ...] = (
    Member("website", {"usd": 40, "diem": 20}, "MONTH", made=days(210), used=minutes(3)),
    Member("nightly reports", {"usd": 25}, "MONTH", made=days(160), used=minutes(400)),
    Member("search index", {"usd": 25}, "MONTH", "PRIVATE_TEXT", made=days(95), used=minutes(25)),
    Member("Amara laptop", {"usd": 10, "diem": 5}, "EPOCH", made=days(60), used=minutes(44)),
)
# description, model, calls a day, size. None is on the model that calls run into trouble with: what is counted
# against its limits are these calls alone.
_HABITS: tuple[tuple[str, str, float, float], ...] = (
    ("website", "kimi-k2-6", 4.0, 4),
    ("nightly reports", "qwen3-coder-480b", 1.0, 9),
    ("search index", "text-embedding-bge-m3", 2.0, 30),
    ("Amara laptop", "e2ee-gpt-oss-120b", 1.5, 3),
)


@dataclass(frozen=True)
class Trouble:
    """What is different from the healthy team: the own key, the balances, or what stands in the way of calls."""

    told: str
    key: Member = field(default_factory=lambda: Member(OWN_KEY))
    usd: float = 50.0
    # None: nothing is staked.
    diem: float | None = 20.0
    allocation: float = 20.0
    conditions: Conditions = field(default_factory=Conditions)

    def habits(self, ids: Mapping[str | None, str]) -> Sequence[Habit]:
        """What the team does, paid with DIEM where there is some: it goes first."""
        currency = "DIEM" if self.diem else "USD"
        return [Habit(ids[name], model, calls, (currency,), size) for name, model, calls, size in _HABITS]

    def befall(self, account: Account) -> None:
        today = moments.day_start(account.began_at)
        spent = sum(entry.cost for entry in account.usage if entry.currency == "DIEM" and entry.at >= today)
        account.usd_balance = self.usd
        account.diem_balance = None if self.diem is None else max(0.0, round(self.diem - spent, 8))
        account.diem_allocation = 0.0 if self.diem is None else self.allocation
        # The account changes its own, and the table is for ever.
        account.conditions = deepcopy(self.conditions)


def _key(caps: Mapping[str, float] | None = None, period: str = "EPOCH", privacy: str = "ALL") -> Member:
    return Member(OWN_KEY, dict(caps or {}), period, privacy)


def _limited(**limits: int) -> Conditions:
    return Conditions(limits={MODEL: limits})


TROUBLES: Mapping[str, Trouble] = {
    "healthy": Trouble("a small team and no trouble"),
    "rpm": Trouble(f"5 requests per minute to {MODEL}", conditions=_limited(RPM=5)),
    "tpm": Trouble(f"3000 tokens per minute to {MODEL}", conditions=_limited(TPM=3000)),
    "rpd": Trouble(f"8 requests per day to {MODEL}", conditions=_limited(RPD=8)),
    "abuse": Trouble("nothing yet; requests that fail get the key blocked"),
    "cap-usd": Trouble("the key may spend 0.01 USD a day, and there is no DIEM", _key({"usd": 0.01}), diem=None),
    "cap-diem": Trouble("the key may spend 0.01 DIEM a month, and there is no USD", _key({"diem": 0.01}, "MONTH"), 0.0),
    "cap-zero": Trouble("both caps of the key are 0", _key({"usd": 0, "diem": 0})),
    "no-balance": Trouble("no USD, and the DIEM of today is used up", usd=0.0, diem=0.0, allocation=5.0),
    "expired": Trouble("the key expires two minutes after the start", Member(OWN_KEY, expires_in=minutes(2))),
    "privacy": Trouble("the key is for private models only", _key(privacy="PRIVATE_ONLY")),
    "ip": Trouble("the key works from 203.0.113.0/24 only", Member(OWN_KEY, ip_allowlist=("203.0.113.0/24",))),
    "overload": Trouble(
        "one model overloaded, one at capacity, one offline",
        conditions=Conditions(models={MODEL: "overloaded", "kimi-k2-6": "at_capacity", "llama-3.2-3b": "offline"}),
    ),
}
