"""Flash and RAM of the exported model beside what boards have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from fedtiny.devices.catalog import catalog
from fedtiny.escaping.plot import broken
from fedtiny.memory.ledger import format_bytes
from fedtiny.report.plots.style import PALETTE, Chart, logarithmic, panels
from fedtiny.report.words import board_title

KIBI = 2**10


def firmware_footprint(export: Mapping[str, Any]) -> Chart:
    """Blue marks are what microcontrollers have, the red line is what the model takes."""
    boards = [board for board in catalog().values() if board.runs and board.flash_bytes]
    data = pd.DataFrame(
        {
            "board": [board_title(board.name) for board in boards],
            "flash_bytes": [board.flash_bytes for board in boards],
            "ram_internal_bytes": [board.ram_internal_bytes for board in boards],
            "model_flash_bytes": export["flash_bytes"],
            "model_arena_bytes": export["arena_bytes"],
        }
    )
    figure, axes = panels(1, 2, 8.6, 1.3 + 0.3 * len(boards), sharey=True)
    _panel(axes[0], data["flash_bytes"], export["flash_bytes"], "flash")
    _panel(axes[1], data["ram_internal_bytes"], export["arena_bytes"], "internal RAM")
    axes[0].set_yticks(range(len(boards)), [broken(title) for title in data["board"]])
    axes[0].invert_yaxis()
    caption = (
        "The int8 model's flash (weights and quantization parameters; code is apart) and RAM (its "
        "arena; stack is apart), the red line, beside what boards have, the blue marks, and the "
        "share it takes of it."
    )
    return Chart("footprint", caption, figure, data)


def _panel(axes: Axes, capacity: pd.Series[int], needed: int, what: str) -> None:
    rows = range(len(capacity))
    axes.hlines(rows, needed / KIBI, capacity / KIBI, color="#c9d6df", linewidth=4)
    axes.scatter(capacity / KIBI, rows, marker="|", s=160, color=PALETTE[0], linewidths=2.6)
    for k, size in enumerate(capacity):
        share = f"{100 * needed / size:.1f} %"
        axes.text(max(size, needed) / KIBI * 1.2, k, share, va="center", fontsize=8)
    axes.axvline(needed / KIBI, color=PALETTE[1])
    logarithmic(axes, "x")
    axes.set_xlim(needed / KIBI / 2, max(capacity.max(), needed) / KIBI * 5)
    axes.set_title(f"{what}: the model takes {format_bytes(needed)}", color=PALETTE[1])
    axes.set_xlabel(f"{what} (KiB, logarithmic)")
