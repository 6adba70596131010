"""Whether the boards of a run can adapt its model, before the run."""

from __future__ import annotations

import numpy as np

from fedtiny.adapt.budget import budget_of
from fedtiny.adapt.learning import fitted
from fedtiny.adapt.methods import METHODS
from fedtiny.adapt.recipe import Recipe, Task
from fedtiny.bench import synthetic
from fedtiny.config import RunConfig
from fedtiny.config.adapt import AdaptUse
from fedtiny.errors import FedTinyError
from fedtiny.models.graph import Graph


def unable_to_adapt(config: RunConfig, graph: Graph) -> dict[int, str]:
    """By partition, why its board cannot do a step of ``adapt.method``; empty if all can.

    Empty, too, where devices have parts of the model: then each refuses for itself, and goes on.

    Args:
        config: of the run.
        graph: the model; its weights are drawn, and only their number matters.

    Raises:
        AdaptError: the model cannot be adapted at all.
    """
    if config.federation.adapt is AdaptUse.OFF or config.has_parts:
        return {}
    recipe, reasons = _recipe(config, graph), dict[int, str]()
    why = dict[int, str]()
    for partition in range(config.data.partitions):
        board = config.devices.board(partition)
        budget = budget_of(config, partition, board)
        if budget is None:
            continue
        if budget not in why:
            why[budget] = _refusal(recipe, config.adapt.batch_size, budget)
        if why[budget]:
            reasons[partition] = f"{board} cannot adapt by {config.adapt.method}: {why[budget]}"
    return reasons


def _recipe(config: RunConfig, graph: Graph) -> Recipe:
    x, y = np.zeros((1, *graph.input_shape), np.float32), np.zeros(1, np.int64)
    model = synthetic.float_model(graph, config.method.density)
    return METHODS[config.adapt.method](Task(graph, model, x, y, config.seed))


def _refusal(recipe: Recipe, batch: int, budget: int) -> str:
    try:
        fitted(recipe, batch, budget)
    except FedTinyError as error:
        return str(error)
    return ""
