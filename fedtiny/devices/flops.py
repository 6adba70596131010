"""FLOPs that a device executes in a round: what its simulated time is made of."""

from __future__ import annotations

from collections.abc import Mapping

from fedtiny.config import RunConfig
from fedtiny.devices.budget import engine_of
from fedtiny.memory.step import StepPlan
from fedtiny.models.cost import adjustment_flops, layer_costs, training_flops
from fedtiny.models.graph import Graph


def round_flops(
    config: RunConfig,
    graph: Graph,
    present: Mapping[str, int],
    samples: int,
    step: StepPlan,
    quotas: Mapping[str, int],
) -> int:
    """FLOPs of one device's local training: 6 per multiply-accumulate that is not left out.

    Convolutions that are recomputed run forward twice; a round that adjusts masks has one batch
    more. An engine that holds zeros multiplies them, too.

    Args:
        config: epochs, batch size and engine.
        graph: the model.
        present: weights there are, by prunable layer.
        samples: that the device trains on.
        step: how it goes through one step.
        quotas: gradients of absent weights asked for, by layer.
    """
    nnz = {} if engine_of(config).holds_zeros else present
    per_sample = training_flops(graph, nnz) + _recomputed(graph, nnz, step)
    flops = config.training.epochs * samples * per_sample
    if quotas:
        batch = min(config.training.batch_size, samples)
        flops += batch * adjustment_flops(graph, present, list(quotas))
    return flops


def _recomputed(graph: Graph, nnz: Mapping[str, int], step: StepPlan) -> int:
    """Forward FLOPs of one sample that are executed a second time."""
    return sum(
        2 * (cost.macs // cost.weights) * nnz.get(cost.name, cost.weights)
        for cost in layer_costs(graph)
        if cost.name in step.recompute
    )
