"""Speed-up and memory against density."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from fedtiny.report.plots.style import REFERENCE, Chart, colors, legend_below, logarithmic, panels

Row = dict[str, Any]
"""One benchmark as :meth:`fedtiny.bench.train.TrainBenchmark.json` gives it, plus ``network``."""


def density_chart(rows: Sequence[Row]) -> Chart:
    """Two panels over density, one line a network; the CSV holds every figure of every row."""
    figure, (speed, memory) = panels(1, 2, 7.6, 3.4)
    networks = list(dict.fromkeys(row["network"] for row in rows))
    for network, color in zip(networks, colors(len(networks)), strict=True):
        own = [row for row in rows if row["network"] == network]
        density = [100 * row["density"] for row in own]
        style: dict[str, Any] = {"color": color, "marker": "o", "markersize": 4}
        speed.plot(density, [row["speedup"] for row in own], label=network, **style)
        memory.plot(density, [row["memory_ratio"] for row in own], label=network, **style)
        narrow: dict[str, Any] = {"label": f"{network}, activations of 16 bits", "linestyle": ":"}
        faster = [row["ms"]["dense"] / row["ms"]["sparse_16_bits"] for row in own]
        speed.plot(density, faster, **narrow, **style)
        peaks = [row["peak_bytes"] for row in own]
        less = [peak["sparse_16_bits"] / peak["dense"] for peak in peaks]
        memory.plot(density, less, **narrow, **style)
    _axes(speed, "step time, PyTorch dense / sparse")
    logarithmic(speed, "y", base=2, marks="{x:g}×")
    _axes(memory, "peak bytes, sparse / PyTorch dense")
    memory.set_ylim(bottom=0)
    legend_below(figure, [speed, memory])
    caption = "Training steps of the sparse engine against PyTorch dense, alternated in one run."
    return Chart("bench_train", caption, figure, pd.json_normalize(list(rows), sep="."))


def _axes(axes: Axes, title: str) -> None:
    axes.set_title(title)
    logarithmic(axes, "x")
    axes.set_xlabel("density (%)")
    axes.axhline(1, color=REFERENCE, linestyle="--", linewidth=1)
    axes.set_xticks([1, 2, 5, 10, 30, 50], ["1", "2", "5", "10", "30", "50"])
    axes.minorticks_off()
