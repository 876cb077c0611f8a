"""`venice-mcp`: serve, sandbox, approve, doctor, install."""

import argparse
import gc
import logging
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from venice_mcp import __version__
from venice_mcp.policy.places import trusted_state_dir
from venice_mcp.settings import SCENARIOS, Settings, load, state_dir_in_use
from venice_mcp.text import plain

if TYPE_CHECKING:
    from venice_mcp.secrets import Redactor

HOSTS = ("claude-code", "claude-desktop", "cursor", "vscode", "codex", "gemini", "windsurf", "opencode")
"""The names in `venice_mcp.installing.hosts`, which a server need not load."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit status is 0 for success, 1 for a problem told on stderr, 2 for bad usage."""
    options = parser().parse_args(arguments)
    command = options.command or "serve"
    if command == "serve":
        return _serve(options)
    if command == "sandbox":
        return _sandbox(options)
    _spell_out(sys.stdout)
    state_dir = getattr(options, "state_dir", None)
    if command == "approve":
        from venice_mcp.approving import approve

        # No key is looked at here: approving is for people, and needs none.
        usual = trusted_state_dir()
        others = [usual] if state_dir is None and usual is not None else []
        return approve(options.code, state_dir_in_use(os.environ, state_dir), *others)
    if command in ("audit-log", "purge"):
        return _record(options, command)
    if command == "install":
        from venice_mcp.installing.command import install

        return install(
            options.host,
            sandbox=options.sandbox,
            key_file=options.key_file,
            printing=options.print,
            removing=options.remove,
        )
    from venice_mcp.doctor import doctor

    return doctor(_settings(options), as_json=options.json)


