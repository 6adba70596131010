"""Gradients of weights bent before a step, so that large weights move more than small ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fedtiny.models.sparse_model import SparseModel

Values = Any
"""A numpy array, or a torch tensor outside autograd."""


class Slopes(Protocol):
    """What a method makes of the gradients of a prunable layer's weights."""

    def bend(self, weights: Values, gradients: Values, rate: float) -> None:
        """Change ``gradients`` in place.

        Temporaries are a few arrays of one layer's size.

        Args:
            weights: as they are before the step; 0 where they are absent.
            gradients: of the loss, same shape.
            rate: the step's learning rate, > 0.
        """


@dataclass(frozen=True, slots=True)
class PowerPropagation:
    """w = sign(θ) |θ|^α, trained in θ (Schwarz et al., NeurIPS 2021, "Powerpropagation").

    A step of plain gradient descent in θ is θ' = θ − η α |θ|^(α−1) ∂L/∂w. The gradient is bent to
    (w − w(θ')) / η, so that descending along it gives w(θ') exactly; momentum and weight decay, if
    any, act on w. A weight at 0 has no gradient, and stays there.

    Attributes:
        alpha: α ≥ 1; 1 changes nothing.

    >>> gradients = np.float32([1.0, 1.0])
    >>> PowerPropagation(2.0).bend(np.float32([0.25, 0.0]), gradients, 0.1)
    >>> print(gradients.round(4))  # θ = 0.5, θ' = 0.4, w' = 0.16
    [0.9 0. ]
    """

    alpha: float

    def bend(self, weights: Values, gradients: Values, rate: float) -> None:
        """See :meth:`Slopes.bend`."""
        inner = _powered(weights, 1 / self.alpha)
        inner -= rate * self.alpha * abs(inner) ** (self.alpha - 1) * gradients
        gradients[...] = (weights - _powered(inner, self.alpha)) / rate


@dataclass(frozen=True, slots=True)
class ThresholdSlope:
    """The gradient through a threshold on |θ| (FIARSE's TCB-GD).

    With a mask M = 1{|θ| ≥ τ} whose slope is taken as 2τ / (|θ| + τ)², dL/dθ of θ M is
    g (1 + 2τ |θ| / (|θ| + τ)²): 1.5 g at the threshold, g far above it.

    Attributes:
        threshold: τ ≥ 0.

    >>> gradients = np.float32([1.0, 1.0])
    >>> ThresholdSlope(0.5).bend(np.float32([-0.5, 1.5]), gradients, 0.1)
    >>> gradients.tolist()
    [1.5, 1.375]
    """

    threshold: float

    def bend(self, weights: Values, gradients: Values, rate: float) -> None:  # noqa: ARG002 - Slopes'
        """See :meth:`Slopes.bend`."""
        if self.threshold > 0:
            size = abs(weights)
            gradients *= 1 + 2 * self.threshold * size / (size + self.threshold) ** 2


def smallest_weight(model: SparseModel) -> float:
    """The smallest |θ| that a mask keeps: the threshold of a model made by one."""
    present = [np.abs(weight.values) for weight in model.weights.values() if weight.nnz]
    return float(min(values.min() for values in present))


def _powered(values: Values, power: float) -> Values:
    """sign(x) |x|^p."""
    return ((values > 0) * 1.0 - (values < 0) * 1.0) * abs(values) ** power
