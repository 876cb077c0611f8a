"""A new secret: shown in one result or saved in one file, and nowhere else ever."""

import json
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import httpx
import pytest
from mcp import Client
from mcp_types import CallToolResult

from tests.e2e.bench import CAPPED, ERAS, MADE, MINT, Edge, Forward, Json, Person, World, done, failed, text_of
from tests.e2e.bench import world as open_world

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="secrets go into no file and no command there"),
]
eras = pytest.mark.parametrize("era", ERAS)
makers = pytest.mark.parametrize("tool", ["venice_create_api_key", MINT.tool])
READS = (
    "venice_status",
    "venice_list_api_keys",
    "venice_get_rate_limits",
    "venice_get_rate_limit_log",
    "venice_get_billing_balance",
    "venice_get_billing_usage",
    "venice_get_usage_analytics",
)


def world(folder: Path) -> World:
    return open_world(folder, scenario="empty")


def to_file(path: Path) -> Json:
    return {**CAPPED, "deliver_to": {"path": str(path)}}


@eras
@makers
async def test_a_secret_is_in_both_halves_of_its_one_result(tmp_path: Path, era: str, tool: str) -> None:
    venice = world(tmp_path)
    result = await venice.call(tool, CAPPED, era=era)
    (held,) = venice.described(MADE)
    shown = done(result)
    assert shown["api_key"] == held["secret"]
    assert str(held["secret"]) in text_of(result)
    assert any("now stands in this conversation" in note for note in shown["notes"])
    assert "now stands in this conversation" in text_of(result)


