"""The audit of all keys, over the wire: what it costs, what it finds, calls that work, and a report in a file."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.bench import KEYS, Forward, Json, Person, World, done, failed, operated, text_of, world
from venice_mcp.tools import TOOLS

pytestmark = pytest.mark.anyio
AUDIT = "venice_audit_api_keys"
STRICT = (
    "[keys]\nmax_days = 30\nrequire_caps = ['usd']\nmodel_privacy = 'PRIVATE_TEXT'\n"
    "description = '[a-z0-9 ()-]+'\nmax_cap.MONTH.usd = 60\n"
)
KEY_WITH_USD_CAP = {"apiKeyType": "INFERENCE", "description": "app", "consumptionLimit": {"usd": 5}}
NASTY = "|`<b>\\" * 12
"""Costs most where it is quoted in JSON."""


def size(result: Any) -> int:
    """Characters of the result as it is sent, but for what the SDK says of the server, which no model sees."""
    return len(result.model_dump_json(by_alias=True, exclude_none=True, exclude={"meta"}))


async def findings(venice: World, **arguments: Any) -> list[Json]:
    """The rows of every page as objects, each with its call."""
    found: list[Json] = []
    page: int | None = 1
    while page is not None:
        answer = done(await venice.call(AUDIT, {**arguments, "page": page}))
        rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
        found += [{**row, "call": answer["fixes"][row["fix"]]} for row in rows]
        page = answer.get("next_page")
    return found


# --- what it costs --------------------------------------------------------------------------------


async def test_auditing_five_hundred_keys_takes_one_request_and_two_thousand_tokens(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="large")
    result = await venice.call(AUDIT)
    assert done(result)["total"] == 500
    assert (len(venice.edge.sent), venice.edge.writes) == (1, [])
    assert size(result) / 4 <= 2_000
    assert done(result)["counts"]["no_cap"] == 126


@pytest.mark.parametrize("diem", [None, 0, 12.5])
async def test_a_usd_cap_alone_is_no_finding_where_the_account_is_known_to_have_no_diem(
    tmp_path: Path, diem: float | None
) -> None:
    venice = world(tmp_path, scenario="empty")
    await venice.venice("POST", "/api_keys", json=KEY_WITH_USD_CAP)

    async def staking(request: httpx.Request, forward: Forward) -> httpx.Response:
        if not request.url.path.endswith("/billing/balance"):
            return await forward()
        balance = {"canConsume": True, "consumptionCurrency": "USD", "balances": {"usd": 5, "diem": diem}}
        return httpx.Response(200, json={**balance, "diemEpochAllocation": 0})

    venice.edge.hook = staking
    counts = done(await venice.call(AUDIT))["counts"]
    assert counts.get("half_capped", 0) == (0 if diem is None else 1)
    assert len(venice.edge.sent) == 2


@pytest.mark.parametrize("rules", ["", STRICT, f"{STRICT}max_cap.LIFETIME.diem = 7\n"])
async def test_the_default_answer_stays_small_when_everything_is_wrong_with_keys_of_the_longest_names(
    tmp_path: Path, rules: str
) -> None:
    venice = operated(tmp_path, rules, limits=False)
    every = venice.sandbox.keys()
    for key in every:
        change = {"id": key["id"], "description": NASTY[:60] + str(key["id"])[:4]}
        await venice.venice("PATCH", "/api_keys", json=change)
    result = await venice.call(AUDIT, {"key_count": 1, "cap_percent": 1, "expiring_days": 90})
    answer = done(result)
    assert size(result) <= 8_000
    assert len(answer["counts"]) >= 9
    assert {row[0] for row in answer["rows"]} <= set(answer["counts"])
    # Whatever had no room is at least counted, in both channels.
    assert all(code in text_of(result) for code in answer["counts"])


async def test_pages_hold_every_finding_once(tmp_path: Path) -> None:
    venice = world(tmp_path)

    def names(rows: list[Json]) -> list[tuple[str, str]]:
        return [(row["code"], row["key_id"]) for row in rows]

    total = done(await venice.call(AUDIT))["matching"]
    every = await findings(venice, limit=9)
    assert len(every) == total == len(set(names(every)))
    high = await findings(venice, severity="high", limit=3)
    assert names(high) == names([row for row in every if row["severity"] == "high"])
    unused = await findings(venice, code="unused", limit=2)
    assert names(unused) == names([row for row in every if row["code"] == "unused"])
    past = done(await venice.call(AUDIT, {"code": "unused", "page": 99}))
    assert (past["rows"], "next_page" in past) == ([], False)


# --- what it finds --------------------------------------------------------------------------------


async def test_the_team_of_the_sandbox_has_what_it_was_given(tmp_path: Path) -> None:
    venice = world(tmp_path)
    by_code: dict[str, set[str]] = {}
    for row in await findings(venice, limit=50):
        by_code.setdefault(row["code"], set()).add(row["description"] or "")
    assert by_code["never_used"] == {"Tomas laptop", "break-glass", "venice-mcp sandbox inference"}
    assert by_code["expiring_soon"] == {"contractor - Duarte"}
    assert by_code["description_duplicate"] == {"ci-pipeline"}
    assert by_code["admin_count"] == {""}
    assert "production-web" not in by_code["no_cap"]
    assert "policy_cap" not in by_code


async def test_the_servers_own_keys_are_marked_and_never_to_be_revoked(tmp_path: Path) -> None:
    venice = world(tmp_path)
    venice.clock.advance(days=100)
    own = {venice.id_of("venice-mcp sandbox admin"), venice.id_of("venice-mcp sandbox inference")}
    every = await findings(venice, limit=50)
    assert set(done(await venice.call(AUDIT))["own"]) == own
    revoked: set[str] = set()
    for row in every:
        if "revoke" in row["call"]["tool"]:
            arguments = row["call"]["arguments"]
            revoked |= set(arguments.get("key_ids", [arguments.get("key_id")]))
    assert revoked
    assert not revoked & own
    assert "venice-mcp sandbox inference" in {row["description"] for row in every if row["code"] == "never_used"}


@pytest.mark.parametrize("rules", ["", STRICT])
async def test_each_single_call_that_is_named_can_be_made_and_mends_its_finding(tmp_path: Path, rules: str) -> None:
    venice = operated(tmp_path, rules, limits=False)
    # A rotation ends the old key later, and a look mends nothing.
    looks = ("venice_get_api_key", "venice_list_api_keys", "venice_rotate_api_key", AUDIT)
    answer = done(await venice.call(AUDIT))
    mended: set[str] = set()
    for code in answer["counts"]:
        # A page with one row names the call for one key.
        first = done(await venice.call(AUDIT, {"code": code, "limit": 1}))
        if not first["rows"]:  # another call mended it too
            continue
        key_id, (call,) = first["rows"][0][2], first["fixes"]
        if call["tool"] in looks or call["tool"] not in {spec.name for spec in TOOLS} or "key_ids" in call["arguments"]:
            continue
        done(await venice.call(call["tool"], call["arguments"], person=Person()))
        after = await findings(venice, code=code, limit=50)
        assert key_id not in {each["key_id"] for each in after}, first
        mended.add(code)
    assert {"no_cap", "unused", "never_used", "no_expiry", "description_missing", "description_duplicate"} <= mended
    assert not rules or {"policy_cap", "policy_privacy", "policy_description"} <= mended


async def test_the_policy_says_what_cannot_be_done_from_here(tmp_path: Path) -> None:
    venice = operated(tmp_path, "[tools]\nhide = ['*revoke*']\n")
    assert "does not offer venice_revoke_api_key" in " ".join(done(await venice.call(AUDIT))["notes"])
    hidden = operated(tmp_path, "[tools]\nhide = ['*audit*']\n", share=venice)
    async with hidden.client() as client:
        assert AUDIT not in {tool.name for tool in (await client.list_tools()).tools}


async def test_without_an_admin_key_it_says_what_is_missing(tmp_path: Path) -> None:
    venice = world(tmp_path, env={"VENICE_API_KEY": KEYS["VENICE_API_KEY"]})
    assert "VENICE_ADMIN_KEY is not configured" in failed(await venice.call(AUDIT))


@pytest.mark.parametrize(
    "arguments",
    [{"code": "nothing"}, {"severity": "grave"}, {"unused_days": 6}, {"cap_percent": 0}, {"cap_percent": "nan"}],
)
async def test_thresholds_out_of_bounds_are_refused_by_name(tmp_path: Path, arguments: Json) -> None:
    venice = world(tmp_path)
    said = failed(await venice.call(AUDIT, arguments))
    assert said.startswith(f"{next(iter(arguments))}: ")
    assert venice.edge.sent == []


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="reports are private files")
async def test_a_report_is_a_new_private_file_with_every_finding(tmp_path: Path) -> None:
    venice = world(tmp_path)
    path = tmp_path / "audit.md"
    answer = done(await venice.call(AUDIT, {"report_path": str(path)}))
    assert answer["report"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    for row in await findings(venice, limit=50):
        assert (row["key_id"] or row["evidence"]) in text
    blocks = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert {"expires_in_days"} <= {name for block in blocks for name in block}
    assert (len(venice.edge.sent) > 0, venice.edge.writes) == (True, [])


@pytest.mark.skipif(sys.platform == "win32", reason="reports are private files")
async def test_a_report_overwrites_nothing_and_goes_where_secrets_may_go(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir(mode=0o700)
    other.mkdir(mode=0o700)
    venice = operated(tmp_path, f"[secrets]\nfolders = ['{mine}']\n")
    taken = mine / "taken.md"
    taken.write_text("mine")
    (mine / "link.md").symlink_to(other / "led.md")
    (mine / "away").symlink_to(other)
    refusals = {
        str(taken): "already exists",
        str(mine / "link.md"): "already exists",
        str(other / "a.md"): "not within the folders",
        str(mine / "away" / "a.md"): "not within the folders",
        str(mine / "audit.txt"): "must end in .md",
        str(mine / ".audit.md"): "begin with no dot",
        "audit.md": "not an absolute path",
        str(mine / "missing" / "a.md"): "cannot be opened",
    }
    for path, why in refusals.items():
        said = failed(await venice.call(AUDIT, {"report_path": path}))
        assert said.startswith("report_path: ")
        assert why in said
        assert "Nothing was changed at Venice." in said
    assert taken.read_text() == "mine"
    assert {each.name for each in mine.iterdir()} == {"taken.md", "link.md", "away"}
    assert list(other.iterdir()) == []
    done(await venice.call(AUDIT, {"report_path": str(mine / "ok.md")}))


@pytest.mark.skipif(sys.platform == "win32", reason="reports are private files")
async def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    venice = world(tmp_path)
    assert "others may write" in failed(await venice.call(AUDIT, {"report_path": str(shared / "a.md")}))
    assert list(shared.iterdir()) == []


async def test_a_read_only_policy_offers_the_audit_but_no_file(tmp_path: Path) -> None:
    venice = operated(tmp_path, "read_only = true\n")
    assert "read only" in " ".join(done(await venice.call(AUDIT))["notes"])
    path = tmp_path / "audit.md"
    sent = len(venice.edge.sent)
    said = failed(await venice.call(AUDIT, {"report_path": str(path)}))
    assert said.startswith("report_path: the operator's policy is read only")
    assert (path.exists(), len(venice.edge.sent)) == (False, sent)


@pytest.mark.skipif(sys.platform == "win32", reason="reports are private files")
async def test_a_secret_in_a_description_reaches_neither_answer_nor_file(tmp_path: Path) -> None:
    venice = world(tmp_path, limits=False)
    secret = KEYS["VENICE_API_KEY"]
    await venice.venice("PATCH", "/api_keys", json={"id": venice.id_of("staging"), "description": secret[:64]})
    path = tmp_path / "audit.md"
    result = await venice.call(AUDIT, {"report_path": str(path), "page": 1, "limit": 50})
    assert secret[:64] not in result.model_dump_json() + path.read_text()


async def test_a_call_for_many_keys_can_be_made_as_it_stands(tmp_path: Path) -> None:
    venice = world(tmp_path, limits=False)
    idle = done(await venice.call(AUDIT, {"code": "unused", "severity": "medium"}))
    (call,) = [fix for fix in idle["fixes"] if "key_ids" in fix["arguments"]]
    assert call["tool"] == "venice_revoke_api_keys"
    done(await venice.call(call["tool"], call["arguments"]))
    left = {row["key_id"] for row in await findings(venice, code="unused")}
    assert not left & set(call["arguments"]["key_ids"])
    venice.clock.advance(minutes=2)
    guessed = done(await venice.call(AUDIT, {"code": "no_cap", "limit": 50}))
    call = next(fix for fix in guessed["fixes"] if "key_ids" in fix["arguments"])
    assert (call["tool"], "a guess" in call["caution"]) == ("venice_update_api_keys", True)
    done(await venice.call(call["tool"], call["arguments"]))
    assert not {row["key_id"] for row in await findings(venice, code="no_cap")} & set(call["arguments"]["key_ids"])


@pytest.mark.skipif(sys.platform == "win32", reason="reports are private files")
async def test_the_rotation_that_is_named_can_be_begun_in_a_folder_of_the_policy(tmp_path: Path) -> None:
    venice = operated(tmp_path, f"[secrets]\nfolders = ['{tmp_path}']\n", limits=False)
    old = done(await venice.call(AUDIT, {"code": "admin_age", "limit": 50}))
    call = next(fix for fix in old["fixes"] if fix["tool"] == "venice_rotate_api_key")
    assert "deliver_to is a guess" in call["caution"]
    done(await venice.call(call["tool"], call["arguments"]))
    saved = tmp_path / str(call["arguments"]["deliver_to"]["path"]).rpartition("/")[2]
    assert saved.read_text().startswith("VENICE_ADMIN_KEY_")
