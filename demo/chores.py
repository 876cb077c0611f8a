"""The second act: the chores of a team with many keys. Steps like those of the first act."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo.search import KEY, finds, key_shapes
from demo.steps import TEAM_KEYS, Step, Tour, id_of

ROTATED = "staging"
CUSTOMERS = ("acme", "globex", "initech")


async def audit(tour: Tour) -> None:
    reply = await tour.read("venice_audit_api_keys")
    tour.screen.say("result", "\n".join(reply.text.splitlines()[:1]))
    rows = [(row[1], row[0], f"...{row[3]}" if row[3] else "-", row[5]) for row in reply.data["rows"]]
    tour.screen.table(["severity", "finding", "key", "evidence"], rows[:6], len(rows) - 6)
    fixes = reply.data["fixes"]
    tour.verify(reply.data["total"] >= TEAM_KEYS, f"all {reply.data['total']} keys were looked at")
    tour.verify(fixes and all(fix["tool"].startswith("venice_") for fix in fixes), "each finding names the call for it")
    tour.verify(not key_shapes(reply.text + repr(reply.data)), "no secret is among it")


async def cap_the_uncapped(tour: Tour) -> None:
    reply = await tour.read("venice_list_api_keys", without_cap=True, api_key_type="INFERENCE", sort="usage")
    targets = [str(row[0]) for row in reply.data["rows"][-2:]]
    reply, approved, before, after = await tour.write(
        "approve", "venice_update_api_keys", key_ids=targets, consumption_limit={"usd": 20}, limit_period="MONTH"
    )
    if not approved:
        return
    shown = tour.desk.answers[-1].form.message
    tour.verify(all(target in shown for target in targets), "the person saw each key's before and after")
    changed = {key_id for key_id in after if before.get(key_id) != after[key_id]}
    tour.verify(changed == set(targets), "these keys changed, and no other")
    tour.verify(all(after[key_id][4] == 20 for key_id in targets), "each has the cap")


async def which_key(tour: Tour) -> None:
    tour.screen.say("note", "An error in some log names a key by its last six characters.")
    target = await id_of(tour, ROTATED)
    last6 = (await tour.session.keys())[target][3]
    reply = await tour.read("venice_find_api_key", last6_chars=last6)
    tour.screen.say("result", reply.text)
    tour.verify([row[0] for row in reply.data["rows"]] == [target], "it is that one key")


async def rotate(tour: Tour) -> None:
    target = await id_of(tour, ROTATED)
    path = tour.folder / "app.env"
    path.write_text("APP=web\nVENICE_API_KEY=the-old-one\n", encoding="ascii")
    _, approved, before, after = await tour.write(
        "approve",
        "venice_rotate_api_key",
        key_id=target,
        grace_hours=24,
        deliver_to={"kind": "dotenv", "path": str(path), "variable": "VENICE_API_KEY"},
    )
    if not approved:
        tour.verify("the-old-one" in path.read_text(encoding="ascii"), "the file is as before")
        return
    question = tour.desk.answers[-1].form.message
    tour.verify(target in question and str(path) in question, "one question named the old key and the destination")
    (successor,) = set(after) - set(before)
    tour.verify(
        after[successor][1:3] + after[successor][4:7] == before[target][1:3] + before[target][4:7],
        "the successor has the same description, type and caps",
    )
    (secret,) = key_shapes(path.read_text(encoding="ascii"))
    tour.saved.append(secret)
    tour.verify(secret.endswith(str(after[successor][3])), "the file holds its secret")
    ends = datetime.fromisoformat((await tour.session.read("venice_get_api_key", key_id=target)).data["expires_at"])
    left = ends - datetime.now(UTC)
    tour.verify(timedelta(hours=23) < left <= timedelta(hours=24), "the old key works on, and Venice ends it in 24 h")


async def provision(tour: Tour) -> None:
    path = tour.folder / "customers.csv"
    arguments = {
        "names": list(CUSTOMERS),
        "description": "cust:{name}",
        "consumption_limit": {"usd": 5},
        "expires_in_days": 90,
        "deliver_to": {"kind": "csv", "path": str(path)},
    }
    reply, approved, before, after = await tour.write("approve", "venice_provision_api_keys", **arguments)
    if not approved:
        tour.verify(not path.exists(), "no file was left behind")
        return
    tour.verify("15 USD" in tour.desk.answers[-1].form.message, "the question told the exposure of all together")
    new = {after[key_id][1]: after[key_id] for key_id in set(after) - set(before)}
    tour.verify(set(new) == {f"cust:{name}" for name in CUSTOMERS}, "one key for each customer")
    secrets = _secrets_in(path)
    tour.saved += secrets.values()
    fitting = all(KEY.fullmatch(secrets[name]) and secrets[name].endswith(str(row[3])) for name, row in new.items())
    tour.verify(fitting, "each one's secret is in the file")
    tour.verify(
        not any(finds(secret, reply.text + repr(reply.data)) for secret in secrets.values()), "none in the chat"
    )
    again = await tour.read("venice_provision_api_keys", **arguments)
    tour.screen.say("result", again.text)
    tour.verify(after == await tour.session.keys(), "called again it makes none twice")


def _secrets_in(path: Path) -> dict[str, str]:
    with path.open(encoding="ascii", newline="") as stream:
        return {row["description"]: row["api_key"] for row in csv.DictReader(stream)}


async def revoke_customers(tour: Tour) -> None:
    keys = await tour.session.keys()
    targets = [key_id for key_id, row in keys.items() if str(row[1]).startswith("cust:")]
    if not targets:
        targets = [await id_of(tour, "eval harness"), await id_of(tour, "image service")]
    _, approved, before, after = await tour.write("approve", "venice_revoke_api_keys", key_ids=targets)
    if approved:
        tour.verify(set(before) - set(after) == set(targets), "these keys are gone, and no other")


async def scan(tour: Tour) -> None:
    folder = tour.folder / "project"
    folder.mkdir()
    if not tour.saved:
        tour.screen.say("note", "There is no saved secret to leak, because no one approved one.")
    (folder / "settings.py").write_text(f"KEY = '{tour.saved[0]}'\n" if tour.saved else "KEY = 'your-key-here'\n")
    reply = await tour.read("venice_scan_for_leaked_keys", folders=[str(folder)])
    tour.screen.say("result", "\n".join(reply.text.splitlines()[:4]))
    tour.verify(reply.data["found"] == (1 if tour.saved else 0), "what was put there is found, and nothing else")
    tour.verify(not key_shapes(reply.text + repr(reply.data)), "the result names the place, not the secret")


CHORES: tuple[tuple[str, Step], ...] = (
    ("Audit: what is wrong with the team's keys, and the call that mends it", audit),
    ("A cap for keys that have none: before and after of each", cap_the_uncapped),
    ("Which key is this?", which_key),
    ("Rotate a key: the old one works for 24 hours more", rotate),
    ("A key for each customer, secrets into one file", provision),
    ("Revoke several at once", revoke_customers),
    ("Look for leaked keys in a folder", scan),
)
