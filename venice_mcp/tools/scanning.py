"""Leaked keys on this machine: found locally, matched with the account's keys by their last six characters."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import anyio
import anyio.to_thread
from mcp_types import CallToolResult
from pydantic import AfterValidator, Field

from venice_mcp import HOMEPAGE
from venice_mcp.app import App, Ctx, app_of
from venice_mcp.errors import ArgumentError, VeniceError
from venice_mcp.leaks.standing import IGNORED as GIT_IGNORED
from venice_mcp.leaks.standing import NOT_IGNORED, Standing, lying
from venice_mcp.leaks.walking import BINARY, IGNORED, LINK, SPECIAL
from venice_mcp.models.leaks import LeakRow, LeakScan
from venice_mcp.models.wire import Key
from venice_mcp.store import StoreError
from venice_mcp.text import cell, parse_time, plain, plural, table
from venice_mcp.tools.arguments import Arguments
from venice_mcp.tools.build import answer
from venice_mcp.tools.fields import clean_text

if TYPE_CHECKING:
    from venice_mcp.leaks.scanning import Finding, Outcome, Progress

_ANSWER_WITHIN_S = 43.0
_ASKING_GIT_S = 3.0
_RECORD_S = 2.0
_PATH = 400
_RULE = r"VENICE_(?:INFERENCE|ADMIN)_KEY_[A-Za-z0-9_-]{20,}"
PREVENTION = (
    f"To keep keys out of git: a gitleaks rule with the regex {_RULE}, a detect-secrets plugin and a pre-commit hook"
    f" stand ready in {HOMEPAGE}/blob/main/docs/LEAKS.md"
)
LIVE, SEVERAL, WALLET, UNKNOWN, EXPIRED, DEAD = "live", "live?", "wallet", "unknown", "expired", "dead"
_STATES = (LIVE, SEVERAL, WALLET, UNKNOWN, EXPIRED, DEAD)
_NEXT = {
    LIVE: "live: an active key of this account ends so. Replace it with venice_rotate_api_key (key_id, leaked: true),"
    " or end it at once with venice_revoke_api_key (key_id).",
    SEVERAL: "live?: several active keys end so. Ask the person which it is, or revoke or rotate all of them.",
    WALLET: "wallet: a wallet key cannot be revoked. Move its funds and stake to a new wallet and stop using this one;"
    " revoke the keys it minted.",
    UNKNOWN: "unknown: it could not be compared with the account's keys. Treat it as live: revoke it at Venice.",
    EXPIRED: "expired: the key's time has passed. Take it out of the file.",
    DEAD: "dead: no active key of this account ends so. Take it out of the file; if it may be another account's,"
    " revoke it there.",
}
_KEPT = (
    "kept: a private file for keys that git does not take along, and the key was found nowhere else but in such files."
    " This place is in order; a key that got out otherwise is replaced all the same."
)
_NOT_ASKED = " Whether git has it in its history was not looked into: git_history: true does."
_NOT_ALL = " Not all of git's history was looked into."
_FENCE = "Where git does not ignore the file, name it in .gitignore; where others can read it, `chmod 600`."
_HISTORY = (
    "Rewriting git history does not undo a leak, because clones, forks and caches keep it: revoke or rotate first."
)
_NO_RECORD = (
    "The local record could not be read, so that which files this server put keys into is not told; venice_status says"
    " more."
)
_ORDINARY = (BINARY, LINK, SPECIAL, IGNORED)
"""Left out in every tree; a count is enough."""

_STOPPED = {
    "time": "It was cut short by its time limit",
    "files": "It was cut short by its limit on files",
    "bytes": "It was cut short by its limit on bytes",
    "failure": "A part of it ended unexpectedly",
}


class ScanForLeakedKeys(Arguments):
    OPAQUE_FIELDS: ClassVar[frozenset[str]] = frozenset({"folders"})

    folders: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(clean_text)]],
        Field(min_length=1, max_length=20, description="Absolute or ~/ paths"),
    ]
    git_history: Annotated[bool, Field(description="Also all that their git repositories ever held")] = False
    respect_gitignore: Annotated[bool, Field(description="Leave out what git ignores, such as .env")] = False
    max_seconds: Annotated[int, Field(ge=1, le=33)] = 33
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    page: Annotated[int, Field(ge=1, le=1000)] = 1


async def venice_scan_for_leaked_keys(args: ScanForLeakedKeys, ctx: Ctx) -> Annotated[CallToolResult, LeakScan]:
    """Find Venice keys and wallet keys left in files and git history on this machine, and which of them are live.
    Use it when a key may have leaked or before publishing code. Nothing found is shown, sent or stored but path, line,
    kind and last six; nothing is changed. Live ones: rotate or revoke, unless told as kept. respect_gitignore leaves
    out what is not published."""
    from venice_mcp.leaks.scanning import Request, scan  # only when it is needed, as a start should be quick

    app = app_of(ctx)
    started = time.monotonic()
    folders = await _checked(args.folders)

    async def report(progress: "Progress") -> None:
        await ctx.report_progress(
            progress.scanned + progress.objects,
            message=f"{progress.scanned} files, {progress.objects} git objects, {progress.count} found",
        )

    outcome = await scan(
        Request(folders, args.git_history, args.respect_gitignore, seconds=float(args.max_seconds)), report
    )
    left_out = 0
    if app.settings.mode == "live":
        left_out = sum(item.sandbox for item in outcome.found)
        outcome.found = [item for item in outcome.found if not item.sandbox]
    keys, problem = await _account_keys(app, outcome.found, _ANSWER_WITHIN_S - (time.monotonic() - started))
    places, unread = await _places(app, outcome.found)
    judged = _with_kept(
        [
            Judged(*_state(item, keys, app), item, None if item.commit else places[item.path, item.last6])
            for item in outcome.found
        ]
    )
    own = await _own(app, outcome.found)
    notes = [
        *_cut_short(outcome, folders),
        *([f"Not compared with the account's keys: {problem}"] if problem else []),
        *own,
        *unread,
        *([f"{plural(left_out, 'sandbox key')} left out; they open nothing at Venice."] if left_out else []),
        *(f"{plain(note, _PATH)}." for note in outcome.notes),
        *(
            f"Skipped, {reason}: {plural(count, 'place')}, e.g. {', '.join(plain(path, 120) for path in paths)}"
            for reason, (count, paths) in outcome.skipped.items()
            if reason not in _ORDINARY
        ),
    ]
    result = _result(args, outcome, judged, notes)
    return answer(_text(result, outcome), result)


async def _checked(folders: Sequence[str]) -> tuple[str, ...]:
    """The folders by their full paths, each once.

    Raises:
        ArgumentError: one cannot be scanned, or this system cannot walk safely.
    """
    from venice_mcp.leaks.folders import FolderError, can_walk, expanded

    if not can_walk():
        raise VeniceError(
            "This system cannot open files relative to a folder, so a safe walk is not possible here.",
            next_step="Run the server on Linux or macOS, or use gitleaks with the rule of docs/LEAKS.md.",
            code="unsupported",
        )
    found: dict[str, None] = {}
    for number, folder in enumerate(folders):
        path = expanded(folder)
        if path is None:
            raise ArgumentError(f"folders.{number}", "must be an absolute path or begin with ~/.", "Give a full path.")
        try:
            await anyio.to_thread.run_sync(_try_folder, path, abandon_on_cancel=True)
        except FolderError as problem:
            raise ArgumentError(f"folders.{number}", f"{problem}.", "Correct the list and call again.") from None
        found[path] = None
    return tuple(found)


def _try_folder(path: str) -> None:
    import os

    from venice_mcp.leaks.folders import open_folder

    os.close(open_folder(path))


# --- live or dead ---------------------------------------------------------------------------------


async def _account_keys(app: App, found: "list[Finding]", within_s: float) -> tuple[list[Key] | None, str]:
    """The account's keys, or why they cannot be had. Nothing is sent when nothing was found."""
    if all(item.kind == "wallet" for item in found):
        return None, ""
    if (await app.client.keys.get("ADMIN")).secret is None:
        return None, "that takes an ADMIN key (VENICE_ADMIN_KEY), and none is configured."
    try:
        with anyio.fail_after(max(1.0, within_s)):
            return await app.client.list_api_keys(), ""
    except VeniceError as error:
        return None, f"{error.what} {error.next_step}"
    except TimeoutError:
        return None, "Venice did not answer in time. Call again with a smaller max_seconds."


