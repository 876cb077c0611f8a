"""What the test of any order is driven by: two servers on one state directory, the faults around them, a ledger."""

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
from anyio.from_thread import start_blocking_portal
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ElicitRequestFormParams, InputRequiredResult

from tests.e2e.bench import MODERN, Forward, Json, Person, Round, World, operated, reply, world
from tests.e2e.ledger import Ledger, Made
from venice_mcp.questions import recorded
from venice_mcp.store import REFUSED_ON_TERMINAL, Store

ALLOWANCE = """
[[approval.allowances]]
name = "ci"
operations = ["create", "revoke"]
max_cap = { usd = 5, diem = 0 }
limit_period = "EPOCH"
max_days = 7
sinks = ["file"]
per_day = 3
"""
FAULTS = ("before", "after", "500", "garbage", "dark", "gone", "folder gone", "taken")
"""Of a write and what follows: lost before or after it arrived, answered badly, then nothing can be read any more,
the caller is gone, the destination is gone, or something else is there."""
LATE_S = 11 * 60
MAKING = ("venice_create_api_key", "venice_create_web3_api_key")
Outcome = CallToolResult | InputRequiredResult | MCPError


@dataclass(frozen=True)
class How:
    """Over which server and era a call goes, who answers it, and what goes wrong meanwhile.

    Attributes:
        way: how the person answers; "" is a client without one.
        times: so often at once.
        at: which of its writes the fault is about.
    """

    second: bool = False
    era: str = MODERN
    way: str = "approve"
    times: int = 1
    meanwhile: str = ""
    fault: str = ""
    at: int = 1


@dataclass(frozen=True)
class Call:
    tool: str
    arguments: Json
    of_plan: Path | None = None
    """Where the secrets go of the plan that it resumes."""

    @property
    def sink(self) -> Path | None:
        place = self.arguments.get("deliver_to")
        return Path(place["path"]) if place else self.of_plan

    @property
    def key_id(self) -> str | None:
        return self.arguments.get("key_id") or (self.arguments.get("key_ids") or [None])[0]


@dataclass(frozen=True)
class Half:
    """A question that came back in a result, at which server, and how it will be answered."""

    venice: World
    call: Call
    way: str
    question: str
    answered: Round


