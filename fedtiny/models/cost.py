"""Parameters and multiply-accumulates of a graph, per layer and in all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod

from fedtiny.models.graph import Graph


@dataclass(frozen=True, slots=True)
class LayerCost:
    """Cost of one layer for one sample, forward.

    Attributes:
        name: of the layer.
        weights: weight count, zeros included.
        parameters: weights, biases and batch-norm affine parameters.
        macs: multiply-accumulates with all weights present.
    """

    name: str
    weights: int
    parameters: int
    macs: int


def layer_costs(graph: Graph) -> tuple[LayerCost, ...]:
    """Cost of each layer in order.

    >>> from fedtiny.models.zoo.resnet8 import resnet8
    >>> sum(cost.macs for cost in layer_costs(resnet8((3, 32, 32), 10)))
    12501632
    """
    costs = []
    for layer in graph.layers:
        trained = sum(prod(p.shape) for p in layer.parameters if not p.kind.is_statistic)
        macs = layer.macs(graph.shapes[layer.input])
        costs.append(LayerCost(layer.name, prod(layer.weight_shape), trained, macs))
    return tuple(costs)


def parameter_count(graph: Graph) -> int:
    """Trained parameters: weights, biases, batch-norm affine."""
    return sum(cost.parameters for cost in layer_costs(graph))


def statistics_count(graph: Graph) -> int:
    """Batch-norm running means and variances."""
    return sum(prod(row.shape) for row in graph.statistics)


def forward_macs(graph: Graph, nnz: Mapping[str, int] | None = None) -> int:
    """Multiply-accumulates of one sample, with ``nnz[layer]`` weights present where given.

    Args:
        graph: the model.
        nnz: weights present, by layer name; layers not named are dense.
    """
    present = nnz or {}
    total = 0
    for cost in layer_costs(graph):
        total += cost.macs // cost.weights * present.get(cost.name, cost.weights)
    return total


def training_flops(graph: Graph, nnz: Mapping[str, int] | None = None) -> int:
    """FLOPs of one sample's training step: forward 2·MACs, backward twice that."""
    return 6 * forward_macs(graph, nnz)


def adjustment_flops(graph: Graph, nnz: Mapping[str, int], layers: Collection[str]) -> int:
    """FLOPs of one sample of an adjustment batch: a pass, and absent weights' gradients.

    Args:
        graph: the model.
        nnz: weights present, by layer name; layers not named are dense.
        layers: whose absent weights' gradients are asked for.

    >>> from fedtiny.models.zoo.resnet8 import resnet8
    >>> graph = resnet8((3, 32, 32), 10)
    >>> nnz = {layer.name: 1 for layer in graph.prunable_layers}
    >>> adjustment_flops(graph, nnz, []) == training_flops(graph, nnz)
    True
    >>> adjustment_flops(graph, nnz, list(nnz)) - training_flops(graph, nnz)
    24111232
    """
    absent = 2 * (forward_macs(graph) - forward_macs(graph, {n: nnz[n] for n in layers}))
    return training_flops(graph, nnz) + absent
