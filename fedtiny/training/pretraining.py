"""Step 0: the server trains on public samples, so that magnitudes mean something."""

from __future__ import annotations

from collections.abc import Mapping

from fedtiny.data.batches import batches
from fedtiny.data.samples import Samples
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.sparse_model import from_state
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Floats, Mask
from fedtiny.training.choice import dense_engine
from fedtiny.training.config import PretrainingConfig
from fedtiny.training.trainer import SgdConfig


def pretrain(
    settings: PretrainingConfig,
    graph: Graph,
    samples: Samples,
    *,
    momentum: float,
    weight_decay: float,
    seed: int,
    initial: Mapping[str, Floats] | None = None,
) -> tuple[dict[str, Floats], dict[str, float | int]]:
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
        The state by parameter name, and {samples, epochs, accuracy} for the report.
    """
    state = initial_state(graph, rng(seed, "initialization")) if initial is None else initial
    masks = {layer.name: Mask.full(layer.weight_shape) for layer in graph.prunable_layers}
    sgd = SgdConfig(settings.learning_rate, momentum, weight_decay)
    model = from_state(graph, state, masks)
    trainer = dense_engine().trainer(graph, model, sgd, StepPlan(settings.batch_size))
    generator, count = rng(seed, "pretraining"), len(samples)
    for rows in batches(count, settings.batch_size, generator, settings.epochs):
        trainer.step(*samples.batch(rows))
    correct = trainer.evaluate(samples).correct
    report = {"samples": count, "epochs": settings.epochs, "accuracy": correct / max(count, 1)}
    return trainer.model().to_dense(), report
