"""One adjustment of one layer: as many weights grown as pruned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedtiny.sparse.order import magnitude_order, top_k
from fedtiny.sparse.tensor import Floats, Indices, Mask, SparseError, SparseTensor


@dataclass(frozen=True, slots=True, eq=False)
class Adjustment:
    """What an adjustment did.

    Attributes:
        weights: after it, with the same nnz as before.
        pruned: int32 flat positions that left, ascending.
        grown: int32 flat positions that came, ascending; their weights are 0.
    """

    weights: SparseTensor
    pruned: Indices
    grown: Indices


def prune_and_grow(weights: SparseTensor, growth: tuple[Indices, Floats], quota: int) -> Adjustment:
    """Grow the largest |g̃| among absent weights, prune the smallest |θ| among present ones.

    Both choices look at the layer as it was before the step, so nothing grown is pruned at once.
    Their common number is min(``quota``, non-zeros of g̃, nnz − 1): nnz never changes and at least
    one trained weight stays. Ties go by (−|x|, flat index): of equal weights the one with the
    highest index is pruned. (FedTiny, progressive pruning, Eq. 8; RigL's update with exact counts.)

    Args:
        weights: of one layer.
        growth: (int32 indices, float32 g̃) merged from the devices, ascending
            (:func:`fedtiny.aggregation.mean.merge_growth`). Absent positions only.
        quota: most weights to exchange (:meth:`fedtiny.pruning.schedule.PruningSchedule.quota`).

    Raises:
        SparseError: indices out of range, not ascending, or of a weight that is present (a client
            that reports one ranked the wrong mask: its other values cannot be trusted either); a
            value is not finite; the quota is negative.

    >>> weights = SparseTensor.from_dense(np.array([5., 0., -1., 0., 3.], np.float32))
    >>> growth = (np.array([1, 3], np.int32), np.array([0.1, -0.2], np.float32))
    >>> step = prune_and_grow(weights, growth, 1)
    >>> step.pruned.tolist(), step.grown.tolist(), step.weights.to_dense().tolist()
    ([2], [3], [5.0, 0.0, 0.0, 0.0, 3.0])
    >>> step.weights.mask.indices.tolist()
    [0, 3, 4]
    """
    indices, gradient = growth
    _check(weights.mask, indices, gradient, quota)
    present = weights.mask.indices
    count = min(quota, int(np.count_nonzero(gradient)), max(weights.nnz - 1, 0))
    grown = np.sort(indices[top_k(gradient, count)])
    kept, leaving = np.split(magnitude_order(weights.values), [weights.nnz - count])
    positions = np.concatenate([present[kept], grown])
    values = np.concatenate([weights.values[kept], np.zeros(count, np.float32)])
    ascending = np.argsort(positions)
    mask = Mask(weights.shape, positions[ascending])
    return Adjustment(SparseTensor(mask, values[ascending]), np.sort(present[leaving]), grown)


def _check(mask: Mask, indices: Indices, gradient: Floats, quota: int) -> None:
    if quota < 0:
        raise SparseError(f"the quota must not be negative, got {quota}")
    # A sparse tensor of the layer's shape: checks dtype, range, ascent and lengths.
    SparseTensor(Mask(mask.shape, indices), gradient)
    if not np.isfinite(gradient).all():
        raise SparseError("growth values must be finite: a device's gradient overflowed?")
    present = np.isin(indices, mask.indices, assume_unique=True)
    if present.any():
        raise SparseError(
            f"growth was reported for {int(present.sum())} weights that are present, the first at "
            f"flat index {int(indices[present][0])}; devices must rank pruned weights only"
        )
