"""What is told of a write agrees with what became of it at Venice, whatever the network does to its bytes.

Everything is real: our server's own connections, a wire that damages what goes over it, and the sandbox behind it.
"""

import gzip
import re
import socket
import threading
import zlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import httpx
import pytest
from mcp import Client
from mcp.client._memory import InMemoryTransport  # pyright: ignore[reportPrivateUsage]
from mcp_types import CallToolResult

from tests.e2e.bench import EVERY, MODERN, Clock, Json, Person, connect, done, failed, text_of
from tests.e2e.processes import SandboxProcess, sandbox_process
from venice_mcp.client.transport import Deadlines
from venice_mcp.secrets import Redactor
from venice_mcp.server import build_app, build_server
from venice_mcp.settings import load

pytestmark = pytest.mark.anyio

NOTHING = "Nothing was changed at Venice."
SOMETHING = "Something WAS changed at Venice."
UNKNOWN = "It is not known whether anything was changed at Venice."
WRITING = ("createApiKey", "updateApiKey", "deleteApiKey", "postApiKeyGenerateWeb3Key")
SECRET = re.compile(rb'"(?:token|signature|apiKey)": ?"([^"]+)"')
MIB = 1024 * 1024
PATIENCE_S = 20.0
SOON_S = 1.0
"""Long enough for the sandbox to act on a write, and short enough to wait for an answer that never ends."""

Outcome = Literal["nothing", "unknown", "looked up", "answered"]
"""How much of it can be told: certainly not sent; perhaps; the truth, by reading Venice; the truth, by its answer."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Generator[SandboxProcess]:
    with sandbox_process(tmp_path_factory.mktemp("sandbox")) as process:
        yield process


@pytest.fixture(scope="module")
def beside(sandbox: SandboxProcess) -> Generator[httpx.Client]:
    """Somebody else at work in the same account, past the wire. One client, because to make one is slow."""
    headers = {"Authorization": f"Bearer {sandbox.admin_key}"}
    with httpx.Client(base_url=sandbox.base_url, headers=headers, trust_env=False) as client:
        yield client


# --- faults ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Passing:
    """One request on the wire, and what may be done to it."""

    client: socket.socket
    request: bytes
    forward: Callable[[], bytes]
    elsewhere: str
    over: threading.Event


@dataclass(frozen=True)
class Fault:
    strike: Callable[[Passing], None]
    outcome: Outcome
    deadline_s: float = PATIENCE_S


def head_of(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Type: application/json", *lines, "", ""]).encode()


def sized(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    return head_of(*lines, f"Content-Length: {len(body)}", status=status) + body


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def unforwarded(answer: bytes, outcome: Outcome = "unknown") -> Fault:
    """The request never gets to Venice, and this is all that comes back."""
    return Fault(lambda passing: passing.client.sendall(answer), outcome)


def forwarded(damage: Callable[[bytes], bytes], outcome: Outcome = "looked up") -> Fault:
    """Venice acts, and its answer comes back like that."""
    return Fault(lambda passing: passing.client.sendall(damage(passing.forward())), outcome)


def reset(passing: Passing) -> None:
    """Hang up as a firewall does: what was sent is torn down, not closed."""
    passing.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def reset_after(passing: Passing) -> None:
    passing.forward()
    reset(passing)


def redirect(passing: Passing) -> None:
    passing.forward()
    passing.client.sendall(sized(b"{}", f"Location: {passing.elsewhere}", status="307 Temporary Redirect"))


def redirect_unforwarded(passing: Passing) -> None:
    passing.client.sendall(sized(b"", f"Location: {passing.elsewhere}", status="302 Found"))


def dribble(passing: Passing) -> None:
    """A byte of the true answer's body at a time, then blanks, and never an end."""
    body = body_of(passing.forward())
    passing.client.sendall(head_of("Transfer-Encoding: chunked"))
    sent = 0
    while not passing.over.wait(0.005):
        passing.client.sendall(b"1\r\n" + (body[sent : sent + 1] or b" ") + b"\r\n")
        sent += 1


