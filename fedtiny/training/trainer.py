"""What the federation asks of a training engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedtiny.data.samples import Samples
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.bn_selection import Moments
from fedtiny.pruning.extrusion import Extrusion
from fedtiny.pruning.slopes import Slopes
from fedtiny.sparse.tensor import Floats, Indices

Labels = npt.NDArray[np.int64]

Growth = Mapping[str, tuple[Indices, Floats]]
"""By layer: flat indices (ascending) of absent weights and their loss gradients."""

Ranges = Mapping[str, tuple[float, float]]
"""By tensor name: smallest and largest value seen."""


@dataclass(frozen=True, slots=True)
class SgdConfig:
    """Stochastic gradient descent with momentum (PyTorch's form), decay on every parameter.

    Attributes:
        learning_rate: > 0.
        momentum: in [0, 1).
        weight_decay: ≥ 0.
        proximal_mu: ≥ 0, FedProx's pull towards the received parameters.
        received: the parameters received, under whatever masks; ``None`` if the trainer starts
            with them. A weight that is trained and was not received is pulled towards 0.
        extrusion: FedMef's, in a round that adjusts masks.
        slopes: what is made of the prunable weights' gradients before a step.
    """

    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 0.0
    proximal_mu: float = 0.0
    received: SparseModel | None = None
    extrusion: Extrusion | None = None
    slopes: Slopes | None = None

    @property
    def penalizes(self) -> bool:
        """Whether gradients are not those of the loss and weight decay alone."""
        return self.proximal_mu > 0 or self.extrusion is not None or self.slopes is not None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Outcome of a model on labelled samples.

    Attributes:
        loss_sum: cross-entropy summed over samples, nats.
        confusion: int64 (classes, classes), rows true labels, columns predictions.
    """

    loss_sum: float
    confusion: npt.NDArray[np.int64]

    @property
    def count(self) -> int:
        """Samples seen."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        """Samples whose largest logit is at the true label."""
        return int(np.trace(self.confusion))


class Trainer(Protocol):
    """Holds one sparse model and trains it in place. Fresh for every task: no state survives.

    Batches are float32 ``(N, C, H, W)``, normalised, with int64 labels ``(N,)``; data sets are
    drawn a micro-batch at a time and never held as floats.
    """

    def step(self, x: Floats, y: Labels) -> float:
        """One SGD step on a batch; returns its mean loss before the step.

        A batch above the micro-batch is accumulated: gradients are those of the whole batch,
        but each micro-batch is normalised by its own statistics ("ghost" batch norm).
        """

    def growth(self, x: Floats, y: Labels, quotas: Mapping[str, int]) -> Growth:
        """The ``quotas[layer]`` largest |dL/dw| among each layer's absent weights."""

    def gradients(self, x: Floats, y: Labels) -> dict[str, Floats]:
        """dL/dw of each prunable layer's present weights on one batch, in mask order.

        The model, running statistics included, is left as it was.
        """

    def evaluate(self, samples: Samples) -> Evaluation:
        """Loss and confusion with running statistics."""

    def batch_norm_moments(self, samples: Samples) -> dict[str, Moments]:
        """Batch statistics averaged cumulatively over micro-batches, forward only."""

    def ranges(self, samples: Samples) -> Ranges:
        """Value range of every tensor of the graph with running statistics."""

    def model(self) -> SparseModel:
        """The model as it stands, in its masks' order."""
