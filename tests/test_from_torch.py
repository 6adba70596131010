"""A PyTorch module as a graph: it computes what the module does, or is refused readably."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch_networks import NETWORKS, network

from fedtiny import models
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Activation, Conv
from fedtiny.models.ops.tensor import lifted
from fedtiny.models.torch_module import GraphModule


def rebuilt(module: nn.Module, shape: tuple[int, ...]) -> tuple[Graph, GraphModule]:
    graph, state = Graph.from_torch(module, torch.zeros(1, *shape))
    assert list(state) == [row.name for row in graph.parameter_table]
    ours = GraphModule(graph)
    ours.load(state)
    return graph, ours.eval()


def assert_same(module: nn.Module, shape: tuple[int, ...], last: object = None) -> Graph:
    """Our graph gives what the module does, but for what ``last`` does at its end."""
    graph, ours = rebuilt(module, shape)
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = module.eval()(x).flatten(1)
        found = ours(x.reshape(4, *lifted(shape)))
    found = last(found, 1) if callable(last) else found
    scale = float(wanted.abs().max())
    assert float((found - wanted).abs().max()) <= 2e-5 * scale
    assert scale > 0
    return graph


ENDS = {
    "mobilenet_v1": torch.softmax,
    "resnet8": torch.softmax,
    "series": torch.log_softmax,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_computes_the_same_as_a_graph(name: str) -> None:
    module, shape = network(name)
    graph = assert_same(module, shape, ENDS.get(name))
    weights = [p for p in module.parameters() if p.dim() > 1]
    identities = [n for n in graph.layers if isinstance(n, Conv) and not n.prunable]
    assert len(weights) <= len(graph.layers) <= len(weights) + len(identities)
    assert Graph.from_json(graph.to_json()) == graph
    assert not module.training


def test_what_belongs_together_becomes_one_node() -> None:
    module, shape = network("resnet8")
    graph, _ = rebuilt(module, shape)
    assert [node.name for node in graph.nodes][:4] == [
        "stem", "stages.0.conv1", "stages.0.conv2", "add",
    ]  # fmt: skip
    assert len(graph.layers) == 10
    assert graph.layer("stages.0.conv2").activation is Activation.NONE
    assert [layer.name for layer in graph.layers if not layer.prunable] == ["stem", "classifier"]
    assert graph.layer("stages.1.conv1").block == "stages"
    names, _ = Graph.from_torch(module, torch.zeros(1, *shape), dense=["stages.0.conv1"])
    assert [one.name for one in names.layers if not one.prunable] == ["stages.0.conv1"]


@pytest.mark.parametrize("name", ["smartwatch_cnn", "resnet8", "ds_cnn"])
def test_our_own_networks_come_back_as_they_are(name: str) -> None:
    shape = {"smartwatch_cnn": (6, 1, 128), "resnet8": (3, 32, 32), "ds_cnn": (1, 49, 10)}[name]
    built = models.build(name, shape, 7)
    module = GraphModule(built)
    generator = np.random.default_rng(0)
    module.load({row.name: row.initial(generator) for row in built.parameter_table})
    graph = assert_same(module, shape)
    assert [type(node) for node in graph.nodes] == [type(node) for node in built.nodes]
    assert [layer.activation for layer in graph.layers] == [one.activation for one in built.layers]


def test_zeros_stay_zeros_pruned_for_good_or_not() -> None:
    module, shape = network("series")
    prune.random_unstructured(module.two, "weight", 0.75)
    prune.l1_unstructured(module.head[1], "weight", 0.5)

    class Halved(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * (weight > 0)

    parametrize.register_parametrization(module.one, "weight", Halved())
    graph = assert_same(module, shape, torch.log_softmax)
    _, state = Graph.from_torch(module, torch.zeros(1, *shape))
    for name, layer in (("two", module.two), ("head.1", module.head[1]), ("one", module.one)):
        there = state[f"{name}.weight"].reshape(layer.weight.shape)
        assert np.array_equal(there, layer.weight.detach().numpy())
    assert np.count_nonzero(state["two.weight"]) == 8 * 12 * 3 // 4
    before = [p.clone() for p in module.parameters()]
    prune.remove(module.two, "weight")
    again, kept = Graph.from_torch(module, torch.zeros(1, *shape))
    assert again == graph
    assert np.array_equal(kept["two.weight"], state["two.weight"])
    assert len(before) == len(list(module.parameters()))


class Called(nn.Module):
    """A network whose forward is a function of (the module, x)."""

    def __init__(self, forward, **parts) -> None:
        super().__init__()
        self.forward_of = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *x):
        return self.forward_of(self, *x)
