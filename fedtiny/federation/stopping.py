"""Whether a run goes on: its lowest loss so far, and how long ago that was."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from fedtiny.config.sections import StoppingConfig


@dataclass(frozen=True, slots=True)
class Progress:
    """Of a run's training loss.

    Attributes:
        lowest: mean training loss, nats; infinite before the first round that counts.
        rounds_since: rounds since then.

    >>> patient = StoppingConfig(patience=2, min_delta=0.1)
    >>> progress = Progress()
    >>> for loss in (2.0, 1.0, 0.95, 0.96):
    ...     progress = progress.after(loss, patient)
    >>> progress, progress.is_over(patient), progress.is_over(StoppingConfig())
    (Progress(lowest=1.0, rounds_since=2), True, False)
    """

    lowest: float = inf
    rounds_since: int = 0

    def after(self, loss: float, stopping: StoppingConfig) -> Progress:
        """After one more round with the mean training ``loss``, nats."""
        if loss < self.lowest - stopping.min_delta:
            return Progress(loss)
        return Progress(self.lowest, self.rounds_since + 1)

    def is_over(self, stopping: StoppingConfig) -> bool:
        """Whether the patience is used up."""
        return 0 < stopping.patience <= self.rounds_since
