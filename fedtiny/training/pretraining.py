"""Step 0: the server trains on public samples, so that magnitudes mean something."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedtiny.data.batches import batches
from fedtiny.data.samples import Samples
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Floats, Mask
from fedtiny.training.choice import dense_engine
from fedtiny.training.config import PretrainingConfig
from fedtiny.training.trainer import SgdConfig, Trainer


def pretrain(
    settings: PretrainingConfig,
    graph: Graph,
    samples: Samples,
    *,
    momentum: float,
    weight_decay: float,
    seed: int,
    initial: Mapping[str, Floats] | None = None,
) -> tuple[dict[str, Floats], float]:
    """Dense parameters after ``settings.epochs`` on the public samples.

    Args:
        settings: epochs, batch size, learning rate.
        graph: the model.
        samples: taken from the training pool and removed from every client; normalised by the
            merged statistics of the devices.
        momentum, weight_decay: of SGD, as for the devices.
        seed: of the initial weights and of the batches.
        initial: dense parameters and statistics by name to begin with, instead of random ones.

    Returns:
        The state by parameter name, and the accuracy on the public samples, in [0, 1].
    """
    state = initial_state(graph, rng(seed, "initialization")) if initial is None else initial
    masks = {layer.name: Mask.full(layer.weight_shape) for layer in graph.prunable_layers}
    sgd = SgdConfig(settings.learning_rate, momentum, weight_decay)
    model, generator = from_state(graph, state, masks), rng(seed, "pretraining")
    trainer = fit(graph, model, samples, sgd, settings.batch_size, settings.epochs, generator)
    correct, count = trainer.evaluate(samples).correct, len(samples)
    return trainer.model().to_dense(), correct / max(count, 1)


def fit(
    graph: Graph,
    model: SparseModel,
    samples: Samples,
    sgd: SgdConfig,
    batch: int,
    epochs: int,
    generator: np.random.Generator,
) -> Trainer:
    """A trainer after some epochs on the server.

    Args:
        graph, model: what is trained, under the model's masks.
        samples: all of them, in every epoch.
        sgd: the optimizer.
        batch: samples per step.
        epochs: 0 or more.
        generator: of the batches.
    """
    trainer = dense_engine().trainer(graph, model, sgd, StepPlan(batch))
    for rows in batches(len(samples), batch, generator, epochs):
        trainer.step(*samples.batch(rows))
    return trainer
