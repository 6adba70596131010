"""The memory ledger: predicted and measured bytes of one device's training step, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fedtiny.memory.step import StepPlan


class LedgerLine(StrEnum):
    """What training memory is spent on; every byte of the peak belongs to one line."""

    WEIGHTS = "weights"
    """Parameters and batch-norm running statistics."""
    INDICES = "indices"
    """Where the weights sit: masks or index arrays."""
    GRADIENTS = "gradients"
    """Of the parameters."""
    OPTIMIZER = "optimizer"
    """Momentum buffers."""
    SAVED_ACTIVATIONS = "saved_activations"
    """Tensors the forward pass keeps for the backward pass."""
    TEMPORARIES = "temporaries"
    """Gradients of activations and other short-lived tensors."""
    TOP_K = "top_k"
    """Buffer of the largest gradients of pruned weights."""
    BATCH = "batch"
    """Samples and labels of one batch."""
    KERNEL_WORKSPACE = "kernel_workspace"
    """What a kernel allocates for itself, e.g. copies in its own layout."""


@dataclass(frozen=True, slots=True)
class MemoryPrediction:
    """Bytes per line at the moment of the predicted peak.

    Lines are what is live *then*, not each line's own maximum, so they add up to the peak.

    >>> prediction = MemoryPrediction({LedgerLine.WEIGHTS: 400, LedgerLine.BATCH: 100})
    >>> prediction.peak_bytes, prediction.dominating_line.value
    (500, 'weights')
    """

    lines: Mapping[LedgerLine, int]

    @property
    def peak_bytes(self) -> int:
        """Largest number of bytes live at once."""
        return sum(self.lines.values())

    def plus(self, more: Mapping[LedgerLine, int]) -> MemoryPrediction:
        """With ``more`` bytes held all the time.

        >>> MemoryPrediction({LedgerLine.BATCH: 1}).plus({LedgerLine.OPTIMIZER: 2}).peak_bytes
        3
        """
        added = {line: self.lines.get(line, 0) + size for line, size in more.items()}
        return MemoryPrediction({**self.lines, **added})

    @property
    def dominating_line(self) -> LedgerLine:
        """The line with most bytes; the earlier one of equals."""
        return max(LedgerLine, key=lambda line: self.lines.get(line, 0))


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One device's row of the ledger.

    Attributes:
        partition: index of the client's data partition.
        device: name of its board in the catalogue.
        budget_bytes: what a training step may use.
        predicted_peak_bytes: from the layer graph, before training.
        measured_peak_bytes: allocator's peak of a real step; None if none was metered.
        batch: samples per optimizer step.
        step: how the device goes through one.
        lines: predicted bytes per line at the peak.
    """

    partition: int
    device: str
    budget_bytes: int
    predicted_peak_bytes: int
    measured_peak_bytes: int | None
    batch: int
    step: StepPlan
    lines: Mapping[LedgerLine, int]

    def to_json(self) -> dict[str, Any]:
        """Plain types only; :func:`fedtiny.runs.fields.read_ledger` is the inverse."""
        return {
            "partition": self.partition,
            "device": self.device,
            "budget_bytes": self.budget_bytes,
            "predicted_peak_bytes": self.predicted_peak_bytes,
            "measured_peak_bytes": self.measured_peak_bytes,
            "batch": self.batch,
            "micro_batch": self.step.micro_batch,
            "recompute": list(self.step.recompute),
            "lines": {line.value: self.lines.get(line, 0) for line in LedgerLine},
        }


def format_bytes(size: int) -> str:
    """``size`` for humans, three digits, in binary units.

    >>> format_bytes(900), format_bytes(262144), format_bytes(2040788)
    ('900 B', '256 KiB', '1.95 MiB')
    """
    if size < 1024:
        return f"{size} B"
    value, unit = size / 1024, "KiB"
    if value >= 1024:
        value, unit = value / 1024, "MiB"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
