"""The accounts a sandbox can start with: empty, a team of 25 keys, or 500 keys."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from venice_mcp.sandbox import traffic
from venice_mcp.sandbox.state import MAX_ACTIVE_KEYS, Account, Amount, Key, UsageEntry, new_secret
from venice_mcp.sandbox.traffic import Burst, Habit, Repeatable

SCENARIOS: tuple[str, ...] = ("empty", "demo", "large")
# Well-known test addresses of others may be funded one day; this one is no wallet anybody holds.
UNSTAKED_ADDRESS = "0x000000000000000000000000000000000000dead"
_SEED = 20_260_821


@dataclass(frozen=True)
class Member:
    """One key of the team; times are ages at the moment the scenario begins."""

    description: str | None
    caps: dict[str, Amount] = field(default_factory=dict[str, Amount])
    period: str = "EPOCH"
    privacy: str = "ALL"
    made: timedelta | None = timedelta(days=120)
    used: timedelta | None = None
    expires_in: timedelta | None = None
    api_key_type: str = "INFERENCE"
    ip_allowlist: tuple[str, ...] = ()


def _days(count: float) -> timedelta:
    return timedelta(days=count)


def _minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


_TEAM: tuple[Member, ...] = (
    Member("ci-pipeline", {"usd": 50}, "MONTH", made=_days(310), used=_minutes(4)),
    # The one before it was replaced, and never switched off.
    Member("ci-pipeline", {"usd": 20}, "MONTH", made=_days(540), used=_days(41)),
    Member("production-web", {"diem": 40}, "EPOCH", "PRIVATE_TEXT", _days(260), _minutes(2)),
    Member(
        "production-worker",
        {"usd": 400, "diem": 25},
        "MONTH",
        "PRIVATE_TEXT",
        _days(258),
        _minutes(6),
        ip_allowlist=("203.0.113.0/24", "2001:db8:40::/48"),
    ),
    Member("staging", {"usd": 5}, "EPOCH", made=_days(255), used=_minutes(95)),
    Member("research notebooks", {"diem": 10}, "EPOCH", "PRIVATE_ONLY", _days(180), _minutes(31)),
    Member("Priya laptop", made=_days(150), used=_minutes(52)),
    Member("Tomas laptop", made=_days(33)),
    Member("Mei laptop", {"usd": 15}, "MONTH", made=_days(330), used=_days(200)),
    Member("old prototype", made=_days(700), used=_days(412)),
    Member("hackathon 2025", {"usd": 0}, "LIFETIME", made=_days(240), used=_days(236)),
    Member("contractor - Duarte", {"usd": 100}, "LIFETIME", made=_days(87), used=_days(1.2), expires_in=_days(3)),
    Member("contractor - Ilse", {"usd": 40}, "MONTH", made=_days(30), used=_days(2), expires_in=_days(60)),
    Member("terraform", made=_days(255), used=_days(6), api_key_type="ADMIN"),
    Member("key rotation bot", made=_days(90), used=_minutes(200), api_key_type="ADMIN"),
    Member("break-glass", made=_days(255), api_key_type="ADMIN"),
    Member("ops dashboard", made=_days(255), used=_days(200), api_key_type="ADMIN"),
    Member("image service", {"usd": 30, "diem": 5}, "EPOCH", made=_days(140), used=_minutes(12)),
    Member("support chatbot", {"diem": 12}, "EPOCH", "PRIVATE_ONLY", _days(101), _minutes(3)),
    Member("eval harness", {"usd": 20}, "LIFETIME", made=_days(60), used=_minutes(140)),
    Member("batch embeddings", {"usd": 60}, "MONTH", "PRIVATE_TEXT", _days(75), _minutes(240)),
    Member("Web3 API Key", {"diem": 3}, "LIFETIME", made=_days(21), used=_days(9)),
    # From before descriptions and creation dates were kept.
    Member(None, {"vcu": 100}, "EPOCH", made=None, used=_days(500)),
)
# description, model, calls a day, currencies, size
_HABITS: tuple[tuple[str | None, str, float, tuple[str, ...], float], ...] = (
    ("ci-pipeline", "qwen3-coder-480b", 1.4, ("USD",), 300),
    ("production-web", "zai-org-glm-5-1", 3.0, ("DIEM", "DIEM", "USD"), 240),
    ("production-worker", "kimi-k2-6", 2.0, ("DIEM", "USD"), 900),
    ("staging", "llama-3.2-3b", 0.6, ("USD",), 3),
    ("research notebooks", "e2ee-gpt-oss-120b", 1.2, ("DIEM",), 700),
    ("Priya laptop", "gemini-3-6-flash", 0.8, ("BUNDLED_CREDITS", "USD"), 6),
    ("image service", "grok-imagine-image", 1.5, ("DIEM", "USD"), 5),
    ("support chatbot", "zai-org-glm-5-1", 2.5, ("DIEM",), 90),
    ("eval harness", "kimi-k2-6", 0.9, ("USD",), 500),
    ("batch embeddings", "text-embedding-bge-m3", 0.7, ("USD",), 2000),
    (None, "venice-sd35", 0.9, ("BUNDLED_CREDITS", "DIEM"), 4),
)
# Until the keys are made, a description stands for the id.
_BURSTS: tuple[Burst, ...] = (
    Burst("ci-pipeline", "qwen3-coder-480b", "RPM", 14, _minutes(360), 4.5),
    Burst("research notebooks", "e2ee-gpt-oss-120b", "TPM", 9, _minutes(1500), 11),
    Burst("batch embeddings", "text-embedding-bge-m3", "RPD", 8, _days(3), 240),
    Burst("staging", "endpoint:/api/v1/chat/completions", "FAILED_REQUESTS", 3, _days(5), 31),
    Burst("Mei laptop", "grok-imagine-image", "UNSUPPORTED_FEATURE_REQUESTS", 4, _days(204), 70),
    Burst("production-web", "zai-org-glm-5-1", "RPM", 1, _days(8), 0),
    Burst("support chatbot", "zai-org-glm-5-1", "TPM", 1, _days(11), 0),
)


def build(scenario: str, began_at: datetime, secrets_of_own: tuple[str, str]) -> Account:
    """A new account; `secrets_of_own` are the ADMIN and the INFERENCE key it is to be reached with.

    Raises:
        ValueError: the scenario is unknown.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"unknown scenario {scenario!r}; expected one of {', '.join(SCENARIOS)}")
    chance = Repeatable(_SEED)
    admin, inference = _own_keys(began_at, secrets_of_own, chance)
    members = {"empty": (), "demo": _TEAM, "large": _crowd(MAX_ACTIVE_KEYS - 2)}[scenario]
    keys = [_key(member, began_at, chance) for member in members]
    if scenario == "demo":
        keys = _with_shared_ending(keys)
    ids = {key.description: key.id for key in reversed(keys)}
    habits = _habits(scenario, ids)
    usage = traffic.bills(habits, began_at, chance)
    keys = [_seen_using(key, usage) for key in keys]
    account = Account(
        scenario=scenario,
        began_at=began_at,
        admin_secret=admin.secret,
        inference_secret=inference.secret,
        signing_key="",
        usd_balance=0.0 if scenario == "empty" else 412.75,
        diem_balance=None if scenario == "empty" else 61.5,
        diem_allocation=0.0 if scenario == "empty" else 100.0,
        keys={key.id: key for key in (admin, inference, *keys)},
        usage=usage,
        unstaked={UNSTAKED_ADDRESS},
    )
    if scenario == "demo":
        bursts = [replace(burst, key_id=ids[burst.key_id]) for burst in _BURSTS]
        account.hits = traffic.hits(bursts, began_at)
    return account


