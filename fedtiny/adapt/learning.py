"""Learning a wearer: steps of Adam on what a recipe trains, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from fedtiny.adapt.recipe import Recipe
from fedtiny.data.batches import batches
from fedtiny.data.samples import Samples
from fedtiny.devices.planner import plan_step
from fedtiny.engine import Executor, plan
from fedtiny.engine.layout import Layout
from fedtiny.memory.ledger import LedgerLine, MemoryPrediction
from fedtiny.memory.step import StepPlan
from fedtiny.models.parameters import ParameterKind
from fedtiny.training.sparse.meter import measure_arrays


@dataclass(frozen=True, slots=True)
class Lesson:
    """How it is learned.

    Attributes:
        steps: of the optimizer.
        batch: windows per step, ≥ 1; fewer if there are not so many.
        learning_rate: of Adam.
    """

    steps: int = 100
    batch: int = 16
    learning_rate: float = 3e-3


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What a lesson came to.

    Attributes:
        executor: with the adapted parameters.
        loss: mean over the steps, nats.
        step: that fitted the budget.
        prediction: its bytes by ledger line.
        peak_bytes: of a real step, measured.
        saved_bytes: what a forward pass leaves for the backward pass.
    """

    executor: Executor
    loss: float
    step: StepPlan
    prediction: MemoryPrediction
    peak_bytes: int
    saved_bytes: int


Held = Callable[[StepPlan, MemoryPrediction], AbstractContextManager[None]]
"""Of a planned step and its bytes: what holds a device to them."""


def learn_within(
    recipe: Recipe,
    samples: Samples,
    lesson: Lesson,
    budget_bytes: int | None,
    generator: np.random.Generator,
    held: Held = lambda *_: nullcontext(),
) -> Learned:
    """A lesson with the largest micro-batch that fits a budget; None: all windows at once.

    Args:
        recipe, samples, lesson: what is learned, of what, and how.
        budget_bytes: of a step.
        generator: of the order of windows.
        held: the steps run in what it gives for their plan.

    Raises:
        BudgetError: none does; names the ledger line.
    """
    batch = min(lesson.batch, len(samples))
    lesson = replace(lesson, batch=batch)
    step = StepPlan(batch)
    prediction = predicted(recipe, batch, batch)
    if budget_bytes is not None:
        step, prediction = fitted(recipe, batch, budget_bytes)
    with held(step, prediction):
        peak = measured_peak(recipe, samples, batch, step.micro_batch)
        executor, loss = learn(recipe, samples, lesson, step.micro_batch, generator)
    saved = saved_bytes(recipe, step.micro_batch)
    return Learned(executor, loss, step, prediction, peak, saved)


def learn(
    recipe: Recipe,
    samples: Samples,
    lesson: Lesson,
    micro_batch: int,
    generator: np.random.Generator,
) -> tuple[Executor, float]:
    """The executor after ``lesson.steps`` steps on ``samples``, and their mean loss in nats."""
    executor = Executor(
        recipe.graph, recipe.model, recipe.options(micro_batch), lr=lesson.learning_rate
    )
    epochs = -(-lesson.steps // -(-len(samples) // lesson.batch))
    order = batches(len(samples), lesson.batch, generator, epochs)
    turns = zip(range(lesson.steps), order, strict=False)
    return executor, fmean(executor.step(*samples.batch(rows)) for _, rows in turns)


def accuracy(executor: Executor, samples: Samples) -> float:
    """Share of ``samples`` that it labels correctly."""
    return correct(executor, samples) / len(samples)


def correct(executor: Executor, samples: Samples) -> int:
    """How many of ``samples`` it labels correctly."""
    found = 0
    for rows in samples.rows(executor.layout.options.micro_batch):
        x, y = samples.batch(rows)
        found += int((executor.logits(x).argmax(axis=1) == y).sum())
    return found


def fitted(recipe: Recipe, batch: int, budget_bytes: int) -> tuple[StepPlan, MemoryPrediction]:
    """The step with the largest micro-batch that fits a budget.

    Raises:
        BudgetError: none does; names the ledger line.
    """

    def ways(micro_batch: int) -> Iterator[tuple[StepPlan, MemoryPrediction]]:
        yield StepPlan(micro_batch), predicted(recipe, batch, micro_batch)

    return plan_step(ways, batch, budget_bytes)


def predicted(recipe: Recipe, batch: int, micro_batch: int) -> MemoryPrediction:
    """Bytes of a step by ledger line, batch included."""
    channels, height, width = recipe.graph.input_shape
    whole = batch * (channels * height * width * 4 + 8)
    lines = plan(recipe.graph, recipe.model.masks, recipe.options(micro_batch)).lines
    return MemoryPrediction(lines).plus({LedgerLine.BATCH: whole})


def measured_peak(recipe: Recipe, samples: Samples, batch: int, micro_batch: int) -> int:
    """Bytes of all arrays that a real step allocated, batch included."""
    x, y = samples.batch(np.arange(batch) % len(samples))
    options = recipe.options(micro_batch)
    return measure_arrays(lambda: Executor(recipe.graph, recipe.model, options), x, y)


def saved_bytes(recipe: Recipe, micro_batch: int) -> int:
    """Bytes that a forward pass leaves for the backward pass."""
    masks = recipe.model.masks
    return plan(recipe.graph, masks, recipe.options(micro_batch)).saved_bytes


def training_macs(recipe: Recipe) -> int:
    """Multiply-accumulates of one window's training pass, of the weights present.

    Forward, and once more for every layer whose weights are trained and for every layer whose
    input's gradient leads to something trained.
    """
    graph = recipe.graph
    layout = Layout(graph, recipe.model.masks, recipe.options(1))
    total = 0
    for layer in graph.layers:
        macs = layer.macs(graph.shapes[layer.input]) * layout.nnz(layer.name)
        passes = 1 + layout.trains(layer.name, ParameterKind.WEIGHT)
        total += macs // layout.size(layer.name) * (passes + (layer.input in layout.needed))
    return total
