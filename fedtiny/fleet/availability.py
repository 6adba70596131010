"""When a device is there, and how it fails: its section of a fleet's file, and that of one device.

Three ways in which a device drops out of a round: at random, before it begins (``dropout``); in the
middle of training (``breakdown``); and because it is away by its trace or generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from fedtiny.fleet.steps import Steps
from fedtiny.fleet.traced import Seconds, Traced
from fedtiny.fleet.traces import read_states
from fedtiny.seeding import rng

_CHANGES = 512
"""Of a generated availability, before it repeats."""

Share = Annotated[float, Field(ge=0, le=1)]


class AvailabilitySection(Traced):
    """When devices are there.

    Attributes:
        rows, period_s, every_s: a trace, see :class:`~fedtiny.fleet.traced.Traced`.
        on_s, off_s: instead of a trace, mean times for which a device is there and away, each
            drawn from an exponential distribution by the run's seed.
        dropout: share of tasks that a device never begins.
        breakdown: share of tasks in the middle of whose training a device is lost, at a moment
            drawn evenly.
    """

    on_s: Seconds = 0.0
    off_s: Seconds = 0.0
    dropout: Share = 0.0
    breakdown: Share = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.on_s) != bool(self.off_s):
            raise ValueError("give both on_s and off_s, or neither")
        if self.on_s and self.rows:
            raise ValueError("give a trace, or on_s and off_s, not both")
        self.check_trace()
        self.states()
        return self

    def states(self, where: str = "rows") -> tuple[Steps, ...]:
        """When those are there whom the trace tells apart; nothing without a trace.

        Args:
            where: the trace is from, for the message.

        Raises:
            ValueError: the trace cannot be used.
        """
        return self.read(read_states, where) if self.rows else ()

    @property
    def may_fail(self) -> bool:
        """Whether a device can drop out at all."""
        return bool(self.rows or self.on_s or self.dropout or self.breakdown)


@dataclass(frozen=True, slots=True)
class Availability:
    """One device's.

    Attributes:
        there: 1 where it is, 0 where it is away, by simulated second.
        dropout, breakdown: see :class:`AvailabilitySection`.
        seed, partition: of the run and of the device; chance is a function of them and the task.
    """

    there: Steps
    dropout: float = 0.0
    breakdown: float = 0.0
    seed: int = 0
    partition: int = 0

    @classmethod
    def of(cls, section: AvailabilitySection, member: int, partition: int, seed: int) -> Self:
        """That of the ``member``-th device of a group, which holds ``partition``."""
        there = _ALWAYS
        if states := section.states():
            there = states[member % len(states)]
        elif section.on_s:
            there = _alternating(section.on_s, section.off_s, partition, seed)
        return cls(there, section.dropout, section.breakdown, seed, partition)

    def begins(self, task: int) -> bool:
        """Whether the device begins its task of this number."""
        return self._draw("dropout", task) >= self.dropout

    def breaks_at(self, task: int) -> float | None:
        """The share of its training after which the device is lost; None: it is not."""
        drawn = rng(self.seed, "breakdown", task, self.partition).random(2)
        return float(drawn[1]) if drawn[0] < self.breakdown else None

    def _draw(self, purpose: str, task: int) -> float:
        return float(rng(self.seed, purpose, task, self.partition).random())


_ALWAYS = Steps((0.0,), (1.0,))


@lru_cache(maxsize=4096)
def _alternating(on_s: float, off_s: float, partition: int, seed: int) -> Steps:
    """A device that comes and goes; after 512 changes it does so again."""
    generator = rng(seed, "availability", 0, partition)
    first = float(generator.random() < on_s / (on_s + off_s))
    values = np.resize([first, 1 - first], _CHANGES)
    lengths = generator.exponential(np.where(values > 0, on_s, off_s))
    ends = np.cumsum(lengths).tolist()
    return Steps((0.0, *ends[:-1]), tuple(values.tolist()), ends[-1])
