"""What must be true of any history of calls, kept beside the server from what can be seen outside of it.

I1: no write without a yes of its own, or a place in the budget of an allowance, or to take a new key back.
I2: no secret twice: in one result at most, and in no error, no question and no byte of the state directory.
I3: no key lost: whatever was made here is shown, delivered, named by venice_recover, or gone.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import httpx

from tests.e2e.bench import Json
from venice_mcp.store import Checkpoint, Entry, Store
from venice_mcp.text import parse_time

MAKING = ("createApiKey", "postApiKeyGenerateWeb3Key")
PER_DAY, PER_MINUTE = 3, 20
_CODE = re.compile(r"Approval ([A-Z0-9]{4}-[A-Z0-9]{4})\.")
_ASKING = {
    "Create a new ": "createApiKey",
    "Mint a new ": "postApiKeyGenerateWeb3Key",
    "Change the ": "updateApiKey",
    "Revoke the ": "deleteApiKey",
}


@dataclass(frozen=True)
class Write:
    """A request that changes something: about which key, by id, or by description while it has none."""

    operation: str
    about: str


@dataclass
class Made:
    """A key that came into being through our server."""

    id: str
    secret: str
    sink: Path | None
    write: str = ""
    delivered: bool = False
    shown: int = 0
    settled: bool = False
    """Somebody acknowledged it, or was seen using it."""


@dataclass
class Ledger:
    """Everything that was seen, and what the record is compared with."""

    store: Store
    yes: dict[str, str] = field(default_factory=dict[str, str])
    """The question behind each code that a person said yes to."""
    allowed: dict[str, Json] = field(default_factory=dict[str, Json])
    """What was frozen for each code that the allowance granted."""
    uses: list[datetime] = field(default_factory=list[datetime])
    spent: set[str] = field(default_factory=set[str])
    delivered: set[str] = field(default_factory=set[str])
    proven: set[str] = field(default_factory=set[str])
    acknowledged: set[str] = field(default_factory=set[str])
    sent: list[Write] = field(default_factory=list[Write])
    makings: list[datetime] = field(default_factory=list[datetime])
    made: dict[str, Made] = field(default_factory=dict[str, Made])
    checkpoint: Checkpoint | None = None
    entries: int = 0

    # --- what is seen -------------------------------------------------------------------------

    def approved(self, question: str) -> None:
        (code,) = _CODE.findall(question)
        self.yes[code] = question

    def wrote(self, request: httpx.Request) -> None:
        self.sent.append(write_of(request))

    def told(self, text: str, *, result: bool) -> None:
        """Something that reached a caller; only a `result` may hold a secret, and each only once."""
        for key in self.made.values():
            if key.secret[-30:] in text:
                assert result, f"a secret where none may be: {text}"
                assert key.sink is None, f"a secret that was to be delivered: {text}"
                key.shown += 1
                assert key.shown == 1, f"a secret for the second time: {text}"

    # --- what must be true after every step ---------------------------------------------------

    def check(self) -> None:
        verdict = self.store.trail.verify(self.checkpoint)
        assert verdict.broken is None, verdict
        new = self.store.trail.all()[self.entries :]
        self.entries += len(new)
        self.checkpoint = self.store.trail.checkpoint()
        self._check_writes([entry for entry in new if self._accounted_for(entry)])
        self.see_what_is_delivered()
        for key in self.made.values():
            assert not (key.delivered and key.shown)
        self._check_disk()

    def see_what_is_delivered(self) -> None:
        """Also to be called right before a destination is spoiled."""
        for key in self.made.values():
            key.delivered |= key.sink is not None and self._is_there(key, key.sink)

    def _is_there(self, key: Made, sink: Path) -> bool:
        text = sink.read_text() if sink.is_file() else ""
        # Of several that were delivered into one variable at once, the last one stays.
        replaced = key.write in self.delivered and any(each.secret in text for each in self.made.values())
        return key.secret in text or replaced

    def _accounted_for(self, entry: Entry) -> bool:
        """Whether this entry intends a write; whatever it is, it must be right that it is there."""
        data: Json = json.loads(entry.data)
        if entry.kind == "asked":
            self.allowed[entry.subject] = data
        elif entry.kind == "granted" and str(data["how"]).startswith("allowance "):
            self._check_allowance(entry.subject, datetime.fromisoformat(entry.at))
        elif entry.kind == "granted":
            assert entry.subject in self.yes, f"nobody said yes to {entry.subject}"
        elif entry.kind == "spent":
            assert entry.subject not in self.spent
            self.spent.add(entry.subject)
        elif entry.kind == "made" and data["id"] in self.made:
            # Another's key may be taken for one whose making was never answered, if it is named alike.
            self.made[data["id"]].write = entry.subject
        elif entry.kind in ("delivered", "proven", "acknowledged"):
            seen = {"delivered": self.delivered, "proven": self.proven}
            seen.get(entry.kind, self.acknowledged).add(entry.subject)
        elif entry.kind == "intended":
            self._check_intended(entry.subject, data)
            self._check_pace(data["operation"], datetime.fromisoformat(entry.at))
            return True
        return False

    def _check_intended(self, subject: str, data: Json) -> None:
        code, _, which = subject.partition("/")
        write = Write(data["operation"], about(data["intent"]))
        if which.endswith("/back"):
            assert write.operation == "deleteApiKey"
            assert self.made[write.about].write in ("", data["undoes"]), "another's key was taken back"
            assert subject == f"{data['undoes']}/back"
            return
        assert code in self.spent
        if "steps" in self.allowed[code]:
            self._check_step(code, which, data)
            return
        assert which == "1"
        if code in self.yes:
            question = self.yes[code]
            assert asked_for(question) == write.operation
            assert f'"{write.about}"' in question or f"Id {write.about}." in question
        else:
            frozen = self.allowed[code]
            assert write == Write(frozen["operation"], about(frozen["intent"]))

    def _check_step(self, code: str, which: str, data: Json) -> None:
        """A step of a plan is what was frozen when a person said yes, in its turn."""
        assert code in self.yes, "a plan that nobody approved"
        frozen: Json = self.allowed[code]
        number = int(which.partition(".")[0])
        step: Json = frozen["steps"][number - 1]
        assert (data["operation"], data["deliver_to"]) == (step["operation"], step.get("deliver_to"))
        assert data["intent"] == step["intent"] or "ends_after_s" in step
        assert about(data["intent"]) == about(step["intent"])
        if frozen["in_order"] and number == 2 and step["operation"] not in MAKING:
            done = {each.partition(".")[0] for each in self.proven & (self.delivered | self.acknowledged)}
            assert f"{code}/1" in done, "the old key ends before its successor is delivered and proven"

    def _check_pace(self, operation: str, at: datetime) -> None:
        """Judged by when a write was intended: our clock also moves while one waits, and then it is sent later."""
        if operation in MAKING:
            # What a clock that was set back since says was later, happened at another time than it says.
            minute = [each for each in self.makings if at - timedelta(seconds=60) < each <= at]
            assert len(minute) < PER_MINUTE, "too fast"
            self.makings.append(at)

    def _check_allowance(self, code: str, at: datetime) -> None:
        self.yes.pop(code, None)
        frozen = self.allowed[code]
        intent: Json = frozen["intent"]
        if frozen["operation"] == "deleteApiKey":
            assert intent["id"] in self.made, "another's key was revoked unasked"
            code_of_making = self.made[intent["id"]].write.partition("/")[0]
            assert code_of_making in self.allowed
            assert code_of_making not in self.yes
        else:
            end = parse_time(intent["expires_at"])
            assert frozen["operation"] == "createApiKey"
            assert intent["api_key_type"] == "INFERENCE"
            assert (intent["usd_cap"] <= 5, intent["diem_cap"]) == (True, 0)
            assert end is not None
            assert end <= at + timedelta(days=7, minutes=1)
            assert frozen["deliver_to"]["kind"] == "file"
        self.uses.append(at)
        for use in self.uses:
            day = [each for each in self.uses if use <= each < use + timedelta(hours=24)]
            assert len(day) <= PER_DAY, f"{len(day)} times in 24 hours: {day}"

    def _check_writes(self, intended: list[Entry]) -> None:
        """Each write that was sent was intended, on record, and for itself alone."""
        datas: list[Json] = [json.loads(entry.data) for entry in intended]
        on_record = Counter(Write(data["operation"], about(data["intent"])) for data in datas)
        unaccounted = Counter(self.sent) - on_record
        assert not unaccounted, f"sent without an approval of its own: {unaccounted}"
        self.sent.clear()

    def _check_disk(self) -> None:
        for path in self.store.folder.iterdir():
            data = path.read_bytes()
            for key in self.made.values():
                assert key.secret[-30:].encode() not in data, f"a secret in {path}"

    # --- what must be true in the end ---------------------------------------------------------

    def check_none_made_twice(self, alive: set[str]) -> None:
        """Of the keys that one step of a plan made, at most one lives."""
        steps = Counter(key.write.partition(".")[0] for key in self.made.values() if key.id in alive and key.write)
        assert all(count == 1 for count in steps.values()), steps

    def check_nothing_lost(self, alive: set[str], said: str) -> None:
        """`said` is what venice_recover and venice_status have to say when everything had time to settle."""
        for key in self.made.values():
            if key.id in alive and not key.delivered and not key.settled:
                assert key.id in said, f"{key} is lost; all that is told is: {said}"


def write_of(request: httpx.Request) -> Write:
    body: Json = json.loads(request.content) if request.content else {}
    if request.method == "DELETE":
        return Write("deleteApiKey", request.url.params["id"])
    if request.method == "PATCH":
        return Write("updateApiKey", body["id"])
    minted = request.url.path.endswith("/generate_web3_key")
    return Write(MAKING[minted], body["description"])


def about(intent: Json) -> str:
    return str(intent.get("id") or intent["description"])


def asked_for(question: str) -> str:
    (operation,) = [operation for words, operation in _ASKING.items() if question.startswith(words)]
    return operation
