"""What fixes the sizes of a training plan: lanes, blocks, tiles, which layers are dense."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from fedtiny.engine.geometry import Geometry
from fedtiny.engine.options import EngineOptions
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Shape
from fedtiny.models.parameters import ParameterKind
from fedtiny.sparse.tensor import Indices, Mask

MIN_DENSE_WEIGHTS = 32
"""Weights per output channel from which dense kernels pay."""


def lanes_for(samples: int) -> int:
    """Samples per block: 16, 8 or 4, the widest that pads ``samples`` no further than 8 would.

    >>> [lanes_for(n) for n in (1, 4, 5, 8, 10, 16, 20, 64)]
    [4, 4, 8, 8, 16, 16, 8, 16]
    """
    if samples <= 4:
        return 4
    return 16 if -(-samples // 16) * 16 == -(-samples // 8) * 8 else 8


@dataclass(frozen=True)
class Layout:
    """Everything that fixes the sizes of a plan's buffers.

    Attributes:
        graph: the model.
        masks: of the prunable layers, by name; all weights of the others are present.
        options: what the user of the engine chose.
        real_bytes: 4, or 8 for the float64 build.
    """

    graph: Graph
    masks: Mapping[str, Mask]
    options: EngineOptions
    real_bytes: int = 4

    @cached_property
    def lanes(self) -> int:
        """Samples of one block."""
        return lanes_for(self.options.micro_batch)

    @cached_property
    def blocks(self) -> int:
        """Blocks of a full micro-batch."""
        return -(-self.options.micro_batch // self.lanes)

    @cached_property
    def trained(self) -> frozenset[str]:
        """Names of the parameters that training changes."""
        chosen = self.options.trained
        rows = frozenset(row.name for row in self.graph.parameters if row.trainable)
        return rows if chosen is None else rows & frozenset(chosen)

    @cached_property
    def is_frozen(self) -> bool:
        """Whether training leaves any parameter as it is."""
        return len(self.trained) < len(self.graph.parameters)

    def trains(self, layer: str, kind: ParameterKind = ParameterKind.WEIGHT) -> bool:
        """Whether training changes the layer's parameter of ``kind``."""
        return kind.of(layer) in self.trained

    @cached_property
    def needed(self) -> frozenset[str]:
        """Tensors whose gradients lead to a trained parameter."""
        reached: set[str] = set()
        for node in self.graph.nodes:
            own = any(row.name in self.trained for row in node.parameters)
            if own or any(name in reached for name in node.inputs):
                reached.add(node.name)
        return frozenset(reached)

    @cached_property
    def geometries(self) -> dict[str, Geometry]:
        """Geometry of every layer by name."""
        shapes = self.graph.shapes
        return {n.name: Geometry.of(n, shapes[n.input]) for n in self.graph.layers}

    @cached_property
    def dense(self) -> frozenset[str]:
        """Layers computed with dense kernels; the results do not depend on it, to the last bit."""
        return frozenset(name for name in self.geometries if self._is_dense(name))

    def _is_dense(self, layer: str) -> bool:
        g = self.geometries[layer]
        shared = g.groups == 1 and g.row_weights >= MIN_DENSE_WEIGHTS
        return shared and self.nnz(layer) >= self.options.crossover * self.size(layer)

    def map_bytes(self, shape: Shape) -> int:
        """Bytes of a tensor of ``shape`` for a micro-batch."""
        return self.reals(self.blocks * self.lanes * shape[0] * shape[1] * shape[2])

    def reals(self, count: int) -> int:
        """Bytes of ``count`` numbers."""
        return count * self.real_bytes

    def tile_rows(self, layer: str) -> int:
        """Output rows computed from one padded input tile; of a linear layer, blocks."""
        g = self.geometries[layer]
        height = self._tiled_blocks if g.is_flat else g.out_size[0]
        return _tile_rows(g, height, self.lanes, self._most(g.in_channels))

    def grad_rows(self, layer: str) -> int:
        """Input-gradient rows computed from one padded gradient tile; as :meth:`tile_rows`."""
        g = self.geometries[layer]
        height = self._tiled_blocks if g.is_flat else g.grad_size[0]
        return _grad_rows(g, height, self.lanes, self._most(g.out_channels))

    @property
    def _tiled_blocks(self) -> int:
        """Blocks that a linear layer's tiles may hold; where inputs are expanded for one block at
        a time (:mod:`fedtiny.engine.activations`) it is one."""
        return self.blocks if self.options.activation_density == 1 else 1

    def _most(self, channels: int) -> int:
        """Positions of one channel in a tile of the target size."""
        return self.options.tile_bytes // self.reals(self.lanes * channels)

    def tile_bytes_of(self, layer: str) -> int:
        """Bytes of the layer's padded input tile."""
        g = self.geometries[layer]
        tile = g.input_tile(self.tile_rows(layer), self.lanes)
        return self.reals(g.in_channels * tile * self.lanes)

    def grad_tile_bytes_of(self, layer: str) -> int:
        """Bytes of the layer's padded gradient tile."""
        g = self.geometries[layer]
        tile = g.grad_tile(self.grad_rows(layer), self.lanes)
        return self.reals(g.out_channels * tile * self.lanes)

    def has_own_tiles(self, layer: str) -> bool:
        """Whether each thread has a padded tile of its own, to take a block of samples alone.

        Not where blocks come one after the other: inputs are expanded for one at a time, or all
        weights of a layer that misses some have room once.
        """
        several = 1 < self.options.threads <= self.blocks
        apart = self.options.activation_density == 1 and not self.scattered_bytes(layer)
        return several and apart and not self.geometries[layer].is_flat

    def size(self, layer: str) -> int:
        """Weights of ``layer``, absent ones included."""
        g = self.geometries[layer]
        return g.out_channels * g.row_weights

    def nnz(self, layer: str) -> int:
        """Weights present in ``layer``."""
        return self.masks[layer].nnz if layer in self.masks else self.size(layer)

    def indices(self, layer: str) -> Indices:
        """Flat positions of the weights present in ``layer``, ascending."""
        if layer in self.masks:
            return self.masks[layer].indices
        return np.arange(self.size(layer), dtype=np.int32)

    def scattered_bytes(self, layer: str) -> int:
        """Bytes of a tensor of all weights, absent ones included; 0 where none is needed."""
        missing = self.nnz(layer) < self.size(layer)
        return self.reals(self.size(layer)) if layer in self.dense and missing else 0

    def transposed_bytes(self, layer: str) -> int:
        """Bytes of the weights in the input gradient's order."""
        held = self.size(layer) if layer in self.dense else self.nnz(layer)
        return self.reals(held)


# Numbers only, asked for again and again by every plan of a model: a simulation makes thousands.
@lru_cache(maxsize=1024)
def _tile_rows(g: Geometry, height: int, lanes: int, most: int) -> int:
    return _rows(height, most, lambda n: g.input_tile(n, lanes))


@lru_cache(maxsize=1024)
def _grad_rows(g: Geometry, height: int, lanes: int, most: int) -> int:
    return _rows(height, most, lambda n: g.grad_tile(n, lanes))


def _rows(height: int, most: int, positions: Callable[[int], int]) -> int:
    """Rows that fit the tile's target size; a few at least, and even parts of ``height``."""
    rows = min(height, 4)
    while rows > 1 and positions(rows) > 2 * most:
        rows //= 2
    while rows < height and positions(rows + 1) <= most:
        rows += 1
    return -(-height // -(-height // rows))
