"""SynFlow's scores: how much flow passes through each weight, without any data. Needs PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from fedtiny.models.graph import Graph
from fedtiny.models.ops.conv import BATCH_NORM_EPSILON
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import sparse_names
from fedtiny.models.torch_module import GraphModule
from fedtiny.pruning.masks import global_masks
from fedtiny.sparse.tensor import Floats, Mask

ITERATIONS = 100
"""Of pruning and scoring anew, as in the paper."""


def synflow_masks(
    graph: Graph, state: Mapping[str, Floats], count: int, iterations: int = ITERATIONS
) -> dict[str, Mask]:
    """Masks of ``count`` weights, pruned along an exponential schedule, scored anew each time.

    R = 1ᵀ (Π_l |θ_l|) 1 and score S = ∂R/∂θ ⊙ θ; after iteration k of n, N · d^(k/n) of the N
    prunable weights are left (Tanaka et al., "Pruning neural networks without any data by
    iteratively conserving synaptic flow", NeurIPS 2020, Algorithm 1). Batch norms and
    biases have no part in R. Float64: R is a product over the depth.

    Args:
        graph: the model.
        state: dense parameters by name.
        count: weights to keep, at least one a layer.
        iterations: n.

    >>> from fedtiny.models.zoo.smartwatch_cnn import smartwatch_cnn
    >>> from fedtiny.models.initial import initial_state
    >>> graph = smartwatch_cnn((2, 1, 16), 3, width=4)
    >>> masks = synflow_masks(graph, initial_state(graph, np.random.default_rng(0)), 30, 5)
    >>> sum(mask.nnz for mask in masks.values())
    30
    """
    weights = {name: state[ParameterKind.WEIGHT.of(name)] for name in sparse_names(graph)}
    masks = {name: Mask.full(weight.shape) for name, weight in weights.items()}
    total = sum(mask.size for mask in masks.values())
    for k in range(1, iterations + 1):
        left = max(count, round(total * (count / total) ** (k / iterations)))
        masks = global_masks(_scores(graph, state, masks), left)
    return masks


def _scores(
    graph: Graph, state: Mapping[str, Floats], masks: Mapping[str, Mask]
) -> dict[str, Floats]:
    """|θ| ⊙ ∂R/∂|θ|, float64 per prunable layer; 0 where a weight is gone already."""
    module = GraphModule(graph).double()
    module.load({name: value.astype(np.float64) for name, value in _linear(graph, state).items()})
    with torch.no_grad():
        for name, mask in masks.items():
            module.tensor(ParameterKind.WEIGHT.of(name)).masked_fill_(
                torch.from_numpy(~mask.to_bool()), 0.0
            )
    module.eval()
    module(torch.ones(1, *graph.input_shape, dtype=torch.float64)).sum().backward()
    scores = {}
    for name in masks:
        weight = module.tensor(ParameterKind.WEIGHT.of(name))
        assert weight.grad is not None
        scores[name] = (weight * weight.grad).detach().numpy()
    return scores


def _linear(graph: Graph, state: Mapping[str, Floats]) -> dict[str, Floats]:
    """|θ|, with biases 0 and batch norms that change nothing."""
    linear = {}
    for row in graph.parameter_table:
        fill = row.kind.neutral
        if row.kind is ParameterKind.RUNNING_VAR:
            fill = 1.0 - BATCH_NORM_EPSILON
        value = np.abs(state[row.name]) if fill is None else np.full(row.shape, fill, np.float32)
        linear[row.name] = value
    return linear
