"""An export before there is a model to export: whatever names and shapes forbid is found here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedtiny.boards import host
from fedtiny.config import RunConfig
from fedtiny.data.dataset import Dataset
from fedtiny.data.samples import Samples
from fedtiny.data.statistics import InputStatistics
from fedtiny.devices.budget import engine_of
from fedtiny.export.bundle import export
from fedtiny.export.run import counts, integer_model, outcome, sensor_interface
from fedtiny.firmware.planner import ANY_CORTEX_M4, fit
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import from_state
from fedtiny.pruning.masks import layer_masks
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.seeding import rng


def untrained(config: RunConfig, graph: Graph, few: Dataset) -> TrainedModel:
    """A model of the planned density with random weights, calibrated on ``few`` samples.

    Args:
        config: of the run.
        graph: the model.
        few: at least one sample, with the labels and the sensor of all.

    Raises:
        FedTinyError: no engine for it.
    """
    state = initial_state(graph, rng(config.seed, "rehearsal"))
    planned = config.method.planned_counts(graph)
    weights = {name: state[ParameterKind.WEIGHT.of(name)] for name in planned}
    model = from_state(graph, state, layer_masks(weights, planned))
    normalization = InputStatistics.of(few).normalization()
    ranges = engine_of(config).evaluator(graph, model).ranges(Samples(few, normalization))
    return TrainedModel(graph, model, normalization, ranges, few.labels, few.sensor)


def rehearse_export(
    trained: TrainedModel, few: Dataset, directory: Path, prefix: str
) -> dict[str, Any]:
    """Write the C project of an untrained model, uncompiled; a C program is built and run.

    Args:
        trained: from :func:`untrained`.
        few: samples for its vectors.
        directory: is made.
        prefix: of the model's names in C.

    Returns:
        What an export would report, accuracies aside.

    Raises:
        FedTinyError: the model cannot be quantized or its names written, or no compiler works.
    """
    host.probe(directory.with_name("probe"))
    plan = fit(integer_model(trained), ANY_CORTEX_M4).require()
    interface = sensor_interface(trained.labels, trained.sensor, prefix)
    firmware = export(plan, directory, counts(few), interface, compiled=False)
    return outcome(ANY_CORTEX_M4, firmware, None)
