"""One model of devices that hold different parts of it: every coordinate by those who hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedtiny.aggregation.combiner import Combiner
from fedtiny.aggregation.models import average_dense
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.bn_selection import BnPooling
from fedtiny.sparse.tensor import Floats, Mask, SparseTensor
from fedtiny.tiers.block import Block
from fedtiny.wire.train import TrainResult


@dataclass(frozen=True, slots=True, eq=False)
class PartResult:
    """What one device made of its part.

    Attributes:
        block: the part.
        result: in the block's positions.
    """

    block: Block
    result: TrainResult


def average_parts(
    graph: Graph, sent: SparseModel, parts: Sequence[PartResult], combiner: Combiner
) -> SparseModel:
    """θ_i ← Σ_{k∋i} n_k θ_{k,i} / Σ_{k∋i} n_k; what nobody held keeps its value.

    Running statistics stay as they were sent: those of a part are its own
    (:func:`part_statistics`). (HeteroFL, Diao et al. 2021, Eq. 3, per coordinate.)

    Args:
        graph: the whole model.
        sent: whole, of which the parts were cut; its masks stay.
        parts: in partition order, at least one.
        combiner: of values.
    """
    counts = [part.result.count for part in parts]
    weights = {
        name: _updated(weight, combiner.sparse([_lifted(name, one) for one in parts], counts))
        for name, weight in sent.weights.items()
    }
    dense = dict(sent.dense)
    for row in graph.parameters:
        if row.name in dense:
            held = combiner.sparse([_held(row.name, one) for one in parts], counts)
            dense[row.name] = _overwritten(dense[row.name], held)
    return SparseModel(weights, dense)


def part_statistics(
    graph: Graph,
    before: Mapping[str, Floats],
    parts: Sequence[PartResult],
    pooling: BnPooling,
    combiner: Combiner,
) -> dict[str, Floats]:
    """Running statistics of one part of the model, pooled over the devices that have it.

    Args:
        graph: the whole model.
        before: by name, in the model's shapes; what the part does not cover stays.
        parts: of equal blocks, in partition order, at least one.
        pooling, combiner: as for :func:`fedtiny.aggregation.models.average`.
    """
    block = parts[0].block
    results = [part.result for part in parts]
    pooled = average_dense(block.graph, results, pooling, combiner)
    return {
        row.name: block.axes[row.name].spread(pooled[row.name], before[row.name])
        for row in graph.statistics
    }


def _lifted(name: str, part: PartResult) -> SparseTensor:
    axes, weight = part.block.weight(name), part.result.model.weights[name]
    return SparseTensor(Mask(axes.shape, axes.outside(weight.mask.indices)), weight.values)


def _held(name: str, part: PartResult) -> SparseTensor:
    """An array that is held densely, as a tensor that only has the part's elements."""
    axes, array = part.block.axes[name], part.result.model.dense[name]
    return SparseTensor(Mask(axes.shape, axes.positions), array.reshape(-1))


def _updated(weight: SparseTensor, held: SparseTensor) -> SparseTensor:
    values = weight.values.copy()
    values[np.searchsorted(weight.mask.indices, held.mask.indices)] = held.values
    return SparseTensor(weight.mask, values)


def _overwritten(array: Floats, held: SparseTensor) -> Floats:
    result = array.copy()
    result.reshape(-1)[held.mask.indices] = held.values
    return result
