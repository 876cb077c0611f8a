"""Bar charts as PNG images, drawn by matplotlib where it is installed (the `chart` extra)."""

import base64
import io
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import anyio
import anyio.to_thread
from mcp_types import ImageContent

from venice_mcp.client.hurry import time_left
from venice_mcp.text import plain

MISSING = "No chart: matplotlib is missing. Install the server as venice-mcp[chart] (its README says how) and restart."
FAILED = "No chart: it could not be drawn; see the log."
SLOW = "No chart: drawing it took too long; call again."

_PATIENCE_S = 15.0
_WIDTH_IN, _HEIGHT_IN, _DPI = 9.0, 4.5, 100
_COLOURS = ("#2f6db3", "#d9822b", "#3a9a5b", "#b3446c", "#7a5ca8", "#8a8a8a")
_MOST_LABELS = 12
_TITLE, _LABEL, _NAME = 60, 16, 28
"""Characters of a title, a label and a name: there has to be room for the bars as well."""

_drawing = threading.Lock()  # matplotlib is not made for threads
_log = logging.getLogger(__name__)


def bar_chart(
    title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]], *, y_label: str | None
) -> bytes:
    """A PNG of 900 x 450 pixels, one bar for each label.

    Args:
        labels: what stands below the bars; of many only some are shown.
        series: names and finite values, as many as labels.
        y_label: the unit that all series share, which are then stacked in one panel. None: each has a unit of its
            own, which its name is, and a panel of its own.

    Raises:
        ImportError: matplotlib is not installed.
    """
    with _drawing:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        # Whatever a matplotlibrc here or in the home folder says, such as text.usetex, which runs a program.
        matplotlib.rcdefaults()
        drawable = _drawable()
        figure: Any = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), dpi=_DPI, layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)
        figure.suptitle(drawable(title, _TITLE), fontsize=12, parse_math=False)
        panels = [dict(series)] if y_label is not None else [{name: values} for name, values in series.items()]
        places = range(len(labels))
        step = -(-len(labels) // _MOST_LABELS) or 1
        for number, panel in enumerate(panels):
            axes = figure.add_subplot(len(panels), 1, number + 1)
            below = [0.0] * len(labels)
            for index, (name, values) in enumerate(panel.items()):
                colour = _COLOURS[(number + index) % len(_COLOURS)]
                axes.bar(places, values, bottom=below, color=colour, width=0.8, label=drawable(name, _NAME).lstrip("_"))
                below = [low + value for low, value in zip(below, values, strict=True)]
            axes.set_ylabel(drawable(next(iter(panel)) if y_label is None else y_label, _NAME), parse_math=False)
            axes.set_xticks(places[::step], [drawable(label, _LABEL) for label in labels[::step]], parse_math=False)
            axes.margins(x=0.01)
            axes.set_ylim(bottom=0)
            axes.spines[["top", "right"]].set_visible(False)
            if y_label is not None and len(panel) > 1:
                legend = axes.legend(fontsize=8, frameon=False)
                legend.set_in_layout(False)  # many names must not squeeze out the bars
                for text in legend.get_texts():
                    text.set_parse_math(False)
        figure.align_ylabels()
        image = io.BytesIO()
        canvas.print_png(image, metadata={"Software": None}, pil_kwargs={"optimize": True})
        return image.getvalue()


def _drawable() -> Callable[[str, int], str]:
    """Text without what would act on a reader or is not in the font, of which matplotlib warns on stderr."""
    from matplotlib import font_manager

    fonts: Any = font_manager
    known = fonts.get_font(fonts.findfont("DejaVu Sans")).get_charmap()  # it comes with matplotlib
    return lambda text, most: "".join(char if ord(char) in known else "?" for char in plain(text, most))


async def chart_part(
    title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]], *, y_label: str | None
) -> ImageContent | str:
    """The chart as a part of a result, or a sentence that says why there is none. See `bar_chart`."""
    if find_spec("matplotlib") is None:
        return MISSING
    image: bytes | None = None
    with anyio.move_on_after(time_left(_PATIENCE_S)):
        try:
            image = await anyio.to_thread.run_sync(
                lambda: bar_chart(title, labels, series, y_label=y_label), abandon_on_cancel=True
            )
        except Exception:  # noqa: BLE001 - whatever fails in drawing, the numbers are there all the same
            _log.warning("A chart could not be drawn", exc_info=True)
            return FAILED
    if image is None:
        return SLOW
    return ImageContent(type="image", data=base64.b64encode(image).decode(), mime_type="image/png")
