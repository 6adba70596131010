"""How much faster, and with how much of the memory: one mark a peer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from fedtiny.bench.peer_cases import CASES, PEERS, Work
from fedtiny.bench.peers import PeerRow
from fedtiny.report.plots.style import REFERENCE, Chart, colors, legend_below, logarithmic, panels


def peers_chart(rows: Sequence[PeerRow], commit: str) -> Chart:
    """Two panels, a line a measurement of one thread; the CSV holds all rows, with ``commit``."""
    single = [row for row in rows if row.threads == 1]
    cases = list(dict.fromkeys((row.work, row.density) for row in single))
    figure, (speed, memory) = panels(1, 2, 9.0, 2.2 + 0.5 * len(cases))
    names = [name for name in PEERS if any(row.peer == name for row in single)]
    for name, color in zip(names, colors(len(names)), strict=True):
        own = [row for row in single if row.peer == name]
        lines = [cases.index((row.work, row.density)) for row in own]
        marks: dict[str, Any] = {
            "color": color,
            "linestyle": "",
            "marker": "o",
            "label": PEERS[name].title,
        }
        speed.plot([row.speedup for row in own], lines, **marks)
        memory.plot([row.peak_bytes_peer / row.peak_bytes_ours for row in own], lines, **marks)
    for axes, title in ((speed, "its step / ours"), (memory, "its memory / ours")):
        axes.set_title(f"{title}, one thread")
        axes.axvline(1, color=REFERENCE, linestyle="--", linewidth=1)
        logarithmic(axes, "x", base=2, marks="{x:g}×")
        axes.set_ylim(len(cases) - 0.5, -0.5)
        axes.set_yticks(range(len(cases)), [""] * len(cases))
    titles = [f"{CASES[Work(work)].title},\n{density:.0%}" for work, density in cases]
    speed.set_yticks(range(len(cases)), titles)
    legend_below(figure, [speed, memory])
    table = pd.DataFrame([{**asdict(row), "commit": commit} for row in rows])
    return Chart("peers", "Training steps beside others, in turn in one process.", figure, table)
