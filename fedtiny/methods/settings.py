"""The settings that all methods share; a method adds its own in its file."""

from __future__ import annotations

from fedtiny.pruning.bn_selection import BnPooling
from fedtiny.pruning.schedule import Granularity, Order, PruningSchedule
from fedtiny.settings import Count, CountOrNone, Fraction, Section


class PruningSettings(Section):
    """How the model becomes sparse.

    Attributes:
        method: name of the method, e.g. ``fedtiny``; each is described in its file in
            ``fedtiny/methods/``.
        module: Python module to import first, for one that registers a method of your own; it
            must be importable wherever clients run.
        density: nnz / prunable weights.
        bn_pooling: how devices' batch-norm statistics are merged.
        interval: rounds between adjustments (ΔR).
        stop: last round that may adjust (R_stop); 0 for half of the rounds.
        fraction: scale of the cosine quota, 0.15 in the paper.
    """

    method: str = "fedtiny"
    module: str = ""
    density: Fraction = 0.05
    bn_pooling: BnPooling = BnPooling.POOLED
    interval: Count = 2
    stop: CountOrNone = 0
    fraction: Fraction = 0.15

    def schedule(self, rounds: int) -> PruningSchedule:
        """When which layers are adjusted in a run of ``rounds``: the entire model, every time."""
        return PruningSchedule(
            self.interval,
            self.stop or rounds // 2,
            Granularity.ENTIRE,
            Order.BACKWARD,
            self.fraction,
        )
