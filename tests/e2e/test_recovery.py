"""Recovery tells what is so: it closes nothing that may still happen, and takes nobody's word on what can be known."""

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.e2e.bench import (
    ADMIN_KEY,
    CAPPED,
    INFERENCE_KEY,
    KEYS,
    Forward,
    Hook,
    Json,
    Person,
    World,
    done,
    failed,
    text_of,
    world,
)

pytestmark = pytest.mark.anyio
CREATE, RECOVER = "venice_create_api_key", "venice_recover"


def losing(method: str, *, acting: bool) -> Hook:
    """The answer to every such request is lost, before or after Venice acted."""

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method != method:
            return await forward()
        if acting:
            await forward()
        raise httpx.ReadError("lost")

    return hook


async def recover(venice: World, **arguments: Any) -> Json:
    return done(await venice.call(RECOVER, arguments))


async def test_a_write_that_still_waits_for_its_turn_is_not_settled(tmp_path: Path) -> None:
    venice, go = world(tmp_path), anyio.Event()

    async def held(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "POST":
            await go.wait()
        return await forward()

    venice.edge.hook = held
    told: list[Json] = []
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(venice.call, CREATE, {**CAPPED, "description": f"waiting {number}"})
        while len(venice.app.critical.running) < 3:
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        venice.clock.advance(seconds=70)
        told.append(await recover(venice))
        assert "still under way" in text_of(await venice.call(RECOVER, {}))
        refused = failed(await venice.call(RECOVER, {"acknowledge": told[0]["open"][0]["name"]}))
        assert "still under way" in refused
        go.set()
    assert told[0]["settled"] == []
    assert len((await recover(venice))["open"]) == 3


async def test_news_after_a_matter_was_settled_opens_it_again(tmp_path: Path) -> None:
    venice = world(tmp_path)
    venice.edge.hook = losing("POST", acting=False)
    failed(await venice.call(CREATE, CAPPED))
    venice.edge.hook = None
    venice.clock.advance(seconds=61)
    assert len((await recover(venice))["settled"]) == 1
    (write,) = [entry.subject for entry in venice.app.store.trail.all() if entry.kind == "intended"]
    venice.app.store.journal.note(write, "made", {"id": "later", "last6": "abcdef"}, venice.clock())
    account = await venice.app.client.keys.account()
    assert [item.key_id for item in venice.app.store.journal.open_matters(account, venice.clock())] == ["later"]


async def test_nobodys_word_hides_a_key_whose_secret_is_lost(tmp_path: Path) -> None:
    venice = world(tmp_path)
    venice.edge.hook = losing("POST", acting=True)
    failed(await venice.call(CREATE, CAPPED))
    venice.edge.hook = None
    (item,) = (await recover(venice))["open"]
    said = failed(await venice.call(RECOVER, {"acknowledge": item["key_id"]}))
    assert "is lost" in said
    assert (await recover(venice))["open"] == [item]


async def test_a_matter_of_a_replaced_admin_key_is_still_found(tmp_path: Path) -> None:
    venice = world(tmp_path)
    key_id = done(await venice.call(CREATE, CAPPED))["id"]
    made = await venice.venice("POST", "/api_keys", json={"apiKeyType": "ADMIN", "description": "the next ADMIN key"})
    env = {"VENICE_ADMIN_KEY": made["data"]["apiKey"], "VENICE_API_KEY": INFERENCE_KEY}
    later = world(tmp_path, env=env, share=venice)
    assert key_id in text_of(await later.call("venice_status"))
    assert [item["key_id"] for item in (await recover(later))["open"]] == [key_id]
    assert "Revoked" in text_of(await later.call(RECOVER, {"revoke": key_id}))
    assert not (await recover(later))["open"]
    assert not done(await venice.call("venice_status"))["open_matters"]


async def test_what_was_done_is_told_although_the_rest_cannot_be_read(tmp_path: Path) -> None:
    venice = world(tmp_path)
    shown = done(await venice.call(CREATE, CAPPED))["id"]
    idle = venice.id_of("Mei laptop")

    async def blind(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "PATCH" or (request.method == "GET" and idle in request.url.path and venice.edge.writes):
            raise httpx.ReadError("lost")
        return await forward()

    venice.edge.sent.clear()
    venice.edge.hook = blind
    failed(await venice.call("venice_update_api_key", {"key_id": idle, "consumption_limit": {"usd": 3}}))
    result = await venice.call(RECOVER, {"revoke": shown})
    assert not result.is_error, text_of(result)
    assert f"Revoked {shown}" in text_of(result)
    assert "could not be looked into" in text_of(result)
    assert shown not in venice.held()


@pytest.mark.skipif(sys.platform == "win32", reason="secrets go into no file and no command there")
async def test_the_key_of_another_call_is_not_taken_for_the_lost_one(tmp_path: Path) -> None:
    venice = world(tmp_path)
    path = str(tmp_path / "good.key")
    started = False

    async def first_is_lost(request: httpx.Request, forward: Forward) -> httpx.Response:
        nonlocal started
        if request.method == "POST" and not started:
            started = True
            venice.edge.hook = None
            done(await venice.call(CREATE, {**CAPPED, "deliver_to": {"path": path}}))
            raise httpx.ReadError("lost")
        return await forward()

    venice.edge.hook = first_is_lost
    said = failed(await venice.call(CREATE, CAPPED))
    assert "The list of keys shows no new one." in said
    venice.clock.advance(seconds=61)
    found = await recover(venice)
    assert (len(found["settled"]), found["open"]) == (1, [])


@pytest.mark.skipif(sys.platform == "win32", reason="secrets go into no file and no command there")
async def test_a_secret_that_may_have_arrived_is_not_called_lost(tmp_path: Path) -> None:
    venice = world(tmp_path)
    path = tmp_path / "new.key"
    made = done(await venice.call(CREATE, {**CAPPED, "deliver_to": {"path": str(path)}}))
    # As if the process had died before it could note that, and somebody had moved the file since.
    journal, account = venice.app.store.journal, await venice.app.client.keys.account()
    intended = next(entry for entry in venice.app.store.trail.all() if entry.kind == "intended")
    data = {**json.loads(intended.data), "process": 2**22 - 1}
    journal.intend("KILL-ED22/1", account=account, data=data, now=venice.clock())
    journal.note("KILL-ED22/1", "made", {"id": made["id"], "last6": made["last6_chars"]}, venice.clock())
    path.unlink()
    venice.clock.advance(minutes=10)
    await venice.touch(made["id"])
    (item,) = (await recover(venice))["open"]
    assert "cannot be told" in item["what"]
    person = Person("decline")
    failed(await venice.call(RECOVER, {"revoke": made["id"]}, person=person))
    assert "whose secret is lost" not in person.questions[0]


async def test_a_server_that_runs_on_the_key_asks_for_its_own_word(tmp_path: Path) -> None:
    other = world(tmp_path, env={"VENICE_ADMIN_KEY": ADMIN_KEY})
    held = other.sandbox.keys()
    target = next(key["id"] for key in held if key["secret"] == INFERENCE_KEY)
    person = Person("cancel")
    failed(await other.call("venice_revoke_api_key", {"key_id": target}, person=person))
    assert "LOCKOUT" not in person.questions[0]
    (waiting,) = other.app.store.approvals.waiting(other.clock())
    other.app.store.approvals.settle(waiting.code, "granted", "approved on a terminal", other.clock())
    itself = world(tmp_path, env=KEYS, share=other)
    person = Person("cancel")
    failed(await itself.call("venice_revoke_api_key", {"key_id": target}, person=person))
    assert "LOCKOUT" in person.questions[0]
    assert itself.written == {}
