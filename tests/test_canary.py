"""Planted secrets are found nowhere: no frame, log record, span, file or byte of stderr, but for the one display.

The walks run in a process of its own, because logging and tracing are global. This module is also that process:
`python -m tests.test_canary FOLDER` walks and writes down all that it saw, and the tests search it.
"""

import base64
import gc
import json
import logging
import os
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError
from mcp_types import EmptyResult, PromptReference, Request, ResourceTemplateReference

from tests.checking import check_schemas_once
from tests.test_bad_input import HEX_KEY, JWT, OLD_KEY, OTHER_KEY, SIGNATURE
from tests.test_contract_client import foreign_signature, walk
from tests.test_harness import (
    ADMIN_KEY,
    ERAS,
    INFERENCE_KEY,
    KEYS,
    LEGACY,
    MODERN,
    ROOT,
    WALLET_KEY,
    House,
    Json,
    Person,
    Sent,
    house,
    text_of,
)
from tests.user import VARIABLES
from venice_mcp.secrets import install_logging

CONFIGURED = {"ADMIN": ADMIN_KEY, "INFERENCE": INFERENCE_KEY, "WALLET": WALLET_KEY}
PASTED = {"a prefixed key": OTHER_KEY, "hex": HEX_KEY, "old": OLD_KEY, "jwt": JWT, "signature": SIGNATURE}
BEARER = "bearer-0f9QvL3xTz7RkWmC2yNbHs8dPjGaUe5i"


@cache
def forms(secret: str) -> dict[str, bytes]:
    """What a secret could look like in bytes; base64 at every alignment, without its ends."""
    body = secret.removeprefix("VENICE_ADMIN_KEY_").removeprefix("VENICE_INFERENCE_KEY_").removeprefix("0x")
    raw = body.encode()
    found = {"plain": raw, "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode()}
    found["url"] = "".join(f"%{byte:02X}" for byte in raw).encode()
    found["reversed"] = raw[::-1]
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw)[2 + shift : -4]
        found[f"base64 {shift}"] = text
        found[f"base64url {shift}"] = text.replace(b"+", b"-").replace(b"/", b"_")
    return found


def leaks(material: bytes, secrets: dict[str, str]) -> list[str]:
    """Which secrets stand in the material, in which form, and around what."""
    found: list[str] = []
    for name, secret in secrets.items():
        for form, value in forms(secret).items():
            at = material.find(value)
            if at >= 0:
                around = material[max(0, at - 120) : at].decode(errors="replace")
                found.append(f"{name} ({form}) after: {around!r}")
    return found


# --- a hostile Venice ------------------------------------------------------------------------------


def spelled(secret: str) -> str:
    """A secret in all the forms a server might print it in."""
    raw = secret.encode()
    escaped = "".join(f"\\u{byte:04x}" for byte in raw)
    percent = "".join(f"%{byte:02x}" for byte in raw)
    return f"{secret} {percent} {base64.b64encode(raw).decode()} {raw.hex()} {escaped} {' '.join(secret)}"


