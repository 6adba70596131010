"""A study's figures: accuracy by density, and against what it cost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from fedtiny.escaping.plot import LINE_CHARACTERS, broken, legend_label
from fedtiny.report.plots.style import (
    PALETTE,
    REFERENCE,
    Chart,
    legend_below,
    logarithmic,
    panels,
    style,
)
from fedtiny.report.study import StudyRow
from fedtiny.report.study_tables import DENSE, OURS, is_ablation, rank, summarize

COSTS: Mapping[str, tuple[str, float]] = {
    "uplink_bytes": ("sent up by all devices (MiB, logarithmic)", 2**20),
    "train_flops_per_round": ("GFLOPs per device and round (logarithmic)", 1e9),
    "peak_memory_bytes": ("measured peak of a training step (KiB, logarithmic)", 2**10),
}
"""Label and unit of what accuracy is drawn against."""

_MARKERS = "osD^vPX<>h"
_LINES = ("-", "--", ":")
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def study_charts(rows: Sequence[StudyRow]) -> list[Chart]:
    """Every figure of every dataset in ``rows``."""
    summary, charts = summarize(rows), []
    with style():
        for dataset in sorted({row.dataset for row in rows}):
            lines = summary[summary["dataset"] == dataset].reset_index(drop=True)
            charts.append(accuracy_by_density(dataset, lines))
            for quantity in COSTS:
                if lines[f"{quantity}_mean"].notna().any():
                    charts.append(accuracy_by_cost(dataset, lines, quantity))
    return charts


def accuracy_by_density(dataset: str, lines: pd.DataFrame) -> Chart:
    """Mean with a band of one standard deviation; left FedTiny's rivals, right its ablations."""
    figure, axes = panels(1, 2, 9.0, 5.2, sharey=True)
    curves = {str(name): curve for name, curve in lines.groupby("method", sort=False)}
    dense = curves.pop(DENSE, None)
    looks = _looks(curves)
    titles = ("methods", "FedTiny with one thing changed")
    for one, ablations, title in zip(axes, (False, True), titles, strict=True):
        for name, curve in curves.items():
            if name == OURS or is_ablation(name) == ablations:
                _curve(one, name, curve, looks[name])
        if dense is not None:
            one.axhline(100 * dense["accuracy_mean"].iloc[0], label=DENSE, color=REFERENCE, ls="-.")
        one.set_title(broken(f"{dataset}: {title}"))
        one.set_xlabel("density (%, logarithmic)")
        logarithmic(one, "x")
        percents = {100 * density for curve in curves.values() for density in curve["density"]}
        one.set_xticks(
            [tick for tick in _TICKS if min(percents) <= tick <= max(percents)], minor=False
        )
        one.minorticks_off()
    axes[0].set_ylabel("accuracy (%)")
    legend_below(figure, axes)
    caption = f"{dataset}: accuracy by density; bands are ± one standard deviation over seeds."
    return Chart(f"{_slug(dataset)}_density", caption, figure, lines)


def _curve(axes: Axes, name: str, curve: pd.DataFrame, look: Mapping[str, Any]) -> None:
    x, y = 100 * curve["density"], 100 * curve["accuracy_mean"]
    sd = 100 * curve["accuracy_sd"].fillna(0.0)
    width = 2.6 if name == OURS else 1.2
    axes.plot(
        x,
        y,
        label=legend_label(name),
        linewidth=width,
        zorder=3 if name == OURS else 2,
        ms=4,
        **look,
    )
    axes.fill_between(x, y - sd, y + sd, color=look["color"], alpha=0.08, linewidth=0)


def accuracy_by_cost(dataset: str, lines: pd.DataFrame, quantity: str) -> Chart:
    """Every method at every density as a point; the line joins those that nothing beats."""
    label, unit = COSTS[quantity]
    points = lines.dropna(subset=[f"{quantity}_mean"]).reset_index(drop=True)
    costs = points[f"{quantity}_mean"] / unit
    front = pareto_front(costs.tolist(), points["accuracy_mean"].tolist())
    figure, (axes,) = panels(1, 1, 9.0, 6.0)
    looks = _looks([str(name) for name in lines["method"].unique()])
    for name, group in points.groupby("method", sort=False):
        look = {**looks[str(name)], "linestyle": ""}
        y = 100 * group["accuracy_mean"]
        size, order = (8, 3) if name == OURS else (5, 2)
        axes.plot(
            costs[group.index], y, label=legend_label(str(name)), ms=size, zorder=order, **look
        )
    axes.step(
        costs[front], 100 * points["accuracy_mean"][front], where="post", color=REFERENCE, lw=1,
        label="Pareto front", zorder=1,
    )  # fmt: skip
    logarithmic(axes, "x")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy (%)")
    axes.set_title(broken(dataset, 2 * LINE_CHARACTERS))
    legend_below(figure, [axes])
    caption = (
        f"{dataset}: accuracy against {quantity.replace('_', ' ')}, a point per method and "
        "density, means over seeds. On the Pareto front nothing cheaper is as accurate."
    )
    data = points.assign(pareto=points.index.isin(front))
    return Chart(f"{_slug(dataset)}_{quantity}", caption, figure, data)


def pareto_front(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Positions, by ascending cost, of what nothing as cheap or cheaper equals in gain.

    >>> pareto_front([3, 1, 2, 2], [0.9, 0.5, 0.4, 0.7])
    [1, 3, 0]
    """
    front: list[int] = []
    for k in sorted(range(len(costs)), key=lambda k: (costs[k], -gains[k])):
        if not front or gains[k] > gains[front[-1]]:
            front.append(k)
    return front


def _looks(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line of each method; no two alike, the dense model in grey."""
    found: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(sorted(set(methods) - {DENSE}, key=rank)):
        found[name] = {
            "color": PALETTE[k % len(PALETTE)],
            "marker": _MARKERS[k % len(_MARKERS)],
            "linestyle": _LINES[k // len(PALETTE) % len(_LINES)],
        }
    return {**found, DENSE: {"color": REFERENCE, "marker": "*", "linestyle": "-."}}


def _slug(dataset: str) -> str:
    return re.sub(r"\W+", "_", dataset).lower()
