"""Layers chosen by Fisher information under a budget of saved bytes (after TinyTrain, 2307.09988).

A layer's potential is the sum of its weights' squared gradients on the wearer's own windows, per
weight; measured a layer at a time, so that choosing takes no more memory than training one. The
layers with most potential are trained that fit a quarter of what full training saves. The paper
also weighs by multiplications and chooses channels.
"""

from __future__ import annotations

import numpy as np

from fedtiny.adapt.folding import folded
from fedtiny.adapt.recipe import Recipe, Task, head_parameters
from fedtiny.engine import Executor, plan
from fedtiny.models.graph import Graph
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel

SHARE = 0.25
"""Of the bytes that full training saves for the backward pass."""
BATCH = 8
"""Of the plans that are compared, and of the windows that gradients are taken of."""


def prepare(task: Task) -> Recipe:
    """The folded model; the layers of most potential, and the last one, trained."""
    graph, model = folded(task.graph, task.model)
    chosen = head_parameters(graph)
    whole = Recipe(task.graph, task.model, None).options(BATCH)
    budget = SHARE * plan(task.graph, task.model.masks, whole).saved_bytes
    layers = [layer.name for layer in graph.layers[:-1]]
    for layer in sorted(layers, key=lambda name: -_potential(task, graph, model, name)):
        more = (ParameterKind.WEIGHT.of(layer), ParameterKind.BIAS.of(layer), *chosen)
        options = Recipe(graph, model, more).options(BATCH)
        if plan(graph, model.masks, options).saved_bytes <= budget:
            chosen = more
    return Recipe(graph, model, chosen)


def _potential(task: Task, graph: Graph, model: SparseModel, layer: str) -> float:
    weight = ParameterKind.WEIGHT.of(layer)
    executor = Executor(graph, model, Recipe(graph, model, (weight,)).options(BATCH))
    total, size = 0.0, 1
    for first in range(0, len(task.x), BATCH):
        part = slice(first, first + BATCH)
        executor.backward(task.x[part], task.y[part])
        gradient = executor.gradients()[weight].astype(np.float64)
        total, size = total + float((gradient**2).sum()), max(1, gradient.size)
    return total / size
