"""What a plan must not do although somebody interferes: each was once possible."""

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.e2e.bench import (
    ADMIN_KEY,
    ERAS,
    Body,
    Forward,
    Json,
    Person,
    World,
    done,
    failed,
    operated,
    text_of,
    world,
)
from tests.e2e.striking import key_made

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="secrets go into no file and no command there"),
]
ROTATE, PROVISION, RECOVER = "venice_rotate_api_key", "venice_provision_api_keys", "venice_recover"
REVOKE, UPDATE = "venice_revoke_api_keys", "venice_update_api_keys"
TOO_FAST = b'{"error":"slow down"}'


def answering(status: int, body: bytes = TOO_FAST) -> httpx.Response:
    return httpx.Response(status, headers={"content-type": "application/json"}, stream=Body(body))


def refusing(*methods: str) -> Any:
    """Venice says no to these, and does not do it."""

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        return answering(429) if request.method in methods else await forward()

    return hook


def losing(venice: World, method: str, *, acts: bool) -> None:
    """The answer to the first such request is lost, and so is every reading right after it."""
    lost: list[str] = []

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if lost:
            return answering(500)
        if request.method != method:
            return await forward()
        lost.append(method)
        if acts:
            await forward()
        return answering(502)

    venice.edge.hook = hook


def code_of(venice: World) -> str:
    return [entry.subject for entry in venice.app.store.trail.all() if entry.kind == "begun"][-1]


@pytest.fixture
async def venice(tmp_path: Path) -> World:
    return world(tmp_path, scenario="empty")


async def rotation(venice: World, tmp_path: Path, **more: Any) -> tuple[Json, Json]:
    key = await key_made(venice, "app")
    return key, {"key_id": key["id"], "deliver_to": {"kind": "file", "path": str(tmp_path / "new.key")}, **more}


def provisioning(tmp_path: Path, *names: str) -> Json:
    place = {"kind": "json", "path": str(tmp_path / "keys.json")}
    return {"names": list(names), "consumption_limit": {"usd": 5}, "deliver_to": place}


@pytest.mark.parametrize("grace", [0, 24])
async def test_the_old_key_lives_when_the_successor_was_revoked_between_two_calls(
    venice: World, tmp_path: Path, grace: int
) -> None:
    old, arguments = await rotation(venice, tmp_path, grace_hours=grace)
    venice.edge.hook = refusing("DELETE", "PATCH")
    assert done(await venice.call(ROTATE, arguments))["finished"] is False
    venice.edge.hook = None
    (successor,) = [key for key in venice.described("app") if key["id"] != old["id"]]
    await venice.venice("DELETE", "/api_keys", params={"id": successor["id"]})
    said = text_of(await venice.call(ROTATE, arguments, person=(nobody := Person("decline"))))
    assert "The new key is not in the list of active keys any more, so the old one was left alone." in said
    assert nobody.questions == []
    (left,) = venice.described("app")
    assert (left["id"], left["expiresAt"]) == (old["id"], None)


async def test_a_plan_is_not_taken_back_while_the_outcome_of_a_step_is_open(venice: World, tmp_path: Path) -> None:
    _, arguments = await rotation(venice, tmp_path, grace_hours=0)
    losing(venice, "DELETE", acts=False)
    assert done(await venice.call(ROTATE, arguments))["finished"] is False
    venice.edge.hook = None
    said = failed(await venice.call(RECOVER, {"undo": code_of(venice)}, person=(person := Person())))
    assert "what became of a step is not known yet" in said
    assert (person.questions, len(venice.described("app"))) == ([], 2)


async def test_a_plan_that_went_on_while_its_taking_back_was_asked_is_not_taken_back(
    venice: World, tmp_path: Path
) -> None:
    old, arguments = await rotation(venice, tmp_path, grace_hours=0)
    venice.edge.hook = refusing("DELETE")
    await venice.call(ROTATE, arguments)
    venice.edge.hook = None
    other = world(tmp_path, share=venice)

    async def finish() -> None:
        assert done(await other.call(ROTATE, arguments))["finished"] is True

    said = failed(await venice.call(RECOVER, {"undo": code_of(venice)}, person=Person(meanwhile=finish)))
    assert "Nothing was changed at Venice." in said
    (left,) = venice.described("app")
    assert left["id"] != old["id"], "the successor lives, and nothing else was there to live"


