"""A user's PyTorch module to integers: calibrated on samples, pruned in one shot if asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from fedtiny.data.samples import Samples
from fedtiny.errors import FedTinyError
from fedtiny.importing.calibration import Calibration, read_calibration
from fedtiny.importing.imported import ImportedModel
from fedtiny.models.from_torch.own import make
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Conv
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel, from_state, sparse_names
from fedtiny.pruning.masks import layer_masks
from fedtiny.quant.ptq import quantize
from fedtiny.sparse.densities import layer_counts, uniform
from fedtiny.sparse.tensor import Floats, Mask
from fedtiny.training.masked.trainer import TorchTrainer


def read_torch(spec: str, calibration: Path, prune: float | None) -> ImportedModel:
    """The module that ``spec`` makes, in int8.

    Args:
        spec: ``module:name``, see :func:`fedtiny.models.from_torch.own.make`.
        calibration: file with samples, see :mod:`fedtiny.importing.calibration`.
        prune: share of each prunable layer's weights to keep; None: those that are not 0.

    Raises:
        FedTinyError: no such module, or see :func:`imported`.
    """
    return imported(make("--torch", spec, None, None), calibration, prune)


def imported(module: nn.Module, calibration: Path, prune: float | None) -> ImportedModel:
    """The module in int8.

    Args:
        module: in evaluation mode afterwards as before.
        calibration, prune: see :func:`read_torch`.

    Raises:
        FedTinyError: it is no graph of ours, the file does not fit it, or it cannot be quantized.
    """
    data = read_calibration(calibration)
    graph, state = Graph.from_torch(module, torch.zeros(1, *data.shape))
    _check_classes(calibration, data, graph)
    model = from_state(graph, state, present(graph, state))
    samples = data.samples(graph.classes)
    accuracies = {} if data.y is None else {"float": _accuracy(graph, model, samples)}
    remarks = [f"{graph.name}: {model.density:.1%} of its prunable weights are not 0"]
    if prune is not None:
        model = pruned(graph, state, prune)
        remarks.append(ONE_SHOT.format(density=model.density))
        if data.y is not None:
            accuracies["pruned"] = _accuracy(graph, model, samples)
    ranges = TorchTrainer(graph, model).ranges(samples)
    return ImportedModel(
        quantize(graph, model, data.normalization, ranges),
        data.counts,
        data.y,
        data.names(graph.classes),
        data.sensor,
        accuracies,
        tuple(remarks),
    )


ONE_SHOT = (
    "pruned to {density:.1%} in one shot, by magnitude, every prunable layer alike: nothing was "
    "trained after it, which costs accuracy; pruning while training (a run) costs less"
)
"""What ``--prune`` does, in its own words."""


def present(graph: Graph, state: dict[str, Floats]) -> dict[str, Mask]:
    """Masks of the weights that are not 0, by prunable layer."""
    weights = {name: state[ParameterKind.WEIGHT.of(name)] for name in sparse_names(graph)}
    return {
        name: Mask(weight.shape, np.flatnonzero(weight).astype(np.int32))
        for name, weight in weights.items()
    }


def pruned(graph: Graph, state: dict[str, Floats], share: float) -> SparseModel:
    """The ``share`` of each prunable layer's weights that is largest, zeros never.

    Every layer alike: how large weights are differs between layers for reasons of their own, so
    that a ranking of all together empties whole layers. Depthwise layers, whose channels have a
    handful of weights each, keep theirs.

    Raises:
        FedTinyError: nothing is prunable.
    """
    weights = {
        layer.name: state[ParameterKind.WEIGHT.of(layer.name)]
        for layer in graph.prunable_layers
        if not (isinstance(layer, Conv) and layer.is_depthwise)
    }
    if not weights:
        raise FedTinyError(
            f"{graph.name} has no prunable layers: the first, the last and depthwise ones stay "
            "dense; leave out --prune"
        )
    sizes = {name: weight.size for name, weight in weights.items()}
    wanted = layer_counts(uniform(sizes, share), sizes)
    counts = {
        name: min(wanted[name], int(np.count_nonzero(weight))) for name, weight in weights.items()
    }
    return from_state(graph, state, present(graph, state) | layer_masks(weights, counts))


def _accuracy(graph: Graph, model: SparseModel, samples: Samples) -> float:
    return TorchTrainer(graph, model).evaluate(samples).correct / len(samples)


def _check_classes(path: Path, data: Calibration, graph: Graph) -> None:
    outputs = graph.classes
    if data.labels and len(data.labels) != outputs:
        raise FedTinyError(
            f"{path}: {len(data.labels)} labels for the {outputs} outputs of {graph.name}"
        )
    if data.y is not None and data.y.max() >= outputs:
        raise FedTinyError(
            f"{path}: y has class {data.y.max()}, but {graph.name} has outputs 0 to {outputs - 1}"
        )
