"""Accuracy by round, and against the bytes sent until then."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from fedtiny.escaping.plot import legend_label
from fedtiny.report.metrics import Run
from fedtiny.report.plots.style import (
    REFERENCE,
    Chart,
    colors,
    legend_below,
    logarithmic,
    panels,
    whole_rounds,
)
from fedtiny.report.words import GROUPS, group_title

MEBI = 2**20


def accuracy_by_round(runs: Mapping[str, Run]) -> Chart:
    """One panel per group; a single run is drawn over its dense reference."""
    return _draw(
        runs,
        "accuracy",
        "round",
        "round",
        "Accuracy of the global model after each round. Left: test samples of the participants, "
        "right: of nobody who took part.",
    )


def accuracy_by_uplink(runs: Mapping[str, Run]) -> Chart:
    """As :func:`accuracy_by_round`, over what all devices had sent by then."""
    return _draw(
        runs,
        "accuracy_uplink",
        "uplink_mib",
        "sent by all devices so far (MiB, logarithmic)",
        "Accuracy against the bytes all devices had sent so far, every phase counted.",
    )


def accuracy_by_time(runs: Mapping[str, Run]) -> Chart:
    """As :func:`accuracy_by_round`, over simulated time; of runs that have a clock."""
    timed = {label: run for label, run in runs.items() if run.clock is not None}
    return _draw(
        timed,
        "accuracy_time",
        "simulated_s",
        "simulated time (s)",
        "Accuracy against simulated time: calculated from FLOPs, bytes and the fleet's stated "
        "rates, not measured.",
    )


def _draw(runs: Mapping[str, Run], name: str, x: str, x_label: str, caption: str) -> Chart:
    lines = runs if x == "simulated_s" else _with_reference(runs)
    tables = {label: _table(run) for label, run in lines.items()}
    figure, axes = panels(1, 2, 8.0, 3.6, sharey=True)
    for one, group in zip(axes, GROUPS, strict=True):
        one.set_title(_title(runs, group))
        one.set_xlabel(x_label)
        _lines(one, tables, x, group, reference=len(lines) > len(runs))
        if x == "round":
            one.set_xlim(left=0)
            whole_rounds(one)
        elif x == "simulated_s":
            one.set_xlim(left=0)
        else:
            logarithmic(one, "x")
    axes[0].set_ylabel("accuracy (%)")
    legend_below(figure, axes)
    data = pd.concat([table.assign(run=label) for label, table in tables.items()])
    return Chart(name, caption, figure, data.reset_index(drop=True))


def _with_reference(runs: Mapping[str, Run]) -> dict[str, Run]:
    """The runs; one alone is joined by its dense reference."""
    lines = dict(runs)
    if len(runs) == 1:
        (run,) = runs.values()
        if run.dense is not None:
            taken = "dense reference" in lines
            lines["its dense reference" if taken else "dense reference"] = run.dense
    return lines


def _table(run: Run) -> pd.DataFrame:
    """Columns round, uplink_mib, simulated_s if there is a clock, and an accuracy (%) per group."""
    up = run.traffic[run.traffic["direction"] == "up"]
    sent = up.groupby("round")["wire"].sum().cumsum() / MEBI
    table = 100 * run.accuracy_by_round()
    table.insert(0, "uplink_mib", sent.reindex(table.index))
    if run.clock is not None:
        ended = run.clock.rounds.set_index("round")["ended_s"]
        table.insert(1, "simulated_s", ended.reindex(table.index))
    return table.rename_axis(columns=None).reset_index()


def _lines(
    axes: Axes, tables: Mapping[str, pd.DataFrame], x: str, group: str, *, reference: bool
) -> None:
    palette = colors(len(tables) - reference)
    for k, (label, table) in enumerate(tables.items()):
        is_reference = reference and k == len(tables) - 1
        axes.plot(
            table[x],
            table[group],
            label=legend_label(label),
            color=REFERENCE if is_reference else palette[k],
            linestyle="--" if is_reference else "-",
        )


def _title(runs: Mapping[str, Run], group: str) -> str:
    titles = {group_title(run.config, group) for run in runs.values()}
    return titles.pop() if len(titles) == 1 else group.replace("_", " ")
