"""The masked trainer obeys what the graph says of a node: activation, trainable, observed."""

import numpy as np
import pytest
import torch
from array_samples import ArraySamples

from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.ops import INPUT, Activation, Add, Conv, Linear, Pool
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.models.torch_module import GraphModule
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Mask
from fedtiny.training.masked.trainer import TorchTrainer
from fedtiny.training.trainer import SgdConfig

GRAPH = Graph(
    "facts",
    (2, 1, 16),
    (
        Conv("stem", INPUT, 2, 6, (1, 3), padding=(0, 1), prunable=False, trainable=False),
        Conv("swish", "stem", 6, 6, (1, 3), padding=(0, 1), activation=Activation.HARD_SWISH),
        Conv("six", "swish", 6, 6, (1, 3), padding=(0, 1), activation=Activation.RELU6),
        Add("join", "six", "stem", Activation.HARD_SWISH),
        Pool("pool", "join"),
        Linear("classifier", "pool", 6, 3, prunable=False),
    ),
)


def model() -> SparseModel:
    masks = {
        layer.name: Mask(layer.weight_shape, np.arange(0, 108, 2, dtype=np.int32))
        for layer in GRAPH.prunable_layers
    }
    return from_state(GRAPH, initial_state(GRAPH, rng(0, "facts")), masks)


def batch() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = 4 * random.standard_normal((24, *GRAPH.input_shape)).astype(np.float32)
    return x, random.integers(3, size=24)


def test_ranges_are_of_the_observed_tensors_in_their_order() -> None:
    x, y = batch()
    ranges = TorchTrainer(GRAPH, model(), micro_batch=7).ranges(ArraySamples(x, y))
    names = ["swish.linear", "swish", "six", "join.linear", "join"]
    assert list(ranges) == list(GRAPH.observed) == [
        INPUT, "stem", *names, "pool", "classifier",
    ]  # fmt: skip
    for name in ("swish", "join"):
        low, high = ranges[f"{name}.linear"]
        swished = Activation.HARD_SWISH(np.linspace(low, high, 100_001))
        assert ranges[name] == pytest.approx((swished.min(), swished.max()), abs=1e-2)
    assert 0 <= ranges["six"][0] <= ranges["six"][1] <= 6


@pytest.mark.parametrize("proximal_mu", [0.0, 0.5])
def test_a_layer_that_is_not_trainable_keeps_its_parameters(proximal_mu: float) -> None:
    start, (x, y) = model(), batch()
    sgd = SgdConfig(0.1, 0.9, 1e-2, proximal_mu=proximal_mu)
    trainer = TorchTrainer(GRAPH, start, sgd, 12)
    for _ in range(3):
        trainer.step(x, y)
    assert trainer.growth(x, y, {"six": 3})["six"][0].size == 3
    before, after = start.to_dense(), trainer.model().to_dense()
    for row in GRAPH.parameters:
        assert np.array_equal(before[row.name], after[row.name]) == (row.layer == "stem"), row


def test_gradients_flow_through_every_activation() -> None:
    """Finite differences of the loss along one random direction, in float64."""
    module = GraphModule(GRAPH).double()
    state = {k: v.astype(np.float64) for k, v in model().to_dense().items()}
    module.load(state)
    x, y = (torch.from_numpy(part) for part in batch())

    def loss() -> torch.Tensor:
        return torch.nn.functional.cross_entropy(module(x.double()), y)

    loss().backward()
    weight = module.tensor("swish.weight")
    direction = torch.from_numpy(np.random.default_rng(1).standard_normal(weight.shape))
    assert weight.grad is not None
    expected = (weight.grad * direction).sum().item()
    with torch.no_grad():
        weight += 1e-6 * direction
        above = loss().item()
        weight -= 2e-6 * direction
        slope = (above - loss().item()) / 2e-6
    assert slope == pytest.approx(expected, rel=1e-4)
