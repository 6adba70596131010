"""A channel whose inputs are dead leaves its tensor's scale alone; one that lives is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedtiny.bench import synthetic
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Conv, Linear, Pool
from fedtiny.models.sparse_model import from_state
from fedtiny.models.torch_module import GraphModule
from fedtiny.quant import layers, reference
from fedtiny.quant.ptq import quantize
from fedtiny.sparse.tensor import Mask

DEAD, READER = 2, 3
"""Channel of ``first`` that is dead, channel of ``second`` that reads nothing else."""


def net(activation=Activation.RELU, kernel=(3, 3), padding=(1, 1), pool=False):
    second = Conv(
        *("second", "pool" if pool else "first", 6, 8, kernel),
        padding=padding,
        activation=activation,
    )
    nodes = (
        Conv("first", INPUT, 3, 6, (3, 3), padding=(1, 1)),
        *((Pool("pool", "first", "max", (2, 2)),) if pool else ()),
        second,
        Pool("mean", "second"),
        Linear("classifier", "mean", 8, 5, prunable=False),
    )
    return Graph("constants", (3, 10, 10), nodes)


def case(graph, *, variance=0.0, live=False, empty=False, shift=-30.0):
    """(float model, ranges, counts, float logits) with a reader of one dead channel.

    Args:
        graph: from :func:`net`.
        variance: running variance of the reader.
        live: the channel that should be dead is not.
        empty: the dead channel has no weights; else its ReLU never fires.
        shift: its batch norm's.
    """
    rng = np.random.default_rng(5)
    dense = synthetic.float_model(graph, 1.0, seed=3).to_dense()
    state = {name: np.array(values, np.float32) for name, values in dense.items()}
    if not live:
        state["first.bn.bias"][DEAD] = shift
        state["first.bn.running_mean"][DEAD] = 0
    if empty:
        state["first.weight"][DEAD] = 0
    state["second.weight"][READER] = 0
    state["second.weight"][READER, DEAD] = rng.uniform(1, 2, graph.layer("second").kernel)
    state["second.bn.running_var"][READER] = variance
    state["second.bn.bias"][READER] = 0.4
    state["second.bn.weight"][READER] = 1.0
    constant = max(shift, 0.0) * state["second.weight"][READER].sum()
    state["second.bn.running_mean"][READER] = 0 if live else constant
    masks = {}
    for layer in graph.prunable_layers:
        kept = np.flatnonzero(state[f"{layer.name}.weight"]).astype(np.int32)
        masks[layer.name] = Mask(layer.weight_shape, kept)
    model = from_state(graph, state, masks)
    normalization = synthetic.normalization(3)
    counts = np.clip(rng.normal(100, 500, (60, 3, 10, 10)), -32768, 32767).astype(np.int16)
    logits, ranges = float_run(graph, model, normalization.apply(counts))
    return model, ranges, counts, logits


def float_run(graph, model, inputs):
    """Logits and ranges of PyTorch's float model."""
    module, ranges = GraphModule(graph).eval(), {}
    ranges[INPUT] = (float(inputs.min()), float(inputs.max()))
    with torch.no_grad():
        for name, values in model.to_dense().items():
            module.tensor(name).copy_(torch.from_numpy(values))

        def observe(name, tensor):
            ranges[name] = (float(tensor.min()), float(tensor.max()))

        logits = module(torch.from_numpy(inputs), observe).numpy()
    return logits, ranges


def noise(graph, model, ranges, counts, logits):
    """(integer model, noise of its logits / their spread)."""
    integer = quantize(graph, model, synthetic.normalization(3), ranges)
    found = integer.output.decode(reference.run(integer, counts)).reshape(logits.shape)
    return integer, float(np.sqrt(np.mean((found - logits) ** 2)) / logits.std())


def weights_of(integer, channel):
    layer = next(layer for layer in integer.layers if layer.name.startswith("second"))
    return int(np.count_nonzero(layer.weight.to_dense()[channel]))


CASES = {
    "ReLU never fires": ({}, {}),
    "no weights": ({}, {"empty": True}),
    "a variance that is nearly 0": ({}, {"variance": 1e-13}),
    "constant 0.8, no padding": (
        {"kernel": (1, 1), "padding": (0, 0)},
        {"empty": True, "shift": 0.8},
    ),
    "behind a pool": ({"pool": True}, {"empty": True}),
    "before a table": ({"activation": Activation.HARD_SWISH}, {}),
    "no activation": ({"activation": Activation.NONE}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_dead_channel_does_not_widen_the_scale(name, monkeypatch):
    shape, changes = CASES[name]
    graph = net(**shape)
    model, *rest = case(graph, **changes)
    after, noise_after = noise(graph, model, *rest)
    with monkeypatch.context() as patch:
        patch.setattr(layers, "narrowed", lambda node, folded, build: folded)
        before, noise_before = noise(graph, model, *rest)
    tensor = next(layer.name for layer in after.nodes if layer.name.startswith("second"))
    assert before.tensors[tensor].scale > 4 * after.tensors[tensor].scale
    assert (weights_of(before, READER) > 0, weights_of(after, READER)) == (True, 0)
    assert noise_after < 0.08
    assert noise_before > 3 * noise_after


def test_the_scale_is_the_ranges_own():
    graph = net()
    model, ranges, counts, logits = case(graph)
    integer, _ = noise(graph, model, ranges, counts, logits)
    low, high = ranges["second"]
    assert integer.tensors["second"].scale == pytest.approx((max(high, 0) - min(low, 0)) / 255)


def test_a_channel_that_lives_is_kept_whatever_its_statistics_say():
    """Its range is as wide as its weights ask for, so nothing would be widened."""
    graph = net()
    model, ranges, counts, logits = case(graph, live=True)
    integer, found = noise(graph, model, ranges, counts, logits)
    assert weights_of(integer, READER) > 0
    assert found < 0.05


def test_a_channel_that_varies_is_kept_though_it_widens_the_scale():
    graph = net()
    model, ranges, *rest = case(graph, variance=1.0, live=True)
    narrow = {**ranges, "second": (0.0, 0.01)}
    integer, _ = noise(graph, model, narrow, *rest)
    assert weights_of(integer, READER) > 0


def test_a_constant_other_than_0_stays_where_padding_is_read_instead():
    graph = net()
    model, *rest = case(graph, empty=True, shift=0.8, variance=1.0)
    integer, _ = noise(graph, model, *rest)
    assert weights_of(integer, READER) == 9
