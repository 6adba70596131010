"""One model of many: parameters averaged, batch-norm statistics pooled, growth reports merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np

from fedtiny.aggregation.combiner import Combiner
from fedtiny.aggregation.mean import merge_growth
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.bn_selection import BnPooling, pool_statistics
from fedtiny.sparse.tensor import Floats, Indices, Mask, SparseTensor
from fedtiny.tiers.block import Block
from fedtiny.training.trainer import Growth
from fedtiny.wire.models import running_moments, with_statistics
from fedtiny.wire.train import TrainResult


def average(
    graph: Graph, results: Sequence[TrainResult], pooling: BnPooling, combiner: Combiner
) -> SparseModel:
    """Σ (|D_k|/|D|) θ_k over devices that share one mask, in order (FedAvg), or a robust mean.

    Args:
        graph: the model.
        results: of devices that all hold the first one's masks, in partition order.
        pooling: of batch-norm statistics.
        combiner: of values.
    """
    counts = [result.count for result in results]
    weights = {
        name: SparseTensor(
            weight.mask,
            combiner.dense([result.model.weights[name].values for result in results], counts),
        )
        for name, weight in results[0].model.weights.items()
    }
    return SparseModel(weights, average_dense(graph, results, pooling, combiner))


def average_dense(
    graph: Graph, results: Sequence[TrainResult], pooling: BnPooling, combiner: Combiner
) -> dict[str, Floats]:
    """What every device holds in full: parameters averaged, running statistics pooled as moments.

    A robust combiner treats the statistics like parameters: pooling has no bound.

    Args:
        graph, results, pooling, combiner: as for :func:`average`; masks may differ.
    """
    counts = [result.count for result in results]
    dense = {
        name: combiner.dense([result.model.dense[name] for result in results], counts)
        for name in results[0].model.dense
    }
    if combiner.robust:
        return dense
    statistics = [running_moments(graph, r.model.dense, r.count) for r in results]
    return with_statistics(dense, pool_statistics(statistics, pooling))


class Votes(StrEnum):
    """How devices' gradients of an absent weight become one number."""

    MEAN = "mean"
    AGREEMENT = "agreement"


def pooled_growth(
    results: Sequence[TrainResult],
    blocks: Sequence[Block],
    masks: Mapping[str, Mask],
    votes: Votes = Votes.MEAN,
) -> Growth:
    """The devices' growth reports merged by layer (FedTiny, Eq. 8), in the model's positions.

    Args:
        results: in partition order.
        blocks: what part of the model each device has; only those that have a position vote on it.
        masks: of the model. A device with a thinner part reports weights that others have.
        votes: ``mean`` as in the paper; ``agreement``: times the share of samples by which the
            devices that report one sign outnumber those that report the other.
    """
    names = dict.fromkeys(name for result in results for name in result.found)
    return {name: _merged(name, results, blocks, masks[name], votes) for name in names}


def _merged(
    name: str,
    results: Sequence[TrainResult],
    blocks: Sequence[Block],
    present: Mask,
    votes: Votes,
) -> tuple[Indices, Floats]:
    able = [(r, b) for r, b in zip(results, blocks, strict=True) if name in r.found]
    counts = [result.count for result, _ in able]
    axes = [block.weight(name) for _, block in able]
    reports = []
    for (result, _), one in zip(able, axes, strict=True):
        positions, values = result.found[name]
        there = one.outside(positions)
        absent = ~np.isin(there, present.indices, assume_unique=True)
        reports.append((there[absent], values[absent]))
    covers = [one.covers for one in axes]
    union, mean = merge_growth(reports, counts, covers)
    if votes is Votes.MEAN:
        return union, mean
    _, signs = merge_growth([(where, np.sign(g)) for where, g in reports], counts, covers)
    return union, mean * np.abs(signs)


def mean_loss(results: Sequence[TrainResult]) -> float:
    """Training loss over all samples, nats."""
    total = sum(result.count for result in results)
    return sum(result.loss * result.count for result in results) / total
