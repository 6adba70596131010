"""Where blocks lie in each other, and masks that are denser inside than outside.

The blocks of ascending widths leave rings: the smallest block, what the next adds to it, and so on.
Masks and their adjustments keep a number of weights for every ring, so that a device's memory plan
holds as long as the run does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from fedtiny.models.graph import Graph
from fedtiny.sparse.order import magnitude_order
from fedtiny.sparse.prune_and_grow import prune_and_grow
from fedtiny.sparse.tensor import Floats, Indices, Mask, SparseTensor
from fedtiny.tiers.block import Block, block_of


@dataclass(frozen=True)
class Rings:
    """Of one model.

    Attributes:
        graph: the model.
        widths: of the blocks, strictly ascending; the last is the widest that anybody trains.
        slope: γ of the densities d · w^−γ that blocks of width w have in a mask of density d: 0
            for one density everywhere, 2 for as many weights in the smallest as in all of it.
    """

    graph: Graph
    widths: tuple[float, ...]
    slope: float

    @property
    def blocks(self) -> list[Block]:
        """By width, ascending."""
        return [block_of(self.graph, width) for width in self.widths]

    def of(self, layer: str, positions: Indices) -> npt.NDArray[np.intp]:
        """The ring of each flat position of a layer's weight; ``len(widths)``: of none."""
        outside = [~block.weight(layer).covers(positions) for block in self.blocks]
        return np.asarray(np.sum(outside, axis=0), np.intp)

    def sizes(self, layer: str) -> list[int]:
        """Weights of a layer's rings."""
        held = [block.weight(layer).size for block in self.blocks]
        return [after - before for before, after in zip([0, *held], held, strict=False)]

    def counts(self, layer: str, density: float) -> list[int]:
        """Weights of a layer's rings that are present in a mask of ``density``."""
        size = prod(self.graph.layer(layer).weight_shape)
        most, kept = max(1, round(density * size)), 0
        counts = []
        for block, width in zip(self.blocks, self.widths, strict=True):
            held = block.weight(layer).size
            wanted = held * min(1.0, density * width**-self.slope)
            within = most if width == self.widths[-1] else round(wanted)
            kept_now = max(kept, min(within, most, held))
            counts.append(kept_now - kept)
            kept = kept_now
        return counts

    def ranked(self, scores: Mapping[str, Floats], density: float) -> dict[str, Floats]:
        """Scores whose order fills all rings evenly, each by the order of ``scores``.

        Args:
            scores: by layer, in weight layout; a larger magnitude is kept sooner.
            density: of the model: rings fill up in the proportions they have in its masks.

        Returns:
            float32, positive; 0 where no block has the weight.
        """
        return {name: self._ranked(name, score, density) for name, score in scores.items()}

    def exchange(
        self,
        layer: str,
        weights: SparseTensor,
        growth: tuple[Indices, Floats],
        quota: Callable[[int, int], int],
    ) -> SparseTensor:
        """:func:`~fedtiny.sparse.prune_and_grow.prune_and_grow` in every ring of a layer.

        Args:
            layer: its name.
            weights: of the layer.
            growth: merged from the devices, absent positions only.
            quota: (weights present, weights of the ring) to the most that are exchanged.
        """
        if len(self.widths) == 1 and self.widths[0] == 1:
            return prune_and_grow(weights, growth, quota(weights.nnz, weights.mask.size)).weights
        held, found = self.of(layer, weights.mask.indices), self.of(layer, growth[0])
        indices, values = (
            [weights.mask.indices[held == len(self.widths)]],
            [weights.values[held == len(self.widths)]],
        )
        for ring, size in enumerate(self.sizes(layer)):
            at = held == ring
            mask = Mask(weights.shape, weights.mask.indices[at])
            votes = growth[0][found == ring], growth[1][found == ring]
            part = SparseTensor(mask, weights.values[at])
            part = prune_and_grow(part, votes, quota(part.nnz, size)).weights
            indices.append(part.mask.indices)
            values.append(part.values)
        everything = np.concatenate(indices)
        order = np.argsort(everything)
        return SparseTensor(Mask(weights.shape, everything[order]), np.concatenate(values)[order])

    def _ranked(self, layer: str, score: Floats, density: float) -> Floats:
        order = magnitude_order(score).astype(np.int32)
        ring = self.of(layer, order)
        result = np.zeros(score.size, np.float32)
        for k, count in enumerate(self.counts(layer, density)):
            members = order[ring == k]
            # The n-th of a ring comes when n / count of every ring are in.
            result[members] = max(count, 0.5) / (np.arange(len(members)) + 0.5)
        return result.reshape(score.shape)


def expected_density(rings: Rings, width: float, density: float) -> float:
    """Density of the block of ``width`` in a mask of ``density``, all prunable layers together.

    >>> from fedtiny.models import resnet8
    >>> rings = Rings(resnet8((1, 28, 28), 10), (0.25, 1.0), 1.0)
    >>> round(expected_density(rings, 0.25, 0.05), 2), round(expected_density(rings, 1.0, 0.05), 3)
    (0.2, 0.05)
    """
    names = [layer.name for layer in rings.graph.prunable_layers]
    inner = rings.widths.index(width) + 1
    kept = sum(sum(rings.counts(name, density)[:inner]) for name in names)
    return kept / sum(sum(rings.sizes(name)[:inner]) for name in names)
