"""The steps of the tour. Each one shows a call, then verifies facts; a fact that does not hold ends the tour."""

import os
import stat
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from demo.load import Load
from demo.person import Desk, Plan
from demo.screen import Screen
from demo.search import KEY, files_with, finds, key_shapes
from demo.session import Recorder, Reply, Session, StepFailedError, connected

Keys = dict[str, tuple[Any, ...]]
TEAM_KEYS = 25


@dataclass
class Tour:
    """What the steps share."""

    screen: Screen
    desk: Desk
    session: Session
    recorder: Recorder
    folder: Path
    facts: list[str] = field(default_factory=list[str])
    key_id: str | None = None
    shown: list[str] = field(default_factory=list[str])
    saved: list[str] = field(default_factory=list[str])
    # In the third act only.
    load: Load = field(init=False)

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    def verify(self, holds: object, fact: str) -> None:
        """Note a fact for the check line, or fail with it."""
        if not holds:
            raise StepFailedError(fact)
        self.facts.append(fact)

    async def read(self, tool: str, **arguments: Any) -> Reply:
        self.screen.call(tool, arguments)
        return await self.session.read(tool, **arguments)

    async def write(self, plan: Plan, tool: str, **arguments: Any) -> tuple[Reply, bool, Keys, Keys]:
        """A call that asks first: the reply, whether the person approved it, and all keys before and after."""
        before = await self.session.keys()
        self.desk.plan = plan
        asked = len(self.desk.answers)
        self.screen.call(tool, arguments)
        reply = await self.session.call(tool, **arguments)
        self.screen.say("result" if reply.ok else "refused", reply.text)
        after = await self.session.keys()
        questions = len(self.desk.answers) - asked
        if not questions and "declined this a moment ago" in reply.text:
            self.verify(not reply.ok, "whoever declined so much is not asked again at once")
        else:
            self.verify(questions == 1, "a person was asked once")
        approved = questions == 1 and self.desk.answers[-1].approves
        if approved:
            self.verify(reply.ok, "it was done")
        else:
            self.verify(not reply.ok, "not approved, so not done")
            self.verify(before == after, f"all {len(after)} keys are as before")
        return reply, approved, before, after

    def made(self, reply: Reply, before: Keys, after: Keys) -> str:
        """Check that exactly the key in the reply is new; its id."""
        key_id = str(reply.data["id"])
        self.verify(set(after) - set(before) == {key_id}, f"{len(before)} keys became {len(after)}")
        return key_id

    def saved_in(self, path: Path, reply: Reply) -> None:
        """Check a delivered secret: in a private file, and not in the reply."""
        mode = stat.S_IMODE(path.stat().st_mode)
        secret = path.read_text(encoding="ascii").strip()
        self.saved.append(secret)
        self.screen.say("file", f"{path} has mode {mode:04o} and {len(secret)} characters")
        self.verify(KEY.fullmatch(secret) and secret.endswith(str(reply.data["last6_chars"])), "the file holds the key")
        # Windows keeps permissions elsewhere.
        self.verify(mode == 0o600 or os.name != "posix", "only its owner may read the file")
        self.verify(not finds(secret, reply.text + repr(reply.data)), "the result does not hold the secret")


Step = Callable[[Tour], Awaitable[None]]


async def status(tour: Tour) -> None:
    reply = await tour.read("venice_status")
    tour.screen.say("result", reply.text.splitlines()[0])
    keys = [(key["variable"], key["api_key_type"], _name_of(key), key["origin"]) for key in reply.data["keys"]]
    tour.screen.table(["key", "type", "known by", "from"], keys)
    tour.verify(reply.data["mode"] == "sandbox", "it is a sandbox")
    tour.verify(all(key["configured"] for key in reply.data["keys"]) and len(keys) == 3, "it made 3 throwaway keys")
    tour.verify(reply.data["can_ask"], "this client can ask a person")
    tour.verify(not reply.data["pending"], "nothing waits")


