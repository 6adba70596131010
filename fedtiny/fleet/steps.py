"""A number that changes in steps: a link's rate, or whether a device is there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Steps:
    """A step function of simulated time.

    Attributes:
        seconds: where a value begins, ascending, the first 0.
        values: as many, each ≥ 0; the last one holds on, or until the period's end.
        period_s: after it everything repeats; ``inf``: never. Above the last of ``seconds``.

    >>> rate = Steps((0.0, 10.0), (8.0, 2.0))
    >>> rate.at(9.9), rate.at(10.0)
    (8.0, 2.0)
    >>> rate.time_for(84.0)  # 80 in the first ten seconds, the rest at 2 a second
    12.0
    """

    seconds: tuple[float, ...]
    values: tuple[float, ...]
    period_s: float = inf

    def at(self, second: float) -> float:
        """The value at a time ≥ 0."""
        return self.values[bisect_right(self.seconds, self._phase(second)) - 1]

    @property
    def mean(self) -> float:
        """In the long run: over the period, or the last value, which holds on.

        >>> Steps((0.0, 10.0), (8.0, 2.0)).mean, Steps((0.0, 10.0), (8.0, 2.0), 40.0).mean
        (2.0, 3.5)
        """
        return self.values[-1] if self.period_s == inf else self._in_a_period() / self.period_s

    def time_for(self, amount: float, start_s: float = 0.0) -> float:
        """Seconds from ``start_s`` until the integral over the value has reached ``amount``.

        Exact but for rounding: the value is integrated piece by piece, not sampled. ``inf`` if it
        never gets there.

        Args:
            amount: ≥ 0, e.g. bits where values are bit/s.
            start_s: when it begins, ≥ 0.

        >>> Steps((0.0, 1.0), (3.0, 0.0), period_s=10.0).time_for(4.0, start_s=0.5)
        10.333...
        """
        if amount > 0 and not any(self.values):
            return inf
        passed, left, phase = 0.0, amount, self._phase(start_s)
        whole = self._whole_periods(left)
        if whole:
            passed, left = whole * self.period_s, left - whole * self._in_a_period()
        index = bisect_right(self.seconds, phase) - 1
        while left > 0:
            value = self.values[index]
            length = self._end(index) - phase
            if value * length >= left:
                return passed + left / value
            if length == inf:
                return inf  # the last value is 0, and holds
            passed, left = passed + length, left - value * length
            index += 1
            phase = self._end(index - 1)
            if index == len(self.seconds):
                index, phase = 0, 0.0
        return passed

    def next_zero(self, start_s: float) -> float:
        """The first time ≥ ``start_s`` at which the value is 0; ``inf`` if there is none."""
        return self._next(start_s, lambda value: value == 0)

    def next_above_zero(self, start_s: float) -> float:
        """The first time ≥ ``start_s`` at which the value is not 0; ``inf`` if there is none."""
        return self._next(start_s, lambda value: value > 0)

    def _next(self, start_s: float, wanted: Callable[[float], bool]) -> float:
        if wanted(self.at(start_s)):
            return start_s
        phase = self._phase(start_s)
        cycle = start_s - phase
        later = [s for s, v in zip(self.seconds, self.values, strict=True) if wanted(v)]
        ahead = [s for s in later if s > phase]
        if ahead:
            return cycle + ahead[0]
        if later and self.period_s < inf:
            return cycle + self.period_s + later[0]
        return inf

    def _phase(self, second: float) -> float:
        return second if self.period_s == inf else second % self.period_s

    def _end(self, index: int) -> float:
        return self.seconds[index + 1] if index + 1 < len(self.seconds) else self.period_s

    def _in_a_period(self) -> float:
        ends = (*self.seconds[1:], self.period_s)
        return sum(v * (end - s) for s, end, v in zip(self.seconds, ends, self.values, strict=True))

    def _whole_periods(self, amount: float) -> int:
        """Periods after which something is still left to do, so that the end is found exactly."""
        if self.period_s == inf:
            return 0
        return max(0, int(amount / self._in_a_period()) - 1)
