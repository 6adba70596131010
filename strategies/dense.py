"""Federated averaging of a whole model (McMahan et al. 2017), full-size or narrow."""

from __future__ import annotations

from dataclasses import dataclass

from fedtiny.config.methods import Method
from fedtiny.models.narrow import value_bytes
from fedtiny.models.sparse_model import from_state
from fedtiny.sparse.tensor import Mask
from strategies.algorithm import Algorithm, Prepared, Start


@dataclass(frozen=True)
class DenseAveraging(Algorithm):
    """Every weight is present, always.

    As ``narrow`` it trains the widest form of the model whose values take no more bytes than a
    sparse model of ``pruning.density`` (:func:`fedtiny.models.narrow.narrow`; the config builds
    that graph on both ends). Indices, which a sparse model also sends down, are not granted to it.
    """

    name: Method = "dense"

    def prepare(self, start: Start) -> Prepared:
        """See :meth:`strategies.algorithm.Algorithm.prepare`."""
        masks = {layer.name: Mask.full(layer.weight_shape) for layer in start.graph.prunable_layers}
        model = from_state(start.graph, start.state, masks)
        story = {
            "method": self.name,
            "model": start.graph.name,
            "value_bytes": value_bytes(start.graph),
        }
        return Prepared(model, story)
