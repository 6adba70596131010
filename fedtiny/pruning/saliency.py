"""How much the loss would change without a weight: |g ⊙ θ|."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import Floats, SparseTensor


def connection_saliency(model: SparseModel, gradients: Mapping[str, Floats]) -> dict[str, Floats]:
    """|g ⊙ θ| of every prunable weight, 0 where it is absent (Lee et al. 2019, SNIP).

    SNIP also divides by the sum over all weights, which changes no order.

    Args:
        model: whose weights θ are.
        gradients: g by layer name, in mask order (:meth:`Trainer.gradients
            <fedtiny.training.trainer.Trainer.gradients>`).

    Returns:
        float32 arrays in weight layout by layer name.

    >>> weight = SparseTensor.from_dense(np.float32([[2, 0], [-1, 0]]))
    >>> model = SparseModel({"a": weight}, {})
    >>> connection_saliency(model, {"a": np.float32([0.5, 3])})["a"].tolist()
    [[1.0, 0.0], [3.0, 0.0]]
    """
    return {
        name: SparseTensor(weight.mask, np.abs(weight.values * gradients[name])).to_dense()
        for name, weight in model.weights.items()
    }
