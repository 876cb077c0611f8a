"""venice_recover: whatever a lost answer or an interrupted call left open is found out, told as it is, and closed."""

import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, InputRequiredResult

from tests.e2e.bench import (
    CAPPED,
    CREATE,
    ERAS,
    IDLE,
    KEYS,
    LEGACY,
    MADE,
    MINT,
    MODERN,
    REVOKE,
    UPDATE,
    Forward,
    Json,
    Person,
    World,
    Write,
    begin,
    done,
    failed,
    text_of,
    world,
)

pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", ERAS)
makers = pytest.mark.parametrize("write", [CREATE, MINT], ids=["create", "mint"])
RECOVER = "venice_recover"
BODY: Json = {"apiKeyType": "INFERENCE", "description": MADE, "consumptionLimit": {"usd": 5}}


async def recover(venice: World, *, era: str = MODERN, person: Person | None = None, **arguments: Any) -> Json:
    return done(await venice.call(RECOVER, arguments, era=era, person=person))


async def one_open(venice: World, era: str = MODERN) -> Json:
    """The only matter that is open, found out by a call that settles nothing."""
    found = await recover(venice, era=era)
    assert found["settled"] == []
    (item,) = found["open"]
    return item


async def settled(venice: World, era: str = MODERN) -> str:
    """What a call has found out, after which nothing is open; a second one has nothing to tell."""
    found = await recover(venice, era=era)
    assert found["open"] == []
    (what,) = found["settled"]
    assert await recover(venice, era=era) == {"done": [], "settled": [], "open": [], "plans": []}
    assert (await status(venice))["open_matters"] == []
    assert venice.app.store.trail.verify().broken is None
    return str(what)


async def status(venice: World) -> Json:
    return done(await venice.call("venice_status"))


def ended_as(venice: World) -> str:
    """How the newest matter was settled, as the record has it."""
    entries = [entry for entry in venice.app.store.trail.all() if entry.kind == "settled"]
    return entries[-1].data


async def into_the_dark(venice: World, write: Write, *, arrives: bool = True, **more: Any) -> None:
    """The write is sent, its answer is lost, and Venice cannot be read afterwards; then it is back."""
    dark = False

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        nonlocal dark
        if dark:
            raise httpx.ConnectError("dark")
        if request.method == "GET":
            return await forward()
        dark = True
        if arrives:
            assert (await forward()).is_success
        raise httpx.ReadError("gone")

    venice.edge.hook = hook
    arguments = write.given(venice.id_of) | more
    said = failed(await venice.call(write.tool, arguments))
    assert "It is not known whether anything was changed at Venice." in said
    venice.edge.hook = None
    assert len((await status(venice))["open_matters"]) == 1


async def by_somebody_else(venice: World, **more: Any) -> str:
    return str((await venice.venice("POST", "/api_keys", json=BODY | more))["data"]["id"])


async def removed(venice: World, key_id: str) -> None:
    await venice.venice("DELETE", "/api_keys", params={"id": key_id})


# --- a key of which nothing was heard --------------------------------------------------------------


@eras
@makers
async def test_the_one_key_that_fits_is_found_and_can_be_revoked(tmp_path: Path, write: Write, era: str) -> None:
    venice, person = world(tmp_path, scenario="empty"), Person()
    await into_the_dark(venice, write)
    item = await one_open(venice, era)
    key_id = venice.id_of(MADE)
    assert item["key_id"] == key_id
    assert key_id in item["what"]
    assert "was not delivered and is lost." in item["what"]
    assert "Revoke it" in item["next_step"]
    assert "is lost" in failed(await venice.call(RECOVER, {"acknowledge": key_id}, era=era))
    assert await one_open(venice, era) == item
    found = await recover(venice, era=era, person=person, revoke=key_id)
    assert len(person.questions) == 1
    assert key_id in person.questions[0]
    assert (found["open"], venice.described(MADE)) == ([], [])
    assert f"Revoked {key_id}." in found["done"][0]
    assert '"as":"revoked"' in ended_as(venice)
    assert (await status(venice))["open_matters"] == []


