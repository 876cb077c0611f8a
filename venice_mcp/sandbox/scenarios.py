"""The accounts a sandbox can start with: empty, a team of 25 keys, 500 keys, or a small team with one trouble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache

from venice_mcp.sandbox import moments, traffic, troubles
from venice_mcp.sandbox.members import Member, days, key_of, minutes
from venice_mcp.sandbox.state import MAX_ACTIVE_KEYS, Account, Key, UsageEntry
from venice_mcp.sandbox.traffic import Burst, Habit, Repeatable
from venice_mcp.sandbox.troubles import TROUBLES

SCENARIOS: Mapping[str, str] = {
    "empty": "no keys but the two of the sandbox, no usage, no balance",
    "demo": "a team of 25 keys with usage, billing and limits that were hit",
    "large": "500 keys, as many as an account may have",
    **{name: trouble.told for name, trouble in TROUBLES.items()},
}
# Well-known test addresses of others may be funded one day; this one is no wallet anybody holds.
UNSTAKED_ADDRESS = "0x000000000000000000000000000000000000dead"
_SEED = 20_260_821
# Any moment in whole milliseconds would do: everything made up is moved from here to where an account begins.
_DRAWN_AT = datetime(2026, 8, 21, tzinfo=UTC)

_TEAM: tuple[Member, ...] = (
    Member("ci-pipeline", {"usd": 50}, "MONTH", made=days(310), used=minutes(4)),
    # The one before it was replaced, and never switched off.
    Member("ci-pipeline", {"usd": 20}, "MONTH", made=days(540), used=days(41)),
    Member("production-web", {"diem": 40}, "EPOCH", "PRIVATE_TEXT", days(260), minutes(2)),
    Member(
        "production-worker",
        {"usd": 400, "diem": 25},
        "MONTH",
        "PRIVATE_TEXT",
        days(258),
        minutes(6),
        ip_allowlist=("203.0.113.0/24", "2001:db8:40::/48"),
    ),
    Member("staging", {"usd": 5}, "EPOCH", made=days(255), used=minutes(95)),
    Member("research notebooks", {"diem": 10}, "EPOCH", "PRIVATE_ONLY", days(180), minutes(31)),
    Member("Priya laptop", made=days(150), used=minutes(52)),
    Member("Tomas laptop", made=days(33)),
    Member("Mei laptop", {"usd": 15}, "MONTH", made=days(330), used=days(200)),
    Member("old prototype", made=days(700), used=days(412)),
    Member("hackathon 2025", {"usd": 0}, "LIFETIME", made=days(240), used=days(236)),
    Member("contractor - Duarte", {"usd": 100}, "LIFETIME", made=days(87), used=days(1.2), expires_in=days(3)),
    Member("contractor - Ilse", {"usd": 40}, "MONTH", made=days(30), used=days(2), expires_in=days(60)),
    Member("terraform", made=days(255), used=days(6), api_key_type="ADMIN"),
    Member("key rotation bot", made=days(90), used=minutes(200), api_key_type="ADMIN"),
    Member("break-glass", made=days(255), api_key_type="ADMIN"),
    Member("ops dashboard", made=days(255), used=days(200), api_key_type="ADMIN"),
    Member("image service", {"usd": 30, "diem": 5}, "EPOCH", made=days(140), used=minutes(12)),
    Member("support chatbot", {"diem": 12}, "EPOCH", "PRIVATE_ONLY", days(101), minutes(3)),
    Member("eval harness", {"usd": 20}, "LIFETIME", made=days(60), used=minutes(140)),
    Member("batch embeddings", {"usd": 60}, "MONTH", "PRIVATE_TEXT", days(75), minutes(240)),
    Member("Web3 API Key", {"diem": 3}, "LIFETIME", made=days(21), used=days(9)),
    # From before descriptions and creation dates were kept.
    Member(None, {"vcu": 100}, "EPOCH", made=None, used=days(500)),
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
    Burst("ci-pipeline", "qwen3-coder-480b", "RPM", 14, minutes(360), 4.5),
    Burst("research notebooks", "e2ee-gpt-oss-120b", "TPM", 9, minutes(1500), 11),
    Burst("batch embeddings", "text-embedding-bge-m3", "RPD", 8, days(3), 240),
    Burst("staging", "endpoint:api/v1/chat/completions", "FAILED_REQUESTS", 3, days(5), 31),
    Burst("Mei laptop", "grok-imagine-image", "UNSUPPORTED_FEATURE_REQUESTS", 4, days(204), 70),
    Burst("production-web", "zai-org-glm-5-1", "RPM", 1, days(8), 0),
    Burst("support chatbot", "zai-org-glm-5-1", "TPM", 1, days(11), 0),
)


def build(scenario: str, began_at: datetime, secrets_of_own: tuple[str, str]) -> Account:
    """A new account; `secrets_of_own` are the ADMIN and the INFERENCE key it is to be reached with.

    Raises:
        ValueError: the scenario is unknown.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"unknown scenario {scenario!r}; expected one of {', '.join(SCENARIOS)}")
    drawn, trouble = _drawn(scenario), TROUBLES.get(scenario)
    shown = moments.as_shown(began_at)
    usage = tuple(entry.moved(shown - (_DRAWN_AT - entry.at)) for entry in drawn.usage)
    # The usage ascends, so that the newest bill of a key is the one that stays.
    billed = {entry.key_id: entry.at for entry in usage}
    admin, inference, *team = (_moved(key, began_at) for key in drawn.keys)
    admin, inference = (replace(key, secret=own) for key, own in zip((admin, inference), secrets_of_own, strict=True))
    account = Account(
        scenario=scenario,
        began_at=began_at,
        admin_secret=admin.secret,
        inference_secret=inference.secret,
        signing_key="",
        usd_balance=0.0 if scenario == "empty" else 412.75,
        diem_balance=None if scenario == "empty" else 61.5,
        diem_allocation=0.0 if scenario == "empty" else 100.0,
        keys={key.id: key for key in (admin, inference, *(_seen_using(key, billed.get(key.id)) for key in team))},
        usage=usage,
        unstaked={UNSTAKED_ADDRESS},
    )
    if scenario == "demo":
        ids = _ids(team)
        bursts = [replace(burst, key_id=ids[burst.key_id]) for burst in _BURSTS]
        account.hits = traffic.hits(bursts, began_at)
    if trouble:
        trouble.befall(account)
    return account


