"""Charts: PNG files that anything can show, drawn without a word on stdout, whatever stands in a name."""

import io
import json
import os
import struct
import sys
import warnings
import zlib
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from PIL import Image

from tests.e2e.bench import done, text_of
from tests.e2e.processes import ends_within, environment, handshake, line_of, send, spawned
from venice_mcp.charts import MISSING, bar_chart

DAYS = [f"11-{day:02d}" for day in range(12, 19)]
USD, DIEM = [1.5, 2, 0, 4, 3, 2, 1.0], [10.0, 20, 30, 0, 50, 20, 10]
ORDER_USD, ORDER_DIEM = (0x2F, 0x6D, 0xB3), (0xD9, 0x82, 0x2B)


def chunks(png: bytes) -> dict[str, bytes]:
    """The parts of a PNG, each with the right checksum."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    found: dict[str, bytes] = {}
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        name, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length]) == (zlib.crc32(name + body),)
        found[name.decode()] = found.get(name.decode(), b"") + body
        at += 12 + length
    return found


def rows_with(png: bytes, colour: tuple[int, int, int]) -> set[int]:
    """The rows of pixels in which a colour occurs."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    raw, length, pixel = image.tobytes(), image.width * 3, bytes(colour)
    found: set[int] = set()
    at = raw.find(pixel)
    while at >= 0:
        if at % 3 == 0:
            found.add(at // length)
            at = (at // length + 1) * length - 1  # that row is known
        at = raw.find(pixel, at + 1)
    return found


def is_small_and_of_the_promised_size(png: bytes) -> bool:
    parts = chunks(png)
    # Nobody need know which version of what drew it.
    return struct.unpack(">II", parts["IHDR"][:8]) == (900, 450) and len(png) < 40_000 and "tEXt" not in parts


def test_series_with_units_of_their_own_get_panels_of_their_own() -> None:
    png = bar_chart("Spend a day", DAYS, {"USD": USD, "DIEM": DIEM}, y_label=None)
    assert is_small_and_of_the_promised_size(png)
    upper, lower = rows_with(png, ORDER_USD), rows_with(png, ORDER_DIEM)
    assert upper
    assert lower
    assert max(upper) < min(lower)


def test_series_with_a_unit_in_common_are_stacked_in_one_panel() -> None:
    png = bar_chart("t", DAYS, {"RPM": USD, "TPM": DIEM}, y_label="hits")
    assert is_small_and_of_the_promised_size(png)
    assert rows_with(png, ORDER_USD) & rows_with(png, ORDER_DIEM)


def test_the_highest_bar_reaches_highest() -> None:
    low = rows_with(bar_chart("t", ["a", "b"], {"USD": [1, 10]}, y_label=None), ORDER_USD)
    # Both bars stand on the same ground, and the rows of the tallest are many.
    assert max(low) - min(low) > 300


HOSTILE = [
    "$\\frac{a}{$",
    "$x^2$ and $",
    "_hidden",
    "\u5bc6\u94a5 \U0001f511",
    "a\u202eb\x1b[31m\n\x00c",
    "\\input{/etc/passwd}",
    "\u0915\u094d\u0937\u0e33\ufdfa",
    "",
    "W" * 500,
]
WIDE = "W" * 500


@pytest.mark.parametrize(
    ("labels", "title", "names", "y_label"),
    [(HOSTILE, "".join(HOSTILE), HOSTILE, WIDE), ([WIDE] * 12, WIDE, ["$", WIDE], None)],
)
def test_any_names_are_drawn_as_they_stand_without_a_warning(
    labels: list[str], title: str, names: list[str], y_label: str | None
) -> None:
    """Python would show one on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = bar_chart(title, labels, {name: [1.0] * len(labels) for name in names}, y_label=y_label)
    assert chunks(png)["IHDR"]


@pytest.mark.parametrize(("labels", "values"), [([], []), ([str(day) for day in range(200)], [0.0, 1e12] * 100)])
def test_any_number_of_bars_is_drawn(labels: list[str], values: list[float]) -> None:
    assert chunks(bar_chart("t", labels, {"USD": values}, y_label=None))["IHDR"]


# --- in a process of its own -------------------------------------------------------------------------

WATCHED = """
import runpy, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("matplotlib.figure", "matplotlib.pyplot", "tkinter"):
            print("imported", name, file=sys.stderr)
sys.meta_path.insert(0, Watch())
sys.argv[0] = "venice-mcp"
runpy.run_module("venice_mcp", run_name="__main__")
"""


def test_a_stdio_server_with_a_chart_keeps_stdout_to_the_protocol_and_heeds_no_settings_that_lie_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Would have LaTeX run, and fail where there is none.
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.family: no such font\nbackend: TkAgg\n")
    monkeypatch.chdir(tmp_path)
    # A home without a font cache, and none can be made: all that matplotlib could want to say about it.
    env = environment(tmp_path, MPLCONFIGDIR=os.devnull)
    state = ["--sandbox", "--state-dir", str(tmp_path / "state"), "--log-level", "debug"]
    with spawned([sys.executable, "-P", "-c", WATCHED, *state], env, tmp_path / "log") as process:
        handshake(process)
        call = {"name": "venice_forecast_spend", "arguments": {"chart": True}}
        send(process, {"id": 2, "method": "tools/call", "params": call})
        while (message := json.loads(line_of(process))).get("id") != 2:
            assert message["jsonrpc"] == "2.0"
        ends_within(process, 10, None)
        assert process.stdout is not None
        assert process.stdout.read() == b""
    log = (tmp_path / "log").read_text()
    assert [part["type"] for part in message["result"]["content"]] == ["text", "image"], log[-2000:]
    # And no part that would open windows.
    assert [line for line in log.splitlines() if line.startswith("imported ")] == ["imported matplotlib.figure"]


WITHOUT = """
import runpy, sys
class Without:
    def __init__(self, finder):
        self._finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] == "matplotlib" else self._finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self._finder, name)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
sys.argv[0] = "venice-mcp"
runpy.run_module("venice_mcp", run_name="__main__")
"""


@pytest.mark.anyio
async def test_without_the_extra_the_answer_comes_without_the_picture_and_says_how_to_get_it(tmp_path: Path) -> None:
    command = ["-P", "-c", WITHOUT, "--sandbox", "--state-dir", str(tmp_path / "state")]
    server = StdioServerParameters(command=sys.executable, args=command, env=environment(tmp_path))
    with (tmp_path / "log").open("w") as log:
        async with Client(stdio_client(server, errlog=log), cache=None) as client:
            plain = await client.call_tool("venice_forecast_spend", {})
            found = await client.call_tool("venice_forecast_spend", {"chart": True})
    assert [part.type for part in found.content] == ["text"]
    assert MISSING in text_of(found)
    assert "venice-mcp[chart]" in MISSING
    assert done(found)["notes"] == [*done(plain)["notes"], MISSING]
    assert done(found)["daily"] == done(plain)["daily"]
