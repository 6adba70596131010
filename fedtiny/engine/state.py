"""What lives between steps: parameters, gradients, momentum, indices, batch-norm state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from fedtiny.engine import abi
from fedtiny.engine.layout import Layout
from fedtiny.engine.options import Optimizer
from fedtiny.memory.arena import aligned
from fedtiny.memory.ledger import LedgerLine
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel, dense_names, sparse_names
from fedtiny.sparse.tensor import Mask, SparseTensor

Ints = npt.NDArray[np.int32]
Reals = npt.NDArray[np.floating]

COEFFICIENTS = ("center", "mean", "inverse_std", "scale")
"""Per-channel numbers of the last forward pass that the backward pass reads."""


@dataclass(frozen=True, slots=True)
class Item:
    """One array of the state: its ledger line, shape and dtype."""

    line: LedgerLine
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes, rounded up to the alignment."""
        nbytes = prod(self.shape) * np.dtype(self.dtype).itemsize
        return aligned(nbytes, abi.ALIGNMENT_BYTES)


def parameter_sizes(layout: Layout) -> dict[str, int]:
    """Numbers held per parameter name: of a pruned weight only the present ones.

    In graph order, the trained ones first, so that these lie together.
    """
    sizes = {}
    for row in sorted(layout.graph.parameters, key=lambda row: row.name not in layout.trained):
        weight = row.kind is ParameterKind.WEIGHT
        sizes[row.name] = layout.nnz(row.layer) if weight else prod(row.shape)
    return sizes


def state_items(layout: Layout) -> dict[str, Item]:
    """Every array of the state by name."""
    real = f"f{layout.real_bytes}"
    sizes = parameter_sizes(layout)
    count = (sum(size for name, size in sizes.items() if name in layout.trained),)
    items = {
        "values": Item(LedgerLine.WEIGHTS, (sum(sizes.values()),), real),
        "grads": Item(LedgerLine.GRADIENTS, count, real),
        "momentum": Item(LedgerLine.OPTIMIZER, count, real),
    }
    if layout.options.optimizer is Optimizer.ADAM:
        items["squares"] = Item(LedgerLine.OPTIMIZER, count, real)
    for row in layout.graph.statistics:
        items[row.name] = Item(LedgerLine.WEIGHTS, row.shape, real)
    for conv in layout.graph.batch_norms:
        for name in COEFFICIENTS:
            key, shape = f"{conv.name}.{name}", (conv.out_channels,)
            items[key] = Item(LedgerLine.SAVED_ACTIVATIONS, shape, real)
    for layer in layout.graph.layers:
        input_grad = layer.input in layout.needed
        for name, length in _index_lengths(layout, layer.name, input_grad).items():
            items[f"{layer.name}.{name}"] = Item(LedgerLine.INDICES, (length,), "i4")
    return items


def _index_lengths(layout: Layout, layer: str, input_grad: bool) -> dict[str, int]:
    geometry, nnz = layout.geometries[layer], layout.nnz(layer)
    phases = geometry.stride[0] * geometry.stride[1]
    lengths = {"start": geometry.out_channels + 1}
    if layer in layout.dense:
        lengths["offset"] = geometry.row_weights
        if nnz < layout.size(layer):
            lengths["flat"] = nnz
        if input_grad:
            lengths["grad_start"] = phases + 1
            lengths["grad_offset"] = geometry.out_channels * geometry.tap_weights
        return lengths
    lengths["flat"] = lengths["offset"] = nnz
    if input_grad:
        lengths["grad_start"] = geometry.in_channels * phases + 1
        lengths["grad_offset"] = lengths["grad_weight"] = nnz
    return lengths


