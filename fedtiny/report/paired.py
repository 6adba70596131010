"""Differences between two methods seed by seed, with how far they are to be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Two-sided 95 % quantiles of Student's t for 1 to 10 degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two methods over the seeds that both ran.

    Attributes:
        mean: ours less theirs.
        half: half of the 95 % interval of the mean (Student's t); None for one seed.
        seeds: how many.
    """

    mean: float
    half: float | None
    seeds: int

    @property
    def is_ahead(self) -> bool:
        """Whether all of the interval is above 0."""
        return self.half is not None and self.mean - self.half > 0

    def __str__(self) -> str:
        if self.half is None:
            return f"{self.mean:+.1f}"
        return f"{self.mean:+.1f} [{self.mean - self.half:+.1f}, {self.mean + self.half:+.1f}]"


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Paired by seed; None if no seed is common.

    Above 11 seeds the interval is that of 11, a little too wide.

    Args:
        ours, theirs: a figure by seed.

    >>> print(difference({0: 3.0, 1: 4.0, 2: 5.0}, {0: 1.0, 1: 2.5, 2: 2.5, 9: 0.0}))
    +2.0 [+0.8, +3.2]
    """
    gaps = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    if not gaps:
        return None
    if len(gaps) == 1:
        return Difference(gaps[0], None, 1)
    quantile = _T[min(len(gaps) - 1, len(_T)) - 1]
    return Difference(fmean(gaps), quantile * stdev(gaps) / sqrt(len(gaps)), len(gaps))
