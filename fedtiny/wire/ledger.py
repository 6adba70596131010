"""A device's memory plan as part of a message."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedtiny.memory.ledger import LedgerEntry, LedgerLine
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.wire.packet import MAX_COUNT, Packet, Scalar, WireError

FIELDS: Mapping[str, str] = {
    "device": "name of its board",
    "budget_bytes": "its memory budget for training",
    "batch": "samples per optimizer step",
    "micro_batch": "samples per forward pass",
    "recompute": "names of the convolutions it runs twice to save memory",
    "ledger": "its predicted training memory, by purpose",
    "measured_peak_bytes": "measured peak of its training memory",
}
"""What each array or number is, by kind."""

_LINES = tuple(LedgerLine)


def ledger_packet(entry: LedgerEntry | None) -> Packet:
    """A device's row of the ledger as part of a message; nothing for ``None``."""
    if entry is None:
        return Packet()
    scalars: dict[str, Scalar] = {
        "device": entry.device,
        "budget_bytes": entry.budget_bytes,
        "batch": entry.batch,
        "micro_batch": entry.step.micro_batch,
    }
    if entry.step.recompute:
        scalars["recompute"] = " ".join(entry.step.recompute)
    if entry.measured_peak_bytes is not None:
        scalars["measured_peak_bytes"] = entry.measured_peak_bytes
    return Packet({"ledger": np.array([entry.lines.get(k, 0) for k in _LINES], np.int64)}, scalars)


def read_ledger(graph: Graph, partition: int, packet: Packet) -> LedgerEntry | None:
    """The inverse of :func:`ledger_packet`; raises WireError."""
    if "ledger" not in packet.arrays:
        return None
    lines = packet.integers("ledger", np.int64, (len(_LINES),)).tolist()
    if min(lines) < 0 or sum(lines) > MAX_COUNT:
        raise WireError(f"ledger: a line outside 0..{MAX_COUNT} bytes")
    measured = None
    if "measured_peak_bytes" in packet.scalars:
        measured = packet.integer("measured_peak_bytes")
    return LedgerEntry(
        partition=partition,
        device=packet.name("device"),
        budget_bytes=packet.integer("budget_bytes"),
        predicted_peak_bytes=sum(lines),
        measured_peak_bytes=measured,
        batch=packet.integer("batch"),
        step=StepPlan(packet.integer("micro_batch"), _read_recompute(graph, packet)),
        lines=dict(zip(_LINES, lines, strict=True)),
    )


def _read_recompute(graph: Graph, packet: Packet) -> tuple[str, ...]:
    if "recompute" not in packet.scalars:
        return ()
    names = packet.text("recompute").split()
    unknown = set(names) - {layer.name for layer in graph.layers}
    if unknown:
        raise WireError(f"recompute: the model has no layer {', '.join(sorted(unknown))}")
    return tuple(names)