def _name_of(key: dict[str, Any]) -> str:
    return f"...{key['last6_chars']}" if "last6_chars" in key else f"address {str(key['address'])[:8]}..."


async def list_keys(tour: Tour) -> None:
    reply = await tour.read("venice_list_api_keys", sort="usage", limit=10)
    tour.screen.say("result", reply.text.splitlines()[0])
    rows = [(row[1], row[2], f"...{row[3]}", _cap(row), row[7], row[8] or "never") for row in reply.data["rows"]]
    tour.screen.table(["description", "type", "key", "cap", "last used", "expires"], rows[:5], len(rows) - 5)
    tour.verify(reply.data["total"] == TEAM_KEYS, f"the sandbox's team has {TEAM_KEYS} keys")
    tour.verify(len(rows) == 10 and reply.data["next_page"] == 2, "10 are on this page, the rest on the next")
    tour.verify(not key_shapes(reply.text + repr(reply.data)), "no secret is among them")


def _cap(row: list[Any]) -> str:
    parts = [f"{value:g} {unit}" for value, unit in ((row[4], "USD"), (row[5], "DIEM")) if value is not None]
    return f"{' + '.join(parts)} per {row[6]}" if parts else "none"


async def create(tour: Tour) -> None:
    reply, approved, before, after = await tour.write(
        "approve",
        "venice_create_api_key",
        description="docs search",
        consumption_limit={"usd": 10},
        limit_period="MONTH",
        expires_in_days=30,
    )
    if not approved:
        return
    tour.key_id = tour.made(reply, before, after)
    secret = str(reply.data["api_key"])
    tour.shown.append(secret)
    tour.verify(KEY.fullmatch(secret) and reply.text.count(secret) == 1, "its secret is shown, this once")
    tour.verify(_caps_of(after[tour.key_id]) == (10, None, "MONTH"), "the cap is what the person saw")


