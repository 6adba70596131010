"""The study of unequal devices in pictures: how good each policy is, and what that took."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean

import pandas as pd
from matplotlib.axes import Axes

from fedtiny.escaping.plot import broken, legend_label
from fedtiny.report.fleet_study import FleetRow
from fedtiny.report.fleet_tables import by_method
from fedtiny.report.plots.style import Chart, colors, legend_below, panels, style

MEASURES = {
    "global_accuracy": "the global model",
    "mean_device_accuracy": "devices, each with its part",
    "worst_tier_accuracy": "the worst part",
}


def fleet_charts(rows: Sequence[FleetRow]) -> list[Chart]:
    """One figure per dataset."""
    with style():
        return [
            _chart(dataset, [row for row in rows if row.dataset == dataset])
            for dataset in sorted({row.dataset for row in rows})
        ]


def _chart(dataset: str, rows: Sequence[FleetRow]) -> Chart:
    figure, (left, right) = panels(1, 2, 10.0, 4.6)
    groups = by_method(rows)
    paints = dict(zip(MEASURES, colors(len(MEASURES)), strict=True))
    for offset, (name, label) in zip((0.24, 0.0, -0.24), MEASURES.items(), strict=True):
        for place, group in enumerate(groups.values()):
            values = [100 * getattr(row, name) for row in group]
            height = len(groups) - place + offset
            left.barh(height, fmean(values), 0.22, color=paints[name], label=legend_label(label))
            left.plot(values, [height] * len(values), "k.", ms=4)
    left.set_yticks(range(len(groups), 0, -1), [broken(name) for name in groups])
    left.set_xlabel("accuracy (%); points are seeds")
    left.set_title(broken(dataset))
    _against_bytes(right, groups)
    legend_below(figure, [left, right])
    caption = (
        f"{dataset}: accuracy by who trains which part; bars are means over seeds. Right: the "
        "global model against all that devices sent."
    )
    slug = re.sub(r"\W+", "_", dataset).lower()
    return Chart(f"{slug}_fleet", caption, figure, pd.DataFrame([asdict(row) for row in rows]))


def _against_bytes(axes: Axes, groups: dict[str, list[FleetRow]]) -> None:
    marks = "osD^vPX<>h"
    for place, (color, (name, group)) in enumerate(
        zip(colors(len(groups)), groups.items(), strict=True)
    ):
        axes.plot(
            [row.uplink_bytes / 2**20 for row in group],
            [100 * row.global_accuracy for row in group],
            marks[place % len(marks)],
            color=color,
            label=legend_label(name),
        )
    axes.set_xlabel("sent up by all devices (MiB)")
    axes.set_ylabel("accuracy of the global model (%)")
