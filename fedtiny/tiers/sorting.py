"""Channels put in order of importance, so that the first ones are the ones to keep."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedtiny.models.graph import Graph
from fedtiny.models.ops import Add, Concat, Conv, Layer, Pool, Upsample
from fedtiny.models.parameters import ParameterKind
from fedtiny.sparse.tensor import Floats, Indices
from fedtiny.tiers.block import Block
from fedtiny.tiers.channels import whole_tensors


def sort_channels(graph: Graph, state: Mapping[str, Floats]) -> dict[str, Floats]:
    """The same function with channels in descending Σ |θ| of the weights that read them.

    Tensors that are added up share their channels, hence their order; inputs, outputs and joined
    tensors keep theirs. (Once-for-all networks sort so: Cai et al. 2020, section 3.3.)

    Args:
        graph: the model.
        state: dense parameters and statistics by name.
    """
    spaces = _spaces(graph)
    importance: dict[str, Floats] = {}
    for layer in graph.layers:
        weight = state[ParameterKind.WEIGHT.of(layer.name)]
        space, channels = spaces[layer.input], graph.shapes[layer.input][0]
        score = _read(layer, np.abs(weight), channels)
        importance[space] = importance.get(space, np.zeros(channels, np.float32)) + score
    fixed = {spaces[name] for name in whole_tensors(graph)} | _joined(graph, spaces)
    orders = {
        space: np.argsort(-score, kind="stable").astype(np.int32)
        for space, score in importance.items()
        if space not in fixed
    }
    return _permuted(graph, state, spaces, orders)


def _read(layer: Layer, magnitudes: Floats, channels: int) -> Floats:
    """Sum of the weights that read each input channel, ``(channels,)``."""
    if isinstance(layer, Conv) and layer.is_depthwise:
        return np.asarray(magnitudes.reshape(channels, -1).sum(axis=1), np.float32)
    return np.asarray(magnitudes.reshape(len(magnitudes), channels, -1).sum(axis=(0, 2)))


def _joined(graph: Graph, spaces: Mapping[str, str]) -> set[str]:
    """Spaces whose order another tensor's depends on in a way that is not followed."""
    joined: set[str] = set()
    for node in graph.nodes:
        multiplies = isinstance(node, Conv) and node.is_depthwise and not _same(node)
        if isinstance(node, Concat) or multiplies:
            joined |= {spaces[name] for name in (node.name, *node.inputs)}
    return joined


def _same(node: Conv) -> bool:
    return node.in_channels == node.out_channels


def _spaces(graph: Graph) -> dict[str, str]:
    """For every tensor the name of the first one whose channels it shares."""
    space = {name: name for name in graph.shapes}

    def root(name: str) -> str:
        while space[name] != name:
            name = space[name]
        return name

    for node in graph.nodes:
        shares = isinstance(node, Add | Pool | Upsample) or (
            isinstance(node, Conv) and node.is_depthwise and _same(node)
        )
        for source in node.inputs if shares else ():
            first, second = sorted((root(node.name), root(source)), key=list(space).index)
            space[second] = first
    return {name: root(name) for name in space}


def _permuted(
    graph: Graph,
    state: Mapping[str, Floats],
    spaces: Mapping[str, str],
    orders: Mapping[str, Indices],
) -> dict[str, Floats]:
    kept = {
        name: orders.get(spaces[name], np.arange(shape[0], dtype=np.int32))
        for name, shape in graph.shapes.items()
    }
    block = Block(graph, 1.0, kept)
    return {name: block.axes[name].cut(array) for name, array in state.items()}
