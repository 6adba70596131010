"""Models, masks and batch-norm statistics as packet arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fedtiny.models.graph import Graph
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel, dense_names, sparse_names
from fedtiny.pruning.bn_selection import Moments
from fedtiny.sparse.packing import pack_masks, unpack_masks
from fedtiny.sparse.tensor import Floats, Mask, SparseTensor
from fedtiny.wire.packet import Array, Packet, WireError, concatenate, split


def model_arrays(graph: Graph, model: SparseModel) -> dict[str, Array]:
    """``masks`` (uint8, encoded), ``values`` (float32, mask order) and ``dense`` (float32)."""
    return {"masks": pack_masks(model.masks), **value_arrays(graph, model)}


def value_arrays(graph: Graph, model: SparseModel) -> dict[str, Array]:
    """``values`` and ``dense`` only: for a peer that knows the masks."""
    return {
        "values": concatenate([model.weights[name].values for name in sparse_names(graph)]),
        "dense": dense_array(graph, model.dense),
    }


def dense_array(graph: Graph, dense: Mapping[str, Floats]) -> Floats:
    """Everything held densely, in the order of :func:`~fedtiny.models.sparse_model.dense_names`."""
    return concatenate([dense[name] for name in dense_names(graph)])


def read_model(graph: Graph, packet: Packet) -> SparseModel:
    """The inverse of :func:`model_arrays`.

    Raises:
        WireError: an array is missing, of the wrong size, or not finite.
        SparseError: the masks do not decode.
    """
    shapes = {name: graph.layer(name).weight_shape for name in sparse_names(graph)}
    return read_values(graph, unpack_masks(packet.blob("masks"), shapes), packet)


def read_values(graph: Graph, masks: Mapping[str, Mask], packet: Packet) -> SparseModel:
    """The inverse of :func:`value_arrays` under known masks; raises WireError likewise."""
    shapes = {name: (masks[name].nnz,) for name in sparse_names(graph)}
    values = packet.floats("values", (sum(size for (size,) in shapes.values()),))
    weights = {
        name: SparseTensor(masks[name], part) for name, part in split(values, shapes).items()
    }
    return SparseModel(weights, read_dense(graph, packet))


def read_dense(graph: Graph, packet: Packet) -> dict[str, Floats]:
    """The inverse of :func:`dense_array`; raises WireError."""
    shapes = {row.name: row.shape for row in graph.parameter_table if not row.prunable}
    size = sum(int(np.prod(shape)) for shape in shapes.values())
    dense = split(packet.floats("dense", (size,)), shapes)
    for layer in graph.batch_norms:
        _check_variance("dense", layer.name, dense[ParameterKind.RUNNING_VAR.of(layer.name)])
    return dense


def moments_array(graph: Graph, statistics: Sequence[Mapping[str, Moments]]) -> Floats:
    """float32 (len(statistics), 2 · batch-norm channels): means, then variances, by layer."""
    rows = [
        concatenate([part for layer in graph.batch_norms for part in _pair(one[layer.name])])
        for one in statistics
    ]
    return np.stack(rows)


def read_moments(graph: Graph, packet: Packet, rows: int, count: int) -> list[dict[str, Moments]]:
    """The inverse of :func:`moments_array`, each with sample count ``count``; raises WireError."""
    shapes = {layer.name: (2, layer.out_channels) for layer in graph.batch_norms}
    width = sum(2 * channels for _, channels in shapes.values())
    table = packet.floats("moments", (rows, width))
    statistics = [
        {name: Moments(pair[0], pair[1], count) for name, pair in split(row, shapes).items()}
        for row in table
    ]
    for one in statistics:
        for name, moments in one.items():
            _check_variance("moments", name, moments.variance)
    return statistics


def with_statistics(
    dense: Mapping[str, Floats], moments: Mapping[str, Moments]
) -> dict[str, Floats]:
    """``dense`` with its batch-norm running statistics replaced."""
    replaced = dict(dense)
    for layer, one in moments.items():
        replaced[ParameterKind.RUNNING_MEAN.of(layer)] = one.mean
        replaced[ParameterKind.RUNNING_VAR.of(layer)] = one.variance
    return replaced


def running_moments(graph: Graph, dense: Mapping[str, Floats], count: int) -> dict[str, Moments]:
    """The running statistics in ``dense`` as moments over ``count`` samples."""
    return {
        layer.name: Moments(
            dense[ParameterKind.RUNNING_MEAN.of(layer.name)],
            dense[ParameterKind.RUNNING_VAR.of(layer.name)],
            count,
        )
        for layer in graph.batch_norms
    }


def _check_variance(kind: str, layer: str, variance: Floats) -> None:
    if variance.min(initial=0) < 0:
        raise WireError(f"{kind}: a variance of {layer} is negative")


def _pair(moments: Moments) -> tuple[Floats, Floats]:
    return moments.mean, moments.variance
