"""What may go unasked: changes that only narrow a key, and what an allowance covers, within its budget."""

import json
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.bench import (
    ERAS,
    IDLE,
    KEYS,
    MODERN,
    Forward,
    Json,
    Person,
    World,
    done,
    failed,
    operated,
    text_of,
)
from tests.e2e.bench import world as open_world

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="secrets go into no file and no command there"),
]
eras = pytest.mark.parametrize("era", ERAS)
CREATE, MINT, UPDATE = "venice_create_api_key", "venice_create_web3_api_key", "venice_update_api_key"
REVOKE = "venice_revoke_api_key"


# --- narrowing unasked ----------------------------------------------------------------------------

NARROWING = "[approval]\nnarrowing_unasked = true\n"
WIDER: dict[str, Json] = {
    "a higher cap": {"consumption_limit": {"usd": 16}},
    "no cap": {"clear": ["usd_cap"]},
    "a cap of 0": {"consumption_limit": {"usd": 0}},
    "an end within a day": {"expires_in_days": 0.5},
    "another name": {"description": "renamed"},
    "another window": {"limit_period": "LIFETIME"},
    "addresses": {"ip_allowlist": ["203.0.113.7"]},
    "narrower here and wider there": {"consumption_limit": {"usd": 1}, "description": "renamed"},
}


@pytest.mark.parametrize(
    "change",
    [{"consumption_limit": {"usd": 14}}, {"expires_in_days": 30}, {"model_privacy": "PRIVATE_ONLY"}],
    ids=str,
)
@pytest.mark.parametrize("person", [None, Person("decline")], ids=["nobody to ask", "somebody to ask"])
@eras
async def test_what_only_narrows_goes_unasked_and_on_record(
    tmp_path: Path, era: str, person: Person | None, change: Json
) -> None:
    venice = operated(tmp_path, NARROWING)
    arguments: Json = {"key_id": venice.id_of(IDLE), **change}
    async with venice.client(era, person) as client:
        done(await client.call_tool(UPDATE, arguments))
    assert venice.written == {"updateApiKey": 1}
    assert person is None or person.questions == []
    granted = [entry.data for entry in venice.app.store.trail.all() if entry.kind == "granted"]
    assert granted == ['{"how":"narrowing, which policy allows unasked"}']


@eras
@pytest.mark.parametrize("case", WIDER)
async def test_whatever_else_is_changed_is_asked_for(tmp_path: Path, case: str, era: str) -> None:
    venice, person = operated(tmp_path, NARROWING), Person("decline")
    failed(await venice.call(UPDATE, {"key_id": venice.id_of(IDLE), **WIDER[case]}, era=era, person=person))
    assert (len(person.questions), venice.written) == (1, {})


@pytest.mark.parametrize("name", ["break-glass", "venice-mcp sandbox inference", "venice-mcp sandbox admin"])
async def test_admin_keys_and_own_keys_are_never_narrowed_unasked(tmp_path: Path, name: str) -> None:
    venice, person = operated(tmp_path, NARROWING), Person("decline")
    failed(await venice.call(UPDATE, {"key_id": venice.id_of(name), "consumption_limit": {"usd": 5}}, person=person))
    assert (len(person.questions), venice.written) == (1, {})


async def test_a_key_that_changed_before_it_was_narrowed_is_looked_at_anew(tmp_path: Path) -> None:
    """Lowered past us to 3, our 14 would raise it: that is asked for, whatever was decided before."""
    venice, key_id = operated(tmp_path, NARROWING), ""
    key_id = venice.id_of(IDLE)
    person = Person("decline")
    await venice.venice("PATCH", "/api_keys", json={"id": key_id, "consumptionLimit": {"usd": 3}})
    failed(await venice.call(UPDATE, {"key_id": key_id, "consumption_limit": {"usd": 14}}, person=person))
    assert (len(person.questions), venice.requests["updateApiKey"]) == (1, 1)


# --- allowances -----------------------------------------------------------------------------------

ALLOWANCE = """
[[approval.allowances]]
name = "ci"
operations = ["create", "revoke"]
max_cap = { usd = 5, diem = 0 }
limit_period = "EPOCH"
max_days = 7
description = "ci:.*"
sinks = ["file"]
per_day = 3
"""
COVERED: Json = {
    "description": "ci:build",
    "consumption_limit": {"usd": 5, "diem": 0},
    "expires_in_days": 7,
}


def covered(folder: Path, number: int, **other: object) -> Json:
    return {**COVERED, "deliver_to": {"path": str(folder / f"{number}.key")}, **other}


def ways(venice: World) -> list[str]:
    """How each approval was granted, as the audit trail has it."""
    return [json.loads(entry.data)["how"] for entry in venice.app.store.trail.all() if entry.kind == "granted"]


