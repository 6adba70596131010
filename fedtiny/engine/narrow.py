"""Activations of 16 bits: what a training step holds as bfloat16.

A convolution's output is what lies between the forward and the backward pass, and then the gradient
that takes its place. Stored as bfloat16 (the upper half of a float32: its range, 8 bits of
precision; rounded to the nearest), it takes half of the memory and of the memory's time; so do the
gradients of maps, which layers hand to each other, and the padded tiles that a convolution's
products read, of its input and of its output's gradient. That is mixed precision as Kalamkar et al.
2019 (arXiv 1905.12322) describe it. Batch statistics are those of the rounded values. Everything
else keeps 32 bits: weights, their gradients and the optimizer's state, sums while they are summed
(a gradient that several nodes add to is rounded after each), pooled maps, linear layers, logits and
maps of one position, and the whole of an evaluation.
"""

from __future__ import annotations

from fedtiny.engine.layout import Layout
from fedtiny.memory.arena import Buffer
from fedtiny.memory.ledger import LedgerLine
from fedtiny.models.ops import Conv, Shape

NARROW_BYTES = 2
"""Of a bfloat16."""


class NarrowBuffer(Buffer):
    """A buffer that holds bfloat16."""

    __slots__ = ()


def buffer(
    layout: Layout,
    name: str,
    nbytes: int,
    line: LedgerLine = LedgerLine.TEMPORARIES,
    *,
    narrow: bool,
) -> Buffer:
    """Room for as many numbers as ``nbytes`` hold of the layout's width, in 16 bits if narrow."""
    if not narrow:
        return Buffer(name, nbytes, line)
    return NarrowBuffer(name, nbytes // layout.real_bytes * NARROW_BYTES, line)


def narrow_layers(layout: Layout) -> frozenset[str]:
    """Convolutions that train in bfloat16; none at 32 bits."""
    graph = layout.graph
    if layout.options.activation_bits == 32:
        return frozenset()
    convolutions = {node.name for node in graph.nodes if isinstance(node, Conv)}
    flat = {name for name, geometry in layout.geometries.items() if geometry.is_flat}
    return frozenset(convolutions - flat - {graph.logits})


def narrow_gradient(layout: Layout, shape: Shape) -> bool:
    """Whether the gradient of such a tensor is bfloat16: that of a map of several positions is."""
    return layout.options.activation_bits == 16 and shape[1] * shape[2] > 1


def unrounded_sums(layout: Layout, out: Buffer, shape: Shape) -> int:
    """Numbers that threads add up, a map each, before ``out`` of ``shape`` rounds them."""
    if not isinstance(out, NarrowBuffer):
        return 0
    return layout.options.threads * shape[1] * shape[2] * layout.lanes
