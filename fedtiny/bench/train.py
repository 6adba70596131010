"""``fedtiny bench train``: the same training steps dense, masked dense and sparse, in turn."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from typing import Any

from fedtiny.bench.contenders import Steps, contenders
from fedtiny.bench.roofline import Peak, measure_peak
from fedtiny.bench.workload import Workload
from fedtiny.engine import EngineOptions, available, unavailable_reason
from fedtiny.engine.library import load
from fedtiny.errors import FedTinyError
from fedtiny.training.sparse.recompute import recomputing_plans

REPEATS = 15
"""Timed steps of each contender."""

_WARM_UP = 2
_SETTLED_S = 0.3
"""Seconds of untimed steps, where there are several threads: OpenMP's spin after their work, some
runtimes' for 0.2 s, on cores that others need; threads that slept share a core for a while."""


@dataclass(frozen=True)
class TrainBenchmark:
    """What was measured.

    Attributes:
        work: what was done.
        repeats: timed steps of each contender.
        ms: median milliseconds of a step (batch copy, forward, loss, backward, optimizer), by
            contender.
        cpu_ms: median CPU milliseconds of the same steps, all threads together.
        peak_bytes: measured peak of a step, everything counted, by contender.
        flops: that a step executes, by contender.
        peak: this machine's multiply-add rate on the same number of threads.
        recompute: layers that ``sparse_recompute`` computes twice; ``None`` if not asked for.
    """

    work: Workload
    repeats: int
    ms: Mapping[str, float]
    cpu_ms: Mapping[str, float]
    peak_bytes: Mapping[str, int]
    flops: Mapping[str, int]
    peak: Peak
    recompute: tuple[str, ...] | None

    @property
    def speedup(self) -> float:
        """Dense time / sparse time."""
        return self.ms["dense"] / self.ms["sparse"]

    @property
    def busy(self) -> bool:
        """Whether a contender got less than 90 % of one core: other work was in the way."""
        return any(self.cpu_ms[name] < 0.9 * self.ms[name] for name in self.ms)

    @property
    def roofline_share(self) -> dict[str, float]:
        """Executed FLOPs per second / the machine's, by contender."""
        rates = {name: self.flops[name] / (ms / 1e3) for name, ms in self.ms.items()}
        return {name: rate / self.peak.flops_per_s for name, rate in rates.items()}

    def json(self) -> dict[str, Any]:
        """Plain values, keys with their units."""
        work = self.work
        return {
            "model": work.name,
            "input": list(work.graph.input_shape),
            "classes": work.graph.classes,
            "density": round(work.sparse.density, 6),
            "batch": work.batch,
            "micro_batch": work.micro_batch,
            "threads": work.threads,
            "repeats": self.repeats,
            "instruction_set": load().instruction_sets[0],
            "ms": _rounded(self.ms, 4),
            "cpu_ms": _rounded(self.cpu_ms, 4),
            "samples_per_s": _rounded({k: work.batch / v * 1e3 for k, v in self.ms.items()}, 1),
            "speedup": round(self.speedup, 3),
            "peak_bytes": dict(self.peak_bytes),
            "memory_ratio": round(self.peak_bytes["sparse"] / self.peak_bytes["dense"], 4),
            "fma_peak_gflop_per_s": round(self.peak.flops_per_s / 1e9, 1),
            "fma_peak_source": self.peak.source,
            "roofline_share": _rounded(self.roofline_share, 4),
            "recompute": None if self.recompute is None else sorted(self.recompute),
        }


def _rounded(values: Mapping[str, float], digits: int) -> dict[str, float]:
    return {name: round(value, digits) for name, value in values.items()}


def bench_train(work: Workload, repeats: int = REPEATS, recompute: bool = False) -> TrainBenchmark:
    """Time and meter a workload.

    The contenders take turns, so that whatever else the machine does falls on all. A turn is one
    step that brings the trainer's memory back into the caches, then a timed one: in training, step
    follows step.

    Args:
        work: what to do.
        repeats: timed steps of each contender, ≥ 1.
        recompute: also the sparse engine with the convolutions recomputed that save most memory.

    Raises:
        FedTinyError: the engine or PyTorch is missing.
    """
    check(repeats)
    layers = None
    if recompute:
        options = EngineOptions(work.micro_batch, work.threads)
        *_, smallest = recomputing_plans(work.graph, work.sparse.masks, options)
        layers = smallest.layout.options.recompute
    rivals = contenders(work, layers)
    peak = measure_peak(work.threads)
    times = alternate(work, {name: rival.make() for name, rival in rivals.items()}, repeats)
    return TrainBenchmark(
        work=work,
        repeats=repeats,
        ms={name: median(wall for wall, _ in times[name]) for name in rivals},
        cpu_ms={name: median(cpu for _, cpu in times[name]) for name in rivals},
        peak_bytes={name: rival.measure() for name, rival in rivals.items()},
        flops={name: rival.flops for name, rival in rivals.items()},
        peak=peak,
        recompute=layers,
    )


def check(repeats: int) -> None:
    """Raise FedTinyError unless the engine and PyTorch are there to be timed."""
    if repeats < 1:
        raise FedTinyError("--repeats starts at 1")
    if not available():
        raise FedTinyError(f"the sparse engine is not available: {unavailable_reason()}")
    if find_spec("torch") is None:
        raise FedTinyError("the benchmark's rivals need PyTorch: pip install 'fedtiny[train]'")


def alternate(
    work: Workload, trainers: Mapping[str, Steps], repeats: int
) -> dict[str, list[tuple[float, float]]]:
    """(wall, CPU) milliseconds of every timed step, by contender."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in trainers}
    with _no_garbage_collection():
        for turn in range(-_WARM_UP, repeats):
            for name, trainer in trainers.items():
                _warm(work, trainer, turn)
                elapsed = _timed_step(work, trainer, turn)
                if turn >= 0:
                    times[name].append(elapsed)
    return times


def _warm(work: Workload, trainer: Steps, turn: int) -> None:
    """Bring a trainer's memory into the caches, and its threads onto cores of their own."""
    settled = time.perf_counter() + (_SETTLED_S if work.threads > 1 else 0)
    _timed_step(work, trainer, turn)
    while time.perf_counter() < settled:
        _timed_step(work, trainer, turn)


def _timed_step(work: Workload, trainer: Steps, turn: int) -> tuple[float, float]:
    chosen = work.chosen(turn)
    cpu, wall = time.process_time(), time.perf_counter()
    trainer.step(work.x[chosen], work.y[chosen])
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
