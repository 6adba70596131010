"""Models and inputs without data, for tests and benchmarks: random weights at a given density.

How many instructions a kernel executes depends on where the non-zero weights are and hardly on
their values, so random ones measure what trained ones would.
"""

from __future__ import annotations

from math import prod

import numpy as np

from fedtiny.data.statistics import Normalization
from fedtiny.firmware.interface import SensorInterface
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT
from fedtiny.models.ops.activation import Activation
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ptq import quantize
from fedtiny.quant.tensors import Int16s
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Mask

_MEAN, _STD = 100, 500

_RANGES = {
    Activation.NONE: (-4.0, 4.0),
    Activation.RELU: (0.0, 4.0),
    Activation.RELU6: (0.0, 8.0),
    Activation.HARD_SWISH: (-0.375, 4.0),
}
"""Of a node's output; ReLU6's is wider than its clamp, so that the clamp is seen."""


def float_model(graph: Graph, density: float, seed: int = 0) -> SparseModel:
    """Random weights for ``graph``, scaled so that activations stay of the order of 1.

    Args:
        graph: the architecture.
        density: nnz / weights of every prunable layer, in (0, 1]; the others stay dense.
        seed: of weights and masks.
    """
    random = rng(seed, "synthetic weights")
    state, masks = {}, {}
    for row in graph.parameter_table:
        if row.kind.neutral is None:
            scale = 1.5 / np.sqrt(prod(row.shape[1:]) * density)
            values = random.normal(0, scale, row.shape)
        elif row.kind.neutral:
            values = random.uniform(0.5, 1.5, row.shape)
        else:
            values = random.normal(0, 0.2, row.shape)
        state[row.name] = values.astype(np.float32)
    for layer in graph.prunable_layers:
        size = prod(layer.weight_shape)
        kept = random.choice(size, max(1, round(size * density)), replace=False)
        masks[layer.name] = Mask(layer.weight_shape, np.sort(kept).astype(np.int32))
    return from_state(graph, state, masks)


def integer_model(
    graph: Graph, density: float, seed: int = 0, weight_bits: int = 8
) -> IntegerGraph:
    """:func:`float_model` in int8, with ranges that every tensor makes use of.

    Args:
        graph, density, seed: of the model.
        weight_bits: of its sparse layers, 4 or 8.
    """
    entry = normalization(graph.input_shape[0])
    ranges = dict.fromkeys(graph.observed, (-4.0, 4.0)) | {INPUT: (-3.0, 3.0)}
    for node in graph.nodes:
        ranges[node.name] = _RANGES[node.activation]
    ranges[graph.logits] = (-12.0, 12.0)
    return quantize(graph, float_model(graph, density, seed), entry, ranges, weight_bits)


def normalization(channels: int) -> Normalization:
    """That of :func:`counts`."""
    return Normalization(np.full(channels, _MEAN, np.float32), np.full(channels, _STD, np.float32))


def counts(model: IntegerGraph, vectors: int, seed: int = 0) -> Int16s:
    """Random sensor counts int16 ``(vectors, C, H, W)``."""
    drawn = rng(seed, "synthetic counts").normal(_MEAN, 1.2 * _STD, (vectors, *model.input.shape))
    return np.clip(np.rint(drawn), -32768, 32767).astype(np.int16)


def interface(model: IntegerGraph) -> SensorInterface:
    """Names for the generated project."""
    return SensorInterface.numbered(model, "random counts")