def _state(item: "Finding", keys: list[Key] | None, app: App) -> tuple[str, list[str]]:
    """What a finding is, and the ids of the keys it may be."""
    if item.kind == "wallet":
        return WALLET, []
    if keys is None or not item.last6:
        return UNKNOWN, []
    fitting = [
        key
        for key in keys
        if key.last6_chars in (item.last6, item.also or item.last6) and item.kind in ("unprefixed", key.api_key_type)
    ]
    now = app.now()
    active = [key for key in fitting if (end := parse_time(key.expires_at)) is None or end > now]
    if not active:
        return (EXPIRED if fitting else DEAD), [plain(key.id, 40) for key in fitting]
    return (LIVE if len(active) == 1 else SEVERAL), [plain(key.id, 40) for key in active]


class Judged(NamedTuple):
    """A finding with its state, the ids it may be, and how its file lies there; None in history.

    `kept`: it is in order there, and so is every other place where the same secret was found.
    """

    state: str
    ids: list[str]
    item: "Finding"
    file: Standing | None
    kept: bool = False

    @property
    def in_order(self) -> bool:
        return self.state not in (EXPIRED, DEAD) and self.file is not None and self.file.in_order

    @property
    def signs(self) -> set[str]:
        """What it has in common with the same secret elsewhere, also with a character more or less at its end."""
        return {self.item.same, self.item.last6, self.item.also} - {""}


