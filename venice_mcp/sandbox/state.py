"""What the sandbox remembers: keys, usage, rate limit hits and the account that owns them."""

import string
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

SECRET_ALPHABET = string.ascii_letters + string.digits
SECRET_LENGTH = 32
MAX_ACTIVE_KEYS = 500
LOG_LENGTH = 50
# What can be wrong with a model.
STATES = ("offline", "at_capacity", "overloaded")

Amount = int | float


class Chooser(Protocol):
    """The one thing `random.Random` and `secrets` have in common that a secret needs."""

    def choice(self, seq: Sequence[str], /) -> str: ...


def new_secret(api_key_type: str, source: Chooser) -> str:
    """A secret nobody can take for a real one: the prefix says where it is from."""
    body = "".join(source.choice(SECRET_ALPHABET) for _ in range(SECRET_LENGTH))
    return f"VENICE_{api_key_type}_KEY_SANDBOX_{body}"


@dataclass(frozen=True)
class Key:
    id: str
    secret: str = field(repr=False)
    api_key_type: str
    description: str | None
    # Only caps that are set; a member left out is "no cap".
    caps: dict[str, Amount]
    limit_period: str
    model_privacy: str
    created_at: datetime | None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    ip_allowlist: tuple[str, ...] = ()

    def is_active(self, at: datetime) -> bool:
        return self.expires_at is None or self.expires_at > at


@dataclass(frozen=True)
class Inference:
    request_id: str
    prompt_tokens: int | None
    completion_tokens: int | None
    execution_ms: int | None


@dataclass(frozen=True)
class UsageEntry:
    """One line of the bill. `cost` is positive here; the API shows it as a negative amount."""

    at: datetime
    # None is the web app. The API's history never names a key; analytics and key usage do.
    key_id: str | None
    model_id: str
    part: str
    sku: str
    price_usd: float
    units: float
    # What analytics count: single tokens where the bill counts millions.
    quantity: int
    cost: float
    currency: str
    inference: Inference | None

    def moved(self, at: datetime) -> "UsageEntry":
        """The same at another time. A scenario moves hundreds, for which `replace` is four times too slow."""
        entry = object.__new__(UsageEntry)
        vars(entry).update(vars(self), at=at)
        return entry


@dataclass(frozen=True)
class LimitHit:
    api_key_id: str
    model_id: str
    kind: str
    at: datetime


@dataclass
class Conditions:
    """What stands in the way of calls besides balances. Scenarios and control routes set it."""

    # None: the account can consume whenever it has a balance.
    can_consume: bool | None = None
    access_permitted: bool = True
    subscription_active: bool = True
    api_access: bool = True
    # Ids of models to offline, at_capacity or overloaded; a model left out is online.
    models: dict[str, str] = field(default_factory=dict[str, str])
    # Ids of models to the limits (RPM, RPD, TPM) that differ from the usual ones.
    limits: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])

    @property
    def permitted(self) -> bool:
        return self.access_permitted and self.subscription_active and self.api_access


@dataclass
class Account:
    scenario: str
    # The scenario's times are relative to this moment, so its usage can be made again after a restart.
    began_at: datetime
    # The two secrets the sandbox tells whoever starts it. They are kept even after their keys were
    # deleted: a restart must not bring a deleted key back.
    admin_secret: str = field(repr=False)
    inference_secret: str = field(repr=False)
    signing_key: str = field(repr=False)
    usd_balance: float
    # None: the account stakes nothing, so it has no DIEM at all.
    diem_balance: float | None
    diem_allocation: float
    keys: dict[str, Key] = field(default_factory=dict[str, Key])
    usage: tuple[UsageEntry, ...] = ()
    # Those of `usage` that calls have made since; only they are stored.
    charged: list[UsageEntry] = field(default_factory=list[UsageEntry])
    # The start of the epoch that `diem_balance` is of; None is the one the scenario began in.
    diem_epoch: datetime | None = None
    conditions: Conditions = field(default_factory=Conditions)
    hits: list[LimitHit] = field(default_factory=list[LimitHit])
    unstaked: set[str] = field(default_factory=set[str])
    clock_offset_s: float = 0.0
    unsaved: bool = True

    def active(self, at: datetime) -> list[Key]:
        return [key for key in self.keys.values() if key.is_active(at)]

    def find(self, key_id: str, at: datetime) -> Key | None:
        key = self.keys.get(key_id)
        return key if key is not None and key.is_active(at) else None

    def holder(self, secret: str, at: datetime) -> Key | None:
        return next((key for key in self.active(at) if key.secret == secret), None)

    def put(self, key: Key) -> None:
        self.keys[key.id] = key
        self.unsaved = True

    def remove(self, key_id: str) -> None:
        del self.keys[key_id]
        self.unsaved = True

    def touch(self, key_id: str, at: datetime) -> None:
        self.put(replace(self.keys[key_id], last_used_at=at))

    def log(self, hit: LimitHit) -> None:
        """Newest first; the API keeps no more than it shows."""
        self.hits = [hit, *self.hits][:LOG_LENGTH]
        self.unsaved = True

    def begin_epoch(self, day: datetime) -> None:
        """Give the whole allocation again if the day is later than the one the balance is of."""
        if self.diem_balance is not None and day > (self.diem_epoch or self.began_at):
            self.diem_balance = self.diem_allocation
            self.diem_epoch = day
            self.unsaved = True

    def charge(self, entries: Sequence[UsageEntry]) -> None:
        """Enter what a call cost. What it costs beyond the balance is forgiven."""
        self.usage = (*self.usage, *entries)
        self.charged.extend(entries)
        for entry in entries:
            if entry.currency == "DIEM" and self.diem_balance is not None:
                self.diem_balance = max(0.0, round(self.diem_balance - entry.cost, 8))
            elif entry.currency == "USD":
                self.usd_balance = max(0.0, round(self.usd_balance - entry.cost, 8))
        self.unsaved = True

    def mark_unstaked(self, address: str) -> None:
        self.unstaked.add(address.lower())
        self.unsaved = True

    def advance(self, seconds: float) -> None:
        self.clock_offset_s += seconds
        self.unsaved = True