async def test_taking_back_is_refused_for_a_key_this_server_runs_on(venice: World, tmp_path: Path) -> None:
    code = done(await venice.call(PROVISION, provisioning(tmp_path, "svc")))["plan"]
    secret = json.loads((tmp_path / "keys.json").read_text())["svc"]
    user = world(tmp_path, share=venice, env={"VENICE_ADMIN_KEY": ADMIN_KEY, "VENICE_API_KEY": secret})
    assert "this server itself runs on" in failed(await user.call(RECOVER, {"undo": code}))
    assert len(venice.described("svc")) == 1


async def test_a_server_does_not_go_on_with_a_plan_that_ends_the_key_it_runs_on(venice: World, tmp_path: Path) -> None:
    first, second = await key_made(venice, "a"), await key_made(venice, "b")
    arguments = {"key_ids": [first["id"], second["id"]]}
    venice.edge.hook = refusing("DELETE")
    await venice.call(REVOKE, arguments)
    venice.edge.hook = None
    env = {"VENICE_ADMIN_KEY": ADMIN_KEY, "VENICE_API_KEY": str(second["secret"])}
    user = world(tmp_path, share=venice, env=env)
    assert "This server itself runs on it now." in text_of(await user.call(REVOKE, arguments))
    assert (len(venice.described("a")), len(venice.described("b"))) == (0, 1)


@pytest.mark.parametrize("era", ERAS)
async def test_a_second_question_tells_about_the_destination_like_the_first(
    venice: World, tmp_path: Path, era: str
) -> None:
    old, arguments = await rotation(venice, tmp_path)
    (tmp_path / ".env").write_text("VENICE_API_KEY=before\n")
    place = {"kind": "dotenv", "path": str(tmp_path / ".env"), "variable": "VENICE_API_KEY"}

    async def raise_its_cap() -> None:
        await venice.venice("PATCH", "/api_keys", json={"id": old["id"], "consumptionLimit": {"usd": 7}})

    person = Person(meanwhile=raise_its_cap)
    assert done(await venice.call(ROTATE, arguments | {"deliver_to": place}, era=era, person=person))["finished"]
    assert len(person.questions) == 2
    assert all("its secret replaces the value there" in question for question in person.questions)
    assert "before" not in (tmp_path / ".env").read_text()


