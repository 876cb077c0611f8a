"""Attacks that a reviewer made: texts that break a parser, files that break a reader, records of another Venice."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.bench import World, world
from venice_mcp.policy.sources import in_force
from venice_mcp.secrets import Destination, Secret, SinkError, SinkLimits
from venice_mcp.secrets.delivery import prepare
from venice_mcp.store import Store

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="secrets go into no file and no command there")

KEY = "VENICE_INFERENCE_KEY_abcdef123456"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("description", [r"C:\udead", r"end \ud83d", r"\\udc00", "half \ud83d"], ids=ascii)
async def test_a_backslash_in_a_description_does_not_hide_the_keys(tmp_path: Path, description: str) -> None:
    venice: World = world(tmp_path)

    async def answering(request: httpx.Request, forward: object) -> httpx.Response:
        import json

        answer = await venice.edge._inner.handle_async_request(request)  # pyright: ignore[reportPrivateUsage]
        body = json.loads(await answer.aread())
        body["data"][0]["description"] = description
        return httpx.Response(200, content=json.dumps(body).encode(), headers={"Content-Type": "application/json"})

    venice.edge.hook = answering
    result = await venice.call("venice_list_api_keys", {"limit": 100})
    assert not result.is_error


# --- .env files -----------------------------------------------------------------------------------

SWALLOWING = [
    b"WIN_PATH=C:\\dir\\\n",
    b"WIN_PATH=C:\\dir\\",
    b"A=x\\\nKEY=old\n",
    b"OTHER:\n",
    b"Keys:\n\nKEY=old\n",
    b"KEY=old\n# a\xe2\x80\xa8KEY=older\n",
    b"KEY=old\xc2\xa0# keep me\n",
]


@pytest.mark.parametrize("before", SWALLOWING, ids=ascii)
def test_a_file_in_which_some_program_would_not_find_the_variable_is_refused(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / ".env"
    path.write_bytes(before)
    with pytest.raises(SinkError, match="mend the file first"):
        prepare(Destination("dotenv", path=str(path), variable="KEY"), SinkLimits())
    assert path.read_bytes() == before


@given(st.lists(st.sampled_from(["A=1", "B='x y'", "# note", "", "export C=2", "D=a\\\\"]), max_size=6))
def test_a_shell_finds_the_variable_in_every_file_that_is_taken(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.mktemp("env", numbered=True) / ".env"
    path.write_text("\n".join(lines))
    prepare(Destination("dotenv", path=str(path), variable="KEY"), SinkLimits()).write(Secret(KEY))
    command = 'set -a; . "$1"; printf %s "$KEY"'
    done = subprocess.run(["/bin/sh", "-c", command, "sh", str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == KEY


# --- the record of another Venice -----------------------------------------------------------------


def test_what_a_sandbox_answered_says_nothing_about_a_real_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sandbox, live = "loopback:127.0.0.1:8700:ABCDEF", "live:api.venice.ai:ABCDEF"
    for account in (sandbox,):
        approval = store.approvals.ask(account=account, fingerprint="f", data={"tool": "t"}, now=NOW)
        store.approvals.spend(approval.code, how="allowance ci", now=NOW, intended={"operation": "createApiKey"})
        store.journal.note(f"{approval.code}/1", "made", {"id": "key", "last6": "abcdef"}, NOW)
    assert store.journal.made_under("key", sandbox) == "allowance ci"
    assert store.journal.made_under("key", live) is None
    assert store.journal.made_ids(live) == set()


# --- the operator's policy ------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_link_in_a_folder_that_others_may_write_to_stops_writes(tmp_path: Path) -> None:
    real, middle = tmp_path / "real", tmp_path / "mid"
    real.mkdir(mode=0o700)
    (real / "policy.toml").write_text("read_only = true\n")
    middle.mkdir()
    (middle / "link").symlink_to(real)
    (tmp_path / "cfg").symlink_to(middle / "link")
    assert in_force({}, config_dir=tmp_path / "cfg").problem is None
    middle.chmod(0o777)
    problem = in_force({}, config_dir=tmp_path / "cfg").problem
    assert problem is not None
    assert "others may write" in problem
