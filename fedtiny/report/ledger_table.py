"""Devices' memory as a table: a row for each, or for each kind where there are many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fedtiny.report.tables import NOT_RUN, markdown_table, size
from fedtiny.report.words import board_title

MOST_ROWS = 50
"""Devices that get a row of their own."""

Row = Mapping[str, Any]


def ledger_table(rows: Sequence[Row]) -> str:
    """Budget, predicted and measured memory, of every device or of every kind of them.

    Args:
        rows: of report.json's ``ledger``.
    """
    headers = ["device", "budget", "predicted", "measured", "error", "batch", "micro-batch",
               "recomputed", "largest line"]  # fmt: skip
    if len(rows) <= MOST_ROWS:
        return markdown_table(headers, [_row(row) for row in rows])
    kinds: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        kind = row["device"], row["micro_batch"], tuple(row["recompute"]), row["dominating_line"]
        kinds.setdefault(kind, []).append(row)
    table = markdown_table(headers, [_kind(kinds[kind]) for kind in sorted(kinds)])
    return (
        f"{table}\n\nDevices of one board that go through a step alike share a row, with the "
        "smallest and the largest number; report.json has each."
    )


def _row(row: Row) -> list[str]:
    title = f"{row['partition']}: {board_title(row['device'])}"
    sizes = [size(row[name]) for name in ("budget_bytes", "predicted_peak_bytes")]
    return [title, *sizes, size(row["measured_peak_bytes"]), _error(row), *_step(row, _line(row))]


def _kind(rows: Sequence[Row]) -> list[str]:
    title = f"{len(rows)} × {board_title(rows[0]['device'])}"
    sizes = [_span(rows, name, size) for name in ("budget_bytes", "predicted_peak_bytes")]
    measured = [row for row in rows if row["measured_peak_bytes"] is not None]
    found = _span(measured, "measured_peak_bytes", size) if measured else NOT_RUN
    errors = sorted({_error(row) for row in measured}, key=lambda text: float(text.split()[0]))
    error = " to ".join(dict.fromkeys([errors[0], errors[-1]])) if errors else NOT_RUN
    line = f"{_name(rows[0])} {_span(rows, 'dominating_bytes', size)}"
    return [title, *sizes, found, error, *_step(rows[0], line)]


def _span(rows: Sequence[Row], name: str, shown: Callable[[int], str]) -> str:
    numbers = [row[name] for row in rows]
    return " to ".join(dict.fromkeys([shown(min(numbers)), shown(max(numbers))]))


def _step(row: Row, line: str) -> list[str]:
    return [str(row["batch"]), str(row["micro_batch"]), str(len(row["recompute"]) or ""), line]


def _error(row: Row) -> str:
    measured = row["measured_peak_bytes"]
    if measured is None:
        return NOT_RUN
    return f"{100 * (row['predicted_peak_bytes'] / measured - 1):+.1f} %"


def _name(row: Row) -> str:
    return str(row["dominating_line"]).replace("_", " ")


def _line(row: Row) -> str:
    return f"{_name(row)} {size(row['dominating_bytes'])}"
