"""Masks chosen once and kept; here those of weights alone: random, uniform magnitude, ERK."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from fedtiny.config.methods import Method
from fedtiny.config.sections import PruningConfig
from fedtiny.models.sparse_model import SparseModel, from_state, sparse_names
from fedtiny.pruning.masks import layer_masks
from fedtiny.seeding import rng
from fedtiny.sparse.densities import (
    budgeted_counts,
    erdos_renyi_kernel,
    uniform,
    weight_budget,
)
from fedtiny.sparse.tensor import Mask
from strategies.algorithm import Algorithm, Prepared, Start

Masks = Mapping[str, Mask]


@dataclass(frozen=True)
class FixedMask(Algorithm):
    """Federated averaging under one mask of at most ``pruning.density``.

    Attributes:
        pruning: gives the density.
    """

    pruning: PruningConfig

    @abstractmethod
    def masks(self, start: Start) -> Masks:
        """The mask, by layer."""

    def prepare(self, start: Start) -> Prepared:
        """See :meth:`strategies.algorithm.Algorithm.prepare`."""
        model = from_state(start.graph, start.state, self.masks(start))
        return Prepared(model, mask_story(self.pruning.method, start, model))


class RandomMask(FixedMask):
    """Uniform layer densities, positions drawn at random; values are the pre-trained ones."""

    def masks(self, start: Start) -> Masks:
        """See :class:`FixedMask`."""
        generator = rng(start.config.seed, "random mask")
        scores = {
            name: generator.random(weight.shape).astype("float32")
            for name, weight in start.weights.items()
        }
        return layer_masks(scores, uniform_counts(start))


class MagnitudeMask(FixedMask):
    """Uniform layer densities, the largest |θ| of each layer (Han et al. 2015)."""

    def masks(self, start: Start) -> Masks:
        """See :class:`FixedMask`."""
        return layer_masks(start.weights, uniform_counts(start))


class ErkMask(FixedMask):
    """Erdős-Rényi-kernel layer densities (Evci et al. 2020, RigL), the largest |θ| of each.

    RigL draws the positions at random; from pre-trained weights magnitudes are the stronger rival.
    """

    def masks(self, start: Start) -> Masks:
        """See :class:`FixedMask`."""
        return layer_masks(start.weights, erk_counts(start))


def uniform_counts(start: Start) -> dict[str, int]:
    """Weights kept per layer at one density for all."""
    sizes = layer_sizes(start)
    density = start.config.pruning.density
    return budgeted_counts(uniform(sizes, density), sizes, weight_budget(sizes, density))


def erk_counts(start: Start) -> dict[str, int]:
    """Weights kept per layer at Erdős-Rényi-kernel densities."""
    sizes, density = layer_sizes(start), start.config.pruning.density
    shapes = {name: weight.shape for name, weight in start.weights.items()}
    densities = erdos_renyi_kernel(shapes, density)
    return budgeted_counts(densities, sizes, weight_budget(sizes, density))


def layer_sizes(start: Start) -> dict[str, int]:
    """Prunable weights by layer name."""
    return {name: prod(start.graph.layer(name).weight_shape) for name in sparse_names(start.graph)}


def mask_story(method: Method, start: Start, model: SparseModel) -> dict[str, object]:
    """How the first model was made, for the report."""
    return {
        "method": method,
        "scores": "magnitude" if start.pretrained else "random",
        "layer_densities": {name: mask.density for name, mask in model.masks.items()},
    }