@makers
async def test_of_several_keys_that_fit_none_is_taken_for_it(tmp_path: Path, write: Write) -> None:
    venice = world(tmp_path, scenario="empty")
    await into_the_dark(venice, write)
    mine, other = venice.id_of(MADE), await by_somebody_else(venice)
    for _ in range(2):
        item = await one_open(venice)
        assert "key_id" not in item or item["key_id"] is None
        assert "It may be one of these, or none" in item["what"]
        assert mine in item["what"]
        assert other in item["what"]
        venice.clock.advance(seconds=61)
    for key_id in (mine, other):
        failed(await venice.call(RECOVER, {"revoke": key_id}))
    assert venice.requests["deleteApiKey"] == 0
    done(await venice.call(REVOKE.tool, {"key_id": other}))
    assert (await one_open(venice))["key_id"] == mine


async def test_a_key_of_another_name_is_not_taken_for_it(tmp_path: Path) -> None:
    """It appeared meanwhile, so it is named; a person has to say that it is none of ours."""
    venice = world(tmp_path, scenario="empty")
    await into_the_dark(venice, CREATE, arrives=False)
    other = await by_somebody_else(venice, description="another")
    venice.clock.advance(seconds=61)
    item = await one_open(venice)
    assert other in item["what"]
    assert "acknowledge this entry" in item["next_step"]
    assert (await recover(venice, acknowledge=item["name"]))["open"] == []
    assert other in venice.held()


async def test_a_key_made_before_or_by_a_call_of_ours_is_not_taken_for_it(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="empty")
    await by_somebody_else(venice)
    await into_the_dark(venice, CREATE, arrives=False)
    ours = done(await venice.call(CREATE.tool, CAPPED))["id"]
    await recover(venice, acknowledge=ours)
    venice.clock.advance(seconds=61)
    assert "No such key was made." in await settled(venice)
    assert ours in venice.held()


@eras
async def test_a_key_that_was_not_made_is_settled_after_a_minute(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path, scenario="empty")
    await into_the_dark(venice, CREATE, arrives=False)
    (intended,) = [entry for entry in venice.app.store.trail.all() if entry.kind == "intended"]
    for seconds in (30, 59):
        venice.clock.at = datetime.fromisoformat(intended.at) + timedelta(seconds=seconds)
        item = await one_open(venice, era)
        assert "No such key is there yet." in item["what"]
        assert "in a minute" in item["next_step"]
        assert "No such key is there yet." in failed(await venice.call(RECOVER, {"acknowledge": item["name"]}, era=era))
    venice.clock.advance(seconds=1)
    assert "No such key was made." in await settled(venice, era)
    assert '"as":"not done"' in ended_as(venice)


async def test_a_key_that_takes_effect_late_is_found_nevertheless(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="empty")
    await into_the_dark(venice, CREATE, arrives=False)
    assert "No such key is there yet." in (await one_open(venice))["what"]
    venice.clock.advance(seconds=30)
    late = await by_somebody_else(venice)
    venice.clock.advance(seconds=61)
    assert (await one_open(venice))["key_id"] == late


@eras
async def test_a_wallets_key_that_is_not_there_may_be_elsewhere_and_takes_a_persons_word(
    tmp_path: Path, era: str
) -> None:
    venice = world(tmp_path, scenario="empty")
    await into_the_dark(venice, MINT, arrives=False)
    assert "No such key is there yet." in (await one_open(venice, era))["what"]
    venice.clock.advance(seconds=61)
    item = await one_open(venice, era)
    assert "it is gone, or belongs to another account" in item["what"]
    assert "acknowledge" in item["next_step"]
    found = await recover(venice, era=era, acknowledge=item["name"])
    assert (found["open"], found["settled"]) == ([], [])
    assert item["name"] in found["done"][0]


# --- a key that was made, and its secret ------------------------------------------------------------


async def undelivered(venice: World, folder: Path, write: Write = CREATE) -> str:
    """A key whose secret could not be saved, and which could not be revoked again either."""
    place = folder / "app"
    place.mkdir(mode=0o700)

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "DELETE":
            raise httpx.ConnectError("refused")
        response = await forward()
        if request.method == "POST":
            place.rename(folder / "moved")
        return response

    venice.edge.hook = hook
    arguments = {**write.arguments, "deliver_to": {"kind": "file", "path": str(place / "new.key")}}
    assert "Revoking it again failed too" in failed(await venice.call(write.tool, arguments))
    venice.edge.hook = None
    return venice.id_of(MADE)


