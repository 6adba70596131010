"""A trained model with everything needed to run or export it: one ``model.safetensors``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedtiny.data.dataset import SensorSpec
from fedtiny.data.errors import DataError
from fedtiny.data.labels import check_names
from fedtiny.data.statistics import Normalization
from fedtiny.errors import FedTinyError
from fedtiny.models.graph import Graph
from fedtiny.models.ops import GraphError
from fedtiny.models.parameters import Parameter, ParameterKind
from fedtiny.models.sparse_model import SparseModel, sparse_names
from fedtiny.runs import checkpoint
from fedtiny.runs.tensors import Array, CheckpointError
from fedtiny.sparse.tensor import Mask, SparseTensor
from fedtiny.training.trainer import Ranges


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """The result of a federation.

    Attributes:
        graph: of any architecture, registered or not: the file keeps all of it.
        model: sparse weights, dense parameters, batch-norm statistics.
        normalization: of sensor counts.
        ranges: of every tensor, merged from the devices; empty before calibration.
        labels: class names.
        sensor: channel names, units and scales.

    >>> import tempfile
    >>> from fedtiny.bench import synthetic
    >>> from fedtiny.models import smartwatch_cnn
    >>> graph = smartwatch_cnn((1, 1, 128), 2)
    >>> sensor = SensorSpec(("x",), ("acceleration",), (1.0,))
    >>> made = TrainedModel(
    ...     graph, synthetic.float_model(graph, 0.1), synthetic.normalization(1), {},
    ...     ("rest", "move"), sensor,
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made.save(Path(folder, "model.safetensors"))
    ...     TrainedModel.load(Path(folder, "model.safetensors")).labels
    ('rest', 'move')
    """

    graph: Graph
    model: SparseModel
    normalization: Normalization
    ranges: Ranges
    labels: tuple[str, ...]
    sensor: SensorSpec

    def save(self, path: Path) -> None:
        """Write ``path``: the same model gives the same bytes, on every backend."""
        checkpoint.write(path, self.arrays(), self.manifest())

    def arrays(self) -> dict[str, Array]:
        """By name: ``{layer}.weight.{indices,values}``, dense tensors, ``input.*``, ``ranges``."""
        arrays = model_arrays(self.model)
        arrays["input.mean"], arrays["input.std"] = self.normalization.mean, self.normalization.std
        if self.ranges:
            observed = [self.ranges[name] for name in self.graph.observed]
            arrays["ranges"] = np.array(observed, np.float32)
        return arrays

    def manifest(self) -> dict[str, object]:
        """What the arrays do not say."""
        return {
            "graph": self.graph.to_json(),
            "labels": list(self.labels),
            "channels": list(self.sensor.channels),
            "units": list(self.sensor.units),
            "scale": list(self.sensor.scale),
        }

    @classmethod
    def load(cls, path: Path) -> TrainedModel:
        """The inverse of :meth:`save`.

        Raises:
            CheckpointError: the file is missing, damaged, of an older FedTiny, or lacks a tensor of
                its graph.
        """
        arrays, manifest = checkpoint.read(path)
        graph = read_graph(path, manifest)
        try:
            labels = texts(path, manifest, "labels")
            check_names(labels)
            sensor = SensorSpec(
                texts(path, manifest, "channels"),
                texts(path, manifest, "units"),
                _scale(path, manifest),
            )
            ranges = _ranges(path, graph, arrays)
            normalization = read_normalization(path, graph, arrays)
            model = read_model(path, graph, arrays)
        except KeyError as error:
            raise CheckpointError(f"{path}: lacks {error}; it is no trained model") from error
        except DataError as error:
            raise CheckpointError(f"{path}: {error}") from error
        if len(labels) != graph.classes:
            raise CheckpointError(f"{path}: {len(labels)} labels for {graph.classes} logits")
        if len(sensor.channels) != graph.input_shape[0]:
            raise CheckpointError(
                f"{path}: {len(sensor.channels)} channels for the input {graph.input_shape}"
            )
        return cls(graph, model, normalization, ranges, labels, sensor)


def texts(path: Path, manifest: Mapping[str, object], key: str) -> tuple[str, ...]:
    """A manifest's list of texts.

    Raises:
        KeyError: there is none.
        CheckpointError: it is something else.
    """
    value = manifest[key]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise CheckpointError(f"{path}: its {key} are no list of texts: {value!s:.80}")
    return tuple(value)


def _scale(path: Path, manifest: Mapping[str, object]) -> tuple[float, ...]:
    value = manifest["scale"]
    if not isinstance(value, list) or not all(type(one) in (int, float) for one in value):
        raise CheckpointError(f"{path}: its scale is no list of numbers: {value!s:.80}")
    return tuple(value)


def read_normalization(path: Path, graph: Graph, arrays: Mapping[str, Array]) -> Normalization:
    """What is done to sensor counts, from ``input.mean`` and ``input.std``.

    Raises:
        KeyError: one is not there.
        CheckpointError: one does not fit the graph, or is no mean or deviation.
    """
    mean, std = arrays["input.mean"], arrays["input.std"]
    for name, array in (("mean", mean), ("std", std)):
        if array.dtype != np.float32 or array.shape != graph.input_shape[:1]:
            raise CheckpointError(f"{path}: input.{name} is {array.dtype} {array.shape}")
    if not np.isfinite(mean).all() or not np.isfinite(std).all() or not (std > 0).all():
        raise CheckpointError(f"{path}: input.mean or input.std is not finite, or not positive")
    return Normalization(mean, std)


def _ranges(path: Path, graph: Graph, arrays: Mapping[str, Array]) -> Ranges:
    if "ranges" not in arrays:
        return {}
    table = arrays["ranges"]
    if table.shape != (len(graph.observed), 2) or table.dtype != np.float32:
        raise CheckpointError(f"{path}: ranges do not fit its graph: {table.dtype} {table.shape}")
    return dict(zip(graph.observed, map(tuple, table.tolist()), strict=True))


def read_graph(path: Path, manifest: Mapping[str, object]) -> Graph:
    """The graph that a file's manifest keeps under ``graph``.

    Raises:
        CheckpointError: there is none, or it is damaged; the message names ``path``.
    """
    if "graph" not in manifest:
        raise CheckpointError(f"{path}: was written by an older FedTiny; run again")
    try:
        return Graph.from_json(str(manifest["graph"]))
    except GraphError as error:
        raise CheckpointError(f"{path}: {error}") from error


def model_arrays(model: SparseModel) -> dict[str, Array]:
    """A sparse model as arrays by checkpoint name."""
    arrays: dict[str, Array] = dict(model.dense)
    for name, weight in model.weights.items():
        key = ParameterKind.WEIGHT.of(name)
        arrays[f"{key}.indices"], arrays[f"{key}.values"] = weight.mask.indices, weight.values
    return arrays


def read_model(path: Path, graph: Graph, arrays: Mapping[str, Array]) -> SparseModel:
    """The inverse of :func:`model_arrays`.

    Raises:
        CheckpointError: an array is missing or does not fit the graph; the message names ``path``.
    """
    try:
        weights = {name: _weight(graph, arrays, name) for name in sparse_names(graph)}
        dense = {
            row.name: _dense(row, arrays[row.name])
            for row in graph.parameter_table
            if not row.prunable
        }
    except KeyError as error:
        raise CheckpointError(f"{path}: lacks {error}") from error
    except FedTinyError as error:
        raise CheckpointError(f"{path}: does not fit its graph: {error}") from error
    return SparseModel(weights, dense)


def _weight(graph: Graph, arrays: Mapping[str, Array], layer: str) -> SparseTensor:
    name = ParameterKind.WEIGHT.of(layer)
    mask = Mask(graph.layer(layer).weight_shape, arrays[f"{name}.indices"])
    return SparseTensor(mask, arrays[f"{name}.values"])


def _dense(row: Parameter, array: Array) -> Array:
    if array.dtype != np.float32 or array.shape != row.shape:
        raise CheckpointError(
            f"{row.name} is {array.dtype} {array.shape}, the graph says float32 {row.shape}"
        )
    return array
