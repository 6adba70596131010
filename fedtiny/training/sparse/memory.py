"""Peak memory of a training step of the sparse engine: its plan's arena, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import count
from math import prod

import numpy as np

from fedtiny.engine import EngineOptions
from fedtiny.memory.ledger import LedgerLine, MemoryPrediction
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.sparse.tensor import Mask
from fedtiny.training.sparse.recompute import recomputing_plans

_FLOAT_BYTES = 4
_LABEL_BYTES = 8


Way = tuple[StepPlan, MemoryPrediction]


def steps(
    graph: Graph,
    masks: Mapping[str, Mask],
    batch: int,
    options: EngineOptions,
    quotas: Mapping[str, int] | None = None,
) -> Iterator[Way]:
    """Ways to do a step, and what each will hold: the arena and the batch.

    Args:
        graph: the model.
        masks: of the prunable layers; only how many weights each has matters, so that what was
            planned once serves every round and every device that trains as many.
        batch: samples per optimizer step, all of them resident.
        options: of the engine; the micro-batch is at most ``batch``.
        quotas: gradients of absent weights to look for, by layer; ``None`` outside adjustments.

    Yields:
        The fastest way first; each next one recomputes more and needs less memory.
    """
    nnz = tuple((name, mask.nnz) for name, mask in masks.items())
    asked = None if quotas is None else tuple(quotas.items())
    return iter(_ways(graph, nnz, batch, options, asked))


class _Ways:
    """What a generator yields, kept for whoever asks again, and made only as far as asked for."""

    def __init__(self, source: Iterator[Way]) -> None:
        self._source = source
        self._known: list[Way] = []

    def __iter__(self) -> Iterator[Way]:
        for position in count():
            if position == len(self._known):
                found = next(self._source, None)
                if found is None:
                    return
                self._known.append(found)
            yield self._known[position]


@lru_cache(maxsize=256)
def _ways(
    graph: Graph,
    nnz: tuple[tuple[str, int], ...],
    batch: int,
    options: EngineOptions,
    quotas: tuple[tuple[str, int], ...] | None,
) -> _Ways:
    masks = {
        name: Mask(graph.layer(name).weight_shape, np.arange(n, dtype=np.int32)) for name, n in nnz
    }
    return _Ways(_planned(graph, masks, batch, options, None if quotas is None else dict(quotas)))


def _planned(
    graph: Graph,
    masks: Mapping[str, Mask],
    batch: int,
    options: EngineOptions,
    quotas: Mapping[str, int] | None,
) -> Iterator[Way]:
    batch_bytes = batch * (prod(graph.input_shape) * _FLOAT_BYTES + _LABEL_BYTES)
    for plan in recomputing_plans(graph, masks, options, quotas):
        step = StepPlan(options.micro_batch, plan.layout.options.recompute)
        yield step, MemoryPrediction(plan.lines).plus({LedgerLine.BATCH: batch_bytes})
