"""One client's round: local epochs, and what the method asks for besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from fedtiny.config.methods import DeviceRule
from fedtiny.data.batches import batches
from fedtiny.data.samples import Samples
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.regrowth import regrow
from fedtiny.sparse.tensor import Floats
from fedtiny.training.trainer import Growth, Trainer


@dataclass(frozen=True, slots=True, eq=False)
class LocalUpdate:
    """What a client sends back after training.

    Attributes:
        model: values in the order of the masks that came down, or of its own if it regrew.
        count: samples trained on.
        loss: mean over all steps, nats.
        growth: largest gradients of absent weights, for the layers asked about.
        squares: by layer, the square of every gradient, in weight layout; PruneFL only.
    """

    model: SparseModel
    count: int
    loss: float
    growth: Growth
    squares: Mapping[str, Floats] = field(default_factory=dict)


def train_locally(
    start: Callable[[SparseModel], Trainer],
    model: SparseModel,
    samples: Samples,
    *,
    epochs: int,
    batch_size: int,
    generator: np.random.Generator,
    quotas: Mapping[str, int],
    rule: DeviceRule = DeviceRule.REPORT,
) -> LocalUpdate:
    """Train for ``epochs`` passes; where masks are adjusted, do what ``rule`` says.

    Gradients are taken at the trained weights on the last full batch (FedTiny, Alg. 2); a client
    with less than one full batch uses its last batch. Under ``DeviceRule.REGROW`` they are taken
    halfway, on the next batch, and the new weights are trained for the second half (FedDST).

    Args:
        start: makes the trainer of a model; never are there two at once.
        model: to train.
        samples: drawn batch by batch; no two batches are ever held together.
        epochs: ≥ 1.
        batch_size: samples per step; the last batch of an epoch may be smaller.
        generator: draws the permutations.
        quotas: by layer, how many weights may change; empty when nothing is adjusted.
        rule: what to do in a round with quotas.
    """
    losses = []
    growth_batch = np.arange(0)
    steps = epochs * ceil(len(samples) / batch_size)
    regrows = bool(quotas) and rule is DeviceRule.REGROW
    trainer = start(model)
    for step, batch in enumerate(batches(len(samples), batch_size, generator, epochs)):
        if regrows and step == steps // 2:
            found = trainer.growth(*samples.batch(batch), quotas)
            grown = regrow(trainer.model(), found, quotas)
            del trainer  # a device has no memory for two
            trainer = start(grown)
        losses.append(trainer.step(*samples.batch(batch)))
        if len(batch) == batch_size or len(growth_batch) < batch_size:
            growth_batch = batch
    growth: Growth = {}
    if quotas and not regrows:
        growth = trainer.growth(*samples.batch(growth_batch), quotas)
    trained, loss = trainer.model(), float(np.mean(losses))
    if quotas and rule is DeviceRule.SQUARES:
        present = trainer.gradients(*samples.batch(growth_batch))
        return LocalUpdate(trained, len(samples), loss, {}, _squares(trained, present, growth))
    return LocalUpdate(trained, len(samples), loss, growth)


def _squares(
    model: SparseModel, present: Mapping[str, Floats], absent: Growth
) -> dict[str, Floats]:
    """g² of every prunable weight, in weight layout."""
    squares = {}
    for name, weight in model.weights.items():
        flat = np.zeros(weight.mask.size, np.float32)
        flat[weight.mask.indices] = present[name] ** 2
        if name in absent:
            positions, gradient = absent[name]
            flat[positions] = gradient**2
        squares[name] = flat.reshape(weight.shape)
    return squares
