"""What a method makes of a finished model: the graph to train, and what of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt

from fedtiny.engine import EngineOptions
from fedtiny.engine.options import Optimizer
from fedtiny.errors import FedTinyError
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Linear
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import Floats, SparseTensor
from fedtiny.wire.packet import concatenate, split

TILE_BYTES = 16 * 1024
"""Target size of a padded tile: devices that adapt have small caches and little memory."""


class AdaptError(FedTinyError):
    """A model or recordings that cannot be adapted; the message says what would help."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What a method is given.

    Attributes:
        graph, model: as they left the federation.
        x, y: the wearer's labelled windows, float32 (N, C, H, W) normalised, and int64 (N,); only
            a method that chooses by the data reads them.
        seed: of what is drawn.
    """

    graph: Graph
    model: SparseModel
    x: Floats
    y: npt.NDArray[np.int64]
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What is trained.

    Attributes:
        graph: the network to train; before the first step its logits are the finished model's.
        model: its parameters then.
        trained: names of the parameters that training changes; None: all.
    """

    graph: Graph
    model: SparseModel
    trained: tuple[str, ...] | None

    def options(self, micro_batch: int) -> EngineOptions:
        """Of the engine that trains it."""
        return EngineOptions(
            micro_batch, tile_bytes=TILE_BYTES, trained=self.trained, optimizer=Optimizer.ADAM
        )

    def values(self, model: SparseModel) -> Floats:
        """What is trained of ``model``, float32 (n,), in the order of ``trained``.

        Raises:
            AdaptError: everything is: that is a model, and no part of one.
        """
        return concatenate([_of(model, name) for name in self._trained])

    def at(self, values: Floats) -> Recipe:
        """This recipe with other numbers to begin with; the inverse of :meth:`values`.

        Raises:
            AdaptError: they are not as many as are trained.
        """
        shapes = {name: _of(self.model, name).shape for name in self._trained}
        size = sum(prod(shape) for shape in shapes.values())
        if values.shape != (size,):
            raise AdaptError(f"{values.size} numbers for the {size} that {self.graph.name} trains")
        weights, dense = dict(self.model.weights), dict(self.model.dense)
        for name, part in split(values, shapes).items():
            if name in dense:
                dense[name] = part
            else:
                layer = _sparse_layer(name)
                weights[layer] = SparseTensor(weights[layer].mask, part)
        return replace(self, model=SparseModel(weights, dense))

    @property
    def _trained(self) -> tuple[str, ...]:
        if self.trained is None:
            raise AdaptError("all parameters are trained: send the model")
        return self.trained


def _of(model: SparseModel, name: str) -> Floats:
    return model.dense[name] if name in model.dense else model.weights[_sparse_layer(name)].values


def _sparse_layer(name: str) -> str:
    return name.removesuffix(f".{ParameterKind.WEIGHT.value}")


Method = Callable[[Task], Recipe]


def head_of(graph: Graph) -> Linear:
    """The layer that makes the logits.

    Raises:
        AdaptError: it is no linear layer.
    """
    last = graph.layers[-1]
    if not isinstance(last, Linear) or last.name != graph.logits:
        raise AdaptError(
            f"{graph.name}: logits come from {graph.logits!r}, which is no linear layer; only "
            "models with a linear classifier can be adapted"
        )
    return last


def head_parameters(graph: Graph) -> tuple[str, ...]:
    """Weight and bias of the classifier."""
    return tuple(row.name for row in head_of(graph).parameters)


def biases(graph: Graph) -> tuple[str, ...]:
    """Every bias, in layer order; of a folded graph every layer has one."""
    return tuple(row.name for row in graph.parameters if row.kind is ParameterKind.BIAS)
