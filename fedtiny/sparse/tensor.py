"""Sparse weights: the coordinates that are held, and their values. Never a dense mask."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from fedtiny.errors import FedTinyError

Indices = npt.NDArray[np.int32]
"""Flat positions in C order, strictly ascending."""

Floats = npt.NDArray[np.float32]


class SparseError(FedTinyError):
    """Indices or values do not describe a tensor of the stated shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Which weights of one tensor are present.

    Attributes:
        shape: of the tensor, in weight layout (see :mod:`fedtiny.models.graph`).
        indices: int32 ``(nnz,)``, flat positions in C order, strictly ascending.

    Raises:
        SparseError: an index lies outside the shape, or they are not strictly ascending.

    >>> mask = Mask((2, 3), np.array([0, 4], np.int32))
    >>> mask.nnz, mask.size, round(mask.density, 3)
    (2, 6, 0.333)
    """

    shape: tuple[int, ...]
    indices: Indices

    def __post_init__(self) -> None:
        indices = self.indices
        if indices.dtype != np.int32 or indices.ndim != 1:
            raise SparseError(
                f"indices must be a 1-D int32 array, got {indices.dtype}{indices.shape}"
            )
        if len(indices) == 0:
            return
        if indices[0] < 0 or indices[-1] >= self.size or not np.all(np.diff(indices) > 0):
            raise SparseError(f"indices must ascend strictly within [0, {self.size})")

    @property
    def size(self) -> int:
        """Weights of the tensor, absent ones included."""
        return prod(self.shape)

    @property
    def nnz(self) -> int:
        """Weights present."""
        return len(self.indices)

    @property
    def density(self) -> float:
        """nnz / size, in [0, 1]."""
        return self.nnz / self.size

    @classmethod
    def full(cls, shape: tuple[int, ...]) -> Mask:
        """Every weight present."""
        return cls(shape, np.arange(prod(shape), dtype=np.int32))

    def to_bool(self) -> npt.NDArray[np.bool_]:
        """Boolean array of ``shape``: for the masked-dense oracle only."""
        flat = np.zeros(self.size, np.bool_)
        flat[self.indices] = True
        return flat.reshape(self.shape)

    def complement(self) -> Indices:
        """Flat positions of the absent weights, ascending."""
        return np.flatnonzero(~self.to_bool().ravel()).astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class SparseTensor:
    """Values at the positions of a mask.

    Attributes:
        mask: the positions.
        values: float32 ``(nnz,)`` in mask order. A value may be 0 (a freshly grown weight).

    >>> weight = SparseTensor.from_dense(np.array([[0., 2.], [3., 0.]], np.float32))
    >>> weight.mask.indices.tolist(), weight.values.tolist()
    ([1, 2], [2.0, 3.0])
    """

    mask: Mask
    values: Floats

    def __post_init__(self) -> None:
        if self.values.dtype != np.float32 or self.values.shape != (self.mask.nnz,):
            raise SparseError(
                f"values must be float32 ({self.mask.nnz},), got "
                f"{self.values.dtype}{self.values.shape}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor in weight layout."""
        return self.mask.shape

    @property
    def nnz(self) -> int:
        """Weights present."""
        return self.mask.nnz

    @classmethod
    def gather(cls, dense: Floats, mask: Mask) -> SparseTensor:
        """The values of ``dense`` at the mask's positions."""
        return cls(mask, dense.reshape(-1)[mask.indices])

    def values_at(self, mask: Mask) -> Floats:
        """A copy of the values at another mask's positions; 0 where there is none.

        Takes memory for non-zeros only.

        >>> weight = SparseTensor(Mask((4,), np.array([0, 2], np.int32)), np.array([5, 7], "f4"))
        >>> weight.values_at(Mask((4,), np.array([1, 2, 3], np.int32))).tolist()
        [0.0, 7.0, 0.0]
        """
        if mask is self.mask:
            return self.values.copy()
        if not self.nnz:
            return np.zeros(mask.nnz, np.float32)
        at = np.searchsorted(self.mask.indices, mask.indices)
        np.minimum(at, self.nnz - 1, out=at)
        values = self.values[at]
        values[self.mask.indices[at] != mask.indices] = 0
        return values

    @classmethod
    def from_dense(cls, dense: Floats) -> SparseTensor:
        """The non-zeros of ``dense``."""
        indices = np.flatnonzero(dense).astype(np.int32)
        return cls.gather(dense, Mask(dense.shape, indices))

    def to_dense(self) -> Floats:
        """Array of ``shape`` with zeros in it: for the oracle and for layers kept dense."""
        flat = np.zeros(self.mask.size, np.float32)
        flat[self.mask.indices] = self.values
        return flat.reshape(self.shape)
