"""What the server sends, one dataclass a message, each with its packet form and its inverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from fedtiny.data.statistics import Normalization
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel, sparse_names
from fedtiny.pruning.bn_selection import Moments
from fedtiny.pruning.candidates import CandidatePool, pack_pool, unpack_pool
from fedtiny.sparse.tensor import Floats
from fedtiny.wire.models import (
    dense_array,
    model_arrays,
    moments_array,
    read_dense,
    read_model,
    read_moments,
)
from fedtiny.wire.packet import Array, Packet


@dataclass(frozen=True, slots=True, eq=False)
class ModelTask:
    """Do something with this model: evaluate it, or observe its activations.

    Attributes:
        model: the global model.
        normalization: of sensor counts, merged from all devices.
    """

    model: SparseModel
    normalization: Normalization

    def packet(self, graph: Graph) -> Packet:
        """As named arrays."""
        return Packet({**model_arrays(graph, self.model), **_normalization(self.normalization)})

    @classmethod
    def read(cls, graph: Graph, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        return cls(read_model(graph, packet), _read_normalization(graph, packet))


@dataclass(frozen=True, slots=True, eq=False)
class TrainTask:
    """Train this model for the round's local epochs.

    Attributes:
        round: counted from 1.
        model, normalization: as in :class:`ModelTask`.
        quotas: how many gradients of absent weights to report, by layer; empty: none.
        meter: also measure the memory of the first steps.
    """

    round: int
    model: SparseModel
    normalization: Normalization
    quotas: Mapping[str, int]
    meter: bool

    def packet(self, graph: Graph) -> Packet:
        """As named arrays."""
        arrays = {**model_arrays(graph, self.model), **_normalization(self.normalization)}
        if self.quotas:
            counts = [self.quotas.get(name, 0) for name in sparse_names(graph)]
            arrays["quotas"] = np.array(counts, np.int32)
        return Packet(arrays, {"round": self.round, "meter": int(self.meter)})

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
            _read_normalization(graph, packet),
            quotas,
            bool(packet.integer("meter")),
        )


@dataclass(frozen=True, slots=True, eq=False)
class CandidatesTask:
    """Look at every candidate of the pool (FedTiny's adaptive batch-norm selection).

    Attributes:
        pool: the candidates, as prefixes of one order per layer.
        dense: parameters and statistics all candidates share.
        normalization: as in :class:`ModelTask`.
        statistics: per candidate, pooled batch-norm statistics to evaluate with; ``None`` in the
            first of the two trips, which asks for them.
    """

    pool: CandidatePool
    dense: Mapping[str, Floats]
    normalization: Normalization
    statistics: list[dict[str, Moments]] | None

    def packet(self, graph: Graph) -> Packet:
        """As named arrays."""
        arrays = {
            **pack_pool(self.pool),
            "dense": dense_array(graph, self.dense),
            **_normalization(self.normalization),
        }
        if self.statistics is not None:
            arrays["moments"] = moments_array(graph, self.statistics)
        return Packet(arrays)

    @classmethod
    def read(cls, graph: Graph, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        shapes = {name: graph.layer(name).weight_shape for name in sparse_names(graph)}
        pool = unpack_pool(packet.arrays, shapes)
        statistics = None
        if "moments" in packet.arrays:
            statistics = read_moments(graph, packet, pool.size, count=0)
        return cls(pool, read_dense(graph, packet), _read_normalization(graph, packet), statistics)


def _normalization(normalization: Normalization) -> dict[str, Array]:
    return {"normalization": np.stack([normalization.mean, normalization.std])}


def _read_normalization(graph: Graph, packet: Packet) -> Normalization:
    mean, std = packet.floats("normalization", (2, graph.input_shape[0]))
    return Normalization(mean, std)
