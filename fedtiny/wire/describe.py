"""Describe: a device introduces itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from fedtiny.data.statistics import InputStatistics
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.models.graph import Graph
from fedtiny.tiers.tier import Tier
from fedtiny.wire import ledger, measured, part
from fedtiny.wire.measured import Measured
from fedtiny.wire.packet import Packet, WireError

FIELDS: Mapping[str, str] = {
    "samples": "number of training samples",
    "development": "number of development samples",
    "test": "number of test samples",
    "readings": "number of readings its input statistics cover",
    "statistics": "sum, sum of squares, smallest and largest reading of each input channel",
    **ledger.FIELDS,
    **measured.FIELDS,
    **part.FIELDS,
}
"""What each array or number of the reply is, by kind."""


MAX_SAMPLES = 2**31 - 1
"""Of one device."""

_LOWEST_READING, _HIGHEST_READING = -(2**15), 2**16 - 1
"""Sensor counts are int16 or unsigned."""


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """A device introduces itself.

    Attributes:
        samples: it will train on.
        development, test: samples of its other two views.
        statistics: of its training inputs, per channel.
        ledger: board, budget, and the memory plan made before any training; ``None`` for a
            device without a profile.
        measured: what a real device measured of itself; ``None`` for a simulated one.
        tier: the part of the model that it can train; ``None`` where all train all of it.
        refused: why it can train no part; empty if it can.
        passed_over: parts that would be better, each with the reason why it is not the device's.
    """

    samples: int
    development: int
    test: int
    statistics: InputStatistics
    ledger: LedgerEntry | None
    measured: Measured | None = None
    tier: Tier | None = None
    refused: str = ""
    passed_over: Mapping[Tier, str] = field(default_factory=dict)

    def packet(self) -> Packet:
        """As named arrays."""
        one = self.statistics
        table = np.stack([one.sum, one.sum_of_squares, one.minimum, one.maximum])
        plan = ledger.ledger_packet(self.ledger)
        own = part.tier_packet(self.tier, self.refused, self.passed_over)
        return Packet(
            {"statistics": table, **plan.arrays, **own.arrays},
            {
                "samples": self.samples,
                "development": self.development,
                "test": self.test,
                "readings": one.count,
                **plan.scalars,
                **(self.measured.packet().scalars if self.measured else {}),
                **own.scalars,
            },
        )

    @classmethod
    def read(cls, graph: Graph, partition: int, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        samples = packet.integer("samples", MAX_SAMPLES)
        channels, height, width = graph.input_shape
        table = packet.integers("statistics", np.int64, (4, channels))
        statistics = InputStatistics(packet.integer("readings"), *table)
        if statistics.count != samples * height * width:
            raise WireError(
                f"readings: {statistics.count}, but {samples} samples have "
                f"{samples * height * width} of them in a channel"
            )
        for channel in range(channels):
            _check_channel(channel, statistics)
        return cls(
            samples,
            packet.integer("development", MAX_SAMPLES),
            packet.integer("test", MAX_SAMPLES),
            statistics,
            ledger.read_ledger(graph, partition, packet),
            Measured.read(packet),
            *part.read_tier(packet),
        )


def _check_channel(channel: int, statistics: InputStatistics) -> None:
    """Raises WireError unless some readings could have these sums and this range."""
    n = statistics.count
    rows = (statistics.sum, statistics.sum_of_squares, statistics.minimum, statistics.maximum)
    total, squares, low, high = (int(row[channel]) for row in rows)  # no overflow in products
    possible = (
        _LOWEST_READING <= low <= high <= _HIGHEST_READING
        and n * low <= total <= n * high
        and total**2 <= n * squares
        and squares <= n * max(low**2, high**2)
    )
    if not possible:
        raise WireError(
            f"statistics: no {n} readings have sum {total}, sum of squares {squares} and range "
            f"{low}..{high} (channel {channel})"
        )