def _caps_of(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[4:7]


async def account_for(tour: Tour) -> None:
    if not tour.shown:
        tour.screen.say("note", "No secret was displayed, because no one approved that.")
        return
    tour.screen.say("note", "A displayed secret counts as lost until somebody says that it was stored.")
    reply = await tour.read("venice_recover")
    tour.screen.say("result", reply.text)
    named = [item["key_id"] for item in reply.data["open"]]
    tour.verify(named == [tour.key_id], "the key of step 3 is named as not accounted for")
    reply = await tour.read("venice_recover", acknowledge=tour.key_id)
    tour.screen.say("result", reply.text)
    tour.verify(not reply.data["open"], "acknowledged, it is no longer listed")


async def get(tour: Tour) -> None:
    target = await _target(tour)
    reply = await tour.read("venice_get_api_key", key_id=target)
    tour.screen.say("result", reply.text)
    tour.verify(reply.data["id"] == target, "it is that key")
    tour.verify("usd_last_7_days" in reply.data, "spend is told")
    tour.verify(not key_shapes(reply.text + repr(reply.data)), "the secret is not, and no tool can tell it")


async def _target(tour: Tour) -> str:
    """The key made before, or one of the team's when the reader did not want that one."""
    return tour.key_id or await id_of(tour, "staging")


async def id_of(tour: Tour, description: str) -> str:
    for key_id, row in (await tour.session.keys()).items():
        if row[1] == description:
            return key_id
    raise StepFailedError(f"there is a key called {description}")


async def update(tour: Tour) -> None:
    target = await _target(tour)
    tour.screen.say("note", "Raising a cap widens what the key may do, so a tick is not enough: a word must be typed.")
    reply, approved, before, after = await tour.write(
        "approve", "venice_update_api_key", key_id=target, consumption_limit={"usd": 25}
    )
    form = tour.desk.answers[-1].form
    tour.verify(form.word == "CHANGE" and "HIGH RISK" in form.message, "the question named the risk")
    if not approved:
        return
    old = _caps_of(before[target])[0]
    tour.verify(reply.data["changed"] == {"usd_cap": [f"{old:g}", "25"]}, f"the USD cap went from {old:g} to 25")
    unchanged = (*before[target][:4], *before[target][5:]) == (*after[target][:4], *after[target][5:])
    tour.verify(unchanged and _caps_of(after[target])[0] == 25, "nothing else about the key changed")


async def create_into_a_file(tour: Tour) -> None:
    path = tour.folder / "ci.key"
    reply, approved, before, after = await tour.write(
        "approve",
        "venice_create_api_key",
        description="nightly tests",
        consumption_limit={"usd": 2},
        deliver_to={"path": str(path)},
    )
    if approved:
        tour.made(reply, before, after)
        tour.saved_in(path, reply)
    else:
        tour.verify(not path.exists(), "no file was left behind")


async def create_into_an_env_file(tour: Tour) -> None:
    path = tour.folder / ".env"
    path.write_text("# of the staging app\nDEBUG=1\nVENICE_API_KEY='old'  # set by hand\n", encoding="ascii")
    reply, approved, before, after = await tour.write(
        "approve",
        "venice_create_api_key",
        description="staging app",
        consumption_limit={"usd": 5},
        expires_in_days=90,
        deliver_to={"kind": "dotenv", "path": str(path), "variable": "VENICE_API_KEY"},
    )
    tour.verify(str(path) in tour.desk.answers[-1].form.message, "the person saw where the secret goes")
    text = path.read_text(encoding="ascii")
    if not approved:
        tour.verify("'old'" in text, "the file is as before")
        return
    tour.made(reply, before, after)
    (secret,) = key_shapes(text)
    tour.saved.append(secret)
    rest = text.replace(secret, "<the secret>")
    tour.screen.say("file", rest)
    tour.verify(
        rest.replace("<the secret>", "old") == "# of the staging app\nDEBUG=1\nVENICE_API_KEY='old'  # set by hand\n",
        "everything else in the file is as before",
    )
    tour.verify(not finds(secret, reply.text + repr(reply.data)), "the result does not hold the secret")


async def rate_limits(tour: Tour) -> None:
    reply = await tour.read("venice_get_rate_limits")
    tour.screen.say("result", "\n".join(reply.text.splitlines()[:2]))
    groups = reply.data["groups"]
    rows = [(_limits(group["limits"]), ", ".join(group["models"][:3])) for group in groups]
    tour.screen.table(["limits", "models, for example"], rows)
    tour.verify(reply.data["api_key_type"] == "INFERENCE", "the weaker key was enough")
    tour.verify(reply.data["access_permitted"] and groups, "limits per model are told")


def _limits(limits: dict[str, float]) -> str:
    return ", ".join(f"{value:g} {name}" if value < 1e5 else f"{value:.0f} {name}" for name, value in limits.items())


async def rate_limit_log(tour: Tour) -> None:
    reply = await tour.read("venice_get_rate_limit_log", limit=50)
    tour.screen.say("result", reply.text.splitlines()[0])
    rows = [(row[0][:19], row[1], row[2], row[3][:8] + "...") for row in reply.data["rows"]]
    tour.screen.table(["when (UTC)", "limit", "model", "key id"], rows[:3], len(rows) - 3)
    times = [row[0] for row in reply.data["rows"]]
    tour.verify(len(rows) == reply.data["total"] > 0, f"{len(rows)} hits are told")
    tour.verify(times == sorted(times, reverse=True), "newest first")
    known = await tour.session.keys()
    tour.verify(all(row[3] in known for row in reply.data["rows"]), "each names a key of the account")


async def billing(tour: Tour) -> None:
    balance = await tour.read("venice_get_billing_balance")
    tour.screen.say("result", balance.text)
    ledger = await tour.read("venice_get_billing_usage", page_size=20)
    entries, totals = ledger.data["rows"], ledger.data["totals"]
    tour.screen.say("result", ledger.text.splitlines()[0])
    rows = [(row[0][:19], row[1], row[3], row[4]) for row in entries]
    tour.screen.table(["when (UTC)", "what", "amount", "currency"], rows[:3], len(rows) - 3)
    spend = await tour.read("venice_get_usage_analytics", lookback_days=7)
    tour.screen.say("result", spend.text.splitlines()[0])
    by_key = spend.data["by_key"]
    tour.screen.table(["key", "USD", "DIEM"], by_key[:4], len(by_key) - 4)
    tour.verify(balance.data["can_consume"], "the account can pay")
    sums = {name: sum(row[3] for row in entries if row[4] == name) for name in totals}
    right = all(abs(sums[name] - totals[name]) < 1e-5 for name in totals)
    tour.verify(right and ledger.data["next_cursor"], "the ledger's page adds up, and a cursor leads on")
    days = spend.data["by_date"]
    tour.verify(abs(sum(day[1] for day in days) - spend.data["total_usd"]) < 1e-4, "the days add up to the total")


async def mint(tour: Tour) -> None:
    path = tour.folder / "agent.key"
    reply, approved, before, after = await tour.write(
        "approve",
        "venice_create_web3_api_key",
        description="autonomous agent",
        consumption_limit={"diem": 1},
        deliver_to={"path": str(path)},
    )
    question = tour.desk.answers[-1].form.message
    if not approved:
        tour.verify(not path.exists(), "no file was left behind")
        return
    tour.made(reply, before, after)
    tour.verify(str(reply.data["address"]) in question, "the person saw which wallet signs")
    tour.saved_in(path, reply)


async def revoke_declined(tour: Tour) -> None:
    target = await id_of(tour, "production-web")
    _, approved, _, after = await tour.write("decline", "venice_revoke_api_key", key_id=target)
    form = tour.desk.answers[-1].form
    tour.verify("production-web" in form.message and form.word == "REVOKE", "the question showed a key in use")
    if approved:
        tour.verify(target not in after, "the key is gone")
        return
    reply = await tour.read("venice_get_api_key", key_id=target)
    tour.screen.say("result", reply.text.splitlines()[0])
    tour.verify(reply.data["id"] == target, "the key is still there")


async def revoke_approved(tour: Tour) -> None:
    target = await _target(tour)
    _, approved, before, after = await tour.write("approve", "venice_revoke_api_key", key_id=target)
    if not approved:
        return
    tour.verify(set(before) - set(after) == {target}, "this key is gone, and no other")
    tour.screen.call("venice_get_api_key", {"key_id": target})
    reply = await tour.session.call("venice_get_api_key", key_id=target)
    tour.screen.say("refused", reply.text)
    tour.verify(not reply.ok and target in reply.text, "asking for it says so")


async def no_person(tour: Tour) -> None:
    tour.screen.say("note", "A second client, with a sandbox of its own, that cannot put a question to anyone.")
    async with connected(tour.state_dir, tour.recorder, None) as session:
        before = await session.keys()
        arguments = {"description": "unattended", "consumption_limit": {"usd": 1}}
        tour.screen.call("venice_create_api_key", arguments)
        reply = await session.call("venice_create_api_key", **arguments)
        tour.screen.say("refused", reply.text)
        after = await session.keys()
        pending = (await session.read("venice_status")).data["pending"]
    tour.verify(not reply.ok, "it was not done")
    tour.verify(before == after, f"all {len(after)} keys are as before")
    tour.verify(len(pending) == 1 and pending[0]["state"] == "pending", "one request waits for a person")
    command = f"approve {pending[0]['code']} --state-dir"
    tour.verify(command in reply.text and str(tour.state_dir) in reply.text, "the command to approve it is given whole")


async def audit_trail(tour: Tour) -> None:
    uri = "venice://audit-log"
    tour.screen.say("agent", f"reads the resource {uri}")
    entries = await tour.session.resource(uri)
    kinds = [f"{entry['kind']} {entry['subject']}" for entry in entries[-4:]]
    tour.screen.say("result", "\n".join(kinds))
    command = [sys.executable, "-P", "-m", "venice_mcp", "audit-log", "verify", "--state-dir", str(tour.state_dir)]
    done = await anyio.run_process(command, check=False)
    said = done.stdout.decode() + done.stderr.decode()
    tour.screen.say("verify", said)
    tour.verify(done.returncode == 0 and "Intact" in said, "every entry is chained to the one before, unaltered")
    tour.verify(all("mcp" in entry["actor"] for entry in entries), "each names the client it came from")


async def pasted_back(tour: Tour) -> None:
    """The secret comes back from the agent as an argument; the result must not carry it."""
    if not tour.shown:
        tour.screen.say("note", "No secret was displayed, so there is none to paste.")
        return
    tour.screen.call("venice_get_api_key", {"key_id": "<the secret of step 3>"})
    reply = await tour.session.call("venice_get_api_key", key_id=tour.shown[0])
    tour.screen.say("refused", reply.text)
    tour.verify(not reply.ok and not finds(tour.shown[0], reply.text), "a pasted secret is refused without an echo")


def never_again(tour: Tour) -> None:
    """Search everything the servers ever wrote, once they have ended."""
    frames = tour.recorder.frames
    stderr = Path(tour.recorder.stderr.name).read_text(encoding="utf-8", errors="replace")
    states = list(tour.folder.glob("state*"))
    files = [path for state in states for path in state.rglob("*") if path.is_file()]
    both = [*tour.shown, *tour.saved]
    tour.screen.say(
        "search",
        f"{len(frames)} messages from the servers, their stderr ({len(stderr)} characters) and their state directories"
        f" ({_count(len(files), 'file')}), for {_count(len(both), 'secret')} (in part, base64, hex) and for anything"
        " of a key's shape",
    )
    displays = [frame for frame in frames if key_shapes(frame)]
    rest = [frame for frame in frames if not key_shapes(frame)]
    expected = "the display of step 3 is the one message with a secret" if tour.shown else "no message has a secret"
    tour.verify(len(displays) == len(tour.shown), expected)
    tour.verify(not any(finds(secret, frame) for secret in both for frame in rest), "no part of one in any other")
    saved_at_display = any(finds(secret, frame) for secret in tour.saved for frame in displays)
    tour.verify(not saved_at_display, "none of the delivered ones in any")
    tour.verify(not key_shapes(stderr) and not any(finds(secret, stderr) for secret in both), "none on stderr")
    tour.verify(files and not files_with(files, both), "none in the state directories")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


FIRST: tuple[tuple[str, Step], ...] = (
    ("Status: which keys the server holds", status),
    ("List the keys of a team", list_keys),
    ("Create a key: a person is asked, and the secret appears once", create),
    ("Account for its secret", account_for),
    ("Look at it again: everything but the secret", get),
    ("Change it: before and after", update),
    ("Create a key whose secret goes to a file instead of the chat", create_into_a_file),
    ("Create a key straight into a .env file", create_into_an_env_file),
    ("Rate limits", rate_limits),
    ("Rate limits that were hit", rate_limit_log),
    ("Billing: balance, ledger, spend per key", billing),
    ("Mint a key with a wallet", mint),
    ("Revoke a key that is in use: the person declines", revoke_declined),
    ("Revoke the key of step 3: the person approves", revoke_approved),
    ("Nobody to ask: the request waits for a terminal", no_person),
)
LAST: tuple[tuple[str, Step], ...] = (
    ("The audit trail: who asked, who approved, what was done", audit_trail),
    ("The secret never appears again", pasted_back),
)
