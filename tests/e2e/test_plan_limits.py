"""What no plan may do: go past a no, the operator's policy, its own words, or the keys the server runs on."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp_types import CallToolResult, ElicitResult

from tests.e2e.bench import (
    ADMIN_KEY,
    ERAS,
    INFERENCE_KEY,
    MODERN,
    Forward,
    Json,
    Person,
    World,
    begin,
    changed_nothing,
    done,
    failed,
    operated,
    text_of,
    world,
)
from tests.e2e.striking import FAULTS, Struck, alive, key_made, quick_folder, to_the_end

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="secrets go into no file and no command there"),
]
eras = pytest.mark.parametrize("era", ERAS)
ROTATE, PROVISION = "venice_rotate_api_key", "venice_provision_api_keys"
REVOKE, UPDATE = "venice_revoke_api_keys", "venice_update_api_keys"
TOOLS = (ROTATE, PROVISION, REVOKE, UPDATE)
tools = pytest.mark.parametrize("tool", TOOLS)
FORBIDDEN = "The operator's policy forbids this: "


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as path:
        yield path


@dataclass
class Call:
    """One call of each tool that carries out a plan of two steps, in a world of its own, and a call like it."""

    venice: World
    tool: str
    arguments: Json
    other: Json

    @classmethod
    async def of(cls, folder: Path, tool: str, policy: str = "") -> "Call":
        venice = operated(folder, policy, scenario="empty")
        first, second = await key_made(venice, "first"), await key_made(venice, "second")
        ids: Json = {"key_ids": [first["id"], second["id"]]}
        file: Json = {"kind": "file", "path": str(folder / "new.key")}
        other_file: Json = {"kind": "file", "path": str(folder / "another.key")}
        table: Json = {"kind": "json", "path": str(folder / "keys.json")}
        given: dict[str, tuple[Json, Json]] = {
            ROTATE: ({"key_id": first["id"], "deliver_to": file, "grace_hours": 2}, {"deliver_to": other_file}),
            PROVISION: (
                {"names": ["a", "b"], "deliver_to": table, "consumption_limit": {"usd": 5}},
                {"consumption_limit": {"usd": 6}},
            ),
            REVOKE: (ids, {"key_ids": [second["id"]]}),
            UPDATE: ({**ids, "consumption_limit": {"usd": 4}}, {"consumption_limit": {"usd": 3}}),
        }
        arguments, other = given[tool]
        return cls(venice, tool, arguments, arguments | other)

    async def interrupted(self, person: Person, era: str = MODERN) -> Struck:
        """Begun, and stopped at its second write."""
        struck = Struck(self.venice)

        async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
            if request.method != "GET" and len(self.venice.edge.writes) == 2:
                return FAULTS["429"].ending()
            return await forward()

        self.venice.edge.hook = hook
        told = done(await self.venice.call(self.tool, self.arguments, era=era, person=person))
        assert (told["done"], told["left"], told["finished"]) == (1, 1, False)
        self.venice.edge.hook = struck
        return struck


@eras
@pytest.mark.parametrize("way", ["decline", "cancel", "wrong", "true"])
@tools
async def test_whoever_does_not_approve_keeps_everything(folder: Path, tool: str, way: str, era: str) -> None:
    call, person = await Call.of(folder, tool), Person(way)
    before, files = call.venice.held(), set(os.listdir(folder))
    said = failed(await call.venice.call(tool, call.arguments, era=era, person=person))
    assert changed_nothing(said)
    assert (call.venice.held(), call.venice.edge.writes, len(person.questions)) == (before, [], 1)
    assert {name for name in os.listdir(folder) if not name.endswith(".lock")} == files | {"state"}


@eras
@tools
async def test_what_is_outside_of_a_plan_is_asked_about(folder: Path, tool: str, era: str) -> None:
    call, person, other = await Call.of(folder, tool), Person(), Person("decline")
    struck = await call.interrupted(person, era)
    before = call.venice.held()
    failed(await call.venice.call(tool, call.other, era=era, person=other))
    assert (len(other.questions), call.venice.held()) == (1, before)
    story = await to_the_end(struck, tool, call.arguments, era=era, person=person)
    assert len(story.person.questions) == 1


class OfOneMind(Person):
    """Approves the request that is put first, and no other."""

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        code = str(params.message).rpartition("Approval ")[2]
        self.way = "approve" if not self.questions or code in self.questions[0] else "decline"
        return await super().__call__(context, params)


@eras
@tools
async def test_several_calls_of_one_plan_at_once_do_nothing_twice(folder: Path, tool: str, era: str) -> None:
    call, person = await Call.of(folder, tool), OfOneMind()
    await call.interrupted(person, era)

    results: list[CallToolResult] = []

    async def again() -> None:
        results.append(await call.venice.call(tool, call.arguments, era=era, person=person))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(again)
    assert sorted(not result.is_error and done(result)["finished"] for result in results)[-1] is True
    # The step that was done, the one that was refused, and that one again.
    assert len(call.venice.edge.writes) == 3
    await assert_one_plan(call.venice)


@eras
@tools
async def test_of_several_first_calls_at_once_one_is_carried_out(folder: Path, tool: str, era: str) -> None:
    call, person = await Call.of(folder, tool), OfOneMind()

    async def first() -> None:
        await call.venice.call(tool, call.arguments, era=era, person=person)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(first)
    assert len(call.venice.edge.writes) == 2
    await assert_one_plan(call.venice)


async def assert_one_plan(venice: World) -> None:
    kinds = [entry.kind for entry in venice.app.store.trail.all()]
    assert (kinds.count("spent"), kinds.count("begun"), kinds.count("ended")) == (1, 1, 1)
    assert text_of(await venice.call("venice_recover")).startswith("Nothing is open")


@tools
async def test_an_answered_call_that_is_sent_again_does_nothing_more(folder: Path, tool: str) -> None:
    call = await Call.of(folder, tool)
    async with call.venice.client(person=Person()) as client:
        half = await begin(client, tool, call.arguments)
        await half.finish()
        assert len(call.venice.edge.writes) == 2
        again = await half.send()
        assert len(call.venice.edge.writes) == 2, again


# --- the operator's policy ------------------------------------------------------------------------

# the tool, the rules, more arguments, what is said
RULES: dict[str, tuple[str, str, Json, str]] = {
    "ADMIN rotation": (ROTATE, "[keys]\ntypes = ['INFERENCE']\n", {}, "no ADMIN key may be made, only INFERENCE"),
    "rotation, cap": (ROTATE, "[keys]\nmax_cap.EPOCH.usd = 4\n", {}, "the USD cap must be at most 4 per UTC day"),
    "rotation, expiry": (ROTATE, "[keys]\nmax_days = 90\n", {}, "it must expire within 90 days"),
    "rotation, sink": (ROTATE, "[secrets]\nsinks = ['dotenv']\n", {}, "may go to dotenv, not to file"),
    "rotation, folder": (ROTATE, "[secrets]\nfolders = ['/nowhere']\n", {}, "not within the folders"),
    "provisioning, cap": (PROVISION, "[keys]\nmax_cap.EPOCH.usd = 4\n", {}, "the USD cap must be at most 4"),
    "provisioning, no cap": (PROVISION, "[keys]\nrequire_caps = ['diem']\n", {}, "a DIEM cap is required"),
    "provisioning, name": (PROVISION, "[keys]\ndescription = 'team-.*'\n", {}, "the description must match"),
    "provisioning, sink": (PROVISION, "[secrets]\nsinks = ['csv']\n", {}, "may go to csv, not to json"),
    "provisioning, folder": (PROVISION, "[secrets]\nfolders = ['/nowhere']\n", {}, "not within the folders"),
    "update, cap": (UPDATE, "[keys]\nmax_cap.EPOCH.usd = 4\n", {"consumption_limit": {"usd": 6}}, "at most 4"),
}


@eras
@pytest.mark.parametrize("rule", RULES)
async def test_policy_forbids_a_step_before_anyone_is_asked(folder: Path, rule: str, era: str) -> None:
    tool, policy, more, words = RULES[rule]
    call, person = await Call.of(folder, tool, policy), Person()
    arguments = call.arguments | more
    if rule == "ADMIN rotation":
        arguments["key_id"] = (await key_made(call.venice, "boss", apiKeyType="ADMIN"))["id"]
    before = call.venice.held()
    said = failed(await call.venice.call(tool, arguments, era=era, person=person))
    assert words in said, said
    assert changed_nothing(said)
    assert (person.questions, call.venice.held(), call.venice.edge.writes) == ([], before, [])
    assert not (folder / "keys.json").exists()


@tools
async def test_read_only_offers_none_of_them(folder: Path, tool: str) -> None:
    call = await Call.of(folder, tool, "read_only = true\n")
    assert failed(await call.venice.call(tool, call.arguments)).startswith("Unknown tool")
    assert call.venice.edge.writes == []


@tools
async def test_a_policy_that_became_stricter_stops_a_plan_that_had_begun(folder: Path, tool: str) -> None:
    call, person = await Call.of(folder, tool), Person()
    await call.interrupted(person)
    strict = operated(folder, "read_only = true\n", share=call.venice)
    before = call.venice.held()
    (plan,) = done(await strict.call("venice_recover"))["plans"]
    assert FORBIDDEN in text_of(await strict.call("venice_recover", {"resume": plan["plan"]}))
    assert (strict.edge.writes, call.venice.held()) == ([], before)


async def test_a_file_of_names_must_lie_where_policy_allows_files(folder: Path) -> None:
    (folder / "in").mkdir(mode=0o700)
    call, person = await Call.of(folder, PROVISION, f"[secrets]\nfolders = ['{folder}/in']\n"), Person()
    arguments = {name: value for name, value in call.arguments.items() if name != "names"}
    arguments["deliver_to"] = {"kind": "json", "path": str(folder / "in" / "keys.json")}
    for path in (folder / "names.csv", folder / "in" / ".." / "names.csv", folder / "in" / "link.csv"):
        (folder / "names.csv").write_text("must-not-be-read\n")
        if not (folder / "in" / "link.csv").is_symlink():
            (folder / "in" / "link.csv").symlink_to(folder / "names.csv")
        said = failed(await call.venice.call(PROVISION, arguments | {"names_file": str(path)}, person=person))
        assert said.startswith("names_file: cannot be used: ")
        assert "must-not-be-read" not in said
    (folder / "in" / "names.csv").write_text("a\n")
    told = await call.venice.call(
        PROVISION, arguments | {"names_file": str(folder / "in" / "names.csv")}, person=person
    )
    assert (done(told)["finished"], len(person.questions)) == (True, 1)


# --- the server's own keys ------------------------------------------------------------------------


@eras
@pytest.mark.parametrize("secret", [ADMIN_KEY, INFERENCE_KEY], ids=["ADMIN", "INFERENCE"])
async def test_the_servers_own_key_is_rotated_only_when_asked_for_and_with_the_word(
    folder: Path, secret: str, era: str
) -> None:
    venice, ticking, typing = world(folder, scenario="empty"), Person("true"), Person()
    arguments: Json = {
        "key_id": alive(venice)[secret]["id"],
        "deliver_to": {"kind": "file", "path": str(folder / "new.key")},
        "grace_hours": 24,
    }
    said = failed(await venice.call(ROTATE, arguments, era=era, person=ticking))
    assert (said.startswith("This server itself runs on that key"), ticking.questions) == (True, [])
    failed(await venice.call(ROTATE, arguments | {"own_key": True}, era=era, person=ticking))
    assert venice.edge.writes == []
    venice.clock.advance(hours=25)  # whoever said no is not asked again at once
    struck = Struck(venice)
    story = await to_the_end(struck, ROTATE, arguments | {"own_key": True}, era=era, person=typing)
    assert typing.questions[0].startswith("This would lock this server itself out.")
    assert "Type LOCKOUT" in typing.questions[0]
    assert (folder / "new.key").read_text().strip() in alive(venice)
    assert len(story.results) == 1


@eras
async def test_the_servers_own_admin_key_is_never_revoked_before_it_has_a_successor(folder: Path, era: str) -> None:
    venice, person = world(folder, scenario="empty"), Person()
    arguments: Json = {
        "key_id": alive(venice)[ADMIN_KEY]["id"],
        "deliver_to": {"kind": "file", "path": str(folder / "new.key")},
        "own_key": True,
    }
    said = failed(await venice.call(ROTATE, arguments | {"leaked": True}, era=era, person=person))
    assert "no successor could be made" in said
    assert (person.questions, venice.edge.writes) == ([], [])
    result = await venice.call(ROTATE, arguments | {"grace_hours": 0}, era=era, person=person)
    assert done(result)["finished"] is True, text_of(result)
    assert venice.edge.writes == ["POST", "DELETE"]
    assert (folder / "new.key").read_text().strip() in alive(venice)
    assert ADMIN_KEY not in alive(venice)
