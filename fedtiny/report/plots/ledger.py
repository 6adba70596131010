"""Training memory of each device: budget, predicted, measured."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from fedtiny.escaping.plot import broken
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.report.metrics import Run
from fedtiny.report.plots.style import PALETTE, Chart, legend_below, logarithmic, panels
from fedtiny.report.words import board_title

MEBI = 2**20
_MOST_DEVICES = 32


def memory_ledger(run: Run) -> Chart:
    """One line per device on a logarithmic axis: predicted, measured, and the budget."""
    entries = list(run.ledger)[:_MOST_DEVICES]
    figure, (axes,) = panels(1, 1, 7.6, 1.4 + 0.32 * len(entries))
    _points(axes, entries)
    for k, entry in enumerate(entries):
        note = f"batch {entry.batch}"
        if entry.step.micro_batch < entry.batch:
            note = f"micro-batch {entry.step.micro_batch} of {entry.batch}"
        if entry.step.recompute:
            note += f", {len(entry.step.recompute)} recomputed"
        right = max(entry.budget_bytes, entry.predicted_peak_bytes, entry.measured_peak_bytes or 0)
        axes.text(right / MEBI * 1.15, k, note, va="center", fontsize=8)
    titles = [broken(f"{entry.partition}: {board_title(entry.device)}") for entry in entries]
    axes.set_yticks(range(len(entries)), titles)
    axes.invert_yaxis()
    logarithmic(axes, "x")
    low = min(min(entry.predicted_peak_bytes, entry.budget_bytes) for entry in entries)
    high = max(max(entry.predicted_peak_bytes, entry.budget_bytes) for entry in entries)
    room = 16 if any(entry.step.recompute for entry in entries) else 6  # for the notes
    axes.set_xlim(low / MEBI / 1.5, high / MEBI * room)
    axes.set_xlabel("training memory (MiB, logarithmic)")
    legend_below(figure, [axes])
    caption = (
        "Memory of one training step on each simulated device. Where the budget is too small, the "
        "device first recomputes convolutions in the backward pass instead of keeping their "
        "outputs; where that is not enough, it goes through the batch in micro-batches."
    )
    if len(run.ledger) > len(entries):
        caption += f" The first {len(entries)} of {len(run.ledger)} devices are shown."
    return Chart("ledger", caption, figure, _data(run))


def _points(axes: Axes, entries: Sequence[LedgerEntry]) -> None:
    rows = range(len(entries))
    budget = [entry.budget_bytes / MEBI for entry in entries]
    predicted = [entry.predicted_peak_bytes / MEBI for entry in entries]
    measured = [(k, entry.measured_peak_bytes) for k, entry in enumerate(entries)]
    known = [(k, size / MEBI) for k, size in measured if size is not None]
    axes.hlines(rows, predicted, budget, color="#c9d6df", linewidth=4)
    axes.scatter(predicted, rows, s=90, facecolor="white", edgecolor=PALETTE[0], linewidths=1.8,
                 label="predicted peak", zorder=3)  # fmt: skip
    if known:
        axes.scatter([size for _, size in known], [k for k, _ in known], s=22, color="black",
                     label="measured peak", zorder=4)  # fmt: skip
    axes.scatter(budget, rows, marker="|", s=220, color=PALETTE[1], linewidths=2.6,
                 label="budget", zorder=3)  # fmt: skip


def _data(run: Run) -> pd.DataFrame:
    rows = [entry.to_json() for entry in run.ledger]
    return pd.DataFrame([{**row, **row.pop("lines")} for row in rows])
