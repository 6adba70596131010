"""Join: the first message to a device brings the model, the reply says whose data it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from fedtiny.models.graph import Graph
from fedtiny.wire.packet import Packet

FIELDS: Mapping[str, str] = {"partition": "number of the data partition it holds"}
"""What each number of the reply is, by kind."""


@dataclass(frozen=True, slots=True)
class JoinTask:
    """Here is the model that we will train; who are you?

    Attributes:
        graph: the model. A device needs no builder of it.
    """

    graph: Graph

    def packet(self) -> Packet:
        """As named scalars."""
        return Packet(scalars={"graph": self.graph.to_json()})

    @classmethod
    def read(cls, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError or GraphError."""
        return cls(Graph.from_json(packet.text("graph")))


@dataclass(frozen=True, slots=True)
class JoinResult:
    """Which data a node holds.

    Attributes:
        partition: its index, from 0.
    """

    partition: int

    def packet(self) -> Packet:
        """As named scalars."""
        return Packet(scalars={"partition": self.partition})

    @classmethod
    def read(cls, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        return cls(packet.integer("partition"))
