"""A data set as training takes it: normalised batch by batch, never as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.dataset import Dataset
from fedtiny.data.statistics import Normalization

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]
"""x float32 (N, C, H, W), normalised; y int64 (N,)."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Sensor counts that become float32 when they are drawn.

    A device holds its samples as the integers its sensor delivered, a half or a quarter of the
    bytes of their floats; the memory ledger counts the floats of one batch.

    Attributes:
        dataset: the counts.
        normalization: what is done to them.

    >>> from fedtiny.data.dataset import SensorSpec
    >>> data = Dataset(np.full((3, 1, 1, 2), 14, np.int16), np.array([0, 1, 1]),
    ...                np.zeros(3, np.int64), ("still", "moving"),
    ...                SensorSpec(("ax",), ("g",), (0.001,)))
    >>> samples = Samples(data, Normalization(np.array([10], "f4"), np.array([2], "f4")))
    >>> x, y = samples.batch(np.array([2, 0]))
    >>> len(samples), x.ravel().tolist(), y.tolist()
    (3, [2.0, 2.0, 2.0, 2.0], [1, 0])
    """

    dataset: Dataset
    normalization: Normalization

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """The samples at these rows, in this order; its arrays are all that is allocated."""
        x = np.empty((len(rows), *self.dataset.input_shape), np.float32)
        for place, row in zip(x, rows, strict=True):
            place[...] = self.dataset.x[row]
        x -= self.normalization.mean[:, None, None]
        x /= self.normalization.std[:, None, None]
        return x, self.dataset.y[rows]

    def rows(self, size: int) -> Iterator[NDArray[np.int64]]:
        """All rows in order, ``size`` at a time, the last part perhaps fewer."""
        for first in range(0, len(self), size):
            yield np.arange(first, min(first + size, len(self)))
