"""Which samples of a data set overlap in time, so that no two views share a reading."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Spans:
    """Where each sample was cut from: readings [start, start + length) of a recording.

    Attributes:
        recording: (N,) int64, samples of different recordings never overlap.
        start: (N,) int64 >= 0, first reading.
        length: readings per sample, >= 1.
    """

    recording: Rows
    start: Rows
    length: int

    @classmethod
    def separate(cls, count: int) -> "Spans":
        """`count` samples that overlap with nothing, such as images."""
        return cls(np.arange(count), np.zeros(count, np.int64), 1)

    @classmethod
    def apart(cls, parts: "list[Spans]") -> "Spans":
        """Those of several files, one after another: samples of two of them never overlap.

        Raises:
            ValueError: their samples are of unequal lengths.
        """
        if len({part.length for part in parts}) != 1:
            raise ValueError("samples of unequal lengths have no spans in common")
        counts = [int(part.recording.max(initial=-1)) + 1 for part in parts]
        before = np.cumsum([0, *counts[:-1]])
        recording = [part.recording + k for part, k in zip(parts, before, strict=True)]
        starts = np.concatenate([part.start for part in parts])
        return cls(np.concatenate(recording), starts, parts[0].length)

    def take(self, rows: Rows) -> "Spans":
        """The spans of these samples."""
        return Spans(self.recording[rows], self.start[rows], self.length)

    @cached_property
    def _are_apart(self) -> bool:
        """Whether every sample is a recording of its own, in ascending order: nothing overlaps."""
        return bool((self.recording[1:] > self.recording[:-1]).all())

    def numbered(self) -> tuple[int, Rows]:
        """How many recordings there are, and each sample's, counted from 0 in ascending order."""
        if self._are_apart:  # thousands of clients have a handful of images each
            return len(self.recording), np.arange(len(self.recording))
        names, numbers = np.unique(self.recording, return_inverse=True)
        return len(names), numbers

    def touching(self, chosen: Rows) -> NDArray[np.bool_]:
        """Which samples share at least one reading with a chosen one (chosen ones included).

        >>> spans = Spans(np.array([0, 0, 0, 1]), np.array([0, 64, 128, 64]), 128)
        >>> spans.touching(np.array([0])).tolist()
        [True, True, False, False]
        """
        if len(chosen) == 0 or self._are_apart:
            only = np.zeros(len(self.start), np.bool_)
            only[chosen] = True
            return only
        pitch = int(self.start.max()) + 2 * self.length  # recordings lie further apart than length
        position = self.recording * pitch + self.start
        taken = np.sort(position[chosen])
        after = np.minimum(np.searchsorted(taken, position), len(taken) - 1)
        before = np.maximum(after - 1, 0)
        nearest = np.minimum(np.abs(taken[after] - position), np.abs(taken[before] - position))
        touching: NDArray[np.bool_] = nearest < self.length
        return touching
