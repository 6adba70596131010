"""A finished run's model, adapted to one wearer's recordings."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fedtiny.adapt.budget import budget_bytes
from fedtiny.adapt.learning import (
    Lesson,
    accuracy,
    learn_within,
    training_macs,
)
from fedtiny.adapt.methods import METHODS
from fedtiny.adapt.outcome import Outcome
from fedtiny.adapt.recipe import Task
from fedtiny.adapt.recordings import Recordings, read_recordings, split, windows
from fedtiny.config.adapt import MethodName
from fedtiny.data.samples import Samples
from fedtiny.devices.profile import DeviceProfile
from fedtiny.engine import EngineOptions, Executor
from fedtiny.engine.state import parameter_sizes
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.seeding import rng
from fedtiny.training.trainer import Ranges

CALIBRATION_BATCH = 4
"""Windows at a time when ranges are taken, after learning: forward passes alone need less."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to do.

    Attributes:
        data: the wearer's recordings, see :mod:`fedtiny.adapt.recordings`.
        method: what to train.
        of_each: recordings of each class to learn from; None: all but the last one.
        stride: readings between the starts of windows; None: half a window.
        lesson: how to learn.
        seed: of the order of windows and of new weights.
    """

    data: Path
    method: MethodName
    of_each: int | None = None
    stride: int | None = None
    lesson: Lesson = field(default_factory=Lesson)
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Adapted:
    """The result.

    Attributes:
        trained: the adapted model, ranges of its tensors included: it can be exported.
        outcome: what it did and cost.
        held_out: windows that it did not learn from.
    """

    trained: TrainedModel
    outcome: Outcome
    held_out: Samples

    def save(self, folder: Path) -> None:
        """``model.safetensors``, ``adapt.json`` and ``report.md`` into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.trained.save(folder / "model.safetensors")
        self.outcome.write(folder)


def adapt(finished: TrainedModel, order: Order, profile: DeviceProfile) -> Adapted:
    """Learn a wearer within a board's budget.

    Raises:
        AdaptError, DataError: recordings that cannot be learned from; the message says the fix.
        BudgetError: no micro-batch fits the board.
    """
    own = read_recordings(order.data, finished.labels, finished.graph.input_shape)
    first, last = split(own, order.of_each)
    samples, held_out = (_samples(finished, part, order.stride) for part in (first, last))
    x, y = samples.batch(np.arange(len(samples)))
    recipe = METHODS[order.method](Task(finished.graph, finished.model, x, y, order.seed))
    before = accuracy(_evaluator(finished), held_out)
    started = time.monotonic()
    generator = rng(order.seed, "adapt")
    found = learn_within(recipe, samples, order.lesson, budget_bytes(profile), generator)
    seconds = time.monotonic() - started
    executor = found.executor
    sizes, trained = parameter_sizes(executor.layout), executor.layout.trained
    outcome = Outcome(
        method=order.method.value,
        device=profile.name,
        accuracy_before=before,
        accuracy_after=accuracy(executor, held_out),
        recordings=len(first.classes),
        held_out=len(last.classes),
        windows=len(samples),
        held_out_windows=len(held_out),
        saved_bytes=found.saved_bytes,
        peak_bytes=found.peak_bytes,
        predicted_peak_bytes=found.prediction.peak_bytes,
        budget_bytes=budget_bytes(profile),
        lines=found.prediction.lines,
        micro_batch=found.step.micro_batch,
        batch=min(order.lesson.batch, len(samples)),
        steps=order.lesson.steps,
        trained_parameters=sum(size for name, size in sizes.items() if name in trained),
        macs=training_macs(recipe),
        seconds=seconds,
    )
    return Adapted(calibrated(finished, recipe.graph, executor.model(), samples), outcome, held_out)


def _samples(finished: TrainedModel, part: Recordings, stride: int | None) -> Samples:
    window = finished.graph.input_shape[2]
    data = windows(part, window, stride or max(1, window // 2), finished.labels, finished.sensor)
    return Samples(data, finished.normalization)


def _evaluator(finished: TrainedModel) -> Executor:
    return Executor(finished.graph, finished.model, EngineOptions(CALIBRATION_BATCH))


def calibrated(
    finished: TrainedModel, graph: Graph, model: SparseModel, samples: Samples
) -> TrainedModel:
    """An adapted model with the ranges of its tensors on what it learned from.

    Args:
        finished: that was adapted; its ranges are not read.
        graph, model: what came of it.
        samples: that it learned from.
    """
    return replace(finished, graph=graph, model=model, ranges=ranges_of(graph, model, samples))


def ranges_of(graph: Graph, model: SparseModel, samples: Samples) -> Ranges:
    """Smallest and largest value of every tensor on ``samples``."""
    forward = Executor(graph, model, EngineOptions(CALIBRATION_BATCH))
    return forward.ranges(samples.batch(rows)[0] for rows in samples.rows(CALIBRATION_BATCH))
