"""Activations of 16 bits: what a training step holds as bfloat16.

A convolution's output is what lies between the forward and the backward pass, and then the gradient
that takes its place. Stored as bfloat16 (the upper half of a float32: its range, 8 bits of
precision; rounded to the nearest), it takes half of the memory and of the memory's time; so do the
padded tiles that a convolution's products read, of its input and of its output's gradient. That is
mixed precision as Kalamkar et al. 2019 (arXiv 1905.12322) describe it. Batch statistics are those
of the rounded values. Everything else keeps 32 bits: weights, their gradients and the optimizer's
state, sums while they are summed, the gradients that layers hand to each other, pooled maps, linear
layers and logits, and the whole of an evaluation.
"""

from __future__ import annotations

from fedtiny.engine.layout import Layout
from fedtiny.models.ops import Conv

NARROW_BYTES = 2
"""Of a bfloat16."""


def narrow_layers(layout: Layout) -> frozenset[str]:
    """Convolutions that train in bfloat16; none at 32 bits."""
    graph = layout.graph
    if layout.options.activation_bits == 32:
        return frozenset()
    convolutions = {node.name for node in graph.nodes if isinstance(node, Conv)}
    flat = {name for name, geometry in layout.geometries.items() if geometry.is_flat}
    return frozenset(convolutions - flat - {graph.logits})


def narrowed(layout: Layout, nbytes: int) -> int:
    """Bytes of as many bfloat16 as ``nbytes`` hold numbers of the layout's width."""
    return nbytes // layout.real_bytes * NARROW_BYTES
