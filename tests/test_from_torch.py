"""A PyTorch module as a graph: it computes what the module does, or is refused readably."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch_networks import NETWORKS, lively, network

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


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.firmware if name == "mobilenet_v1" else ())
        for name in NETWORKS
    ],
)
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


@st.composite
def modules(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """Blocks of convolutions, norms, activations and pools as people chain them, 1-D or 2-D."""
    dims = draw(st.sampled_from([1, 2]))
    size = tuple(draw(st.integers(6, 9)) for _ in range(dims))
    channels = first = draw(st.integers(1, 4))
    parts: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        block, channels = draw(blocks(dims, channels))
        parts.append(block)
    parts += draw(ends(dims, channels))
    return nn.Sequential(*parts), (first, *size)


ACTIVATIONS = (nn.ReLU, lambda: nn.ReLU(inplace=True), nn.ReLU6, nn.Hardswish, nn.Identity)


@st.composite
def blocks(draw: st.DrawFn, dims: int, inner: int) -> tuple[nn.Module, int]:
    conv = (nn.Conv1d, nn.Conv2d)[dims - 1]
    norm = (nn.BatchNorm1d, nn.BatchNorm2d)[dims - 1]
    pools = ((nn.MaxPool1d, nn.AvgPool1d), (nn.MaxPool2d, nn.AvgPool2d))[dims - 1]
    groups = draw(st.sampled_from([1, inner]))
    outer = groups * draw(st.integers(1, 4 // groups if groups < 4 else 1))
    kernel, stride = draw(st.sampled_from([1, 2, 3])), draw(st.integers(1, 2))
    parts: list[nn.Module] = [
        conv(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=draw(st.booleans()))
    ]
    if draw(st.booleans()):
        affine, eps = draw(st.booleans()), draw(st.sampled_from([1e-5, 1e-3, 1e-7]))
        parts.insert(draw(st.integers(0, 1)), norm(outer, eps=eps, affine=affine))
        if isinstance(parts[0], norm):
            parts[0] = norm(inner, eps=eps, affine=affine)
    parts.append(draw(st.sampled_from(ACTIVATIONS))())
    if draw(st.booleans()):
        parts.insert(draw(st.sampled_from([-1, len(parts)])), draw(st.sampled_from(pools))(2, 1))
    return nn.Sequential(*parts), outer


@st.composite
def ends(draw: st.DrawFn, dims: int, channels: int) -> list[nn.Module]:
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)[dims - 1]
    hidden = [nn.Linear(channels, 5), nn.BatchNorm1d(5), draw(st.sampled_from(ACTIVATIONS))()]
    parts = [pool(1), nn.Dropout(), nn.Flatten()]
    return [*parts, *(hidden if draw(st.booleans()) else [nn.Linear(channels, 5)])]


class Residual(nn.Module):
    """``second(first(x)) + first(x)``: what is between is read twice."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(x) + x


@settings(max_examples=8, deadline=None)
@given(modules(), st.integers(0, 3))
def test_whatever_is_chained_computes_the_same(
    drawn: tuple[nn.Module, tuple[int, ...]], seed: int
) -> None:
    module, shape = drawn
    torch.manual_seed(seed)
    tail = nn.Sequential(nn.Linear(5, 5), nn.ReLU(inplace=bool(seed % 2)), nn.Linear(5, 5))
    assert_same(lively(Residual(module, tail), seed), shape)
