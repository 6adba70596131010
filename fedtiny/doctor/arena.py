"""RAM that an int8 model will take, predicted before there is one."""

from __future__ import annotations

from math import prod

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT


def estimate_arena_bytes(graph: Graph) -> int:
    """Bytes of int8 activations live at once, at the worst node: a lower bound of any arena.

    >>> from fedtiny.models import smartwatch_cnn
    >>> estimate_arena_bytes(smartwatch_cnn((6, 1, 128), 7)) == 32 * 128 + 64 * 64
    True
    """
    nodes = graph.nodes
    last_use = {name: i for i, node in enumerate(nodes) for name in node.inputs}
    born = {INPUT: -1, **{node.name: i for i, node in enumerate(nodes)}}
    peak = 0
    for i in range(len(nodes)):
        live = [name for name in born if born[name] <= i <= last_use.get(name, len(nodes))]
        peak = max(peak, sum(prod(graph.shapes[name]) for name in live))
    return peak
