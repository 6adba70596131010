"""Shapes of the model that raced before round 1, in a report."""

from __future__ import annotations

from fedtiny.report.tables import markdown_table
from fedtiny.runs.event_parts import Heat, Race


def race_section(found: Race | None) -> str:
    """For report.md: who raced, and who went on; nothing where nobody did.

    Args:
        found: as :class:`fedtiny.runs.event_parts.Story` has it.
    """
    if found is None or not found["heats"]:
        return ""
    rows = [row for number, heat in enumerate(found["heats"], 1) for row in _rows(number, heat)]
    headers = ["heat", "width", "weights", "bytes", "loss (nats)", "above the best", ""]
    text = (
        f"In {found['laps']} laps before round 1, each as much training as a round, every device "
        "trained every shape that was left in a heat. Devices then measured all of them on their "
        "development samples: of more than three the better half goes on, of the rest the "
        "narrowest whose loss is above the best one's by at most a standard error over devices."
    )
    return f"{markdown_table(headers, rows)}\n\n{text}"


def _rows(number: int, heat: Heat) -> list[list[str]]:
    return [
        [
            str(number),
            f"{width:g}",
            f"{heat['weights'][k]:,}",
            f"{heat['bytes'][k]:,}",
            f"{heat['losses'][k]:.3f}",
            f"{heat['excesses'][k]:.3f} ± {heat['errors'][k]:.3f}",
            "goes on" if k in heat["left"] else "",
        ]
        for k, width in enumerate(heat["widths"])
    ]
