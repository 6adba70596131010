"""A trained model with everything needed to run or export it: one ``model.safetensors``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedtiny.data.dataset import SensorSpec
from fedtiny.data.statistics import Normalization
from fedtiny.models.graph import Graph
from fedtiny.models.ops import GraphError
from fedtiny.models.sparse_model import SparseModel, sparse_names
from fedtiny.runs import checkpoint
from fedtiny.runs.checkpoint import Array, CheckpointError
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
            labels = tuple(manifest["labels"])
            ranges = {
                name: (float(low), float(high))
                for name, (low, high) in zip(graph.observed, arrays.get("ranges", ()), strict=False)
            }
            sensor = SensorSpec(*(tuple(manifest[key]) for key in ("channels", "units", "scale")))
            normalization = Normalization(arrays["input.mean"], arrays["input.std"])
            model = read_model(graph, arrays)
        except KeyError as error:
            raise CheckpointError(f"{path}: lacks {error}; it is no trained model") from error
        if len(labels) != graph.classes:
            raise CheckpointError(f"{path}: {len(labels)} labels for {graph.classes} logits")
        return cls(graph, model, normalization, ranges, labels, sensor)


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
        arrays[f"{name}.weight.indices"] = weight.mask.indices
        arrays[f"{name}.weight.values"] = weight.values
    return arrays


def read_model(graph: Graph, arrays: dict[str, Array]) -> SparseModel:
    """The inverse of :func:`model_arrays`.

    Raises:
        KeyError: an array is missing; CheckpointError: one has another shape than in the graph.
    """
    weights = {
        name: SparseTensor(
            Mask(graph.layer(name).weight_shape, arrays[f"{name}.weight.indices"]),
            arrays[f"{name}.weight.values"],
        )
        for name in sparse_names(graph)
    }
    dense = {}
    for row in graph.parameter_table:
        if not row.prunable:
            dense[row.name] = arrays[row.name]
            if dense[row.name].shape != row.shape:
                raise CheckpointError(
                    f"{row.name} has shape {dense[row.name].shape}, the graph says {row.shape}"
                )
    return SparseModel(weights, dense)
