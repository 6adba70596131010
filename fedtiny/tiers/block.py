"""A part of a model as a smaller graph, and the way between its positions and the model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import prod

import numpy as np
import numpy.typing as npt

from fedtiny.models.graph import Graph
from fedtiny.models.ops import Concat, Conv, Layer, Linear, Node
from fedtiny.models.parameters import Parameter, ParameterKind
from fedtiny.sparse.tensor import Floats, Indices
from fedtiny.tiers.channels import Kept, features, kept_channels, prefix, window


@dataclass(frozen=True, eq=False)
class Axes:
    """What a block keeps of one array, whose layout is (rows, columns, inner).

    Attributes:
        shape: of the array in the model.
        rows, columns: kept, ascending.
        inner: elements of one row and column: the kernel's.
    """

    shape: tuple[int, ...]
    rows: Indices
    columns: Indices
    inner: int

    @cached_property
    def size(self) -> int:
        """Elements kept."""
        return len(self.rows) * len(self.columns) * self.inner

    @property
    def _model_columns(self) -> int:
        return self.shape[1] if len(self.shape) > 1 else 1

    @cached_property
    def _places(self) -> tuple[Indices, Indices]:
        """Where rows and columns of the model are in the block; -1 if nowhere."""
        return _inverse(self.rows, self.shape[0]), _inverse(self.columns, self._model_columns)

    def covers(self, positions: Indices) -> npt.NDArray[np.bool_]:
        """Which of the model's flat positions the block has."""
        row, column, _ = self._split(positions)
        rows, columns = self._places
        covered: npt.NDArray[np.bool_] = (rows[row] >= 0) & (columns[column] >= 0)
        return covered

    def inside(self, positions: Indices) -> Indices:
        """The block's flat positions of the model's, all of which it must have; order is kept."""
        row, column, rest = self._split(positions)
        rows, columns = self._places
        width = len(self.columns)
        local = (rows[row].astype(np.int64) * width + columns[column]) * self.inner + rest
        return local.astype(np.int32)

    def outside(self, positions: Indices) -> Indices:
        """The model's flat positions of the block's: the inverse of :meth:`inside`."""
        rest = positions % self.inner
        row, column = np.divmod(positions // self.inner, len(self.columns))
        place = self.rows[row].astype(np.int64) * self._model_columns + self.columns[column]
        return (place * self.inner + rest).astype(np.int32)

    def cut(self, array: Floats) -> Floats:
        """The kept elements of an array of ``shape``, in the block's shape."""
        if len(self.shape) == 1:
            return array[self.rows]
        return np.ascontiguousarray(array[np.ix_(self.rows, self.columns)])

    def spread(self, part: Floats, onto: Floats) -> Floats:
        """A copy of ``onto``, an array of ``shape``, with the kept elements from ``part``."""
        result = onto.copy()
        result.reshape(-1)[self.positions] = part.reshape(-1)
        return result

    @cached_property
    def positions(self) -> Indices:
        """Flat positions of all that is kept: for arrays that are held densely."""
        return self.outside(np.arange(self.size, dtype=np.int32))

    def _split(self, positions: Indices) -> tuple[Indices, Indices, Indices]:
        row, column = np.divmod(positions // self.inner, self._model_columns)
        return row, column, positions % self.inner


@dataclass(frozen=True, eq=False)
class Block:
    """Some channels of every layer of a model.

    Attributes:
        of: the model.
        width: share of the channels, in (0, 1].
        kept: channels by tensor.
    """

    of: Graph
    width: float
    kept: Kept

    @cached_property
    def is_whole(self) -> bool:
        """Whether it keeps every channel."""
        return all(len(kept) == self.of.shapes[name][0] for name, kept in self.kept.items())

    @cached_property
    def graph(self) -> Graph:
        """The block as a model of its own, with the same names for nodes."""
        if self.is_whole:
            return self.of
        nodes = tuple(self._narrowed(node) for node in self.of.nodes)
        name = f"{self.of.name.replace('@', '_')}-{self.width:g}"
        return Graph(name, self.of.input_shape, nodes, self.of.outputs, self.of.loss)

    @cached_property
    def axes(self) -> Mapping[str, Axes]:
        """What is kept of every array, by parameter name."""
        return {row.name: self._axes(row) for row in self.of.parameter_table}

    def weight(self, layer: str) -> Axes:
        """Of a layer's weight."""
        return self.axes[ParameterKind.WEIGHT.of(layer)]

    def _axes(self, row: Parameter) -> Axes:
        layer = self.of.layer(row.layer)
        rows, columns = self.kept[layer.name], np.zeros(1, np.int32)
        if row.kind is ParameterKind.WEIGHT:
            columns = self._inputs(layer)
        return Axes(row.shape, rows, columns, prod(row.shape[2:]))

    def _inputs(self, layer: Layer) -> Indices:
        """Kept inputs of one output."""
        kept = self.kept[layer.input]
        if isinstance(layer, Linear):
            return features(kept, self.of.shapes[layer.input])
        return np.zeros(1, np.int32) if layer.is_depthwise else kept

    def _narrowed(self, node: Node) -> Node:
        outputs = len(self.kept[node.name])
        match node:
            case Conv():
                inputs = len(self.kept[node.input])
                groups = inputs if node.is_depthwise else 1
                return replace(node, in_channels=inputs, out_channels=outputs, groups=groups)
            case Linear():
                return replace(node, in_features=len(self._inputs(node)), out_features=outputs)
            case Concat():
                return replace(node, channels=outputs)
        return node


@lru_cache(maxsize=64)
def block_of(graph: Graph, width: float, shift: int = 0) -> Block:
    """The block of the first ⌈width · C⌉ channels; with ``shift``, of a window from there on.

    >>> from fedtiny.models import resnet8
    >>> block = block_of(resnet8((1, 28, 28), 10), 0.25)
    >>> block.graph.shapes["stage3.add"], block.graph.classes
    ((16, 7, 7), 10)
    >>> block.weight("stage1.conv1").inside(np.array([0, 9, 16 * 9], np.int32)).tolist()
    [0, 9, 36]
    """
    keep = window(width, shift) if shift else prefix(width)
    return Block(graph, width, kept_channels(graph, keep))


def _inverse(kept: Indices, size: int) -> Indices:
    places = np.full(size, -1, np.int32)
    places[kept] = np.arange(len(kept), dtype=np.int32)
    return places