@pytest.mark.skipif(sys.platform == "win32", reason="secrets go into no file and no command there")
@eras
@makers
async def test_a_key_whose_secret_reached_nobody_is_named_until_it_is_revoked(
    tmp_path: Path, write: Write, era: str
) -> None:
    venice = world(tmp_path, scenario="empty")
    key_id = await undelivered(venice, tmp_path, write)
    secret = str(venice.described(MADE)[0]["secret"])
    venice.clock.advance(days=30)
    item = await one_open(venice, era)
    assert item["key_id"] == key_id
    assert "Its secret was not delivered and is lost." in item["what"]
    result = await venice.call(RECOVER, {"revoke": key_id}, era=era)
    assert (done(result)["open"], venice.described(MADE)) == ([], [])
    assert secret not in result.model_dump_json()


@pytest.mark.skipif(sys.platform == "win32", reason="secrets go into no file and no command there")
@makers
@pytest.mark.parametrize(("kind", "era"), [("file", LEGACY), ("dotenv", MODERN)])
async def test_a_secret_that_is_where_it_should_be_is_found_there(
    tmp_path: Path, kind: str, write: Write, era: str
) -> None:
    """The record could not be written any more once the key was made, so it does not know."""
    venice = world(tmp_path, scenario="empty")
    place = {"kind": kind, "path": str(tmp_path / ".env")} | ({"variable": "KEY"} if kind == "dotenv" else {})
    await unrecorded(venice, write, place)
    assert venice.described(MADE)[0]["secret"] in (tmp_path / ".env").read_text()
    assert "It is still under way." in (await one_open(venice, era))["what"]
    venice.clock.advance(minutes=15)
    what = await settled(venice, era)
    assert "Its secret is in " in what
    assert venice.id_of(MADE) in what


async def unrecorded(venice: World, write: Write, place: Json) -> None:
    """A call that goes well, but for the record, which cannot be written from the moment the key exists."""

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward()
        if request.method == "POST":
            venice.state_dir.chmod(0o777)  # a folder that others may write to is not used
        return response

    venice.edge.hook = hook
    done(await venice.call(write.tool, {**write.arguments, "deliver_to": place}))
    venice.edge.hook = None
    venice.state_dir.chmod(0o700)


@pytest.mark.skipif(sys.platform == "win32", reason="secrets go into no file and no command there")
@pytest.mark.parametrize("kind", ["file", "dotenv"])
async def test_another_secret_in_its_place_does_not_count(tmp_path: Path, kind: str) -> None:
    venice = world(tmp_path, scenario="empty")
    place = {"kind": kind, "path": str(tmp_path / ".env")} | ({"variable": "KEY"} if kind == "dotenv" else {})
    await unrecorded(venice, CREATE, place)
    (tmp_path / ".env").write_text("KEY=VENICE_INFERENCE_KEY_of_somebody_else\n")
    venice.clock.advance(minutes=15)
    item = await one_open(venice)
    assert item["key_id"] == venice.id_of(MADE)
    assert "Its secret was not delivered and is lost." in item["what"]


async def displayed(venice: World, write: Write = CREATE) -> str:
    return str(done(await venice.call(write.tool, write.arguments))["id"])


@eras
@pytest.mark.parametrize("named", ["key", "entry"])
async def test_a_displayed_secret_is_open_until_it_is_acknowledged(tmp_path: Path, named: str, era: str) -> None:
    venice, person = world(tmp_path, scenario="empty"), Person()
    key_id = await displayed(venice)
    item = await one_open(venice, era)
    assert item["key_id"] == key_id
    assert "Its secret was displayed once; whether anybody stored it is not known." in item["what"]
    found = await recover(venice, era=era, person=person, acknowledge=key_id if named == "key" else item["name"])
    assert (found["open"], found["settled"], person.questions) == ([], [], [])
    assert key_id in venice.held()
    said = failed(await venice.call(RECOVER, {"acknowledge": key_id}, era=era))
    assert "nothing is open under that name" in said


