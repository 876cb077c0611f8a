"""`venice-mcp`: serve, sandbox, approve, doctor."""

import argparse
import gc
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, cast

from venice_mcp import __version__
from venice_mcp.settings import SCENARIOS, Settings, default_state_dir, load


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit status is 0 for success, 1 for a problem told on stderr, 2 for bad usage."""
    options = parser().parse_args(arguments)
    command = options.command or "serve"
    if command == "serve":
        return _serve(options)
    if command == "sandbox":
        return _sandbox(options)
    state_dir = getattr(options, "state_dir", None)
    if command == "approve":
        from venice_mcp.approving import approve

        # No key is looked at here: approving is for people, and needs none.
        return approve(options.code, state_dir.expanduser().absolute() if state_dir else default_state_dir(os.environ))
    from venice_mcp.doctor import doctor

    settings = load(sandbox=getattr(options, "sandbox", False), state_dir=state_dir)
    return doctor(settings, as_json=options.json)


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--state-dir", type=Path, metavar="DIR", help="where approvals are recorded")
    serving = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS, parents=[common])
    serving.add_argument("--sandbox", action="store_true", help="use a sandbox in this process; needs no key")
    serving.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="what goes to stderr (default: warning)",
    )
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
    sandbox.add_argument("--control", action="store_true", help="add routes that move its clock")
    approve = commands.add_parser("approve", parents=[common], help="approve or refuse what an agent asked for")
    approve.add_argument("code", nargs="?", help="the code in the request; without it, what waits is listed")
    doctor = commands.add_parser("doctor", parents=[serving], help="check keys, reachability and clock")
    doctor.add_argument("--json", action="store_true", help="one JSON object instead of text")
    return root


def _port(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(value)


def _serve(options: argparse.Namespace) -> int:
    from venice_mcp.secrets import RedactingStream, Redactor, install_logging

    settings: Settings = load(sandbox=getattr(options, "sandbox", False), state_dir=getattr(options, "state_dir", None))
    redactor = Redactor()
    stderr = RedactingStream(sys.stderr, redactor)
    sys.stderr = stderr
    install_logging(redactor, level=getattr(options, "log_level", "warning"), stream=cast("TextIO", stderr))
    os.umask(0o077)

    import anyio

    from venice_mcp.server import build_app
    from venice_mcp.serving import ServingError, run_http, run_stdio

    app = build_app(settings, redactor)
    # What was imported stays for ever; it need not be looked at again by the collector.
    gc.freeze()
    gc.enable()
    try:
        if getattr(options, "http", False):
            anyio.run(lambda: run_http(app, host=options.host, port=options.port, token_file=options.token_file))
        else:
            anyio.run(run_stdio, app)
    except ServingError as error:
        stderr.write(f"venice-mcp: {error}\n")
        return 1
    except KeyboardInterrupt:
        pass
    except Exception:  # the edge of the process: past it Python would print secrets unredacted
        logging.getLogger(__name__).exception("venice-mcp ended unexpectedly")
        return 1
    finally:
        stderr.close()
        sys.stderr = sys.__stderr__
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
