"""The transcript: labelled lines of at most 100 columns, in which colour never says anything on its own."""

import json
import os
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

_WIDEST = 100
_NARROWEST = 76  # a secret still fits on one line
_LABEL = 9
_COLOURS = {"agent": "36", "person": "33", "result": "2", "refused": "35", "note": "2", "ok": "32", "FAILED": "1;31"}


class Screen:
    """Writes the transcript to `out`."""

    def __init__(self, out: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self._out = out
        self._coloured = out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self._width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))

    def line(self, text: str = "") -> None:
        self._out.write(text + "\n")
        self._out.flush()

    def paragraph(self, text: str) -> None:
        self.line(textwrap.fill(text, self._width, break_on_hyphens=False))

    def act(self, title: str) -> None:
        self.line()
        self.line(self._in_colour("1", f"== {title}"))

    def step(self, number: int, title: str) -> None:
        self.line()
        self.line(self._in_colour("1", f"{number:2}. {title}"))

    def call(self, tool: str, arguments: Mapping[str, Any]) -> None:
        given = ", ".join(f"{name}={json.dumps(value)}" for name, value in arguments.items())
        self.say("agent", f"{tool}({given})")

    def say(self, label: str, text: str) -> None:
        """Lines under a label; long ones are wrapped."""
        for paragraph in text.splitlines():
            for row in textwrap.wrap(paragraph, self._width - _LABEL - 2, break_on_hyphens=False) or [""]:
                self._row(label, row)
                label = ""

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], left_out: int = 0) -> None:
        """Rows in aligned columns, cut at the edge; `left_out` tells how many more came back."""
        cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
        widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
        for row in cells:
            text = "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
            room = self._width - _LABEL - 2
            self._row("", text if len(text) <= room else text[: room - 3] + "...")
        if left_out:
            self._row("", f"({left_out} more, not shown here)")

    def dialog(self, message: str, fields: Sequence[str]) -> None:
        """The question as a person's client would draw it."""
        inner = self._width - _LABEL - 6
        rows = [row for part in message.splitlines() for row in textwrap.wrap(part, inner, break_on_hyphens=False)]
        edge = "+" + "-" * (inner + 2) + "+"
        title = "+-- a person is asked " + edge[22:]
        for row in [title, *(f"| {row:<{inner}} |" for row in [*rows, "", *fields]), edge]:
            self._row("", row)

    def prompt(self, text: str) -> None:
        self._out.write(" " * (_LABEL + 2) + text)
        self._out.flush()

    def _row(self, label: str, text: str) -> None:
        shown = self._in_colour(_COLOURS.get(label, ""), label) if label else ""
        self.line(("  " + shown + " " * (_LABEL - len(label)) + text).rstrip())

    def _in_colour(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured and code else text


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return str(value)
