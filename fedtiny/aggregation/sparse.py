"""Sums over devices whose masks differ, made one sparse tensor again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedtiny.aggregation.mean import AggregateError
from fedtiny.sparse.order import top_k
from fedtiny.sparse.tensor import Mask, SparseTensor


def sparse_mean(tensors: Sequence[SparseTensor], counts: Sequence[int]) -> SparseTensor:
    """Σ_k n_k m_k θ_k / Σ_k n_k m_k per coordinate, over the union of the masks.

    A device without a weight says nothing about it (Bibikar et al. 2022, FedDST). Summed in the
    given order in float64.

    Args:
        tensors: of one shape, one per device.
        counts: n_k, positive.

    >>> a = SparseTensor.from_dense(np.float32([4, 0, 1]))
    >>> b = SparseTensor.from_dense(np.float32([0, 2, 5]))
    >>> mean = sparse_mean([a, b], [1, 3])
    >>> mean.to_dense().tolist()
    [4.0, 2.0, 4.0]
    """
    union = np.unique(np.concatenate([tensor.mask.indices for tensor in tensors])).astype(np.int32)
    total, weight = np.zeros(len(union), np.float64), np.zeros(len(union), np.float64)
    for k, (tensor, count) in enumerate(zip(tensors, counts, strict=True)):
        if not np.isfinite(tensor.values).all():
            raise AggregateError(f"reply {k} holds values that are not finite")
        positions = np.searchsorted(union, tensor.mask.indices)
        total[positions] += count * tensor.values.astype(np.float64)
        weight[positions] += count
    return SparseTensor(Mask(tensors[0].shape, union), (total / weight).astype(np.float32))


def keep_largest(tensor: SparseTensor, count: int) -> SparseTensor:
    """The ``count`` largest |θ|: what the server prunes the union back to.

    >>> keep_largest(SparseTensor.from_dense(np.float32([4, 2, -3])), 2).to_dense().tolist()
    [4.0, 0.0, -3.0]
    """
    kept = np.sort(top_k(tensor.values, count))
    return SparseTensor(Mask(tensor.shape, tensor.mask.indices[kept]), tensor.values[kept])
