"""Models and batches that the engine's tests draw."""

from __future__ import annotations

import numpy as np

from fedtiny.models.graph import Graph
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.sparse.tensor import Mask


def random_model(graph: Graph, density: float, seed: int = 0) -> SparseModel:
    """Every weight of the prunable layers is present with probability ``density``."""
    rng = np.random.default_rng(seed)
    state = {}
    for row in graph.parameter_table:
        values = rng.standard_normal(row.shape) * 0.3
        if row.kind.neutral:  # a scale or a variance
            values = 0.5 + rng.random(row.shape)
        state[row.name] = values.astype(np.float32)
    masks = {}
    for layer in graph.prunable_layers:
        held = np.flatnonzero(rng.random(layer.weight_shape) < density)
        masks[layer.name] = Mask(layer.weight_shape, held.astype(np.int32))
    return from_state(graph, state, masks)


def masks_by_parameter(model: SparseModel) -> dict[str, Mask]:
    """The model's masks by the names of the weights."""
    return {ParameterKind.WEIGHT.of(layer): mask for layer, mask in model.masks.items()}


def batch_of(graph: Graph, samples: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Normal samples, float32 (N, C, H, W), and labels, int64 (N,)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, *graph.input_shape)).astype(np.float32)
    return x, rng.integers(graph.classes, size=samples)
