"""Quantized models against the float model they came from (PyTorch), and the scheme's promises."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from builders import random_model

from fedtiny.aggregation.ranges import merge_ranges
from fedtiny.data.statistics import Normalization
from fedtiny.models import ds_cnn, mobilenet_v1, resnet8, smartwatch_cnn
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Conv, Linear, Pool
from fedtiny.models.sparse_model import SparseModel
from fedtiny.models.torch_module import GraphModule
from fedtiny.quant import reference
from fedtiny.quant.fold import fold
from fedtiny.quant.ops.pool import IntegerPool
from fedtiny.quant.ptq import quantize
from fedtiny.quant.tensors import QuantizationError


def conv_net(classes=4):
    """A pruned linear layer that reads a 3x2 map, so that its columns must be reordered."""
    return Graph(
        "flat",
        (2, 6, 4),
        (
            Conv("stem", INPUT, 2, 5, (3, 3), padding=(1, 1), batch_norm=False, prunable=False),
            Pool("pool", "stem", "max", (2, 2)),
            Linear("hidden", "pool", 30, 16, activation=Activation.RELU),
            Linear("classifier", "hidden", 16, classes, prunable=False),
        ),
    )


GRAPHS = [
    (smartwatch_cnn((6, 1, 128), 7), 0.05),
    (resnet8((1, 28, 28), 10), 0.1),
    (ds_cnn((1, 25, 10), 12), 0.5),
    (mobilenet_v1((3, 32, 32), 4), 0.5),
    (conv_net(), 0.3),
]


def float_run(graph, model, inputs):
    """Logits and per-tensor ranges of the PyTorch oracle with running statistics."""
    module = GraphModule(graph).eval()
    with torch.no_grad():
        for name, values in model.to_dense().items():
            module.tensor(name).copy_(torch.from_numpy(values))
        ranges = {INPUT: (float(inputs.min()), float(inputs.max()))}

        def observe(name, tensor):
            ranges[name] = (float(tensor.min()), float(tensor.max()))

        logits = module(torch.from_numpy(inputs), observe).numpy()
    return logits, ranges


def make_case(graph, density, seed=0):
    rng = np.random.default_rng(seed + 1)
    channels = graph.input_shape[0]
    normalization = Normalization(
        rng.uniform(-300, 300, channels).astype(np.float32),
        rng.uniform(200, 900, channels).astype(np.float32),
    )
    mean, std = (a[:, None, None] for a in (normalization.mean, normalization.std))
    counts = (rng.normal(0, 1, (200, *graph.input_shape)) * std + mean).astype(np.int16)
    return random_model(graph, density, seed), normalization, counts


@pytest.mark.parametrize(("graph", "density"), GRAPHS, ids=lambda p: getattr(p, "name", ""))
def test_int8_logits_stay_close_to_float(graph, density):
    model, normalization, counts = make_case(graph, density)
    expected, ranges = float_run(graph, model, normalization.apply(counts))
    integer = quantize(graph, model, normalization, merge_ranges([ranges]))
    actual = integer.output.decode(reference.run(integer, counts))
    noise = np.sqrt(np.mean((actual - expected) ** 2))
    # Every layer adds rounding noise of its own.
    limit = 0.02 * np.sqrt(len(graph.layers))
    assert noise < limit * expected.std(), f"{noise / expected.std():.4f} > {limit:.4f}"


@pytest.mark.parametrize(("graph", "density"), GRAPHS, ids=lambda p: getattr(p, "name", ""))
def test_scheme_keeps_its_promises(graph, density):
    model, normalization, counts = make_case(graph, density)
    _, ranges = float_run(graph, model, normalization.apply(counts))
    integer = quantize(graph, model, normalization, ranges)
    for layer in integer.layers:
        assert layer.multiplier.min() >= 0
        assert layer.multiplier.max() < 2**30
        assert np.abs(layer.bias).max() <= 2**22
        assert (layer.weight.values != 0).all()
        assert np.all(np.diff(layer.weight.indices) > 0)
        allowed = model.weights[layer.name].mask if layer.name in model.weights else None
        if allowed is not None:
            assert layer.weight.nnz <= allowed.nnz
    for node in integer.nodes:
        if isinstance(node, IntegerPool):
            source, output = integer.tensors[node.input], integer.tensors[node.name]
            assert (source.scale, source.zero_point) == (output.scale, output.zero_point)


def test_pruned_weights_are_zero_in_ohwi_order():
    graph = smartwatch_cnn((6, 1, 128), 7)
    model, normalization, counts = make_case(graph, 0.05)
    _, ranges = float_run(graph, model, normalization.apply(counts))
    integer = quantize(graph, model, normalization, ranges)
    for layer in integer.layers[1:-1]:
        dense = layer.weight.to_dense().transpose(0, 3, 1, 2)
        mask = model.weights[layer.name].mask.to_bool()
        assert not dense[~mask].any()
        signs = np.sign(model.weights[layer.name].to_dense())
        assert np.all((np.sign(dense) == signs) | (dense == 0))


def test_folding_equals_batch_norm():
    graph = smartwatch_cnn((6, 1, 16), 3)
    model = random_model(graph, 0.2)
    layer = graph.layer("conv2")
    folded = fold(layer, model)
    weight = np.zeros(prod(folded.shape))
    weight[folded.indices] = folded.values
    x = torch.randn(2, 32, 1, 16, dtype=torch.float64)
    parts = ("running_mean", "running_var", "weight", "bias")
    statistics = [torch.from_numpy(model.dense[f"conv2.bn.{p}"]).double() for p in parts]
    raw = torch.from_numpy(model.weights["conv2"].to_dense()).double()
    convolve = torch.nn.functional.conv2d
    plain = convolve(x, raw, stride=layer.stride, padding=layer.padding)
    expected = torch.nn.functional.batch_norm(plain, *statistics, eps=1e-5)
    actual = convolve(
        x,
        torch.from_numpy(weight.reshape(folded.shape)),
        torch.from_numpy(folded.bias),
        stride=layer.stride,
        padding=layer.padding,
    )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_channels_without_weights_and_with_huge_biases():
    """Bias-only channels give their bias; a bias far beyond the weights costs no overflow."""
    graph = conv_net()
    model, normalization, counts = make_case(graph, 0.3)
    weight = model.dense["stem.weight"].copy()
    bias = np.array([0.0, 0.7, 3.0, -500.0, 0.1], np.float32)
    weight[:2] = 0.0
    weight[3] *= 1e-7
    changed = SparseModel(model.weights, {**model.dense, "stem.weight": weight, "stem.bias": bias})
    expected, ranges = float_run(graph, changed, normalization.apply(counts))
    integer = quantize(graph, changed, normalization, ranges)
    codes = reference.quantize_input(integer, counts)
    stem = integer.tensors["stem"].decode(dict(reference.trace(integer, codes))["stem"])
    step = integer.tensors["stem"].scale
    assert np.abs(stem[..., 0]).max() == 0
    assert np.abs(stem[..., 1] - 0.7).max() <= step
    assert np.abs(stem[..., 3]).max() == 0
    actual = integer.output.decode(reference.run(integer, counts))
    assert np.sqrt(np.mean((actual - expected) ** 2)) < 0.08 * expected.std()


def test_dead_tensor_is_quantized_without_failing():
    """A ReLU that never fires has range (0, 0): the output scale is widened to fit."""
    graph = conv_net()
    model, normalization, counts = make_case(graph, 0.3)
    dead = SparseModel(model.weights, {**model.dense, "stem.bias": np.full(5, -50.0, np.float32)})
    _, ranges = float_run(graph, dead, normalization.apply(counts))
    assert ranges["stem"] == (0.0, 0.0)
    integer = quantize(graph, dead, normalization, ranges)
    assert len(np.unique(reference.run(integer, counts), axis=0)) == 1


def broken(change):
    graph = conv_net()
    model, normalization, counts = make_case(graph, 0.3)
    _, ranges = float_run(graph, model, normalization.apply(counts))
    return graph, model, normalization, {**ranges, **change}


def test_missing_range_is_named():
    graph, model, normalization, ranges = broken({})
    del ranges["hidden"]
    with pytest.raises(QuantizationError, match="hidden"):
        quantize(graph, model, normalization, ranges)


def test_nan_range_is_named():
    with pytest.raises(QuantizationError, match="'stem'"):
        quantize(*broken({"stem": (float("nan"), 1.0)}))


def test_diverged_weights_are_named():
    graph, model, normalization, ranges = broken({})
    model.dense["stem.bias"][0] = np.nan
    with pytest.raises(QuantizationError, match="'stem'"):
        quantize(graph, model, normalization, ranges)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([0.0], [1.0], "shape"),
        ([0.0, 0.0], [1.0, 0.0], "positive"),
        ([0.0, np.nan], [1.0, 1.0], "finite"),
        ([0.0, 0.0], [1.0, 1e-9], "cannot be quantized"),
    ],
)
def test_unusable_normalization_is_refused(mean, std, message):
    graph, model, _, ranges = broken({})
    bad = Normalization(np.array(mean, np.float32), np.array(std, np.float32))
    with pytest.raises(QuantizationError, match=message):
        quantize(graph, model, bad, ranges)


def test_groups_are_a_convolution_without_the_other_weights():
    def graph(groups):
        return Graph(
            "grouped",
            (4, 5, 5),
            (
                Conv("stem", INPUT, 4, 6, (3, 3), groups=groups, prunable=False),
                Pool("pool", "stem"),
                Linear("classifier", "pool", 6, 3, prunable=False),
            ),
        )

    model, normalization, _ = make_case(graph(2), 1.0)
    ranges = dict.fromkeys(graph(2).observed, (-1.0, 1.0))
    grouped = quantize(graph(2), model, normalization, ranges)
    weight = np.zeros((6, 4, 3, 3), np.float32)
    weight[:3, :2], weight[3:, 2:] = np.split(model.dense["stem.weight"], 2)
    whole = replace(model, dense={**model.dense, "stem.weight": weight})
    same = quantize(graph(1), whole, normalization, ranges)
    for ours, theirs in zip(grouped.layers, same.layers, strict=True):
        np.testing.assert_array_equal(ours.weight.to_dense(), theirs.weight.to_dense())
        np.testing.assert_array_equal(ours.multiplier, theirs.multiplier)
        np.testing.assert_array_equal(ours.bias, theirs.bias)
    assert grouped.layers[0].groups == 1
