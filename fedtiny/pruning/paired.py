"""Models compared by their losses on the same devices, difference by difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedtiny.pruning.bn_selection import SelectionError
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
    def best(self) -> int:
        """The model of the lowest loss; of equals the first."""
        return self.losses.index(min(self.losses))

    @property
    def as_good(self) -> list[int]:
        """Models whose loss is above the best one's by a standard error at most."""
        pairs = zip(self.excesses, self.errors, strict=True)
        return [k for k, (excess, error) in enumerate(pairs) if excess <= error]


class Reply(Protocol):
    """What a device says of one model, e.g. :class:`fedtiny.wire.candidates.CandidateLosses`."""

    @property
    def loss_sums(self) -> Sequence[float] | npt.NDArray[np.float64]:
        """Over its development samples, nats; the first is the model's."""

    @property
    def count(self) -> int:
        """Of these samples."""


def compare(replies: Sequence[Mapping[int, Reply]], remedy: str) -> Comparison:
    """Losses beside the best model's, device by device: what devices differ in does not count.

    Only those devices count that have development samples and answered for all models.

    Args:
        replies: by model, of at least one; by partition.
        remedy: what to set if none does, for the message.

    Raises:
        SelectionError: none does.

    >>> from types import SimpleNamespace
    >>> def says(*sums):
    ...     return {k: SimpleNamespace(loss_sums=[s], count=10) for k, s in enumerate(sums)}
    >>> found = compare([says(9.0, 12.0), says(4.9, 8.0), says(5.1, 7.9), says(8.0, 11.0)], "")
    >>> found.best, found.as_good, [round(x, 3) for x in found.excesses]
    (1, [1, 2], [0.405, 0.0, 0.005, 0.305])
    """
    answered = [{k for k, reply in one.items() if reply.count} for one in replies]
    common = sorted(set.intersection(*answered))
    if not common:
        raise SelectionError(
            "no device measured all parts of the model on development samples; raise "
            f"data.development_fraction, or {remedy}"
        )
    samples = np.array([replies[0][k].count for k in common], float)
    sums = np.array([[one[k].loss_sums[0] for k in common] for one in replies], float)
    means, shares = sums / samples, samples / samples.sum()
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
