"""Shapes of a model that take equal bytes: the same message and the same flash, other channels.

A sparse model is values, indices and what is never pruned (first and last layer, biases, batch
norms with their statistics). In a net of full width at 1 % the last kind is most of it; fewer
channels have less of it, and the bytes that are free become weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from fedtiny.models.cost import parameter_count, statistics_count
from fedtiny.models.graph import Graph
from fedtiny.models.narrow import FLOAT_BYTES
from fedtiny.models.ops import Conv
from fedtiny.seeding import rng
from fedtiny.sparse.densities import budgeted_counts, erdos_renyi_kernel, weight_budget
from fedtiny.sparse.packing import pack_masks
from fedtiny.sparse.tensor import Mask, SparseError
from fedtiny.tiers.block import Block, block_of
from fedtiny.tiers.tier import WHOLE, Tier

_STEPS = 20
"""Of the bisection: the density is found to a millionth of the interval."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape.

    Attributes:
        tier: its width, and the density of the part of that width; WHOLE for all channels.
        counts: weights by layer, at Erdős-Rényi-kernel densities within the part.
        bytes: of the model on the wire: values, packed masks, and what is never pruned.
    """

    tier: Tier
    counts: Mapping[str, int]
    bytes: int

    @property
    def nnz(self) -> int:
        """Prunable weights it has."""
        return sum(self.counts.values())


@lru_cache(maxsize=16)
def equal_bytes(graph: Graph, density: float, most: int) -> tuple[Shape, ...]:
    """Shapes of at most the bytes that ``graph`` takes at ``density``, widest first.

    The first is ``graph`` itself, the last the widest dense net that fits, if any does; the others
    lie between at widths in geometric progression, each as dense as the bytes allow.

    Args:
        graph: the model, of full width.
        density: nnz / prunable weights of its sparse form, in (0, 1].
        most: shapes, at least 1.

    Raises:
        SparseError: ``density`` leaves fewer weights than there are prunable layers.
        NoPartError: the model has no narrower part.

    >>> from fedtiny.models import resnet8
    >>> for one in equal_bytes(resnet8((1, 28, 28), 10), 0.01, 5):
    ...     print(f"{16 * one.tier.width:g} channels, {one.nnz} weights, {one.bytes} B")
    16 channels, 760 weights, 12565 B
    11 channels, 1355 weights, 12555 B
    7 channels, 1876 weights, 12552 B
    5 channels, 2236 weights, 12565 B
    3 channels, 2682 weights, 12380 B
    """
    counts = _counts(graph, density)
    budget = model_bytes(graph, counts)
    found = [Shape(WHOLE, counts, budget)]
    channels = min(node.out_channels for node in graph.nodes if isinstance(node, Conv))
    for narrower in _widths(graph, channels, budget, most):
        shape = _densest(block_of(graph, narrower / channels), budget)
        found += [] if shape is None else [shape]
    return tuple(found)


def model_bytes(graph: Graph, counts: Mapping[str, int]) -> int:
    """What a model takes on the wire: 4 bytes a value, and its masks as they are packed.

    Masks differ by a few bytes with where their weights lie; these lie at random.

    Args:
        graph: the model.
        counts: weights present, by prunable layer.
    """
    generator, masks = rng(0, "equal bytes"), {}
    for layer in graph.prunable_layers:
        size, count = prod(layer.weight_shape), counts[layer.name]
        chosen = generator.choice(size, count, replace=False, shuffle=False)
        masks[layer.name] = Mask(layer.weight_shape, np.sort(chosen).astype(np.int32))
    absent = sum(mask.size - mask.nnz for mask in masks.values())
    values = parameter_count(graph) + statistics_count(graph) - absent
    return FLOAT_BYTES * values + len(pack_masks(masks))


def _counts(graph: Graph, density: float) -> dict[str, int]:
    shapes = {layer.name: layer.weight_shape for layer in graph.prunable_layers}
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    if density == 1:
        return sizes
    densities = erdos_renyi_kernel(shapes, density)
    return budgeted_counts(densities, sizes, weight_budget(sizes, density))


def _widths(graph: Graph, channels: int, budget: int, most: int) -> list[int]:
    """Channels of the narrowest layer in each narrower shape, descending."""
    narrowest = 1
    for width in range(1, channels):
        part = block_of(graph, width / channels).graph
        if model_bytes(part, _counts(part, 1.0)) > budget:
            break
        narrowest = width
    steps = np.geomspace(channels, narrowest, most) if most > 1 else [channels]
    return sorted({round(float(width)) for width in steps} - {channels}, reverse=True)


def _densest(block: Block, budget: int) -> Shape | None:
    """As many weights as fit; None if not even one a layer does."""
    graph = block.graph
    full = _counts(graph, 1.0)
    if (taken := model_bytes(graph, full)) <= budget:
        return Shape(Tier(block.width, 1.0), full, taken)
    size, best = sum(full.values()), None
    low, high = len(full) / size, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        try:
            counts = _counts(graph, middle)
        except SparseError:  # fewer weights than layers
            low = middle
            continue
        if (taken := model_bytes(graph, counts)) > budget:
            high = middle
            continue
        low = middle
        best = Shape(Tier(block.width, sum(counts.values()) / size), counts, taken)
    return best
