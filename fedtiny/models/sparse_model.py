"""The state of a sparse model: what is trained, sent, saved and exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedtiny.models.graph import Graph
from fedtiny.models.parameters import ParameterKind
from fedtiny.sparse.tensor import Floats, Mask, SparseTensor


@dataclass(frozen=True, slots=True, eq=False)
class SparseModel:
    """One model's parameters and batch-norm statistics.

    Attributes:
        weights: the prunable layers' weights by layer name, in graph order.
        dense: everything else by parameter name (``stem.weight``, ``stem.bn.bias``,
            ``stem.bn.running_var`` …), float32, in graph order: parameters, then statistics.

    >>> import numpy as np
    >>> weight = SparseTensor(Mask((2, 2), np.array([0, 3], np.int32)), np.array([5, 7], "f4"))
    >>> model = SparseModel({"body": weight}, {"body.bias": np.zeros(2, "f4")})
    >>> model.nnz, model.density, model.to_dense()["body.weight"].tolist()
    (2, 0.5, [[5.0, 0.0], [0.0, 7.0]])
    """

    weights: Mapping[str, SparseTensor]
    dense: Mapping[str, Floats]

    @property
    def masks(self) -> dict[str, Mask]:
        """The prunable layers' masks by layer name."""
        return {name: weight.mask for name, weight in self.weights.items()}

    @property
    def density(self) -> float:
        """nnz / prunable weights."""
        return self.nnz / sum(weight.mask.size for weight in self.weights.values())

    @property
    def nnz(self) -> int:
        """Prunable weights present."""
        return sum(weight.nnz for weight in self.weights.values())

    def density_all(self, graph: Graph) -> float:
        """Parameters present / parameters, counting end layers, biases and batch norms."""
        kept = self.nnz + sum(
            self.dense[row.name].size for row in graph.parameters if row.name in self.dense
        )
        everything = sum(weight.mask.size for weight in self.weights.values()) + kept - self.nnz
        return kept / everything

    def under(self, masks: Mapping[str, Mask]) -> SparseModel:
        """The same parameters under other masks; 0 where a weight was absent."""
        weights = {
            name: SparseTensor(masks[name], weight.values_at(masks[name]))
            for name, weight in self.weights.items()
        }
        return SparseModel(weights, self.dense)

    def to_dense(self) -> dict[str, Floats]:
        """Every tensor by parameter name, zeros filled in: for the oracle."""
        filled = {
            ParameterKind.WEIGHT.of(name): weight.to_dense()
            for name, weight in self.weights.items()
        }
        return {**filled, **self.dense}


def sparse_names(graph: Graph) -> tuple[str, ...]:
    """Layer names whose weights a :class:`SparseModel` of ``graph`` holds sparsely."""
    return tuple(row.layer for row in graph.parameter_table if row.prunable)


def dense_names(graph: Graph) -> tuple[str, ...]:
    """Parameter and statistic names a :class:`SparseModel` of ``graph`` holds densely."""
    return tuple(row.name for row in graph.parameter_table if not row.prunable)


def from_state(graph: Graph, state: Mapping[str, Floats], masks: Mapping[str, Mask]) -> SparseModel:
    """The sparse model of a dense ``state`` under ``masks`` (by layer name)."""
    weights = {
        name: SparseTensor.gather(state[ParameterKind.WEIGHT.of(name)], masks[name])
        for name in sparse_names(graph)
    }
    return SparseModel(weights, {name: state[name] for name in dense_names(graph)})