def dribble_headers(passing: Passing) -> None:
    passing.forward()
    passing.client.sendall(b"HTTP/1.1 200 OK\r\nX-More: ")
    while not passing.over.wait(0.005):
        passing.client.sendall(b"m")


def packed(body: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        body = gzip.compress(body, 6)
    return sized(body, f"Content-Encoding: {', '.join(['gzip'] * times)}")


@cache
def bomb(mib: int, times: int) -> bytes:
    """So many MiB of spaces, packed so often. It is the innermost packing that takes time, and it is done once."""
    return gzip.compress(b" " * mib * MIB if times == 1 else bomb(mib, times - 1), 6)


def bombing(mib: int, times: int) -> bytes:
    return sized(bomb(mib, times), f"Content-Encoding: {', '.join(['gzip'] * times)}")


MORE = sized(b'{"success":true,"data":{"id":"forged","apiKey":"forged"}}')
HTML = b"<html><body>Please log in to the hotel's network</body></html>"

FAULTS: dict[str, Fault] = {
    "hung up before forwarding": unforwarded(b""),
    "reset before forwarding": Fault(reset, "unknown"),
    "a page instead of forwarding": unforwarded(sized(HTML).replace(b"application/json", b"text/html")),
    "another server instead of forwarding": Fault(redirect_unforwarded, "unknown"),
    "an unearned yes": unforwarded(sized(b"[]")),
    "refused": unforwarded(sized(b'{"error":"no"}', status="403 Forbidden"), "nothing"),
    "no answer": forwarded(lambda _answer: b""),
    "reset instead of an answer": Fault(reset_after, "looked up"),
    "cut in the headers": forwarded(lambda answer: answer[: answer.index(b"\r\n\r\n") - 7]),
    "cut after the headers": forwarded(lambda answer: answer[: answer.index(b"\r\n\r\n") + 4]),
    "cut in the body": forwarded(lambda answer: answer[:-9]),
    "garbage": forwarded(lambda _answer: b"\x16\x03\x01\x02 this is no HTTP\r\n\r\n"),
    "a page": forwarded(lambda _answer: sized(HTML).replace(b"application/json", b"text/html")),
    "another server": Fault(redirect, "looked up"),
    "too long a length": forwarded(
        lambda answer: head_of(f"Content-Length: {len(body_of(answer)) + 10}") + body_of(answer)
    ),
    "too short a length": forwarded(
        lambda answer: head_of(f"Content-Length: {len(body_of(answer)) - 2}") + body_of(answer)
    ),
    "two lengths": forwarded(lambda answer: head_of("Content-Length: 2", "Content-Length: 3") + body_of(answer)),
    "headers without end": forwarded(lambda _answer: b"HTTP/1.1 200 OK\r\nX-More: " + b"m" * 300_000),
    "a bomb": forwarded(lambda _answer: bombing(17, 1)),
    "a bomb in a bomb": forwarded(lambda _answer: bombing(17, 2)),
    "a dribble": Fault(dribble, "looked up", SOON_S),
    "a dribble of headers": Fault(dribble_headers, "looked up", SOON_S),
    "packed": forwarded(lambda answer: packed(body_of(answer)), "answered"),
    "two answers": forwarded(lambda answer: sized(body_of(answer)) + MORE, "answered"),
}


# --- the wire --------------------------------------------------------------------------------------


class Wire:
    """A listener on loopback that passes requests to the sandbox one by one, and `fault` strikes the writes."""

    def __init__(self, sandbox: SandboxProcess, elsewhere: str) -> None:
        upstream = httpx.URL(sandbox.base_url)
        self._upstream = (upstream.host, upstream.port or 80)
        self._elsewhere = elsewhere
        self.fault: Fault | None = None
        self.after: Callable[[bytes], bytes] = lambda answer: answer
        """What becomes of the answers to reads."""
        self.writes = 0
        self.secrets: list[str] = []
        """Every key, token and signature that came by, in this order."""
        self.over = threading.Event()
        self._forwarding = threading.Lock()
        """One at a time: a read that follows on a write finds what the write did, however slow this machine is."""
        self._serving: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._accepting.start()

    def unplug(self) -> None:
        """From now on nobody listens."""
        with suppress(OSError):  # a listener on some systems cannot be shut down, and only be closed
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()

    def plug_in(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._accepting.start()

    def close(self) -> None:
        self.over.set()
        self.unplug()
        for thread in self._serving:
            thread.join()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._serving.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        # A client that hangs up on a bad answer is what these tests are about.
        with client, suppress(OSError):
            client.settimeout(PATIENCE_S)
            while request := read_request(client):
                if request.startswith(b"GET "):
                    client.sendall(self.after(self._forward(request)))
                    continue
                self.writes += 1
                passing = Passing(client, request, lambda: self._forward(request), self._elsewhere, self.over)
                if self.fault is None:
                    client.sendall(passing.forward())
                else:
                    self.fault.strike(passing)
                return

    def _forward(self, request: bytes) -> bytes:
        with self._forwarding, socket.create_connection(self._upstream, timeout=PATIENCE_S) as server:
            server.sendall(re.sub(rb"(?i)\r\nconnection: [^\r]*", b"\r\nConnection: close", request, count=1))
            answer = b"".join(iter(lambda: server.recv(65536), b""))
        self.secrets += [found.decode() for found in SECRET.findall(request + answer)]
        head, _, body = answer.partition(b"\r\n\r\n")
        kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        return b"\r\n".join(kept) + b"\r\n\r\n" + body


def read_request(client: socket.socket) -> bytes:
    """The next request of a connection, or nothing when there is no more."""
    read = b""
    while b"\r\n\r\n" not in read:
        part = client.recv(65536)
        if not part:
            return b""
        read += part
    head, _, body = read.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    while length is not None and len(body) < int(length[1]):
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def trap() -> Generator[tuple[str, list[bytes]]]:
    """Another server on this machine, and everything that was ever sent to it."""
    took: list[bytes] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    took.append(client.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1/api_keys", took
        finally:
            with suppress(OSError):  # see Wire.unplug
                listener.shutdown(socket.SHUT_RDWR)
    thread.join()


# --- a server at its end ---------------------------------------------------------------------------


@dataclass
class House:
    """Our server, the wire, and the sandbox behind it, which other tests use too."""

    client: Client
    wire: Wire
    sandbox: SandboxProcess
    beside: httpx.Client
    clock: Clock
    person: Person
    folder: Path
    wallet_key: str
    said: list[str] = field(default_factory=list[str])

    async def call(self, tool: str, **arguments: Any) -> CallToolResult:
        result = await self.client.call_tool(tool, arguments)
        self.said += [text_of(result), str(result.structured_content)]
        return result

    def held(self) -> dict[str, Json]:
        """Every key by id as the sandbox has it, but for when it was used."""
        keys = cast("list[Json]", self._state()["keys"])
        return {str(key["id"]): {**key, "lastUsedAt": None} for key in keys}

    def written(self) -> Counter[str]:
        """How often each write reached the sandbox."""
        requests = Counter[str](self._state()["requests"])
        return Counter({name: requests[name] for name in WRITING})

    def _state(self) -> Json:
        return cast("Json", self.beside.get("/__control/state").raise_for_status().json())

    def own_key(self) -> str:
        body: Json = {"apiKeyType": "INFERENCE", "description": "idle", "consumptionLimit": {"usd": 15}}
        return str(self.beside.post("/api_keys", json=body).raise_for_status().json()["data"]["id"])

    def assert_silent(self, *, but: str = "") -> None:
        """No secret in anything that was said or asked, nor on disk; `but` was to be shown, in one result."""
        kept = [path.read_bytes().decode(errors="replace") for path in (self.folder / "state").iterdir()]
        for secret in [*self.wire.secrets, self.sandbox.admin_key, self.sandbox.inference_key, self.wallet_key]:
            places = [text for text in [*self.said, *self.person.questions, *kept] if secret[-30:] in text]
            assert len(places) == (2 if secret == but else 0), places  # as text and as data


@asynccontextmanager
async def house(
    sandbox: SandboxProcess, beside: httpx.Client, folder: Path, elsewhere: str, deadline_s: float
) -> AsyncGenerator[House]:
    clock, person = Clock(), Person()

    async def at_once(_seconds: float) -> None:
        pass

    wire = Wire(sandbox, elsewhere)
    try:
        env = {"VENICE_MCP_KEYRING": "0", **sandbox.env, "VENICE_BASE_URL": f"http://127.0.0.1:{wire.port}/api/v1"}
        settings = load(env, state_dir=folder / "state", config_dir=folder / "operator")
        wallet = settings.credentials["WALLET"].secret
        assert wallet is not None
        app = build_app(settings, Redactor(), now=clock, sleep=at_once)
        app.client.transport.deadlines = Deadlines(PATIENCE_S, deadline_s)
        async with connect(InMemoryTransport(build_server(app)), MODERN, person) as client:
            yield House(client, wire, sandbox, beside, clock, person, folder, wallet.reveal())
        await app.client.transport.close()
    finally:
        wire.close()


def sentences(text: str) -> list[str]:
    return [sentence for sentence in (NOTHING, SOMETHING, UNKNOWN) if sentence in text]


def made_since(before: dict[str, Json], after: dict[str, Json]) -> Json | None:
    """The key that is new, if one is."""
    new = [key for key_id, key in after.items() if key_id not in before]
    assert len(new) <= 1
    return new[0] if new else None


def assert_told(
    name: str,
    result: CallToolResult,
    outcome: Outcome,
    before: dict[str, Json],
    after: dict[str, Json],
    secrets: list[str],
) -> None:
    """The account that was given is what happened, and as much of it as can be known."""
    if outcome in ("nothing", "unknown"):
        assert after == before
        assert sentences(failed(result)) == [NOTHING if outcome == "nothing" else UNKNOWN]
        return
    assert after != before
    made = made_since(before, after)
    if made is not None and outcome == "looked up":
        said = failed(result)
        assert sentences(said) == [SOMETHING]
        assert str(made["id"]) in said
        return
    shown = done(result)
    if made is not None:
        assert (shown["id"], shown["api_key"]) == (made["id"], secrets[-1])
        return
    notes = " ".join(shown["notes"])
    assert ("answer was lost" in notes) == (outcome == "looked up")
    if name == "revoke":
        assert shown["revoked"] is True
        assert len(after) == len(before) - 1
    else:
        assert shown["key"]["usd_cap"] == after[shown["key"]["id"]]["caps"]["usd"] == 10


async def settle(inside: House) -> None:
    """A minute later, whatever venice_recover names is revoked or acknowledged, and then nothing is open."""
    inside.clock.advance(seconds=61)
    found = done(await inside.call("venice_recover"))
    for item in found["open"]:
        if item.get("key_id") in inside.held():
            done(await inside.call("venice_recover", revoke=item["key_id"]))
        else:
            assert "another" in item["what"], "only of a wallet's key, which may be elsewhere, is it anybody's word"
            done(await inside.call("venice_recover", acknowledge=item["name"]))
    assert done(await inside.call("venice_recover"))["open"] == []
    assert not done(await inside.call("venice_status"))["open_matters"]


def arguments_for(inside: House, name: str) -> Json:
    write = EVERY[name]
    return dict(write.arguments) if write.target is None else {"key_id": inside.own_key(), **write.arguments}


SAME_ROAD = ("update", "revoke", "mint")
"""They go the same way as a create: some faults of each outcome, others for each of them, show that they do."""


def strikes() -> list[tuple[str, str]]:
    """Which write meets which fault."""
    found = [("create", fault) for fault in FAULTS]
    for outcome in ("nothing", "unknown", "looked up", "answered"):
        alike = [name for name, fault in FAULTS.items() if fault.outcome == outcome]
        for place, name in enumerate(SAME_ROAD):
            found.append((name, alike[place % len(alike)]))
            if outcome == "looked up":
                found.append((name, alike[-1 - place]))
    return found


@pytest.mark.parametrize(("name", "fault"), strikes())
async def test_what_is_told_of_a_write_is_what_became_of_it(
    tmp_path: Path, sandbox: SandboxProcess, beside: httpx.Client, fault: str, name: str
) -> None:
    write, struck = EVERY[name], FAULTS[fault]
    with trap() as (elsewhere, took):
        async with house(sandbox, beside, tmp_path, elsewhere, struck.deadline_s) as inside:
            arguments = arguments_for(inside, name)
            before, sent = inside.held(), inside.written()
            inside.wire.fault = struck
            result = await inside.call(write.tool, **arguments)
            inside.wire.fault, after = None, inside.held()
            arrived = struck.outcome in ("looked up", "answered")
            assert inside.written() - sent == ({write.operation: 1} if arrived else {})
            assert inside.wire.writes == 1
            assert_told(name, result, struck.outcome, before, after, inside.wire.secrets)
            await settle(inside)
            made = made_since(before, after)
            assert made is None or made["id"] not in inside.held()
            if made is not None and arrived:
                assert inside.wire.secrets
            inside.assert_silent(
                but=inside.wire.secrets[-1] if made is not None and struck.outcome == "answered" else ""
            )
    assert took == []


@pytest.mark.parametrize("name", EVERY)
async def test_a_write_for_which_nobody_listens_was_not_sent(
    tmp_path: Path, sandbox: SandboxProcess, beside: httpx.Client, name: str
) -> None:
    """The wire is unplugged while the person is asked, and plugged in again afterwards."""
    async with house(sandbox, beside, tmp_path, "", PATIENCE_S) as inside:
        arguments = arguments_for(inside, name)
        before, sent = inside.held(), inside.written()

        async def unplug() -> None:
            inside.wire.unplug()

        inside.person.meanwhile = unplug
        said = failed(await inside.call(EVERY[name].tool, **arguments))
        inside.wire.plug_in()
        assert sentences(said) == [NOTHING]
        assert "could not be reached" in said
        assert (inside.held(), inside.written()) == (before, sent)
        await settle(inside)
        inside.assert_silent()


async def test_what_comes_after_an_answer_is_never_taken_for_the_next_one(
    tmp_path: Path, sandbox: SandboxProcess, beside: httpx.Client
) -> None:
    """After each answer to a read comes a second one: a list in which there are no keys."""
    async with house(sandbox, beside, tmp_path, "", PATIENCE_S) as inside:
        inside.wire.after = lambda answer: answer + sized(b'{"object":"list","data":[]}')
        for _ in range(4):
            total = done(await inside.call("venice_list_api_keys"))["total"]
            assert total == len(inside.held())


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_packed_answer_is_not_unpacked_beyond_its_bound(
    tmp_path: Path, sandbox: SandboxProcess, beside: httpx.Client, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is packed: what was unpacked of it altogether is counted where every unpacking ends."""
    unpacked = 0

    class Counting:
        def __init__(self, wbits: int) -> None:
            self._inner = zlib_decompressobj(wbits)

        def decompress(self, data: bytes, max_length: int = 0) -> bytes:
            nonlocal unpacked
            part = self._inner.decompress(data, max_length)
            unpacked += len(part)
            return part

        def flush(self) -> bytes:
            return self._inner.flush()

    zlib_decompressobj = zlib.decompressobj
    huge = bombing(100, times)
    async with house(sandbox, beside, tmp_path, "", PATIENCE_S) as inside:
        monkeypatch.setattr(zlib, "decompressobj", Counting)
        inside.wire.after = lambda _answer: huge
        said = failed(await inside.call("venice_list_api_keys"))
    assert sentences(said) == [NOTHING]
    assert unpacked <= 4 * 17 * MIB, "it was tried four times"
