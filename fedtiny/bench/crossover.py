"""``fedtiny bench crossover``: one layer's passes with dense and with sparse kernels, in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from rich import box
from rich.table import Column, Table

from fedtiny.engine import EngineOptions, Executor, available, unavailable_reason
from fedtiny.engine.abi import Kind
from fedtiny.engine.options import CROSSOVER_DENSITY
from fedtiny.engine.plan import Which
from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import Screen
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.ops import INPUT, Conv, Linear, Pool, Shape
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Floats, Mask
from fedtiny.training.trainer import Labels

DENSITIES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.1)
REPEATS = 9
"""Timed steps of each kernel at each density."""

_NEVER = 2.0


@dataclass(frozen=True)
class Case:
    """A layer as it occurs in a model, and the micro-batch it is trained with."""

    title: str
    input_shape: Shape
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    batch: int

    def graph(self) -> Graph:
        """The layer between one that makes its input need a gradient, and a classifier."""
        channels = self.input_shape[0]
        padding = (self.kernel[0] // 2, self.kernel[1] // 2)
        return Graph(
            "crossover",
            self.input_shape,
            (
                Conv("first", INPUT, channels, channels, (1, 1), groups=channels, prunable=False),
                Conv(
                    "layer", "first", channels, self.out_channels, self.kernel, self.stride,
                    padding, block="layer",
                ),
                Pool("pool", "layer"),
                Linear("classifier", "pool", self.out_channels, 2, prunable=False),
            ),
        )  # fmt: skip

    def model(self, density: float) -> SparseModel:
        """Fresh parameters; the layer keeps ``density`` of its weights, at random positions."""
        graph, masks = self.graph(), {}
        for layer in graph.prunable_layers:
            held = rng(0, "crossover mask").random(layer.weight_shape) < density
            masks[layer.name] = Mask(layer.weight_shape, np.flatnonzero(held).astype(np.int32))
        return from_state(graph, initial_state(graph, rng(0, "crossover weights")), masks)


CASES = (
    Case("16×28×28 3×3", (16, 28, 28), 16, (3, 3), (1, 1), 64),
    Case("32×14×14 3×3/2", (32, 14, 14), 64, (3, 3), (2, 2), 64),
    Case("64×7×7 3×3", (64, 7, 7), 64, (3, 3), (1, 1), 64),
    Case("64×32×32 3×3", (64, 32, 32), 64, (3, 3), (1, 1), 16),
    Case("128×16×16 3×3/2", (128, 16, 16), 256, (3, 3), (2, 2), 16),
    Case("256×8×8 3×3", (256, 8, 8), 256, (3, 3), (1, 1), 16),
    Case("128×16×16 1×1/2", (128, 16, 16), 256, (1, 1), (2, 2), 16),
    Case("64×25×5 1×1", (64, 25, 5), 64, (1, 1), (1, 1), 16),
    Case("32×1×128 1×5", (32, 1, 128), 64, (1, 5), (1, 1), 8),
    Case("64×1×32 1×5", (64, 1, 32), 96, (1, 5), (1, 1), 8),
)
"""Layers of ResNet-8, ResNet-18, the DS-CNN and the smart-watch model."""


@dataclass(frozen=True)
class Row:
    """Milliseconds of one layer's forward and backward pass, the fastest of each.

    Attributes:
        case: which layer.
        density: nnz / weights.
        sparse_ms, dense_ms: (forward, backward).
    """

    case: Case
    density: float
    sparse_ms: tuple[float, float]
    dense_ms: tuple[float, float]

    @property
    def gain(self) -> float:
        """Sparse time / dense time, both passes together."""
        return sum(self.sparse_ms) / sum(self.dense_ms)

    def json(self) -> dict[str, Any]:
        """Plain values, keys with their units."""
        return {
            "layer": self.case.title,
            "batch": self.case.batch,
            "density": self.density,
            "sparse_ms": _named(self.sparse_ms),
            "dense_ms": _named(self.dense_ms),
            "gain": round(self.gain, 3),
        }


def _named(ms: tuple[float, float]) -> dict[str, float]:
    return {"forward": round(ms[0], 4), "backward": round(ms[1], 4)}


@dataclass(frozen=True)
class CrossoverBenchmark:
    """What was measured: a row per layer and density."""

    rows: tuple[Row, ...]

    @property
    def crossover(self) -> dict[str, float]:
        """By layer: the density where dense kernels begin to gain, between those measured."""
        titles = dict.fromkeys(row.case.title for row in self.rows)
        return {title: _crossing(self.of(title)) for title in titles}

    @property
    def middle(self) -> float:
        """The layers' median crossover density."""
        return median(self.crossover.values())

    def of(self, title: str) -> list[Row]:
        """A layer's rows."""
        return [row for row in self.rows if row.case.title == title]

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "rows": [row.json() for row in self.rows],
            "crossover": {title: round(d, 3) for title, d in self.crossover.items()},
            "median_crossover": round(self.middle, 3),
            "crossover_in_use": CROSSOVER_DENSITY,
        }


