"""`venice_scan_for_leaked_keys` over MCP: live and dead, next steps, bounds, cancellation, and no secret anywhere."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("nothing is scanned there", allow_module_level=True)

import json
import logging
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import anyio
import httpx

from tests.e2e.bench import ADMIN_KEY, CAPPED, INFERENCE_KEY, KEYS, Forward, Json, World, done, failed, text_of, world
from tests.test_bad_input import OLD_KEY, OTHER_KEY
from tests.test_leaks_patterns import WALLET_KEY
from tests.test_leaks_trees import children

pytestmark = pytest.mark.anyio
SCAN, CREATE = "venice_scan_for_leaked_keys", "venice_create_api_key"


def secret_of(venice: World, description: str) -> str:
    return str(venice.described(description)[0]["secret"])


def project(folder: Path, **files: str) -> Path:
    root = folder / "project"
    root.mkdir(exist_ok=True)
    for name, content in files.items():
        (root / name).write_text(content)
    return root


async def scanned(venice: World, root: Path, **arguments: Any) -> tuple[Json, str]:
    result = await venice.call(SCAN, {"folders": [str(root)], **arguments})
    return done(result), text_of(result)


def endless(root: Path) -> None:
    """A megabyte that takes its time, under 500 names: more than any machine looks through in a second or two."""
    (root / "slow").write_text('venice_key": "' * 80_000)
    for number in range(500):
        (root / f"slow{number}").hardlink_to(root / "slow")


def rows(answer: Json) -> list[Json]:
    return [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]


async def unanswered(request: httpx.Request, forward: Forward) -> httpx.Response:
    return httpx.Response(503, json={"error": "down"})


def git(root: Path, *arguments: str) -> None:
    subprocess.run([str(shutil.which("git")), "-C", str(root), *arguments], check=True)


async def test_live_keys_are_told_from_dead_ones_with_what_to_do(tmp_path: Path) -> None:
    venice = world(tmp_path)
    live = secret_of(venice, "staging")
    other_type = live.replace("_INFERENCE_", "_ADMIN_")
    root = project(
        tmp_path, a=f"VENICE_API_KEY={live}", b=OTHER_KEY, c=f"x\nPRIVATE_KEY={WALLET_KEY}", d=other_type, e=live
    )
    answer, text = await scanned(venice, root)
    assert [(row["state"], row["kind"], row["last6_chars"], Path(row["path"]).name) for row in rows(answer)] == [
        ("live", "INFERENCE", live[-6:], "a"),
        ("live", "INFERENCE", live[-6:], "e"),
        ("wallet", "wallet", WALLET_KEY[-6:], "c"),
        ("dead", "INFERENCE", OTHER_KEY[-6:], "b"),
        ("dead", "ADMIN", live[-6:], "d"),
    ]
    assert rows(answer)[0]["key_ids"] == [venice.id_of("staging")]
    assert (answer["found"], answer["secrets"], answer["live"], answer["complete"]) == (5, 4, 1, True)
    assert [row["secret"] for row in rows(answer)] == [1, 1, 2, 3, 4]
    for words in ("venice_rotate_api_key (key_id, leaked: true)", "venice_revoke_api_key", "cannot be revoked"):
        assert words in text
    assert "another account" in text
    assert "gitleaks" in text
    assert venice.requests["getApiKeys"] == 1
    assert venice.written == {}


async def test_an_old_key_of_the_account_and_the_servers_own_key_are_recognised(tmp_path: Path) -> None:
    venice = world(tmp_path)
    last6 = secret_of(venice, "staging")[-6:]
    root = project(tmp_path, a=f"VENICE_API_KEY={OLD_KEY[:-6]}{last6}", b=ADMIN_KEY)
    answer, text = await scanned(venice, root)
    states = {Path(row["path"]).name: row["state"] for row in rows(answer)}
    assert states["a"] == "live"
    assert f"This server itself runs on the ADMIN key in {root / 'b'}:1" in text


async def test_several_active_keys_with_the_same_ending_are_all_named(tmp_path: Path) -> None:
    venice = world(tmp_path)
    secret = secret_of(venice, "staging")

    async def twice(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward()
        listed = json.loads(await response.aread())
        (same,) = [key for key in listed["data"] if key["last6Chars"] == secret[-6:]]
        return httpx.Response(200, json={**listed, "data": [*listed["data"], {**same, "id": "another-id"}]})

    venice.edge.hook = twice
    answer, text = await scanned(venice, project(tmp_path, a=secret))
    (row,) = rows(answer)
    assert (row["state"], row["key_ids"]) == ("live?", [venice.id_of("staging"), "another-id"])
    assert "Ask the person which" in text


async def test_without_an_admin_key_or_an_answer_nothing_is_called_dead(tmp_path: Path) -> None:
    venice = world(tmp_path, env={"VENICE_API_KEY": INFERENCE_KEY})
    root = project(tmp_path, a=OTHER_KEY)
    answer, text = await scanned(venice, root)
    assert rows(answer)[0]["state"] == "unknown"
    assert "takes an ADMIN key" in text
    assert not venice.edge.sent
    broken = world(tmp_path, env=KEYS, state="other")
    broken.edge.hook = unanswered
    answer, text = await scanned(broken, root)
    assert rows(answer)[0]["state"] == "unknown"
    assert "Not compared with the account's keys" in text


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
async def test_a_key_that_lies_where_it_belongs_is_told_from_one_that_git_or_others_may_take(tmp_path: Path) -> None:
    venice, root = world(tmp_path), project(tmp_path, **{".gitignore": ".env\nprivate\n", "app.py": ""})
    git(root, "init", "-q")
    env = {"kind": "dotenv", "path": str(root / ".env"), "variable": "VENICE_API_KEY"}
    saved = done(await venice.call(CREATE, {**CAPPED, "deliver_to": env}))
    answer, text = await scanned(venice, root)
    (row,) = rows(answer)
    assert (row["state"], row["last6_chars"]) == ("live", saved["last6_chars"])
    assert (row["git"], row["file"]) == ("ignored", "kept, put there by this server")
    assert "This place is in order" in text
    assert "was not looked into: git_history: true does" in text, "an ignored file may have been committed before"
    assert "rotate" not in text
    assert "revoke" not in text
    _, text = await scanned(venice, root, git_history=True)
    assert "This place is in order" in text
    assert "not looked into" not in text
    # The same key where git takes it along, where nothing ignores it, where others can read it, and among notes.
    secret = venice.described(CAPPED["description"])[0]["secret"]
    for name in ("app.py", "loose.txt", "private"):
        (root / name).write_text(secret)
        (root / name).chmod(0o644 if name == "private" else 0o600)
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "history").write_text("a long command\n" * 20 + secret)
    (notes / "history").chmod(0o600)
    git(root, "add", "app.py")
    result = await venice.call(SCAN, {"folders": [str(root), str(notes)]})
    lying = {Path(row["path"]).name: (row["git"], row["file"]) for row in rows(done(result))}
    assert lying == {
        ".env": ("ignored", "put there by this server"),
        "app.py": ("tracked", None),
        "loose.txt": ("not ignored", None),
        "private": ("ignored", "others can read"),
        "history": (None, None),
    }
    for words in ("venice_rotate_api_key (key_id, leaked: true)", ".gitignore", "chmod 600"):
        assert words in text_of(result)
    assert "in order" not in text_of(result), "a key that is exposed elsewhere is in order nowhere"
    ignoring = done(await venice.call(SCAN, {"folders": [str(root)], "respect_gitignore": True}))
    assert {Path(row["path"]).name for row in rows(ignoring)} == {"app.py", "loose.txt"}


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
async def test_a_key_that_was_ever_committed_is_not_told_as_kept_and_a_tracked_file_is_one_behind_a_link(
    tmp_path: Path,
) -> None:
    venice, root = world(tmp_path), project(tmp_path, **{".env": f"KEY={OTHER_KEY}", ".gitignore": ".env\n"})
    (root / ".env").chmod(0o600)
    (root / "sub" / "cfg").mkdir(parents=True)
    (root / "sub" / "cfg" / ".env").write_text(f"KEY={INFERENCE_KEY}")
    (root / "sub" / "cfg" / ".env").chmod(0o600)
    git(root, "init", "-q")
    git(root, "add", "-f", ".env", "sub")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    git(root, *who, "commit", "-q", "-m", "one")
    git(root, "rm", "-q", "--cached", ".env")
    git(root, *who, "commit", "-q", "-m", "two")
    (tmp_path / "link").symlink_to(root / "sub")
    venice.edge.hook = unanswered
    folders = {"folders": [str(root), str(tmp_path / "link" / "cfg")]}
    result = await venice.call(SCAN, folders)
    assert {(row["last6_chars"], row["git"], row["file"]) for row in rows(done(result))} == {
        (OTHER_KEY[-6:], "ignored", "kept"),
        (INFERENCE_KEY[-6:], "tracked", None),
    }
    assert len(rows(done(result))) == 3
    assert "was not looked into: git_history: true does" in text_of(result)
    result = await venice.call(SCAN, {**folders, "git_history": True})
    assert {row["file"] for row in rows(done(result))} == {None}
    assert "in order" not in text_of(result)


async def test_a_private_file_is_for_keys_by_its_shape_and_not_by_its_size(tmp_path: Path) -> None:
    venice = world(tmp_path, env={"VENICE_API_KEY": INFERENCE_KEY})
    keys = [f"VENICE_INFERENCE_KEY_{OTHER_KEY[-30:-2]}{number:02}" for number in range(8)]
    root = project(
        tmp_path,
        **{
            "token": f"{keys[0]}\n",
            "named": f'export KEY = "{keys[1]}"\n',
            ".env": f"A=1\nKEY={keys[2]}\n# text\n",
            "deploy.sh": f"curl -H 'Authorization: Bearer {keys[3]}' https://api.venice.ai\n",
            "notes.txt": f"my key {keys[4]} for bob",
            "two": f"A={keys[5]}\nB=1\n",
            "address": f"https://example.com/?key={keys[6]}",
            "long": f"{keys[7]}{chr(10) * 600}",
        },
    )
    for file in root.iterdir():
        file.chmod(0o600)
    answer, text = await scanned(venice, root)
    assert {Path(row["path"]).name for row in rows(answer) if row["file"] == "kept"} == {"token", "named", ".env"}
    assert len(rows(answer)) == 8
    assert "history" not in text.replace("git history does not", ""), "there is no repository"


async def test_a_scan_makes_no_record_and_needs_none(tmp_path: Path) -> None:
    venice, root = world(tmp_path, env={"VENICE_API_KEY": INFERENCE_KEY}), project(tmp_path, a=OTHER_KEY)
    answer, text = await scanned(venice, root)
    assert len(rows(answer)) == 1
    assert not venice.app.store.path.exists()
    assert "local record" not in text
    assert venice.app.store.journal.delivered() == set()
    with venice.app.store.record.transaction():  # as another process would lock it
        answer, text = await scanned(venice, root)
    assert len(rows(answer)) == 1
    assert "The local record could not be read" in text
    venice.app.store.folder.chmod(0o777)
    answer, text = await scanned(venice, root)
    assert len(rows(answer)) == 1
    assert "The local record could not be read" in text


async def test_nothing_is_sent_when_nothing_was_found(tmp_path: Path) -> None:
    venice = world(tmp_path)
    answer, text = await scanned(venice, project(tmp_path, a="VENICE_API_KEY=your-key-here"))
    assert (answer["found"], answer["rows"]) == (0, [])
    assert "0 places" in text
    assert not venice.edge.sent


async def test_keys_of_a_sandbox_are_no_findings_where_real_keys_are_managed(tmp_path: Path) -> None:
    venice = world(tmp_path, env={"VENICE_BASE_URL": ""})
    assert venice.app.settings.mode == "live"
    answer, text = await scanned(venice, project(tmp_path, a=INFERENCE_KEY, b=OTHER_KEY))
    assert [row["last6_chars"] for row in rows(answer)] == [OTHER_KEY[-6:]]
    assert "1 sandbox key left out" in text


async def test_findings_come_in_pages(tmp_path: Path) -> None:
    venice = world(tmp_path)
    root = project(tmp_path, **{f"f{number}": OTHER_KEY for number in range(5)})
    pages = [(await scanned(venice, root, limit=2, page=page))[0] for page in (1, 2, 3)]
    assert [page.get("next_page") for page in pages] == [2, 3, None]
    assert [Path(row["path"]).name for page in pages for row in rows(page)] == ["f0", "f1", "f2", "f3", "f4"]


async def test_a_scan_that_was_cut_short_says_so_and_how_to_go_on(tmp_path: Path) -> None:
    venice = world(tmp_path)
    root = project(tmp_path)
    endless(root)
    answer, text = await scanned(venice, root, max_seconds=1)
    assert answer["complete"] is False
    assert re.search(rf"cut short by its time limit after \d s; not finished: {root}\. Name fewer or smaller", text)


@pytest.mark.parametrize(
    ("folder", "problem"),
    [("relative", "absolute path"), ("/nowhere/at/all", "does not exist"), ("~nobody-here/x", "absolute path")],
)
async def test_folders_that_cannot_be_scanned_are_refused_by_number(tmp_path: Path, folder: str, problem: str) -> None:
    text = failed(await world(tmp_path).call(SCAN, {"folders": [str(tmp_path), folder]}))
    assert f"folders.1: {problem}" in text or ("folders.1" in text and problem in text)
    assert "Nothing was changed" in text
    assert folder not in text


async def test_a_key_in_place_of_a_folder_is_refused_without_an_echo(tmp_path: Path) -> None:
    text = failed(await world(tmp_path).call(SCAN, {"folders": [f"/srv/{OTHER_KEY}"]}))
    assert OTHER_KEY not in text
    assert "folders" in text


async def test_progress_reaches_the_client_and_a_cancelled_call_leaves_no_process(tmp_path: Path) -> None:
    venice = world(tmp_path)
    root = project(tmp_path)
    endless(root)
    told: list[str] = []

    async with venice.client() as client:
        with anyio.move_on_after(30) as scope:

            async def note(progress: float, total: float | None, message: str | None) -> None:
                told.append(message or "")
                scope.cancel()

            await client.call_tool(SCAN, {"folders": [str(root)]}, progress_callback=note)
        assert scope.cancelled_caught
    with anyio.fail_after(10):
        while children():
            await anyio.lowlevel.checkpoint()
    assert "files" in told[0]


async def test_no_found_secret_is_in_a_result_a_log_or_on_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    venice = world(tmp_path)
    root = project(
        tmp_path,
        a=f"VENICE_API_KEY={OLD_KEY}\nPRIVATE_KEY={WALLET_KEY}\n{OTHER_KEY}\n",
        **{f"named-{OTHER_KEY}": OTHER_KEY, OLD_KEY: f"venice_token: {OLD_KEY}"},
    )
    result = await venice.call(SCAN, {"folders": [str(root)], "git_history": True, "respect_gitignore": True})
    material = text_of(result) + json.dumps(done(result)) + caplog.text + repr([r.__dict__ for r in caplog.records])
    for path in venice.state_dir.rglob("*"):
        material += path.read_bytes().decode("latin-1") if path.is_file() else ""
    for secret in (OLD_KEY, WALLET_KEY, OTHER_KEY):
        body = secret.removeprefix("VENICE_INFERENCE_KEY_").removeprefix("0x")
        for at in range(len(body) - 8):
            assert body[at : at + 8] not in material
    assert done(result)["found"] == 5
