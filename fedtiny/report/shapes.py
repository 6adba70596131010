"""Shapes of the model that devices compared, in a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fedtiny.report.tables import markdown_table
from fedtiny.runs.contest_events import ShapeCompared
from fedtiny.runs.metrics import Recording


def shapes_summary(log: Recording) -> list[dict[str, Any]] | None:
    """For report.json: every shape, widest first; None where none were compared."""
    found = [
        {**asdict(one.tier), **{name: getattr(one, name) for name in _FIELDS}}
        for one in log.of(ShapeCompared)
    ]
    return found or None


_FIELDS = ("nnz", "loss", "excess", "error", "devices", "chosen")


def shapes_section(found: Sequence[Mapping[str, Any]] | None) -> str:
    """For report.md; nothing where no shapes were compared."""
    if found is None:
        return ""
    rows = [
        [
            f"{one['width']:g}",
            f"{one['nnz']:,}",
            f"{one['loss']:.3f}",
            f"{one['excess']:.3f} ± {one['error']:.3f}",
            "all devices" if one["chosen"] else "",
        ]
        for one in found
    ]
    headers = ["width", "weights", "loss (nats)", "above the best", "trained by"]
    text = (
        "Before round 1 the server trained every shape on its public samples, and devices measured "
        "its loss on their development samples. All train the narrowest whose loss is above the "
        "best one's by at most a standard error over devices."
    )
    return f"{markdown_table(headers, rows)}\n\n{text}"
