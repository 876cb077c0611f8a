"""What a diagnosis is made from: at most six reads, two rounds of them in parallel, none tried again.

What the second round asks with the ADMIN key is left out when the first one was blocked or refused: one more request
could prolong that.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, cast

import anyio

from venice_mcp.client import VeniceClient
from venice_mcp.client.hurry import answered_within
from venice_mcp.diagnosis.claims import claims
from venice_mcp.diagnosis.hits import read_hits
from venice_mcp.diagnosis.pasted import Pasted
from venice_mcp.errors import VeniceError
from venice_mcp.models.wire import BalanceAnswer, Key, LogRow, Model, RateLimitsData, UsageEntry
from venice_mcp.settings import KeyKind
from venice_mcp.store.remembered import Remembered
from venice_mcp.text import plain, plural, quoted, to_wire

Source = Literal["limits", "keys", "models", "log", "balance", "usage"]
_LEDGER = timedelta(hours=1)
"""How far back the sizes of requests are looked up; much shorter windows are said to hang at Venice."""
_LEDGER_ROWS = 400
_READ_S = 15.0
_SKEW_S = 5.0
BLOCKS = frozenset({"failed_requests", "unsupported_feature"})


@dataclass(frozen=True)
class Subject:
    """The key in question. `kind` is set for one that this server holds, and then its secret can be sent."""

    kind: KeyKind | None
    key_id: str = ""
    last6: str = ""

    def name(self, key: Key | None = None) -> str:
        """In words, with the description when it is known."""
        described = f" {quoted(key.description, 40)}" if key is not None and plain(key.description) else ""
        last6 = plain(key.last6_chars if key is not None else self.last6, 6)
        ending = f" ...{last6}" if last6 else ""
        if self.kind is None:
            return f"key{described}{ending or f' {plain(self.key_id, 36)}'.rstrip()}"
        return f"{self.kind} key{described}{ending}"


@dataclass(frozen=True)
class Evidence:
    """What was read, and for what was not, why. None is not read; an empty list is nothing there."""

    now: datetime
    subject: Subject
    model: str | None = None
    pasted: Pasted | None = None
    limits: RateLimitsData | None = None
    keys: list[Key] | None = None
    models: list[Model] | None = None
    log: list[LogRow] | None = None
    balance: BalanceAnswer | None = None
    usage: list[UsageEntry] | None = None
    refused: Mapping[Source, VeniceError] = field(default_factory=dict["Source", VeniceError])
    unread: Mapping[Source, str] = field(default_factory=dict["Source", str])
    past: tuple[Remembered, ...] = ()
    before: Key | None = None
    """The key in question as it was listed earlier, when it is not listed any more."""

    @property
    def key(self) -> Key | None:
        """The key in question as Venice lists it."""
        return listed(self.subject, self.keys or [])

    @property
    def gone(self) -> bool:
        """Whether Venice does not list it: it is revoked, expired, or of another account."""
        return self.keys is not None and self.key is None

    @property
    def own_id(self) -> str:
        """The key's id; empty when only the key itself was there to ask with."""
        return self.key.id if self.key is not None else self.subject.key_id

    @property
    def known(self) -> bool:
        """Whether anything about the key itself was read."""
        return self.key is not None or (self.subject.kind is not None and self.limits is not None)

    @property
    def offered(self) -> Model | None:
        """The model in question as Venice lists it, in any case of letters and without feature suffixes."""
        folded = self.model_id.casefold()
        return next((each for each in self.models or [] if folded and each.id.casefold() == folded), None)

    @property
    def model_id(self) -> str:
        """The model's id without suffixes such as `:enable_web_search=on`; empty when no model is in question."""
        return (self.model or "").partition(":")[0]

    def is_of_model(self, model: str) -> bool:
        """Whether a name in the log is the model in question."""
        return bool(self.model_id) and model.partition(":")[0].casefold() == self.model_id.casefold()


def listed(subject: Subject, keys: list[Key]) -> Key | None:
    """The key in question among these; of a held one only type and ending are known, and they must fit just one."""
    if subject.key_id:
        found = [key for key in keys if key.id == subject.key_id]
    else:
        found = [key for key in keys if (key.api_key_type, key.last6_chars) == (subject.kind, subject.last6)]
    return found[0] if len(found) == 1 else None