def _own_keys(began_at: datetime, own: tuple[str, str], chance: Repeatable) -> tuple[Key, Key]:
    admin = Member("venice-mcp sandbox admin", made=_days(14), api_key_type="ADMIN")
    inference = Member("venice-mcp sandbox inference", made=_days(14))
    return (
        replace(_key(admin, began_at, chance), secret=own[0]),
        replace(_key(inference, began_at, chance), secret=own[1]),
    )


def _crowd(count: int) -> tuple[Member, ...]:
    """Many keys, dull on purpose: what is tested with them is their number."""
    periods, privacies = ("EPOCH", "MONTH", "LIFETIME"), ("ALL", "PRIVATE_TEXT", "PRIVATE_ONLY")
    return tuple(
        Member(
            f"service {number:03d}",
            {} if number % 4 == 0 else {"usd": number % 90, "diem": number % 7},
            periods[number % 3],
            privacies[number % 5 % 3],
            _days(20 + number),
            None if number % 6 == 0 else _days(number % 19),
            _days(3 + number % 60) if number % 25 == 0 else None,
        )
        for number in range(1, count + 1)
    )


def _key(member: Member, began_at: datetime, chance: Repeatable) -> Key:
    return Key(
        id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        secret=new_secret(member.api_key_type, chance),
        api_key_type=member.api_key_type,
        description=member.description,
        caps=dict(member.caps),
        limit_period=member.period,
        model_privacy=member.privacy,
        created_at=None if member.made is None else began_at - member.made,
        expires_at=None if member.expires_in is None else began_at + member.expires_in,
        last_used_at=None if member.used is None else began_at - member.used,
        ip_allowlist=member.ip_allowlist,
    )


def _with_shared_ending(keys: Sequence[Key]) -> list[Key]:
    """Two keys alike in their last six characters: these characters identify nothing on their own."""
    ending = next(key.secret[-6:] for key in keys if key.description == "support chatbot")
    return [replace(key, secret=key.secret[:-6] + ending) if key.description == "Tomas laptop" else key for key in keys]


def _habits(scenario: str, ids: dict[str | None, str]) -> list[Habit]:
    if scenario == "demo":
        return [
            Habit(ids[name] if name else None, model, calls, currencies, size)
            for name, model, calls, currencies, size in _HABITS
        ]
    busy = [key_id for number, key_id in enumerate(ids.values()) if number % 50 == 1]
    return [Habit(key_id, "zai-org-glm-5-1", 1.0, ("DIEM", "USD")) for key_id in busy]


def _seen_using(key: Key, usage: Sequence[UsageEntry]) -> Key:
    """A key cannot have been used last before its newest bill."""
    billed = [entry.at for entry in usage if entry.key_id == key.id]
    if not billed or (key.last_used_at is not None and key.last_used_at >= billed[-1]):
        return key
    return replace(key, last_used_at=billed[-1])