async def unasked(venice: World, tool: str, arguments: Json, *, era: str = MODERN) -> Json:
    """A call that is done although the client cannot ask."""
    async with venice.client(era) as client:
        return done(await client.call_tool(tool, arguments))


async def asked(venice: World, tool: str, arguments: Json, *, era: str = MODERN) -> str:
    """The question of a call that is not done without one, and what it is told where nobody can be asked."""
    before, person = venice.written, Person("cancel")
    failed(await venice.call(tool, arguments, era=era, person=person))
    async with venice.client(era) as client:
        said = failed(await client.call_tool(tool, arguments))
    assert (len(person.questions), venice.written) == (1, before)
    assert "a person must first approve" in said
    return said


async def losing_writes(request: httpx.Request, forward: Forward) -> httpx.Response:
    """Writes do not arrive, and nobody can tell."""
    if request.method == "GET":
        return await forward()
    raise httpx.ReadError("gone")


@eras
@pytest.mark.parametrize("person", [None, Person("decline")], ids=["nobody to ask", "somebody to ask"])
async def test_what_an_allowance_covers_goes_unasked_and_on_record(
    tmp_path: Path, era: str, person: Person | None
) -> None:
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    async with venice.client(era, person) as client:
        result = await client.call_tool(CREATE, covered(tmp_path, 1))
    (held,) = venice.described("ci:build")
    assert done(result)["delivered_to"] == str(tmp_path / "1.key")
    assert (tmp_path / "1.key").read_text() == f"{held['secret']}\n"
    assert str(held["secret"]) not in result.model_dump_json()
    assert person is None or person.questions == []
    assert ways(venice) == ["allowance ci"]


@eras
async def test_the_fourth_is_asked_for(tmp_path: Path, era: str) -> None:
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    for number in range(3):
        await unasked(venice, CREATE, covered(tmp_path, number), era=era)
    await asked(venice, CREATE, covered(tmp_path, 3), era=era)
    person = Person()
    done(await venice.call(CREATE, covered(tmp_path, 3), era=era, person=person))
    assert len(person.questions) == 1
    assert ways(venice) == ["allowance ci"] * 3 + ["answered in the client"]


async def test_a_day_later_the_budget_is_whole_again(tmp_path: Path) -> None:
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    for number in range(3):
        await unasked(venice, CREATE, covered(tmp_path, number))
        venice.clock.advance(hours=1)
    venice.clock.advance(hours=20, minutes=59)
    await asked(venice, CREATE, covered(tmp_path, 3))
    venice.clock.advance(minutes=11)  # the question from before expired meanwhile
    await unasked(venice, CREATE, covered(tmp_path, 4))
    await asked(venice, CREATE, covered(tmp_path, 5))


async def test_a_lost_answer_uses_the_budget_and_a_refusal_before_it_does_not(tmp_path: Path) -> None:
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")

    (tmp_path / "taken.key").write_text("precious")
    for number in range(3):
        failed(await venice.call(CREATE, covered(tmp_path, number, deliver_to={"path": str(tmp_path / "taken.key")})))
        venice.edge.hook = losing_writes
        assert "It is not known" in failed(await venice.call(CREATE, covered(tmp_path, number)))
        venice.edge.hook = None
    await asked(venice, CREATE, covered(tmp_path, 3))
    assert venice.edge.writes == ["POST"] * 3


async def test_a_restart_starts_no_new_budget(tmp_path: Path) -> None:
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    for number in range(3):
        await unasked(venice, CREATE, covered(tmp_path, number))
        venice = operated(tmp_path, ALLOWANCE, share=venice)
    await asked(venice, CREATE, covered(tmp_path, 3))


async def test_another_admin_key_starts_no_new_budget(tmp_path: Path) -> None:
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    for number in range(3):
        await unasked(venice, CREATE, covered(tmp_path, number))
    body: Json = {"apiKeyType": "ADMIN", "description": "another"}
    secret = str((await venice.venice("POST", "/api_keys", json=body))["data"]["apiKey"])
    again = operated(tmp_path, ALLOWANCE, share=venice, env={**KEYS, "VENICE_ADMIN_KEY": secret})
    await asked(again, CREATE, covered(tmp_path, 3))


async def test_two_servers_share_one_budget(tmp_path: Path) -> None:
    first = operated(tmp_path, ALLOWANCE, scenario="empty")
    second = operated(tmp_path, ALLOWANCE, share=first)
    for number in range(3):
        await unasked((first, second)[number % 2], CREATE, covered(tmp_path, number))
    for venice in (first, second):
        await asked(venice, CREATE, covered(tmp_path, 3))


