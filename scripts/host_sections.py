"""README's section for each host, from the table that `venice-mcp install` works with; `scripts/docs.py` writes it."""

import re
import shlex
from pathlib import Path

from venice_mcp import HOMEPAGE
from venice_mcp.installing.entries import Choice, to_paste, wanted
from venice_mcp.installing.hosts import HOSTS, Host
from venice_mcp.installing.launching import PROGRAM, Launch
from venice_mcp.installing.machine import Machine

WIDTH = 114
_CODE = re.compile(r"(VENICE_\w+|--key-file|/mcp\b|env_vars = \[[^\]]*\]|\[mcp_servers\.venice\])")
_LIST = re.compile(r"\[[^\[\]{}]+\]")
_WORD = re.compile(r"(?:`[^`]*`|[^` ])+")  # code is not broken
KEY_FILE = Path("/home/you/.config/venice/admin.key")
UVX = Launch("uvx", ("--from", f"git+{HOMEPAGE}", PROGRAM), "")


def sections() -> str:
    pasted: dict[str, str] = {}
    return "\n".join(_section(host, pasted) for host in HOSTS)


def _section(host: Host, pasted: dict[str, str]) -> str:
    entry = wanted(host, UVX, Choice(key_file=None if host.reference else KEY_FILE), None)
    how = f"edits {_file(host)}" if host.edited == "always" else f"prints what belongs into {_file(host)}"
    if host.adds:
        how = f"runs `{host.program} {' '.join(host.adds[:2])}`, or, where `{host.program}` is not on PATH, {how}"
    said = _CODE.sub(r"`\1`", f"{host.key} {host.after}")
    lines = [f"### {host.title}", "", *_wrapped(f"`venice-mcp install {host.name}` {how}. {said}"), ""]
    if host.adds:
        return "\n".join(
            [*lines, "```sh", *_wrapped(shlex.join([host.program, *host.adding(entry)]), " \\", "  "), "```", ""]
        )
    text = _LIST.sub(lambda found: f"[{' '.join(found[0][1:-1].split())}]", to_paste(host, entry))
    if same := pasted.get(text):
        return "\n".join([*lines, f"By hand: the JSON that {same} has.", ""])
    pasted[text] = host.title
    return "\n".join([*lines, "```json", text, "```", ""])


def _file(host: Host) -> str:
    """Where it is on each system."""
    linux, mac, windows = (
        str(host.files(Machine(platform, home, {}))[0])
        for platform, home in (("linux", "~"), ("darwin", "~"), ("win32", "%USERPROFILE%"))
    )
    if linux == mac:
        return f"`{linux}`"
    return f"`{mac}` on macOS, `{windows}` on Windows, `{linux}` on Linux"


def _wrapped(text: str, end: str = "", lead: str = "") -> list[str]:
    """Lines of at most about WIDTH characters, parted at spaces."""
    lines = [""]
    for word in _WORD.findall(text):
        if lines[-1] and len(lines[-1]) + len(word) > WIDTH:
            lines[-1] += end
            lines.append(lead)
        lines[-1] += word if lines[-1] in ("", lead) else f" {word}"
    return lines
