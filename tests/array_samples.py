"""Float arrays where training expects samples that are normalised as they are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ArraySamples:
    """The interface of :class:`fedtiny.data.samples.Samples` on arrays."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.x[rows], self.y[rows]

    def rows(self, size: int) -> Iterator[np.ndarray]:
        for first in range(0, len(self), size):
            yield np.arange(first, min(first + size, len(self)))
