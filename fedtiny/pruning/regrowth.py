"""RigL's exchange of weights on one model (Evci et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping

from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.prune_and_grow import prune_and_grow
from fedtiny.sparse.tensor import Floats, Indices


def regrow(
    model: SparseModel,
    growth: Mapping[str, tuple[Indices, Floats]],
    quotas: Mapping[str, int],
) -> SparseModel:
    """RigL's step on one device: its smallest |θ| go, its largest |gradient| come, nnz stays."""
    weights = dict(model.weights)
    for name, found in growth.items():
        weights[name] = prune_and_grow(weights[name], found, quotas[name]).weights
    return SparseModel(weights, model.dense)
