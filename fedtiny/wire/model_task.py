"""What the server sends where a device is to do something with a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from fedtiny.data.statistics import Normalization
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.wire.models import model_arrays, read_model
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
        return Packet(
            {**model_arrays(graph, self.model), **normalization_array(self.normalization)}
        )

    @classmethod
    def read(cls, graph: Graph, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; raises WireError."""
        return cls(read_model(graph, packet), read_normalization(graph, packet))


def normalization_array(normalization: Normalization) -> dict[str, Array]:
    """``normalization``: float32 (2, C), means and standard deviations."""
    return {"normalization": np.stack([normalization.mean, normalization.std])}


def read_normalization(graph: Graph, packet: Packet) -> Normalization:
    """The inverse of :func:`normalization_array`; raises WireError."""
    mean, std = packet.floats("normalization", (2, graph.input_shape[0]))
    return Normalization(mean, std)
