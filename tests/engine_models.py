"""Models and batches that the engine's tests draw."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import numpy as np

from fedtiny.models.graph import Graph, Pool
from fedtiny.models.ops.activation import Activation
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.sparse.tensor import Mask


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


def random_model(graph: Graph, density: float, seed: int = 0) -> SparseModel:
    """Every weight of the prunable layers is present with probability ``density``."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in [*graph.parameters(), *graph.statistics()]:
        values = rng.standard_normal(shape) * 0.3
        if name.endswith(("bn.weight", "running_var")):
            values = 0.5 + rng.random(shape)
        state[name] = values.astype(np.float32)
    masks = {}
    for layer in graph.prunable_layers:
        held = np.flatnonzero(rng.random(layer.weight_shape) < density)
        masks[layer.name] = Mask(layer.weight_shape, held.astype(np.int32))
    return from_state(graph, state, masks)


def batch_of(graph: Graph, samples: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Normal samples, float32 (N, C, H, W), and labels, int64 (N,)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, *graph.input_shape)).astype(np.float32)
    return x, rng.integers(graph.classes, size=samples)
