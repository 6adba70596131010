"""What the backward pass needs where parameters are frozen: which outputs, and where a bit will do.

A weight's gradient needs the layer's input; an input's gradient needs the weights only. So behind
frozen layers nothing is read again but on which side of its clamp a value was, a bit each. Where a
trained layer reads a tensor anyway, its values are kept and say that, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtiny.engine.program import Terms, before_activation
from fedtiny.models.ops import Activation, Conv, Layer, Pool

if TYPE_CHECKING:
    from fedtiny.engine.forward import Forward
    from fedtiny.engine.layout import Layout


def is_plain(layout: Layout, node: Layer, gated: bool) -> bool:
    """Whether the gradient of the layer's result, perhaps gated, is that of its stored output."""
    normed = isinstance(node, Conv) and node.batch_norm
    return layout.is_frozen and not normed and (gated or node.activation is Activation.NONE)


def add_gates(forward: Forward) -> None:
    """Keep a bit for every clamped value whose gradient is needed and whose value is not kept."""
    kept = _kept(forward)
    for node in forward.layout.graph.nodes:
        if node.name not in forward.layout.needed or not node.activation.clamps:
            continue
        if node.activation is Activation.NONE:
            continue
        if _data(before_activation(forward.saved[node.name])) <= kept:
            continue
        step = forward.gate(node)
        sources = _data(step.terms)
        made = [i for i, other in enumerate(forward.steps) if id(other.out) in sources]
        forward.steps.insert(max(made) + 1, step)


def _kept(forward: Forward) -> frozenset[int]:
    """Ids of the buffers whose values the backward pass reads."""
    layout, read = forward.layout, []
    for node in layout.graph.nodes:
        if node.name not in layout.needed:
            continue
        if isinstance(node, Layer) and layout.trains(node.name):
            read.append(forward.saved[node.input])
        if isinstance(node, Pool) and node.kind == "max" and node.input in layout.needed:
            read.append(forward.saved[node.input])
        if (isinstance(node, Conv) and node.batch_norm) or not node.activation.clamps:
            read.append(before_activation(forward.saved[node.name]))
    return frozenset().union(*map(_data, read))


def _data(terms: Terms) -> frozenset[int]:
    return frozenset(id(term.data) for term in terms)
