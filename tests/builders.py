"""Graphs, masks, models and batches that many tests draw, functions of their arguments alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from math import prod

import numpy as np

from fedtiny.data.statistics import Normalization
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.ops import INPUT, Activation, Conv, Linear, Pool
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Floats, Mask

SMALL = Graph(
    "small",
    (2, 1, 16),
    (
        Conv("stem", INPUT, 2, 6, (1, 3), padding=(0, 1), prunable=False),
        Conv("body", "stem", 6, 8, (1, 3), stride=(1, 2), padding=(0, 1)),
        Conv("tail", "body", 8, 8, (1, 3), padding=(0, 1)),
        Pool("pool", "tail"),
        Linear("classifier", "pool", 8, 3, prunable=False),
    ),
)
"""The smallest graph with a stride and two prunable layers."""


def full_masks(graph: Graph) -> dict[str, Mask]:
    """Every weight of the prunable layers is present."""
    return {layer.name: Mask.full(layer.weight_shape) for layer in graph.prunable_layers}


def random_masks(
    graph: Graph, density: float, seed: int = 0, empty_channels: int = 0
) -> dict[str, Mask]:
    """⌊density · size⌋ weights of every prunable layer, at least one unless ``density`` is 0.

    They lie anywhere but in the first ``empty_channels`` output channels, which stay empty, were
    the rest to be full.
    """
    masks = {}
    for layer in graph.prunable_layers:
        size, channels = prod(layer.weight_shape), layer.weight_shape[0]
        first = min(empty_channels, channels - 1) * (size // channels)
        count = min(max(int(density > 0), int(density * size)), size - first)
        kept = first + rng(seed, f"masks of {layer.name}").choice(size - first, count, False)
        masks[layer.name] = Mask(layer.weight_shape, np.sort(kept).astype(np.int32))
    return masks


def fresh_state(graph: Graph, seed: int = 0) -> dict[str, Floats]:
    """Every parameter and statistic by name, as pre-training starts."""
    return initial_state(graph, rng(seed, "weights"))


def trained_state(graph: Graph, seed: int = 0, fan_share: float = 1.0) -> dict[str, Floats]:
    """Every parameter and statistic by name, none of them at its initial value.

    Args:
        graph: the model.
        seed: of the draw.
        fan_share: the share of a layer's inputs that will be present; scales are made for it.
    """
    draw, share, state = rng(seed, "trained"), fan_share or 1.0, {}
    for row in graph.parameter_table:
        if row.kind.neutral is None:
            values = draw.normal(0, 1.5 / np.sqrt(prod(row.shape[1:]) * share), row.shape)
        elif row.kind.neutral:  # a scale or a variance
            values = draw.uniform(0.5, 1.5, row.shape)
        else:
            values = draw.normal(0, 0.2, row.shape)
        state[row.name] = values.astype(np.float32)
    return state


def sparse_model(graph: Graph, density: float = 0.1, seed: int = 0) -> SparseModel:
    """A fresh model under random masks."""
    return from_state(graph, fresh_state(graph, seed), random_masks(graph, density, seed))


def random_model(graph: Graph, density: float, seed: int = 0) -> SparseModel:
    """A model with nothing at its initial value, under random masks."""
    state = trained_state(graph, seed, density)
    return from_state(graph, state, random_masks(graph, density, seed))


def activated(graph: Graph, *activations: Activation) -> Graph:
    """The graph with ``activations``, over and over, in the places of its own."""
    turns, nodes = cycle(activations), []
    for node in graph.nodes:
        if not isinstance(node, Pool) and node.activation is not Activation.NONE:
            node = replace(node, activation=next(turns))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def widened(model: SparseModel) -> SparseModel:
    """The model with larger batch-norm scales: many values lie beyond every activation's bends."""
    for name, values in model.dense.items():
        if name.endswith("bn.weight"):
            values *= 4
    return model


def batch_of(graph: Graph, samples: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Normal samples, float32 (N, C, H, W), and labels, int64 (N,)."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((samples, *graph.input_shape)).astype(np.float32)
    return x, draw.integers(graph.classes, size=samples)


def masks_by_parameter(model: SparseModel) -> dict[str, Mask]:
    """The model's masks by the names of the weights."""
    return {ParameterKind.WEIGHT.of(layer): mask for layer, mask in model.masks.items()}


def unnormalized(channels: int) -> Normalization:
    """The normalization that changes nothing."""
    return Normalization(np.zeros(channels, np.float32), np.ones(channels, np.float32))


def fitting(weights, weight_format):
    """int8 weights with the same zeros, and values that the format can hold."""
    if not weight_format.has_nibbles:
        return weights
    wide = weights.astype(np.int64)
    return (np.sign(wide) * (np.abs(wide) % 7 + 1)).astype(np.int8)
