"""Masks chosen once and kept; here those of weights alone: random, uniform magnitude, ERK."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from typing_extensions import override

from fedtiny.methods.method import Method, Prepared, Start
from fedtiny.methods.settings import PruningSettings
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.pruning.masks import layer_masks
from fedtiny.seeding import rng
from fedtiny.sparse.densities import (
    budgeted_counts,
    erdos_renyi_kernel,
    uniform,
    weight_budget,
)
from fedtiny.sparse.tensor import Mask

Masks = Mapping[str, Mask]


@dataclass(frozen=True)
class FixedMask(Method[PruningSettings]):
    """Federated averaging under one mask of at most ``pruning.density``, chosen before round 1."""

    one_shot: ClassVar[bool] = True

    @abstractmethod
    def masks(self, start: Start) -> Masks:
        """The mask, by layer."""

    @override
    def prepare(self, start: Start) -> Prepared:
        model = from_state(start.graph, start.state, self.masks(start))
        return Prepared(model, self.story(start, model))

    def story(self, start: Start, model: SparseModel) -> dict[str, object]:
        """How the first model was made, for the report."""
        return {
            "method": self.name,
            "scores": "magnitude" if start.pretrained else "random",
            "layer_densities": {name: mask.density for name, mask in model.masks.items()},
        }

    def budget(self, start: Start) -> int:
        """Weights that all layers together may keep."""
        return weight_budget(layer_sizes(start.graph), self.settings.density)

    def uniform_counts(self, graph: Graph) -> dict[str, int]:
        """Weights kept per layer at one density for all."""
        sizes, density = layer_sizes(graph), self.settings.density
        return budgeted_counts(uniform(sizes, density), sizes, weight_budget(sizes, density))

    def erk_counts(self, graph: Graph) -> dict[str, int]:
        """Weights kept per layer at Erdős-Rényi-kernel densities."""
        sizes, density = layer_sizes(graph), self.settings.density
        shapes = {layer.name: layer.weight_shape for layer in graph.prunable_layers}
        densities = erdos_renyi_kernel(shapes, density)
        return budgeted_counts(densities, sizes, weight_budget(sizes, density))


class RandomMask(FixedMask):
    """Uniform layer densities, positions drawn at random; values are the pre-trained ones."""

    name: ClassVar[str] = "random"
    tiered: ClassVar[bool] = True

    @override
    def masks(self, start: Start) -> Masks:
        generator = rng(self.seed, "random mask")
        scores = {
            name: generator.random(weight.shape).astype("float32")
            for name, weight in start.weights.items()
        }
        return layer_masks(start.ranked(scores), self.uniform_counts(start.graph))


class MagnitudeMask(FixedMask):
    """Uniform layer densities, the largest |θ| of each layer (Han et al. 2015)."""

    name: ClassVar[str] = "magnitude"
    tiered: ClassVar[bool] = True

    @override
    def masks(self, start: Start) -> Masks:
        return layer_masks(start.ranked(start.weights), self.uniform_counts(start.graph))


class ErkMask(FixedMask):
    """Erdős-Rényi-kernel layer densities (Evci et al. 2020, RigL), the largest |θ| of each.

    RigL draws the positions at random; from pre-trained weights magnitudes are the stronger rival.
    """

    name: ClassVar[str] = "erk"
    tiered: ClassVar[bool] = True

    @override
    def masks(self, start: Start) -> Masks:
        return layer_masks(start.ranked(start.weights), self.erk_counts(start.graph))

    @override
    def planned_counts(self, graph: Graph) -> dict[str, int]:
        return self.erk_counts(graph)


def layer_sizes(graph: Graph) -> dict[str, int]:
    """Prunable weights by layer name."""
    return {layer.name: prod(layer.weight_shape) for layer in graph.prunable_layers}