@eras
async def test_a_displayed_secret_that_is_used_is_somebodys(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path, scenario="empty")
    key_id = await displayed(venice)
    venice.clock.advance(minutes=6)
    assert (await one_open(venice, era))["key_id"] == key_id
    await venice.touch(key_id)
    assert "The key is in use" in await settled(venice, era)
    assert key_id in venice.held()


@pytest.mark.parametrize("minutes", [-1, 4])
async def test_a_use_while_it_was_made_proves_nothing(tmp_path: Path, minutes: int) -> None:
    """Clocks differ, and a new key may have been tried by this server itself."""
    venice = world(tmp_path, scenario="empty")
    key_id = await displayed(venice)
    venice.clock.advance(minutes=minutes)
    await venice.touch(key_id)
    venice.clock.advance(minutes=10)
    assert "whether anybody stored it is not known" in (await one_open(venice))["what"]


@pytest.mark.parametrize("how", ["elsewhere", "venice_revoke_api_key", "venice_recover"])
async def test_a_displayed_key_that_is_gone_leaves_nothing_to_do(tmp_path: Path, how: str) -> None:
    venice = world(tmp_path, scenario="empty")
    key_id = await displayed(venice)
    if how == "elsewhere":
        await removed(venice, key_id)
        assert "The key is no longer there, so nothing is left to do." in await settled(venice)
        return
    done(await venice.call(how, {"revoke" if how == RECOVER else "key_id": key_id}))
    assert (await status(venice))["open_matters"] == []
    assert await recover(venice) == {"done": [], "settled": [], "open": [], "plans": []}


async def test_a_displayed_key_of_a_wallet_that_is_not_listed_stays_open(tmp_path: Path) -> None:
    """It may belong to another account than the one that is listed, so absence says nothing."""
    venice = world(tmp_path, scenario="empty")
    key_id = await displayed(venice, MINT)
    await removed(venice, key_id)
    assert "it is gone, or belongs to another account" in (await one_open(venice))["what"]
    assert (await recover(venice, acknowledge=key_id))["open"] == []


# --- changes and revocations ------------------------------------------------------------------------


