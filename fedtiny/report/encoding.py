"""What devices that can train nothing sent as codes, in a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fedtiny.report.tables import markdown_table, percent
from fedtiny.runs.encode_events import Encoded
from fedtiny.runs.metrics import Recording


def encoding_summary(log: Recording) -> list[dict[str, Any]]:
    """For report.json: of each device partition, count, correct, payload_bytes and refused."""
    return [{name: asdict(one)[name] for name in _COLUMNS} for one in log.of(Encoded)]


_COLUMNS = ("partition", "count", "correct", "payload_bytes", "refused")


def encoding_section(found: Sequence[Mapping[str, Any]]) -> str:
    """For report.md."""
    rows = [
        [
            str(one["partition"]),
            f"{one['count']:,}",
            f"{one['payload_bytes'] / one['count']:.1f} B",
            percent(one["correct"] / one["count"]),
            "",
        ]
        if one["count"]
        else [str(one["partition"]), "", "", "", one["refused"]]
        for one in found
    ]
    columns = ["device", "pictures", "payload of each", "classified rightly", "refused, because"]
    return markdown_table(columns, rows)