def _with_kept(judged: list[Judged]) -> list[Judged]:
    exposed = {sign for each in judged if not each.in_order for sign in each.signs}
    return [each._replace(kept=each.in_order and not each.signs & exposed) for each in judged]


async def _places(app: App, found: "list[Finding]") -> tuple[dict[tuple[str, str], Standing], list[str]]:
    """How each file lies there in which a key is, and what could not be told of it."""
    places = {(item.path, item.last6) for item in found if not item.commit}
    if not places:
        return {}, []
    saved = await _saved(app)
    lies = await anyio.to_thread.run_sync(lying, places, saved or (), _ASKING_GIT_S, abandon_on_cancel=True)
    return lies, [_NO_RECORD] if saved is None else []


async def _saved(app: App) -> set[tuple[str, str]] | None:
    """The files that keys were saved to; None if the record does not tell. A scan needs none and makes none."""

    def look() -> set[tuple[str, str]]:
        return app.store.journal.delivered() if app.store.record.exists() else set()

    with anyio.move_on_after(_RECORD_S):
        try:
            return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)
        except StoreError:
            return None
    return None


async def _own(app: App, found: "list[Finding]") -> list[str]:
    """Which of the server's own keys lie about, told without asking Venice."""
    notes: list[str] = []
    for kind in ("ADMIN", "INFERENCE", "WALLET"):
        fitting = {"unprefixed", kind} if kind != "WALLET" else {"wallet"}
        places = [item for item in found if item.kind in fitting]
        held = (await app.client.keys.get(kind)).secret if places else None
        same = [item for item in places if held is not None and held.last6.lower() == item.last6.lower() != ""]
        if same:
            where = plain(f"{same[0].path}:{same[0].line}", _PATH)
            notes.append(f"This server itself runs on the {kind} key in {where} (by its last six characters).")
    return notes


# --- the answer -----------------------------------------------------------------------------------


def _cut_short(outcome: "Outcome", folders: Sequence[str]) -> list[str]:
    if not outcome.stopped:
        return []
    rest = [folder for folder in folders if folder not in outcome.finished]
    how = (
        f"not finished: {', '.join(plain(folder, 120) for folder in rest)}. Name fewer or smaller folders"
        if rest
        else "the files were all looked at, their git history was not. Name one repository at a time"
    )
    return [f"{_STOPPED[outcome.stopped]} after {outcome.seconds:.0f} s; {how}. What is not listed may still be there."]


