"""Accuracy of each person, and who is mistaken for what."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from fedtiny.report.metrics import Run
from fedtiny.report.plots.style import PALETTE, Chart, legend_below, panels
from fedtiny.report.words import GROUPS, group_title, person_title

_MOST_BARS = 40
_CELL_TEXT_CLASSES = 12
"""Up to so many classes, each cell of a confusion matrix also shows its number."""


def accuracy_per_person(run: Run) -> Chart:
    """A bar per person, a mark where the dense reference is."""
    table = _people(run)
    shown = table.sort_values("accuracy").head(_MOST_BARS).sort_index()
    figure, (axes,) = panels(1, 1, 7.0, 1.4 + 0.26 * len(shown))
    labels = [f"{row.person}  (n = {row.count_})" for row in shown.itertuples()]
    for group, color in zip(GROUPS, PALETTE, strict=False):
        rows = [k for k, name in enumerate(shown["group"]) if name == group]
        values = shown["accuracy"].iloc[rows]
        axes.barh(rows, values, color=color, height=0.66, label=group_title(run.config, group))
        for k, value in zip(rows, values, strict=True):
            axes.text(1, k, f"{value:.1f}", color="white", va="center", fontsize=8)
    if run.dense is not None:
        axes.scatter(
            shown["dense_accuracy"], range(len(shown)), marker="|", s=120, linewidths=2.2,
            color="black", label="dense reference", zorder=3,
        )  # fmt: skip
    axes.set_yticks(range(len(shown)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("accuracy (%)")
    axes.grid(visible=False, axis="y")
    legend_below(figure, [axes])
    caption = "Accuracy of the last round's model, person by person; n is the number of samples."
    if len(table) > len(shown):
        caption += f" The {len(shown)} lowest of {len(table)} are shown."
    return Chart("people", caption, figure, table.rename(columns={"count_": "count"}))


def _people(run: Run) -> pd.DataFrame:
    """Columns group, person, count_, accuracy and dense_accuracy, both in %."""
    people = run.people()
    table = pd.DataFrame(
        {
            "group": people["group"],
            "who": people["who"],
            "person": [
                person_title(run.config, group, who)
                for group, who in zip(people["group"], people["who"], strict=True)
            ],
            "count_": people["count"],
            "accuracy": 100 * people["accuracy"],
        }
    )
    if run.dense is None:
        return table
    dense = run.dense.people()[["group", "who", "accuracy"]]
    dense["dense_accuracy"] = 100 * dense.pop("accuracy")
    return table.merge(dense, "left", ["group", "who"])


def confusion_matrices(run: Run) -> Chart:
    """One matrix per group; colour is the share of the true class."""
    groups = [group for group in GROUPS if group in run.confusion]
    titles = [group_title(run.config, group) for group in groups]
    side, slanted = 0.6 + 0.4 * len(run.labels), 0.06 * max(map(len, run.labels))
    wide = max(side, 0.075 * max(map(len, titles)))  # few classes are narrower than the title
    width = 2.0 + slanted + (wide + 0.4) * len(groups)
    figure, axes = panels(1, len(groups), width, side + slanted + 0.8, sharey=True)
    tables = []
    for one, group, title in zip(axes, groups, titles, strict=True):
        table = pd.DataFrame(run.confusion[group], index=run.labels, columns=run.labels)
        _matrix(one, table, title)
        tables.append(_long(table, group))
    axes[0].set_ylabel("true class")
    figure.colorbar(axes[-1].images[0], ax=axes, label="share of the true class (%)", shrink=0.8)
    caption = "Last round's model: rows are the true class, columns what it said; numbers count "
    return Chart("confusion", caption + "samples.", figure, pd.concat(tables, ignore_index=True))


def _matrix(axes: Axes, table: pd.DataFrame, title: str) -> None:
    totals = table.sum(axis="columns").clip(lower=1)
    share = 100 * table.div(totals, axis="index")
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    axes.set_title(title)
    axes.set_xlabel("predicted class")
    axes.set_xticks(
        range(len(table)), table.columns, rotation=45, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(table)), table.index)
    axes.grid(visible=False)
    if len(table) > _CELL_TEXT_CLASSES:
        return
    for i, row in enumerate(table.to_numpy()):
        for j, count in enumerate(row):
            if count:
                color = "white" if share.iat[i, j] > 55 else "black"
                axes.text(j, i, str(count), ha="center", va="center", color=color, fontsize=7.5)


def _long(table: pd.DataFrame, group: str) -> pd.DataFrame:
    long = table.rename_axis(index="true", columns="predicted").stack().rename("count")
    return long.reset_index().assign(group=group)[["group", "true", "predicted", "count"]]
