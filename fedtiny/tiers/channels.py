"""Which channels of every tensor a part of a model keeps."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod

import numpy as np

from fedtiny.errors import FedTinyError
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Add, Concat, Conv, Linear, Node, Pool, Upsample
from fedtiny.sparse.tensor import Indices

Keep = Callable[[int], Indices]
"""Number of channels -> those kept, ascending. It sees the number only, so that tensors which are
added up keep the same ones."""

Kept = dict[str, Indices]
"""Channels kept, by tensor."""


class NoPartError(FedTinyError):
    """A model has no narrower part."""


def prefix(width: float) -> Keep:
    """The first ⌈``width`` · C⌉ channels: those of a smaller width are always among them.

    >>> prefix(0.25)(6).tolist()
    [0, 1]
    """
    return lambda channels: np.arange(ceil(round(width * channels, 6)), dtype=np.int32)


def window(width: float, shift: int) -> Keep:
    """⌈``width`` · C⌉ channels from ``shift`` on, around the end (Alam et al. 2022, FedRolex).

    >>> window(0.5, 3)(4).tolist(), window(0.5, 0)(4).tolist()
    ([0, 3], [0, 1])
    """

    def keep(channels: int) -> Indices:
        count = ceil(round(width * channels, 6))
        return np.sort((shift + np.arange(count)) % channels).astype(np.int32)

    return keep


def kept_channels(graph: Graph, keep: Keep) -> Kept:
    """Channels of every tensor of ``graph``; the input and the outputs keep all of theirs.

    Raises:
        NoPartError: a convolution in groups that are not single channels.
    """
    whole = whole_tensors(graph)
    kept: Kept = {INPUT: _all(graph.input_shape[0])}
    for node in graph.nodes:
        kept[node.name] = _kept(node, kept, graph, keep, whole)
    return kept


def features(kept: Indices, shape: tuple[int, ...]) -> Indices:
    """Positions of whole channels in a flattened (C, H, W) tensor.

    >>> features(np.array([0, 2], np.int32), (3, 1, 2)).tolist()
    [0, 1, 4, 5]
    """
    size = prod(shape[1:])
    return (kept[:, None] * size + np.arange(size, dtype=np.int32)).reshape(-1).astype(np.int32)


def _kept(node: Node, kept: Kept, graph: Graph, keep: Keep, whole: set[str]) -> Indices:
    match node:
        case Conv() if node.is_depthwise:
            each = node.out_channels // node.in_channels
            source = kept[node.input]
            return features(source, (node.in_channels, each))
        case Conv() if node.groups > 1:
            raise NoPartError(
                f"{graph.name} has no narrower part: {node.name} convolves in {node.groups} groups "
                "of several channels; use a model without, or tiers.policy = 'density'"
            )
        case Conv() | Linear():
            channels = graph.shapes[node.name][0]
            return _all(channels) if node.name in whole else keep(channels)
        case Concat():
            sizes = [graph.shapes[name][0] for name in node.inputs]
            starts = np.cumsum([0, *sizes[:-1]])
            parts = [kept[n] + start for n, start in zip(node.inputs, starts, strict=True)]
            return np.concatenate(parts).astype(np.int32)
        case Add() | Pool() | Upsample():
            return kept[node.inputs[0]]
    raise NoPartError(f"{graph.name} has no narrower part: {node.name} is of an unknown kind")


def whole_tensors(graph: Graph) -> set[str]:
    """The input, the outputs, and tensors that are added to or joined with such."""
    whole = {INPUT, *graph.outputs}
    while True:
        more = set(whole)
        for node in graph.nodes:
            tied = {node.name, *node.inputs}
            keeps = not isinstance(node, Conv | Linear) or (
                isinstance(node, Conv) and node.is_depthwise
            )
            if keeps and tied & (whole - {INPUT} if isinstance(node, Concat) else whole):
                more |= tied
        if more == whole:
            return whole
        whole = more


def _all(channels: int) -> Indices:
    return np.arange(channels, dtype=np.int32)
