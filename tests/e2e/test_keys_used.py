"""Which key goes where: the weakest that may, only to its own host, and a clear word when it is missing."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.bench import (
    ADMIN_KEY,
    CAPPED,
    ERAS,
    INFERENCE_KEY,
    KEYS,
    MINT,
    Json,
    Person,
    World,
    done,
    failed,
    text_of,
    world,
)

pytestmark = pytest.mark.anyio
SOME_ID = "e28e82dc-9df2-4b47-b726-d0a222ef2ab5"
# Shaped like real ones, and nobody's.
REAL_ADMIN = "VENICE_ADMIN_KEY_q7Xr2mKpT9wLz4VbN8sYd1HcJ6fGa3Ue"
REAL_INFERENCE = "VENICE_INFERENCE_KEY_k3Zt8nWqR5xPv1LmB7yCd9JhF2sGa6Ue"
NEEDS_ADMIN: dict[str, Json] = {
    "venice_list_api_keys": {},
    "venice_get_api_key": {"key_id": SOME_ID},
    "venice_create_api_key": CAPPED,
    "venice_update_api_key": {"key_id": SOME_ID, "description": "new"},
    "venice_revoke_api_key": {"key_id": SOME_ID},
    "venice_get_billing_balance": {},
    "venice_get_billing_usage": {},
    "venice_get_usage_analytics": {},
}
NEEDS_ANY: dict[str, Json] = {
    "venice_get_rate_limits": {},
    "venice_get_rate_limit_log": {},
}
ALL_READS = {**NEEDS_ADMIN, **NEEDS_ANY, "venice_get_web3_token": {}, MINT.tool: CAPPED}


def headers(venice: World) -> list[tuple[str, str | None]]:
    """Method, and the key that was sent, of every request that left."""
    return [(request.method, request.headers.get("authorization")) for request in venice.edge.sent]


async def refusals(venice: World, calls: Mapping[str, Json], era: str = ERAS[1]) -> dict[str, str]:
    person = Person()
    async with venice.client(era, person) as client:
        said = {tool: failed(await client.call_tool(tool, arguments)) for tool, arguments in calls.items()}
    assert person.questions == []
    return said


@pytest.mark.parametrize("era", ERAS)
async def test_without_any_key_each_call_says_what_is_missing_and_sends_nothing(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path, env={})
    for tool, said in (await refusals(venice, NEEDS_ADMIN, era)).items():
        assert "VENICE_ADMIN_KEY is not configured. Only an ADMIN key may" in said, tool
        assert "Nothing was changed at Venice." in said
    for said in (await refusals(venice, NEEDS_ANY, era)).values():
        assert "_KEY is not configured" in said
    assert venice.edge.sent == []
    status = done(await venice.call("venice_status"))
    assert [key["configured"] for key in status["keys"] if key["api_key_type"] != "WALLET"] == [False, False]
    assert any("VENICE_ADMIN_KEY" in problem for problem in status["problems"])


async def test_how_a_key_is_given_depends_on_what_started_the_server(tmp_path: Path) -> None:
    for given, named, unnamed in (
        ({"VENICE_MCP_HOST": "plugin"}, ["/plugin configure venice-keys", "the option sandbox"], "--key-file"),
        ({}, ["VENICE_ADMIN_KEY_FILE", " -m venice_mcp install HOST --key-file FILE", "--sandbox"], "/plugin"),
        ({"VENICE_MCP_HOST": "another"}, ["VENICE_ADMIN_KEY_FILE", "--sandbox"], "/plugin"),
    ):
        venice = world(tmp_path, env=given)
        status = await venice.call("venice_status")
        for said in (*done(status)["problems"], text_of(status), failed(await venice.call("venice_list_api_keys"))):
            assert all(words in said for words in named), said
            assert unnamed not in said


async def test_asking_for_inference_limits_without_that_key_names_it(tmp_path: Path) -> None:
    venice = world(tmp_path, env={"VENICE_ADMIN_KEY": ADMIN_KEY})
    said = failed(await venice.call("venice_get_rate_limits", {"api_key_type": "INFERENCE"}))
    assert "VENICE_API_KEY is not configured. An INFERENCE key is enough" in said
    assert venice.edge.sent == []


async def test_an_inference_key_alone_serves_what_it_may(tmp_path: Path) -> None:
    venice = world(tmp_path, env={"VENICE_API_KEY": INFERENCE_KEY})
    assert done(await venice.call("venice_get_rate_limits"))["api_key_type"] == "INFERENCE"
    assert headers(venice) == [("GET", f"Bearer {INFERENCE_KEY}")]
    assert all("VENICE_ADMIN_KEY is not configured" in said for said in (await refusals(venice, NEEDS_ADMIN)).values())
    assert len(venice.edge.sent) == 1


async def test_the_weakest_key_that_may_is_sent(tmp_path: Path) -> None:
    venice = world(tmp_path)
    admin, inference = f"Bearer {ADMIN_KEY}", f"Bearer {INFERENCE_KEY}"
    expected: dict[str, list[tuple[str, str | None]]] = {
        "venice_status": [],
        "venice_list_api_keys": [("GET", admin)],
        "venice_get_rate_limits": [("GET", inference)],
        "venice_get_billing_balance": [("GET", admin)],
        "venice_get_web3_token": [("GET", None)],
    }
    for tool, sent in expected.items():
        venice.edge.sent = []
        done(await venice.call(tool))
        assert (tool, headers(venice)) == (tool, sent)
    venice.edge.sent = []
    done(await venice.call("venice_get_rate_limits", {"api_key_type": "ADMIN"}))
    assert headers(venice) == [("GET", admin)]


async def test_a_mint_carries_no_key(tmp_path: Path) -> None:
    venice = world(tmp_path)
    done(await venice.call(MINT.tool, CAPPED))
    web3 = [request for request in venice.edge.sent if request.url.path.endswith("/generate_web3_key")]
    assert [request.method for request in web3] == ["GET", "POST"]
    assert all("authorization" not in request.headers for request in web3)


async def test_a_mint_works_without_any_key(tmp_path: Path) -> None:
    venice = world(tmp_path, env={})
    assert done(await venice.call(MINT.tool, CAPPED))["api_key"]
    assert venice.written == {MINT.operation: 1}


async def test_the_log_is_asked_for_with_the_weaker_key_first_and_remembers_a_refusal(tmp_path: Path) -> None:
    venice = world(tmp_path)
    for _ in range(2):
        done(await venice.call("venice_get_rate_limit_log"))
    used = [key for _, key in headers(venice)]
    assert used == [f"Bearer {INFERENCE_KEY}", f"Bearer {ADMIN_KEY}", f"Bearer {ADMIN_KEY}"]


async def test_a_key_of_the_wrong_type_is_named_as_such_and_not_sent(tmp_path: Path) -> None:
    venice = world(tmp_path, env={"VENICE_ADMIN_KEY": INFERENCE_KEY, "VENICE_API_KEY": ADMIN_KEY})
    for said in (await refusals(venice, NEEDS_ADMIN)).values():
        assert "is an INFERENCE key; VENICE_ADMIN_KEY takes an ADMIN key" in said
        assert INFERENCE_KEY not in said
    assert venice.edge.sent == []


@pytest.mark.parametrize(
    "url",
    [
        "https://api.venice.ai.evil.test/api/v1",
        "http://api.venice.ai/api/v1",
        "http://192.0.2.1:8700/api/v1",
        "http://127.0.0.1.evil.test:8700/api/v1",
        "http://127.0.0.1@evil.test:8700/api/v1",
        "http://evil.test@127.0.0.1:8700/api/v1",
        "http://127.0.0.1:8700/api/v1?to=evil.test",
        "http://127.0.0.1:99999/api/v1",
        "not an address",
    ],
)
async def test_a_base_url_elsewhere_is_refused_and_nothing_is_sent(tmp_path: Path, url: str) -> None:
    keys = {"VENICE_ADMIN_KEY": REAL_ADMIN, "VENICE_API_KEY": REAL_INFERENCE}
    venice = world(tmp_path, env={"VENICE_BASE_URL": url, **keys})
    for said in (await refusals(venice, {name: ALL_READS[name] for name in _SAMPLE})).values():
        assert "VENICE_" in said
        assert not any(key in said for key in keys.values())
    assert venice.edge.sent == []


_SAMPLE = ("venice_list_api_keys", "venice_create_api_key", "venice_get_rate_limits", "venice_get_web3_token")


async def test_a_real_key_is_never_sent_to_a_sandbox(tmp_path: Path) -> None:
    venice = world(tmp_path, env={"VENICE_ADMIN_KEY": REAL_ADMIN, "VENICE_API_KEY": REAL_INFERENCE})
    for said in (await refusals(venice, {**NEEDS_ADMIN, **NEEDS_ANY})).values():
        assert "looks like a real key, and VENICE_BASE_URL names a sandbox" in said
        assert REAL_ADMIN not in said
        assert REAL_INFERENCE not in said
    assert venice.edge.sent == []


async def test_a_real_key_is_sent_to_venice_over_https_only(tmp_path: Path) -> None:
    venice = world(tmp_path, env={"VENICE_BASE_URL": "", "VENICE_ADMIN_KEY": REAL_ADMIN})
    failed(await venice.call("venice_list_api_keys"))
    assert {(request.url.scheme, request.url.host) for request in venice.edge.sent} == {("https", "api.venice.ai")}
    assert headers(venice) == [("GET", f"Bearer {REAL_ADMIN}")]


async def test_a_sandbox_key_is_not_sent_to_venice(tmp_path: Path) -> None:
    venice = world(tmp_path, env={"VENICE_BASE_URL": "", **KEYS})
    for said in (await refusals(venice, {**NEEDS_ADMIN, **NEEDS_ANY})).values():
        assert "is a sandbox key" in said
    assert venice.edge.sent == []


@pytest.mark.parametrize("ending", ["\n", "\r\n", "  \n\n", ""], ids=repr)
async def test_a_key_from_a_file_may_end_with_a_line_break(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "admin.key"
    _write(path, ADMIN_KEY + ending)
    venice = world(tmp_path, env={"VENICE_ADMIN_KEY_FILE": str(path)})
    assert done(await venice.call("venice_list_api_keys"))["total"] == 25
    assert headers(venice) == [("GET", f"Bearer {ADMIN_KEY}")]
    (shown,) = [key for key in done(await venice.call("venice_status"))["keys"] if key["api_key_type"] == "ADMIN"]
    assert (shown["last6_chars"], shown["origin"]) == (ADMIN_KEY[-6:], "file named by VENICE_ADMIN_KEY_FILE")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xff\xfe\x00", f"{ADMIN_KEY}\n{INFERENCE_KEY}\n".encode(), b"VENICE" * 1000], ids=len
)
async def test_a_key_file_that_holds_no_key_is_a_named_problem(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "admin.key"
    _write(path, content)
    venice = world(tmp_path, env={"VENICE_ADMIN_KEY_FILE": str(path)})
    said = failed(await venice.call("venice_list_api_keys"))
    assert "VENICE_ADMIN_KEY_FILE" in said
    assert ADMIN_KEY not in said
    assert venice.edge.sent == []


@pytest.mark.parametrize(
    "value", ["kéy" * 10, "two words " * 3, "short", "VENICE_ADMIN_KEY_SANDBOX_abcdefgh\nX: y"], ids=repr
)
async def test_a_key_that_could_break_a_header_is_refused_without_an_echo(tmp_path: Path, value: str) -> None:
    venice = world(tmp_path, env={"VENICE_ADMIN_KEY": value})
    said = failed(await venice.call("venice_list_api_keys"))
    assert "VENICE_ADMIN_KEY" in said
    assert value.strip() not in said
    assert venice.edge.sent == []


async def test_a_revoked_key_is_told_from_one_of_the_wrong_type(tmp_path: Path) -> None:
    venice = world(tmp_path, env={"VENICE_ADMIN_KEY": "VENICE_ADMIN_KEY_SANDBOX_" + "0" * 32})
    said = failed(await venice.call("venice_list_api_keys"))
    assert "did not accept the key in VENICE_ADMIN_KEY" in said
    assert "needs an ADMIN key" not in said


def _write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