def aligned_bytes(nbytes: int) -> npt.NDArray[np.uint8]:
    """Zeroed bytes whose address is a multiple of the alignment."""
    raw = np.zeros(nbytes + abi.ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % abi.ALIGNMENT_BYTES
    return raw[start : start + nbytes]


class State:
    """The state's memory, its arrays as views, and the C layers that point into it.

    Attributes:
        memory: all its bytes.
        arrays: views of it, by the name :func:`state_items` gives each.
        parameters: views of ``values`` by parameter name.
        layers: C structures by layer name.
    """

    def __init__(self, layout: Layout, model: SparseModel) -> None:
        self.layout = layout
        items = state_items(layout)
        self.memory = aligned_bytes(sum(item.nbytes for item in items.values()))
        self.arrays: dict[str, npt.NDArray[np.generic]] = {}
        offset = 0
        for name, item in items.items():
            count = prod(item.shape) * np.dtype(item.dtype).itemsize
            view = self.memory[offset : offset + count].view(item.dtype)
            self.arrays[name] = view.reshape(item.shape)
            offset += item.nbytes
        sizes = parameter_sizes(layout)
        self.parameters = _split(self.arrays["values"], sizes)
        trained = {name: size for name, size in sizes.items() if name in layout.trained}
        self._gradients = _split(self.arrays["grads"], trained)
        self.layers = {layer.name: self._layer(layer.name) for layer in layout.graph.layers}
        self.load(model)

    def load(self, model: SparseModel) -> None:
        """Copy a model's parameters and statistics in; the optimizer's state becomes 0."""
        for name, weight in model.weights.items():
            self.parameters[ParameterKind.WEIGHT.of(name)][:] = weight.values
        for name, values in model.dense.items():
            target = self.parameters[name] if name in self.parameters else self.arrays[name]
            target[:] = values.reshape(-1)
        for name in {"momentum", "squares"} & self.arrays.keys():
            self.arrays[name][:] = 0

    def model(self) -> SparseModel:
        """A copy of the parameters and statistics."""
        graph = self.layout.graph
        shapes = {layer.name: layer.weight_shape for layer in graph.layers}
        weights = {
            name: SparseTensor(
                Mask(shapes[name], self._positions(name)),
                self.parameters[ParameterKind.WEIGHT.of(name)].astype(np.float32),
            )
            for name in sparse_names(graph)
        }
        full = {row.name: row.shape for row in graph.parameters}
        dense = {}
        for name in dense_names(graph):
            source = self.parameters[name] if name in self.parameters else self.arrays[name]
            dense[name] = source.astype(np.float32).reshape(full.get(name, source.shape))
        return SparseModel(weights, dense)

    def _positions(self, name: str) -> Ints:
        if f"{name}.flat" in self.arrays:
            return self.arrays[f"{name}.flat"].astype(np.int32)
        return self.layout.masks[name].indices

    def gradients(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Gradients of the last step by parameter name; of pruned weights at the present ones."""
        return self._gradients

    def _layer(self, name: str) -> abi.Layer:
        g = self.layout.geometries[name]
        layer = abi.zeroed(abi.Layer)
        layer.in_channels, layer.out_channels = g.in_channels, g.out_channels
        layer.in_height, layer.in_width = g.in_size
        layer.out_height, layer.out_width = g.out_size
        layer.kernel_h, layer.kernel_w = g.kernel
        layer.stride_h, layer.stride_w = g.stride
        layer.pad_h, layer.pad_w = g.padding
        layer.group_inputs = g.in_channels // g.groups
        layer.group_outputs = g.out_channels // g.groups
        layer.batch_norm = g.batch_norm
        layer.activation = abi.Activation[g.activation.name]
        layer.tile_rows = self.layout.tile_rows(name)
        layer.grad_rows = self.layout.grad_rows(name)
        layer.dense = name in self.layout.dense
        self._fill_lists(name)
        self._point(layer, name)
        return layer

    def _fill_lists(self, name: str) -> None:
        layout, indices = self.layout, self.layout.indices(name)
        g, rows, grad_rows = layout.geometries[name], layout.tile_rows(name), layout.grad_rows(name)
        lists, lanes = {"flat": indices}, layout.lanes
        lists["start"], lists["offset"] = g.input_lists(indices, rows, lanes)
        if name in layout.dense:
            lists["offset"] = g.dense_input_list(rows, lanes)
            lists["grad_start"], lists["grad_offset"] = g.dense_grad_lists(grad_rows, lanes)
        else:
            keys = ("grad_start", "grad_offset", "grad_weight")
            lists |= zip(keys, g.grad_lists(indices, grad_rows, lanes), strict=True)
        for key, values in lists.items():
            if f"{name}.{key}" in self.arrays:
                self.arrays[f"{name}.{key}"][:] = values

    def _point(self, layer: abi.Layer, name: str) -> None:
        shift = ParameterKind.BN_SHIFT if layer.batch_norm else ParameterKind.BIAS
        parameters = {"values": ParameterKind.WEIGHT.of(name), "beta": shift.of(name)}
        if layer.batch_norm:
            parameters["gamma"] = ParameterKind.BN_SCALE.of(name)
        for field, key in parameters.items():
            setattr(layer, field, address(self.parameters[key]))
            if key in self._gradients:
                grads = "value_grads" if field == "values" else f"{field}_grad"
                setattr(layer, grads, address(self._gradients[key]))
        fields = (
            "flat",
            "start",
            "offset",
            "grad_start",
            "grad_offset",
            "grad_weight",
            *COEFFICIENTS,
        )
        named = {field: f"{name}.{field}" for field in fields}
        named["running_mean"] = ParameterKind.RUNNING_MEAN.of(name)
        named["running_var"] = ParameterKind.RUNNING_VAR.of(name)
        for field, key in named.items():
            setattr(layer, field, address(self.arrays[key]) if key in self.arrays else 0)


def _split(
    flat: npt.NDArray[np.generic], sizes: Mapping[str, int]
) -> dict[str, npt.NDArray[np.generic]]:
    views, offset = {}, 0
    for name, size in sizes.items():
        views[name] = flat[offset : offset + size]
        offset += size
    return views


def address(array: npt.NDArray[np.generic]) -> int:
    """Address of an array's first element."""
    return int(array.ctypes.data)
