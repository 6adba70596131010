"""``fedtiny export RUN --learn METHOD``: a finished run's model that learns on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedtiny.config.adapt import MethodName
from fedtiny.data.dataset import Dataset
from fedtiny.export.run import TestSets, counts, integer_model
from fedtiny.firmware.plan import ExportPlan
from fedtiny.firmware.planner import Fit, Target
from fedtiny.learn.fitting import fit_learning
from fedtiny.learn.lessons import Lessons, expected, lessons_file
from fedtiny.learn.net import side_net
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.seeding import rng

WINDOWS, STEPS, BATCH, TESTS = 32, 4, 16, 32
"""Of the lessons that a project checks itself with."""


@dataclass(frozen=True, slots=True)
class OnDevice:
    """What an exported model learns on the device, see :class:`fedtiny.export.run.Learning`.

    Attributes:
        method: one of :data:`fedtiny.learn.net.RATES`.
        seed: of new weights.
    """

    method: MethodName
    seed: int = 0

    def fit(self, trained: TrainedModel, target: Target) -> Fit:
        """The plan of the model with what it learns.

        Raises:
            FedTinyError: another method, or a model that cannot learn by it.
        """
        model = integer_model(trained)
        return fit_learning(model, side_net(trained, model, self.method, self.seed), target)

    def lessons(self, plan: ExportPlan, tests: TestSets) -> bytes:
        """A few steps on windows of people who took no part, or of any where none stayed out."""
        if plan.side is None:
            return b""
        people = tests.unseen_people if len(tests.unseen_people) else tests.same_people
        lessons = few_lessons(people, self.seed)
        found = expected(plan.model, plan.side, lessons)
        return lessons_file(plan.model, plan.side, lessons, found)


def few_lessons(people: Dataset, seed: int) -> Lessons:
    """Windows drawn of ``people``: some to learn from, others to be tested on."""
    draw = rng(seed, "lessons")
    rows = draw.permutation(len(people))
    first, last = people.take(rows[:WINDOWS]), people.take(rows[WINDOWS:][:TESTS])
    steps = draw.integers(0, len(first), (STEPS, BATCH)).astype(np.int64)
    return Lessons(counts(first), first.y, steps, counts(last), last.y)
