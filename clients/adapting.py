"""A device learns of its own data, beside the finished model or in it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from clients.budget import within_budget
from clients.device import Device, kept_folder
from fedtiny.adapt.budget import budget_of
from fedtiny.adapt.learning import Learned, Lesson, correct, learn_within
from fedtiny.adapt.methods import METHODS
from fedtiny.adapt.personal import CALIBRATION_BATCH, ranges_of
from fedtiny.adapt.recipe import Recipe, Task
from fedtiny.config.adapt import AdaptUse
from fedtiny.data.samples import Samples
from fedtiny.engine import EngineOptions, Executor
from fedtiny.memory.ledger import LedgerEntry, MemoryPrediction
from fedtiny.memory.step import StepPlan
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.seeding import rng
from fedtiny.wire.adapt import AdaptResult, AdaptTask, Costs
from fedtiny.wire.calibrate import RangesResult
from fedtiny.wire.packet import Packet

_SHOWN = 64
"""Samples that a method may look at when it chooses what to train."""


def adapt(device: Device, packet: Packet) -> Packet:
    """Learn within the board's budget, or test what others learned; what it came to.

    The adapted model stays here: on a device of its own, in a file (:func:`own_model`).
    """
    task = AdaptTask.read(device.graph, packet)
    samples, tested = (
        Samples(part, task.backbone.normalization) for part in (device.data.train, device.data.test)
    )
    recipe = _recipe(device, task, samples)
    before = _correct(recipe, tested)  # the finished model's: it is where every method begins
    if task.trained is not None:
        recipe = recipe.at(task.trained)
    if not task.learn:
        ranges = RangesResult(ranges_of(recipe.graph, recipe.model, samples))
        after = _correct(recipe, tested)
        result = AdaptResult(len(samples), 0.0, len(tested), before, after, ranges=ranges)
        return result.packet(recipe.graph)
    found = _learn(device, task, recipe, samples)
    model = found.executor.model()
    shared = device.config.federation.adapt is AdaptUse.FEDERATED
    if device.real and not shared:
        _keep(device, task, recipe, found, samples)
    costs = Costs(
        found.step.micro_batch,
        found.saved_bytes,
        found.prediction.peak_bytes,
        found.peak_bytes,
    )
    after = correct(found.executor, tested)
    trained = recipe.values(model) if shared else None
    result = AdaptResult(len(samples), found.loss, len(tested), before, after, costs, trained)
    return result.packet(recipe.graph)


def own_model(device: Device) -> Path:
    """File of what a real device learned of its own user, a run's model like any other."""
    return kept_folder() / "adapted" / device.config.name / "model.safetensors"


def _recipe(device: Device, task: AdaptTask, samples: Samples) -> Recipe:
    x, y = samples.batch(np.arange(min(_SHOWN, len(samples))))
    config, method = device.config, METHODS[device.config.adapt.method]
    return method(Task(device.graph, task.backbone.model, x, y, config.seed))


def _correct(recipe: Recipe, tested: Samples) -> int:
    executor = Executor(recipe.graph, recipe.model, EngineOptions(CALIBRATION_BATCH))
    return correct(executor, tested)


def _learn(device: Device, task: AdaptTask, recipe: Recipe, samples: Samples) -> Learned:
    config = device.config.adapt
    lesson = Lesson(config.steps, config.batch_size, config.learning_rate)
    generator = rng(device.config.seed, "adapt", task.round, device.partition)
    budget = budget_of(device.config, device.partition, device.board)

    def held(step: StepPlan, needed: MemoryPrediction) -> AbstractContextManager[None]:
        device.check_free(needed)
        plan = None
        if budget is not None:
            plan = LedgerEntry(
                device.partition,
                device.board,
                budget,
                needed.peak_bytes,
                None,
                lesson.batch,
                step,
                needed.lines,
            )
        return within_budget(device, plan, recipe.model)

    return learn_within(recipe, samples, lesson, budget, generator, held)


def _keep(
    device: Device, task: AdaptTask, recipe: Recipe, found: Learned, samples: Samples
) -> None:
    model, data = found.executor.model(), device.data.train
    ranges = ranges_of(recipe.graph, model, samples)
    normalization = task.backbone.normalization
    path = own_model(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    TrainedModel(recipe.graph, model, normalization, ranges, data.labels, data.sensor).save(path)
