"""How much care an answer needs: a typed word for what can hurt, a tick for what cannot."""

from pathlib import Path

import pytest
from mcp_types import ElicitResult

from tests.e2e.bench import MINT, Json, Person, World, failed, world

pytestmark = pytest.mark.anyio
SOON = "2027-06-30T00:00:00Z"
LATER = "2027-12-31T00:00:00Z"
PLAIN: Json = {"usd": 10}

# what the key is like, what is asked for, what the question must say
HIGH: dict[str, tuple[Json, Json, str]] = {
    "a cap raised": ({}, {"consumption_limit": {"usd": 10.5}}, "USD cap is raised"),
    "a cap removed": ({}, {"clear": ["usd_cap"]}, "USD cap is removed"),
    "one of two caps removed": (
        {"consumptionLimit": {"usd": 10, "diem": 3}},
        {"clear": ["diem_cap"]},
        "DIEM cap is removed",
    ),
    "a cap that resets daily instead of monthly": (
        {"limitPeriod": "MONTH"},
        {"limit_period": "EPOCH"},
        "the cap resets more often",
    ),
    "a lifetime cap that resets monthly": (
        {"limitPeriod": "LIFETIME"},
        {"limit_period": "MONTH"},
        "the cap resets more often",
    ),
    "a later expiry": ({"expiresAt": SOON}, {"expires_at": LATER}, "it lives longer"),
    "no expiry any more": ({"expiresAt": SOON}, {"clear": ["expires_at"]}, "it lives for ever"),
    "less private models": ({"modelPrivacy": "PRIVATE_ONLY"}, {"model_privacy": "PRIVATE_TEXT"}, "less private"),
    "any model": ({"modelPrivacy": "PRIVATE_TEXT"}, {"model_privacy": "ALL"}, "less private"),
    "more addresses": ({"ipAllowlist": ["203.0.113.0/28"]}, {"ip_allowlist": ["203.0.113.0/24"]}, "more addresses"),
    "another address": (
        {"ipAllowlist": ["203.0.113.7"]},
        {"ip_allowlist": ["203.0.113.7", "198.51.100.1"]},
        "more addresses",
    ),
    "every address": ({"ipAllowlist": ["203.0.113.7"]}, {"clear": ["ip_allowlist"]}, "every address"),
    "a cap of 0": ({}, {"consumption_limit": {"usd": 0}}, "USD cap of 0 blocks USD only; it may go on with DIEM"),
    "an expiry within a day": ({}, {"expires_in_days": 0.5}, "it expires within a day"),
    "a nearer expiry within a day": ({"expiresAt": SOON}, {"expires_in_days": 0.01}, "it expires within a day"),
    "narrowing one thing and widening another": (
        {},
        {"consumption_limit": {"usd": 1, "diem": 1}, "limit_period": "LIFETIME", "expires_in_days": 0.2},
        "it expires within a day",
    ),
}
LOW: dict[str, tuple[Json, Json]] = {
    "a lower cap": ({}, {"consumption_limit": {"usd": 9}}),
    "a cap where there was none": ({"consumptionLimit": {}}, {"consumption_limit": {"usd": 9}}),
    "a second cap": ({}, {"consumption_limit": {"diem": 9}}),
    "a cap that resets less often": ({"limitPeriod": "EPOCH"}, {"limit_period": "LIFETIME"}),
    "an earlier expiry": ({"expiresAt": LATER}, {"expires_at": SOON}),
    "an expiry where there was none": ({}, {"expires_at": SOON}),
    "more private models": ({"modelPrivacy": "ALL"}, {"model_privacy": "PRIVATE_ONLY"}),
    "fewer addresses": ({"ipAllowlist": ["203.0.113.0/24"]}, {"ip_allowlist": ["203.0.113.7"]}),
    "another name": ({}, {"description": "renamed"}),
}


