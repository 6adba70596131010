"""Many devices' arrays as one: the mean, or one that a minority of liars cannot move far.

Coordinate-wise median and trimmed mean: Yin et al., "Byzantine-Robust Distributed Learning:
Towards Optimal Statistical Rates", ICML 2018, Definitions 1 and 2; here over those that hold a
weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from fedtiny.aggregation.mean import weighted_mean
from fedtiny.aggregation.sparse import sparse_mean
from fedtiny.sparse.tensor import Floats, Mask, SparseTensor


class Combine(StrEnum):
    """How devices' values become one."""

    MEAN = "mean"
    TRIMMED_MEAN = "trimmed_mean"
    MEDIAN = "median"


@dataclass(frozen=True, slots=True)
class Combiner:
    """One of :class:`Combine` with its setting.

    Attributes:
        combine: which.
        trim: share dropped at each end, for ``TRIMMED_MEAN``; at least one value always stays.

    >>> lies = [np.float32([1, 2]), np.float32([2, 3]), np.float32([900, -900])]
    >>> Combiner(Combine.MEDIAN).dense(lies, [1, 1, 10**6]).tolist()
    [2.0, 2.0]
    >>> Combiner(Combine.TRIMMED_MEAN, 0.34).dense(lies, [1, 1, 1]).tolist()
    [2.0, 2.0]
    """

    combine: Combine = Combine.MEAN
    trim: float = 0.0

    @property
    def robust(self) -> bool:
        """Whether a minority of the devices can move the result only within the others' values."""
        return self.combine is not Combine.MEAN

    def dense(self, arrays: Sequence[Floats], counts: Sequence[int]) -> Floats:
        """One array of several.

        Args:
            arrays: float arrays of one shape, one per device.
            counts: samples; what the mean weighs by.

        Returns:
            float32 of the same shape.

        Raises:
            AggregateError: as :func:`fedtiny.aggregation.mean.weighted_mean`, for the mean.
        """
        if not self.robust:
            return weighted_mean(arrays, counts)
        stacked = np.stack(arrays).astype(np.float64)
        return self._middle(stacked, np.full(stacked.shape[1:], len(arrays)))

    def sparse(self, tensors: Sequence[SparseTensor], counts: Sequence[int]) -> SparseTensor:
        """One tensor over the union of the masks; a device without a weight says nothing of it.

        Args:
            tensors: of one shape, one per device.
            counts: samples; what the mean weighs by.
        """
        if not self.robust:
            return sparse_mean(tensors, counts)
        union = np.unique(np.concatenate([tensor.mask.indices for tensor in tensors]))
        stacked = np.full((len(tensors), len(union)), np.inf)
        for row, tensor in zip(stacked, tensors, strict=True):
            row[np.searchsorted(union, tensor.mask.indices)] = tensor.values
        values = self._middle(stacked, np.isfinite(stacked).sum(axis=0))
        return SparseTensor(Mask(tensors[0].shape, union.astype(np.int32)), values)

    def _middle(self, stacked: npt.NDArray[np.float64], holders: npt.NDArray[np.intp]) -> Floats:
        """Mean of what is left of each column's first ``holders`` values in ascending order."""
        ascending = np.sort(stacked, axis=0)  # the infinite ones, which nobody holds, come last
        if self.combine is Combine.MEDIAN:
            dropped = (holders - 1) // 2
        else:
            dropped = np.minimum((self.trim * holders).astype(int), (holders - 1) // 2)
        rank = np.arange(len(stacked)).reshape(-1, *[1] * (stacked.ndim - 1))
        kept = (rank >= dropped) & (rank < holders - dropped)
        mean = np.mean(ascending, axis=0, where=kept, dtype=np.float64)
        return np.asarray(mean, np.float32)
