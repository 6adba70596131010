"""How good each part of the model is, from round to round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fedtiny.report.plots.style import (
    REFERENCE,
    Chart,
    colors,
    legend_below,
    panels,
    whole_rounds,
)


def accuracy_by_tier(tiers: Mapping[str, Any]) -> Chart:
    """Accuracy over rounds, and after the last one over the weights of each part.

    Args:
        tiers: of :func:`fedtiny.report.tiers.tiers_summary`.
    """
    table = pd.DataFrame(tiers["history"])
    parts = list(table.groupby(["width", "density"]))
    figure, (left, right) = panels(1, 2, 8.0, 3.8, sharey=True)
    for color, ((width, density), own) in zip(colors(len(parts)), parts, strict=True):
        trained = own["devices"].max() > 0
        label = f"width {width:g}, density {density:.3g}" + ("" if trained else " (untrained)")
        paint = color if trained else REFERENCE
        left.plot(
            own["round"], 100 * own["accuracy"], ".-" if trained else ".:", c=paint, label=label
        )
        # what nobody trains may be another density in earlier rounds
        last = own[own["round"] == table["round"].max()]
        right.plot(last["nnz"], 100 * last["accuracy"], "o", color=paint)
    left.set_xlabel("round")
    left.set_ylabel("accuracy (%)")
    whole_rounds(left)
    right.set_xlabel("weights of the part, after the last round")
    legend_below(figure, [left])
    caption = (
        "Accuracy of each part of the model on the samples of people who took no part; dotted: a "
        "density that nobody trained."
    )
    return Chart("accuracy_tiers", caption, figure, table)
