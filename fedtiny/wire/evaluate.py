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


_MAX_LOSS_SUM = 1e300
"""Sums of a few such numbers are still finite."""


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationResult:
    """Loss and confusion matrix of the global model on one device's test samples."""

    evaluation: Evaluation

    def packet(self) -> Packet:
        """As named arrays."""
        confusion = self.evaluation.confusion.astype(np.int32)
        return Packet({"confusion": confusion}, {"loss_sum": self.evaluation.loss_sum})

    @classmethod
    def read(cls, graph: Graph, most: int, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError, also for more than ``most`` samples."""
        confusion = packet.integers("confusion", np.int32, (graph.classes, graph.classes))
        if confusion.min() < 0:
            raise WireError("confusion: negative counts")
        confusion = confusion.astype(np.int64)
        count = int(confusion.sum())
        if count > most:
            raise WireError(f"confusion: {count} samples, but the device described {most}")
        # However bad the model is: that is not the device's doing.
        return cls(Evaluation(packet.number("loss_sum", high=_MAX_LOSS_SUM), confusion))