def _result(args: ScanForLeakedKeys, outcome: "Outcome", judged: list[Judged], notes: list[str]) -> LeakScan:
    judged.sort(key=lambda each: (_STATES.index(each.state), each.kept, each.item))
    numbers: dict[str, int] = {}
    rows = [
        LeakRow(
            each.state,
            item.kind,
            plain(item.last6, 6),
            numbers.setdefault(item.same, len(numbers) + 1),
            plain(item.path, _PATH),
            item.line,
            item.commit or None,
            each.file.git if each.file else None,
            each.file.in_words(kept=each.kept) if each.file else None,
            each.ids,
        )
        for each in judged
        for item in [each.item]
    ]
    start = (args.page - 1) * args.limit
    exposed = [each for each in judged if not each.kept]
    steps = [_NEXT[state] for state in _STATES if any(each.state == state for each in exposed)]
    if any(each.state not in (EXPIRED, DEAD) and _is_open(each) for each in exposed):
        steps.append(_FENCE)
    if kept := [each for each in judged if each.kept]:
        steps.append(_KEPT + _of_history(args, outcome, kept))
    if any(row.commit for row in rows):
        steps.append(_HISTORY)
    return LeakScan(
        complete=not outcome.stopped,
        found=outcome.progress.count if len(rows) >= 20_000 else len(rows),
        secrets=len(numbers),
        live=len({row.secret for row in rows if row.state in (LIVE, SEVERAL)}),
        files=outcome.progress.scanned,
        bytes_read=outcome.progress.size,
        git_objects=outcome.progress.objects,
        page=args.page,
        next_page=args.page + 1 if start + args.limit < len(rows) else None,
        columns=list(LeakRow._fields),
        rows=rows[start : start + args.limit],
        next_steps=[*steps, PREVENTION],
        skipped={reason: count for reason, (count, _) in outcome.skipped.items()},
        notes=notes,
    )


def _is_open(each: Judged) -> bool:
    """Whether there is something to mend about the file itself."""
    return each.file is not None and (each.file.git == NOT_IGNORED or each.file.private is False)


def _of_history(args: ScanForLeakedKeys, outcome: "Outcome", kept: list[Judged]) -> str:
    """What is not known of keys that lie in a repository."""
    if all(each.file is None or each.file.git != GIT_IGNORED for each in kept):
        return ""
    if not args.git_history:
        return _NOT_ASKED
    return _NOT_ALL if outcome.stopped or outcome.notes else ""


def _text(result: LeakScan, outcome: "Outcome") -> str:
    history = f", {plural(result.git_objects, 'git object')}" if result.git_objects else ""
    head = (
        f"{plural(result.found, 'place')} with {plural(result.secrets, 'different key')}, {result.live} of them live."
        f" Looked into {plural(result.files, 'file')}{history}, {result.bytes_read / 1e6:.0f} MB, in"
        f" {outcome.seconds:.0f} s; {'all that was asked for' if result.complete else 'NOT all that was asked for'}."
    )
    rows = [
        [
            row.state,
            row.kind,
            f"...{row.last6_chars}",
            str(row.secret),
            cell(f"{row.path}:{row.line}", _PATH + 12) + (f" in commit {row.commit}" if row.commit else ""),
            row.git or "-",
            row.file or "-",
            " ".join(row.key_ids) or "-",
        ]
        for row in result.rows
    ]
    shown = [table(["state", "kind", "last6", "secret", "place", "git", "file", "key_id"], rows)] if rows else []
    counts = ", ".join(f"{count} {reason}" for reason, count in result.skipped.items())
    left_out = [f"Left out: {counts}."] if counts else []
    more = [f"More: page={result.next_page}."] if result.next_page else []
    return "\n".join([head, *left_out, *shown, *more, *result.next_steps, *result.notes])
