"""Train: a round's local epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from fedtiny.data.statistics import Normalization
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel, sparse_names
from fedtiny.sparse.tensor import Mask
from fedtiny.training.trainer import Growth
from fedtiny.wire import ledger
from fedtiny.wire.model_task import normalization_array, read_normalization
from fedtiny.wire.models import model_arrays, read_model, read_values, value_arrays
from fedtiny.wire.packet import Array, Packet, Scalar, WireError

FIELDS: Mapping[str, str] = {
    "values": "trained weights where the mask has them",
    "dense": "trained biases, batch norm, first and last layer",
    "count": "number of samples used",
    "loss": "mean training loss",
    **ledger.FIELDS,
}
"""What each array or number of the reply is, by kind; a method's device half may add some."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainTask:
    """Train this model for the round's local epochs.

    Attributes:
        round: counted from 1.
        model, normalization: as in :class:`ModelTask`.
        quotas: how many gradients of absent weights to report, by layer; empty: none.
        meter: also measure the memory of the first steps.
        progress: of the learning rate, in [0, 1], where that is not the round's place in the run
            (:func:`fedtiny.training.learning_rate.progress`).
    """

    round: int
    model: SparseModel
    normalization: Normalization
    quotas: Mapping[str, int]
    meter: bool
    progress: float | None = None

    def packet(self, graph: Graph) -> Packet:
        """As named arrays."""
        arrays = {**model_arrays(graph, self.model), **normalization_array(self.normalization)}
        if self.quotas:
            counts = [self.quotas.get(name, 0) for name in sparse_names(graph)]
            arrays["quotas"] = np.array(counts, np.int32)
        scalars: dict[str, Scalar] = {"round": self.round, "meter": int(self.meter)}
        if self.progress is not None:
            scalars["progress"] = self.progress
        return Packet(arrays, scalars)

    @classmethod
    def read(cls, graph: Graph, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        quotas: dict[str, int] = {}
        if "quotas" in packet.arrays:
            names = sparse_names(graph)
            counts = packet.integers("quotas", np.int32, (len(names),))
            quotas = {name: int(n) for name, n in zip(names, counts, strict=True) if n}
        return cls(
            packet.integer("round"),
            read_model(graph, packet),
            read_normalization(graph, packet),
            quotas,
            bool(packet.integer("meter")),
            packet.number("progress", high=1) if "progress" in packet.scalars else None,
        )


@dataclass(frozen=True, slots=True, eq=False)
class TrainResult:
    """One device's trained values, in the order of the masks it was sent.

    Attributes:
        model: trained parameters and running statistics; with its own masks if it changed them.
        count: samples trained on.
        loss: mean over the steps, nats.
        found: by layer, flat positions (ascending) and what the method asked for there, e.g. the
            largest gradients of absent weights (:class:`fedtiny.methods.device.DeviceHalf`).
        ledger: of a metered step, with what was predicted for it; ``None`` if none was.
    """

    model: SparseModel
    count: int
    loss: float
    found: Growth
    ledger: LedgerEntry | None

    def packet(self, graph: Graph, more: Mapping[str, Array] | None = None) -> Packet:
        """As named arrays: values only, masks stay where they are known.

        Args:
            graph: the model.
            more: what the method's device half sends in a round that adjusts masks.
        """
        plan = ledger.ledger_packet(self.ledger)
        arrays = {**value_arrays(graph, self.model), **(more or {}), **plan.arrays}
        return Packet(arrays, {"count": self.count, "loss": self.loss, **plan.scalars})

    @classmethod
    def read(
        cls,
        graph: Graph,
        partition: int,
        masks: Mapping[str, Mask],
        packet: Packet,
        found: Growth | None = None,
    ) -> Self:
        """The inverse of :meth:`packet`.

        Args:
            graph: the model.
            partition: whose reply it is.
            masks: under which its values are.
            packet: the reply.
            found: what the method's device half read from it.

        Raises:
            WireError: the packet does not hold what it should.
        """
        count = packet.integer("count")
        if count < 1:
            raise WireError(f"count: trained on {count} samples")
        model = read_values(graph, masks, packet)
        plan = ledger.read_ledger(graph, partition, packet)
        return cls(model, count, packet.number("loss"), found or {}, plan)
