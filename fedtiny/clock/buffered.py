"""Buffered asynchronous aggregation: FedBuff (Nguyen et al., AISTATS 2022).

A device trains from the version it was given. What it sends back counts as the step it took from
*that* version, scaled by 1/√(1 + τ), where τ is the number of versions the server made meanwhile:
θ ← θ + η Σ_k (n_k / Σ n) Δ_k / √(1 + τ_k) over the K steps in the buffer. Equal sample counts give
the paper's 1/K; with all τ = 0 and η = 1 it is federated averaging.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import Floats, SparseTensor
from fedtiny.wire.train import TrainResult


def staleness_weight(staleness: int) -> float:
    """1/√(1 + τ).

    >>> staleness_weight(0), staleness_weight(3)
    (1.0, 0.5)
    """
    return 1 / sqrt(1 + staleness)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What a device did to the version it started from.

    Attributes:
        change: trained minus received, float32, for parameters; running statistics of batch norm
            as the device has them: they are averaged, because a sum of stale steps can make a
            variance negative.
        count: samples trained on.
        loss: mean over its steps, nats.
    """

    change: SparseModel
    count: int
    loss: float


def step_of(graph: Graph, received: SparseModel, result: TrainResult) -> Step:
    """The step from ``received`` to a reply, which has the same masks."""
    weights = {
        name: SparseTensor(weight.mask, weight.values - received.weights[name].values)
        for name, weight in result.model.weights.items()
    }
    statistics = _statistics(graph)
    dense = {
        name: array if name in statistics else array - received.dense[name]
        for name, array in result.model.dense.items()
    }
    return Step(SparseModel(weights, dense), result.count, result.loss)


def rebased(
    graph: Graph, current: SparseModel, step: Step, staleness: int, rate: float
) -> TrainResult:
    """A stale step as if it had been taken from ``current``: what a round aggregates.

    Args:
        graph: the model.
        current: the server's version, with the masks that the step has.
        step: of a device.
        staleness: versions made since the device was given its own, ≥ 0.
        rate: η, the server's learning rate.
    """
    scale = rate * staleness_weight(staleness)
    weights = {
        name: SparseTensor(
            weight.mask, _moved(weight.values, step.change.weights[name].values, scale)
        )
        for name, weight in current.weights.items()
    }
    statistics = _statistics(graph)
    dense = {
        name: change if name in statistics else _moved(current.dense[name], change, scale)
        for name, change in step.change.dense.items()
    }
    return TrainResult(SparseModel(weights, dense), step.count, step.loss, {}, None)


def _moved(values: Floats, change: Floats, scale: float) -> Floats:
    return (values.astype(np.float64) + scale * change.astype(np.float64)).astype(np.float32)


def _statistics(graph: Graph) -> frozenset[str]:
    return frozenset(row.name for row in graph.statistics)
