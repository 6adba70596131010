"""Where the remaining weights sit, round by round."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from fedtiny.escaping.plot import broken, legend_label
from fedtiny.report.metrics import Run
from fedtiny.report.plots.style import Chart, colors, legend_below, panels, whole_rounds


def layer_densities(runs: Mapping[str, Run]) -> Chart:
    """One column per run: densities above, weights exchanged by each adjustment below."""
    layers = list(dict.fromkeys(x for run in runs.values() for x in run.densities["layer"]))
    palette = dict(zip(layers, colors(len(layers)), strict=True))
    width = max(7.0, 1.2 + 3.2 * len(runs))
    figure, axes = panels(2, len(runs), width, 4.6)
    for k, (label, run) in enumerate(runs.items()):
        above, below = axes[k], axes[k + len(runs)]
        above.set_title(broken(label))
        _densities(above, run, palette)
        _adjustments(below, run, palette)
        below.sharex(above)
        whole_rounds(above)
        below.set_xlabel("round")
    axes[0].set_ylabel("density (%)")
    axes[len(runs)].set_ylabel("weights exchanged")
    legend_below(figure, axes)
    caption = (
        "Above: density of each prunable layer; an adjustment grows as many weights as it prunes, "
        "so only the selection before round 1 sets it. Below: how many weights each adjustment "
        "pruned and grew elsewhere in the layer."
    )
    return Chart("density", caption, figure, _data(runs))


def _densities(axes: Axes, run: Run, palette: Mapping[str, str]) -> None:
    for layer, table in run.densities.groupby("layer", sort=False):
        axes.plot(
            table["round"],
            100 * table["density"],
            color=palette[str(layer)],
            label=legend_label(str(layer)),
        )
    axes.plot(
        run.rounds["round"], 100 * run.rounds["density"], "k--", linewidth=1.2, label="all prunable"
    )
    axes.set_ylim(bottom=0)


def _adjustments(axes: Axes, run: Run, palette: Mapping[str, str]) -> None:
    base: dict[int, int] = {}
    for row in run.adjustments.itertuples():
        start = base.get(row.round, 0)
        axes.bar(row.round, row.exchanged, bottom=start, color=palette[row.layer], width=0.8)
        base[row.round] = start + row.exchanged
    if run.adjustments.empty:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no adjustment", transform=axes.transAxes, ha="center", va="center")


def _data(runs: Mapping[str, Run]) -> pd.DataFrame:
    keys = ["round", "layer"]
    tables = [
        run.densities.merge(run.adjustments, "left", keys).assign(run=label)
        for label, run in runs.items()
    ]
    return pd.concat(tables, ignore_index=True)
