"""What the operator's policy does to the tools: nothing gets past it, and what it lets pass unasked is little."""

from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError

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
from venice_mcp.doctor import Check, examine

pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", ERAS)
CREATE, MINT, UPDATE = "venice_create_api_key", "venice_create_web3_api_key", "venice_update_api_key"
WRITING = {write.tool for write in EVERY.values()}
READING = {"venice_status", "venice_list_api_keys", "venice_get_api_key", "venice_recover", "venice_get_billing_balance"}
FORBIDDEN = "The operator's policy forbids this: "
UNUSABLE = "Nothing is written while the policy cannot be used: "


async def offered(venice: World, era: str = MODERN) -> set[str]:
    async with venice.client(era) as client:
        return {tool.name for tool in (await client.list_tools()).tools}


async def forbidden(
    venice: World, tool: str, arguments: Json, *, era: str = MODERN, begins: str = FORBIDDEN
) -> str:
    """What a call is told that policy forbids: nobody is asked, nothing is sent, and the text says so."""
    person, before, written = Person(), venice.held(), venice.written
    said = failed(await venice.call(tool, arguments, era=era, person=person))
    assert said.startswith(begins), said
    assert "Nothing was changed at Venice." in said
    assert (person.questions, venice.written, venice.held()) == ([], written, before)
    return said.removeprefix(begins).split(". Nothing was changed")[0]


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
    async with venice.client(era, person) as client:
        for write in EVERY.values():
            with pytest.raises(MCPError) as refused:
                await client.call_tool(write.tool, write.given(venice.id_of))
            assert write.tool not in str(refused.value)
    assert (venice.written, venice.held(), person.questions) == ({}, before, [])
    assert done(await venice.call("venice_list_api_keys", era=era))["keys"]
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
        "venice_create_api_key",
        "venice_update_api_key",
    }
    with pytest.raises(MCPError):
        await venice.call("venice_revoke_api_key", {"key_id": venice.id_of(IDLE)}, era=era)
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
    person, before = Person(), venice.held()
    assert await offered(venice) & WRITING == set()
    for write in EVERY.values():
        with pytest.raises(MCPError):
            await venice.call(write.tool, write.given(venice.id_of), person=person)
    assert (person.questions, venice.written, venice.held()) == ([], {}, before)
    assert done(await venice.call("venice_list_api_keys"))["keys"]
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
    assert said == "it must expire within 90 days; the USD cap must be at most 3 per UTC day" or sorted(
        said.split("; ")
    ) == ["it must expire within 90 days", "the USD cap must be at most 3 per UTC day"]
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
    assert await offered(venice) & WRITING == set()
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
    assert await offered(venice) & WRITING == set()
    assert any("nowhere.toml" in problem for problem in (await status(venice))["problems"])


# --- approvals on a terminal only -----------------------------------------------------------------

TERMINAL = "[approval]\nhow = 'terminal'\n"


@eras
@pytest.mark.parametrize("name", EVERY)
async def test_a_client_that_can_ask_is_never_asked_when_the_terminal_decides(
    tmp_path: Path, name: str, era: str
) -> None:
    venice, write, person = operated(tmp_path, TERMINAL), WRITES[name], Person()
    before, arguments = venice.held(), write.given(venice.id_of)
    said = failed(await venice.call(write.tool, arguments, era=era, person=person))
    assert said.startswith("Policy takes approvals from a terminal only. The request waits for a person's approval")
    assert (person.questions, venice.written, venice.held()) == ([], {}, before)
    ended, screen = on_terminal(said.split("same arguments: ")[1], tmp_path, "YES\n")
    assert (ended, "Approved, once" in screen) == (0, True)
    done(await venice.call(write.tool, arguments, era=era, person=person))
    assert (person.questions, venice.written) == ([], {write.operation: 1})
    assert "waits for a person's approval" in failed(await venice.call(CREATE, CAPPED, era=era, person=person))


async def test_an_answer_to_a_question_from_before_the_terminal_decided_does_not_count(tmp_path: Path) -> None:
    """The client was asked, then the operator made the rule and restarted: its yes is none any more."""
    venice = operated(tmp_path, "")
    async with venice.client(MODERN, Person()) as client:
        call = await begin(client, CREATE, CAPPED)
    later = operated(tmp_path, TERMINAL, share=venice)
    async with later.client(MODERN, Person()) as client:
        for state in (call.state, None):
            result = await client.session.call_tool(CREATE, CAPPED, allow_input_required=True)
            assert "from a terminal only" in text_of(result) if hasattr(result, "content") else False
            forged = type(call)(client, CREATE, CAPPED, call.question, call.answers, state)
            assert not getattr(await forged.send(), "is_error", True) is False
    assert venice.written == {}


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
