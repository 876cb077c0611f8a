"""What the operator's policy does to the tools: nothing gets past it, and what it lets pass unasked is little."""

from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest
from mcp_types import CallToolResult

from tests.e2e.bench import (
    CAPPED,
    ERAS,
    EVERY,
    IDLE,
    KEYS,
    LEGACY,
    MADE,
    MODERN,
    WRITES,
    Json,
    Person,
    World,
    begin,
    done,
    failed,
    operated,
    text_of,
)
from tests.e2e.bench import world as open_world
from tests.e2e.terminal import on_terminal
from tests.e2e.test_terminal import command_in
from venice_mcp.doctor import Check, examine

pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", ERAS)
CREATE, MINT, UPDATE = "venice_create_api_key", "venice_create_web3_api_key", "venice_update_api_key"
WRITING = {write.tool for write in EVERY.values()}
READING = {
    "venice_status",
    "venice_list_api_keys",
    "venice_get_api_key",
    "venice_recover",
    "venice_get_billing_balance",
}
FORBIDDEN = "The operator's policy forbids this: "
UNUSABLE = "Nothing is written while the policy cannot be used: "


async def offered(venice: World, era: str = MODERN) -> set[str]:
    async with venice.client(era) as client:
        return {tool.name for tool in (await client.list_tools()).tools}


async def forbidden(venice: World, tool: str, arguments: Json, *, era: str = MODERN, begins: str = FORBIDDEN) -> str:
    """What a call is told that policy forbids: nobody is asked, nothing is sent, and the text says so."""
    person, before, written = Person(), venice.held(), venice.written
    said = failed(await venice.call(tool, arguments, era=era, person=person))
    assert said.startswith(begins), said
    assert "Nothing was changed at Venice." in said
    assert (person.questions, venice.written, venice.held()) == ([], written, before)
    return said.removeprefix(begins).split(". Nothing was changed")[0]


async def unknown(
    venice: World, tool: str, arguments: Json, *, era: str = MODERN, person: Person | None = None
) -> None:
    """A call of a tool that is not there, by a client that knows of it all the same."""
    assert failed(await venice.call(tool, arguments, era=era, person=person)).startswith("Unknown tool")


async def status(venice: World) -> Json:
    return done(await venice.call("venice_status"))


async def doctor(venice: World) -> Check:
    """What the doctor says about policy."""
    (check,) = [check for check in await examine(venice.app) if check.name == "policy"]
    return check


# --- read_only, hidden tools ----------------------------------------------------------------------


@eras
async def test_read_only_offers_no_tool_that_writes_and_writes_nothing(tmp_path: Path, era: str) -> None:
    venice = operated(tmp_path, "read_only = true\n")
    there = await offered(venice, era)
    assert (there & WRITING, READING - there) == (set(), set())
    before, person = venice.held(), Person()
    for write in EVERY.values():
        await unknown(venice, write.tool, write.given(venice.id_of), era=era, person=person)
    assert (venice.written, venice.held(), person.questions) == ({}, before, [])
    assert done(await venice.call("venice_list_api_keys", era=era))["rows"]
    assert any(line.startswith("Read only") for line in (await status(venice))["policy"])


async def test_read_only_stops_recovery_from_revoking_but_not_from_telling(tmp_path: Path) -> None:
    first = operated(tmp_path, "")
    done(await first.call(CREATE, CAPPED))
    venice = operated(tmp_path, "read_only = true\n", share=first)
    assert venice.id_of(MADE) in text_of(await venice.call("venice_recover"))
    said = await forbidden(venice, "venice_recover", {"revoke": venice.id_of(MADE)})
    assert said == "nothing may be created, changed or revoked (read_only)"


@eras
async def test_hidden_tools_are_not_there(tmp_path: Path, era: str) -> None:
    venice = operated(tmp_path, "[tools]\noffer = ['venice_*key*', 'venice_status']\nhide = ['*revoke*', '*web3*']\n")
    there = await offered(venice, era)
    assert there == {
        "venice_status",
        "venice_list_api_keys",
        "venice_get_api_key",
        "venice_find_api_key",
        "venice_audit_api_keys",
        "venice_create_api_key",
        "venice_update_api_key",
        "venice_rotate_api_key",
        "venice_provision_api_keys",
        "venice_update_api_keys",
        "venice_scan_for_leaked_keys",
    }
    await unknown(venice, "venice_revoke_api_key", {"key_id": venice.id_of(IDLE)}, era=era)
    assert venice.written == {}