def _spell_out(stream: TextIO) -> None:
    """Letters that a terminal, or a pipe on Windows, has no way to write are written as their numbers."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--state-dir", type=Path, metavar="DIR", help="where the record is kept")
    serving = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS, parents=[common])
    serving.add_argument("--sandbox", action="store_true", help="use a sandbox in this process; needs no key")
    serving.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="what goes to stderr (default: warning)",
    )
    serving.add_argument(
        "--log-format", choices=("text", "json"), help="lines for people or for programs (default: text)"
    )
    serving.add_argument("--policy", type=Path, metavar="FILE", help="one more policy; it can only restrict")
    root = argparse.ArgumentParser(
        prog="venice-mcp",
        description="Look after Venice.ai API keys from any MCP client. Without a command it serves on stdio.",
        parents=[serving],
    )
    root.add_argument("--version", action="version", version=f"venice-mcp {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND")
    serve = commands.add_parser("serve", parents=[serving], help="serve on stdio (the default) or HTTP")
    serve.add_argument("--http", action="store_true", help="streamable HTTP instead of stdio")
    serve.add_argument("--host", default="127.0.0.1", help="loopback address (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=8765, help="0 picks a free one (default: %(default)s)")
    serve.add_argument("--token-file", type=Path, help="owner-only file with the bearer token callers must send")
    sandbox = commands.add_parser("sandbox", help="serve an imitation of Venice on loopback")
    sandbox.add_argument("--port", type=_port, default=0, help="0 picks a free one (default)")
    sandbox.add_argument("--scenario", choices=SCENARIOS, default="demo", help="what is in it (default: %(default)s)")
    sandbox.add_argument("--state", type=Path, metavar="FILE", help="keep its keys in this file")
    sandbox.add_argument("--no-limits", action="store_true", help="no pace, no abuse block, no 500 keys")
    sandbox.add_argument("--control", action="store_true", help="add routes that move its clock and change its account")
    approve = commands.add_parser("approve", parents=[common], help="approve or refuse what an agent asked for")
    approve.add_argument("code", nargs="?", help="the code in the request; without it, what waits is listed")
    doctor = commands.add_parser("doctor", parents=[serving], help="check keys, reachability and clock")
    doctor.add_argument("--json", action="store_true", help="one JSON object instead of text")
    _describe_install(commands.add_parser("install", help="enter this server in a host's configuration"))
    audit_log = commands.add_parser("audit-log", parents=[common], help="read and check the audit trail")
    actions = audit_log.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", parents=[common], help="the newest entries, for people")
    show.add_argument("--limit", type=_count, default=20, metavar="N", help="how many (default: %(default)s)")
    verify = actions.add_parser("verify", parents=[common], help="name the first entry that was altered or removed")
    verify.add_argument("--checkpoint", type=Path, metavar="FILE", help="an export kept elsewhere: shows a cut tail")
    export = actions.add_parser("export", parents=[common], help="JSON lines, ending with a checkpoint")
    export.add_argument("--only-checkpoint", action="store_true", help="just the last line")
    commands.add_parser("purge", parents=[common], help="remove the local record")
    return root


def _describe_install(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "host",
        nargs="?",
        type=_host,
        metavar="HOST",
        help=f"{', '.join(HOSTS[:-1])} or {HOSTS[-1]}; without it, they are listed with what was found",
    )
    key = command.add_mutually_exclusive_group()
    key.add_argument("--sandbox", action="store_true", help="enter it for its sandbox; needs no key")
    key.add_argument("--key-file", metavar="FILE", help="the file that the server is to read the ADMIN key from")
    doing = command.add_mutually_exclusive_group()
    doing.add_argument("--print", action="store_true", help="only print what would be done")
    doing.add_argument("--remove", action="store_true", help="take it out again")


def _settings(options: argparse.Namespace) -> Settings:
    return load(
        sandbox=getattr(options, "sandbox", False),
        state_dir=getattr(options, "state_dir", None),
        policy_file=getattr(options, "policy", None),
    )


def _record(options: argparse.Namespace, command: str) -> int:
    from venice_mcp import auditing

    folder = state_dir_in_use(os.environ, getattr(options, "state_dir", None))
    if command == "purge":
        return auditing.told(lambda: auditing.purge(folder))
    if options.action == "show":
        return auditing.told(lambda: auditing.latest(folder, limit=options.limit))
    if options.action == "verify":
        return auditing.told(lambda: auditing.verify(folder, checkpoint=options.checkpoint))
    return auditing.told(lambda: auditing.export(folder, only_checkpoint=options.only_checkpoint))


def _host(value: str) -> str:
    if value not in HOSTS:
        raise argparse.ArgumentTypeError(f"one of {', '.join(HOSTS)}")
    return value


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 100_000:
        raise argparse.ArgumentTypeError("a number from 1 to 100000")
    return int(value)


def _port(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(value)


def _serve(options: argparse.Namespace) -> int:
    from venice_mcp.secrets import RedactingStream, Redactor, install_logging

    redactor = Redactor()
    stderr = RedactingStream(sys.stderr, redactor)
    sys.stderr = stderr
    install_logging(
        redactor,
        level=getattr(options, "log_level", "warning"),
        stream=cast("TextIO", stderr),
        json_lines=getattr(options, "log_format", "text") == "json",
    )
    os.umask(0o077)
    try:
        return _serve_until_told(options, redactor)
    except Exception:  # the edge of the process: past it Python would print secrets unredacted
        logging.getLogger(__name__).exception("venice-mcp ended unexpectedly")
        return 1
    finally:
        stderr.close()
        sys.stderr = sys.__stderr__


def _serve_until_told(options: argparse.Namespace, redactor: "Redactor") -> int:
    import anyio

    from venice_mcp.server import build_app
    from venice_mcp.serving import ServingError, run_http, run_stdio

    http = getattr(options, "http", False)
    app = build_app(_settings(options), redactor, reached_over="HTTP" if http else "stdio")
    # What was imported stays for ever; it need not be looked at again by the collector.
    gc.freeze()
    gc.enable()
    try:
        if http:
            anyio.run(lambda: run_http(app, host=options.host, port=options.port, token_file=options.token_file))
        else:
            anyio.run(run_stdio, app)
    except ServingError as error:
        sys.stderr.write(f"venice-mcp: {plain(str(error), 600)}\n")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _sandbox(options: argparse.Namespace) -> int:
    gc.enable()
    from venice_mcp.sandbox import serve

    return serve(
        port=options.port,
        scenario=options.scenario,
        state_file=options.state,
        limits=not options.no_limits,
        control=options.control,
    )
