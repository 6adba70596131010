"""Payload of a round's two messages, before there is a model to send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fedtiny.data.statistics import Normalization
from fedtiny.devices.flash import layer_nnz
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.pruning.masks import layer_masks
from fedtiny.seeding import rng
from fedtiny.wire.train import TrainResult, TrainTask

_COUNT_BYTES = 4
"""How many gradients a layer is asked for."""
_GRADIENT_BYTES = 8
"""A gradient and its position, which takes no more bytes than an index."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """Payload of one round's two messages, Flower's framing apart.

    Attributes:
        down, up: to the device, and from it.
    """

    down: int
    up: int

    def adjusting(self, graph: Graph, quotas: Mapping[str, int]) -> Bytes:
        """Those of a round that also asks for gradients, at most."""
        if not quotas:
            return self
        down = self.down + _COUNT_BYTES * len(graph.prunable_layers)
        return Bytes(down, self.up + _GRADIENT_BYTES * sum(quotas.values()))


def some_model(graph: Graph, density: float) -> SparseModel:
    """A model with random masks of ``density``: their size on the wire is a real one's."""
    state = initial_state(graph, rng(0, "some model"))
    generator = rng(0, "some masks")
    scores = {
        layer.name: generator.random(layer.weight_shape, np.float32)
        for layer in graph.prunable_layers
    }
    return from_state(graph, state, layer_masks(scores, layer_nnz(graph, density)))


@lru_cache(maxsize=256)
def round_bytes(graph: Graph, density: float) -> Bytes:
    """Of a task and its reply in a round that adjusts nothing and measures nothing.

    Args:
        graph: the model, or the part of one.
        density: nnz / prunable weights, in (0, 1].
    """
    model, channels = some_model(graph, density), graph.input_shape[0]
    unit = Normalization(np.zeros(channels, np.float32), np.ones(channels, np.float32))
    task = TrainTask(2, model, unit, {}, meter=False)  # round 1 is metered: the others are alike
    reply = TrainResult(model, 1, 0.0, {}, None)
    return Bytes(task.packet(graph).payload_bytes, reply.packet(graph).payload_bytes)
