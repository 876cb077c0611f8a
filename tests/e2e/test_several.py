"""Revoking and changing several keys, struck at every request: each key once, and what is told of it is true."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.bench import (
    ADMIN_KEY,
    BUSY,
    ERAS,
    IDLE,
    INFERENCE_KEY,
    MODERN,
    Forward,
    Json,
    Person,
    World,
    changed_nothing,
    done,
    failed,
    text_of,
    world,
)
from tests.e2e.striking import (
    FAULTS,
    FEW,
    Struck,
    alive,
    assert_accounted_for,
    key_made,
    quick_folder,
    to_the_end,
    trials,
)

pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", ERAS)
REVOKE, UPDATE = "venice_revoke_api_keys", "venice_update_api_keys"
tools = pytest.mark.parametrize("tool", [REVOKE, UPDATE])
CHANGE: Json = {"consumption_limit": {"usd": 2}, "expires_in_days": 30}
BYSTANDERS = {ADMIN_KEY, INFERENCE_KEY}


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as path:
        yield path


async def keys_in(venice: World, count: int = 3) -> list[Json]:
    return [await key_made(venice, f"service {number}") for number in range(count)]


def call_of(tool: str, keys: list[Json]) -> Json:
    return {"key_ids": [key["id"] for key in keys], **(CHANGE if tool == UPDATE else {})}


def assert_done(venice: World, tool: str, keys: list[Json]) -> None:
    """Each of the keys is gone, or changed as asked; nothing else was touched."""
    there = venice.held()
    if tool == REVOKE:
        assert {key["secret"] for key in there.values()} == BYSTANDERS
        return
    for key in keys:
        now = there[key["id"]]
        assert (now["caps"], now["description"]) == ({"usd": 2}, key["description"])
        assert now["expiresAt"] is not None
    assert len(there) == 2 + len(keys)


_methods: dict[str, dict[str, list[str]]] = {}


async def methods_of(tool: str) -> dict[str, list[str]]:
    """Those of all requests, by era, when nothing goes wrong."""
    for era in ERAS if tool not in _methods else ():
        with quick_folder() as folder:
            venice = world(folder, scenario="empty")
            await to_the_end(Struck(venice), tool, call_of(tool, await keys_in(venice, 2)), era=era)
            _methods.setdefault(tool, {})[era] = [request.method for request in venice.edge.sent]
    return _methods[tool]


@pytest.mark.parametrize("fault", FEW)
@tools
async def test_several_keys_struck_at_any_request_end_as_they_should(tool: str, fault: str) -> None:
    for at, era, last in trials(await methods_of(tool), fault, ("dark after acting",)):
        with quick_folder() as folder:
            venice = world(folder, scenario="empty")
            keys = await keys_in(venice, 2)
            struck = Struck(venice, FAULTS[fault], at)
            story = await to_the_end(struck, tool, call_of(tool, keys), era=era)
            assert struck.hit is not None
            assert_done(venice, tool, keys)
            await assert_accounted_for(struck, story, asking=last)


# --- the question ---------------------------------------------------------------------------------


@eras
async def test_the_question_lists_each_key_with_its_last_use(folder: Path, era: str) -> None:
    venice, person = world(folder), Person("decline")
    ids = [venice.id_of(IDLE), venice.id_of(BUSY), venice.id_of("old prototype")]
    failed(await venice.call(REVOKE, {"key_ids": ids}, era=era, person=person))
    (question,) = person.questions
    assert question.startswith("Revoke 3 keys?")
    lines = {key_id: line for key_id in ids for line in question.splitlines() if key_id in line}
    assert ["200 d ago" in lines[ids[0]], "1 h 35 min ago" in lines[ids[1]], "412 d ago" in lines[ids[2]]] == [True] * 3
    assert "it was used in the last 24 hours (1 of 3)" in question
    assert person.forms == [{"word"}]
    assert venice.edge.writes == []


@eras
async def test_the_question_shows_before_and_after_of_each_key(folder: Path, era: str) -> None:
    venice, person = world(folder), Person("decline")
    ids = [venice.id_of(IDLE), venice.id_of("image service")]
    failed(await venice.call(UPDATE, {"key_ids": ids, "consumption_limit": {"usd": 20}}, era=era, person=person))
    (question,) = person.questions
    assert f'"{IDLE}"' in question
    assert "USD cap 15 -> 20" in question
    assert "USD cap 30 -> 20" in question
    assert "USD cap is raised" in question
    assert venice.edge.writes == []


# --- what is told of it ---------------------------------------------------------------------------


@tools
async def test_one_key_that_is_refused_does_not_stop_the_others_and_can_be_tried_again(folder: Path, tool: str) -> None:
    venice, person = world(folder, scenario="empty"), Person()
    keys = await keys_in(venice)
    refusing = True

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        named = f"{request.url.query.decode()} {request.content.decode()}"
        if refusing and request.method != "GET" and keys[1]["id"] in named:
            return httpx.Response(400, json={"error": "not \u202ethis one"})
        return await forward()

    venice.edge.hook = hook
    result = await venice.call(tool, call_of(tool, keys), person=person)
    told = done(result)
    assert (told["finished"], told["done"], told["left"]) == (False, 2, 1)
    (row,) = [row for row in told["rows"] if row[4] == "failed"]
    assert (row[2], "not" in row[5], "\u202e" in row[5]) == (keys[1]["id"], True, False)
    assert "2 done" in text_of(result)
    refusing = False
    again = await venice.call(tool, call_of(tool, keys), person=person)
    assert (done(again)["finished"], done(again)["done"], len(person.questions)) == (True, 3, 1)
    assert_done(venice, tool, keys)
    # Nothing that was done was sent a second time.
    assert len(venice.edge.writes) == 4


@tools
async def test_after_three_failures_in_a_row_the_rest_is_not_tried(folder: Path, tool: str) -> None:
    venice, person = world(folder, scenario="empty"), Person()
    keys = await keys_in(venice, 5)

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        return await forward() if request.method == "GET" else httpx.Response(400, json={"error": "no"})

    venice.edge.hook = hook
    told = done(await venice.call(tool, call_of(tool, keys), person=person))
    assert (told["done"], told["left"], len(venice.edge.writes)) == (0, 5, 3)
    story = await to_the_end(Struck(venice), tool, call_of(tool, keys), person=person)
    assert (len(story.results), len(person.questions)) == (1, 1)
    assert_done(venice, tool, keys)


@eras
@tools
async def test_what_changed_between_two_calls_is_left_alone(folder: Path, tool: str, era: str) -> None:
    venice, person = world(folder, scenario="empty"), Person()
    keys = await keys_in(venice)
    struck = Struck(venice, FAULTS["429"], len((await methods_of(tool))[era]))
    assert done(await venice.call(tool, call_of(tool, keys), era=era, person=person))["done"] == 1
    await venice.venice("PATCH", "/api_keys", json={"id": keys[1]["id"], "description": "somebody else's now"})
    await venice.venice("DELETE", "/api_keys", params={"id": keys[2]["id"]})
    story = await to_the_end(struck, tool, call_of(tool, keys), era=era, person=person)
    states = {row[2]: row[4] for row in done(story.results[-1])["rows"]}
    gone = "done" if tool == REVOKE else "left alone"
    assert states == {keys[0]["id"]: "done", keys[1]["id"]: "left alone", keys[2]["id"]: gone}
    assert venice.held()[keys[1]["id"]]["caps"] == {"usd": 5}
    await assert_accounted_for(struck, story)


@eras
@tools
async def test_what_changed_while_the_question_was_open_is_asked_about_anew(folder: Path, tool: str, era: str) -> None:
    venice = world(folder, scenario="empty")
    keys = await keys_in(venice)

    async def change() -> None:
        await venice.venice("PATCH", "/api_keys", json={"id": keys[1]["id"], "description": "somebody else's now"})

    person = Person(meanwhile=change)
    await venice.call(tool, call_of(tool, keys), era=era, person=person)
    assert ["somebody else's now" in question for question in person.questions] == [False, True]
    (spent,) = [entry.subject for entry in venice.app.store.trail.all() if entry.kind == "spent"]
    assert spent in person.questions[1]


async def test_keys_that_are_so_already_are_left_alone_and_told(folder: Path) -> None:
    venice, person = world(folder, scenario="empty"), Person()
    keys = [*await keys_in(venice, 2), await key_made(venice, "already", consumptionLimit={"usd": 2})]
    change: Json = {"key_ids": [key["id"] for key in keys], "consumption_limit": {"usd": 2}}
    told = done(await venice.call(UPDATE, change, person=person))
    assert (told["done"], told["already"]) == (2, ["already"])
    assert "Set so already, and left alone: 1 key." in person.questions[0]
    nothing = done(await venice.call(UPDATE, change, person=person))
    assert (nothing["finished"], nothing["done"], len(person.questions)) == (True, 0, 1)
    assert venice.written == {"createApiKey": 3, "updateApiKey": 2}


# --- what is refused before anyone is asked -------------------------------------------------------


@eras
@tools
@pytest.mark.parametrize("which", ["own ADMIN", "own INFERENCE", "unknown", "twice", "too many", "none", "no id"])
async def test_some_lists_are_refused_before_anyone_is_asked(folder: Path, tool: str, which: str, era: str) -> None:
    venice, person = world(folder, scenario="empty"), Person()
    (key,) = await keys_in(venice, 1)
    works = alive(venice)
    more = {
        "own ADMIN": [works[ADMIN_KEY]["id"]],
        "own INFERENCE": [works[INFERENCE_KEY]["id"]],
        "unknown": ["00000000-0000-4000-8000-000000000000"],
        "twice": [str(key["id"]).upper()],
        "too many": [f"00000000-0000-4000-8000-{number:012d}" for number in range(100)],
        "no id": ["service 0"],
    }
    ids = [] if which == "none" else [key["id"], *more[which]]
    change = CHANGE if tool == UPDATE else {}
    said = failed(await venice.call(tool, {"key_ids": ids, **change}, era=era, person=person))
    assert said.startswith("key_ids")
    assert changed_nothing(said)
    assert (person.questions, venice.edge.writes) == ([], [])


async def test_another_list_is_another_plan_and_asks(folder: Path) -> None:
    venice, person = world(folder, scenario="empty"), Person()
    keys = await keys_in(venice)
    struck = Struck(venice, FAULTS["429"], len((await methods_of(REVOKE))[MODERN]))
    assert done(await venice.call(REVOKE, call_of(REVOKE, keys), person=person))["left"] == 2
    story = await to_the_end(struck, REVOKE, call_of(REVOKE, keys[1:]), person=Person())
    assert len(story.person.questions) == 1
    # The first plan is still there, and finds nothing left to do.
    assert (await to_the_end(struck, REVOKE, call_of(REVOKE, keys), person=person)).finished
    assert len(person.questions) == 1
    assert_done(venice, REVOKE, keys)