LACKING: dict[str, tuple[Json, str]] = {
    "ADMIN": ({"api_key_type": "ADMIN"}, "it is for INFERENCE keys only"),
    "more USD": ({"consumption_limit": {"usd": 5.01, "diem": 0}}, "the USD cap must be at most 5 per UTC day"),
    "no USD cap": ({"consumption_limit": {"diem": 0}}, "the USD cap must be at most 5 per UTC day"),
    "DIEM": ({"consumption_limit": {"usd": 5, "diem": 1}}, "the DIEM cap must be at most 0 per UTC day"),
    "no DIEM cap": ({"consumption_limit": {"usd": 5}}, "the DIEM cap must be at most 0 per UTC day"),
    "a longer life": ({"expires_in_days": 8}, "it must expire within 7 days"),
    "for ever": ({"expires_in_days": None}, "it must expire within 7 days"),
    "another name": ({"description": "build"}, 'the description must match "ci:.*"'),
    "in the chat": ({"deliver_to": None}, "its secret must go to file"),
}


@eras
@pytest.mark.parametrize("case", LACKING)
async def test_what_is_not_covered_is_asked_for_and_the_reason_told(tmp_path: Path, case: str, era: str) -> None:
    other, words = LACKING[case]
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    said = await asked(venice, CREATE, covered(tmp_path, 1, **other), era=era)
    assert said.endswith(f"with the same arguments. The allowance ci does not cover it: {words}.")


async def test_a_kind_of_place_it_does_not_list_is_asked_for(tmp_path: Path) -> None:
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    place: Json = {"kind": "dotenv", "path": str(tmp_path / ".env"), "variable": "X"}
    said = await asked(venice, CREATE, {**COVERED, "deliver_to": place})
    assert said.endswith("The allowance ci does not cover it: its secret must go to file.")


async def test_an_allowance_covers_no_operation_it_does_not_name(tmp_path: Path) -> None:
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    made = await unasked(venice, CREATE, covered(tmp_path, 1))
    await asked(venice, MINT, covered(tmp_path, 2))
    await asked(venice, UPDATE, {"key_id": made["id"], "consumption_limit": {"usd": 1}})


async def test_a_secret_is_shown_unasked_only_where_the_allowance_says_so(tmp_path: Path) -> None:
    venice = operated(tmp_path, ALLOWANCE.replace('["file"]', '["display"]'), scenario="empty")
    assert "api_key" in await unasked(venice, CREATE, COVERED)
    await asked(venice, CREATE, covered(tmp_path, 1))


@eras
async def test_only_keys_made_under_it_are_revoked_under_it(tmp_path: Path, era: str) -> None:
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    mine = (await unasked(venice, CREATE, covered(tmp_path, 1), era=era))["id"]
    approved = done(await venice.call(CREATE, {**COVERED, "expires_in_days": 6}, era=era))["id"]
    body: Json = {"apiKeyType": "INFERENCE", "description": "ci:build", "consumptionLimit": {"usd": 5, "diem": 0}}
    foreign = str((await venice.venice("POST", "/api_keys", json=body))["data"]["id"])
    for key_id in (approved, foreign):
        said = await asked(venice, REVOKE, {"key_id": key_id}, era=era)
        assert said.endswith("The allowance ci does not cover it: the key was not made under it.")
    assert (await unasked(venice, REVOKE, {"key_id": mine}, era=era))["revoked"] is True
    assert ways(venice) == ["allowance ci", "answered in the client", "allowance ci"]


async def test_a_key_that_somebody_else_made_alike_is_not_revoked_under_it(tmp_path: Path) -> None:
    """Our create never arrived, and recovery takes somebody else's key of that name for the one it made."""
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    venice.edge.hook = losing_writes
    failed(await venice.call(CREATE, covered(tmp_path, 1)))
    venice.edge.hook = None
    body: Json = {"apiKeyType": "INFERENCE", "description": "ci:build", "consumptionLimit": {"usd": 5, "diem": 0}}
    foreign = str((await venice.venice("POST", "/api_keys", json=body))["data"]["id"])
    done(await venice.call("venice_recover"))
    for tool, arguments in ((REVOKE, {"key_id": foreign}), ("venice_recover", {"revoke": foreign})):
        failed(await venice.call(tool, arguments, person=Person("cancel")))
    assert foreign in venice.held()


async def test_revoking_uses_the_budget_too(tmp_path: Path) -> None:
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    ids = [(await unasked(venice, CREATE, covered(tmp_path, number)))["id"] for number in range(2)]
    await unasked(venice, REVOKE, {"key_id": ids[0]})
    await asked(venice, REVOKE, {"key_id": ids[1]})
    await asked(venice, CREATE, covered(tmp_path, 2))


