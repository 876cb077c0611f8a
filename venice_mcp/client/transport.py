"""One request to Venice: the right host, a bounded answer, reads retried, writes sent once."""

import json
import math
import re
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

import anyio
from pydantic_core import from_json

from venice_mcp.client.hurry import time_is_left, time_left, tries_allowed
from venice_mcp.client.network import Begun, proxy_at, tls_context, trusting_nobody
from venice_mcp.client.pace import BLOCK_S, MAX_WAIT_S, Blocks, FailureBudget, backoff, wait_asked_for
from venice_mcp.errors import AnswerLost, VeniceError
from venice_mcp.operating import command
from venice_mcp.secrets import Secret
from venice_mcp.settings import LIVE_HOST, Settings
from venice_mcp.text import plain, plural, quoted

if TYPE_CHECKING:
    import httpx

MAX_BODY_BYTES = 16 * 1024 * 1024
READS_UNDER_WAY = 6
WRITES_UNDER_WAY = 2
"""With the failures counted so far (client.pace) all of these may fail without Venice's block."""
READ_TRIES = 4
MAX_BLOCK_S = 60.0

# Escapes are taken in order, so that an escaped backslash before a "u" is not mistaken for the beginning of one.
_ESCAPES = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)

Method = Literal["GET", "POST", "PATCH", "DELETE"]


@dataclass(frozen=True)
class Deadlines:
    """How long one exchange may take from beginning to end, however little comes at a time."""

    read_s: float = 60.0
    write_s: float = 45.0


@dataclass(frozen=True)
class Answer:
    """A complete answer: status, lower-case headers, the decoded JSON body (None when it was not JSON)."""

    status: int
    headers: Mapping[str, str]
    body: Any
    is_json: bool

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def block_text(answer: Answer) -> str:
    """What Venice says when it refuses all requests of a key for a while, because too many had failed; else nothing."""
    text = cast("dict[str, Any]", answer.body).get("error") if isinstance(answer.body, dict) else None
    if answer.status != 429 or not isinstance(text, str) or "too many failed attempts" not in text.lower():
        return ""
    return plain(text, 120)


