"""``fedtiny bench train --layers``: where a sparse step's time goes, beside what each layer needs.

A layer's floor is the longer of two times: its multiply-adds at the machine's measured rate, and
the bytes that its passes cannot do without at the measured rate of copying in the caches (the
roofline of Williams, Waterman, Patterson, 2009). What a step does besides has no floor here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from fedtiny.bench.roofline import Peak, measure_copy_rate, measure_peak
from fedtiny.bench.train import REPEATS, check
from fedtiny.bench.workload import Workload
from fedtiny.engine import EngineOptions, Executor
from fedtiny.engine.abi import Kind
from fedtiny.engine.plan import Which
from fedtiny.models.cost import layer_costs
from fedtiny.models.ops import INPUT

_NUMBER = 4  # bytes
_PRODUCTS = {Kind.CONV, Kind.CONV_GRAD}


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One layer of a step, or what a step does besides.

    Attributes:
        name: of the layer, or what kind of work it is besides, e.g. ``"norm grad"``.
        nnz: weights it holds.
        density: of all its weights.
        forward_ms, backward_ms: of its products; the fastest of all steps.
        floor_ms: no machine with these two rates takes less; 0 for what is not a layer's products.
        flops: executed, at the non-zeros.
        min_bytes: maps and weights read and written once a pass.
    """

    name: str
    nnz: int
    density: float
    forward_ms: float
    backward_ms: float
    floor_ms: float
    flops: int
    min_bytes: int

    @property
    def ms(self) -> float:
        """Of both passes."""
        return self.forward_ms + self.backward_ms

    @property
    def floor_share(self) -> float:
        """Floor / time: 1 is the limit."""
        return self.floor_ms / self.ms if self.ms else 0.0


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """A step by layer.

    Attributes:
        layers: in the model's order, then what is no layer's products.
        peak: multiply-adds on as many threads.
        copy_bytes_per_s: read and written in the caches, all threads together.
    """

    layers: Sequence[LayerTime]
    peak: Peak
    copy_bytes_per_s: float


def profile_layers(work: Workload, repeats: int = REPEATS) -> LayerProfile:
    """Time the sparse engine's step on ``work``, op by op.

    Args:
        work: what to do.
        repeats: steps, ≥ 1.

    Raises:
        FedTinyError: the engine or PyTorch is missing.
    """
    check(repeats)
    executor = Executor(work.graph, work.sparse, EngineOptions(work.micro_batch, work.threads))
    steps = executor.plan.programs[Which.TRAIN].steps
    fastest = np.full(len(steps), np.inf)
    for turn in range(repeats + 1):
        executor.seconds = np.zeros(len(steps))
        chosen = work.chosen(turn)
        executor.step(work.x[chosen], work.y[chosen])
        fastest = np.minimum(fastest, executor.seconds)
    found: dict[str, list[float]] = {}
    loss = next(i for i, step in enumerate(steps) if step.kind is Kind.LOSS)
    for i, (step, seconds) in enumerate(zip(steps, fastest, strict=True)):
        name = step.node if step.kind in _PRODUCTS else step.kind.name.replace("_", " ").lower()
        found.setdefault(name, [0.0, 0.0])[i > loss] += float(seconds) * 1e3
    peak, rate = measure_peak(work.threads), work.threads * measure_copy_rate()
    layers = _layers(work, found, peak, rate)
    besides = found.keys() - {one.name for one in layers}
    for name in sorted(besides):
        forward, backward = found[name]
        layers.append(LayerTime(name, 0, 0.0, forward, backward, 0.0, 0, 0))
    return LayerProfile(layers, peak, rate)


def _layers(
    work: Workload, found: Mapping[str, Sequence[float]], peak: Peak, rate: float
) -> list[LayerTime]:
    layers = []
    shapes = {INPUT: work.graph.input_shape, **work.graph.shapes}
    for cost in layer_costs(work.graph):
        layer = work.graph.layer(cost.name)
        nnz = work.nnz.get(cost.name, cost.weights)
        passes = 2 if layer.input == INPUT else 3  # nobody needs the gradient of the input
        flops = 2 * passes * work.batch * (cost.macs // cost.weights) * nnz
        maps = work.batch * (prod(shapes[layer.input]) + prod(shapes[cost.name]))
        moved = _NUMBER * passes * (maps + nnz)
        floor = max(flops / peak.flops_per_s, moved / rate) * 1e3
        forward, backward = found[cost.name]
        density = nnz / cost.weights
        layers.append(LayerTime(cost.name, nnz, density, forward, backward, floor, flops, moved))
    return layers