async def test_a_key_made_under_it_is_not_revoked_unasked_once_this_server_runs_on_it(tmp_path: Path) -> None:
    first = operated(tmp_path, ALLOWANCE, scenario="empty")
    made = await unasked(first, CREATE, covered(tmp_path, 1))
    secret = (tmp_path / "1.key").read_text().strip()
    venice = operated(tmp_path, ALLOWANCE, share=first, env={**KEYS, "VENICE_API_KEY": secret})
    person = Person("cancel")
    failed(await venice.call(REVOKE, {"key_id": made["id"]}, person=person))
    assert "Type LOCKOUT to approve." in person.questions[0]


async def test_an_allowance_does_not_inherit_the_keys_of_another_one(tmp_path: Path) -> None:
    first = operated(tmp_path, ALLOWANCE, scenario="empty")
    made = await unasked(first, CREATE, covered(tmp_path, 1))
    venice = operated(tmp_path, ALLOWANCE.replace('"ci"', '"other"'), share=first)
    said = await asked(venice, REVOKE, {"key_id": made["id"]})
    assert said.endswith("The allowance other does not cover it: the key was not made under it.")


@pytest.mark.parametrize("variable", [False, True], ids=["--state-dir", "VENICE_MCP_STATE_DIR"])
async def test_an_allowance_does_not_hold_with_another_state_directory(tmp_path: Path, variable: bool) -> None:
    """Where the policy names none, only the default one counts; otherwise a new budget would cost a new folder."""
    env = {**KEYS, "VENICE_MCP_STATE_DIR": str(tmp_path / "mine")} if variable else KEYS
    venice = open_world(tmp_path, scenario="empty", policy=ALLOWANCE, env=env)
    said = await asked(venice, CREATE, covered(tmp_path, 1))
    assert said.startswith("Nothing was done: this client cannot ask a person, so a person must first approve *")
    problems = done(await venice.call("venice_status"))["problems"]
    assert any("What the policy allows unasked does not hold" in problem for problem in problems)


async def test_the_state_directory_the_policy_names_is_the_one_that_counts(tmp_path: Path) -> None:
    rules = f"state_dir = '{tmp_path / 'state'}'\n{ALLOWANCE}"
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    for number in range(3):
        await unasked(venice, CREATE, covered(tmp_path, number))
    other = open_world(tmp_path, policy=rules, state="elsewhere", share=venice)
    assert other.state_dir == venice.state_dir
    await asked(other, CREATE, covered(tmp_path, 3))
    assert not (tmp_path / "elsewhere").exists()
    assert any("are ignored" in each for each in done(await other.call("venice_status"))["problems"])


@eras
async def test_what_was_decided_before_the_budget_was_used_up_elsewhere_does_not_count(
    tmp_path: Path, era: str
) -> None:
    first = operated(tmp_path, ALLOWANCE.replace("per_day = 3", "per_day = 1"), scenario="empty")
    second = operated(tmp_path, ALLOWANCE.replace("per_day = 3", "per_day = 1"), share=first)

    async def meanwhile(request: httpx.Request, forward: Forward) -> httpx.Response:
        if len(first.edge.sent) == 2:  # the last look at the keys before the approval is spent
            await unasked(second, CREATE, covered(tmp_path, 2))
        return await forward()

    first.edge.hook = meanwhile
    async with first.client(era) as client:
        said = failed(await client.call_tool(CREATE, covered(tmp_path, 1)))
    assert "The allowance's budget for these 24 hours is used up. Nothing was changed at Venice." in said
    assert (first.written, first.edge.writes) == ({"createApiKey": 1}, [])
    assert not (tmp_path / "1.key").exists()


async def test_a_no_to_something_else_does_not_stop_what_is_allowed(tmp_path: Path) -> None:
    venice = operated(tmp_path, ALLOWANCE, scenario="empty")
    for number in range(3):
        failed(await venice.call(CREATE, {**COVERED, "description": f"x {number}"}, person=Person("decline")))
    await unasked(venice, CREATE, covered(tmp_path, 1))


async def test_the_terminal_rule_of_a_project_takes_allowances_back(tmp_path: Path) -> None:
    file = tmp_path / "project.toml"
    file.write_text("[approval]\nhow = 'terminal'\n")
    file.chmod(0o600)
    env = {**KEYS, "VENICE_MCP_POLICY": str(file)}
    venice = operated(tmp_path, ALLOWANCE, scenario="empty", env=env)
    async with venice.client() as client:
        said = text_of(await client.call_tool(CREATE, covered(tmp_path, 1)))
    assert said.startswith("Nothing was done: policy takes approvals from a terminal only,")
    assert venice.written == {}
