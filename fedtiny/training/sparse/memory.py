"""Peak memory of a training step of the sparse engine: its plan's arena, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

from fedtiny.engine import EngineOptions
from fedtiny.memory.ledger import LedgerLine, MemoryPrediction
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.sparse.tensor import Mask
from fedtiny.training.sparse.recompute import recomputing_plans

_FLOAT_BYTES = 4
_LABEL_BYTES = 8


def steps(
    graph: Graph,
    masks: Mapping[str, Mask],
    batch: int,
    options: EngineOptions,
    quotas: Mapping[str, int] | None = None,
) -> Iterator[tuple[StepPlan, MemoryPrediction]]:
    """Ways to do a step, and what each will hold: the arena and the batch.

    Args:
        graph: the model.
        masks: of the prunable layers; the arena depends on them.
        batch: samples per optimizer step, all of them resident.
        options: of the engine; the micro-batch is at most ``batch``.
        quotas: gradients of absent weights to look for, by layer; ``None`` outside adjustments.

    Yields:
        The fastest way first; each next one recomputes more and needs less memory.
    """
    batch_bytes = batch * (prod(graph.input_shape) * _FLOAT_BYTES + _LABEL_BYTES)
    for plan in recomputing_plans(graph, masks, options, quotas):
        step = StepPlan(options.micro_batch, plan.layout.options.recompute)
        yield step, MemoryPrediction(plan.lines).plus({LedgerLine.BATCH: batch_bytes})
