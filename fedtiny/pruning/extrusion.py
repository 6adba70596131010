"""FedMef's budget-aware extrusion: weights about to be pruned hand on what they know.

Huang et al. 2024 (arXiv 2403.14737), "Budget-aware Extrusion"; equation numbers not checked. The
rate is the one of the authors' library (github.com/FedPruning/FedPruning), which measures θ_low
there by its sum of magnitudes; its penalty is Σ_l ‖θ_low,l‖₂ without λ, ours λ ‖θ_low‖².
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

import numpy as np

from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.order import magnitude_order
from fedtiny.sparse.tensor import Indices


@dataclass(frozen=True, slots=True, eq=False)
class Extrusion:
    """Adds λ ‖θ_low‖² to the loss and keeps the learning rate up meanwhile.

    Attributes:
        strength: λ.
        low: θ_low by layer name, int64 positions in mask order.
        initial_rate: η_0, the learning rate of the first round.
        steps: T, the budget: steps of the round.
    """

    strength: float
    low: Mapping[str, Indices]
    initial_rate: float
    steps: int

    def rate(self, scheduled: float, magnitude: float, step: int) -> float:
        """μ_t = max(η_t, p(t) (2σ(‖θ_low‖₁) − 1) η_0), p(t) = (2T − 2t) / (2T − t).

        Args:
            scheduled: η_t.
            magnitude: ‖θ_low‖₁, over all layers.
            step: t, from 0.

        >>> extrusion = Extrusion(1e-4, {}, initial_rate=0.1, steps=10)
        >>> [round(extrusion.rate(0.02, 100.0, t), 4) for t in (0, 5, 9)]
        [0.1, 0.0667, 0.02]
        >>> extrusion.rate(0.02, 0.0, 0)
        0.02
        """
        remaining = (2 * self.steps - 2 * step) / (2 * self.steps - step)
        floor = remaining * (2 / (1 + exp(-magnitude)) - 1) * self.initial_rate
        return max(scheduled, floor)


def lowest(model: SparseModel, quotas: Mapping[str, int]) -> dict[str, Indices]:
    """The ``quotas[layer]`` smallest |θ| of each layer named, as ascending mask positions."""
    return {
        name: np.sort(magnitude_order(model.weights[name].values)[-quota:])
        for name, quota in quotas.items()
    }