async def test_a_leaked_key_is_not_revoked_when_its_successor_could_not_be_saved(venice: World, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir(mode=0o700)
    old, arguments = await rotation(venice, tmp_path, leaked=True)
    arguments["deliver_to"]["path"] = str(folder / "new.key")

    async def vanish() -> None:
        folder.rmdir()

    result = await venice.call(ROTATE, arguments, person=Person(meanwhile=vanish))
    assert "deliver_to:" in text_of(result)
    assert [key["id"] for key in venice.described("app")] == [old["id"]]


async def test_an_empty_file_of_somebody_is_not_removed_for_a_question(venice: World, tmp_path: Path) -> None:
    _, arguments = await rotation(venice, tmp_path)
    theirs = tmp_path / "new.key"
    theirs.touch(mode=0o600)
    failed(await venice.call(ROTATE, arguments, person=Person("decline")))
    assert theirs.exists()


async def test_a_key_that_may_be_a_colleagues_is_left_to_a_person(venice: World, tmp_path: Path) -> None:
    arguments = provisioning(tmp_path, "cust")
    losing(venice, "POST", acts=False)
    await venice.call(PROVISION, arguments)
    venice.edge.hook = None
    theirs = await key_made(venice, "cust")
    venice.clock.advance(seconds=90)
    result = done(await venice.call(PROVISION, arguments, person=(nobody := Person("decline"))))
    assert (nobody.questions, result["finished"]) == ([], False)
    assert f"revoke {theirs['id']} if nobody else made it" in result["next_step"]
    assert [key["id"] for key in venice.described("cust")] == [theirs["id"]]


async def test_a_successor_that_opens_nothing_is_not_told_as_done_without_a_word(venice: World, tmp_path: Path) -> None:
    _, arguments = await rotation(venice, tmp_path, leaked=True)

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        return answering(401) if request.url.path.endswith("/rate_limits") else await forward()

    venice.edge.hook = hook
    assert "ATTENTION: Venice did not accept a read with the new key" in text_of(await venice.call(ROTATE, arguments))


async def test_under_read_only_a_plan_revokes_nothing_not_even_its_own_orphan(venice: World, tmp_path: Path) -> None:
    arguments = provisioning(tmp_path, "a")
    (tmp_path / "keys.json").write_text("{}")
    (tmp_path / "keys.json").chmod(0o600)

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "DELETE":
            return answering(429)
        answer = await forward()
        if request.method == "POST":
            (tmp_path / "keys.json").write_text("not JSON")
        return answer

    venice.edge.hook = hook
    await venice.call(PROVISION, arguments)
    strict = operated(tmp_path, "read_only = true\n", share=venice)
    await strict.call(RECOVER, {"resume": code_of(venice)})
    assert (strict.edge.writes, len(venice.described("a"))) == ([], 1)


async def test_what_policy_hides_is_not_gone_on_with(venice: World, tmp_path: Path) -> None:
    _, arguments = await rotation(venice, tmp_path, grace_hours=0)
    venice.edge.hook = refusing("DELETE")
    await venice.call(ROTATE, arguments)
    strict = operated(tmp_path, "[tools]\nhide = ['*rotate*']\n", share=venice)
    assert "does not offer venice_rotate_api_key" in failed(await strict.call(RECOVER, {"resume": code_of(venice)}))
    assert strict.edge.writes == []


async def test_a_key_that_is_renamed_between_two_steps_is_left_alone(venice: World) -> None:
    keys = [await key_made(venice, name) for name in ("a", "b")]
    renamed: list[str] = []

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        answer = await forward()
        if request.method == "DELETE" and not renamed:
            renamed.append("b")
            await venice.venice("PATCH", "/api_keys", json={"id": keys[1]["id"], "description": "DO NOT REVOKE"})
        return answer

    venice.edge.hook = hook
    result = done(await venice.call(REVOKE, {"key_ids": [key["id"] for key in keys]}))
    assert (result["done"], len(venice.described("DO NOT REVOKE"))) == (1, 1)


async def test_taking_a_key_back_is_tried_again_when_venice_refused_it_once(venice: World, tmp_path: Path) -> None:
    arguments = provisioning(tmp_path, "a")
    (tmp_path / "keys.json").write_text("{}")
    (tmp_path / "keys.json").chmod(0o600)
    refused: list[str] = []

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "DELETE" and not refused:
            refused.append("DELETE")
            return answering(429)
        answer = await forward()
        if request.method == "POST" and not refused:
            (tmp_path / "keys.json").write_text("not JSON")
        return answer

    venice.edge.hook = hook
    assert done(await venice.call(PROVISION, arguments))["finished"] is False
    (tmp_path / "keys.json").write_text("{}")
    venice.clock.advance(seconds=90)
    assert done(await venice.call(PROVISION, arguments))["finished"] is True
    (key,) = venice.described("a")
    assert json.loads((tmp_path / "keys.json").read_text()) == {"a": key["secret"]}


async def test_a_question_about_several_keys_names_a_vcu_cap_that_may_go(venice: World) -> None:
    key = await key_made(venice, "a")
    await venice.venice("PATCH", "/api_keys", json={"id": key["id"], "consumptionLimit": {"usd": 5, "vcu": 9}})
    person = Person("decline")
    await venice.call(UPDATE, {"key_ids": [key["id"]], "consumption_limit": {"usd": 4}}, person=person)
    assert "its deprecated VCU cap may be dropped" in person.questions[0]


@pytest.mark.parametrize("hanging", ["GET", "POST"])
async def test_a_call_answers_in_time_when_venice_does_not(
    venice: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hanging: str
) -> None:
    _, arguments = await rotation(venice, tmp_path)
    # The same way through as with 38 s; what is begun gets 2 s at least.
    monkeypatch.setattr("venice_mcp.tools.build.ANSWERED_S", 0.1)

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == hanging:
            await anyio.sleep_forever()
        return await forward()

    venice.edge.hook = hook
    with anyio.fail_after(10):
        result = await venice.call(ROTATE, arguments)
    assert "no complete answer within" in text_of(result) or "One call takes no longer" in text_of(result)
    assert len(venice.described("app")) == 1


async def test_a_question_says_that_the_key_was_rotated_already(venice: World, tmp_path: Path) -> None:
    _, arguments = await rotation(venice, tmp_path)
    assert done(await venice.call(ROTATE, arguments))["finished"]
    venice.clock.advance(minutes=3)
    place = {"kind": "file", "path": str(tmp_path / "again.key")}
    await venice.call(ROTATE, arguments | {"deliver_to": place}, person=(person := Person("decline")))
    assert "a successor of it was made already, 3 min ago" in person.questions[0]


async def test_keys_that_were_revoked_from_here_before_are_said_to_be(venice: World) -> None:
    keys = [await key_made(venice, name) for name in ("a", "b")]
    arguments = {"key_ids": [key["id"] for key in keys]}
    assert done(await venice.call(REVOKE, arguments))["finished"]
    assert "2 of 2 revoked from here before." in failed(await venice.call(REVOKE, arguments))


async def test_an_approval_for_taking_back_what_went_on_is_not_found_again(venice: World, tmp_path: Path) -> None:
    keys = [await key_made(venice, name) for name in ("a", "b")]
    arguments = {"key_ids": [key["id"] for key in keys], "consumption_limit": {"usd": 4}}
    venice.edge.hook = refusing_after(1, "PATCH")
    await venice.call(UPDATE, arguments)
    code = code_of(venice)

    async def go_on() -> None:
        other = world(tmp_path, share=venice)
        other.edge.hook = refusing("PATCH")  # one more attempt, and no key is any different
        await other.call(UPDATE, arguments)

    venice.edge.hook = None
    person = Person(meanwhile=go_on)
    assert "does not count" in failed(await venice.call(RECOVER, {"undo": code}, person=person))
    assert done(await venice.call(RECOVER, {"undo": code}, person=person))["done"]
    held = venice.sandbox.keys()
    assert [key["caps"] for key in held if key["description"] in ("a", "b")] == [{"usd": 5}] * 2
    said = failed(await venice.call(RECOVER, {"undo": code_of(venice)}, person=person))
    assert "That plan took another one back" in said


def refusing_after(passing: int, method: str) -> Any:
    """Venice says no to all but the first such requests."""
    seen: list[str] = []

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == method:
            seen.append(method)
            if len(seen) > passing:
                return answering(429)
        return await forward()

    return hook


async def test_a_second_rotation_names_the_first_successor_whose_secret_it_overwrites(
    venice: World, tmp_path: Path
) -> None:
    key = await key_made(venice, "app")
    (tmp_path / ".env").write_text(f"KEY={key['secret']}\n")
    place = {"kind": "dotenv", "path": str(tmp_path / ".env"), "variable": "KEY"}
    arguments, person = {"key_id": key["id"], "deliver_to": place}, Person()
    first = await venice.call(ROTATE, arguments, person=person)
    assert "lives on" not in person.questions[0] + text_of(first)
    venice.clock.advance(minutes=3)
    (successor,) = [each for each in venice.described("app") if each["id"] != key["id"]]
    second = done(await venice.call(ROTATE, {**arguments, "grace_hours": 48}, person=person))
    ending = str(successor["secret"])[-6:]
    assert f"a successor of it was made already, 3 min ago: ...{ending}" in person.questions[1]
    (warning,) = [line for line in person.questions[1].splitlines() if "lives on" in line]
    assert warning.startswith(
        f"ATTENTION: its secret replaces the value there, the key ...{ending}, which lives on: revoke"
    )
    assert max(map(len, person.questions[1].splitlines()[:4])) <= 120
    (note,) = [note for note in second["notes"] if "lives on" in note]
    assert str(successor["id"]) in note
    assert str(successor["secret"]) not in (tmp_path / ".env").read_text()
