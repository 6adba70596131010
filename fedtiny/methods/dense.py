"""Federated averaging of a whole model (McMahan et al. 2017), full-size or narrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from fedtiny.methods.method import Method, Prepared, Start
from fedtiny.methods.settings import PruningSettings
from fedtiny.models.graph import Graph
from fedtiny.models.narrow import narrow, value_bytes
from fedtiny.models.sparse_model import from_state
from fedtiny.sparse.tensor import Mask


@dataclass(frozen=True)
class Dense(Method[PruningSettings]):
    """Every weight is present, always."""

    name: ClassVar[str] = "dense"
    dense_model: ClassVar[bool] = True
    dense_step: ClassVar[bool] = True
    tiered: ClassVar[bool] = True

    @override
    def prepare(self, start: Start) -> Prepared:
        masks = {layer.name: Mask.full(layer.weight_shape) for layer in start.graph.prunable_layers}
        model = from_state(start.graph, start.state, masks)
        story = {
            "method": self.name,
            "model": start.graph.name,
            "value_bytes": value_bytes(start.graph),
        }
        return Prepared(model, story)


@dataclass(frozen=True)
class Narrow(Dense):
    """The widest form of the model whose values take no more bytes than a sparse one.

    The sparse one has ``pruning.density``. Indices, which a sparse model also sends down, are not
    granted to it.
    """

    name: ClassVar[str] = "narrow"
    tiered: ClassVar[bool] = False

    @override
    def architecture(self, graph: Graph) -> Graph:
        return narrow(graph, self.settings.density)
