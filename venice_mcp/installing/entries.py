"""The entry for a host: what is there already, whether it is ours, and what it is to be."""

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from venice_mcp.installing import jsontext
from venice_mcp.installing.configfile import ConfigFile, Untouchable, read
from venice_mcp.installing.hosts import ADMIN_KEY, KEY_FILE, NAME, SANDBOX, Entry, Host, variables_of, words_of
from venice_mcp.installing.launching import Launch, own_arguments
from venice_mcp.installing.machine import Machine
from venice_mcp.secrets import Redactor
from venice_mcp.text import plain

_SHOWN = 300

_MEMBERS = {"type", "command", "args", "env", "environment"}
"""What a host's own command line can say about an entry."""
_KEYS = re.compile(r"VENICE_\w+_(?:KEY|PASSWORD)")
_NO_SECRETS = re.compile(r"VENICE_MCP_\w+|VENICE_\w+_FILE")
_TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True)
class Found:
    """What a host's file holds.

    Attributes:
        path: the file as the host names it.
        config: what was read; None if it cannot be.
        content: its content; None if there is none or it cannot be read.
        entry: the member `venice`, if there is one.
        trouble: why it cannot be told what is in the file, if so. Then nobody changes it.
    """

    path: Path
    config: ConfigFile | None = None
    content: dict[str, Any] | None = None
    entry: object = None
    trouble: str = ""

    @property
    def ours(self) -> Entry | None:
        """The entry, if it starts this server."""
        if not isinstance(self.entry, dict):
            return None
        entry = cast("Entry", self.entry)
        remote = {"url", "httpUrl", "serverUrl"} & entry.keys() or entry.get("type", "stdio") not in ("stdio", "local")
        return None if remote or own_arguments(words_of(entry)) is None else entry


@dataclass(frozen=True)
class Choice:
    """How the server gets its key, as far as whoever installs decides it."""

    sandbox: bool = False
    key_file: Path | None = None


def look(host: Host, machine: Machine) -> Found:
    """What is there: the first file that has the entry, else the first that exists, else the place for one."""
    found = [_look(host, Path(path)) for path in host.files(machine)]
    existing = [one for one in found if one.config is None or one.config.data is not None]
    with_entry = [one for one in existing if one.entry is not None]
    return next(iter([*with_entry, *existing, *found]))


def _look(host: Host, path: Path) -> Found:
    if not path.is_absolute():
        return Found(path, trouble="a variable of the environment names its folder by a relative path")
    try:
        config = read(path)
        text = config.text
    except Untouchable as error:
        return Found(path, trouble=str(error))
    if not text.strip():
        return Found(path, config)
    try:
        content: dict[str, Any] = tomllib.loads(text) if host.toml else jsontext.load(text)
    except jsontext.NotPlainJson as error:
        return Found(path, config, trouble=str(error))
    except (ValueError, RecursionError):
        return Found(path, config, trouble="it is not TOML")
    here: Any = content
    for name in host.within:
        if not isinstance(here, dict):
            break
        here = cast("dict[str, Any]", here).get(name, {})
    if not isinstance(here, dict):
        return Found(path, config, content, trouble=f'"{".".join(host.within)}" in it is not an object')
    return Found(path, config, content, cast("dict[str, Any]", here).get(NAME))


def wanted(host: Host, launch: Launch, choice: Choice, old: Entry | None) -> Entry:
    """The entry as it is to be. What a person added to an entry of ours stays, but for what decides about the key."""
    entry = (old or {}) | host.entry(launch.command, (*launch.args, *arguments_of(old)))
    given = variables_of(entry)
    env = {n: value for n, value in given.items() if n != SANDBOX and (n, value) != (ADMIN_KEY, host.reference)}
    if choice.sandbox:
        env[SANDBOX] = "1"
    elif choice.key_file:
        env.pop(ADMIN_KEY, None)  # it would win over the file
        env[KEY_FILE] = str(choice.key_file)
    elif host.reference and not {ADMIN_KEY, KEY_FILE} & env.keys():
        env[ADMIN_KEY] = host.reference
    if env or given:
        entry[host.variables] = env
    return entry


def arguments_of(entry: Entry | None) -> tuple[str, ...]:
    """What the entry says to the server itself."""
    return own_arguments(words_of(entry or {})) or ()


