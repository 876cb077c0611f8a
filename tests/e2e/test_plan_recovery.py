"""Plans that were interrupted: gone on with, taken back or dropped through venice_recover; approved on a terminal."""

import re
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from tests.e2e.bench import ERAS, Forward, Json, Person, World, done, failed, operated, text_of
from tests.e2e.striking import FAULTS, Fault, Struck, alive, assert_accounted_for, quick_folder, to_the_end
from tests.e2e.terminal import on_terminal
from tests.e2e.test_plan_limits import PROVISION, REVOKE, ROTATE, TOOLS, UPDATE, Call, tools
from tests.e2e.test_terminal import command_in

pytestmark = pytest.mark.anyio
RECOVER = "venice_recover"
UNDOABLE = (ROTATE, PROVISION, UPDATE)
FEW = ("lost after acting", "lost before acting", "429", "dark after acting")
"""Of the faults, those that differ for a plan whose steps do not wait for one another."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as path:
        yield path


def settings(venice: World) -> dict[str, Json]:
    """Every key that works, by id."""
    return {str(key["id"]): {**key, "lastUsedAt": None} for key in alive(venice).values()}


async def carried_out(call: Call, person: Person | None = None) -> str:
    """The code of a plan that was carried out."""
    told = done(await call.venice.call(call.tool, call.arguments, person=person))
    assert told["finished"] is True
    return str(told["plan"])


async def the_plan(venice: World) -> str:
    """The code of the one plan that is open."""
    (plan,) = done(await venice.call(RECOVER))["plans"]
    return str(plan["plan"])


# --- going on -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tool", "era"), [*zip(TOOLS, cycle(ERAS), strict=False)])
async def test_an_interrupted_plan_is_named_and_gone_on_with_unasked(folder: Path, tool: str, era: str) -> None:
    call, person, quiet = await Call.of(folder, tool), Person(), Person()
    struck = await call.interrupted(person, era)
    named = await call.venice.call(RECOVER, era=era, person=quiet)
    (plan,) = done(named)["plans"]
    assert (plan["tool"], plan["done"], plan["left"]) == (tool, 1, 1)
    for way in ("resume", "undo", "give_up"):
        assert way in plan["next_step"]
    assert f"UNFINISHED {plan['plan']}" in text_of(named)
    # Another server on the same record, as after a crash.
    afresh = operated(folder, "", share=call.venice)
    resumed = await afresh.call(RECOVER, {"resume": plan["plan"]}, era=era, person=quiet)
    assert done(resumed)["plans"] == []
    assert "2 steps: 2 done" in text_of(resumed)
    assert quiet.questions == []
    assert len(call.venice.edge.writes) + len(afresh.edge.writes) == 3
    assert struck.venice.app.store.trail.verify().broken is None
    assert "no plan of that name" in failed(await afresh.call(RECOVER, {"resume": plan["plan"]}))


@tools
async def test_a_plan_is_gone_on_with_for_a_day_and_then_no_more(folder: Path, tool: str) -> None:
    call = await Call.of(folder, tool)
    await call.interrupted(Person())
    code = await the_plan(call.venice)
    call.venice.clock.advance(hours=24.1)
    before = settings(call.venice)
    assert "24 hours are over" in failed(await call.venice.call(RECOVER, {"resume": code}))
    (plan,) = done(await call.venice.call(RECOVER))["plans"]
    assert plan["next_step"].startswith("It is too old to go on with")
    no = Person("decline")
    result = await call.venice.call(tool, call.arguments, person=no)
    # What is left is asked about anew, or cannot be asked for like this any more.
    assert (result.is_error, settings(call.venice)) == (True, before)


@tools
async def test_a_plan_that_was_dropped_is_not_gone_on_with(folder: Path, tool: str) -> None:
    call, person = await Call.of(folder, tool), Person()
    await call.interrupted(person)
    code, before = await the_plan(call.venice), settings(call.venice)
    dropped = await call.venice.call(RECOVER, {"give_up": code}, person=person)
    assert f"Plan {code} is dropped. What it did stays as it is." in text_of(dropped)
    assert done(dropped)["plans"] == []
    for way in ("resume", "give_up"):
        failed(await call.venice.call(RECOVER, {way: code}, person=person))
    failed(await call.venice.call(RECOVER, {"undo": code}, person=Person("decline")))
    assert (settings(call.venice), len(person.questions)) == (before, 1)
    result = await call.venice.call(tool, call.arguments, person=Person("decline"))
    assert (result.is_error, settings(call.venice)) == (True, before)


async def test_a_plan_that_is_at_its_end_cannot_be_dropped(folder: Path) -> None:
    call = await Call.of(folder, PROVISION)
    code = await carried_out(call)
    assert "came to its end already" in failed(await call.venice.call(RECOVER, {"give_up": code}))
    assert "There is no such plan" in failed(await call.venice.call(RECOVER, {"undo": "ABCD-2345"}))


async def test_a_plan_whose_approval_was_not_given_is_none(folder: Path) -> None:
    call, no = await Call.of(folder, PROVISION), Person("decline")
    failed(await call.venice.call(call.tool, call.arguments, person=no))
    code = re.findall(r"Approval ([0-9A-Z]{4}-[0-9A-Z]{4})", no.questions[0])[0]
    for way in ("resume", "undo", "give_up"):
        failed(await call.venice.call(RECOVER, {way: code}))
    assert call.venice.edge.writes == []


# --- taking back ----------------------------------------------------------------------------------

# Each plan in both states, and each plan and each state in both eras.
TAKEN_BACK = [
    (how, tool, ERAS[(at + place) % 2])
    for at, how in enumerate(("finished", "half done"))
    for place, tool in enumerate(UNDOABLE)
]


@pytest.mark.parametrize(("how", "tool", "era"), TAKEN_BACK)
async def test_a_plan_is_taken_back_after_a_question(folder: Path, tool: str, how: str, era: str) -> None:
    call = await Call.of(folder, tool)
    before, person = settings(call.venice), Person()
    if how == "finished":
        code = await carried_out(call)
    else:
        await call.interrupted(Person())
        code = await the_plan(call.venice)
    after = settings(call.venice)
    failed(await call.venice.call(RECOVER, {"undo": code}, era=era, person=Person("decline")))
    assert settings(call.venice) == after
    call.venice.clock.advance(minutes=30)  # whoever said no is not asked again at once
    result = await call.venice.call(RECOVER, {"undo": code}, era=era, person=person)
    assert (done(result)["plans"], done(result)["open"]) == ([], []), text_of(result)
    assert settings(call.venice) == before
    (question,) = person.questions
    assert question.startswith("Take back what was done under ")
    for way in ("undo", "resume"):
        failed(await call.venice.call(RECOVER, {way: code}, person=person))
    assert len(person.questions) == 1


async def test_what_was_revoked_cannot_be_taken_back(folder: Path) -> None:
    call, person = await Call.of(folder, REVOKE), Person()
    code = await carried_out(call)
    said = failed(await call.venice.call(RECOVER, {"undo": code}, person=person))
    assert "nothing of the plan can be taken back" in said
    assert '"first": it is revoked, and that cannot be taken back.' in said
    assert person.questions == []


@pytest.mark.parametrize(
    ("tool", "fault"),
    [(tool, fault) for tool in UNDOABLE for fault in FEW],
)
async def test_taking_back_struck_at_any_write_ends_as_it_should(tool: str, fault: str) -> None:
    for write in (1, 2):
        with quick_folder() as folder:
            await taken_back_struck(await Call.of(folder, tool), FAULTS[fault], write)


async def taken_back_struck(call: Call, fault: Fault, write: int) -> None:
    before, code = settings(call.venice), await carried_out(call)
    old, new = before.keys(), settings(call.venice).keys() - before.keys()
    last, dark = len(call.venice.edge.writes) + write, False

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        nonlocal dark
        if dark:
            raise httpx.ConnectError("dark")
        if call.tool == ROTATE:
            # The successor goes only when the old key is there for good again.
            lasting = {key_id for key_id, key in settings(call.venice).items() if key["expiresAt"] is None}
            assert old <= lasting or new <= lasting
        if request.method == "GET" or len(call.venice.edge.writes) != last:
            return await forward()
        if fault.acts:
            await forward()
        dark = fault.dark
        return fault.ending()

    call.venice.edge.hook = hook
    person, said = Person(), ""
    async with call.venice.client(person=person) as client:
        for _ in range(4):
            result = await client.call_tool(RECOVER, {"undo": code})
            dark, said = False, f"{said}\n{text_of(result)}"
            if not result.is_error and not done(result)["plans"]:
                break
            call.venice.clock.advance(seconds=61)
        assert settings(call.venice) == before, said
        assert (len(person.questions), done(await client.call_tool(RECOVER))["open"]) == (1, [])


async def test_a_rotation_whose_old_key_is_gone_is_not_taken_back(folder: Path) -> None:
    call, person = await Call.of(folder, ROTATE), Person()
    code = await carried_out(call)
    call.venice.clock.advance(hours=2.1)
    before = settings(call.venice)
    said = failed(await call.venice.call(RECOVER, {"undo": code}, person=person))
    assert "taking the rotation back would leave no key at all" in said
    assert (person.questions, settings(call.venice)) == ([], before)


@pytest.mark.parametrize("grace", [0, 24])
async def test_a_rotation_that_cannot_give_the_old_key_its_expiry_back_keeps_the_successor(
    folder: Path, grace: float
) -> None:
    call = await Call.of(folder, ROTATE)
    call.arguments["grace_hours"] = grace
    code = await carried_out(call)
    if grace:
        body = {"id": call.arguments["key_id"], "expiresAt": f"{call.venice.clock().year + 1}-01-01T00:00:00Z"}
        await call.venice.venice("PATCH", "/api_keys", json=body)
    before, person = settings(call.venice), Person()
    failed(await call.venice.call(RECOVER, {"undo": code}, person=person))
    assert (person.questions, settings(call.venice)) == ([], before)


async def test_taking_back_says_what_stays_replaced(folder: Path) -> None:
    call, person = await Call.of(folder, ROTATE), Person("decline")
    (folder / ".env").write_text("KEY=before\n")
    (folder / ".env").chmod(0o600)
    call.arguments["deliver_to"] = {"kind": "dotenv", "path": str(folder / ".env"), "variable": "KEY"}
    code = await carried_out(call)
    failed(await call.venice.call(RECOVER, {"undo": code}, person=person))
    assert f'What its secret replaced, KEY in the file "{folder / ".env"}", is not put back.' in person.questions[0]


async def test_a_key_that_changed_since_is_not_set_back(folder: Path) -> None:
    call, person = await Call.of(folder, UPDATE), Person()
    code = await carried_out(call)
    first, second = call.arguments["key_ids"]
    await call.venice.venice("PATCH", "/api_keys", json={"id": second, "consumptionLimit": {"usd": 9}})
    result = await call.venice.call(RECOVER, {"undo": code}, person=person)
    assert not result.is_error
    assert '"second": it was changed again since' in person.questions[0]
    assert [settings(call.venice)[key_id]["caps"] for key_id in (first, second)] == [{"usd": 5}, {"usd": 9}]


# --- a key whose secret nobody has ----------------------------------------------------------------


@pytest.mark.parametrize("tool", [ROTATE, PROVISION])
@pytest.mark.parametrize("way", ["give_up", "undo"])
async def test_a_key_left_without_its_secret_is_named_whatever_becomes_of_its_plan(
    folder: Path, tool: str, way: str
) -> None:
    call, person = await Call.of(folder, tool), Person()
    before = settings(call.venice)
    struck = Struck(call.venice, FAULTS["dark after acting"], at=0)

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "POST":
            struck.at = struck.seen + 1
        return await struck(request, forward)

    call.venice.edge.hook = hook
    await call.venice.call(tool, call.arguments, person=person)
    struck.dark, call.venice.edge.hook = False, None
    (lost,) = settings(call.venice).keys() - before.keys()
    code = str(next(entry.subject for entry in call.venice.app.store.trail.all() if entry.kind == "begun"))
    await call.venice.call(RECOVER, {way: code}, person=person)
    call.venice.clock.advance(seconds=61)
    found = done(await call.venice.call(RECOVER))
    assert [item["key_id"] for item in found["open"]] == [lost]
    done(await call.venice.call(RECOVER, {"revoke": lost}))
    assert settings(call.venice) == before
    assert done(await call.venice.call(RECOVER))["open"] == []


# --- approved on a terminal -----------------------------------------------------------------------


@pytest.mark.parametrize("tool", [ROTATE, UPDATE])  # one of the two kinds of plans each: of one key, and of several
async def test_a_plan_approved_on_a_terminal_is_carried_out_unasked(folder: Path, tool: str) -> None:
    call, nobody = await Call.of(folder, tool, "[approval]\nhow = 'terminal'\n"), Person()
    said = failed(await call.venice.call(tool, call.arguments, person=nobody))
    command = command_in(said)
    assert (nobody.questions, call.venice.edge.writes) == ([], [])
    status, screen = on_terminal(command, folder, "YES\n")
    assert status == 0, screen
    struck = Struck(call.venice)
    story = await to_the_end(struck, tool, call.arguments, person=nobody)
    assert (nobody.questions, len(call.venice.edge.writes)) == ([], 2)
    nobody.questions.append("on a terminal")
    await assert_accounted_for(struck, story)


async def test_a_plan_refused_on_a_terminal_is_not_carried_out(folder: Path) -> None:
    call = await Call.of(folder, PROVISION, "[approval]\nhow = 'terminal'\n")
    command = command_in(failed(await call.venice.call(call.tool, call.arguments)))
    on_terminal(command, folder, "no\n")
    assert "refused this request on their terminal" in failed(await call.venice.call(call.tool, call.arguments))
    assert call.venice.edge.writes == []