class Hostile(httpx.AsyncBaseTransport):
    """A Venice that prints the key it was shown wherever it can."""

    def __init__(self) -> None:
        self.step = "listing"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        shown = request.headers.get("authorization", "").removeprefix("Bearer ") or WALLET_KEY
        words = spelled(shown)
        headers = {"x-request-id": shown, "cf-ray": shown, "x-echo": urllib.parse.quote(words), "server": shown}
        if self.step == "refusing":
            body = {
                "error": f"Key {words}",
                "details": {shown: {"_errors": [words]}, "field": {words: 1}},
                words: words,
            }
            return httpx.Response(400, json=body, headers=headers)
        if self.step == "openai":
            return httpx.Response(401, json={"error": {"message": words, "code": shown}}, headers=headers)
        if self.step == "admin":
            return httpx.Response(403, json={"error": f"Admin {shown}"}, headers=headers)
        if self.step == "html":
            return httpx.Response(200, text=f"<html>{words}</html>", headers=headers)
        if self.step == "shape":
            return httpx.Response(200, json={"data": {shown: words}, "canConsume": words}, headers=headers)
        if self.step == "raising":
            raise RuntimeError(f"broken by {words}")
        if self.step == "breaking" and request.method != "GET":
            raise httpx.ReadError(f"broken with {words}", request=request)
        if self.step == "refused connection" and request.method != "GET":
            raise httpx.ConnectError(f"no route for {words}", request=request)
        if self.step == "moving":
            return httpx.Response(307, headers=headers | {"location": f"https://evil.test/{shown}"})
        return httpx.Response(200, json=self._answer(request, shown, words), headers=headers)

    def _answer(self, request: httpx.Request, shown: str, words: str) -> Json:
        key: Json = {
            "id": "6f1e2d3c-4b5a-4798-8897-a6b5c4d3e2f1",
            "apiKeyType": words,
            "description": f"for {words}",
            "last6Chars": shown[-6:],
            "consumptionLimits": {"usd": 5, shown: 1},
            "limitPeriod": words,
            "modelPrivacy": shown,
            "createdAt": words,
            "expiresAt": shown,
            "lastUsedAt": base64.b64encode(shown.encode()).decode(),
            "usage": {"trailingSevenDays": {"usd": shown, "diem": shown}},
            "currentPeriodUsage": {"usd": words, "diem": shown},
            "ipAllowlist": [shown, words],
        }
        match request.url.path.removeprefix("/api/v1"):
            case "/api_keys/rate_limits":
                model = {"apiModelId": words, "rateLimits": [{"amount": 1, "type": shown}]}
                return {
                    "data": {
                        "accessPermitted": True,
                        "apiTier": {"id": words, "isCharged": True},
                        "balances": {shown: 1.0, words: 2.0},
                        "keyExpiration": shown,
                        "nextEpochBegins": words,
                        "rateLimits": [model, {"apiModelId": shown, "rateLimits": []}],
                    }
                }
            case "/api_keys/rate_limits/log":
                row = {"apiKeyId": shown, "modelId": words, "rateLimitTier": shown, "rateLimitType": words}
                return {"data": [row | {"timestamp": shown}]}
            case "/api_keys/generate_web3_key":
                return {"data": {"token": f"{shown}.{shown}.{shown}"}}
            case "/billing/balance":
                return {"canConsume": True, "consumptionCurrency": words, "balances": {"usd": 1, shown: 2}}
            case "/billing/usage-history":
                entry = {"timestamp": shown, "sku": words, "currency": shown, "notes": words, "amount": -1}
                return {"data": [entry], "nextCursor": shown}
            case "/billing/usage-analytics":
                by_model = [{"modelName": words, "totalUsd": 1}]
                by_key = [{"apiKeyId": shown, "description": words, "totalUsd": 1}]
                return {"lookback": words, "byDate": [{"date": shown}], "byModel": by_model, "byKey": by_key}
            case "/api_keys" if request.method == "GET":
                return {"data": [key]}
            case _:
                return {"data": key, "success": True}


# What the eras differ in is how a result or an exception gets to the client, so each has some of either kind.
STEPS = {
    LEGACY: ("listing", "openai", "html", "raising", "breaking"),
    MODERN: ("listing", "refusing", "admin", "shape", "raising", "refused connection", "moving"),
}
HOSTILE_ID = "6f1e2d3c-4b5a-4798-8897-a6b5c4d3e2f1"
RESOURCES = tuple(f"venice://{name}" for name in ("keys", f"keys/{HOSTILE_ID}", "limits", "audit-log", "policy"))
HOSTILE_CALLS: tuple[tuple[str, Json], ...] = (
    ("venice_status", {}),
    ("venice_list_api_keys", {}),
    ("venice_get_api_key", {"key_id": HOSTILE_ID}),
    ("venice_create_api_key", {"description": "hostile"}),
    ("venice_update_api_key", {"key_id": HOSTILE_ID, "description": "renamed"}),
    ("venice_revoke_api_key", {"key_id": HOSTILE_ID}),
    ("venice_get_rate_limits", {}),
    ("venice_get_rate_limit_log", {}),
    ("venice_get_web3_token", {}),
    ("venice_create_web3_api_key", {}),
    ("venice_get_billing_balance", {}),
    ("venice_get_billing_usage", {}),
    ("venice_get_usage_analytics", {}),
)


