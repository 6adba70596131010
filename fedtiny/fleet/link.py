"""How a device reaches the server: its section of a fleet's file, and what that means for one."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Annotated, Self

from pydantic import Field, model_validator

from fedtiny.fleet.steps import Steps
from fedtiny.fleet.traced import Seconds, Traced
from fedtiny.fleet.traces import read_links
from fedtiny.seeding import rng

Kbps = Annotated[float, Field(gt=0, le=1e9)]

_BITS_PER_KBIT = 1000.0
_BITS_PER_BYTE = 8


class LinkSection(Traced):
    """A link: constant rates or a trace, and what chance does to them.

    Attributes:
        down_kbps, up_kbps: constant rates from and to the server, kbit/s.
        rows, period_s, every_s: a trace instead of them, see
            :class:`~fedtiny.fleet.traced.Traced`.
        latency_s: before the first byte of every message.
        spread: standard deviation of the logarithm of a factor on both rates, drawn once for each
            device from the run's seed; 0: none.
        jitter: a message's rate is that of the link times a factor drawn for each round and
            device, evenly from 1 − jitter to 1 + jitter.
    """

    down_kbps: Kbps | None = None
    up_kbps: Kbps | None = None
    latency_s: Seconds = 0.0
    spread: Annotated[float, Field(ge=0, le=3)] = 0.0
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        rates = [self.down_kbps, self.up_kbps]
        if (rates.count(None) != 2) == bool(self.rows) or rates.count(None) == 1:
            raise ValueError("give both down_kbps and up_kbps, or a trace and neither")
        self.check_trace()
        self.rates()
        return self

    def rates(self, where: str = "rows") -> tuple[tuple[Steps, Steps], ...]:
        """The (down, up) rates, bit/s, of those whom the link tells apart.

        Args:
            where: a trace is from, for the message.

        Raises:
            ValueError: the trace cannot be used.
        """
        if self.down_kbps is not None and self.up_kbps is not None:
            return ((_constant(self.down_kbps), _constant(self.up_kbps)),)
        return self.read(read_links, where)


@dataclass(frozen=True, slots=True)
class Link:
    """One device's.

    Attributes:
        down, up: rates, bit/s, by simulated second.
        latency_s: before the first byte of every message.
        jitter: see :class:`LinkSection`.
        seed, partition: of the run and of the device; jitter is a function of them and the round.

    >>> Link.constant(down_kbps=800, up_kbps=80).down_seconds(1000, 0.0)
    0.01
    """

    down: Steps
    up: Steps
    latency_s: float = 0.0
    jitter: float = 0.0
    seed: int = 0
    partition: int = 0

    @classmethod
    def constant(cls, *, down_kbps: float, up_kbps: float) -> Self:
        """One whose rates never change."""
        return cls(_constant(down_kbps), _constant(up_kbps))

    @classmethod
    def of(cls, section: LinkSection, member: int, partition: int, seed: int) -> Self:
        """That of the ``member``-th device of a group, which holds ``partition``."""
        rates = section.rates()
        down, up = rates[member % len(rates)]
        if section.spread:
            drawn = rng(seed, "link spread", 0, partition).standard_normal()
            factor = exp(section.spread * float(drawn))
            down, up = _faster(down, factor), _faster(up, factor)
        return cls(down, up, section.latency_s, section.jitter, seed, partition)

    def lasting(self) -> Link:
        """A link of its mean rates in the long run, as slow as jitter can make it: for plans."""
        slowest = 1 - self.jitter
        down, up = (Steps((0.0,), (rate.mean * slowest,)) for rate in (self.down, self.up))
        return Link(down, up, self.latency_s)

    def down_seconds(self, size: int, start_s: float, round: int = 0) -> float:
        """How long ``size`` bytes from the server take that are sent at ``start_s``."""
        return self._seconds(self.down, size, start_s, self._factor(round, 0))

    def up_seconds(self, size: int, start_s: float, round: int = 0) -> float:
        """How long ``size`` bytes to the server take that are sent at ``start_s``."""
        return self._seconds(self.up, size, start_s, self._factor(round, 1))

    def _seconds(self, rate: Steps, size: int, start_s: float, factor: float) -> float:
        bits = size * _BITS_PER_BYTE / factor
        return self.latency_s + rate.time_for(bits, start_s + self.latency_s)

    def _factor(self, round: int, message: int) -> float:
        if not self.jitter:
            return 1.0
        draws = rng(self.seed, "link jitter", round, self.partition).uniform(-1, 1, 2)
        return 1 + self.jitter * float(draws[message])


def _constant(kbps: float) -> Steps:
    return Steps((0.0,), (kbps * _BITS_PER_KBIT,))


def _faster(rate: Steps, factor: float) -> Steps:
    return Steps(rate.seconds, tuple(v * factor for v in rate.values), rate.period_s)
