"""Models compared by their losses on the same devices, difference by difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from fedtiny.sparse.tensor import Floats


@dataclass(frozen=True, slots=True)
class Comparison:
    """What devices' losses say of some models.

    Attributes:
        losses: mean over samples, nats, by model.
        excesses: over the best model's loss, nats; 0 for that one.
        errors: standard errors of the excesses, over devices; 0 if there is one device only.
    """

    losses: tuple[float, ...]
    excesses: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def as_good(self) -> list[int]:
        """Models whose loss is above the best one's by a standard error at most."""
        pairs = zip(self.excesses, self.errors, strict=True)
        return [k for k, (excess, error) in enumerate(pairs) if excess <= error]


def compare(sums: Sequence[Sequence[float]], counts: Sequence[int]) -> Comparison:
    """Losses beside the best model's, device by device: what devices differ in does not count.

    Args:
        sums: losses summed over each device's samples: by model, then by device.
        counts: samples of each device, all positive.

    >>> found = compare([[9.0, 5.0], [12.0, 8.0]], [10, 10])
    >>> [round(x, 6) for x in found.excesses], [round(x, 6) for x in found.errors], found.as_good
    ([0.0, 0.3], [0.0, 0.0], [0])
    """
    samples = np.array(counts, float)
    means, shares = np.array(sums, float) / samples, samples / samples.sum()
    losses = means @ shares
    gaps = means - means[int(np.argmin(losses))]
    excesses = gaps @ shares
    errors = [_error(row - mean, shares) for row, mean in zip(gaps, excesses, strict=True)]
    return Comparison(tuple(losses.tolist()), tuple(excesses.tolist()), tuple(errors))


def _error(deviations: Floats, shares: Floats) -> float:
    """Of a weighted mean over devices."""
    devices = len(shares)
    if devices < 2:
        return 0.0
    return sqrt(devices / (devices - 1) * float(np.sum((shares * deviations) ** 2)))
