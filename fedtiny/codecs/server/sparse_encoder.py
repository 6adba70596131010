"""An encoder that is pruned while it is trained."""

from __future__ import annotations

import numpy as np
import torch

from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.torch_module import GraphModule
from fedtiny.seeding import rng
from fedtiny.sparse.order import top_k
from fedtiny.sparse.tensor import Mask

BEGUN, ENDED = 0.0, 0.4
"""Shares of a lesson between which weights leave; what is left learns until its end."""
_EVERY = 20
"""Steps from one pruning to the next."""


class SparseEncoder(GraphModule):
    """A graph whose prunable layers keep some weights each.

    The smallest leave, more at first than later: of all, the share of Zhu and Gupta's cubic
    schedule ("To prune, or not to prune", 2017). What has left does not come back.

    Args:
        graph: of :mod:`fedtiny.codecs.encoders`; weights begin as its initial ones.
        seed: of them.
        kept: of a layer's weights when a lesson has pruned.
    """

    def __init__(self, graph: Graph, seed: int, kept: int) -> None:
        super().__init__(graph)
        self._wanted = kept
        self._kept = {layer.name: Mask.full(layer.weight_shape) for layer in graph.prunable_layers}
        self.load(initial_state(graph, rng(seed, graph.name)))

    @property
    def masks(self) -> dict[str, Mask]:
        """Which weights are left, by layer."""
        return dict(self._kept)

    def prune(self, step: int, steps: int) -> None:
        """Called after every step of the lesson that prunes: weights leave, or stay away."""
        way = min(max((step / steps - BEGUN) / (ENDED - BEGUN), 0.0), 1.0)
        if step % _EVERY == 0 or step == steps - 1:
            for name, mask in self._kept.items():
                wanted = min(self._wanted, mask.size)
                keep = round(wanted + (mask.size - wanted) * (1 - way) ** 3)
                if keep < mask.nnz:
                    values = self._weight(name).detach().numpy()
                    chosen = top_k(values, keep).astype(np.int32)
                    self._kept[name] = Mask(mask.shape, np.sort(chosen))
        self.stay(step, steps)

    def stay(self, _step: int, _steps: int) -> None:
        """Called after every step of any other lesson: what has left stays away."""
        with torch.no_grad():
            for name, mask in self._kept.items():
                if mask.nnz < mask.size:
                    self._weight(name).mul_(torch.from_numpy(mask.to_bool()))

    def _weight(self, layer: str) -> torch.Tensor:
        return self.tensor(ParameterKind.WEIGHT.of(layer))
