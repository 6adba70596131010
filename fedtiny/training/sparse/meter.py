"""Measured memory of the sparse engine: every array it really allocated, after a real step."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Protocol

import numpy as np

from fedtiny.engine import EngineOptions
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import Floats
from fedtiny.training.sparse.trainer import EngineTrainer
from fedtiny.training.trainer import Labels, SgdConfig


def measure_training_step(
    graph: Graph,
    model: SparseModel,
    sgd: SgdConfig,
    x: Floats,
    y: Labels,
    options: EngineOptions,
) -> int:
    """Bytes of all arrays alive after a training step, batch included.

    Args:
        graph, model, sgd, options: as for ``EngineTrainer``.
        x: one batch, float32 (N, C, H, W).
        y: int64 (N,).
    """
    return measure_arrays(lambda: EngineTrainer(graph, model, sgd, options), x, y)


class Steps(Protocol):
    """What can be measured: an ``EngineTrainer``, an ``Executor``."""

    def step(self, x: Floats, y: Labels) -> float:
        """One optimizer step on a batch."""


def measure_arrays(start: Callable[[], Steps], x: Floats, y: Labels) -> int:
    """Bytes of all arrays alive after the first step of what ``start`` makes, batch included.

    The engine allocates before its first step and frees nothing after it, so what is alive then
    is the peak. numpy reports its allocations to ``tracemalloc`` under a domain of its own: this
    counts what was asked of the allocator, not what a plan says. Interpreter objects, which a
    device without Python does not have, are not counted.

    Args:
        start: makes the trainer, every array of it.
        x: one batch, float32 (N, C, H, W).
        y: int64 (N,).
    """
    tracemalloc.start()
    try:
        trainer = start()
        batch, labels = x.copy(), y.copy()
        trainer.step(batch, labels)
        arrays = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
        snapshot = tracemalloc.take_snapshot().filter_traces([arrays])
        return sum(statistic.size for statistic in snapshot.statistics("filename"))
    finally:
        tracemalloc.stop()
