"""One client's round: local epochs, and what the method asks for besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np

from fedtiny.data.batches import batches
from fedtiny.data.samples import Samples
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


def train_locally(
    start: Callable[[SparseModel], Trainer],
    model: SparseModel,
    samples: Samples,
    *,
    epochs: int,
    batch_size: int,
    generator: np.random.Generator,
    quotas: Mapping[str, int],
    adjustment: Adjustment,
) -> LocalUpdate:
    """Train for ``epochs`` passes; with quotas, do what ``adjustment`` says as well.

    It finishes on the last full batch, at the trained weights (FedTiny, Alg. 2); a client with less
    than one full batch uses its last batch. One that changes masks itself does so halfway, on the
    next batch, and the new weights are trained for the second half (FedDST).

    Args:
        start: makes the trainer of a model; never are there two at once.
        model: to train.
        samples: drawn batch by batch; no two batches are ever held together.
        epochs: ≥ 1.
        batch_size: samples per step; the last batch of an epoch may be smaller.
        generator: draws the permutations.
        quotas: by layer, how many weights may change; empty when nothing is adjusted.
        adjustment: what to do in a round with quotas.
    """
    losses = []
    last_batch = np.arange(0)
    steps = epochs * ceil(len(samples) / batch_size)
    halfway = steps // 2 if quotas and adjustment.changes_masks else None
    trainer = start(model)
    for step, batch in enumerate(batches(len(samples), batch_size, generator, epochs)):
        if step == halfway:
            changed = adjustment.midway(trainer, *samples.batch(batch), quotas)
            del trainer  # a device has no memory for two
            trainer = start(changed)
        losses.append(trainer.step(*samples.batch(batch)))
        if len(batch) == batch_size or len(last_batch) < batch_size:
            last_batch = batch
    found: Growth = {}
    if quotas:
        found = adjustment.finish(trainer, *samples.batch(last_batch), quotas)
    return LocalUpdate(trainer.model(), len(samples), float(np.mean(losses)), found)
