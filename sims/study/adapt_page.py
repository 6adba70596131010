"""The tables and the picture of docs/results/adapt.md, from its CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fedtiny.memory.ledger import format_bytes
from fedtiny.report.plots.style import colors, legend_below, panels, style

BEGIN, END = "<!-- adapt: made by `python -m sims.study.adapt` -->", "<!-- /adapt -->"


def tables(csv: Path) -> str:
    """Accuracy by method and takes, with what a step takes."""
    rows = pd.read_csv(csv)
    takes = sorted(rows["recordings"].unique())
    before = rows.drop_duplicates(["person", "seed"])["accuracy_before"].mean()
    lines = [
        f"{rows['person'].nunique()} people, {rows['seed'].nunique()} seeds; the finished model "
        f"without adapting: {100 * before:.1f} %. Accuracies in %, mean ± standard deviation over "
        "people and seeds.",
        "",
        f"| method | {' | '.join(f'{k} of each' for k in takes)} | saved | peak | windows at once "
        "| learning rate |",
        f"|---|{'---:|' * (len(takes) + 4)}",
    ]
    for method, mine in rows.groupby("method", sort=False):
        cells = []
        for k in takes:
            found = 100 * mine[mine["recordings"] == k]["accuracy_after"]
            cells.append(f"{found.mean():.1f} ± {found.std(ddof=0):.1f}")
        most = mine.loc[mine["peak_bytes"].idxmax()]
        cells += [format_bytes(int(most["saved_bytes"])), format_bytes(int(most["peak_bytes"]))]
        cells += [str(most["micro_batch"]), f"{most['learning_rate']:g}"]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    wrong = int((rows["peak_bytes"] != rows["predicted_peak_bytes"]).sum())
    lines += ["", f"Peaks that differ from the plan's by a byte or more: {wrong} of {len(rows)}."]
    return "\n".join(lines)


def draw(csv: Path) -> Path:
    """Accuracy against labelled takes, and against the peak of a step with two of each."""
    rows = pd.read_csv(csv)
    means = rows.groupby(["method", "recordings"], sort=False, as_index=False)[
        ["accuracy_after", "peak_bytes"]
    ].mean()
    with style():
        figure, (left, right) = panels(1, 2, 9.0, 4.2, sharey=True)
        names = list(means["method"].unique())
        for name, color in zip(names, colors(len(names)), strict=True):
            mine = means[means["method"] == name]
            left.plot(
                mine["recordings"], 100 * mine["accuracy_after"], "o-", color=color, label=name
            )
            two = mine[mine["recordings"] == 2]
            right.plot(two["peak_bytes"] / 1024, 100 * two["accuracy_after"], "o", color=color)
        before = 100 * rows.drop_duplicates(["person", "seed"])["accuracy_before"].mean()
        for axes in (left, right):
            axes.axhline(before, linestyle="--", color="0.5")
        left.set_xticks(sorted(set(rows["recordings"])))
        left.set_xlabel("labelled takes of each exercise")
        left.set_ylabel("accuracy, %")
        right.set_xlabel("peak of a step, KiB (two takes)")
        legend_below(figure, [left])
        figure.savefig(csv.with_suffix(".png"), dpi=150, metadata={"Software": None})
    return csv.with_suffix(".png")
