"""What the backward pass needs where parameters are frozen: which outputs, and where a bit will do.

A weight's gradient needs the layer's input; an input's gradient needs the weights only. So behind
frozen layers nothing is read again but on which side of its clamp a value was, a bit each. Where a
trained layer reads a tensor anyway, its values are kept and say that, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedtiny.engine.layout import Layout
from fedtiny.engine.program import Terms, before_activation
from fedtiny.models.ops import Activation, Conv, Layer, Node, Pool


def is_plain(layout: Layout, node: Layer, gated: bool) -> bool:
    """Whether the gradient of the layer's result, perhaps gated, is that of its stored output."""
    normed = isinstance(node, Conv) and node.batch_norm
    return layout.is_frozen and not normed and (gated or node.activation is Activation.NONE)


def gated(layout: Layout, saved: Mapping[str, Terms]) -> tuple[Node, ...]:
    """Nodes with a clamp whose gradient is needed, and whose values are not kept.

    Args:
        layout: of the plan.
        saved: how the backward pass would read each tensor.
    """
    kept = _kept(layout, saved)
    return tuple(
        node
        for node in layout.graph.nodes
        if node.name in layout.needed
        and node.activation.clamps
        and node.activation is not Activation.NONE
        and not data(before_activation(saved[node.name])) <= kept
    )


def _kept(layout: Layout, saved: Mapping[str, Terms]) -> frozenset[int]:
    """Ids of the buffers whose values the backward pass reads."""
    read: list[Terms] = []
    for node in layout.graph.nodes:
        if node.name not in layout.needed:
            continue
        if isinstance(node, Layer) and layout.trains(node.name):
            read.append(saved[node.input])
        if isinstance(node, Pool) and node.kind == "max" and node.input in layout.needed:
            read.append(saved[node.input])
        if (isinstance(node, Conv) and node.batch_norm) or not node.activation.clamps:
            read.append(before_activation(saved[node.name]))
    return frozenset().union(*map(data, read))


def data(terms: Terms) -> frozenset[int]:
    """Ids of the buffers that ``terms`` read."""
    return frozenset(id(term.data) for term in terms)
