"""Adapt: after the rounds devices learn of their own data, beside the finished model or in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from fedtiny.models.graph import Graph
from fedtiny.sparse.tensor import Floats
from fedtiny.wire.calibrate import RangesResult
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Array, Packet, Scalar, WireError

FIELDS: Mapping[str, str] = {
    "trained": "what was trained, where it is averaged",
    "count": "number of samples learned from",
    "loss": "mean training loss",
    "tested": "number of its test samples",
    "correct_before": "test samples that the finished model classifies rightly",
    "correct_after": "test samples that the adapted model classifies rightly",
    "micro_batch": "samples per forward pass",
    "saved_bytes": "memory that a forward pass leaves for the backward pass",
    "predicted_peak_bytes": "predicted memory of a step",
    "peak_bytes": "measured peak of a step's memory",
    "ranges": "smallest and largest activation of every layer",
}
"""What each array or number of the reply is, by kind."""


@dataclass(frozen=True, slots=True, eq=False)
class AdaptTask:
    """Learn of your own samples; or only look at what others learned.

    Attributes:
        backbone: the finished model.
        round: of learning, counted from 1.
        trained: what is trained, float32 (n,), to go on from; None: as the method starts.
        learn: False: test, and report ranges.
    """

    backbone: ModelTask
    round: int
    trained: Floats | None = None
    learn: bool = True

    def packet(self, graph: Graph, is_kept: bool = False) -> Packet:
        """As named arrays.

        Args:
            graph: the finished model's.
            is_kept: the device has the backbone: it is left out (:mod:`fedtiny.wire.kept`).
        """
        arrays = {} if is_kept else dict(self.backbone.packet(graph).arrays)
        if self.trained is not None:
            arrays["trained"] = self.trained
        return Packet(arrays, {"round": self.round, "learn": int(self.learn)})

    @classmethod
    def read(cls, graph: Graph, packet: Packet) -> Self:
        """The inverse of :meth:`packet`, of one with its backbone; raises WireError."""
        trained = None
        if "trained" in packet.arrays:
            trained = packet.floats("trained", (packet.arrays["trained"].size,))
        return cls(
            ModelTask.read(graph, packet),
            packet.integer("round"),
            trained,
            bool(packet.integer("learn")),
        )


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one step of learning on one device.

    Attributes:
        micro_batch: samples per forward pass.
        saved_bytes: what a forward pass leaves for the backward pass.
        predicted_peak_bytes, peak_bytes: every array of a step, planned and measured.
    """

    micro_batch: int
    saved_bytes: int
    predicted_peak_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class AdaptResult:
    """What one device learned, by what it says of itself.

    Attributes:
        count: samples learned from, ≥ 1.
        loss: mean over the steps, nats; 0 where nothing was learned.
        tested: test samples.
        correct_before, correct_after: of these, by the finished model, and by what was learned
            here, or by others.
        costs: of learning; None where nothing was learned.
        trained: float32 (n,), where it is averaged.
        ranges: of the adapted model's tensors, where nothing was learned.
    """

    count: int
    loss: float
    tested: int
    correct_before: int
    correct_after: int
    costs: Costs | None = None
    trained: Floats | None = None
    ranges: RangesResult | None = None

    def packet(self, graph: Graph) -> Packet:
        """As named arrays; ``graph`` is the adapted model's."""
        arrays: dict[str, Array] = {}
        if self.trained is not None:
            arrays["trained"] = self.trained
        if self.ranges is not None:
            arrays.update(self.ranges.packet(graph).arrays)
        scalars: dict[str, Scalar] = {name: getattr(self, name) for name in (*_NUMBERS, "loss")}
        if self.costs is not None:
            scalars |= {name: getattr(self.costs, name) for name in _COSTS}
        return Packet(arrays, scalars)

    @classmethod
    def read(cls, graph: Graph, learned: bool, size: int, most_tested: int, packet: Packet) -> Self:
        """The inverse of :meth:`packet`.

        Args:
            graph: the adapted model's.
            learned: what :class:`AdaptTask` asked for.
            size: of ``trained``; 0 where it stays on the device.
            most_tested: test samples that the device described.
            packet: the reply.

        Raises:
            WireError: the packet does not hold what it should.
        """
        numbers = {name: packet.integer(name) for name in _NUMBERS}
        tested = numbers["tested"]
        if numbers["count"] < 1:
            raise WireError(f"count: learned from {numbers['count']} samples")
        if tested > most_tested:
            raise WireError(f"tested: {tested} samples, but the device described {most_tested}")
        if max(numbers["correct_before"], numbers["correct_after"]) > tested:
            raise WireError(f"correct: more than the {tested} samples that were tested")
        count, _, before, after = numbers.values()
        found = cls(count, packet.number("loss"), tested, before, after)
        if not learned:
            return replace(found, ranges=RangesResult.read(graph, packet))
        costs = Costs(**{name: packet.integer(name) for name in _COSTS})
        trained = packet.floats("trained", (size,)) if size else None
        return replace(found, costs=costs, trained=trained)


_NUMBERS = ("count", "tested", "correct_before", "correct_after")
_COSTS = ("micro_batch", "saved_bytes", "predicted_peak_bytes", "peak_bytes")