# --- rules for keys -------------------------------------------------------------------------------

# the rule, what breaks it, what the text must say, what passes instead
RULES: dict[str, tuple[str, Json, str, Json]] = {
    "type": ("types = ['INFERENCE']", {"api_key_type": "ADMIN"}, "no ADMIN key may be made, only INFERENCE", {}),
    "cap": ("require_caps = ['diem']", {}, "a DIEM cap is required", {"consumption_limit": {"usd": 5, "diem": 1}}),
    "ceiling": (
        "max_cap.EPOCH.usd = 10",
        {"consumption_limit": {"usd": 11}},
        "the USD cap must be at most 10 per UTC day",
        {},
    ),
    "window": (
        "max_cap.MONTH.usd = 10",
        {"limit_period": "EPOCH"},
        "the USD cap must be at most 10 per UTC month",
        {"limit_period": "LIFETIME"},
    ),
    "expiry": ("max_days = 90", {"expires_in_days": 91}, "it must expire within 90 days", {"expires_in_days": 90}),
    "no expiry": ("max_days = 90", {}, "it must expire within 90 days", {"expires_in_days": 1}),
    "description": (
        "description = 'team-[a-z]+'",
        {"description": "team"},
        'the description must match "team-[a-z]+"',
        {"description": "team-a"},
    ),
    "privacy": (
        "model_privacy = 'PRIVATE_TEXT'",
        {"model_privacy": "ALL"},
        "model_privacy must be PRIVATE_ONLY or PRIVATE_TEXT",
        {"model_privacy": "PRIVATE_ONLY"},
    ),
}


@pytest.mark.parametrize("tool", [CREATE, MINT])
@pytest.mark.parametrize("rule", RULES)
async def test_a_key_that_breaks_a_rule_is_refused_and_the_rule_named(tmp_path: Path, rule: str, tool: str) -> None:
    text, wrong, words, right = RULES[rule]
    venice = operated(tmp_path, f"[keys]\n{text}\n", scenario="empty")
    for era in ERAS:
        assert await forbidden(venice, tool, CAPPED | wrong, era=era) == words
    done(await venice.call(tool, CAPPED | right))


@pytest.mark.parametrize("rule", [name for name in RULES if name not in ("type", "no expiry", "cap")])
async def test_a_change_that_breaks_a_rule_is_refused_and_the_rule_named(tmp_path: Path, rule: str) -> None:
    text, wrong, words, right = RULES[rule]
    venice = operated(tmp_path, f"[keys]\n{text}\n", scenario="empty")
    body: Json = {
        "apiKeyType": "INFERENCE",
        "description": "team-b",
        "consumptionLimit": {"usd": 4},
        "limitPeriod": "MONTH",
        "modelPrivacy": "PRIVATE_TEXT",
        "expiresAt": "2027-01-01T00:00:00Z",
    }
    key_id = str((await venice.venice("POST", "/api_keys", json=body))["data"]["id"])
    for era in ERAS:
        assert await forbidden(venice, UPDATE, {"key_id": key_id, **wrong}, era=era) == words
    done(await venice.call(UPDATE, {"key_id": key_id, "consumption_limit": {"usd": 3}, **right}))


async def test_clearing_what_a_rule_asks_for_breaks_it(tmp_path: Path) -> None:
    venice = operated(tmp_path, "[keys]\nrequire_caps = ['usd']\nmax_days = 90\n", scenario="empty")
    made = done(await venice.call(CREATE, {**CAPPED, "expires_in_days": 9}))
    for cleared, words in (("usd_cap", "a USD cap is required"), ("expires_at", "it must expire within 90 days")):
        assert await forbidden(venice, UPDATE, {"key_id": made["id"], "clear": [cleared]}) == words


async def test_several_broken_rules_are_told_together(tmp_path: Path) -> None:
    venice = operated(tmp_path, "[keys]\ntypes = ['INFERENCE']\nmax_days = 9\n[secrets]\nsinks = ['file']\n")
    said = await forbidden(venice, CREATE, {"description": "x", "api_key_type": "ADMIN"})
    assert said.count("; ") == 2


# --- a policy that cannot be used -----------------------------------------------------------------

