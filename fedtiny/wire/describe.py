"""Describe: a device introduces itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from fedtiny.data.statistics import InputStatistics
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.models.graph import Graph
from fedtiny.wire import ledger
from fedtiny.wire.packet import Packet

FIELDS: Mapping[str, str] = {
    "samples": "number of training samples",
    "readings": "number of readings its input statistics cover",
    "statistics": "sum, sum of squares, smallest and largest reading of each input channel",
    **ledger.FIELDS,
}
"""What each array or number of the reply is, by kind."""


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """A device introduces itself.

    Attributes:
        samples: it will train on.
        statistics: of its training inputs, per channel.
        ledger: board, budget, and the memory plan made before any training; ``None`` for a
            device without a profile.
    """

    samples: int
    statistics: InputStatistics
    ledger: LedgerEntry | None

    def packet(self) -> Packet:
        """As named arrays."""
        one = self.statistics
        table = np.stack([one.sum, one.sum_of_squares, one.minimum, one.maximum])
        plan = ledger.ledger_packet(self.ledger)
        return Packet(
            {"statistics": table, **plan.arrays},
            {"samples": self.samples, "readings": one.count, **plan.scalars},
        )

    @classmethod
    def read(cls, graph: Graph, partition: int, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        table = packet.integers("statistics", np.int64, (4, graph.input_shape[0]))
        statistics = InputStatistics(packet.integer("readings"), *table)
        return cls(
            packet.integer("samples"), statistics, ledger.read_ledger(graph, partition, packet)
        )
