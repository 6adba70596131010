"""A network that came in integers: as it came, or pruned in one shot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fedtiny.data.dataset import Indices, SensorSpec
from fedtiny.data.errors import bad_file
from fedtiny.importing.calibration import Calibration, read_calibration
from fedtiny.importing.imported import ImportedModel
from fedtiny.importing.one_shot import pruned
from fedtiny.quant import reference
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ptq import input_quantization
from fedtiny.quant.tensors import INT8_MAX, INT8_MIN, Int16s
from fedtiny.seeding import rng

VECTORS = 16
"""Random test vectors, where there are no samples."""

_VECTOR_VALUES = 2**20
"""Of all of them together."""


def imported(
    graph: IntegerGraph,
    remarks: tuple[str, ...],
    calibration: Path | None = None,
    prune: float | None = None,
) -> ImportedModel:
    """``graph`` with samples to check it with.

    Args:
        graph: the network.
        remarks: sentences about how it was read.
        calibration: samples to check and score it with, see
            :mod:`fedtiny.importing.calibration`; its scales need none. Without them sensor counts
            are the codes of the model's input, and test vectors are random.
        prune: share of the weights to keep, see :func:`fedtiny.importing.one_shot.pruned`.

    Raises:
        FedTinyError: samples do not fit, or it is sparser than ``prune`` already.
    """
    labels: tuple[str, ...] = ()
    if calibration is None:
        counts, y, sensor = random_codes(graph), None, _codes(graph)
        remarks = (*remarks, "no samples: sensor counts are codes of its input, vectors random")
    else:
        data = read_calibration(calibration)
        _check(calibration, data, graph)
        entry = input_quantization(graph.input, data.normalization)
        graph = replace(graph, input_quantization=entry)
        counts, y, labels, sensor = data.counts, data.y, data.labels, data.sensor
    accuracies = {}
    labels = labels or tuple(str(i) for i in range(graph.output.nbytes))
    if prune is not None:
        if y is not None:
            accuracies["as it came"] = accuracy(graph, counts, y)
        graph, remark = pruned(graph, prune)
        remarks = (*remarks, remark)
    return ImportedModel(graph, counts, y, labels, sensor, accuracies, remarks)


def accuracy(graph: IntegerGraph, counts: Int16s, y: Indices) -> float:
    """Share of the samples whose largest output is their class's."""
    return float(np.mean(reference.run(graph, counts).argmax(axis=1) == y))


def random_codes(graph: IntegerGraph, vectors: int = VECTORS) -> Int16s:
    """Uniform codes of the input, int16 ``(N, C, H, W)``; fewer vectors of a large one."""
    number = max(1, min(vectors, _VECTOR_VALUES // graph.input.nbytes))
    draw = rng(0, "test vectors")
    shape = (number, *graph.input.shape)
    return draw.integers(INT8_MIN, INT8_MAX, shape, np.int8, endpoint=True).astype(np.int16)


def _codes(graph: IntegerGraph) -> SensorSpec:
    """Channels whose counts are codes."""
    tensor, channels = graph.input, graph.input.shape[0]
    unit = f"int8 code, real = {tensor.scale:.6g} * (code - {tensor.zero_point})"
    names = tuple(f"channel {i}" for i in range(channels))
    return SensorSpec(names, (unit,) * channels, (1.0,) * channels)


def _check(path: Path, data: Calibration, graph: IntegerGraph) -> None:
    shape, outputs = graph.input.shape, graph.output.nbytes
    if data.counts.shape[1:] != shape:
        raise bad_file(
            path,
            f"samples of {data.counts.shape[1:]} for an input of {shape} (C, H, W); TensorFlow's "
            "(N, H, W, C) become that by x.transpose(0, 3, 1, 2)",
        )
    if data.labels and len(data.labels) != outputs:
        raise bad_file(path, f"{len(data.labels)} labels for {outputs} outputs")
    if data.y is not None and data.y.max() >= outputs:
        raise bad_file(path, f"y has class {data.y.max()}, the outputs are 0 to {outputs - 1}")
