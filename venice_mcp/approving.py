"""`venice-mcp approve`: a person says yes or no in a terminal, out of the agent's conversation.

It needs neither key nor network: it shows what was frozen when the agent asked, and records the answer.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from venice_mcp.errors import VeniceError
from venice_mcp.operating import approve_command
from venice_mcp.questions import recorded
from venice_mcp.store import REFUSED_ON_TERMINAL, Approval, Store, actor
from venice_mcp.text import away, plain

_USER_ERROR = 2
_ELSEWHERE = " If the server runs as another user or keeps its record elsewhere, be that user or give --state-dir."
_NO_CUT = 10_000  # what is approved must be seen whole


def approve(code: str | None, state_dir: Path, *others: Path) -> int:
    """Ask on the terminal about one waiting request, or list what waits. Exit status 0 only for a recorded answer.

    `others` are folders to look in for what is not in `state_dir`.
    """
    now = datetime.now(UTC)
    actor.set(f"terminal, user {_user()}")
    code = code.strip().upper() if code is not None else None
    try:
        # Looking must not make an empty record where somebody mistyped a folder.
        stores = [store for folder in dict.fromkeys([state_dir, *others]) if (store := Store(folder)).record.exists()]
        if not stores:
            return _say(f"Nothing was ever asked for in {state_dir}.{_ELSEWHERE}", 0 if code is None else _USER_ERROR)
        if code is None:
            return _list(stores, now)
        store = next((each for each in stores[:-1] if each.approvals.get(code, now) is not None), stores[-1])
        approval = store.approvals.get(code, now)
        if approval is None:
            return _say(f"There is no request {plain(code, 20)} in {state_dir}.{_ELSEWHERE}", _USER_ERROR)
        if approval.state != "pending":
            return _say(f"Request {approval.code} is not waiting: it is {approval.state}.", 1)
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            # Terminals of Git Bash and the like are pipes to a program of Windows.
            where_else = " On Windows that is PowerShell or the Command Prompt." if sys.platform == "win32" else ""
            return _say(f"Run this in a real terminal: only a person at one can approve.{where_else}", _USER_ERROR)
        return _decide(store, approval)
    except VeniceError as error:
        return _say(f"{error.what} {error.next_step}", 1)


def _list(stores: list[Store], now: datetime) -> int:
    waiting = [(store, item) for store in stores for item in store.approvals.waiting(now) if item.state == "pending"]
    for store, item in waiting:
        sys.stdout.write(
            f"{item.code}  {plain(str(item.data['headline']), 120)}"
            f"  ({where(item.account)}; expires {away(item.expires_at, now)})\n"
            f"  to decide: {approve_command(item.code, store.folder)}\n"
        )
    if not waiting:
        sys.stdout.write(f"Nothing waits for approval in {' or '.join(str(store.folder) for store in stores)}.\n")
    return 0


def where(account: str) -> str:
    """Which Venice a request is for: `sandbox`, `sandbox at 127.0.0.1:8700`, `live account, key ...abc123`."""
    mode, _, rest = account.partition(":")
    host, _, last6 = rest.rpartition(":")
    if mode == "live":
        return f"live account, key ...{plain(last6, 6)}"
    return f"sandbox at {plain(host, 60)}" if mode == "loopback" else "sandbox"


def _decide(store: Store, approval: Approval) -> int:
    question = recorded(approval.data)
    sys.stdout.write(f"An agent asks, through venice-mcp ({where(approval.account)}):\n\n")
    for line in question.text(approval.code).splitlines()[:-1]:
        sys.stdout.write(f"  {plain(line, _NO_CUT)}\n")
    wanted = question.word or "YES"
    try:
        typed = input(f"\nType {wanted} to approve, anything else to refuse: ")
    except (EOFError, KeyboardInterrupt):
        return _say("\nNothing was recorded; the request still waits.", 1)
    now = datetime.now(UTC)
    if typed.strip().upper() != wanted:
        state = store.approvals.settle(approval.code, "denied", REFUSED_ON_TERMINAL, now)
        return _say("Refused. Nothing will be changed." if state == "denied" else f"Too late: it is {state}.", 1)
    state = store.approvals.settle(approval.code, "granted", "approved on a terminal", now)
    if state != "granted":
        return _say(f"Too late: the request is {state}. Nothing was approved.", 1)
    sys.stdout.write(f"Approved, once, until {approval.expires_at:%H:%M} UTC. Tell the agent to call the tool again.\n")
    return 0


def _user() -> str:
    """Who this process runs as; not what LOGNAME says."""
    if sys.platform == "win32":
        try:
            return plain(os.getlogin(), 40)  # asks the system there
        except OSError:
            return "unknown"
    import pwd

    try:
        return plain(pwd.getpwuid(os.getuid()).pw_name, 40)
    except KeyError:
        return str(os.getuid())


def _say(text: str, status: int) -> int:
    sys.stderr.write(text + "\n")
    return status
