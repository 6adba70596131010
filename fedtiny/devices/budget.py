"""A run's training engine, and a device's plan to go through a step within its budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod

import numpy as np

from fedtiny.config import RunConfig
from fedtiny.devices.fleet import profile_of
from fedtiny.devices.planner import BudgetError, plan_device
from fedtiny.memory.ledger import LedgerEntry, LedgerLine, MemoryPrediction, format_bytes
from fedtiny.memory.step import StepPlan
from fedtiny.models.cost import parameter_count
from fedtiny.models.graph import Graph
from fedtiny.models.narrow import FLOAT_BYTES
from fedtiny.sparse.densities import layer_counts, uniform
from fedtiny.sparse.tensor import Mask
from fedtiny.training.choice import engine_for
from fedtiny.training.engine import TrainingEngine


def engine_of(config: RunConfig) -> TrainingEngine:
    """The engine that trains a run.

    Raises:
        FedTinyError: as :func:`fedtiny.training.choice.engine_for`.
    """
    method = config.method
    return engine_for(config.training, density=method.density, saved_density=method.saved_density)


def memory_plan(
    config: RunConfig,
    graph: Graph,
    partition: int,
    board: str,
    masks: Mapping[str, Mask] | None = None,
    quotas: Mapping[str, int] | None = None,
    minimum: int = 1,
    headroom: float = 0.0,
) -> LedgerEntry | None:
    """The step that fits ``board`` with the largest micro-batch, and what it will need.

    Args:
        config: batch size, density, engine and budget overrides.
        graph: the model.
        partition: whose budget override applies.
        board: catalogue name; empty for a client without a budget, whose plan is ``None``.
        masks: of the prunable layers; by default uniform ones of the config's density, which is
            what is known before the first task.
        quotas: gradients of absent weights asked for; by default the most the run ever will.
        minimum: smallest micro-batch allowed, or the batch where that is smaller.
        headroom: share of the budget that the plan leaves free.

    Raises:
        BudgetError: nothing fits, or the board does not train; names the ledger line.
        FedTinyError: no such board.
    """
    if not board:
        return None
    profile = profile_of(config, partition, board)
    budget = config.devices.budget_bytes.get(partition, profile.training_budget_bytes)
    batch = config.training.batch_size
    steps = _steps(config, graph, masks, quotas)
    least = min(minimum, batch)
    step, prediction = plan_device(
        profile, steps, batch, budget_bytes=int(budget * (1 - headroom)), minimum=least
    )
    return LedgerEntry(
        partition=partition,
        device=profile.name,
        budget_bytes=budget,
        predicted_peak_bytes=prediction.peak_bytes,
        measured_peak_bytes=None,
        batch=batch,
        step=step,
        lines=prediction.lines,
    )


def unplanned_bytes(
    config: RunConfig,
    graph: Graph,
    masks: Mapping[str, Mask] | None = None,
    quotas: Mapping[str, int] | None = None,
) -> MemoryPrediction:
    """What a step of a device without a budget needs: all the batch at once."""
    _, needed = next(_steps(config, graph, masks, quotas)(config.training.batch_size))
    return needed


def check_free(needed: MemoryPrediction, free_bytes: int, who: str) -> None:
    """See that a step that was planned fits the memory that there really is.

    It is refused, not made smaller: what else runs on a device must not change what it computes.

    Args:
        needed: of the step.
        free_bytes: that the device could still take.
        who: the device, for the message.

    Raises:
        BudgetError: it does not; names the ledger line.
    """
    excess, line = needed.peak_bytes - free_bytes, needed.dominating_line
    if excess > 0:
        raise BudgetError(
            f"{who}: a training step needs {format_bytes(needed.peak_bytes)}, but only "
            f"{format_bytes(free_bytes)} of its memory is free now; its largest ledger line is "
            f"{line.value} ({format_bytes(needed.lines[line])}). Stop other programs, raise the "
            "limit of its service (MemoryMax), or plan for less: devices.budget_bytes",
            line,
            excess,
        )


def _steps(
    config: RunConfig,
    graph: Graph,
    masks: Mapping[str, Mask] | None,
    quotas: Mapping[str, int] | None,
) -> Callable[[int], Iterator[tuple[StepPlan, MemoryPrediction]]]:
    """Ways to do a step, by micro-batch, with what is held beside it."""
    engine, batch = engine_of(config), config.training.batch_size
    held = masks if masks is not None else nominal_masks(config, graph)
    asked = quotas if quotas is not None else largest_request(config, graph)
    copies = _received_bytes(config, graph, held)

    def steps(micro_batch: int) -> Iterator[tuple[StepPlan, MemoryPrediction]]:
        for step, needed in engine.steps(graph, held, batch, micro_batch, asked):
            yield step, needed.plus(copies)

    return steps


def _received_bytes(
    config: RunConfig, graph: Graph, masks: Mapping[str, Mask]
) -> dict[LedgerLine, int]:
    """The received parameters that FedProx keeps beside the trained ones."""
    if not config.training.proximal_mu:
        return {}
    absent = sum(mask.size - mask.nnz for mask in masks.values())
    kept = parameter_count(graph) - (0 if engine_of(config).holds_zeros else absent)
    return {LedgerLine.OPTIMIZER: FLOAT_BYTES * kept}


def nominal_masks(config: RunConfig, graph: Graph, density: float | None = None) -> dict[str, Mask]:
    """Masks of ``density``, by default the config's, in every prunable layer, evenly spread.

    They are full for a method that has devices hold every weight, if only for one step.
    """
    density = config.pruning.density if density is None else density
    density = 1.0 if config.method.dense_step else density
    sizes = {layer.name: prod(layer.weight_shape) for layer in graph.prunable_layers}
    counts = layer_counts(uniform(sizes, density), sizes)
    return {
        layer.name: Mask(layer.weight_shape, _spread(counts[layer.name], sizes[layer.name]))
        for layer in graph.prunable_layers
    }


def _spread(count: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return (np.arange(count, dtype=np.int64) * size // count).astype(np.int32)


def largest_request(
    config: RunConfig, graph: Graph, masks: Mapping[str, Mask] | None = None
) -> dict[str, int]:
    """The quotas of the adjustment that asks for most gradients; empty if nothing is adjusted.

    Masks are :func:`nominal_masks` if none are given.
    """
    method = config.method
    if not method.adjusts:
        return {}
    masks = nominal_masks(config, graph) if masks is None else masks
    return dict(method.device.largest_request(method.schedule, graph, masks))
