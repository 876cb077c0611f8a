"""The keys this server runs on: cutting it off takes a word of its own, which no other approval stands for."""

from pathlib import Path

import pytest

from tests.e2e.bench import CAPPED, ERAS, MADE, Json, Person, Typing, World, done, failed, operated, world
from tests.e2e.terminal import on_terminal
from tests.e2e.test_terminal import command_in

pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", ERAS)
OWN = {"ADMIN": "venice-mcp sandbox admin", "INFERENCE": "venice-mcp sandbox inference"}
owned = pytest.mark.parametrize("kind", OWN)
FIRST_LINE = "This would lock this server itself out. "
REVOKE, UPDATE = "venice_revoke_api_key", "venice_update_api_key"
CUTTING: dict[str, tuple[str, Json]] = {
    "revoked": (REVOKE, {}),
    "ended": (UPDATE, {"expires_in_days": 30}),
    "without USD": (UPDATE, {"consumption_limit": {"usd": 0}}),
    "without DIEM": (UPDATE, {"consumption_limit": {"diem": 0, "usd": 5}}),
    "held to addresses": (UPDATE, {"ip_allowlist": ["203.0.113.7"]}),
    "one of several": (UPDATE, {"description": "renamed", "expires_at": "2999-01-01"}),
}
NOT_THE_WORD: tuple[Json, ...] = (
    {"approve": True},
    {"word": "REVOKE"},
    {"word": "CHANGE"},
    {"word": "YES"},
    {"word": "LOCK OUT"},
    {"word": ""},
    {},
)


def narrow(folder: Path) -> World:
    """Whatever policy lets pass unasked, this is not among it."""
    return operated(folder, "[approval]\nnarrowing_unasked = true\n", scenario="empty")


@eras
@owned
@pytest.mark.parametrize("case", CUTTING)
async def test_cutting_this_server_off_takes_the_word_and_says_so_first(
    tmp_path: Path, case: str, kind: str, era: str
) -> None:
    venice, (tool, change), person = narrow(tmp_path), CUTTING[case], Person()
    before = venice.held()
    key_id = venice.id_of(OWN[kind])
    result = await venice.call(tool, {"key_id": key_id, **change}, era=era, person=person)
    (question,) = person.questions
    assert question.startswith(FIRST_LINE)
    assert OWN[kind] in question.splitlines()[0]
    assert "this server itself uses it" in question
    assert "Type LOCKOUT to approve." in question
    assert person.forms == [{"word"}]
    done(result)
    assert venice.held() != before
    assert sum(venice.written.values()) == 1


@eras
@owned
@pytest.mark.parametrize("case", ["revoked", "ended"])
async def test_no_tick_and_no_other_word_counts(tmp_path: Path, case: str, kind: str, era: str) -> None:
    venice, (tool, change) = narrow(tmp_path), CUTTING[case]
    before = venice.held()
    for content in NOT_THE_WORD:
        person = Typing(**content)
        said = failed(await venice.call(tool, {"key_id": venice.id_of(OWN[kind]), **change}, era=era, person=person))
        assert (content, len(person.questions)) == (content, 1)
        assert "Nothing was changed at Venice." in said
        venice.clock.advance(minutes=11)  # whoever said no is left alone for a while
    assert (venice.written, venice.held()) == ({}, before)


@owned
async def test_the_word_counts_in_any_case(tmp_path: Path, kind: str) -> None:
    venice = world(tmp_path, scenario="empty")
    done(await venice.call(REVOKE, {"key_id": venice.id_of(OWN[kind])}, person=Typing(word=" lockout ")))
    assert venice.described(OWN[kind]) == []


@owned
@pytest.mark.parametrize(
    "change",
    [{"description": "renamed"}, {"consumption_limit": {"usd": 5}}, {"model_privacy": "PRIVATE_ONLY"}],
    ids=str,
)
async def test_what_leaves_the_key_working_asks_for_the_usual_word(tmp_path: Path, kind: str, change: Json) -> None:
    """But it asks, although policy lets such a change of another key pass."""
    venice, person = narrow(tmp_path), Person()
    done(await venice.call(UPDATE, {"key_id": venice.id_of(OWN[kind]), **change}, person=person))
    (question,) = person.questions
    assert FIRST_LINE not in question
    assert "this server itself uses it" in question
    assert "Type CHANGE to approve." in question


async def test_another_key_of_the_same_kind_locks_nobody_out(tmp_path: Path) -> None:
    venice, person = world(tmp_path), Person("decline")
    for name in ("break-glass", "old prototype"):
        failed(await venice.call(REVOKE, {"key_id": venice.id_of(name)}, person=person))
    assert [("LOCKOUT" in each, FIRST_LINE in each) for each in person.questions] == [(False, False)] * 2


async def running_on_a_new_key(folder: Path) -> World:
    """A server that makes a key, and then is set up with it, while nobody acknowledged its secret."""
    first = world(folder, scenario="empty")
    secret = str(done(await first.call("venice_create_api_key", CAPPED))["api_key"])
    admin = first.sandbox.admin_key
    return world(folder, share=first, env={"VENICE_ADMIN_KEY": admin, "VENICE_API_KEY": secret})


@eras
async def test_recovery_takes_the_word_too(tmp_path: Path, era: str) -> None:
    venice = await running_on_a_new_key(tmp_path)
    key_id = venice.id_of(MADE)
    for content in NOT_THE_WORD[:2]:
        failed(await venice.call("venice_recover", {"revoke": key_id}, era=era, person=Typing(**content)))
        venice.clock.advance(minutes=11)
    assert venice.requests["deleteApiKey"] == 0
    person = Person()
    done(await venice.call("venice_recover", {"revoke": key_id}, era=era, person=person))
    (question,) = person.questions
    assert question.startswith(FIRST_LINE)
    assert "Type LOCKOUT to approve." in question
    assert (venice.described(MADE), venice.requests["deleteApiKey"]) == ([], 1)


@pytest.mark.parametrize(("typed", "status"), [("REVOKE\n", 1), ("YES\n", 1), ("LOCKOUT\n", 0)])
async def test_the_terminal_takes_the_word_too(tmp_path: Path, typed: str, status: int) -> None:
    venice = world(tmp_path)
    arguments: Json = {"key_id": venice.id_of(OWN["INFERENCE"])}
    said = failed(await venice.call(REVOKE, arguments, person=Person("cancel")))
    ended, screen = on_terminal(command_in(said), tmp_path, typed)
    assert (ended, FIRST_LINE in screen, "Type LOCKOUT to approve" in screen) == (status, True, True)
    result = await venice.call(REVOKE, arguments, person=Person("cancel"))
    assert result.is_error == bool(status)
    assert bool(venice.described(OWN["INFERENCE"])) == bool(status)
