"""Spans of the SDK name the tool and how it ended, and hold nothing that a caller, Venice or an exception said."""

import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import httpx
import mcp.shared._otel as sdk_tracing
import pytest
from mcp import Client
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, EmptyResult, Request
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tests.test_bad_input import HEX_KEY, JWT, OTHER_KEY
from tests.test_harness import ADMIN_KEY, ERAS, House, Json, Person, house

SAID = "a-description-of-mine"
ANSWERED = "an-error-text-of-venice"
SECRETS = (ADMIN_KEY, OTHER_KEY, HEX_KEY, JWT)
KNOWN_ATTRIBUTES = {
    "mcp.method.name",
    "mcp.protocol.version",
    "jsonrpc.request.id",
    "gen_ai.operation.name",
    "gen_ai.tool.name",
    "gen_ai.prompt.name",
    "error.type",
    "rpc.response.status_code",
}
Step = Callable[[Client], Awaitable[object]]


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What the SDK traces while a test runs; a provider set for the process could not be taken back."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(sdk_tracing, "_tracer", provider.get_tracer("tests"))
    return kept


def spans_of(exporter: InMemorySpanExporter) -> list[Json]:
    """Spans of our server; those of the client that asks are its own business."""
    return [
        json.loads(span.to_json() or "{}")
        for span in exporter.get_finished_spans()
        if (span.kind is not SpanKind.CLIENT or "elicitation" in span.name)
        and not span.name.startswith("notifications/")
    ]


def traced(bench: House, exporter: InMemorySpanExporter, era: str, *steps: Step) -> list[Json]:
    """Take the steps over one connection; the spans of the requests after the handshake."""

    async def work() -> None:
        async with bench.client(era, Person()) as client:
            exporter.clear()
            for step in steps:
                with suppress(MCPError):
                    await step(client)

    bench.run(work)
    spans = spans_of(exporter)
    assert len(spans) >= len(steps)
    return spans


def tool(name: str, **arguments: Any) -> Step:
    return lambda client: client.call_tool(name, arguments)


def request(method: str, params: Json) -> Step:
    sent = cast("Any", Request[Json, str](method=method, params=params))
    return lambda client: client.session.send_request(sent, EmptyResult)


def assert_silent(spans: list[Json], *texts: str) -> None:
    for span in spans:
        told = json.dumps(span)
        assert not [text for text in (*SECRETS, *texts) if text in told]
        assert set(span["attributes"]) <= KNOWN_ATTRIBUTES
        assert span["events"] == [], "an event would carry the text of an exception"


@pytest.mark.parametrize("era", ERAS)
def test_a_call_that_works_leaves_its_name_and_our_id(tmp_path: Path, exporter: InMemorySpanExporter, era: str) -> None:
    bench = house(tmp_path)
    spans = traced(
        bench,
        exporter,
        era,
        tool("venice_create_api_key", description=SAID),
        tool("venice_list_api_keys", text=SAID),
        tool("venice_get_web3_token"),
    )
    held = [key["secret"] for key in bench.made_keys()] + [key["id"] for key in bench.made_keys()]
    assert_silent(spans, SAID, *held)
    served = [span for span in spans if span["attributes"]["mcp.method.name"] == "tools/call"]
    assert {span["attributes"]["gen_ai.tool.name"] for span in served} == {
        "venice_create_api_key",
        "venice_list_api_keys",
        "venice_get_web3_token",
    }
    assert all(re.fullmatch("r-[0-9a-f]{6}", span["attributes"]["jsonrpc.request.id"]) for span in served)


@pytest.mark.parametrize("era", ERAS)
def test_a_call_that_fails_leaves_no_text(tmp_path: Path, exporter: InMemorySpanExporter, era: str) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": f"{ANSWERED} {ADMIN_KEY}"})

    bench = house(tmp_path, venice=httpx.MockTransport(answer))
    spans = traced(
        bench,
        exporter,
        era,
        tool("venice_list_api_keys"),
        tool("venice_revoke_api_key", key_id=OTHER_KEY),
        tool("venice_create_api_key", **{SAID: OTHER_KEY}),
    )
    assert_silent(spans, SAID, ANSWERED)
    assert [span["attributes"].get("error.type") for span in spans] == ["tool_error"] * 3


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("secret", SECRETS, ids=["configured", "prefixed", "hex", "jwt"])
def test_names_that_nobody_knows_are_in_no_span(
    tmp_path: Path, exporter: InMemorySpanExporter, era: str, secret: str
) -> None:
    spans = traced(
        house(tmp_path),
        exporter,
        era,
        tool(secret),
        tool("not-a-secret-but-not-known"),
        lambda client: client.get_prompt(secret, {"x": secret}),
        lambda client: client.get_prompt("rotate", {"request": secret, "key": SAID}),
        lambda client: client.read_resource(f"venice://{secret}"),
        request("logging/setLevel", {"level": secret, "name": secret}),
        request("resources/read", {"uri": "venice://nothing", "name": SAID}),
        request("vendor/method", {"name": secret}),
        request("tools/call", {"name": "venice_status", "arguments": secret}),
    )
    assert_silent(spans, "not-a-secret-but-not-known", SAID)


@pytest.mark.parametrize("era", ERAS)
def test_a_trace_of_the_caller_is_followed_unless_it_holds_a_secret(
    tmp_path: Path, exporter: InMemorySpanExporter, era: str
) -> None:
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"

    def call(**more: str) -> Step:
        meta = cast("Any", {"traceparent": parent, **more})
        return lambda client: client.call_tool("venice_status", {}, meta=meta)

    spans = traced(house(tmp_path), exporter, era, call(tracestate="vendor=plain"), call(tracestate=f"v={OTHER_KEY}"))
    assert_silent(spans)
    assert "vendor" in spans[0]["context"]["trace_state"]
    assert spans[1]["context"]["trace_state"] == "[]"


@pytest.mark.parametrize("era", ERAS)
def test_a_defect_leaves_neither_its_text_in_a_span_nor_on_the_wire(
    tmp_path: Path, exporter: InMemorySpanExporter, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = house(tmp_path)

    async def broken(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        raise RuntimeError(f"{SAID} {ADMIN_KEY}")

    caught: list[MCPError] = []

    async def call(client: Client) -> None:
        bench.server.middleware.append(broken)
        with pytest.raises(MCPError) as error:
            await client.call_tool("venice_status", {})
        caught.append(error.value)

    assert_silent(traced(bench, exporter, era, call), SAID)
    assert caught[0].error.code == INTERNAL_ERROR
    assert SAID not in f"{caught[0]!r} {caught[0].error!r}"
    assert "ended unexpectedly" in caplog.text
