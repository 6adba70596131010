"""Evaluate: the global model on every device's own test samples. Asked with a ``ModelTask``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from fedtiny.models.graph import Graph
from fedtiny.training.trainer import Evaluation
from fedtiny.wire.packet import Packet, WireError

FIELDS: Mapping[str, str] = {
    "confusion": "counts of true against predicted class on its test samples",
    "loss_sum": "summed loss on its test samples",
}
"""What each array or number of the reply is, by kind."""


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationResult:
    """Loss and confusion matrix of the global model on one device's test samples."""

    evaluation: Evaluation

    def packet(self) -> Packet:
        """As named arrays."""
        confusion = self.evaluation.confusion.astype(np.int32)
        return Packet({"confusion": confusion}, {"loss_sum": self.evaluation.loss_sum})

    @classmethod
    def read(cls, graph: Graph, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        confusion = packet.integers("confusion", np.int32, (graph.classes, graph.classes))
        if confusion.min() < 0:
            raise WireError("confusion: negative counts")
        return cls(Evaluation(packet.number("loss_sum"), confusion.astype(np.int64)))