def bench_crossover(
    cases: Sequence[Case] = CASES,
    densities: Sequence[float] = DENSITIES,
    repeats: int = REPEATS,
) -> CrossoverBenchmark:
    """Time every case at every density with both kernels.

    Raises:
        FedTinyError: the engine is missing.
    """
    if repeats < 1:
        raise FedTinyError("--repeats starts at 1")
    if not available():
        raise FedTinyError(f"the sparse engine is not available: {unavailable_reason()}")
    return CrossoverBenchmark(
        tuple(_measure(case, density, repeats) for case in cases for density in densities)
    )


def _measure(case: Case, density: float, repeats: int) -> Row:
    graph, model = case.graph(), case.model(density)
    x = rng(0, "crossover x").standard_normal((case.batch, *case.input_shape)).astype(np.float32)
    y = np.zeros(case.batch, np.int64)
    executors = [
        Executor(graph, model, EngineOptions(case.batch, crossover=c)) for c in (_NEVER, 0)
    ]
    fastest = [(np.inf, np.inf), (np.inf, np.inf)]
    for _ in range(repeats):
        for which, executor in enumerate(executors):
            executor.step(x, y)  # brings its memory back into the caches
            forward, backward = _timed_passes(executor, x, y)
            fastest[which] = (min(fastest[which][0], forward), min(fastest[which][1], backward))
    return Row(case, density, *fastest)


def _timed_passes(executor: Executor, x: Floats, y: Labels) -> tuple[float, float]:
    """Milliseconds of the layer's forward and backward pass within one step."""
    steps = executor.plan.programs[Which.TRAIN].steps
    executor.seconds = np.zeros(len(steps))
    executor.step(x, y)
    ms = {step.kind: s * 1e3 for step, s in zip(steps, executor.seconds, strict=True)
          if step.node == "layer"}  # fmt: skip
    return float(ms[Kind.CONV]), float(ms[Kind.CONV_GRAD])


def _crossing(rows: Sequence[Row]) -> float:
    """Where the gain passes 1, linear between neighbouring densities; 0 or 1 if nowhere."""
    falling = sorted(rows, key=lambda row: -row.density)
    if falling[0].gain < 1:
        return 1.0
    for above, below in pairwise(falling):
        if below.gain < 1:
            share = (above.gain - 1) / (above.gain - below.gain)
            return above.density - share * (above.density - below.density)
    return 0.0


def print_crossover(result: CrossoverBenchmark) -> None:
    """Gains by layer and density, and where each layer's passes 1."""
    densities = list(dict.fromkeys(row.density for row in result.rows))
    table = Table(
        Column(no_wrap=True), *(f"{density:.0%}" for density in densities), "cross",
        title="Time with sparse kernels / with dense kernels, forward + backward, by density",
        box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left",
    )  # fmt: skip
    for title, crossover in result.crossover.items():
        gains = (f"{row.gain:.2f}" for row in result.of(title))
        table.add_row(title, *gains, f"{crossover:.2f}")
    console = Screen()
    console.print(table)
    console.print(
        f"Dense kernels gain from a density of {result.middle:.2f} on (median of the layers); "
        f"in use: {CROSSOVER_DENSITY}.",
    )
