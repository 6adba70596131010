"""Step 0: the server trains on public samples, so that magnitudes mean something."""

from __future__ import annotations

from fedtiny.config import RunConfig
from fedtiny.data.batches import batches
from fedtiny.data.dataset import Dataset
from fedtiny.data.statistics import Normalization
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.sparse_model import from_state
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Floats, Mask
from fedtiny.training.choice import dense_engine
from fedtiny.training.local import trainer_inputs
from fedtiny.training.trainer import SgdConfig


def pretrain(
    config: RunConfig, graph: Graph, public: Dataset, normalization: Normalization
) -> tuple[dict[str, Floats], dict[str, float | int]]:
    """Dense parameters after ``config.pretraining`` on the public samples.

    Args:
        config: epochs, batch size, learning rate, seed.
        graph: the model.
        public: samples taken from the training pool and removed from every client.
        normalization: merged from the devices' statistics.

    Returns:
        The state by parameter name, and {samples, epochs, accuracy} for the report.
    """
    settings = config.pretraining
    state = initial_state(graph, rng(config.seed, "initialization"))
    masks = {layer.name: Mask.full(layer.weight_shape) for layer in graph.prunable_layers}
    sgd = SgdConfig(settings.learning_rate, config.training.momentum, config.training.weight_decay)
    model = from_state(graph, state, masks)
    trainer = dense_engine().trainer(graph, model, sgd, StepPlan(settings.batch_size))
    x, y = trainer_inputs(public, normalization)
    generator = rng(config.seed, "pretraining")
    for batch in batches(len(x), settings.batch_size, generator, settings.epochs):
        trainer.step(x[batch], y[batch])
    correct = trainer.evaluate(x, y).correct
    report = {"samples": len(x), "epochs": settings.epochs, "accuracy": correct / max(len(x), 1)}
    return trainer.model().to_dense(), report
