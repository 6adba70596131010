"""One number for every prunable weight: as large as the model, and counted as that."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import sparse_names
from fedtiny.sparse.tensor import Floats
from fedtiny.wire.packet import Packet, WireError, concatenate, split


def per_weight_array(graph: Graph, scores: Mapping[str, Floats]) -> Floats:
    """float32 vector of all prunable layers' numbers, one layer after another.

    Args:
        graph: the model.
        scores: float32 in weight layout, or flat, by layer name.
    """
    return concatenate([scores[name] for name in sparse_names(graph)])


def read_per_weight(graph: Graph, kind: str, packet: Packet) -> dict[str, Floats]:
    """The array ``kind``, which must hold no negative number; raises WireError.

    Returns:
        float32 in weight layout by layer name.
    """
    shapes = {name: graph.layer(name).weight_shape for name in sparse_names(graph)}
    values = packet.floats(kind, (sum(prod(shape) for shape in shapes.values()),))
    if values.min(initial=0.0) < 0:
        raise WireError(f"{kind}: negative values")
    return split(values, shapes)
