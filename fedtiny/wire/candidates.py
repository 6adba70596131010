"""The two trips of adaptive batch-norm selection: statistics of every candidate, then losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from fedtiny.data.statistics import Normalization
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import sparse_names
from fedtiny.pruning.bn_selection import Moments
from fedtiny.pruning.candidates import CandidatePool, pack_pool, unpack_pool
from fedtiny.sparse.tensor import Floats
from fedtiny.wire.model_task import normalization_array, read_normalization
from fedtiny.wire.models import dense_array, moments_array, read_dense, read_moments
from fedtiny.wire.packet import Packet, WireError, check_magnitude

FIELDS: Mapping[str, str] = {
    "moments": "mean and variance of every batch-norm channel, for every candidate",
    "loss_sums": "summed loss on its development samples, one number per candidate",
    "count": "number of samples used",
}
"""What each array or number of the replies is, by kind."""


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
            **normalization_array(self.normalization),
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
        return cls(pool, read_dense(graph, packet), read_normalization(graph, packet), statistics)


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
        count = packet.integer("count")
        losses = packet.integers("loss_sums", np.float64, (candidates,))
        if losses.min(initial=0) < 0:
            raise WireError("loss_sums: negative values")
        check_magnitude("loss_sums / count", losses / max(count, 1))
        return cls(losses, count)
