"""What devices learned after the rounds, person by person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fedtiny.config import RunConfig
from fedtiny.report.plots.style import PALETTE, REFERENCE, Chart, legend_below, panels
from fedtiny.report.words import person_title

_MOST = 40


def accuracy_adapted(found: Mapping[str, Any], config: RunConfig) -> Chart:
    """A line per person, from the finished model's accuracy to the adapted one's.

    Args:
        found: of :func:`fedtiny.report.adapting.adapting_summary`.
        config: of the run, for people's names.
    """
    table = pd.DataFrame([one for one in found["people"] if one["count"]])
    table["person"] = [
        person_title(config, group, who)
        for group, who in zip(table["group"], table["who"], strict=True)
    ]
    for name in ("before", "after"):
        table[name] = 100 * table[f"correct_{name}"] / table["count"]
    shown = table.sort_values("after").head(_MOST).sort_index()
    rows = range(len(shown))
    figure, (axes,) = panels(1, 1, 7.0, 1.4 + 0.26 * len(shown))
    axes.hlines(rows, shown["before"], shown["after"], color=REFERENCE)
    axes.plot(shown["before"], rows, "o", color=REFERENCE, label="finished model")
    axes.plot(shown["after"], rows, "o", color=PALETTE[0], label="adapted")
    axes.set_yticks(rows, shown["person"])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy (%)")
    axes.grid(visible=False, axis="y")
    legend_below(figure, [axes])
    caption = f"Accuracy before and after learning by {found['method']}, person by person."
    if len(table) > len(shown):
        caption += f" The {len(shown)} lowest of {len(table)} are shown."
    return Chart("adapted", caption, figure, table)