class History:
    """Does one thing after the other, and has the ledger checked after each."""

    def __init__(self) -> None:
        self._leaving = ExitStack()
        self.folder = Path(self._leaving.enter_context(tempfile.TemporaryDirectory()))
        self.ledger = Ledger(Store(self.folder / "state"))
        self.calls: list[Call] = []
        self.halves: list[Half] = []
        self.open: list[Json] = []
        self.plans: list[str] = []
        self.broken = False
        self._renamed = self._alike = False
        self._call = Call("", {})
        self._fault, self._at, self._dark = "", 1, False
        self._gone: anyio.CancelScope | None = None
        first = operated(self.folder, ALLOWANCE, scenario="empty", limits=False)
        assert not first.app.settings.problems
        self.servers = [first, first]
        self._own = set(first.held())
        self.restart(0)
        self.restart(1)
        self._portal = self._leaving.enter_context(start_blocking_portal())

    def close(self) -> None:
        self._leaving.close()

    # --- what is there ------------------------------------------------------------------------

    @property
    def alive(self) -> set[str]:
        """Every active key but those the servers run on."""
        now = self.servers[0].sandbox.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        held = self.servers[0].held()
        return {key_id for key_id, key in held.items() if (key["expiresAt"] or "9") > now} - self._own

    def key(self, pick: int) -> str | None:
        """One of the active keys that were made here, the newest first."""
        alive = [key_id for key_id in self.ledger.made if key_id in self.alive]
        return alive[-1 - pick % len(alive)] if alive else None

    def new(self, tool: str, settings: Json, place: str) -> Call:
        number = len(self.calls)
        path = self.folder / f"sink {number}" / (".env" if place == "dotenv" else "new.key")
        places: dict[str, Json] = {
            "display": {},
            "file": {"deliver_to": {"path": str(path)}},
            "dotenv": {"deliver_to": {"kind": "dotenv", "path": str(path), "variable": "MY_KEY"}},
        }
        return Call(tool, {"description": f"key {number} of ours", **settings, **places[place]})

    def plan(self, kind: str, pick: int) -> Call | None:
        """A call that ends in several writes; None if there are no keys for it."""
        number, count = len(self.calls), 2 + pick % 2
        folder = self.folder / f"sink {number}"
        if kind == "provision":
            sink, suffix = ("csv", ".csv") if pick % 4 < 2 else ("dotenv", ".env")
            place = {"kind": sink, "path": str(folder / f"keys{suffix}")}
            named: Json = {"names": list("abc"[:count]), "description": f"plan {number}:{{name}}"}
            limits: Json = {"consumption_limit": {"usd": 6}}
            return Call("venice_provision_api_keys", {**named, **limits, "deliver_to": place})
        keys = {key_id for at in range(count) if (key_id := self.key(pick + at))}
        if not keys:
            return None
        if kind == "revoke":
            return Call("venice_revoke_api_keys", {"key_ids": sorted(keys)})
        if kind == "update":
            return Call("venice_update_api_keys", {"key_ids": sorted(keys), "consumption_limit": {"usd": 3}})
        ways: tuple[Json, ...] = ({"grace_hours": 5}, {"grace_hours": 0}, {"leaked": True})
        place = {"kind": "file", "path": str(folder / "new.key")}
        return Call("venice_rotate_api_key", {"key_id": self.key(pick), "deliver_to": place, **ways[pick % 3]})

    def resuming(self, code: str) -> Call:
        steps: list[Json] = self.ledger.allowed[code]["steps"]
        paths = [Path(step["deliver_to"]["path"]) for step in steps if "deliver_to" in step]
        return Call("venice_recover", {"resume": code}, paths[0] if paths else None)

    # --- what happens -------------------------------------------------------------------------

    def restart(self, which: int) -> None:
        self.servers[which] = world(self.folder, share=self.servers[which])
        self.servers[which].edge.hook = self._hook

    def do(self, call: Call, how: How) -> list[Outcome]:
        """A call with whoever answers it."""
        if call.tool != "venice_recover":
            self.calls.append(call)
        person = Person(how.way, self._meanwhile(how.meanwhile)) if how.way else None

        async def go(client: Client) -> Outcome:
            return await client.call_tool(call.tool, call.arguments)

        outcomes = self._run(go, call, how, self.servers[how.second], person)
        for question in set(person.questions if person else ()):
            self.ledger.told(question, result=False)
            if how.way == "approve":
                self.ledger.approved(question)
        self._note(outcomes, call, how.way, self.servers[how.second])
        return outcomes

    def begin(self, call: Call, how: How) -> None:
        """The first half of a call of 2026."""

        async def go(client: Client) -> Outcome:
            return await client.session.call_tool(call.tool, call.arguments, allow_input_required=True)

        venice = self.servers[how.second]
        self._note(self._run(go, call, How(), venice, Person()), call, how.way or "cancel", venice)

    def answer(self, half: Half, how: How, swap: str, other: Call) -> None:
        """The second half, perhaps for another time, or with another call or server than it belongs to."""
        if half.way == "approve":
            self.ledger.approved(half.question)
        call = half.call
        if swap in ("arguments", "tool"):
            call = Call(other.tool if swap == "tool" else call.tool, other.arguments)

        async def go(client: Client) -> Outcome:
            return await replace(half.answered, client=client).send(call.tool, call.arguments)

        venice = self.servers[how.second] if swap == "server" else half.venice
        self._note(self._run(go, call, how, venice, Person()), call, half.way, venice)

    def decide_on_a_terminal(self, pick: int, *, yes: bool) -> None:
        approvals, now = self.ledger.store.approvals, self.servers[0].clock()
        pending = [item for item in approvals.waiting(now) if item.state == "pending"]
        if not pending:
            return
        item = pending[pick % len(pending)]
        if yes:
            self.ledger.approved(recorded(item.data).text(item.code))
            approvals.settle(item.code, "granted", "approved on a terminal", now)
        else:
            approvals.settle(item.code, "denied", REFUSED_ON_TERMINAL, now)
        self._check()

    def somebody_else(self, key_id: str | None, act: str) -> None:
        self._portal.call(self._other, key_id, act)

    def nothing_is_lost(self) -> None:
        """Once everything had time to settle, the servers know of every key that nobody has."""
        self.restart(0)
        self.servers[0].clock.advance(seconds=61)
        said = [*self.do(Call("venice_recover", {}), How()), *self.do(Call("venice_status", {}), How())]
        self.ledger.check_nothing_lost(self.alive, "\n".join(map(str, said)))

    # --- how it is done -----------------------------------------------------------------------

    def _run(
        self, go: Callable[[Client], Awaitable[Outcome]], call: Call, how: How, venice: World, person: Person | None
    ) -> list[Outcome]:
        """What came of it; nothing when the caller was gone before."""
        self.broken = True  # until all that comes of it was judged
        self._call, self._fault, self._at, self._dark = call, how.fault, how.at, False
        if call.sink is not None:
            call.sink.parent.mkdir(mode=0o700, exist_ok=True)
        outcomes: list[Outcome] = []

        async def once(client: Client) -> None:
            try:
                outcomes.append(await go(client))
            except MCPError as error:
                outcomes.append(error)

        async def work() -> None:
            async with venice.client(how.era, person) as client:
                with anyio.CancelScope() as self._gone:
                    async with anyio.create_task_group() as tasks:
                        for _ in range(how.times):
                            tasks.start_soon(once, client)

        self._portal.call(work)
        self._fault, self._dark = "", False
        return outcomes

    def _note(self, outcomes: list[Outcome], call: Call, way: str, venice: World) -> None:
        for outcome in outcomes:
            if isinstance(outcome, MCPError):
                self.ledger.told(f"{outcome} {outcome.error.data}", result=False)
                continue
            self.ledger.told(
                outcome.model_dump_json(), result=isinstance(outcome, CallToolResult) and not outcome.is_error
            )
            if isinstance(outcome, InputRequiredResult):
                self.halves.append(_half(venice, call, way, outcome))
            elif call.tool == "venice_recover" and outcome.structured_content:
                self.open = outcome.structured_content["open"]
                self.plans = [plan["plan"] for plan in outcome.structured_content.get("plans", [])]
        self._check()

    def _check(self) -> None:
        self.broken = True
        self.ledger.check()
        self.ledger.check_none_made_twice(self.alive)
        self.broken = False

    async def _hook(self, request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "GET":
            if self._dark:
                raise httpx.ConnectError("dark")
            return await forward()
        self._at -= 1
        fault = self._fault if self._at == 0 else ""
        self.ledger.wrote(request)
        self._dark = fault == "dark"
        if fault == "before":
            raise httpx.ReadError("lost before it arrived")
        before = set(self.servers[0].held())
        response = await forward()
        for key_id, key in self.servers[0].held().items():
            if key_id not in before:
                self.ledger.made.setdefault(key_id, Made(key_id, key["secret"], self._call.sink))
        if fault in ("after", "dark"):
            raise httpx.ReadError("lost after it arrived")
        if fault == "500":
            return httpx.Response(500, json={"error": "An unknown error occurred"})
        if fault == "garbage":
            return httpx.Response(200, content=b'{"success": true, "data": {"id": "')
        if fault == "gone" and self._gone is not None:
            self._gone.cancel()
            await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
        self._spoil(fault)
        return response

    def _spoil(self, fault: str) -> None:
        """The destination is no longer what it was."""
        path = self._call.sink
        self.ledger.see_what_is_delivered()
        if path is not None and fault == "folder gone":
            shutil.rmtree(path.parent, ignore_errors=True)
        elif path is not None and fault == "taken" and path.parent.exists():
            path.unlink(missing_ok=True)
            path.symlink_to("somewhere else")

    def _meanwhile(self, what: str) -> Callable[[], Awaitable[None]]:
        """What happens while the question is open."""

        async def step() -> None:
            if what == "late":
                self.servers[0].clock.advance(seconds=LATE_S)
            elif what in ("changed", "revoked") and (key_id := self._call.key_id):
                await self._other(key_id, what)
            self._spoil(what)

        return step

    async def _other(self, key_id: str | None, act: str) -> None:
        """Somebody at work in the same account, past our servers."""
        venice, made = self.servers[0], list(self.ledger.made.values())
        if act == "made alike":
            await self._made_alike(venice)
        elif key_id is None or key_id not in self.alive:
            return
        elif act == "changed":
            await venice.venice("PATCH", "/api_keys", json={"id": key_id, "consumptionLimit": {"usd": 7}})
        elif act == "named after a secret":
            if self.may_rename():
                await venice.venice("PATCH", "/api_keys", json={"id": key_id, "description": made[-1].secret[:64]})
        elif act == "revoked":
            await venice.venice("DELETE", "/api_keys", params={"id": key_id})
        else:
            await venice.touch(key_id)
            self.ledger.made[key_id].settled = True

    async def _made_alike(self, venice: World) -> None:
        names = [call.arguments["description"] for call in self.calls if call.tool in MAKING]
        if names and not self._renamed:
            self._alike = True
            body = {"apiKeyType": "INFERENCE", "description": names[-1]}
            await venice.venice("POST", "/api_keys", json=body)

    def may_rename(self) -> bool:
        """Of a key that goes by another name, while somebody else's goes by its own, nobody can tell whose it is."""
        self._renamed |= not self._alike
        return self._renamed


def _half(venice: World, call: Call, way: str, asked: InputRequiredResult) -> Half:
    ((name, request),) = (asked.input_requests or {}).items()
    assert isinstance(request.params, ElicitRequestFormParams)
    question = request.params.message
    answer = reply(way, cast("Json", request.params.requested_schema["properties"]))
    connected_later: Any = None
    answered = Round(connected_later, call.tool, call.arguments, question, {name: answer}, asked.request_state)
    return Half(venice, call, way, question, answered)