@eras
async def test_no_later_result_or_error_shows_the_secret_again(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    async with venice.client(era, Person()) as client:
        made = done(await client.call_tool("venice_create_api_key", CAPPED))
        secret = str(made["api_key"])
        later = [await client.call_tool(tool, {}) for tool in READS]
        later += await _errors_with(client, secret, str(made["id"]))
        # Venice itself, or somebody with the key, puts it where it will be read back.
        await venice.venice("PATCH", "/api_keys", json={"id": made["id"], "description": f"key {secret[:58]}"})
        await venice.venice("PATCH", "/api_keys", json={"id": made["id"], "description": secret[:64]})
        later += [await client.call_tool("venice_get_api_key", {"key_id": made["id"]})]
        later += [await client.call_tool("venice_list_api_keys", {})]
    everything = "\n".join(result.model_dump_json() for result in later)
    assert secret not in everything
    assert secret[30:] not in everything


async def _errors_with(client: Client, secret: str, key_id: str) -> list[CallToolResult]:
    """Results of calls in which a careless model puts the secret where it does not belong."""
    return [
        await client.call_tool("venice_get_api_key", {"key_id": secret}),
        await client.call_tool("venice_create_api_key", {"description": secret}),
        await client.call_tool("venice_create_api_key", {"description": "x", secret: 1}),
        await client.call_tool("venice_update_api_key", {"key_id": key_id, "description": f"was {secret}"}),
        await client.call_tool("venice_list_api_keys", {"text": secret}),
    ]


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@eras
async def test_nothing_on_disk_holds_a_secret(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path)
    secret = str(done(await venice.call("venice_create_api_key", CAPPED, era=era))["api_key"])
    failed(await venice.call("venice_create_api_key", CAPPED, era=era, person=Person("cancel")))
    files = files_in(tmp_path)
    assert files
    for path in files:
        assert secret.encode() not in path.read_bytes()
        assert venice.sandbox.admin_key.encode() not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(venice.state_dir.stat().st_mode) == 0o700


@eras
@makers
async def test_a_delivered_secret_is_in_its_file_and_not_in_the_result(tmp_path: Path, era: str, tool: str) -> None:
    venice, path = world(tmp_path), tmp_path / "new.key"
    person = Person()
    result = await venice.call(tool, to_file(path), era=era, person=person)
    (held,) = venice.described(MADE)
    assert path.read_text() == f"{held['secret']}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert str(path) in person.questions[0]
    shown = done(result)
    assert (shown["delivered_to"], shown["id"], shown["last6_chars"]) == (
        str(path),
        held["id"],
        str(held["secret"])[-6:],
    )
    assert "api_key" not in shown
    assert str(held["secret"]) not in json.dumps(shown) + text_of(result)


def _taken(path: Path) -> None:
    path.write_text("precious")


def _link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def _folder(path: Path) -> None:
    path.mkdir()


@eras
@makers
async def test_a_taken_path_is_refused_before_anyone_is_asked(tmp_path: Path, era: str, tool: str) -> None:
    venice, person = world(tmp_path), Person()
    for number, occupy in enumerate((_taken, _link, _folder)):
        path = tmp_path / f"{number}.key"
        occupy(path)
        said = failed(await venice.call(tool, to_file(path), era=era, person=person))
        assert said.startswith("deliver_to: ")
        assert "Nothing was changed at Venice." in said
        assert (person.questions, venice.written) == ([], {})
        assert not path.is_file() or path.read_text() == "precious"
        assert not path.with_name("elsewhere").exists()


@makers
async def test_a_path_taken_while_the_question_was_open_costs_no_key(tmp_path: Path, tool: str) -> None:
    venice, path = world(tmp_path), tmp_path / "new.key"

    async def take() -> None:
        _taken(path)

    said = failed(await venice.call(tool, to_file(path), person=Person(meanwhile=take)))
    assert said.startswith("deliver_to: ")
    assert (venice.written, path.read_text()) == ({}, "precious")


async def test_a_declined_delivery_leaves_no_file(tmp_path: Path) -> None:
    venice, path = world(tmp_path), tmp_path / "new.key"
    for way in ("decline", "cancel", "wrong"):
        failed(await venice.call("venice_create_api_key", to_file(path), person=Person(way)))
        assert not path.exists()


def replaced(path: Path) -> None:
    path.unlink()
    path.write_text("precious")


def replacing(path: Path, edge: Edge, undoing: Callable[[Forward], Awaitable[httpx.Response]] | None = None) -> None:
    """Puts another file at `path` right after the key was made; `undoing` is what comes of the revocation."""

    async def hook(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "DELETE" and undoing is not None:
            return await undoing(forward)
        response = await forward()
        if request.method == "POST":
            replaced(path)
        return response

    edge.hook = hook


@eras
@makers
async def test_a_key_whose_secret_cannot_be_saved_is_revoked_again(tmp_path: Path, era: str, tool: str) -> None:
    venice, path = world(tmp_path), tmp_path / "new.key"
    before = venice.held()
    replacing(path, venice.edge)
    said = failed(await venice.call(tool, to_file(path), era=era))
    assert "It was revoked again." in said
    assert "Nothing was changed at Venice." in said
    assert venice.edge.writes == ["POST", "DELETE"]
    assert (venice.held(), path.read_text()) == (before, "precious")


@eras
async def test_a_key_that_can_neither_be_saved_nor_revoked_is_named(tmp_path: Path, era: str) -> None:
    venice, path = world(tmp_path), tmp_path / "new.key"

    async def refuse(_forward: Forward) -> httpx.Response:
        return httpx.Response(403, json={"error": "no"})

    replacing(path, venice.edge, refuse)
    said = failed(await venice.call("venice_create_api_key", to_file(path), era=era))
    (held,) = venice.described(MADE)
    assert "Something WAS changed at Venice." in said
    assert f"Revoke {held['id']} with venice_revoke_api_key" in said
    assert str(held["secret"])[-6:] in said
    assert str(held["secret"]) not in said
    assert venice.edge.writes == ["POST", "DELETE"]


async def test_a_revocation_whose_answer_was_lost_is_looked_up(tmp_path: Path) -> None:
    venice, path = world(tmp_path), tmp_path / "new.key"
    before = venice.held()

    async def lose(forward: Forward) -> httpx.Response:
        await forward()
        raise httpx.ReadError("gone")

    replacing(path, venice.edge, lose)
    said = failed(await venice.call("venice_create_api_key", to_file(path)))
    assert venice.held() == before
    assert "Something WAS changed at Venice." not in said
    assert "revoked again" in said


@eras
async def test_a_lost_answer_leaves_no_file_behind(tmp_path: Path, era: str) -> None:
    venice, path = world(tmp_path), tmp_path / "new.key"

    async def lose(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward()
        if request.method == "POST":
            raise httpx.ReadTimeout("gone")
        return response

    venice.edge.hook = lose
    said = failed(await venice.call("venice_create_api_key", to_file(path), era=era))
    assert str(venice.described(MADE)[0]["id"]) in said
    assert not path.exists()


@eras
@pytest.mark.parametrize("delivered", [False, True], ids=["to be displayed", "to be delivered"])
async def test_a_caller_gone_during_the_create_leaves_no_key_nobody_holds(
    tmp_path: Path, era: str, delivered: bool
) -> None:
    venice, path = world(tmp_path), tmp_path / "new.key"
    before = venice.held()
    gone = anyio.CancelScope()

    async def leave_meanwhile(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward()
        if request.method == "POST":
            gone.cancel()
            await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
        return response

    venice.edge.hook = leave_meanwhile
    async with venice.client(era, Person()) as client:
        with gone:
            await client.call_tool("venice_create_api_key", to_file(path) if delivered else CAPPED)
    assert gone.cancelled_caught
    assert venice.written["createApiKey"] == 1
    if delivered:
        (held,) = venice.described(MADE)
        assert path.read_text() == f"{held['secret']}\n"
    else:
        assert venice.held() == before


@eras
async def test_a_key_whose_description_is_a_secret_can_still_be_revoked(tmp_path: Path, era: str) -> None:
    """Somebody copied the secret into the description: the question does not spell it out, and is asked once."""
    venice, person = world(tmp_path), Person()
    made = done(await venice.call("venice_create_api_key", CAPPED))
    await venice.venice("PATCH", "/api_keys", json={"id": made["id"], "description": str(made["api_key"])[:64]})
    result = await venice.call("venice_revoke_api_key", {"key_id": made["id"]}, era=era, person=person)
    assert len(person.questions) == 1
    assert str(made["api_key"])[:64] not in person.questions[0]
    assert done(result)["revoked"] is True
