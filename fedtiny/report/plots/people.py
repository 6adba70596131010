"""Accuracy of each person, and who is mistaken for what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from fedtiny.escaping.plot import broken
from fedtiny.report.metrics import Run
from fedtiny.report.plots.style import PALETTE, Chart, legend_below, panels
from fedtiny.report.words import GROUPS, group_title, person_title

_MOST_BARS = 40
_NAMED_CLASSES = 100
"""Of more classes only some have their name beside the matrix."""
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
    titles = [broken(group_title(run.config, group)) for group in groups]
    names = [broken(name) for name in run.labels]
    cell = _cell_inches(names)
    side, longest = max(0.6, cell * len(names)), 0.09 * _letters(names)
    slanted = 0.75 * longest
    wide = max(side, 0.09 * _letters(titles)) + 0.4  # few classes are narrower than the title
    width = 2.0 + longest + slanted + wide * len(groups)
    figure, axes = panels(1, len(groups), width, side + slanted + 1.2, sharey=True)
    for one, group, title in zip(axes, groups, titles, strict=True):
        counts = np.array(run.confusion[group], np.int64).reshape(len(names), len(names))
        _matrix(one, counts, names, title)
    axes[0].set_ylabel("true class")
    figure.colorbar(axes[-1].images[0], ax=axes, label="share of the true class (%)", shrink=0.8)
    caption = "Last round's model: rows are the true class, columns what it said; numbers count "
    data = pd.DataFrame(
        [row for group in groups for row in _long(run, group)],
        columns=["group", "true", "predicted", "count"],
    )
    return Chart("confusion", caption + "samples.", figure, data)


def _letters(texts: Sequence[str]) -> int:
    """Of the longest line."""
    return max((len(line) for text in texts for line in text.split("\n")), default=0)


def _cell_inches(names: Sequence[str]) -> float:
    """Side of a matrix's cell: names do not touch, numbers fit, a hundred classes fit a screen."""
    if len(names) > _NAMED_CLASSES:
        return 0.18 * _NAMED_CLASSES / len(names)
    lines = max((1 + name.count("\n") for name in names), default=1)
    return max(0.4 if len(names) <= _CELL_TEXT_CLASSES else 0.22, 0.22 * lines)


def _matrix(axes: Axes, counts: npt.NDArray[np.int64], names: Sequence[str], title: str) -> None:
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    axes.set_title(title)
    axes.set_xlabel("predicted class")
    named = range(0, len(names), ceil(len(names) / _NAMED_CLASSES) or 1)
    shown = [names[k] for k in named]
    axes.set_xticks(named, shown, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(named, shown)
    axes.grid(visible=False)
    if len(names) > _CELL_TEXT_CLASSES:
        return
    for i, j in zip(*np.nonzero(counts), strict=True):
        color = "white" if share[i, j] > 55 else "black"
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=color, fontsize=7.5)


def _long(run: Run, group: str) -> Iterator[tuple[str, str, str, int]]:
    """A row per cell; two classes of one name give two rows."""
    for true, row in zip(run.labels, run.confusion[group], strict=True):
        for predicted, count in zip(run.labels, row, strict=True):
            yield group, true, predicted, count
