"""The contract of every way to adapt: where it starts, what it changes, what it saves."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from builders import batch_of, random_model

from fedtiny.adapt.folding import folded
from fedtiny.adapt.methods import METHODS
from fedtiny.adapt.recipe import AdaptError, Recipe, Task, head_parameters
from fedtiny.config.adapt import MethodName
from fedtiny.engine import Executor, available, plan
from fedtiny.models import build
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Pool
from fedtiny.models.parameters import ParameterKind
from fedtiny.training.sparse.meter import measure_arrays

pytestmark = pytest.mark.skipif(not available(), reason="the engine is not compiled here")

SHAPES = {"smartwatch_cnn": ((6, 1, 128), 7), "resnet8": ((1, 28, 28), 10)}
LADDER = (MethodName.REPNET_ONE_WAY, MethodName.HEAD)


@cache
def task_of(name: str) -> Task:
    graph = build(name, *SHAPES[name])
    model = random_model(graph, 0.05)
    x, y = batch_of(graph, 8)
    return Task(graph, model, x, y, 0)


@cache
def recipe_of(name: str, method: MethodName) -> Recipe:
    return METHODS[method](task_of(name))


each = pytest.mark.parametrize("method", list(MethodName))
both = pytest.mark.parametrize("name", list(SHAPES))


@both
@each
def test_it_starts_at_the_finished_model_changes_what_it_says_and_learns(name, method):
    task, recipe = task_of(name), recipe_of(name, method)
    executor = Executor(recipe.graph, recipe.model, recipe.options(8), lr=3e-3)
    backbone = Executor(
        *folded(task.graph, task.model), Recipe(*folded(task.graph, task.model), None).options(8)
    )
    before = executor.logits(task.x)
    if method is MethodName.FULL:
        np.testing.assert_allclose(before, backbone.logits(task.x), rtol=1e-3, atol=1e-3)
    else:
        np.testing.assert_array_equal(before, backbone.logits(task.x))
    losses = [executor.step(task.x, task.y) for _ in range(12)]
    assert losses[-1] < losses[0]
    assert_only_trained_changed(recipe, executor)


def assert_only_trained_changed(recipe: Recipe, executor: Executor) -> None:
    after, changed = executor.model(), set()
    for key, values in recipe.model.to_dense().items():
        if not np.array_equal(values, after.to_dense()[key]):
            changed.add(key)
    statistics = {row.name for row in recipe.graph.statistics}
    allowed = (
        {row.name for row in recipe.graph.parameters}
        if recipe.trained is None
        else {*recipe.trained}
    )
    assert changed - statistics <= allowed
    assert set(head_parameters(recipe.graph)) <= changed
    assert len(changed) > len(allowed) / 2
    for layer, mask in recipe.model.masks.items():
        np.testing.assert_array_equal(after.masks[layer].indices, mask.indices)


@both
@each
def test_what_is_planned_is_allocated(name, method):
    task, recipe = task_of(name), recipe_of(name, method)
    options = recipe.options(8)
    planned = plan(recipe.graph, recipe.model.masks, options)
    measured = measure_arrays(lambda: Executor(recipe.graph, recipe.model, options), task.x, task.y)
    assert measured == planned.arena_bytes + task.x.nbytes + task.y.nbytes


@both
@pytest.mark.parametrize("method", [MethodName.REPNET, MethodName.REPNET_ONE_WAY])
def test_rep_net_saves_a_quarter_and_peaks_at_half_of_full_training(name, method):
    """Batches of 16: batch norm must see all of them at once, what has none four at a time."""

    def planned(which: MethodName, micro_batch: int):
        recipe = recipe_of(name, which)
        return plan(recipe.graph, recipe.model.masks, recipe.options(micro_batch))

    full = planned(MethodName.FULL, 16)
    assert planned(method, 16).saved_bytes <= full.saved_bytes / 4
    assert planned(method, 16).arena_bytes < full.arena_bytes
    assert planned(method, 4).arena_bytes <= full.arena_bytes / 2


@pytest.mark.parametrize("method", [m for m in MethodName if m is not MethodName.FULL])
def test_micro_batches_change_no_gradient(method):
    task, recipe = task_of("smartwatch_cnn"), recipe_of("smartwatch_cnn", method)
    found = []
    for micro_batch in (8, 4):
        executor = Executor(recipe.graph, recipe.model, recipe.options(micro_batch))
        executor.backward(task.x, task.y)
        found.append(executor.gradients())
    for key, grad in found[0].items():
        scale = np.abs(grad).max() + 1e-12
        np.testing.assert_allclose(found[1][key], grad, rtol=0, atol=1e-5 * scale, err_msg=key)


def test_no_gradient_of_the_ladder_enters_the_backbone():
    recipe = recipe_of("smartwatch_cnn", MethodName.REPNET_ONE_WAY)
    layout = Executor(recipe.graph, recipe.model, recipe.options(4)).layout
    assert not {f"conv{i}" for i in range(1, 5)} & layout.needed


def test_fisher_stays_within_its_budget():
    task = task_of("smartwatch_cnn")
    recipe = recipe_of("smartwatch_cnn", MethodName.FISHER)
    full = recipe_of("smartwatch_cnn", MethodName.FULL)
    saved = plan(recipe.graph, recipe.model.masks, recipe.options(8)).saved_bytes
    assert saved <= plan(full.graph, full.model.masks, full.options(8)).saved_bytes / 4
    assert recipe.trained
    assert len(recipe.trained) > len(head_parameters(task.graph))


def test_a_model_without_linear_classifier_is_refused():
    graph = Graph("odd", (2, 1, 8), (Conv("a", INPUT, 2, 3, (1, 3)), Pool("pool", "a")))
    task = Task(graph, random_model(graph, 0.5), *batch_of(graph, 2), 0)
    for method in MethodName:
        with pytest.raises(AdaptError, match="no linear layer"):
            METHODS[method](task)
    assert ParameterKind.BIAS.of("a") not in {row.name for row in graph.parameters}
