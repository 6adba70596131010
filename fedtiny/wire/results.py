"""What a device sends back, one dataclass a message, each with its packet form and its inverse.

Reading checks everything a broken or lying device could get wrong: types, shapes, NaN, indices
outside the tensor, counts that do not add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Self

import numpy as np
import numpy.typing as npt

from fedtiny.config.methods import DeviceRule
from fedtiny.data.statistics import InputStatistics
from fedtiny.memory.ledger import LedgerEntry, LedgerLine
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel, sparse_names
from fedtiny.pruning.bn_selection import Moments
from fedtiny.sparse.packing import pack_masks, unpack_masks
from fedtiny.sparse.tensor import Floats, Mask
from fedtiny.training.trainer import Evaluation, Growth, Ranges
from fedtiny.wire.models import moments_array, read_moments, read_values, value_arrays
from fedtiny.wire.packet import Packet, Scalar, WireError, concatenate, split

_LINES = tuple(LedgerLine)


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
        ledger = _ledger_packet(self.ledger)
        return Packet(
            {"statistics": table, **ledger.arrays},
            {"samples": self.samples, "readings": one.count, **ledger.scalars},
        )

    @classmethod
    def read(cls, graph: Graph, partition: int, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        table = packet.integers("statistics", np.int64, (4, graph.input_shape[0]))
        statistics = InputStatistics(packet.integer("readings"), *table)
        return cls(packet.integer("samples"), statistics, _read_ledger(graph, partition, packet))


def _ledger_packet(entry: LedgerEntry | None) -> Packet:
    if entry is None:
        return Packet()
    scalars: dict[str, Scalar] = {
        "device": entry.device,
        "budget_bytes": entry.budget_bytes,
        "batch": entry.batch,
        "micro_batch": entry.step.micro_batch,
    }
    if entry.step.recompute:
        scalars["recompute"] = " ".join(entry.step.recompute)
    if entry.measured_peak_bytes is not None:
        scalars["measured_peak_bytes"] = entry.measured_peak_bytes
    return Packet({"ledger": np.array([entry.lines.get(k, 0) for k in _LINES], np.int64)}, scalars)


def _read_ledger(graph: Graph, partition: int, packet: Packet) -> LedgerEntry | None:
    if "ledger" not in packet.arrays:
        return None
    lines = packet.integers("ledger", np.int64, (len(_LINES),)).tolist()
    measured = None
    if "measured_peak_bytes" in packet.scalars:
        measured = packet.integer("measured_peak_bytes")
    return LedgerEntry(
        partition=partition,
        device=packet.text("device"),
        budget_bytes=packet.integer("budget_bytes"),
        predicted_peak_bytes=sum(lines),
        measured_peak_bytes=measured,
        batch=packet.integer("batch"),
        step=StepPlan(packet.integer("micro_batch"), _read_recompute(graph, packet)),
        lines=dict(zip(_LINES, lines, strict=True)),
    )


def _read_recompute(graph: Graph, packet: Packet) -> tuple[str, ...]:
    if "recompute" not in packet.scalars:
        return ()
    names = packet.text("recompute").split()
    unknown = set(names) - {layer.name for layer in graph.layers}
    if unknown:
        raise WireError(f"recompute: the model has no layer {', '.join(sorted(unknown))}")
    return tuple(names)


@dataclass(frozen=True, slots=True, eq=False)
class CandidateStatistics:
    """Batch-norm statistics of every candidate on one device's development set."""

    statistics: Sequence[Mapping[str, Moments]]
    count: int

    def packet(self, graph: Graph) -> Packet:
        """As named arrays."""
        return Packet({"moments": moments_array(graph, self.statistics)}, {"count": self.count})

    @classmethod
    def read(cls, graph: Graph, candidates: int, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        count = packet.integer("count")
        return cls(read_moments(graph, packet, candidates, count), count)


@dataclass(frozen=True, slots=True, eq=False)
class CandidateLosses:
    """Summed development loss (nats) of every candidate on one device, float64 (C,)."""

    loss_sums: npt.NDArray[np.float64]
    count: int

    def packet(self) -> Packet:
        """As named arrays."""
        return Packet({"loss_sums": self.loss_sums}, {"count": self.count})

    @classmethod
    def read(cls, candidates: int, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        losses = packet.integers("loss_sums", np.float64, (candidates,))
        if not np.isfinite(losses).all():
            raise WireError("loss_sums: contains NaN or infinity")
        return cls(losses, packet.integer("count"))


@dataclass(frozen=True, slots=True, eq=False)
class SaliencyScores:
    """How much each prunable weight matters on one device's data: SSFL's one-shot saliency."""

    scores: Mapping[str, Floats]
    count: int

    def packet(self, graph: Graph) -> Packet:
        """As named arrays: ``scores``, all prunable layers' one after another."""
        scores = concatenate([self.scores[name] for name in sparse_names(graph)])
        return Packet({"scores": scores}, {"count": self.count})

    @classmethod
    def read(cls, graph: Graph, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        return cls(_read_per_weight(graph, "scores", packet), packet.integer("count"))


@dataclass(frozen=True, slots=True, eq=False)
class TrainResult:
    """One device's trained values, in the order of the masks it was sent.

    Attributes:
        model: trained parameters and running statistics; with its own masks if it regrew.
        count: samples trained on.
        loss: mean over the steps, nats.
        growth: the largest gradients of absent weights, for the layers asked about; of a device
            that only votes, 1 each.
        ledger: of a metered step, with what was predicted for it; ``None`` if none was.
        squares: by layer, the square of every gradient, in weight layout; PruneFL only.
    """

    model: SparseModel
    count: int
    loss: float
    growth: Growth
    ledger: LedgerEntry | None
    squares: Mapping[str, Floats] = field(default_factory=dict)

    def packet(self, graph: Graph, rule: DeviceRule = DeviceRule.REPORT) -> Packet:
        """As named arrays: growth indices go up, masks only if the device changed them.

        Args:
            graph: the model.
            rule: of a round that adjusts masks.
        """
        arrays = value_arrays(graph, self.model)
        if self.growth:
            shapes = {name: graph.layer(name).weight_shape for name in self.growth}
            masks = {name: Mask(shapes[name], found[0]) for name, found in self.growth.items()}
            arrays["growth_indices"] = pack_masks(masks)
            if rule is not DeviceRule.VOTE:
                arrays["growth_values"] = concatenate([found[1] for found in self.growth.values()])
        if self.squares:
            squares = concatenate([self.squares[name] for name in sparse_names(graph)])
            arrays["squared_gradients"] = squares
        if rule is DeviceRule.REGROW:
            arrays["local_masks"] = pack_masks(self.model.masks)
        ledger = _ledger_packet(self.ledger)
        scalars = {"count": self.count, "loss": self.loss, **ledger.scalars}
        return Packet({**arrays, **ledger.arrays}, scalars)

    @classmethod
    def read(
        cls,
        graph: Graph,
        partition: int,
        masks: Mapping[str, Mask],
        quotas: Mapping[str, int],
        packet: Packet,
        rule: DeviceRule = DeviceRule.REPORT,
    ) -> Self:
        """The inverse of :meth:`packet`, given what was asked; raises WireError."""
        count = packet.integer("count")
        if count < 1:
            raise WireError(f"count: trained on {count} samples")
        growth: Growth = {}
        squares: dict[str, Floats] = {}
        if quotas and rule is DeviceRule.REGROW:
            masks = _read_local_masks(graph, masks, packet)
        elif quotas and rule is DeviceRule.SQUARES:
            squares = _read_per_weight(graph, "squared_gradients", packet)
        elif quotas:
            growth = _read_growth(graph, masks, quotas, packet, rule)
        model = read_values(graph, masks, packet)
        ledger = _read_ledger(graph, partition, packet)
        return cls(model, count, packet.number("loss"), growth, ledger, squares)


def _read_local_masks(graph: Graph, sent: Mapping[str, Mask], packet: Packet) -> dict[str, Mask]:
    shapes = {name: graph.layer(name).weight_shape for name in sparse_names(graph)}
    masks = unpack_masks(packet.blob("local_masks"), shapes)
    for name, mask in masks.items():
        if mask.nnz != sent[name].nnz:
            raise WireError(f"local_masks of {name}: {mask.nnz} weights, sent {sent[name].nnz}")
    return masks


def _read_per_weight(graph: Graph, kind: str, packet: Packet) -> dict[str, Floats]:
    """One number, not negative, per prunable weight."""
    shapes = {name: graph.layer(name).weight_shape for name in sparse_names(graph)}
    values = packet.floats(kind, (sum(prod(shape) for shape in shapes.values()),))
    if values.min(initial=0.0) < 0:
        raise WireError(f"{kind}: negative values")
    return split(values, shapes)


def _read_growth(
    graph: Graph,
    present: Mapping[str, Mask],
    quotas: Mapping[str, int],
    packet: Packet,
    rule: DeviceRule,
) -> Growth:
    shapes = {name: graph.layer(name).weight_shape for name in quotas}
    masks = unpack_masks(packet.blob("growth_indices"), shapes)
    for name, quota in quotas.items():
        if masks[name].nnz > quota:
            raise WireError(f"growth of {name}: {masks[name].nnz} entries, asked for {quota}")
        if np.isin(masks[name].indices, present[name].indices, assume_unique=True).any():
            raise WireError(f"growth of {name}: reports weights that are present")
    sizes = {name: (mask.nnz,) for name, mask in masks.items()}
    total = sum(mask.nnz for mask in masks.values())
    votes = np.ones(total, np.float32)
    values = votes if rule is DeviceRule.VOTE else packet.floats("growth_values", (total,))
    return {name: (masks[name].indices, part) for name, part in split(values, sizes).items()}


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


@dataclass(frozen=True, slots=True, eq=False)
class RangesResult:
    """Smallest and largest value of every tensor on one device's training samples."""

    ranges: Ranges

    def packet(self, graph: Graph) -> Packet:
        """As named arrays: ``ranges`` float32 (1 + nodes, 2), the input first."""
        return Packet({"ranges": np.array([self.ranges[k] for k in graph.observed], np.float32)})

    @classmethod
    def read(cls, graph: Graph, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        names = graph.observed
        table = packet.floats("ranges", (len(names), 2)).tolist()
        if any(low > high for low, high in table):
            raise WireError("ranges: a minimum above its maximum")
        return cls({name: (low, high) for name, (low, high) in zip(names, table, strict=True)})