class Unreachable(Exception):
    """The connection failed or broke. `sent` is False only when the request cannot have reached Venice."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class Transport:
    """The only place that opens connections.

    Args:
        settings: says which host, and the way to it; a real key is only ever sent to https://api.venice.ai.
        handler: replaces the network (tests and the in-process sandbox).
        now, sleep: the clock, injected.
        deadlines: for one exchange.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        handler: "httpx.AsyncBaseTransport | None" = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        deadlines: Deadlines = Deadlines(),
    ) -> None:
        self.deadlines = deadlines
        self._settings = settings
        self._handler = handler
        self.now = now
        self._sleep = sleep
        self._client: httpx.AsyncClient | None = None
        self._failures = FailureBudget()
        self._blocks = Blocks()
        self._said_of_block = ""
        # Apart, so that a write, which was compared and approved a moment ago, never queues behind slow reads.
        self._reading = anyio.Semaphore(READS_UNDER_WAY)
        self._writing = anyio.Semaphore(WRITES_UNDER_WAY)
        self.skew_s: float | None = None

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def read(self, path: str, *, query: Mapping[str, str] | None = None, key: Secret | None = None) -> Answer:
        """GET, tried again on 429, 5xx and broken connections, within a bound.

        Raises:
            VeniceError: nothing usable came back in time.
        """
        waited = 0.0
        tries = tries_allowed(READ_TRIES)
        for attempt in range(tries):
            last = attempt == tries - 1
            try:
                answer = await self._send("GET", path, query=query, key=key, deadline_s=self.deadlines.read_s)
            except Unreachable as error:
                if last or not time_is_left():
                    raise VeniceError(
                        f"Venice could not be reached ({error}); tried {plural(attempt + 1, 'time')}.",
                        next_step=f"Check the network, perhaps with `{command('doctor')}`, then call again.",
                        code="unreachable",
                    ) from None
                pause = backoff(attempt)
            else:
                if last or not (answer.status == 429 or answer.status >= 500):
                    return answer
                asked = wait_asked_for(answer.headers, self.now())
                pause = backoff(attempt) if asked is None else asked
                if waited + pause > time_left(MAX_WAIT_S):
                    return answer
            waited += pause
            await self._sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")

    async def write(
        self,
        method: Method,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        key: Secret | None = None,
    ) -> Answer:
        """Send a write once.

        Raises:
            AnswerLost: it may have taken effect, and no usable answer came back.
            VeniceError: it certainly did not reach Venice.
        """
        try:
            answer = await self._send(method, path, query=query, body=body, key=key, deadline_s=self.deadlines.write_s)
        except Unreachable as error:
            if not error.sent:
                raise VeniceError(
                    f"Venice could not be reached ({error}), so the request was not sent.",
                    next_step="Check the network, then call again.",
                    code="unreachable",
                ) from None
            raise AnswerLost(f"The connection broke before Venice answered ({error}).") from None
        if answer.status >= 500 or answer.status == 408:
            raise AnswerLost(
                f"Venice answered {answer.status}, which may come after the work was done.", status=answer.status
            )
        if (not answer.is_json and answer.status != 429) or 300 <= answer.status < 400:
            # Venice refuses in JSON; anything else may come from a proxy that lost Venice's real answer.
            raise AnswerLost(f"The answer, {answer.status}, had a body that could not be read.", status=answer.status)
        return answer

    # --- one exchange -------------------------------------------------------------------------

    async def _send(
        self,
        method: Method,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        key: Secret | None = None,
        deadline_s: float,
    ) -> Answer:
        if self._settings.blocked:
            raise VeniceError(self._settings.blocked, next_step="Correct the setting and restart.", code="blocked")
        url = self._settings.base_url + path
        self._check_destination(url, key)
        self._refuse_blocked(key)
        headers = {"Accept": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key.reveal()}"
        # All that are under way may fail, so together with those that did they must stay below Venice's limit.
        async with self._turn(self._reading if method == "GET" else self._writing):
            answer = await self._exchange(method, url, query, body, headers, deadline_s)
            if not answer.ok:
                self._failures.record()
            if blocked := block_text(answer):
                self._said_of_block = blocked
                asked = wait_asked_for(answer.headers, self.now())
                self._blocks.record(key, min(MAX_BLOCK_S, BLOCK_S if asked is None else asked))
        self._note_clock(answer.headers.get("date", ""))
        return answer

    async def _exchange(
        self,
        method: Method,
        url: str,
        query: Mapping[str, str] | None,
        body: Any,
        headers: dict[str, str],
        deadline_s: float,
    ) -> Answer:
        import httpx  # 0.1 to 0.2 s that a start-up without requests does not pay

        client = self._opened()
        begun = Begun()
        deadline_s = time_left(deadline_s)
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        if content is not None:
            headers = headers | {"Content-Type": "application/json"}
        try:
            with anyio.fail_after(deadline_s):
                async with client.stream(
                    method,
                    url,
                    params=dict(query) if query else None,
                    content=content,
                    headers=headers,
                    extensions={"trace": begun},
                ) as response:
                    raw = await _bounded(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unreachable(type(error).__name__, sent=False) from None
        except TimeoutError:
            raise Unreachable(f"no complete answer within {deadline_s:.3g} s", sent=self._sent(begun)) from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise Unreachable(type(error).__name__, sent=self._sent(begun)) from None
        lowered = {name.lower(): value for name, value in response.headers.items()}
        if raw is None:
            raise Unreachable(f"an answer larger than {MAX_BODY_BYTES // 1024 // 1024} MiB", sent=True)
        body_value, is_json = _decoded(raw)
        return Answer(response.status_code, lowered, body_value, is_json)

    def _sent(self, begun: Begun) -> bool:
        """Whether Venice may have got a request that failed; what replaces the network does not say."""
        return begun.sending or self._handler is not None

    def _check_destination(self, url: str, key: Secret | None) -> None:
        """A last look at the parsed URL: a key leaves only for Venice or for the sandbox it belongs to."""
        parts = urlsplit(url)
        live = parts.scheme == "https" and parts.hostname == LIVE_HOST and parts.port in (None, 443)
        if key is not None and live != (self._settings.mode == "live"):
            raise AssertionError("a key was about to be sent to a host that is not its own")

    @asynccontextmanager
    async def _turn(self, slots: anyio.Semaphore) -> AsyncGenerator[None]:
        """A slot, at a time when even the failure of everything under way stays below Venice's abuse limit."""
        with anyio.move_on_after(time_left(math.inf)) as waiting:
            await slots.acquire()
        if waiting.cancelled_caught:
            raise VeniceError(
                "Other requests to Venice took all the time this call had.",
                next_step="Call again.",
                code="unreachable",
            )
        try:
            wait = self._failures.wait_s()
            if not wait:
                yield
                return
        finally:
            slots.release()
        if wait > time_left(MAX_WAIT_S):
            raise VeniceError(
                "Too many requests failed in the last 30 s; another failure could make Venice block the whole account.",
                next_step=f"Wait {int(wait) + 1} s, and mend what makes them fail before calling again.",
                code="failure_budget",
                wait_s=wait,
            )
        await self._sleep(wait)
        async with self._turn(slots):
            yield

    def _refuse_blocked(self, key: Secret | None) -> None:
        """A caller that Venice has just blocked asks nothing before that is over."""
        wait = self._blocks.wait_s(key)
        if wait:
            raise VeniceError(
                f"Venice blocked this key just before ({quoted(self._said_of_block)}), so nothing was sent.",
                next_step=f"Wait {int(wait) + 1} s, and mend what makes requests fail before calling again.",
                code="blocked_by_venice",
                status=429,
                said=self._said_of_block,
                wait_s=wait,
            )

    def _note_clock(self, date: str) -> None:
        try:
            self.skew_s = (self.now() - parsedate_to_datetime(date)).total_seconds() if date else None
        except (ValueError, TypeError):
            self.skew_s = None

    def _opened(self) -> "httpx.AsyncClient":
        if self._client is None:
            import httpx  # see _exchange

            if self._handler is None and self._settings.mode == "sandbox":
                self._handler = _in_process_sandbox(self._settings)
            by_network = self._handler is None
            live = by_network and self._settings.mode == "live"
            ca_file = self._settings.ca_file if live else None
            url = urlsplit(self._settings.base_url)
            self._client = httpx.AsyncClient(
                transport=self._handler,
                verify=tls_context(ca_file) if by_network and url.scheme == "https" else trusting_nobody(),
                proxy=proxy_at(self._settings.proxy, ca_file) if live and self._settings.proxy else None,
                timeout=httpx.Timeout(30.0, connect=10.0),
                follow_redirects=False,
                trust_env=False,
                # Each request gets a new connection. One that was kept may be closing, and then nobody knows whether a
                # write arrived; and what came on it after one answer would be taken for the next one.
                limits=httpx.Limits(max_connections=8, max_keepalive_connections=0),
                # Only what `_bounded` can unpack.
                headers={"User-Agent": "venice-mcp", "Accept-Encoding": "gzip"},
            )
        return self._client


def _in_process_sandbox(settings: Settings) -> "httpx.AsyncBaseTransport":
    import httpx

    from venice_mcp.sandbox import create_app  # only the sandbox mode needs it

    admin = settings.credentials["ADMIN"].secret
    inference = settings.credentials["INFERENCE"].secret
    app = create_app(
        scenario=settings.scenario,
        admin_key=admin.reveal() if admin else None,
        inference_key=inference.reveal() if inference else None,
    )
    return httpx.ASGITransport(app=app, raise_app_exceptions=False)


async def _bounded(response: "httpx.Response") -> bytes | None:
    """The body, unpacked; None as soon as it grows past the bound.

    Not by httpx, which unpacks all that arrived before anyone can see how much it becomes, and does so as often as
    the answer says: 2 kB that were packed twice took 2 GB of memory (httpx 0.28.1).

    Raises:
        httpx.DecodingError: it is packed in another way than it says, or than was asked for.
    """
    import httpx  # see _exchange

    packing = response.headers.get("content-encoding", "").strip().lower()
    if packing not in ("", "identity", "gzip", "x-gzip"):
        raise httpx.DecodingError("an encoding that was not asked for")
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16) if "gzip" in packing else None
    parts: list[bytes] = []
    left = MAX_BODY_BYTES
    async for raw in cast("httpx.AsyncByteStream", response.stream):
        try:
            part = raw if unpacking is None else unpacking.decompress(raw, left + 1)
        except zlib.error:
            raise httpx.DecodingError("not packed as it says") from None
        left -= len(part)
        if left < 0:
            return None
        parts.append(part)
    return b"".join(parts)


def _decoded(raw: bytes) -> tuple[Any, bool]:
    try:
        # Not json.loads: this parser bounds the depth by itself.
        return from_json(raw, allow_inf_nan=False), True
    except ValueError:
        pass
    # Half of an emoji, which a cut text may end in, is no text for the parser; it becomes a question mark.
    mended = _ESCAPES.sub(lambda found: b"?" if found[2] else found[0], raw)
    try:
        return from_json(mended, allow_inf_nan=False), True
    except ValueError:
        return None, False
