"""Plans under fire: one fault at one request of a workflow, which is then called again until it is finished."""

import os
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from mcp_types import CallToolResult

from tests.e2e.bench import ERAS, MODERN, Body, Forward, Json, Person, World, done, text_of
from venice_mcp.text import parse_time

READ_TRIES = 4
MOST_CALLS = 7
LATER_S = 61
"""By then a write that was sent takes effect no more, and 20 further keys may be made."""


@dataclass(frozen=True)
class Fault:
    """What becomes of one request.

    Attributes:
        acts: whether Venice gets it.
        ending: what comes back instead of the answer.
        dark: nothing reaches Venice after it until the call is over.
    """

    acts: bool
    ending: Callable[[], httpx.Response]
    dark: bool = False


def _raising(error: type[httpx.TransportError]) -> Callable[[], httpx.Response]:
    def ending() -> httpx.Response:
        raise error("gone")

    return ending


def _answering(status: int, body: bytes = b'{"error":"no"}') -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(status, headers={"content-type": "application/json"}, stream=Body(body))


FAULTS: dict[str, Fault] = {
    "lost after acting": Fault(True, _raising(httpx.ReadError)),
    "lost before acting": Fault(False, _raising(httpx.ReadError)),
    "never sent": Fault(False, _raising(httpx.ConnectError)),
    "time-out": Fault(True, _raising(httpx.ReadTimeout)),
    "429": Fault(False, _answering(429)),
    "500 after acting": Fault(True, _answering(500)),
    "500 before acting": Fault(False, _answering(500)),
    "401": Fault(False, _answering(401)),
    "half a body": Fault(True, _answering(200, b'{"success":true,"data":{"id":"')),
    "dark after acting": Fault(True, _raising(httpx.ReadError), dark=True),
    "dark before acting": Fault(False, _raising(httpx.ReadError), dark=True),
}
FEW = ("lost after acting", "lost before acting", "429", "half a body", "dark after acting")
"""Where the rest is met by another workflow that sends the same write."""
ON_READS = ("500 before acting", "401", "half a body", "dark after acting")
"""A read changes nothing, so for it the other faults are one of these."""


@contextmanager
def quick_folder() -> Generator[Path]:
    """A private folder, in memory where there is such a file system: a record is made safe on disk at every step."""
    memory = Path("/dev", "shm")
    there = os.access(memory, os.W_OK | os.X_OK)
    with tempfile.TemporaryDirectory(dir=memory if there else None) as folder:
        yield Path(folder).resolve()


@dataclass
class Struck:
    """The edge of a world: strikes the n-th request (a read with all its tries), and watches every one.

    Attributes:
        at: which request, counted from 1; 0 strikes none.
        after_first_post: what happens on this machine once a key exists.
        watch: called before a request acts and after it, when Venice is in a state that others see.
    """

    venice: World
    fault: Fault | None = None
    at: int = 0
    watch: Callable[[httpx.Request | None], None] = lambda request: None
    hit: httpx.Request | None = None
    after_first_post: Callable[[], object] | None = None
    seen: int = 0
    dark: bool = False
    secrets: set[str] = field(default_factory=set[str])
    """Of every key that ever was."""
    statuses: list[int] = field(default_factory=list[int])
    acted: list[httpx.Request] = field(default_factory=list[httpx.Request])
    """What Venice did, whether or not its answer arrived."""
    _again: int = 0

    def __post_init__(self) -> None:
        self.venice.edge.hook = self
        self._look()

    async def __call__(self, request: httpx.Request, forward: Forward) -> httpx.Response:
        self.seen += 1
        self.watch(request)
        try:
            return await self._answer(request, forward)
        finally:
            self._look()
            self.watch(None)

    async def _answer(self, request: httpx.Request, forward: Forward) -> httpx.Response:
        if self.dark:
            raise httpx.ConnectError("dark")
        if self.fault is None or not self._strikes(request):
            answer = await forward()
            self.statuses.append(answer.status_code)
            if answer.is_success:
                self.acted.append(request)
            if request.method == "POST" and self.after_first_post is not None:
                spoil, self.after_first_post = self.after_first_post, None
                spoil()
            return answer
        if self.fault.acts:
            assert (await forward()).is_success
            self.acted.append(request)
        self.dark = self.fault.dark
        return self.fault.ending()

    def _strikes(self, request: httpx.Request) -> bool:
        if self.seen == self.at:
            self.hit, self._again = request, READ_TRIES - 1
            return True
        same = self.hit is not None and (request.method, request.url) == ("GET", self.hit.url)
        self._again = self._again - 1 if same and self._again > 0 else 0
        return self._again > 0 if same else False

    def _look(self) -> None:
        held = self.venice.sandbox.keys()
        self.secrets |= {str(key["secret"]) for key in held}