@dataclass(frozen=True)
class _Drawn:
    """What chance decides of a scenario that begins at `_DRAWN_AT`; the two keys of its own are the first."""

    keys: tuple[Key, ...]
    usage: tuple[UsageEntry, ...]


@cache
def _drawn(scenario: str) -> _Drawn:
    """Drawn once per process: it takes longer than all else that a sandbox begins with, and tests begin thousands."""
    chance = Repeatable(_SEED)
    trouble = TROUBLES.get(scenario)
    admin = Member("venice-mcp sandbox admin", made=days(14), api_key_type="ADMIN")
    inference = replace(trouble.key if trouble else Member(None), description=troubles.OWN_KEY, made=days(14))
    own = [key_of(member, _DRAWN_AT, chance) for member in (admin, inference)]
    team = [key_of(member, _DRAWN_AT, chance) for member in _members(scenario)]
    if scenario == "demo":
        team = _with_shared_ending(team)
    ids = _ids(team)
    habits = trouble.habits(ids) if trouble else _habits(scenario, ids)
    return _Drawn((*own, *team), traffic.bills(habits, _DRAWN_AT, chance))


def _members(scenario: str) -> Sequence[Member]:
    if scenario in TROUBLES:
        return troubles.TEAM
    if scenario == "large":
        return _crowd(MAX_ACTIVE_KEYS - 2)
    return _TEAM if scenario == "demo" else ()


def _ids(team: Sequence[Key]) -> dict[str | None, str]:
    """By description; of two keys that share one, the first."""
    return {key.description: key.id for key in reversed(team)}


def _moved(key: Key, began_at: datetime) -> Key:
    """A key drawn at `_DRAWN_AT` as that of an account that begins at another time."""

    def moved(at: datetime | None) -> datetime | None:
        return None if at is None else began_at - (_DRAWN_AT - at)

    return replace(
        key,
        caps=dict(key.caps),
        created_at=moved(key.created_at),
        expires_at=moved(key.expires_at),
        last_used_at=moved(key.last_used_at),
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
            days(20 + number),
            None if number % 6 == 0 else days(number % 19),
            days(3 + number % 60) if number % 25 == 0 else None,
        )
        for number in range(1, count + 1)
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


def _seen_using(key: Key, billed: datetime | None) -> Key:
    """A key cannot have been used last before its newest bill."""
    if billed is None or (key.last_used_at is not None and key.last_used_at >= billed):
        return key
    return replace(key, last_used_at=billed)