def same(one: Entry | None, other: Entry | None) -> bool:
    """Whether two entries mean the same; some hosts leave out what is empty."""
    first, second = ({k: v for k, v in (entry or {}).items() if v not in ([], {})} for entry in (one, other))
    return first == second


def on_sandbox(entry: Entry) -> bool:
    given = str(variables_of(entry).get(SANDBOX, "")).strip().lower()
    return given in _TRUE or "--sandbox" in arguments_of(entry)


def keys_in_plain(host: Host, entry: Entry | None) -> list[str]:
    """The variables of an entry that hold a key or password itself: others wrote those."""
    given = variables_of(entry or {})
    return [name for name in _held(host, entry or {}) if _KEYS.fullmatch(name) and str(given[name]).strip()]


def unsayable(host: Host, entry: Entry) -> str:
    """Why an entry is not brought in by a command line, which others see and which says only so much; "" if it may."""
    if lost := sorted(entry.keys() - _MEMBERS):
        return f"its entry has settings of yours that {host.program} would drop ({_listed(lost)})"
    if held := _held(host, entry):
        return f"its entry has values that would be seen on a command line ({_listed(held)})"
    return ""


def _held(host: Host, entry: Entry) -> list[str]:
    """The variables with values that may be secrets: no references, and not among those of ours that never are."""
    refers = re.compile(host.references)
    return [
        name
        for name, value in variables_of(entry).items()
        if not (
            isinstance(value, str)
            and (refers.fullmatch(value) or (_NO_SECRETS.fullmatch(name) and Redactor().redact(value) == value))
        )
    ]


def _listed(names: list[str]) -> str:
    return plain(", ".join(names), _SHOWN)


def needs_input(host: Host, entry: Entry) -> bool:
    return bool(host.input_id) and host.reference in variables_of(entry).values()


def has_input(host: Host, content: dict[str, Any] | None) -> bool:
    items = (cast("dict[str, Any]", item) for item in _inputs(content) if isinstance(item, dict))
    return any(item.get("id") == host.input_id for item in items)


def _inputs(content: dict[str, Any] | None) -> list[Any]:
    inputs: Any = (content or {}).get("inputs")
    return cast("list[Any]", inputs) if isinstance(inputs, list) else []


def with_entry(host: Host, found: Found, entry: Entry) -> str:
    """The file's text with the entry in it.

    Raises:
        jsontext.NotPlainJson: something in it is in the way.
    """
    text = found.config.text if found.config and found.content is not None else "{}\n"
    if needs_input(host, entry) and not has_input(host, found.content):
        text = jsontext.append(text, "inputs", host.question())
    return jsontext.put(text, (*host.within, NAME), entry)


def without_entry(host: Host, found: Found) -> str:
    """The file's text without the entry, and without our question if only the entry needed it."""
    text = jsontext.drop(found.config.text if found.config else "", (*host.within, NAME))
    if host.input_id and host.question() in _inputs(found.content) and host.reference not in text:
        text = jsontext.drop(text, ("inputs", _inputs(found.content).index(host.question())))
    return text


def to_paste(host: Host, entry: Entry) -> str:
    """What is ours of the entry, as text for the host's file: no value that may be a secret of somebody."""
    shown = {name: entry[name] for name in host.entry("", ())}
    held = _held(host, entry)
    if env := {name: value for name, value in variables_of(entry).items() if name not in held}:
        shown[host.variables] = env
    if host.toml:
        tables = ((shown, (*host.within, NAME)), (env, (*host.within, NAME, host.variables)))
        return "\n\n".join(_toml(members, names) for members, names in tables if members)
    content: object = {NAME: shown}
    for name in reversed(host.within):
        content = {name: content}
    if needs_input(host, entry):
        content = {"inputs": [host.question()], **cast("dict[str, Any]", content)}
    return json.dumps(content, indent=2, ensure_ascii=False)


def stays(host: Host, entry: Entry) -> str:
    """The names of what `to_paste` leaves out; "" if nothing."""
    more = entry.keys() - host.entry("", ()).keys() - {host.variables}
    return _listed(sorted({*more, *_held(host, entry)}))


def _toml(members: dict[str, Any], names: tuple[str, ...]) -> str:
    """One table. Strings and lists of them are spelled as in JSON, but for one control character."""
    lines = [f"[{'.'.join(names)}]"]
    for name, value in members.items():
        if not isinstance(value, dict):
            key = name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name)
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f"))
    return "\n".join(lines)
