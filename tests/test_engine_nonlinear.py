"""The activation functions through the engine's training, against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from builders import activated, batch_of, random_model, widened
from engine_oracle import Oracle, assert_agrees

from fedtiny.engine import EngineOptions, Executor, available
from fedtiny.engine.library import load
from fedtiny.models import build
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Conv, Linear, Node

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif(not available(), reason="the engine is not compiled here")

MODELS = {
    "resnet8": ((1, 11, 13), 10, 21),
    "smartwatch_cnn": ((6, 1, 50), 7, 9),
    "ds_cnn": ((1, 49, 10), 12, 5),
    "vgg11": ((3, 32, 32), 10, 4),
}

MIXED = {
    "relu6": (Activation.RELU6,),
    "hard_swish": (Activation.HARD_SWISH,),
    "mixed": (Activation.HARD_SWISH, Activation.RELU6, Activation.RELU),
}


@pytest.mark.parametrize("activations", MIXED)
@pytest.mark.parametrize("name", ["resnet8", "smartwatch_cnn", "ds_cnn", "vgg11"])
def test_every_activation_matches_autograd(name, activations, lib64):
    shape, classes, samples = MODELS[name]
    graph = activated(build(name, shape, classes), *MIXED[activations])
    model = widened(random_model(graph, 0.1))
    x, y = batch_of(graph, samples)
    for recompute in ((), tuple(layer.name for layer in graph.layers)):
        options = EngineOptions(samples, recompute=recompute)
        trainer = Executor(graph, model, options, lib=lib64)
        assert_agrees(trainer, Oracle(graph, model), x, y, 1e-10)
    for instruction_set in load().instruction_sets:
        trainer = Executor(graph, model, EngineOptions(samples), instruction_set=instruction_set)
        assert_agrees(trainer, Oracle(graph, model), x, y, 1e-4)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("activation", [a for a in Activation if a is not Activation.NONE])
def test_gradients_at_the_bends_are_pytorchs(lib64, activation, summed):
    """The activation reads exactly what stands in x: a 1×1 convolution by 1, and perhaps + 0."""
    bends = np.array([-4, -3, -1, 0, 1, 3, 5, 6, 7], np.float32)
    kinds = (Activation.NONE, activation) if summed else (activation, Activation.NONE)
    nodes: list[Node] = [
        Conv("same", INPUT, 1, 1, (1, 1), batch_norm=False, activation=Activation.NONE),
        Conv("again", "same", 1, 1, (1, 1), batch_norm=False, activation=kinds[0]),
        Conv("zero", "same", 1, 1, (1, 1), batch_norm=False, activation=Activation.NONE),
        Add("sum", "again", "zero", activation=kinds[1]),
        Linear("classifier", "sum", len(bends), 3),
    ]
    graph = Graph("bends", (1, 1, len(bends)), tuple(nodes))
    model = random_model(graph, 1.0)
    for name, value in (("same", 1), ("again", 1), ("zero", 0)):
        model.weights[name].values[:] = value
        model.dense[f"{name}.bias"][:] = 0
    x, y = np.tile(bends, (4, 1, 1, 1)), np.array([0, 1, 2, 0])
    trainer = Executor(graph, model, EngineOptions(4), lib=lib64)
    assert_agrees(trainer, Oracle(graph, model), x, y, 1e-12)


@pytest.mark.parametrize("activations", [(Activation.RELU,), MIXED["mixed"]])
def test_evaluation_and_ranges_are_those_of_the_masked_dense_network(lib64, activations):
    graph = activated(build("resnet8", (1, 9, 9), 4), *activations)
    model = widened(random_model(graph, 0.2))
    x, y = batch_of(graph, 11)
    trainer, oracle = Executor(graph, model, EngineOptions(4), lib=lib64), Oracle(graph, model)
    loss, correct = trainer.evaluate(x, y)
    logits = oracle.logits(x, training=False)
    assert loss / 11 == pytest.approx(F.cross_entropy(logits, torch.tensor(y)).item(), rel=1e-10)
    assert correct == (logits.argmax(1).numpy() == y).sum()
    ranges = trainer.ranges([x])
    assert tuple(ranges) == graph.observed
    for name, found in ranges.items():
        seen = oracle.seen[name]
        assert found == pytest.approx((seen.min().item(), seen.max().item()), rel=1e-6, abs=1e-9)