# --- the walking process ---------------------------------------------------------------------------


class Keeping(logging.Handler):
    """A handler somebody else attached: it sees every record as it is, arguments and exceptions included."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        self.kept.append(f"{vars(record)!r} {record.getMessage()} {trace}")


async def misuse(client: Client) -> list[str]:
    """Secrets in all the places where a caller can put them."""
    errors: list[str] = []

    async def attempt(call: Any) -> None:
        try:
            await call
        except MCPError as error:
            errors.append(f"{error!r} {error} {error.error!r}")

    for secret in (*PASTED.values(), *CONFIGURED.values()):
        await attempt(client.call_tool(secret, {}))
        await attempt(client.get_prompt(secret, {"x": secret}))
        await attempt(client.get_prompt("rotate", {"request": f"the key {secret} leaked", "key": secret}))
        await attempt(client.read_resource(f"venice://{secret}"))
        await attempt(client.read_resource(f"venice://keys/{secret}"))
        subscription: Json = {"uri": f"venice://keys/{secret}"}
        request = Request[Json, str](method="resources/subscribe", params=subscription)
        await attempt(client.session.send_request(cast("Any", request), EmptyResult))
        for argument in ("key", "model", secret):
            typed = {"name": argument, "value": secret}
            await attempt(client.complete(PromptReference(name=secret), typed))
            await attempt(client.complete(ResourceTemplateReference(uri=secret), typed))
        if client.protocol_version >= MODERN:
            async with client.listen(resource_subscriptions=[f"venice://keys/{secret}", "venice://keys"]) as stream:
                errors.append(f"{stream.honored!r}")
        await attempt(client.call_tool("venice_revoke_api_key", {"key_id": secret}))
        await attempt(client.call_tool("venice_revoke_api_key", {secret: secret}))
        await attempt(client.call_tool("venice_create_api_key", {"description": secret}))
        await attempt(client.call_tool("venice_list_api_keys", {"text": secret}))
        path = {"path": f"/srv/{secret}"}
        await attempt(client.call_tool("venice_create_api_key", {"description": "x", "deliver_to": path}))
        address = "0x52908400098527886E0F7030069857D2E4169EE7"
        mint = {"address": address, "token": secret, "signature": SIGNATURE}
        await attempt(client.call_tool("venice_create_web3_api_key", mint))
        request = Request[Json, str](method=secret, params={"name": secret})
        await attempt(client.session.send_request(cast("Any", request), EmptyResult))
    return errors


def walked(bench: House, era: str, calls: list[tuple[str, Json]], *, misusing: bool = False) -> list[str]:
    """Make the calls over one connection; the exceptions that a client saw."""
    errors: list[str] = []

    async def work() -> None:
        async with bench.client(era, Person()) as client:
            for tool, arguments in calls:
                try:
                    await client.call_tool(tool, arguments)
                except Exception as error:  # noqa: BLE001 - whatever a client gets to see is searched
                    errors.append(f"{error!r} {vars(error)!r}")
            for uri in RESOURCES:
                try:
                    await client.read_resource(uri)
                except MCPError as error:
                    errors.append(f"{error!r} {error.error!r}")
            for argument in ("key", "model"):
                await client.complete(PromptReference(name="rotate"), {"name": argument, "value": ""})
            if misusing:
                errors.extend(await misuse(client))

    bench.run(work)
    return errors


def main(folder: Path) -> None:
    """Walk through everything in this process, in either era, and write down what was seen."""
    check_schemas_once()
    gc.freeze()
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import SpanKind

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    keeping = Keeping()
    logging.getLogger().addHandler(keeping)
    for era in ERAS:
        (folder / era).mkdir()
        found = seen_in(era, folder / era)
        # The client of this walk traces what it sends, too; that is its business.
        spans = [f"{span.to_json()}" for span in exporter.get_finished_spans() if span.kind is not SpanKind.CLIENT]
        found |= {"records": keeping.kept.copy(), "spans": spans}
        (folder / era / "found.json").write_text(json.dumps(found))
        keeping.kept.clear()
        exporter.clear()


def seen_in(era: str, folder: Path) -> Json:
    good = house(folder / "good")
    install_logging(good.app.redactor, level="debug", stream=sys.stderr)
    (folder / "inside.json").write_text(json.dumps([key["secret"] for key in good.made_keys()]))
    errors = walked(good, era, walk(good), misusing=True)
    proof = foreign_signature(good)
    errors += walked(good, era, [("venice_create_web3_api_key", proof | {"address": "0x" + "ab" * 20})])
    errors += walked(good, era, [("venice_create_web3_api_key", proof), ("venice_status", {})])
    shown = [key["secret"] for key in good.made_keys()]
    frames = {"good": list(good.frames)}

    hostile = Hostile()
    for step in STEPS[era]:
        hostile.step = step
        bad = house(folder / step, venice=hostile)
        install_logging(bad.app.redactor, level="debug", stream=sys.stderr)
        errors += walked(bad, era, list(HOSTILE_CALLS))
        frames[step] = bad.frames
    return {"frames": frames, "errors": errors, "proof": proof, "shown": shown}


if __name__ == "__main__":
    main(Path(sys.argv[1]))


# --- what the walk in one process left behind ------------------------------------------------------


class Walk:
    def __init__(self, era: str, folder: Path, stderr: bytes) -> None:
        self.era = era
        self.found: Json = json.loads((folder / "found.json").read_text())
        self.inside: list[str] = json.loads((folder / "inside.json").read_text())
        self.stderr = stderr
        self.files = {
            path: path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name not in ("found.json", "inside.json")
        }

    @property
    def made(self) -> dict[str, str]:
        """The keys that were made on the way, by the last six."""
        return {f"made {secret[-6:]}": secret for secret in self.found["shown"] if secret not in self.inside}

    @property
    def delivered(self) -> dict[str, str]:
        """Those of them that went to a file of their own, and nowhere else."""
        files = [raw for path, raw in self.files.items() if not path.name.startswith("state.sqlite3")]
        return {name: key for name, key in self.made.items() if any(raw.strip() == key.encode() for raw in files)}

    @property
    def wallet(self) -> dict[str, str]:
        return {"signature made elsewhere": self.found["proof"]["signature"]}

    @property
    def all(self) -> dict[str, str]:
        inside = {f"inside {secret[-6:]}": secret for secret in self.inside}
        token = {"token": self.found["proof"]["token"].split(".")[2]}
        return CONFIGURED | PASTED | inside | self.made | self.wallet | token


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Walk]:
    folder = tmp_path_factory.mktemp("walk")
    command = [sys.executable, "-P", "-m", "tests.test_canary", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **KEYS, **_ours()}, capture_output=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    assert not done.stdout
    return {era: Walk(era, folder / era, done.stderr) for era in ERAS}


@pytest.fixture(params=ERAS)
def seen(request: pytest.FixtureRequest, walks: dict[str, Walk]) -> Walk:
    return walks[request.param]


def test_the_walk_was_long_enough_to_mean_something(seen: Walk) -> None:
    assert len(seen.found["frames"]["good"]) > 60
    assert all(len(seen.found["frames"][step]) > 12 for step in STEPS[seen.era])
    assert len(seen.found["records"]) > 100
    assert len(seen.found["spans"]) > 100
    assert len(seen.stderr) > 20_000
    assert (len(seen.made), len(seen.delivered)) == (6, 3)
    assert any(path.name.startswith("state.sqlite3") for path in seen.files)


def test_no_frame_holds_a_secret_but_the_one_display(seen: Walk) -> None:
    for name, secret in seen.made.items():
        holding = [frame for frame in seen.found["frames"]["good"] if leaks(frame.encode(), {"it": secret})]
        if name in seen.delivered:
            assert not holding
            continue
        assert len(holding) == 1, "a new secret is displayed in exactly one frame"
        assert holding[0].count(secret) == 2, "once in its text and once in its structured content"
    hidden = {name: secret for name, secret in seen.all.items() if name not in seen.made and name != "token"}
    for place, frames in seen.found["frames"].items():
        for frame in frames:
            assert not leaks(frame.encode(), hidden), place


def test_a_wallet_token_is_only_in_results_of_its_own_tool(seen: Walk) -> None:
    token = {"token": seen.found["proof"]["token"]}
    holding = [frame for frame in seen.found["frames"]["good"] if leaks(frame.encode(), token)]
    assert holding
    assert all("Token to sign" in frame for frame in holding)


@pytest.mark.parametrize("kind", ["errors", "records", "spans"])
def test_no_exception_log_record_or_span_holds_a_secret(seen: Walk, kind: str) -> None:
    assert not leaks("\n".join(seen.found[kind]).encode(), seen.all)


def test_no_byte_of_stderr_belongs_to_a_secret(seen: Walk) -> None:
    assert not leaks(seen.stderr, seen.all)


def test_no_file_holds_a_secret(seen: Walk) -> None:
    assert seen.files
    for path, raw in seen.files.items():
        if raw.strip() in {secret.encode() for secret in seen.delivered.values()}:
            continue
        assert not leaks(raw, seen.all), path.name
        assert not leaks(raw.replace(b"\0", b""), seen.all), path.name


def test_a_key_with_a_secret_in_its_description_can_be_changed_and_revoked(tmp_path: Path) -> None:
    for era in ERAS:
        bench = house(tmp_path / era, scenario="empty")
        made = bench.call("venice_create_api_key", {"description": "plain"}).structured_content
        assert made is not None

        def leak(_sent: Sent, response: httpx.Response) -> httpx.Response:
            return httpx.Response(response.status_code, text=response.text.replace('"plain"', f'"key {OTHER_KEY}"'))

        bench.edge.change = leak
        for tool, more in (
            ("venice_update_api_key", {"limit_period": "MONTH", "consumption_limit": {"usd": 1}}),
            ("venice_revoke_api_key", {}),
        ):
            person = Person()
            result = bench.call(tool, {"key_id": made["id"], **more}, era=era, person=person)
            assert not result.is_error, text_of(result)
            assert len(person.questions) == 1
            assert not leaks(person.questions[0].encode(), PASTED)


# --- real processes --------------------------------------------------------------------------------


class Processes:
    """A sandbox process, and the environment of a server on it."""

    def __init__(self, folder: Path) -> None:
        self.sandbox = subprocess.Popen(
            [sys.executable, "-P", "-m", "venice_mcp", "sandbox", "--port", "0"],
            stdout=subprocess.PIPE,
            cwd=folder,
            env=_environment(),
        )
        assert self.sandbox.stdout is not None
        told = json.loads(self.sandbox.stdout.readline())
        self.keys = {"admin": str(told["admin_key"]), "inference": str(told["inference_key"])}
        self.environment = _environment() | {
            "VENICE_BASE_URL": str(told["base_url"]),
            "VENICE_ADMIN_KEY": self.keys["admin"],
            "VENICE_API_KEY": self.keys["inference"],
            "VENICE_WALLET_KEY": WALLET_KEY,
        }

    def stop(self) -> None:
        assert self.sandbox.stdout is not None
        self.sandbox.terminate()
        self.sandbox.wait(10)
        self.sandbox.stdout.close()


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **_ours()}


def _ours() -> dict[str, str]:
    return VARIABLES | {"PYTHONPATH": f"{ROOT}{os.pathsep}{VARIABLES['PYTHONPATH']}"}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    running = Processes(tmp_path_factory.mktemp("sandbox"))
    try:
        yield running
    finally:
        running.stop()


@pytest.mark.parametrize("era", ERAS)
def test_a_real_process_keeps_its_secrets(processes: Processes, era: str, tmp_path: Path) -> None:
    secrets = processes.keys | PASTED | {"wallet": WALLET_KEY}
    log, state = tmp_path / "stderr.log", tmp_path / "state"
    results: list[str] = []

    async def drive() -> str:
        command = ["-P", "-m", "venice_mcp", "--log-level", "debug", "--state-dir", str(state)]
        parameters = StdioServerParameters(command=sys.executable, args=command, env=processes.environment)
        with log.open("w") as stderr:
            async with Client(
                stdio_client(parameters, errlog=stderr), mode=era, elicitation_callback=Person(), cache=None
            ) as client:
                made = await client.call_tool("venice_create_api_key", {"description": "canary"})
                assert made.structured_content is not None
                for secret in secrets.values():
                    for tool, name in (("venice_revoke_api_key", "key_id"), ("venice_create_api_key", "description")):
                        results.append((await client.call_tool(tool, {name: secret})).model_dump_json())
                    try:
                        await client.call_tool(secret, {})
                    except MCPError as error:
                        results.append(f"{error!r} {error.error!r}")
                for tool in ("venice_status", "venice_list_api_keys", "venice_get_rate_limit_log"):
                    results.append((await client.call_tool(tool, {})).model_dump_json())
                key_id = made.structured_content["id"]
                results.append((await client.call_tool("venice_get_api_key", {"key_id": key_id})).model_dump_json())
                results.append((await client.call_tool("venice_revoke_api_key", {"key_id": key_id})).model_dump_json())
                return str(made.structured_content["api_key"])

    secrets["made"] = anyio.run(drive)
    assert len(results) > 20
    for result in results:
        assert not leaks(result.encode(), secrets)
    written = log.read_bytes()
    assert len(written) > 1000, "the log was not at debug"
    assert b"Traceback" not in written
    assert not leaks(written, secrets)
    files = [path for path in state.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert not leaks(path.read_bytes(), secrets), path.name


def test_a_bearer_token_is_in_no_answer_and_no_log(processes: Processes, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(BEARER + "\n")
    options = ["serve", "--http", "--port", "0", "--token-file", str(token), "--log-level", "debug"]
    options += ["--state-dir", str(tmp_path / "state")]
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "venice_mcp", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=processes.environment,
    )
    assert server.stderr is not None
    written = b""
    try:
        address = ""
        ending = time.monotonic() + 30
        while not address and time.monotonic() < ending:
            line = server.stderr.readline()
            written += line
            if b"http://" in line and b"Listening on" in line:
                address = line.decode().partition("Listening on ")[2].split()[0]
        assert address, written.decode()
        headers = {"Authorization": f"Bearer {BEARER}", "Accept": "application/json, text/event-stream"}
        call = {"name": BEARER, "arguments": {BEARER: processes.keys["admin"]}}
        meta = {"_meta": {"io.modelcontextprotocol/protocolVersion": MODERN}}
        answers: list[bytes] = []
        with httpx.Client(trust_env=False, timeout=20) as caller:
            for given in (headers, {**headers, "Authorization": f"Bearer {BEARER[:-1]}"}, {"Accept": "*/*"}):
                for params in (
                    call,
                    call | meta,
                    {"name": "venice_get_api_key", "arguments": {"key_id": BEARER}} | meta,
                ):
                    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
                    answer = caller.post(address, json=body, headers={**given, "MCP-Protocol-Version": MODERN})
                    answers.append(repr(answer.headers.raw).encode() + answer.content)
    finally:
        server.terminate()
        rest = server.communicate(timeout=10)
    written += rest[1]
    secrets = processes.keys | {"bearer": BEARER}
    assert len(answers) == 9
    assert not leaks(b"\n".join(answers), secrets)
    assert not leaks(rest[0], secrets)
    assert len(written) > 100
    assert not leaks(written, secrets)
