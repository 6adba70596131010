"""Calibrate: activation ranges for quantization. Asked with a ``ModelTask``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from fedtiny.models.graph import Graph
from fedtiny.training.trainer import Ranges
from fedtiny.wire.packet import Packet, WireError

FIELDS: Mapping[str, str] = {"ranges": "smallest and largest activation of every layer"}
"""What each array of the reply is, by kind."""


@dataclass(frozen=True, slots=True, eq=False)
class RangesResult:
    """Smallest and largest value of every tensor on one device's training samples."""

    ranges: Ranges

    def packet(self, graph: Graph) -> Packet:
        """As named arrays: ``ranges`` float32 (observed tensors, 2), the input first."""
        return Packet({"ranges": np.array([self.ranges[k] for k in graph.observed], np.float32)})

    @classmethod
    def read(cls, graph: Graph, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        names = graph.observed
        # However bad the model is: that is not the device's doing.
        table = packet.floats("ranges", (len(names), 2), high=np.inf).tolist()
        if any(low > high for low, high in table):
            raise WireError("ranges: a minimum above its maximum")
        return cls({name: (low, high) for name, (low, high) in zip(names, table, strict=True)})
