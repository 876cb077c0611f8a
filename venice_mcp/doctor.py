"""`venice-mcp doctor`: checks keys, reachability, clock and the local record, and says what to mend."""

import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import Literal

import anyio

from venice_mcp import __version__
from venice_mcp.app import App
from venice_mcp.errors import VeniceError
from venice_mcp.operating import command
from venice_mcp.policy.places import operator_file
from venice_mcp.policy.summary import summary
from venice_mcp.secrets import Redactor
from venice_mcp.settings import VARIABLES, KeyKind, Settings
from venice_mcp.text import amount, span

_MAX_SKEW_S = 60
_IGNORED = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class Check:
    """One thing looked at; `fix` says what to do when it is not ok."""

    name: str
    state: Literal["ok", "warning", "problem"]
    found: str
    fix: str = ""


def doctor(settings: Settings, *, as_json: bool) -> int:
    """Print the checks; exit status 1 when one is a problem."""
    from venice_mcp.server import build_app

    redactor = Redactor()
    checks = anyio.run(examine, build_app(settings, redactor))
    failed = any(check.state == "problem" for check in checks)
    if as_json:
        text = json.dumps(
            {"version": __version__, "ok": not failed, "checks": [asdict(item) for item in checks]}, indent=2
        )
    else:
        text = "\n".join(
            f"{check.state:8} {check.name}: {check.found}" + (f"\n{'':9}{check.fix}" if check.fix else "")
            for check in checks
        )
    sys.stdout.write(redactor.redact(text) + "\n")
    return 1 if failed else 0


async def examine(app: App) -> list[Check]:
    """All checks. Reads only; a missing key is a warning, because the server can do without."""
    checks = [
        Check("version", "ok", f"venice-mcp {__version__}, Python {sys.version.split()[0]}"),
        Check(
            "target",
            "problem" if app.settings.blocked else "ok",
            f"{app.settings.mode}: {app.settings.base_url}",
            app.settings.blocked or "",
        ),
    ]
    checks.append(await _reachable(app))
    checks += [await _key(app, kind) for kind in VARIABLES]
    checks += [_clock(app), await _record(app), _policy(app), _environment()]
    # What is wrong with one key is told with that key.
    told = {check.found for check in checks}
    checks += [
        Check("settings", "warning", text)
        for text in app.settings.problems
        if text not in told and text != app.settings.blocked
    ]
    await app.client.transport.close()
    return checks


async def _reachable(app: App) -> Check:
    """A read that needs no key, so that a wrong key is not taken for a broken network."""
    try:
        answer = await app.client.transport.read("/models", query={"type": "asr"})
    except VeniceError as error:
        return Check("network", "problem", error.what, "Check the network, the firewall and the clock.")
    state = "ok" if answer.ok and answer.is_json else "problem"
    return Check("network", state, f"answered {answer.status}", "" if state == "ok" else "Try again in a minute.")


async def _key(app: App, kind: KeyKind) -> Check:
    found = await app.client.keys.get(kind)
    if found.problem:
        return Check(found.variable, "problem", found.problem, "Correct it and restart the server.")
    if found.secret is None:
        what = {
            "ADMIN": "managing keys and reading billing will not work",
            "INFERENCE": "limits are read with the ADMIN key instead",
            "WALLET": "minting needs a signature made elsewhere",
        }[kind]
        return Check(
            found.variable,
            "warning",
            f"{found.origin}; {what}",
            f"Set {found.variable} or {found.variable}_FILE, if wanted.",
        )
    if kind == "WALLET":
        from venice_mcp.wallet import address_of

        address = await anyio.to_thread.run_sync(address_of, found.secret)
        return Check(found.variable, "ok", f"{found.origin}; address {address}")
    held = f"{found.origin}; ...{found.secret.last6}"
    try:
        limits = await app.client.get_rate_limits(kind)
    except VeniceError as error:
        return Check(found.variable, "problem", f"{held}; {error.what}", error.next_step)
    balances = ", ".join(f"{amount(value)} {name}" for name, value in limits.balances.items())
    if not limits.access_permitted:
        return Check(found.variable, "problem", f"{held}; access is not permitted", "See the account at Venice.")
    return Check(found.variable, "ok", f"{held}; accepted by Venice; {balances}")


def _clock(app: App) -> Check:
    from datetime import timedelta

    skew = app.client.transport.skew_s
    if skew is None:
        return Check("clock", "ok", "not compared: no answer with a date")
    if abs(skew) <= _MAX_SKEW_S:
        return Check("clock", "ok", f"within {_MAX_SKEW_S} s of Venice's")
    ahead = "ahead of" if skew > 0 else "behind"
    return Check("clock", "problem", f"{span(timedelta(seconds=skew))} {ahead} Venice's", "Set this machine's clock.")


async def _record(app: App) -> Check:
    try:
        waiting = await anyio.to_thread.run_sync(lambda: app.store.approvals.waiting(app.now()))
        verdict = await anyio.to_thread.run_sync(app.store.trail.verify)
    except VeniceError as error:
        return Check("record", "problem", error.what, error.next_step)
    if verdict.broken is not None:
        verify = command("audit-log", "verify", "--state-dir", str(app.store.folder))
        return Check("record", "problem", f"{app.store.path}: {verdict.why}", f"See {verify}")
    return Check("record", "ok", f"{app.store.path}; {len(waiting)} waiting; intact up to entry {verdict.entries}")


def _policy(app: App) -> Check:
    settings = app.settings
    if settings.policy_problem:
        return Check("policy", "problem", settings.policy_problem, "Until then nothing is written.")
    if not settings.policy_sources:
        own = operator_file()
        looked = f"; looked for {own}" if own is not None else ""
        return Check("policy", "ok", f"none{looked}; every write needs a person's approval")
    return Check("policy", "ok", f"{', '.join(settings.policy_sources)}: {'; '.join(summary(settings.policy))}")


def _environment() -> Check:
    named = [name for name in _IGNORED if os.environ.get(name) or os.environ.get(name.lower())]
    if not named:
        return Check("environment", "ok", "no proxy or TLS variables set")
    return Check("environment", "ok", f"{', '.join(named)} set, and ignored by venice-mcp on purpose")
