"""A device's part of the model, cut from it: sparse to sparse, in time linear in its non-zeros."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor

import numpy as np

from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.candidates import CandidatePool, RankedWeights
from fedtiny.sparse.order import magnitude_order
from fedtiny.sparse.tensor import Floats, Indices, Mask, SparseTensor
from fedtiny.tiers.block import Axes, Block

Ranks = Mapping[str, Indices]
"""By layer: the place of every weight of a mask, in mask order, by magnitude; 0 is the largest."""


def ranks_of(model: SparseModel) -> dict[str, Indices]:
    """The magnitudes' order now. Kept until masks change, so that a device's mask is stable."""
    return {name: _places(weight.values) for name, weight in model.weights.items()}


def cut(
    model: SparseModel, block: Block, density: float, ranks: Ranks, across: bool = False
) -> SparseModel:
    """The weights of ``model`` that ``block`` covers, at most ``density`` of its prunable ones.

    Args:
        model: whole.
        block: to cut out.
        density: in (0, 1]; where the model's own mask is denser there, every layer gives up the
            same share of its weights, the lowest ranked ones.
        ranks: of the model's weights.
        across: rank all layers together by magnitude instead: one threshold for the whole model.

    Returns:
        In the shapes of ``block.graph``; the model itself if nothing is left out.
    """
    held = {name: _covered(weight, block.weight(name)) for name, weight in model.weights.items()}
    counts = _counts(block, held, density)
    if across and sum(counts.values()) < sum(map(len, held.values())):
        held = _largest(model, held, sum(counts.values()))
        counts = {name: len(at) for name, at in held.items()}
    if block.is_whole and all(counts[n] == w.nnz for n, w in model.weights.items()):
        return model
    weights = {
        name: _cut(weight, block.weight(name), held[name], counts[name], ranks[name])
        for name, weight in model.weights.items()
    }
    return SparseModel(weights, cut_dense(model.dense, block))


def cut_dense(dense: Mapping[str, Floats], block: Block) -> dict[str, Floats]:
    """What is held densely, in the block's shapes."""
    return {name: block.axes[name].cut(array) for name, array in dense.items()}


def cut_pool(pool: CandidatePool, block: Block) -> CandidatePool:
    """The same candidates as far as ``block`` covers them: still prefixes of one order."""
    if block.is_whole:
        return pool
    layers, counts = {}, []
    for (name, layer), column in zip(pool.layers.items(), pool.counts.T, strict=True):
        axes = block.weight(name)
        covered = axes.covers(layer.order)
        inside = axes.inside(layer.order[covered])
        shape = block.graph.layer(name).weight_shape
        layers[name] = RankedWeights(shape, inside, layer.values[covered])
        counts.append(np.concatenate([[0], np.cumsum(covered)])[column])
    return CandidatePool(layers, np.stack(counts, axis=1).astype(np.int32))


def _covered(weight: SparseTensor, axes: Axes) -> Indices:
    """Places in mask order."""
    return np.flatnonzero(axes.covers(weight.mask.indices)).astype(np.int32)


def _counts(block: Block, held: Mapping[str, Indices], density: float) -> dict[str, int]:
    have = {name: len(at) for name, at in held.items()}
    size = sum(block.weight(name).size for name in have)
    most = floor(round(density * size, 6))
    total = sum(have.values())
    if total <= most:
        return have
    return {name: min(n, max(1, floor(n * most / total))) for name, n in have.items()}


def _cut(
    weight: SparseTensor, axes: Axes, held: Indices, count: int, ranks: Indices
) -> SparseTensor:
    if count < len(held):
        held = np.sort(held[np.argsort(ranks[held], kind="stable")[:count]])
    inside = axes.inside(weight.mask.indices[held])
    shape = (len(axes.rows), len(axes.columns), *axes.shape[2:])
    return SparseTensor(Mask(shape, inside), weight.values[held])


def _largest(model: SparseModel, held: Mapping[str, Indices], count: int) -> dict[str, Indices]:
    """The ``count`` largest of all layers, at least one of each that has any."""
    names = list(held)
    values = [np.abs(model.weights[name].values[held[name]]) for name in names]
    for one in values:
        if len(one):
            one[one.argmax()] = np.inf
    chosen = np.zeros(sum(map(len, values)), np.bool_)
    chosen[magnitude_order(np.concatenate(values))[:count]] = True
    parts = np.split(chosen, np.cumsum([len(one) for one in values])[:-1])
    return {name: held[name][part] for name, part in zip(names, parts, strict=True)}


def _places(values: Floats) -> Indices:
    places = np.empty(len(values), np.int32)
    places[magnitude_order(values)] = np.arange(len(values), dtype=np.int32)
    return places
