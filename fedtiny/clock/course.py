"""How one task of one device goes on the simulated clock, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass

from fedtiny.runs.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Course:
    """One task of one device; all times are simulated.

    Attributes:
        partition: of the device.
        number: of the task: the round, or in asynchronous runs counted from 0.
        version: round whose model it trains.
        started_s: when it was given out.
        down_s, compute_s, up_s: what was done of receiving, training and sending.
        down_bytes, up_bytes: on the wire.
        outcome: what became of it.
    """

    partition: int
    number: int
    version: int
    started_s: float
    down_s: float = 0.0
    compute_s: float = 0.0
    up_s: float = 0.0
    down_bytes: int = 0
    up_bytes: int = 0
    outcome: Outcome = Outcome.COUNTED

    @property
    def ended_s(self) -> float:
        """When it ended, well or badly."""
        return self.started_s + self.down_s + self.compute_s + self.up_s
