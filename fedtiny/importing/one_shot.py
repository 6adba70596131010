"""One-shot pruning of a model in integers: the smallest weights go, nothing is trained after it."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from fedtiny.errors import FedTinyError
from fedtiny.quant.integer_model import IntegerGraph, IntegerLayer
from fedtiny.quant.ops.conv import IntegerConv
from fedtiny.quant.tensors import IntegerWeight


def pruned(graph: IntegerGraph, share: float) -> tuple[IntegerGraph, str]:
    """``graph`` with ``share`` of the weights of every prunable layer; and a sentence about it.

    Prunable are all layers but the first, the last and depthwise ones. The largest weights stay, by
    magnitude times the scale of their channel, which multipliers are in proportion to; at least one
    a layer.

    Args:
        graph: the model.
        share: in (0, 1].

    Raises:
        FedTinyError: no layer is prunable, or none has more weights than that.
    """
    layers = prunable(graph)
    if not layers:
        raise FedTinyError(
            f"{graph.name} has no prunable layers: the first, the last and depthwise ones stay "
            "dense; leave out --prune"
        )
    kept = {layer.name: _largest(layer, share) for layer in layers}
    before = sum(layer.weight.nnz for layer in layers)
    after = sum(weight.nnz for weight in kept.values())
    if after == before:
        raise FedTinyError(
            f"--prune {share:g}: no layer of {graph.name} has more weights than that; ask for fewer"
        )
    nodes = tuple(
        replace(node, weight=kept[node.name])
        if isinstance(node, IntegerLayer) and node.name in kept
        else node
        for node in graph.nodes
    )
    size = sum(prod(layer.weight.shape) for layer in layers)
    remark = (
        f"pruned in one shot, by magnitude in each of {len(layers)} layers, from "
        f"{before / size:.1%} to {after / size:.1%} of their weights: nothing was trained after "
        "it, which costs accuracy; pruning while training (a run) costs less"
    )
    return replace(graph, nodes=nodes), remark


def prunable(graph: IntegerGraph) -> list[IntegerLayer]:
    """Layers between the first and the last that are not depthwise."""
    return [
        layer
        for layer in graph.layers[1:-1]
        if not (isinstance(layer, IntegerConv) and layer.groups > 1)
    ]


def _largest(layer: IntegerLayer, share: float) -> IntegerWeight:
    weight = layer.weight
    keep = max(1, round(share * prod(weight.shape)))
    if keep >= weight.nnz:
        return weight
    exponents = 0 if layer.shift is None else layer.shift
    scales = layer.multiplier.astype(np.float64) * np.exp2(exponents)
    rows = weight.indices // prod(weight.shape[1:])
    magnitude = np.abs(weight.values.astype(np.float64)) * scales[rows]
    chosen = np.sort(np.argsort(-magnitude, kind="stable")[:keep])
    return IntegerWeight(weight.shape, weight.indices[chosen], weight.values[chosen])
