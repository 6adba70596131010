"""What was sent: by phase, in both directions, beside what the dense model would cost."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from fedtiny.memory.ledger import format_bytes
from fedtiny.report.metrics import Run
from fedtiny.report.plots.style import PALETTE, REFERENCE, Chart, legend_below, panels
from fedtiny.report.summary import dense_equivalent_bytes
from fedtiny.wire.phase import Phase

MEBI = 2**20

_REST = "join, describe, calibrate"
_STACK = {
    Phase.TRAIN: "train",
    Phase.EVALUATE: "evaluate",
    Phase.CANDIDATE_STATISTICS: "candidate selection",
    Phase.CANDIDATE_LOSSES: "candidate selection",
    Phase.JOIN: _REST,
    Phase.DESCRIBE: _REST,
    Phase.CALIBRATE: _REST,
    Phase.SALIENCY: "score weights",
    Phase.ADAPT: "adapt",
    Phase.ENCODE: "encode",
}
"""Parts of a bar, in order, by phase."""

_PARTS = tuple(dict.fromkeys(_STACK.values()))
_DENSE = "dense equivalent"


def bytes_by_phase(run: Run) -> Chart:
    """Stacked bars of wire bytes: uplink and downlink, each above its dense equivalent."""
    data = _data(run)
    bars = data.drop_duplicates(["direction", "what"])[["direction", "what"]]
    figure, (axes,) = panels(1, 1, 7.4, 1.3 + 0.42 * len(bars))
    for k, bar in enumerate(bars.itertuples()):
        parts = data[(data["direction"] == bar.direction) & (data["what"] == bar.what)]
        _bar(axes, k, parts, dense_equivalent_bytes(run))
    axes.set_yticks(range(len(bars)), [f"{b.direction}link, {b.what}" for b in bars.itertuples()])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.28 * data.groupby(["direction", "what"])["bytes"].sum().max() / MEBI)
    axes.set_xlabel("all devices, whole run (MiB, wire)")
    axes.grid(visible=False, axis="y")
    legend_below(figure, [axes])
    caption = (
        "Bytes on the wire over the whole run. The dense equivalent is every parameter and "
        "batch-norm statistic as float32, once per participant and round."
    )
    return Chart("bytes", caption, figure, data)


def _bar(axes: Axes, position: int, parts: pd.DataFrame, dense: int) -> None:
    color = {**dict(zip(_PARTS, PALETTE, strict=False)), _DENSE: REFERENCE}
    left = 0.0
    for part in parts.itertuples():
        width = part.bytes / MEBI
        axes.barh(
            position, width, left=left, height=0.66, color=color[part.phase], label=part.phase
        )
        left += width
    total = int(parts["bytes"].sum())
    text = format_bytes(total)
    if total < dense:
        text += f"  ({dense / total:.1f}× below dense)"
    axes.text(left, position, f"  {text}", va="center", fontsize=8)


def _data(run: Run) -> pd.DataFrame:
    """Columns direction, what (whose bytes), phase, bytes."""
    rows = []
    methods = {"this run": run} | ({"dense reference": run.dense} if run.dense else {})
    for direction in ("up", "down"):
        for what, one in methods.items():
            traffic = one.traffic[one.traffic["direction"] == direction]
            phases = traffic["phase"].map(_STACK)
            sums = traffic.groupby(phases)["wire"].sum()
            for phase in _PARTS:
                if phase in sums.index:
                    rows.append((direction, what, phase, int(sums[phase])))
        rows.append((direction, _DENSE, _DENSE, dense_equivalent_bytes(run)))
    return pd.DataFrame(rows, columns=["direction", "what", "phase", "bytes"])
