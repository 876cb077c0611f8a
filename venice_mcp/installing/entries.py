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
from venice_mcp.installing.launching import PROGRAM, Launch
from venice_mcp.installing.machine import Machine

_SENT_IN_PLAIN = re.compile(r"\$|\{")  # a reference, not a key


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
        names = {re.split(r"[\\/]", word)[-1].removesuffix(".exe") for word in words_of(entry)}
        return entry if names & {PROGRAM, "venice_mcp"} else None


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
    try:
        config = read(path)
        text = config.text
    except Untouchable as error:
        return Found(path, trouble=str(error))
    if not text.strip():
        return Found(path, config)
    try:
        content: dict[str, Any] = tomllib.loads(text) if path.suffix == ".toml" else jsontext.load(text)
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
    entry = (old or {}) | host.entry(launch.command, launch.args)
    given = variables_of(entry)
    ours = {SANDBOX: {"1"}, ADMIN_KEY: {host.reference}}
    env = {name: value for name, value in given.items() if value not in ours.get(name, set())}
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


def same(one: Entry | None, other: Entry) -> bool:
    """Whether two entries mean the same; some hosts leave out what is empty."""
    first, second = ({k: v for k, v in (entry or {}).items() if v not in ([], {})} for entry in (one, other))
    return first == second


def keys_in_plain(entry: Entry) -> list[str]:
    """The variables of an entry that hold a secret itself: others wrote those."""
    return [
        name
        for name, value in variables_of(entry).items()
        if name.startswith("VENICE_")
        and name.endswith(("_KEY", "_PASSWORD"))
        and value.strip()
        and not _SENT_IN_PLAIN.match(value)
    ]


def needs_input(host: Host, entry: Entry) -> bool:
    return bool(host.input_id) and host.reference in variables_of(entry).values()


def has_input(host: Host, content: dict[str, Any] | None) -> bool:
    return _input_at(host, content) is not None


def _input_at(host: Host, content: dict[str, Any] | None) -> int | None:
    inputs: Any = (content or {}).get("inputs")
    items = cast("list[Any]", inputs) if isinstance(inputs, list) else []
    ids = [cast("dict[str, Any]", item).get("id") if isinstance(item, dict) else None for item in items]
    return ids.index(host.input_id) if host.input_id in ids else None


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
    """The file's text without the entry, and without the question that only the entry needed."""
    text = jsontext.drop(found.config.text if found.config else "", (*host.within, NAME))
    at = _input_at(host, found.content)
    if host.input_id and at is not None and host.reference not in text:
        text = jsontext.drop(text, ("inputs", at))
    return text


def to_paste(host: Host, entry: Entry) -> str:
    """The entry as text for the host's file."""
    if host.name == "codex":
        lines = [f"[{'.'.join((*host.within, NAME))}]"]
        lines += [f"{name} = {_toml(value)}" for name, value in entry.items() if name != host.variables]
        if env := variables_of(entry):
            lines += ["", f"[{'.'.join((*host.within, NAME, host.variables))}]"]
            lines += [f"{name} = {_toml(value)}" for name, value in env.items()]
        return "\n".join(lines)
    content: object = {NAME: entry}
    for name in reversed(host.within):
        content = {name: content}
    if needs_input(host, entry):
        content = {"inputs": [host.question()], **cast("dict[str, Any]", content)}
    return json.dumps(content, indent=2, ensure_ascii=False)


def _toml(value: object) -> str:
    """Strings and lists of them are spelled as in JSON, but for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
