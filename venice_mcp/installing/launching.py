"""How a host is to start this very installation: decided by how it runs now."""

import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname  # pyright: ignore[reportDeprecated] - only its Windows module is

from venice_mcp import HOMEPAGE

PROGRAM = "venice-mcp"
# uv keeps the environments of `uvx` in folders of its cache, which it may clear at any time.
_OF_UVX = re.compile(r"(?:archive|environments)-v\d+")
_EXTRAS = {"keyring": "keyring", "chart": "matplotlib"}
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*w?")
_SWITCHES = re.compile(r"-[bBdEIOPqsSuvx]+")
_TO_UVX = re.compile(rf"{PROGRAM}(?:\[[\w,-]+\])?(?:(?:@|==)\S+)?")
# Of uv. After any other it is not known which word is the program, so nothing is taken for ours.
_WITH_VALUE = ("--from", "--with", "--python", "-p", "--directory", "--project", "--extra", "--index", "--index-url")
_WITHOUT = ("--", "-q", "--quiet", "--refresh", "--isolated", "--offline", "--no-cache", "--frozen", "--locked")


class CannotStart(Exception):
    """No command can be named that would still start this installation later; says what to do."""


@dataclass(frozen=True)
class Launch:
    """The command for the host, and why it is this one."""

    command: str
    args: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Running:
    """What is known about this process.

    Attributes:
        program: the console script it was started with, absolute; empty if there was none.
        python: the interpreter.
        prefix: the environment the interpreter belongs to.
        installed: whether the package is installed there and not just found in the current folder.
        direct_url: where it was installed from, as JSON (PEP 610); None if from an index.
        uvx: the command that `uvx` is, absolute if it was found.
        extras: the optional parts that are installed.
    """

    program: str
    python: str
    prefix: str
    installed: bool
    direct_url: str | None
    uvx: tuple[str, ...]
    extras: tuple[str, ...]


def running(env: Mapping[str, str]) -> Running:
    """This process."""
    try:
        installed, direct_url = True, metadata.distribution(PROGRAM).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        installed, direct_url = False, None
    return Running(
        program=_console_script(sys.argv[0]),
        python=sys.executable,
        prefix=sys.prefix,
        installed=installed,
        direct_url=direct_url,
        uvx=_uvx(env),
        extras=tuple(extra for extra, module in _EXTRAS.items() if importlib.util.find_spec(module)),
    )


def launch(now: Running) -> Launch:
    """What starts the same installation again, from any folder and any environment.

    Raises:
        CannotStart: nothing does.
    """
    if any(_OF_UVX.fullmatch(part) for part in re.split(r"[\\/]", now.prefix)):
        source = _source(now.direct_url, now.extras)
        return Launch(
            now.uvx[0], (*now.uvx[1:], "--from", source, PROGRAM), "uvx runs it now, from an environment it may remove"
        )
    if now.program:
        return Launch(now.program, (), "this is the program that runs now")
    if not now.installed or not now.python:
        raise CannotStart(
            "venice-mcp is not installed in the Python that runs it, so no other program could start it."
            f" Run this through uvx (uvx --from git+{HOMEPAGE} venice-mcp install) or after make setup in a checkout."
        )
    # -P: a host starts it in a folder of somebody's project, whose modules must not be taken for ours.
    return Launch(now.python, ("-P", "-m", "venice_mcp"), "this is the Python that runs it now")


def own_arguments(words: Sequence[str]) -> tuple[str, ...] | None:
    """What a command line that starts this server says to the server itself; None if it starts something else.

    A name is not enough: other projects have packages, images and folders called venice-mcp.
    """
    if not words:
        return None
    program, rest = re.split(r"[\\/]", words[0])[-1].lower().removesuffix(".exe"), tuple(words[1:])
    if program == PROGRAM:
        return rest
    if _PYTHON.fullmatch(program):
        while rest and _SWITCHES.fullmatch(rest[0]):
            rest = rest[1:]
        return rest[2:] if rest[:2] == ("-m", "venice_mcp") else None
    if program == "uv":
        rest = _past_options(rest)
        if rest[:1] == ("run",):
            return own_arguments(_past_options(rest[1:]))
        program, rest = ("uvx", rest[2:]) if rest[:2] == ("tool", "run") else ("", ())
    rest = _past_options(rest) if program == "uvx" else ()
    return rest[1:] if rest and _TO_UVX.fullmatch(rest[0]) else None


def _past_options(words: tuple[str, ...]) -> tuple[str, ...]:
    while words and words[0].startswith("-"):
        if words[0] in _WITH_VALUE:
            words = words[2:]
        elif words[0] in _WITHOUT or words[0].partition("=")[0] in _WITH_VALUE:
            words = words[1:]
        else:
            return ()
    return words


def _console_script(program: str) -> str:
    for candidate in (program, f"{program}.exe"):
        path = os.path.abspath(candidate)
        if re.split(r"[\\/]", path)[-1].removesuffix(".exe") == PROGRAM and os.path.isfile(path):
            return path
    return ""


def _uvx(env: Mapping[str, str]) -> tuple[str, ...]:
    """Absolute where possible: programs with a window rarely have the PATH of a shell."""
    if found := shutil.which("uvx"):
        return (os.path.abspath(found),)
    uv = env.get("UV", "")  # uv says so to whatever it runs
    return (uv, "tool", "run") if os.path.isabs(uv) else ("uvx",)


def _source(direct_url: str | None, extras: tuple[str, ...]) -> str:
    """What uvx is to install: the same source with the same extras."""
    named = f"{PROGRAM}[{','.join(extras)}]" if extras else PROGRAM
    try:
        origin = cast("dict[str, Any]", json.loads(direct_url)) if direct_url else {}
        url, vcs = str(origin.get("url", "")), cast("dict[str, str]", origin.get("vcs_info") or {})
        parts = urlsplit(url)
    except (ValueError, AttributeError):
        return named
    if not url:
        return named
    if parts.scheme == "file" and not vcs:
        place = url2pathname(parts.path)  # pyright: ignore[reportDeprecated]
        return f"{named} @ {url}" if extras else place
    if "@" in parts.netloc:
        url = HOMEPAGE  # what stands before the @ may be a password
    revision = vcs.get("requested_revision")
    source = f"{vcs['vcs']}+{url}" if "vcs" in vcs else url
    source = f"{source}@{revision}" if revision else source
    return f"{named} @ {source}" if extras else source