BROKEN = {
    "not TOML": "read_only = maybe",
    "an unknown member": "read_onyl = true",
    "a wrong type": "read_only = 'yes'",
    "a bad pattern": "[keys]\ndescription = '('",
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_policy_that_cannot_be_read_stops_every_write_and_no_read(tmp_path: Path, case: str) -> None:
    await assert_stopped(open_world(tmp_path, policy=BROKEN[case]))


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
async def test_a_policy_that_others_may_write_stops_every_write(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "operator" / "policy.toml"
    file.parent.mkdir(mode=0o700)
    file.write_text("[keys]\nmax_days = 90\n")
    file.chmod(mode)
    await assert_stopped(open_world(tmp_path), words="others may write to it (chmod go-w)")


async def test_a_policy_in_a_folder_others_may_write_to_stops_every_write(tmp_path: Path) -> None:
    (tmp_path / "operator").mkdir()
    (tmp_path / "operator" / "policy.toml").write_text("")
    (tmp_path / "operator").chmod(0o770)
    await assert_stopped(open_world(tmp_path), words="(chmod go-w)")


async def assert_stopped(venice: World, words: str = "") -> None:
    assert await offered(venice) >= WRITING, "whoever tries must be told why"
    for write in EVERY.values():
        await forbidden(venice, write.tool, write.given(venice.id_of), begins=UNUSABLE)
    assert done(await venice.call("venice_list_api_keys"))["rows"]
    problems = " ".join((await status(venice))["problems"])
    assert "cannot be used" in problems
    assert "until then nothing is created, changed or revoked" in problems
    check = await doctor(venice)
    assert check.state == "problem"
    for text in (problems, check.found):
        assert "policy.toml" in text
        assert words in text


async def test_recovery_revokes_nothing_while_the_policy_cannot_be_used(tmp_path: Path) -> None:
    first = open_world(tmp_path)
    done(await first.call(CREATE, CAPPED))
    venice = open_world(tmp_path, policy="read_only = maybe", share=first)
    await forbidden(venice, "venice_recover", {"revoke": venice.id_of(MADE)}, begins=UNUSABLE)


# --- what a project says --------------------------------------------------------------------------


def project(folder: Path, rules: str) -> dict[str, str]:
    """Environment variables with which a project names a policy of its own."""
    file = folder / "project.toml"
    file.write_text(rules)
    file.chmod(0o600)
    return {**KEYS, "VENICE_MCP_POLICY": str(file)}


async def test_a_project_makes_rules_stricter_and_never_weaker(tmp_path: Path) -> None:
    env = project(tmp_path, "[keys]\nmax_days = 400\nmax_cap.EPOCH.usd = 3\n[tools]\nhide = ['*web3*']\n")
    venice = operated(tmp_path, "[keys]\nmax_days = 90\nmax_cap.EPOCH.usd = 50\n", env=env, scenario="empty")
    assert not any("web3" in name for name in await offered(venice))
    said = await forbidden(venice, CREATE, {**CAPPED, "expires_in_days": 91})
    assert set(said.split("; ")) == {"it must expire within 90 days", "the USD cap must be at most 3 per UTC day"}
    within: Json = {"description": MADE, "consumption_limit": {"usd": 3}, "expires_in_days": 90}
    done(await venice.call(CREATE, within))


@pytest.mark.parametrize(
    "rules",
    [
        "state_dir = '/var/tmp/other'",
        "[approval]\nnarrowing_unasked = true",
        "[secrets.commands.keeper]\nargv = ['/bin/true']",
        "[network]\nproxy = 'http://proxy.test:3128'",
        "[[approval.allowances]]\nname = 'ci'\nmax_cap.usd = 5\nlimit_period = 'EPOCH'\nmax_days = 7\n"
        "sinks = ['file']\nper_day = 3",
    ],
)
async def test_a_project_that_would_grant_something_stops_every_write(tmp_path: Path, rules: str) -> None:
    venice = operated(tmp_path, "[keys]\nmax_days = 90\n", env=project(tmp_path, rules))
    await forbidden(venice, CREATE, CAPPED, begins=UNUSABLE)
    assert any("may stand only in the operator's own policy" in each for each in (await status(venice))["problems"])
    assert (await doctor(venice)).state == "problem"


async def test_a_project_cannot_undo_read_only_but_can_turn_it_on(tmp_path: Path) -> None:
    cases = (("read_only = true\n", "0", False), ("read_only = true\n", "", False), ("", "1", False), ("", "0", True))
    for number, (rules, variable, writes) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir(mode=0o700)
        venice = operated(folder, rules, env={**KEYS, "VENICE_MCP_READ_ONLY": variable})
        assert (rules, variable, bool(await offered(venice) & WRITING)) == (rules, variable, writes)


async def test_a_policy_a_project_names_and_that_is_missing_stops_every_write(tmp_path: Path) -> None:
    venice = operated(tmp_path, "", env={**KEYS, "VENICE_MCP_POLICY": str(tmp_path / "nowhere.toml")})
    await forbidden(venice, CREATE, CAPPED, begins=UNUSABLE)
    assert any("nowhere.toml" in problem for problem in (await status(venice))["problems"])


# --- approvals on a terminal only -----------------------------------------------------------------

TERMINAL = "[approval]\nhow = 'terminal'\n"


@pytest.mark.parametrize(("name", "era"), [*zip(EVERY, cycle(ERAS), strict=False)])
async def test_a_client_that_can_ask_is_never_asked_when_the_terminal_decides(
    tmp_path: Path, name: str, era: str
) -> None:
    venice, write, person = operated(tmp_path, TERMINAL), WRITES[name], Person()
    before, arguments = venice.held(), write.given(venice.id_of)
    said = failed(await venice.call(write.tool, arguments, era=era, person=person))
    assert said.startswith("Nothing was done: policy takes approvals from a terminal only, so a person must")
    assert (person.questions, venice.written, venice.held()) == ([], {}, before)
    ended, screen = on_terminal(command_in(said), tmp_path, "YES\n")
    assert (ended, "Approved, once" in screen) == (0, True)
    done(await venice.call(write.tool, arguments, era=era, person=person))
    assert (person.questions, venice.written) == ([], {write.operation: 1})
    assert "a person must first approve" in failed(await venice.call(CREATE, CAPPED, era=era, person=person))


async def test_an_answer_to_a_question_from_before_the_terminal_decided_does_not_count(tmp_path: Path) -> None:
    """The client was asked, then the operator made the rule and restarted: its yes is none any more."""
    venice = operated(tmp_path, "")
    async with venice.client(MODERN, Person()) as client:
        call = await begin(client, CREATE, CAPPED)
    later = operated(tmp_path, TERMINAL, share=venice)
    async with later.client(MODERN, Person()) as client:
        for state in (call.state, None):
            forged = await replace(call, client=client, state=state).send()
            assert not isinstance(forged, CallToolResult) or forged.is_error
    assert venice.written == {}


# --- what a policy that became stricter does to an approval -----------------------------------------


@pytest.mark.parametrize("era", [LEGACY, MODERN])
async def test_an_approval_does_not_outlive_the_policy_it_was_given_under(tmp_path: Path, era: str) -> None:
    venice = operated(tmp_path, "")
    failed(await venice.call(CREATE, CAPPED, era=era, person=Person("cancel")))
    (waiting,) = venice.app.store.approvals.waiting(venice.clock())
    venice.app.store.approvals.settle(waiting.code, "granted", "approved on a terminal", venice.clock())
    stricter = operated(tmp_path, "[keys]\nmax_cap.EPOCH.usd = 4\n", share=venice)
    assert await forbidden(stricter, CREATE, CAPPED, era=era) == "the USD cap must be at most 4 per UTC day"
    weaker = operated(tmp_path, "", share=venice)
    async with weaker.client(era) as client:
        done(await client.call_tool(CREATE, CAPPED))
    assert venice.written == {"createApiKey": 1}


# --- where secrets may go -------------------------------------------------------------------------

PLACES: dict[str, Json] = {
    "display": {"kind": "display"},
    "file": {"path": "{folder}/new.key"},
    "dotenv": {"kind": "dotenv", "path": "{folder}/.env", "variable": "MY_KEY"},
    "keyring": {"kind": "keyring", "variable": "MY_KEY"},
    "command": {"kind": "command", "name": "keeper"},
}


def to(kind: str, folder: Path) -> Json:
    place = {name: value.replace("{folder}", str(folder)) for name, value in PLACES[kind].items()}
    return {**CAPPED, "deliver_to": place}


def keeper(folder: Path, body: str) -> str:
    """A program of the operator's, and the rules that name it."""
    program = folder / "keeper"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o700)
    return f"commands.keeper.argv = ['{program}', '--for', '{{variable}}']\n"


@eras
@pytest.mark.parametrize("kind", ["file", "dotenv"])
async def test_a_kind_of_place_the_policy_does_not_name_is_refused(tmp_path: Path, kind: str, era: str) -> None:
    other = {"file": "dotenv", "dotenv": "file"}[kind]
    venice = operated(tmp_path, f"[secrets]\nsinks = ['{other}']\n", scenario="empty")
    for tool in (CREATE, MINT):
        said = await forbidden(venice, tool, to(kind, tmp_path), era=era)
        assert said == f"its secret may go to {other}, not to {kind}"
    assert not (tmp_path / "new.key").exists()
    assert not (tmp_path / ".env").exists()
    done(await venice.call(CREATE, to(other, tmp_path), era=era))


@eras
async def test_a_secret_that_may_not_be_shown_needs_a_place(tmp_path: Path, era: str) -> None:
    venice = operated(tmp_path, "[secrets]\nsinks = ['file', 'keyring']\n", scenario="empty")
    for arguments in (CAPPED, to("display", tmp_path)):
        for tool in (CREATE, MINT):
            said = await forbidden(venice, tool, arguments, era=era)
            assert said == "its secret may go to file or keyring, not to display"
    done(await venice.call(CREATE, to("file", tmp_path), era=era))


@pytest.mark.parametrize("kind", ["file", "dotenv"])
async def test_a_folder_the_policy_does_not_name_is_refused_however_it_is_reached(tmp_path: Path, kind: str) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "mine" / "deep").mkdir(mode=0o700)
    (tmp_path / "other").mkdir(mode=0o700)
    (tmp_path / "mine" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "minelike").mkdir(mode=0o700)
    venice = operated(tmp_path, f"[secrets]\nfolders = ['{tmp_path / 'mine'}']\n", scenario="empty")
    for outside in ("other", "mine/../other", "mine/link", "minelike", "."):
        said = failed(await venice.call(CREATE, to(kind, tmp_path / outside), person=(person := Person())))
        assert "Nothing was changed at Venice." in said
        assert (outside, person.questions, venice.written) == (outside, [], {})
    assert list((tmp_path / "other").iterdir()) == []
    for inside in ("mine", "mine/deep"):
        done(await venice.call(CREATE, to(kind, tmp_path / inside)))


