"""The picture of docs/results/codecs.md, from its CSV: few lines, each labelled beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from fedtiny.report.plots.style import DPI, PALETTE, panels, style
from sims.study.codecs_page import BITS, DEADLINE

Place = tuple[float, float]
_BLUE, _RED, _GREEN, _PINK, _ORANGE, _SKY, _ = PALETTE


@dataclass(frozen=True, slots=True)
class _Line:
    """One codec, as it is drawn.

    Attributes:
        codec, setting: its rows; ``setting`` is a pattern.
        label: beside it.
        color, mark, dashes: of it.
        places: of the label in each of both panels, (bytes, %).
    """

    codec: str
    setting: str
    label: str
    color: str
    mark: str
    dashes: str
    places: tuple[Place, Place]


_LINES = (
    _Line("pnc", "^tail-drop", "PNC", _BLUE, "o", "-", ((36, 89.5), (36, 87.6))),
    _Line("pnc", "^no tail-drop", "PNC without tail-drop", _SKY, "v", "--", ((42, 52), (54, 76))),
    _Line("progressive_jpeg", "", "progressive JPEG", _RED, "s", "-", ((19, 75), (24, 82.8))),
    _Line("vae", "", "VAE codec", _GREEN, "D", "-", ((3, 90), (3, 86.2))),
    _Line("jpeg", "", "JPEG", _PINK, "^", "-", ((0.8, 79), (1.5, 78.5))),
)
"""Classifiers are retrained."""
_LATE = (
    ("pnc", "^tail-drop", "PNC", _BLUE, "o"),
    ("progressive_jpeg", "", "progressive JPEG", _RED, "s"),
)
_DASHES = {"none": "-", "heavy": ":"}
"""By interference; light lies between, in the table."""
NEAR = (74, 90)
"""Accuracies of the middle panel, %: where codecs are close."""


def draw(csv: Path) -> Path:
    """Accuracy against payload, twice, and against the deadline; means over seeds."""
    rows = pd.read_csv(csv)
    timed = rows["setting"].str.contains(DEADLINE)
    sizes = rows[~timed & ~rows["setting"].str.contains(BITS)]
    with style():
        figure, (whole, near, late) = panels(1, 3, 15.0, 4.6)
        for line in _LINES:
            for axes, place in zip((whole, near), line.places, strict=True):
                _by_payload(axes, sizes, line, place)
        whole.set_title("Accuracy by bytes; classifiers retrained")
        near.set_title("The same, nearer")
        whole.set_xlim(0, 80)
        whole.set_ylim(10, 95)
        near.set_xlim(0, 82)
        near.set_ylim(*NEAR)
        for axes in (whole, near):
            axes.set_xlabel("payload, bytes per picture")
            axes.set_ylabel("accuracy, %")
        _by_deadline(late, rows[timed])
        figure.savefig(csv.with_suffix(".png"), dpi=DPI, metadata={"Software": None})
    return csv.with_suffix(".png")


def _by_payload(axes: Axes, rows: pd.DataFrame, line: _Line, place: Place) -> None:
    mine = rows[(rows["codec"] == line.codec) & rows["setting"].str.contains(line.setting)]
    means = mine.groupby("setting")[["payload_bytes", "accuracy"]].mean()
    means = means.sort_values("payload_bytes")
    axes.plot(
        means["payload_bytes"],
        100 * means["accuracy"],
        line.mark + line.dashes,
        color=line.color,
        markersize=4,
    )
    axes.text(*place, line.label, color=line.color)


def _by_deadline(axes: Axes, rows: pd.DataFrame) -> None:
    parts = rows["setting"].str.extract(r" @ (\d+) ms, (\w+) interference$")
    rows = rows.assign(deadline=parts[0].astype(int), interference=parts[1])
    for codec, setting, label, color, mark in _LATE:
        mine = rows[(rows["codec"] == codec) & rows["setting"].str.contains(setting)]
        for kind, dashes in _DASHES.items():
            means = mine[mine["interference"] == kind].groupby("deadline")["accuracy"].mean()
            line, name = mark + dashes, f"{label}, {kind}"
            axes.plot(means.index, 100 * means, line, color=color, markersize=4, label=name)
    axes.legend(loc="lower right")
    axes.set_title("Accuracy by deadline; none and heavy interference")
    axes.set_xlabel("deadline, ms (simulated)")
    axes.set_ylabel("accuracy, %")
