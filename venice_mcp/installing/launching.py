"""How a host is to start this very installation: decided by how it runs now."""

import importlib.util
import json
import os
import re
import shutil
import sys
import tomllib
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
_NAMED = r"venice[-_.]mcp(?:\[[\w,. -]+\])?"
_RELEASE = re.compile(rf"{_NAMED}\s*(?:@\s*(?:latest|\d[\w.!+]*)|[=<>!~][\w.,=<>!~*+ ]+)?", re.IGNORECASE)
_AT = re.compile(rf"{_NAMED}\s*@\s*(?P<place>.+)", re.IGNORECASE)
_REPOSITORY = re.compile(rf"git\+{re.escape(HOMEPAGE)}(?:\.git)?/?(?:@[^#\s]+)?(?:#\S*)?")
# What installers write for our entry point; in a program of Windows it stands near the end, as it is.
_SCRIPT = b"from venice_mcp.__main__ import main"
_LARGEST_SCRIPT = 1 << 20
# Of uv. After any other it is not known which word is the program, so nothing is taken for ours.
_WITH_VALUE = ("--from", "--with", "--python", "-p", "--directory", "--project", "--extra", "--index", "--index-url")
_WITHOUT = ("--", "-q", "--quiet", "--refresh", "--isolated", "--offline", "--no-cache", "--frozen", "--locked")
_SOURCES = ("--from", "--with", "--directory", "--project")

SERVING = {"--state-dir": True, "--sandbox": False, "--log-level": True, "--log-format": True, "--policy": True}
"""The options of `venice_mcp.cli`, which stands above this, for a server; and whether a value follows."""
OF_SERVE = SERVING | {"--http": False, "--host": True, "--port": True, "--token-file": True}
"""Those after its command `serve`."""


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
    return Launch(now.python, ("-E", "-P", "-m", "venice_mcp"), "this is the Python that runs it now")


def own_arguments(words: Sequence[str]) -> tuple[str, ...] | None:
    """What a command line that starts this server says to the server itself; None if it starts something else.

    A name is not enough: other projects have packages, programs, images and folders called venice-mcp.
    """
    said = _after_program(tuple(words))
    return said if said is not None and _understood(said) else None


def _after_program(words: tuple[str, ...]) -> tuple[str, ...] | None:
    if not words:
        return None
    name, rest = re.split(r"[\\/]", words[0])[-1].lower().removesuffix(".exe"), words[1:]
    if name == PROGRAM:
        return rest if not re.search(r"[\\/]", words[0]) or _is_our_script(words[0]) else None
    if _PYTHON.fullmatch(name):
        while rest and _SWITCHES.fullmatch(rest[0]):
            rest = rest[1:]
        return rest[2:] if rest[:2] == ("-m", "venice_mcp") else None
    if name == "uv":
        rest, given = _past_options(rest)
        if rest[:1] == ("run",):
            rest, more = _past_options(rest[1:])
            # Whose program it is decide the project and what was added to it.
            sources = [source for sources in (given | more).values() for source in sources]
            return _after_program(rest) if not sources or any(map(_is_ours, sources)) else None
        name, rest = ("uvx", rest[2:]) if rest[:2] == ("tool", "run") else ("", ())
    if name != "uvx":
        return None
    rest, given = _past_options(rest)
    sources = given.get("--from", [])
    if not rest or not all(map(_is_ours, sources)):
        return None
    # Without --from the word is what to install, and the program is called like it.
    known = rest[0] == PROGRAM if sources else re.match(_NAMED, rest[0]) and _is_ours(rest[0])
    return rest[1:] if known else None


def _past_options(words: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """What follows the options of uv, and those that name a package or a folder; nothing if one is not known."""
    given: dict[str, list[str]] = {}
    while words and words[0].startswith("-"):
        name, joined, value = words[0].partition("=")
        if name in _WITH_VALUE:
            value, words = (value, words[1:]) if joined else (" ".join(words[1:2]), words[2:])
            if name in _SOURCES:
                given.setdefault(name, []).append(value)
        elif words[0] in _WITHOUT:
            words = words[1:]
        else:
            return (), {}
    return words, given


def _is_ours(source: str) -> bool:
    """Whether what uv is to install, or the folder it is to work in, is this project."""
    if _RELEASE.fullmatch(source):
        return True
    at = _AT.fullmatch(source)
    place = at["place"] if at else source
    if _REPOSITORY.fullmatch(place):
        return True
    try:
        origin = metadata.distribution(PROGRAM).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        origin = None
    if origin and place and place in (_source(origin, ()), _source(origin, ("any",)).partition(" @ ")[2]):
        return True  # a copy or an archive, but the one that this was installed from
    return _is_our_folder(url2pathname(urlsplit(place).path) if place.startswith("file:") else place)  # pyright: ignore[reportDeprecated]


def _is_our_folder(folder: str) -> bool:
    path = os.path.join(folder, "pyproject.toml")
    if not os.path.isabs(folder) or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            project = tomllib.load(file).get("project")
    except (OSError, ValueError):
        return False
    return isinstance(project, dict) and cast("dict[str, Any]", project).get("name") == PROGRAM


def _is_our_script(path: str) -> bool:
    if not os.path.isabs(path) or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_SCRIPT + 1)
    except OSError:
        return False
    starts = content.startswith(b"MZ" if path.lower().endswith(".exe") else b"#!")
    return starts and len(content) <= _LARGEST_SCRIPT and _SCRIPT in content


def _understood(words: tuple[str, ...]) -> bool:
    """Whether our own command line would serve with these arguments, as far as their names go."""
    known, rest = SERVING, iter(words)
    for word in rest:
        if word == "serve" and known is SERVING:
            known = OF_SERVE
            continue
        name, joined, _ = word.partition("=")
        if name not in known or (joined and not known[name]):
            return False
        if known[name] and not joined and next(rest, "-").startswith("-"):
            return False
    return True


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