@pytest.fixture(scope="module")
def venice(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world(tmp_path_factory.mktemp("risk"), scenario="empty", limits=False)


async def asked(venice: World, tool: str, arguments: Json) -> tuple[str, set[str]]:
    """The question and the fields of its form; the person says no."""
    person = Person("decline")
    venice.clock.advance(minutes=61)  # whoever said no is left alone for a while
    failed(await venice.call(tool, arguments, person=person))
    assert len(person.questions) == 1
    return person.questions[0], person.forms[0]


async def made(venice: World, settings: Json) -> str:
    body: Json = {"apiKeyType": "INFERENCE", "description": "idle", "consumptionLimit": PLAIN, **settings}
    return str((await venice.venice("POST", "/api_keys", json=body))["data"]["id"])


@pytest.mark.parametrize("case", HIGH)
async def test_widening_or_stopping_a_key_takes_a_typed_word(venice: World, case: str) -> None:
    settings, change, words = HIGH[case]
    question, form = await asked(venice, "venice_update_api_key", {"key_id": await made(venice, settings), **change})
    assert form == {"word"}
    (warning,) = [line for line in question.splitlines()[:3] if line.startswith("HIGH RISK: ")]
    assert words in warning
    assert "Type CHANGE to approve." in question


@pytest.mark.parametrize("case", LOW)
async def test_narrowing_an_idle_key_takes_a_tick(venice: World, case: str) -> None:
    settings, change = LOW[case]
    question, form = await asked(venice, "venice_update_api_key", {"key_id": await made(venice, settings), **change})
    assert form == {"approve"}
    assert "HIGH RISK" not in question


@pytest.mark.parametrize("change", [{"description": "renamed"}, {"consumption_limit": {"usd": 1}}], ids=str)
async def test_touching_a_key_used_in_the_last_day_takes_a_typed_word(venice: World, change: Json) -> None:
    key_id = await made(venice, {})
    await venice.touch(key_id)
    for tool, arguments in (("venice_update_api_key", change), ("venice_revoke_api_key", {})):
        question, form = await asked(venice, tool, {"key_id": key_id, **arguments})
        assert form == {"word"}
        assert "it was used in the last 24 hours" in question


async def test_a_use_longer_ago_than_a_day_is_no_risk(venice: World) -> None:
    key_id = await made(venice, {})
    await venice.touch(key_id)
    venice.clock.advance(hours=24, seconds=1)
    _, form = await asked(venice, "venice_revoke_api_key", {"key_id": key_id})
    assert form == {"approve"}


async def test_touching_an_admin_key_takes_a_typed_word(venice: World) -> None:
    key_id = await made(venice, {"apiKeyType": "ADMIN"})
    for tool, arguments in (("venice_update_api_key", {"description": "x"}), ("venice_revoke_api_key", {})):
        question, form = await asked(venice, tool, {"key_id": key_id, **arguments})
        assert form == {"word"}
        assert "it is an ADMIN key" in question


@pytest.mark.parametrize("tool", ["venice_create_api_key", MINT.tool])
async def test_a_new_key_takes_a_word_unless_it_is_capped_and_for_inference(venice: World, tool: str) -> None:
    word = "MINT" if tool == MINT.tool else "CREATE"
    cases: list[tuple[Json, set[str], str]] = [
        ({"consumption_limit": {"usd": 5}}, {"approve"}, ""),
        ({"consumption_limit": {"diem": 5}, "limit_period": "LIFETIME"}, {"approve"}, ""),
        ({}, {"word"}, "it has no spending cap"),
        ({"consumption_limit": {}}, {"word"}, "it has no spending cap"),
        ({"api_key_type": "ADMIN", "consumption_limit": {"usd": 5}}, {"word"}, "ADMIN key can do everything"),
    ]
    for settings, fields, words in cases:
        question, form = await asked(venice, tool, {"description": "new", **settings})
        assert (settings, form) == (settings, fields)
        assert words in question
        assert (f"Type {word} to approve." in question) == (fields == {"word"})


async def test_a_word_in_any_case_counts_and_a_longer_text_does_not(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="empty")
    for typed, yes in (("yes, CREATE", False), ("", False), ("CREATED", False), (" create ", True)):
        person = _Typing(typed)
        venice.clock.advance(minutes=61)
        result = await venice.call("venice_create_api_key", {"description": "new"}, person=person)
        assert (typed, not result.is_error) == (typed, yes)
    assert venice.written == {"createApiKey": 1}


class _Typing(Person):
    def __init__(self, typed: str) -> None:
        super().__init__()
        self._typed = typed

    async def __call__(self, context: object, params: object) -> ElicitResult:
        answer = await super().__call__(context, params)
        return answer.model_copy(update={"content": {"word": self._typed}})
