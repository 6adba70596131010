"""Coarse pruning: a pool of candidate masks, each layer of each a prefix of one order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, cast

import numpy as np
import numpy.typing as npt

from fedtiny.sparse.densities import (
    budgeted_counts,
    erdos_renyi_kernel,
    noisy,
    uniform,
    weight_budget,
)
from fedtiny.sparse.order import magnitude_order, top_k
from fedtiny.sparse.packing import Bytes, pack_masks, unpack_masks
from fedtiny.sparse.tensor import Floats, Indices, Mask, SparseError, SparseTensor


@dataclass(frozen=True, slots=True, eq=False)
class RankedWeights:
    """The weights of one layer that any candidate holds.

    Attributes:
        shape: of the layer's weight.
        order: int32 ``(n,)``, flat indices by (−|θ|, flat index).
        values: float32 ``(n,)`` in that order.
    """

    shape: tuple[int, ...]
    order: Indices
    values: Floats

    def prefix(self, count: int) -> SparseTensor:
        """The ``count`` largest weights."""
        ascending = np.argsort(self.order[:count])
        mask = Mask(self.shape, self.order[ascending])
        return SparseTensor(mask, self.values[ascending])


@dataclass(frozen=True, slots=True, eq=False)
class CandidatePool:
    """What the server sends for selection: the weights of all candidates once, and their counts.

    Attributes:
        layers: by layer name, in graph order.
        counts: int32 ``(C, L)``: weights of each layer in each candidate.

    Raises:
        SparseError: the counts do not fit the layers.
    """

    layers: Mapping[str, RankedWeights]
    counts: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        held = [len(layer.order) for layer in self.layers.values()]
        if self.counts.ndim != 2 or self.counts.shape[1] != len(held) or not len(self.counts):
            raise SparseError(f"counts must be (C, {len(held)}), got {self.counts.shape}")
        if (self.counts < 0).any() or (self.counts > held).any():
            raise SparseError("a candidate counts more weights of a layer than the pool holds")

    @classmethod
    def of(cls, weights: Mapping[str, SparseTensor]) -> Self:
        """A pool whose only candidate is a model that there is already."""
        layers = {}
        for name, weight in weights.items():
            order = np.lexsort((weight.mask.indices, -np.abs(weight.values)))
            layers[name] = RankedWeights(
                weight.shape, weight.mask.indices[order], weight.values[order]
            )
        counts = [[weight.nnz for weight in weights.values()]]
        return cls(layers, np.array(counts, np.int32))

    @property
    def size(self) -> int:
        """C, the number of candidates."""
        return len(self.counts)

    def candidate(self, c: int) -> dict[str, SparseTensor]:
        """The weights of candidate ``c`` by layer name."""
        return {
            name: layer.prefix(count)
            for (name, layer), count in zip(
                self.layers.items(), self.counts[c].tolist(), strict=True
            )
        }


def build_candidates(
    weights: Mapping[str, Floats],
    density: float,
    pool_size: int,
    generator: np.random.Generator,
    scores: Mapping[str, Floats] | None = None,
) -> CandidatePool:
    """FedTiny's coarse pruning: the top ⌊d_l · n_l⌋ |θ| per layer for ``pool_size`` noisy d.

    Candidate 0 is uniform without noise; then noisy uniform (1, 3, …) and noisy ERK (2, 4, …) take
    turns. No candidate's nnz / prunable exceeds ``density``, and each comes within 2 % of it, or
    within one weight per layer where that is coarser.

    Args:
        weights: dense prunable weights by layer name, in graph order.
        density: in (0, 1].
        pool_size: C, at least 1.
        generator: see :func:`fedtiny.seeding.rng`.
        scores: what weights are ranked by instead of |θ|, in the same shapes.

    Raises:
        SparseError: a weight is NaN, the density leaves fewer weights than layers, or the pool is
            empty.

    >>> pool = build_candidates(
    ...     {"conv": np.array([[3., -4.], [1., 2.]], np.float32)}, 0.5, 1, np.random.default_rng(0))
    >>> pool.candidate(0)["conv"].to_dense().tolist()
    [[3.0, -4.0], [0.0, 0.0]]
    """
    if pool_size < 1:
        raise SparseError(f"the candidate pool needs at least one candidate, not {pool_size}")
    shapes = {name: weight.shape for name, weight in weights.items()}
    sizes = {name: weight.size for name, weight in weights.items()}
    bases = (erdos_renyi_kernel(shapes, density), uniform(sizes, density))
    chosen = [bases[1]]
    chosen += [noisy(bases[c % 2], sizes, density, generator) for c in range(1, pool_size)]
    budget = weight_budget(sizes, density)
    counts = np.array(
        [list(budgeted_counts(densities, sizes, budget).values()) for densities in chosen], np.int32
    )
    ranking = weights if scores is None else scores
    layers = {
        name: _ranked(weight, ranking[name], int(largest))
        for (name, weight), largest in zip(weights.items(), counts.max(axis=0), strict=True)
    }
    return CandidatePool(layers, counts)


def pack_pool(pool: CandidatePool) -> dict[str, npt.NDArray[np.generic]]:
    """The pool as three arrays for the wire.

    An order by magnitude costs no bytes: values travel in ascending flat index, and the receiver
    sorts them.

    Returns:
        ``values`` float32 (all layers' one after another), ``indices`` uint8
        (:func:`fedtiny.sparse.packing.pack_masks` of what each layer holds), ``counts`` int32
        ``(C, L)``; ``places`` int32 (as values), each value's place in its layer's order, if that
        is another one.
    """
    held = {name: layer.prefix(len(layer.order)) for name, layer in pool.layers.items()}
    packed: dict[str, npt.NDArray[np.generic]] = {
        "values": np.concatenate([tensor.values for tensor in held.values()]),
        "indices": pack_masks({name: tensor.mask for name, tensor in held.items()}),
        "counts": pool.counts,
    }
    if not all(_by_magnitude(layer) for layer in pool.layers.values()):
        places = [np.argsort(layer.order, kind="stable") for layer in pool.layers.values()]
        packed["places"] = np.concatenate(places).astype(np.int32)
    return packed


def _by_magnitude(layer: RankedWeights) -> bool:
    by_index = np.argsort(layer.order, kind="stable")
    expected = by_index[magnitude_order(layer.values[by_index])]
    return bool(np.array_equal(expected, np.arange(len(layer.order))))


def unpack_pool(
    arrays: Mapping[str, npt.NDArray[np.generic]], shapes: Mapping[str, tuple[int, ...]]
) -> CandidatePool:
    """The inverse of :func:`pack_pool`.

    Args:
        arrays: ``values``, ``indices`` and ``counts``, perhaps ``places``.
        shapes: weight shapes by layer name, in graph order.

    Raises:
        SparseError: the arrays do not fit each other or the shapes.
    """
    masks = unpack_masks(cast("Bytes", arrays["indices"]), shapes)
    values = np.asarray(arrays["values"], np.float32)
    announced = sum(mask.nnz for mask in masks.values())
    if values.shape != (announced,):
        raise SparseError(f"the pool's masks hold {announced} weights, its values {values.shape}")
    places = arrays.get("places")
    if places is not None and (places.dtype != np.int32 or places.shape != (announced,)):
        raise SparseError(f"the pool's places are {places.dtype}{places.shape}, not one per value")
    layers, start = {}, 0
    for name, mask in masks.items():
        held = values[start : start + mask.nnz]
        order = magnitude_order(held)
        if places is not None:
            order = _inverse(np.asarray(places[start : start + mask.nnz], np.int32), name)
        layers[name] = RankedWeights(mask.shape, mask.indices[order], held[order])
        start += mask.nnz
    return CandidatePool(layers, np.asarray(arrays["counts"], np.int32))


def _inverse(places: Indices, name: str) -> npt.NDArray[np.int64]:
    order = np.argsort(places, kind="stable")
    if not np.array_equal(places[order], np.arange(len(places))):
        raise SparseError(f"the pool's places of {name} are no order")
    return order


def _ranked(weight: Floats, score: Floats, count: int) -> RankedWeights:
    order = top_k(score, count)
    return RankedWeights(weight.shape, order.astype(np.int32), weight.reshape(-1)[order])
