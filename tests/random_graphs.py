"""Graphs of every op, drawn at random: whatever fits together."""

from __future__ import annotations

from math import prod

from hypothesis import strategies as st

from fedtiny.models.graph import Graph
from fedtiny.models.ops import (
    INPUT,
    Activation,
    Add,
    Concat,
    Conv,
    Linear,
    Node,
    Pool,
    Shape,
    Upsample,
)
from fedtiny.models.ops.tensor import Padding, sides

ACTIVATIONS = st.sampled_from(list(Activation))


@st.composite
def any_graphs(draw: st.DrawFn) -> Graph:
    """Up to seven nodes of any kind over a small input; each reads any earlier tensor it can."""
    shapes: dict[str, Shape] = {INPUT: draw(st.tuples(*[st.integers(1, 7)] * 3))}
    nodes: list[Node] = []
    for i in range(draw(st.integers(1, 7))):
        source = draw(st.sampled_from(list(shapes)))
        make = draw(st.sampled_from([_conv, _linear, _add, _concat, _pool, _upsample]))
        node = make(
            draw, f"{make.__name__[1:]}{draw(st.sampled_from(['', '.', '-']))}{i}", source, shapes
        )
        nodes.append(node)
        shapes[node.name] = node.output_shape(shapes[node.inputs[0]])
    names = [node.name for node in nodes]
    outputs = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    return Graph(
        draw(st.sampled_from(["drawn", "drawn@3"])), shapes[INPUT], tuple(nodes), tuple(outputs)
    )


@st.composite
def trained_graphs(draw: st.DrawFn) -> Graph:
    """A stem, a strided or grouped layer, a sum around one more, pooling of either kind."""
    height, width, channels = draw(st.integers(2, 9)), draw(st.integers(2, 11)), 4
    stride, groups = draw(st.integers(1, 2)), draw(st.sampled_from([1, 4]))
    last = draw(st.sampled_from(["again", "sum"]))
    pad = {"padding": (1, 1)}
    kinds = [draw(ACTIVATIONS) for _ in range(4)]
    nodes: list[Node] = [
        Conv("stem", INPUT, 2, channels, (3, 3), **pad, activation=kinds[0], prunable=False),
        Conv("body", "stem", channels, 4, (3, 3), (stride, 1), (1, 1), groups, activation=kinds[1],
             batch_norm=draw(st.booleans())),
        Conv("again", "body", 4, 4, (3, 3), **pad, activation=kinds[2]),
        Add("sum", *draw(st.permutations(["again", "body"])), activation=kinds[3]),
    ]  # fmt: skip
    pool = Pool("pool", last, draw(st.sampled_from(["avg", "max"])), (1, 2), (1, 2))
    features = prod(pool.output_shape((4, -(-height // stride), width)))
    nodes += [pool, Linear("classifier", "pool", features, 3, prunable=False)]
    return Graph("random", (2, height, width), tuple(nodes[: 3 + (last == "sum")] + nodes[4:]))


def _pads(most: int) -> st.SearchStrategy[Padding]:
    """The same on both sides or not, up to ``most``."""
    number = st.integers(0, most)
    return st.tuples(number, number) | st.tuples(number, number, number, number)


def _layer_facts(draw: st.DrawFn) -> dict[str, object]:
    trainable = draw(st.booleans())
    return {
        "block": draw(st.sampled_from(["", "early"])),
        "prunable": trainable and draw(st.booleans()),
        "trainable": trainable,
    }


def _conv(draw: st.DrawFn, name: str, source: str, shapes: dict[str, Shape]) -> Node:
    channels, height, width = shapes[source]
    groups = draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0]))
    padding = draw(_pads(2))
    kernel = tuple(
        draw(st.integers(1, min(4, size + sum(pads))))
        for size, pads in zip((height, width), sides(padding), strict=True)
    )
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    return Conv(
        name, source, channels, groups * draw(st.integers(1, 3)), kernel, stride, padding, groups,
        draw(st.booleans()), draw(ACTIVATIONS), **_layer_facts(draw),
    )  # fmt: skip


def _linear(draw: st.DrawFn, name: str, source: str, shapes: dict[str, Shape]) -> Node:
    outputs = draw(st.integers(1, 6))
    return Linear(
        name, source, prod(shapes[source]), outputs, draw(ACTIVATIONS), **_layer_facts(draw)
    )


def _add(draw: st.DrawFn, name: str, source: str, shapes: dict[str, Shape]) -> Node:
    alike = [other for other, shape in shapes.items() if shape == shapes[source]]
    return Add(name, source, draw(st.sampled_from(alike)), draw(ACTIVATIONS))


def _concat(draw: st.DrawFn, name: str, source: str, shapes: dict[str, Shape]) -> Node:
    alike = [other for other, shape in shapes.items() if shape[1:] == shapes[source][1:]]
    parts = (source, *draw(st.lists(st.sampled_from(alike), min_size=1, max_size=2)))
    return Concat(name, parts, sum(shapes[part][0] for part in parts))


def _pool(draw: st.DrawFn, name: str, source: str, shapes: dict[str, Shape]) -> Node:
    _, height, width = shapes[source]
    kernel = draw(st.none() | st.tuples(st.integers(1, height), st.integers(1, width)))
    stride = draw(st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)))
    least = min(kernel or (height, width))
    padding = draw(_pads(min(2, least - 1)))
    return Pool(name, source, draw(st.sampled_from(["avg", "max"])), kernel, stride, padding)


def _upsample(draw: st.DrawFn, name: str, source: str, shapes: dict[str, Shape]) -> Node:
    _, height, width = shapes[source]
    return Upsample(
        name, source, (height + draw(st.integers(0, 4)), width + draw(st.integers(0, 4)))
    )
