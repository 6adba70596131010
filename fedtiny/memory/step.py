"""How a device goes through one training step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What a device chose to fit its memory.

    Attributes:
        micro_batch: samples per forward and backward pass, ≥ 1.
        recompute: convolutions run again in the backward pass instead of keeping their output, in
            graph order. Costs time, changes no bit of the result.
    """

    micro_batch: int
    recompute: tuple[str, ...] = ()