@eras
@pytest.mark.parametrize("tool", [CREATE, MINT])
async def test_a_command_of_the_policy_gets_the_secret(tmp_path: Path, tool: str, era: str) -> None:
    rules = keeper(tmp_path, f"umask 077; cat > '{tmp_path}/kept'; echo \"$@\" > '{tmp_path}/argv'")
    venice = operated(tmp_path, f"[secrets]\n{rules}", scenario="empty")
    arguments: Json = {**CAPPED, "deliver_to": {"kind": "command", "name": "keeper", "variable": "MY_KEY"}}
    result = await venice.call(tool, arguments, era=era, person=(person := Person()))
    secret = str(venice.described(MADE)[0]["secret"])
    assert 'the command "keeper" of this server\'s policy, for MY_KEY' in person.questions[0]
    assert (tmp_path / "kept").read_text() == f"{secret}\n"
    assert (tmp_path / "argv").read_text() == "--for MY_KEY\n"
    assert done(result)["delivered_to"] == 'the command "keeper" of this server\'s policy, for MY_KEY'
    assert secret not in result.model_dump_json()


async def test_a_command_that_is_not_in_the_policy_is_refused(tmp_path: Path) -> None:
    rules = keeper(tmp_path, f"touch '{tmp_path}/ran'")
    venice = operated(tmp_path, f"[secrets]\n{rules}")
    for name in ("other", "keeper2", "Keeper", "sh"):
        place: Json = {"kind": "command", "name": name, "variable": "MY_KEY"}
        said = failed(await venice.call(CREATE, {**CAPPED, "deliver_to": place}, person=(person := Person())))
        assert (person.questions, venice.written) == ([], {})
        assert "Nothing was changed at Venice." in said
    assert not (tmp_path / "ran").exists()


async def test_without_a_policy_there_is_no_command(tmp_path: Path) -> None:
    venice, person = open_world(tmp_path), Person()
    said = failed(await venice.call(CREATE, to("command", tmp_path), person=person))
    assert "defines no command" in said
    assert (person.questions, venice.written) == ([], {})


async def test_a_project_brings_no_command_of_its_own(tmp_path: Path) -> None:
    env = project(tmp_path, "[secrets]\n" + keeper(tmp_path, f"touch '{tmp_path}/ran'"))
    venice = operated(tmp_path, "", env=env)
    assert "defines no command" in failed(await venice.call(CREATE, to("command", tmp_path)))
    assert (venice.written, (tmp_path / "ran").exists()) == ({}, False)