async def gather(
    client: VeniceClient,
    subject: Subject,
    *,
    model: str | None,
    pasted: Pasted | None,
    past: tuple[Remembered, ...],
    with_usage: bool,
) -> Evidence:
    """Read what can be read with the keys at hand."""
    started = client.transport.now()
    reading = _Reading()
    held = {kind: (await client.keys.get(kind)).secret is not None for kind in ("ADMIN", "INFERENCE")}
    asker: KeyKind | None = subject.kind or ("ADMIN" if held["ADMIN"] else "INFERENCE" if held["INFERENCE"] else None)
    first: dict[Source, Callable[[], Awaitable[Any]]] = {}
    if asker is not None:
        first["limits"] = lambda: client.get_rate_limits(asker)
    if held["ADMIN"]:
        first["keys"] = client.list_api_keys
    if model is not None:
        first["models"] = client.list_models
    with answered_within(_READ_S, tries=1):
        # Looked up before the list below replaces it.
        before = listed(subject, list(client.seen.values()))
        await reading.all(first)
        await reading.all(_second(client, held, reading, started, with_usage=with_usage))
    skew = client.transport.skew_s or 0.0
    # What Venice writes down, it writes by its own clock.
    now = client.transport.now() - timedelta(seconds=skew if abs(skew) > _SKEW_S else 0.0)
    if illegible := read_hits(reading.found.get("log") or [], now)[1]:
        reading.unread["log"] = f"{plural(illegible, 'row')} without a legible time"
    if not held["ADMIN"]:
        for source in ("keys", "balance", "usage"):
            reading.unread[source] = "needs an ADMIN key (VENICE_ADMIN_KEY)"
    return Evidence(
        now=now,
        subject=subject,
        model=model,
        pasted=pasted,
        refused=reading.refused,
        unread=reading.unread,
        past=past,
        before=before,
        **cast("dict[str, Any]", reading.found),
    )


def _second(
    client: VeniceClient, held: Mapping[str, bool], reading: "_Reading", now: datetime, *, with_usage: bool
) -> dict[Source, Callable[[], Awaitable[Any]]]:
    """What is read when the first round has shown that Venice takes requests."""
    refused = reading.refused.get("keys" if held["ADMIN"] else "limits")
    if refused is not None and (blocks(refused) or refused.code == "failure_budget"):
        for source in ("log", "balance", "usage"):
            reading.unread[source] = "not asked for, because Venice blocks requests"
        return {}
    admin = held["ADMIN"] and (refused is None or refused.status not in (401, 403))
    reads: dict[Source, Callable[[], Awaitable[Any]]] = {}
    if admin:
        reads["log"] = lambda: client.get_rate_limit_log(prefer_admin=True)
        reads["balance"] = client.get_billing_balance
        if with_usage:
            query = {"startTimestamp": to_wire(now - _LEDGER), "pageSize": str(_LEDGER_ROWS)}
            reads["usage"] = lambda: _ledger(client, query)
    elif held["ADMIN"]:
        for source in ("log", "balance", "usage"):
            reading.unread[source] = "not asked for, because the ADMIN key was refused just before"
    elif held["INFERENCE"] and "limits" not in reading.refused and not client.log_needs_admin:
        reads["log"] = client.get_rate_limit_log
    else:
        reading.unread["log"] = "needs an ADMIN key (VENICE_ADMIN_KEY)"
    return reads


async def _ledger(client: VeniceClient, query: Mapping[str, str]) -> list[UsageEntry]:
    return (await client.get_billing_usage(query)).data


class _Reading:
    """Several reads at once; one that fails does not take the others down."""

    def __init__(self) -> None:
        self.found: dict[Source, Any] = {}
        self.refused: dict[Source, VeniceError] = {}
        self.unread: dict[Source, str] = {}

    async def all(self, reads: Mapping[Source, Callable[[], Awaitable[Any]]]) -> None:
        async with anyio.create_task_group() as group:
            for source, read in reads.items():
                group.start_soon(self._one, source, read)

    async def _one(self, source: Source, read: Callable[[], Awaitable[Any]]) -> None:
        try:
            self.found[source] = await read()
        except VeniceError as error:
            self.refused[source] = error
            said = f" {quoted(error.said, 60)}" if error.said else ""
            self.unread[source] = f"refused with {error.status}{said}" if error.status else plain(error.what, 120)


def blocks(error: VeniceError) -> bool:
    """Whether a refusal is Venice's block after too many failed requests."""
    return bool(BLOCKS & set(claims(error.status, error.said)))
