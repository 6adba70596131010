"""One client's round: local epochs, and what the method asks for besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fedtiny.data.batches import batches
from fedtiny.data.dataset import Dataset
from fedtiny.data.statistics import Normalization
from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import Floats
from fedtiny.training.trainer import Growth, Labels, Trainer


@dataclass(frozen=True, slots=True, eq=False)
class LocalUpdate:
    """What a client sends back after training.

    Attributes:
        model: values in the order of the masks that came down, or of its own if it regrew.
        count: samples trained on.
        loss: mean over all steps, nats.
        found: what the method asks for besides, e.g. the largest gradients of absent weights.
    """

    model: SparseModel
    count: int
    loss: float
    found: Growth


class Adjustment(Protocol):
    """What a device does in a round that adjusts masks; methods have their own."""

    @property
    def changes_masks(self) -> bool:
        """Whether :meth:`midway` gives the model to go on with after half of the steps."""

    def midway(
        self, trainer: Trainer, x: Floats, y: Labels, quotas: Mapping[str, int]
    ) -> SparseModel:
        """The model to go on with, found on batch (x, y)."""

    def finish(self, trainer: Trainer, x: Floats, y: Labels, quotas: Mapping[str, int]) -> Growth:
        """What to report after the last step, found on batch (x, y)."""


def trainer_inputs(dataset: Dataset, normalization: Normalization) -> tuple[Floats, Labels]:
    """A data set as trainers take it: float32 (N, C, H, W), normalised, and int64 labels."""
    return normalization.apply(dataset.x), dataset.y.copy()


def train_locally(
    start: Callable[[SparseModel], Trainer],
    model: SparseModel,
    x: Floats,
    y: Labels,
    *,
    epochs: int,
    batch_size: int,
    generator: np.random.Generator,
    quotas: Mapping[str, int],
    adjustment: Adjustment,
) -> LocalUpdate:
    """Train for ``epochs`` passes over (x, y); with quotas, do what ``adjustment`` says as well.

    It finishes on the last full batch, at the trained weights (FedTiny, Alg. 2); a client with less
    than one full batch uses its last batch. One that changes masks itself does so halfway, on the
    next batch, and the new weights are trained for the second half (FedDST).

    Args:
        start: makes the trainer of a model; never are there two at once.
        model: to train.
        x: float32 (N, C, H, W), normalised.
        y: int64 (N,).
        epochs: ≥ 1.
        batch_size: samples per step; the last batch of an epoch may be smaller.
        generator: draws the permutations.
        quotas: by layer, how many weights may change; empty when nothing is adjusted.
        adjustment: what to do in a round with quotas.
    """
    losses = []
    last_batch = np.arange(0)
    order = list(batches(len(x), batch_size, generator, epochs))
    halfway = len(order) // 2 if quotas and adjustment.changes_masks else None
    trainer = start(model)
    for step, batch in enumerate(order):
        if step == halfway:
            changed = adjustment.midway(trainer, x[batch], y[batch], quotas)
            del trainer  # a device has no memory for two
            trainer = start(changed)
        losses.append(trainer.step(x[batch], y[batch]))
        if len(batch) == batch_size or len(last_batch) < batch_size:
            last_batch = batch
    found: Growth = {}
    if quotas:
        found = adjustment.finish(trainer, x[last_batch], y[last_batch], quotas)
    return LocalUpdate(trainer.model(), len(x), float(np.mean(losses)), found)