@dataclass
class Story:
    """All calls of one workflow, as whoever made them saw it."""

    person: Person
    results: list[CallToolResult] = field(default_factory=list[CallToolResult])
    decided: int = 0
    """How often a person had to say of a key that was only found by its name that it may go."""

    @property
    def finished(self) -> bool:
        last = self.results[-1]
        return not last.is_error and done(last)["finished"] is True

    def text(self) -> str:
        return "\n".join(text_of(result) for result in self.results)


async def to_the_end(
    struck: Struck,
    tool: str,
    arguments: Json,
    *,
    era: str = MODERN,
    mend: Callable[[], None] = lambda: None,
    person: Person | None = None,
) -> Story:
    """Call until it is finished; after each call whatever was broken is mended.

    Once the plan has begun nobody is asked about it any more.
    """
    story = Story(person or Person())
    async with struck.venice.client(era, story.person) as client:
        for _ in range(MOST_CALLS):
            asked = len(story.person.questions)
            begun = asked and began(struck.venice)
            story.results.append(await client.call_tool(tool, arguments))
            assert not begun or len(story.person.questions) == asked, story.text()
            struck.dark = False
            mend()
            if story.finished:
                return story
            await _decide(struck, story)
            struck.venice.clock.advance(seconds=LATER_S)
    raise AssertionError(f"it never came to its end:\n{story.text()}")


async def _decide(struck: Struck, story: Story) -> None:
    """Revoke what the last result wants a person to decide about: nobody else makes keys in these tests."""
    last = story.results[-1]
    rows: list[list[Any]] = [] if last.is_error else done(last)["rows"]
    for key_id in [str(row[2]) for row in rows if row[4] == "open" and row[2]]:
        if f"revoke {key_id}" in str(done(last)["next_step"]):
            done(await struck.venice.call("venice_recover", {"revoke": key_id}))
            story.decided += 1


def began(venice: World) -> int:
    return sum(entry.kind == "begun" for entry in venice.app.store.trail.all())


async def assert_accounted_for(struck: Struck, story: Story, *, asking: bool = True) -> None:
    """One approval, nothing open, and no secret in any result or in the record.

    Args:
        asking: also let venice_recover say so. To connect once more takes as long as all the rest.
    """
    venice, store = struck.venice, struck.venice.app.store
    kinds = [entry.kind for entry in store.trail.all()]
    approved = 1 + story.decided
    assert (kinds.count("granted"), kinds.count("spent"), kinds.count("begun")) == (approved, approved, 1)
    # A question may be put again only as long as its answer was not taken, and it is the very same one.
    assert len(set(story.person.questions)) == 1, story.person.questions
    assert await venice.app.recovery.open_matters() == []
    assert store.plans.open(await venice.app.client.keys.account()) == []
    assert store.trail.verify().broken is None
    told = [*story.results]
    if asking:
        told.append(await venice.call("venice_recover"))
        assert text_of(told[-1]) == "Nothing is open: every write and every secret is accounted for."
    shown = "".join(result.model_dump_json() for result in told) + "".join(story.person.questions)
    held = b"".join(path.read_bytes() for path in venice.state_dir.rglob("*") if path.is_file())
    for secret in struck.secrets:
        assert secret not in shown
        assert secret.encode() not in held


def trials(
    methods: Mapping[str, Sequence[str]], fault: str, on_reads: Sequence[str] = ON_READS
) -> Generator[tuple[int, str, bool]]:
    """Which requests of a workflow to strike, in which era, and whether it is the last one.

    `methods` are those that nothing befell, by era. Each request is struck in one of the eras.
    """
    struck = {
        era: [at for at, method in enumerate(methods[era], 1) if method != "GET" or fault in on_reads] for era in ERAS
    }
    most = max(map(len, struck.values()))
    for number in range(most):
        # The eras differ in how often they read before, so requests are paired by which of the struck ones they are.
        first, second = ERAS if (number + len(fault)) % 2 else ERAS[::-1]
        era = first if number < len(struck[first]) else second
        yield struck[era][number], era, number == most - 1


def alive(venice: World) -> dict[str, Json]:
    """The keys that work now, by secret."""
    now, held = venice.clock(), venice.sandbox.keys()
    return {str(key["secret"]): key for key in held if _lives(key, now)}


def _lives(key: Json, now: Any) -> bool:
    end = parse_time(key["expiresAt"])
    return end is None or end > now


async def key_made(venice: World, description: str, **settings: Any) -> Json:
    """A key that somebody made past our server, as the sandbox has it."""
    body: Json = {"apiKeyType": "INFERENCE", "description": description, "consumptionLimit": {"usd": 5}, **settings}
    made = await venice.venice("POST", "/api_keys", json=body)
    held = venice.sandbox.keys()
    return next(key for key in held if key["id"] == made["data"]["id"])
