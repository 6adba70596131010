"""One look for every figure, and the one place that writes them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogFormatter, MaxNLocator, NullLocator

from fedtiny.escaping.plot import PLAIN_TEXT, broken, legend_text

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, told apart with any kind of colour vision."""

REFERENCE = "#767676"
"""Colour of what a run is compared with."""

DPI = 150

_painted = ContextVar("painted", default=True)

_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


_OF_THE_PROCESS = ("backend", "backend_fallback", "interactive")


@dataclass(frozen=True, eq=False)
class Chart:
    """A figure and the numbers in it.

    Attributes:
        name: of its files, without ending.
        caption: one or two sentences under the figure.
        figure: drawn.
        data: every number drawn, one row each.
    """

    name: str
    caption: str
    figure: Figure
    data: pd.DataFrame

    def save(self, folder: Path) -> Path:
        """Write ``{name}.png`` and ``{name}.csv``; the picture's path.

        In a rehearsal, see :func:`unpainted`, texts are laid out and no picture is written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.png"
        # Without the version of matplotlib in it, the same numbers give the same bytes.
        if _painted.get():
            self.figure.savefig(path, dpi=DPI, metadata={"Software": None})
        else:
            _draw_texts(self.figure)
        self.data.to_csv(folder / f"{self.name}.csv", index=False)
        return path


def _draw_texts(figure: Figure) -> None:
    """Lay out what a user wrote: neither the numbers on the axes nor where everything goes."""
    figure.set_layout_engine("none")
    for axis in (one for axes in figure.axes for one in (axes.xaxis, axes.yaxis)):
        axis.set_minor_locator(NullLocator())
        if not isinstance(axis.get_major_locator(), FixedLocator):  # which names classes, layers
            axis.set_major_locator(NullLocator())
    figure.draw_without_rendering()


@contextmanager
def unpainted() -> Iterator[None]:
    """Charts saved within it are only laid out: what cannot be drawn fails all the same."""
    before = _painted.set(False)
    try:
        yield
    finally:
        _painted.reset(before)


@contextmanager
def style() -> Iterator[None]:
    """Draw and save within it; the process's own matplotlib settings stay as they are.

    Neither they nor a ``matplotlibrc`` or style of the user's have a say in the figures.
    """
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore")  # a glyph that the font lacks is drawn as a box
        ours = {**matplotlib.rcParamsDefault, **_SETTINGS, **PLAIN_TEXT}
        matplotlib.rcParams.update({k: v for k, v in ours.items() if k not in _OF_THE_PROCESS})
        yield


def panels(
    rows: int, columns: int, width: float, height: float, *, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of ``width`` × ``height`` inches and its axes, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    return figure, list(grid.flat)


def whole_rounds(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def logarithmic(
    axes: Axes, which: Literal["x", "y"], base: float = 10, marks: str = "{x:g}"
) -> None:
    """A logarithmic scale whose numbers are plain text: Matplotlib's own are mathematics."""
    if which == "x":
        axes.set_xscale("log", base=base)
    else:
        axes.set_yscale("log", base=base)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(marks)
    axis.set_minor_formatter(LogFormatter(base))


def colors(count: int) -> list[str]:
    """``count`` colours; more than the palette holds come from viridis, in order."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    scale = matplotlib.colormaps["viridis"]
    steps = [0.92 * k / (count - 1) for k in range(count)]
    return [matplotlib.colors.to_hex(scale(step)) for step in steps]


def legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all ``axes``, under the figure; equal labels appear once.

    It has as many columns as fit: an entry takes about half an inch beside its letters.
    """
    entries: dict[str, Artist] = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            entries.setdefault(legend_text(str(label)), handle)
    if not entries:
        return
    letters = max(len(line) for text in entries for line in broken(text).split("\n"))
    columns = min(len(entries), max(1, int(figure.get_figwidth() / (0.6 + 0.09 * letters))))
    numbers = list(map(str, range(len(entries))))
    legend = figure.legend(
        list(entries.values()), numbers, loc="outside lower center", ncols=columns
    )
    # Older versions of Matplotlib list no text that begins with an underscore: set it afterwards.
    for shown, text in zip(legend.get_texts(), entries, strict=True):
        shown.set_text(broken(text))
