"""What methods make of the gradients of whatever engine computed them, before a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedtiny.models.parameters import ParameterKind
from fedtiny.sparse.tensor import Indices
from fedtiny.training.trainer import SgdConfig

Values = Any
"""A numpy array, or a torch tensor outside autograd: both add, multiply and index alike."""


class Penalty:
    """FedProx's pull towards the received parameters, and FedMef's on the weights about to go.

    Then the prunable weights' gradients are bent (:class:`~fedtiny.pruning.slopes.Slopes`).

    ½ μ ‖θ − θ_received‖² over all parameters (Li et al. 2020, FedProx, Eq. 2) and λ ‖θ_low‖²
    (:class:`~fedtiny.pruning.extrusion.Extrusion`).

    Args:
        sgd: μ and the extrusion, if any.
        values: live views of the parameters by name; statistics are none.
        received: copies of them, empty where μ is 0.
        low: flat positions of θ_low by parameter name.
        prunable: names of the prunable weights, whose gradients are bent.
    """

    def __init__(
        self,
        sgd: SgdConfig,
        values: Mapping[str, Values],
        received: Mapping[str, Values],
        low: Mapping[str, Indices],
        prunable: Sequence[str],
    ) -> None:
        self._mu, self._extrusion = sgd.proximal_mu, sgd.extrusion
        self._rate = sgd.learning_rate  # not sgd itself, which holds a model
        self._values = values
        self._received = received
        self._low = low
        self._slopes, self._prunable = sgd.slopes, prunable
        self._step = 0

    def add_to(self, gradients: Mapping[str, Values]) -> float:
        """Change gradients in place; returns the learning rate of this step."""
        rate = self._add_terms(gradients)
        if self._slopes is not None:
            for name in self._prunable:
                self._slopes.bend(self._values[name], gradients[name], rate)
        return rate

    def _add_terms(self, gradients: Mapping[str, Values]) -> float:
        for name, received in self._received.items():
            gradients[name].__iadd__(self._mu * (self._values[name] - received))
        extrusion = self._extrusion
        if extrusion is None:
            return self._rate
        magnitude = 0.0
        for name, positions in self._low.items():
            low = self._values[name].reshape(-1)[positions]
            magnitude += float(abs(low).sum())
            gradients[name].reshape(-1)[positions] += 2 * extrusion.strength * low
        rate = extrusion.rate(self._rate, magnitude, self._step)
        self._step += 1
        return rate


def low_names(sgd: SgdConfig) -> dict[str, Indices]:
    """θ_low's positions in mask order, by parameter name."""
    low = sgd.extrusion.low if sgd.extrusion else {}
    return {ParameterKind.WEIGHT.of(name): np.asarray(positions) for name, positions in low.items()}
