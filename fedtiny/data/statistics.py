"""Input statistics that merge exactly, and the normalization they give.

A device sends five small arrays instead of its samples; sums of integers are exact, so merging
gives the same bits in any grouping.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.dataset import Counts, Dataset
from fedtiny.data.errors import DataError

_CHUNK_SAMPLES = 1024  # bounds the int64 copy made for exact sums


@dataclass(frozen=True, eq=False)
class Normalization:
    """x → (x − mean) / std per channel, in sensor counts.

    Attributes:
        mean: (C,) float32.
        std: (C,) float32 > 0; 1 for a channel that never changed.

    >>> one = Normalization(np.array([10], np.float32), np.array([2], np.float32))
    >>> one.apply(np.array([[[[14, 8]]]], np.int16)).tolist()
    [[[[2.0, -1.0]]]]
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    def apply(self, x: Counts) -> NDArray[np.float32]:
        """Counts (N, C, H, W) to float32 (N, C, H, W).

        >>> Normalization(np.array([10], np.float32), np.array([2], np.float32)).apply(
        ...     np.full((1, 1, 1, 2), 14, np.int16)).ravel().tolist()
        [2.0, 2.0]
        """
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        return (x.astype(np.float32) - mean) / std


@dataclass(frozen=True, eq=False)
class InputStatistics:
    """Per-channel statistics of sensor counts.

    Attributes:
        count: readings per channel (samples × H × W).
        sum: (C,) int64.
        sum_of_squares: (C,) int64.
        minimum: (C,) int64, 0 where count is 0.
        maximum: (C,) int64, 0 where count is 0.
    """

    count: int
    sum: NDArray[np.int64]
    sum_of_squares: NDArray[np.int64]
    minimum: NDArray[np.int64]
    maximum: NDArray[np.int64]

    @classmethod
    def of(cls, dataset: Dataset) -> "InputStatistics":
        """The statistics of a data set's x.

        int64 holds the squares of any int16 data set below 2³³ readings a channel.
        """
        channels, height, width = dataset.input_shape
        totals = np.zeros((2, channels), np.int64)
        for first in range(0, len(dataset), _CHUNK_SAMPLES):
            x = dataset.x[first : first + _CHUNK_SAMPLES].astype(np.int64)
            totals += np.stack([x.sum(axis=(0, 2, 3)), (x * x).sum(axis=(0, 2, 3))])
        empty = len(dataset) == 0
        low, high = (
            np.zeros(channels, np.int64) if empty else reduce(axis=(0, 2, 3)).astype(np.int64)
            for reduce in (dataset.x.min, dataset.x.max)
        )
        return cls(len(dataset) * height * width, totals[0], totals[1], low, high)

    def normalization(self) -> Normalization:
        """Mean and population standard deviation, from exact integer sums.

        Raises:
            DataError: there are no readings.
        """
        if self.count == 0:
            raise DataError("no readings to normalize by: every training set is empty")
        n = self.count
        sums = [int(value) for value in self.sum]
        squares = [int(value) for value in self.sum_of_squares]
        # n²·variance in Python integers: no cancellation however large the mean.
        std = [sqrt(n * q - s * s) / n or 1.0 for s, q in zip(sums, squares, strict=True)]
        mean = [s / n for s in sums]
        return Normalization(np.array(mean, np.float32), np.array(std, np.float32))


def merge(parts: Sequence[InputStatistics]) -> InputStatistics:
    """The statistics of all parts together; parts without readings change nothing.

    Raises:
        DataError: no part has readings.

    >>> part = InputStatistics(2, np.array([6]), np.array([20]), np.array([2]), np.array([4]))
    >>> both = merge([part, part])
    >>> both.count, both.sum.tolist(), both.normalization().mean.tolist()
    (4, [12], [3.0])
    """
    filled = [part for part in parts if part.count > 0]
    if not filled:
        raise DataError("no readings to merge: every training set is empty")
    return InputStatistics(
        sum(part.count for part in filled),
        np.sum([part.sum for part in filled], axis=0),
        np.sum([part.sum_of_squares for part in filled], axis=0),
        np.min([part.minimum for part in filled], axis=0),
        np.max([part.maximum for part in filled], axis=0),
    )
