"""Saliency: devices score all weights of the dense model once. Asked with a ``ModelTask``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from fedtiny.models.graph import Graph
from fedtiny.sparse.tensor import Floats
from fedtiny.wire.packet import Packet
from fedtiny.wire.per_weight import per_weight_array, read_per_weight

FIELDS: Mapping[str, str] = {
    "scores": "how much each weight matters on one of its batches, as one number",
    "count": "number of samples used",
}
"""What each array or number of the reply is, by kind."""


@dataclass(frozen=True, slots=True, eq=False)
class SaliencyScores:
    """How much each prunable weight matters on one device's data: SSFL's one-shot saliency."""

    scores: Mapping[str, Floats]
    count: int

    def packet(self, graph: Graph) -> Packet:
        """As named arrays: ``scores``, all prunable layers' one after another."""
        return Packet({"scores": per_weight_array(graph, self.scores)}, {"count": self.count})

    @classmethod
    def read(cls, graph: Graph, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        return cls(read_per_weight(graph, "scores", packet), packet.integer("count"))
