"""The layer graph, its costs, and its PyTorch form against independent descriptions."""

import numpy as np
import pytest
import torch
from torch import nn

from fedtiny.errors import FedTinyError
from fedtiny.models import build, register
from fedtiny.models.cost import forward_macs, layer_costs, parameter_count, training_flops
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.ops import INPUT, Activation, Add, Conv, GraphError, Linear, Pool
from fedtiny.models.torch_module import GraphModule
from fedtiny.models.zoo.resnet8 import resnet8
from fedtiny.models.zoo.smartwatch_cnn import smartwatch_cnn
from fedtiny.seeding import rng


def test_resnet8_counts_are_the_published_ones() -> None:
    graph = resnet8((3, 32, 32), 10)
    weights = sum(cost.weights for cost in layer_costs(graph))
    # MLPerf Tiny's Keras summary: 78 666 = weights and classifier bias, 336 convolution biases,
    # and 4 numbers for each of the 240 channels that carry a batch norm there.
    assert weights + 10 == 78_666 - 336 - 4 * 240
    assert forward_macs(graph) == 12_501_632


def test_smartwatch_cnn_is_of_the_promised_size() -> None:
    assert parameter_count(smartwatch_cnn((6, 1, 128), 7)) >= 50_000


def test_sparse_costs_follow_each_layers_own_share() -> None:
    graph = smartwatch_cnn((6, 1, 128), 7)
    dense = {cost.name: cost.macs for cost in layer_costs(graph)}
    halved = forward_macs(graph, {"conv2": 64 * 32 * 5 // 2})
    assert forward_macs(graph) - halved == dense["conv2"] // 2
    assert training_flops(graph) == 6 * sum(dense.values())


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ((Linear("fc", "nowhere", 3, 2),), "reads 'nowhere'"),
        ((Conv("a", INPUT, 4, 8, (3, 3)),), "expects 4 input channels"),
        ((Pool("a", INPUT, kernel=(9, 9)),), "too small"),
        ((Pool("a", INPUT, kind="median"),), "must be 'avg' or 'max'"),
        ((Pool("a", INPUT), Pool("a", INPUT)), "used twice"),
        ((Pool("a", INPUT), Add("b", INPUT, "a")), "which differ"),
        ((Linear("fc", INPUT, 3, 2),), "expects 3 features"),
    ],
)
def test_nodes_that_do_not_fit_are_named(nodes: tuple, words: str) -> None:
    with pytest.raises(GraphError, match=words):
        Graph("bad", (3, 8, 8), nodes)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ((Linear("a.bn", "a", 8, 2), Linear("fc", "a.bn", 2, 2)), "two arrays .* 'a.bn.weight'"),
        ((Add("swish", "a", "a", Activation.HARD_SWISH), Pool("swish.linear", "a")), "two arrays"),
        ((Linear("fc", "a", 8, 2, trainable=False),), "'fc' is not trained.*prunable=False"),
    ],
)
def test_facts_that_contradict_each_other_are_named(nodes: tuple, words: str) -> None:
    with pytest.raises(GraphError, match=words):
        Graph("bad", (3, 1, 1), (Conv("a", INPUT, 3, 8, (1, 1)), *nodes))


def test_the_loss_reads_the_first_output_wherever_it_stands() -> None:
    nodes = (
        Conv("stem", INPUT, 2, 4, (3, 3), prunable=False),
        Linear("classifier", "stem", 16, 3, prunable=False),
        Pool("features", "stem"),
    )
    graph = Graph("two", (2, 4, 4), nodes, ("classifier", "features"))
    assert (graph.logits, graph.classes) == ("classifier", 3)
    assert GraphModule(graph)(torch.randn(5, 2, 4, 4)).shape == (5, 3)
    assert Graph("one", (2, 4, 4), nodes).logits == "features"


def test_registry_names_what_it_knows() -> None:
    with pytest.raises(FedTinyError, match="known: ds_cnn"):
        build("resnet9", (3, 32, 32), 10)
    with pytest.raises(FedTinyError, match="already registered"):
        register("resnet8", smartwatch_cnn)


class PlainResidual(nn.Module):
    """One residual stage written with PyTorch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 6, (3, 1), stride=2, padding=(1, 0), bias=False)
        self.conv_bn = nn.BatchNorm2d(6)
        self.shortcut = nn.Conv2d(4, 6, 1, stride=2)
        self.classifier = nn.Linear(6 * 2 * 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem = self.stem_bn(self.stem(x)).relu()
        joined = (self.conv_bn(self.conv(stem)) + self.shortcut(stem)).relu()
        return self.classifier(nn.functional.max_pool2d(joined, 2).flatten(1))


def _graph() -> Graph:
    return Graph(
        "residual",
        (2, 8, 8),
        (
            Conv("stem", INPUT, 2, 4, (3, 3), padding=(1, 1), prunable=False),
            Conv(
                "conv",
                "stem",
                4,
                6,
                (3, 1),
                stride=(2, 2),
                padding=(1, 0),
                activation=Activation.NONE,
            ),
            Conv(
                "shortcut",
                "stem",
                4,
                6,
                (1, 1),
                stride=(2, 2),
                batch_norm=False,
                activation=Activation.NONE,
            ),
            Add("join", "conv", "shortcut"),
            Pool("pool", "join", kind="max", kernel=(2, 2)),
            Linear("classifier", "pool", 24, 3, prunable=False),
        ),
    )


def test_module_equals_plain_pytorch_forward_backward_and_statistics() -> None:
    graph, plain = _graph(), PlainResidual()
    state = initial_state(graph, rng(0, "test"))
    module = GraphModule(graph)
    module.load(state)
    with torch.no_grad():
        for ours, theirs in {
            "stem.weight": plain.stem.weight,
            "conv.weight": plain.conv.weight,
            "shortcut.weight": plain.shortcut.weight,
            "shortcut.bias": plain.shortcut.bias,
            "classifier.weight": plain.classifier.weight,
            "classifier.bias": plain.classifier.bias,
        }.items():
            theirs.copy_(torch.from_numpy(state[ours]))
    x = torch.from_numpy(rng(1, "test").standard_normal((5, 2, 8, 8)).astype(np.float32))
    for _ in range(2):
        ours_logits, plain_logits = module(x), plain(x)
        ours_logits.square().sum().backward()
        plain_logits.square().sum().backward()
        torch.testing.assert_close(ours_logits, plain_logits)
    torch.testing.assert_close(module.tensor("conv.weight").grad, plain.conv.weight.grad)
    after = module.state()
    np.testing.assert_allclose(
        after["conv.bn.running_var"], plain.conv_bn.running_var.numpy(), rtol=1e-5
    )
    module.eval()
    plain.eval()
    torch.testing.assert_close(module(x), plain(x))


def test_cumulative_statistics_are_plain_averages_over_batches() -> None:
    graph = _graph()
    module = GraphModule(graph)
    module.load(initial_state(graph, rng(0, "test")))
    module.reset_statistics()
    module.momentum = None
    batches = rng(2, "test").standard_normal((3, 4, 2, 8, 8)).astype(np.float32)
    outputs = []
    for batch in batches:
        x = torch.from_numpy(batch)
        outputs.append(nn.functional.conv2d(x, module.tensor("stem.weight"), padding=1))
        module(x)
    mean = torch.stack([out.mean((0, 2, 3)) for out in outputs]).mean(0)
    variance = torch.stack([out.var((0, 2, 3)) for out in outputs]).mean(0)
    torch.testing.assert_close(module.tensor("stem.bn.running_mean"), mean.detach())
    torch.testing.assert_close(module.tensor("stem.bn.running_var"), variance.detach())