@eras
async def test_a_change_that_was_done_is_told_as_done(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    await into_the_dark(venice, UPDATE)
    assert "It was done." in await settled(venice, era)
    assert '"as":"done"' in ended_as(venice)


@eras
async def test_a_change_that_was_not_done_is_told_so_after_a_minute(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    await into_the_dark(venice, UPDATE, arrives=False)
    item = await one_open(venice, era)
    assert "Not all of it shows yet." in item["what"]
    assert item["key_id"] == venice.id_of(IDLE)
    venice.clock.advance(seconds=61)
    assert "It was not done, or was changed again since." in await settled(venice, era)
    assert '"as":"not done"' in ended_as(venice)


async def test_a_change_of_addresses_that_venice_does_not_tell_is_neither_confirmed_nor_denied(tmp_path: Path) -> None:
    venice = world(tmp_path)
    await into_the_dark(venice, UPDATE, ip_allowlist=["203.0.113.0/24"])

    async def silent(_request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward()
        body = json.loads(await response.aread())
        if isinstance(body.get("data"), dict):
            body["data"].pop("ipAllowlist", None)
        return httpx.Response(response.status_code, json=body)

    venice.edge.hook = silent
    venice.clock.advance(seconds=61)
    item = await one_open(venice)
    assert "Venice does not say for which addresses the key is" in item["what"]
    venice.edge.hook = None
    assert "It was done." in await settled(venice)


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_change_of_a_key_that_is_gone_is_told_so(tmp_path: Path, arrives: bool) -> None:
    venice = world(tmp_path)
    key_id = venice.id_of(IDLE)
    await into_the_dark(venice, UPDATE, arrives=arrives)
    await removed(venice, key_id)
    assert "The key is no longer there." in await settled(venice)
    assert '"as":"gone"' in ended_as(venice)


@eras
async def test_a_revocation_that_was_done_is_told_as_done(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    await into_the_dark(venice, REVOKE)
    assert "It was done: the key is no longer there." in await settled(venice, era)


@eras
async def test_a_revocation_that_was_not_done_is_told_so_after_a_minute(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    key_id = venice.id_of(IDLE)
    await into_the_dark(venice, REVOKE, arrives=False)
    item = await one_open(venice, era)
    assert (item["key_id"], item["what"].endswith("The key is still there.")) == (key_id, True)
    # The matter is about a revocation, not about a new key: recovery has no other way to revoke it.
    failed(await venice.call(RECOVER, {"revoke": key_id}, era=era))
    venice.clock.advance(seconds=61)
    assert "It was not done: the key is still there." in await settled(venice, era)
    assert key_id in venice.held()


async def test_a_lost_revocation_of_an_orphan_closes_both_matters(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="empty")
    key_id = await displayed(venice)
    dark = False

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        nonlocal dark
        if dark:
            raise httpx.ConnectError("dark")
        if request.method == "DELETE":
            dark = True
            await forward()
            raise httpx.ReadError("gone")
        return await forward()

    venice.edge.hook = hook
    failed(await venice.call(RECOVER, {"revoke": key_id}))
    venice.edge.hook = None
    assert len((await status(venice))["open_matters"]) == 2
    found = await recover(venice)
    assert found["open"] == []
    assert await recover(venice) == {"done": [], "settled": [], "open": [], "plans": []}


# --- while Venice cannot be read ---------------------------------------------------------------------


@eras
async def test_while_venice_cannot_be_read_nothing_is_settled_and_everything_named(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path, scenario="empty")
    key_id = await displayed(venice)
    await into_dark_create(venice)
    entries = venice.app.store.trail.checkpoint()

    async def dark(request: httpx.Request, forward: Forward) -> httpx.Response:
        raise httpx.ConnectError("dark")

    venice.edge.hook = dark
    venice.clock.advance(minutes=5)
    found = await recover(venice, era=era)
    assert found["settled"] == []
    assert [item.get("key_id") for item in found["open"]] == [key_id, None]
    for item in found["open"]:
        assert "It could not be looked into: Venice could not be reached" in item["what"]
        assert "in a minute" in item["next_step"]
    assert venice.app.store.trail.checkpoint() == entries
    venice.edge.hook = None
    after = await recover(venice, era=era)
    assert (len(after["settled"]), len(after["open"])) == (1, 1)


async def into_dark_create(venice: World) -> None:
    """As `into_the_dark`, with another matter open before."""

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method != "GET":
            raise httpx.ReadError("gone")
        return await forward()

    venice.edge.hook = hook
    failed(await venice.call(CREATE.tool, {**CAPPED, "description": "another"}))
    venice.edge.hook = None


# --- other keys of this server -----------------------------------------------------------------------


async def another_admin_key(venice: World, folder: Path, **env: str) -> World:
    """A server with the same record, and another ADMIN key of the same account."""
    made = await venice.venice("POST", "/api_keys", json={"apiKeyType": "ADMIN", "description": "the next ADMIN key"})
    return world(folder, share=venice, env=KEYS | {"VENICE_ADMIN_KEY": str(made["data"]["apiKey"])} | env)


@eras
async def test_matters_of_another_admin_key_are_listed_and_absence_proves_nothing_about_them(
    tmp_path: Path, era: str
) -> None:
    first = world(tmp_path, scenario="empty")
    key_id = await displayed(first)
    second = await another_admin_key(first, tmp_path)
    (line,) = (await status(second))["open_matters"]
    assert key_id in line
    assert key_id in text_of(await second.call("venice_status", era=era))
    assert (await one_open(second, era))["key_id"] == key_id
    await removed(first, key_id)
    item = await one_open(second, era)
    assert "it is gone, or belongs to another account" in item["what"]
    assert "The key is no longer there, so nothing is left to do." in await settled(first, era)
    assert (await status(second))["open_matters"] == []


@makers
async def test_a_write_with_another_admin_key_that_cannot_be_found_is_not_called_undone(
    tmp_path: Path, write: Write
) -> None:
    first = world(tmp_path, scenario="empty")
    await into_the_dark(first, write, arrives=False)
    first.clock.advance(hours=1)  # so that the ADMIN key itself is not taken for the one that was asked for
    second = await another_admin_key(first, tmp_path)
    item = await one_open(second)
    assert "it is gone, or belongs to another account" in item["what"]
    assert (await recover(second, acknowledge=item["name"]))["open"] == []


async def test_matters_of_another_venice_are_not_mentioned(tmp_path: Path) -> None:
    first = world(tmp_path, scenario="empty")
    key_id = await displayed(first)
    second = world(tmp_path, share=first, env=KEYS | {"VENICE_BASE_URL": "http://127.0.0.1:7/api/v1"})
    assert (await status(second))["open_matters"] == []
    for arguments in ({"acknowledge": key_id}, {"revoke": key_id}):
        failed(await second.call(RECOVER, arguments))
    assert (await one_open(first))["key_id"] == key_id


# --- what is refused ---------------------------------------------------------------------------------


@eras
async def test_acknowledging_what_is_not_open_is_refused(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    await displayed(venice)
    kept = venice.app.store.trail.checkpoint()
    for named in ("nothing-of-the-kind", "00000000-0000-4000-8000-000000000000", "AAAA-2222/1", "/1"):
        assert "nothing is open under that name" in failed(await venice.call(RECOVER, {"acknowledge": named}, era=era))
    assert venice.app.store.trail.checkpoint() == kept
    assert (await one_open(venice))["name"]


@eras
async def test_a_key_that_no_open_matter_names_is_not_revoked_and_nobody_asked(tmp_path: Path, era: str) -> None:
    venice, person = world(tmp_path), Person()
    await displayed(venice)
    said = failed(await venice.call(RECOVER, {"revoke": venice.id_of(IDLE)}, era=era, person=person))
    assert "no open matter is about this key" in said
    assert "venice_revoke_api_key" in said
    assert (person.questions, venice.requests["deleteApiKey"]) == ([], 0)


@pytest.mark.parametrize(
    ("way", "era"),
    [
        ("accept", LEGACY),
        ("true", MODERN),
        ("wrong", LEGACY),
        ("decline", MODERN),
        ("decline", LEGACY),
        ("cancel", MODERN),
    ],
)
async def test_anything_but_yes_leaves_the_key_and_the_matter(tmp_path: Path, way: str, era: str) -> None:
    venice, person = world(tmp_path, scenario="empty"), Person(way)
    key_id = await displayed(venice)
    failed(await venice.call(RECOVER, {"revoke": key_id}, era=era, person=person))
    assert len(person.questions) == 1
    assert (key_id in venice.held(), venice.requests["deleteApiKey"]) == (True, 0)
    assert (await one_open(venice))["key_id"] == key_id


async def test_an_approved_recovery_sent_again_does_nothing(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="empty")
    key_id = await displayed(venice)
    async with venice.client(MODERN, Person()) as client:
        call = await begin(client, RECOVER, {"revoke": key_id})
        first = await call.finish()
        assert key_id not in venice.held()
        again = [await call.send() for _ in range(2)]
    assert not first.is_error
    assert all(not succeeded(each) for each in again)
    assert venice.requests["deleteApiKey"] == 1


OTHERS: list[Callable[[str, str], tuple[str, Json]]] = [
    lambda mine, another: (RECOVER, {"revoke": another}),
    lambda mine, another: (REVOKE.tool, {"key_id": mine}),
    lambda mine, another: (REVOKE.tool, {"key_id": another}),
]


@pytest.mark.parametrize("other", OTHERS, ids=["another orphan", "the other tool", "another key by the other tool"])
async def test_an_approved_recovery_counts_for_nothing_else(
    tmp_path: Path, other: Callable[[str, str], tuple[str, Json]]
) -> None:
    venice = world(tmp_path, scenario="empty")
    key_id = await displayed(venice)
    another = str(done(await venice.call(CREATE.tool, {**CAPPED, "description": "another"}))["id"])
    async with venice.client(MODERN, Person()) as client:
        call = await begin(client, RECOVER, {"revoke": key_id})
        tool, arguments = other(key_id, another)
        assert not succeeded(await call.send(tool, arguments))
        assert venice.requests["deleteApiKey"] == 0
        assert "Revoked" in text_of(await call.finish())
    assert set(venice.held()) >= {another}
    assert venice.requests["deleteApiKey"] == 1


def succeeded(result: CallToolResult | InputRequiredResult | MCPError) -> bool:
    return isinstance(result, CallToolResult) and not result.is_error
