"""The work that every way to train is timed on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt

from fedtiny.errors import FedTinyError
from fedtiny.models import build
from fedtiny.models.cost import layer_costs
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.ops import INPUT, Shape
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.seeding import rng
from fedtiny.sparse.densities import layer_counts, uniform
from fedtiny.sparse.tensor import Floats, Mask
from fedtiny.training.trainer import Labels, SgdConfig

SIZES: dict[str, tuple[Shape, int]] = {
    "ds_cnn": ((1, 49, 10), 12),
    "mobilenet_v1": ((3, 96, 96), 2),
    "resnet8": ((1, 28, 28), 10),
    "resnet18": ((3, 32, 32), 10),
    "smartwatch_cnn": ((6, 1, 128), 7),
    "vgg11": ((3, 32, 32), 10),
}
"""Customary (input shape, classes) by model."""

_POOL_BATCHES = 4


@dataclass(frozen=True, eq=False)
class Workload:
    """A model, the weights it keeps, and batches to train it on.

    Attributes:
        name: of the model.
        graph: the model.
        sparse: fresh parameters; every prunable layer keeps ``density`` of its weights, at random
            positions.
        batch: samples per optimizer step.
        micro_batch: samples per forward and backward pass.
        threads: that compute.
        x: float32 (N, C, H, W), standard normal.
        y: int64 (N,).
        sgd: optimizer settings.
    """

    name: str
    graph: Graph
    sparse: SparseModel
    batch: int
    micro_batch: int
    threads: int
    x: Floats
    y: Labels
    sgd: SgdConfig

    def chosen(self, turn: int) -> npt.NDArray[np.int64]:
        """Positions of the samples of a turn's batch, as a shuffled epoch would pick them."""
        return rng(0, "bench batch", turn).permutation(len(self.x))[: self.batch]

    @property
    def nnz(self) -> dict[str, int]:
        """Weights kept by prunable layer."""
        return {name: mask.nnz for name, mask in self.sparse.masks.items()}

    def flops(self, nnz: dict[str, int] | None = None) -> int:
        """FLOPs that a step on one batch needs: output, input gradient, weight gradient.

        Convolutions and linear layers, 2 FLOPs a multiply-accumulate; nobody needs the gradient
        of the model's input.

        Args:
            nnz: weights present, by layer name; layers not named are dense.
        """
        present, total = nnz or {}, 0
        for cost in layer_costs(self.graph):
            macs = cost.macs // cost.weights * present.get(cost.name, cost.weights)
            total += (2 if self.graph.layer(cost.name).input == INPUT else 3) * macs
        return 2 * total * self.batch


def workload(
    name: str,
    density: float,
    batch: int,
    threads: int = 1,
    *,
    input_shape: Shape | None = None,
    classes: int | None = None,
    micro_batch: int | None = None,
) -> Workload:
    """A workload on random data.

    Args:
        name: of a registered model.
        density: weights kept / weights of each prunable layer, in (0, 1].
        batch: samples per optimizer step, ≥ 1.
        threads: ≥ 1.
        input_shape, classes: default: :data:`SIZES`.
        micro_batch: default: ``batch``.

    Raises:
        FedTinyError: no such model, or it has no customary size, or a number out of range.
    """
    graph = _registered(name, input_shape, classes)
    return replace(workload_of(graph, density, batch, threads, micro_batch=micro_batch), name=name)


def workload_of(
    graph: Graph, density: float, batch: int, threads: int = 1, *, micro_batch: int | None = None
) -> Workload:
    """A workload on random data, of any model.

    Args:
        graph: the model.
        density, batch, threads, micro_batch: as for :func:`workload`.

    Raises:
        FedTinyError: a number is out of range.
    """
    if batch < 1 or threads < 1 or not 1 <= (micro_batch or batch) <= batch:
        raise FedTinyError("--batch and --threads start at 1, --micro-batch ends at --batch")
    generator = rng(0, "bench data")
    count = batch * _POOL_BATCHES
    return Workload(
        graph.name,
        graph,
        _sparse_model(graph, density),
        batch,
        micro_batch or batch,
        threads,
        generator.standard_normal((count, *graph.input_shape), dtype=np.float32),
        generator.integers(0, graph.classes, count),
        SgdConfig(learning_rate=0.01, momentum=0.9),
    )


def _registered(name: str, input_shape: Shape | None, classes: int | None) -> Graph:
    usual_shape, usual_classes = SIZES.get(name, (None, None))
    shape, labels = input_shape or usual_shape, classes or usual_classes
    if shape is None or labels is None:
        shape, labels = shape or (1, 1, 1), labels or 2
        build(name, shape, labels)  # an unknown model is the better complaint
        raise FedTinyError(f"say what {name!r} takes: --input CxHxW --classes K")
    return build(name, shape, labels)


def _sparse_model(graph: Graph, density: float) -> SparseModel:
    generator = rng(0, "bench masks")
    sizes = {layer.name: prod(layer.weight_shape) for layer in graph.prunable_layers}
    counts = layer_counts(uniform(sizes, density), sizes)
    masks = {}
    for layer in graph.prunable_layers:
        kept = generator.choice(sizes[layer.name], counts[layer.name], replace=False)
        masks[layer.name] = Mask(layer.weight_shape, np.sort(kept).astype(np.int32))
    return from_state(graph, initial_state(graph, rng(0, "bench weights")), masks)
