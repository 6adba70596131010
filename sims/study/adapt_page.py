"""The tables and the picture of docs/results/adapt.md, from its CSV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from fedtiny.memory.ledger import format_bytes
from fedtiny.report.plots.style import colors, legend_below, panels, style
from fedtiny.report.tables import markdown_table

BEGIN, END = "<!-- adapt: made by `python -m sims.study.adapt` -->", "<!-- /adapt -->"
TITLES = {"watch": "Smart-watch: a new person", "fashion_mnist": "Fashion-MNIST: a new camera"}
FEW = 2
"""Takes of each class that methods are compared at."""


def tables(csv: Path) -> str:
    """Of each data set: accuracy by method and takes, with what a step needs."""
    return "\n\n".join(part for _, rows in _by_dataset(csv) for part in _table(rows))


def _by_dataset(csv: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    rows = pd.read_csv(csv)
    for dataset, mine in rows.groupby("dataset", sort=False):
        yield str(dataset), mine


def _table(rows: pd.DataFrame) -> list[str]:
    takes = sorted(rows["recordings"].unique())
    before = rows.drop_duplicates(["person", "seed"])["accuracy_before"].mean()
    people, seeds = rows["person"].nunique(), rows["seed"].nunique()
    headers = ["method", *(f"{k} of each" for k in takes), f"above head at {FEW}"]
    headers += ["saved", "peak", "windows at once", "least peak", "of head's"]
    head = rows[rows["method"] == "head"]
    least = head["least_peak_bytes"].max()
    lines = []
    for method, mine in rows.groupby("method", sort=False):
        most = mine.loc[mine["peak_bytes"].idxmax()]
        lines.append(
            [
                str(method),
                *(_spread(mine[mine["recordings"] == k]) for k in takes),
                _above(mine, head),
                format_bytes(int(most["saved_bytes"])),
                format_bytes(int(most["peak_bytes"])),
                str(most["micro_batch"]),
                format_bytes(int(mine["least_peak_bytes"].max())),
                f"{mine['least_peak_bytes'].max() / least:.2f}",
            ]
        )
    wrong = int((rows["peak_bytes"] != rows["predicted_peak_bytes"]).sum())
    return [
        f"### {TITLES[rows['dataset'].iloc[0]]}",
        f"{people} users, {seeds} seeds; the finished model without adapting: "
        f"{100 * before:.1f} %. Accuracies in %, mean ± standard deviation over users (of their "
        "means over seeds); differences to `head` user by user, mean ± standard error.",
        markdown_table(headers, lines),
        f"Peaks that differ from the plan's by a byte or more: {wrong} of {len(rows)}.",
    ]


def _by_user(rows: pd.DataFrame) -> pd.Series[float]:
    return 100 * rows.groupby("person")["accuracy_after"].mean()


def _spread(rows: pd.DataFrame) -> str:
    found = _by_user(rows)
    return f"{found.mean():.1f} ± {found.std():.1f}"


def _above(rows: pd.DataFrame, head: pd.DataFrame) -> str:
    few, base = (_by_user(one[one["recordings"] == FEW]) for one in (rows, head))
    gap = few - base
    return f"{gap.mean():+.1f} ± {gap.sem():.1f}"


def draw(csv: Path) -> Path:
    """Accuracy against labelled takes, and against the least peak with two; a row a data set."""
    parts = list(_by_dataset(csv))
    with style():
        figure, axes = panels(len(parts), 2, 9.0, 3.6 * len(parts) + 0.6)
        for k, (dataset, rows) in enumerate(parts):
            _draw(axes[2 * k], axes[2 * k + 1], rows)
            axes[2 * k].set_title(TITLES[dataset], loc="left")
        legend_below(figure, [axes[0]])
        figure.savefig(csv.with_suffix(".png"), dpi=150, metadata={"Software": None})
    return csv.with_suffix(".png")


def _draw(left: Axes, right: Axes, rows: pd.DataFrame) -> None:
    means = rows.groupby(["method", "recordings"], sort=False, as_index=False)[
        ["accuracy_after", "least_peak_bytes"]
    ].mean()
    names = list(means["method"].unique())
    for name, color in zip(names, colors(len(names)), strict=True):
        mine = means[means["method"] == name]
        left.plot(mine["recordings"], 100 * mine["accuracy_after"], "o-", color=color, label=name)
        few = mine[mine["recordings"] == FEW]
        right.plot(few["least_peak_bytes"] / 1024, 100 * few["accuracy_after"], "o", color=color)
    before = 100 * rows.drop_duplicates(["person", "seed"])["accuracy_before"].mean()
    for axes in (left, right):
        axes.axhline(before, linestyle="--", color="0.5")
        axes.set_ylabel("accuracy, %")
    left.set_xticks(sorted(set(rows["recordings"])))
    left.set_xlabel("labelled takes of each class")
    right.set_xlabel(f"least peak of a step, KiB ({FEW} takes)")
