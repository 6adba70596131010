"""``python -m sims.study.adapt RUN…``: how far each method learns users never seen.

Every method has the same bytes for a step (:data:`BUDGET_BYTES`) and the same number of trials: its
learning rate for a user is the one with the best mean over the *other* users of its data set, in
the runs of the lowest seed.

Appends what docs/results/adapt.csv lacks, then rewrites the tables of docs/results/adapt.md and its
picture. ``make study-adapt`` makes the runs, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import typer

from fedtiny.adapt.learning import Lesson, accuracy, learn_within, predicted
from fedtiny.adapt.methods import METHODS
from fedtiny.adapt.recipe import Task
from fedtiny.command_line import CommandLine
from fedtiny.config.adapt import MethodName
from fedtiny.engine import EngineOptions, Executor
from fedtiny.escaping.terminal import Screen, terminal_text
from fedtiny.report import rows as csv_rows
from fedtiny.report.blocks import replace_block
from fedtiny.runs.fields import Count, Share
from fedtiny.seeding import rng
from sims.code_version import code_version
from sims.study.adapt_page import BEGIN, END, draw, tables
from sims.study.wearers import Wearer, wearers

PAGE = Path("docs/results/adapt.md")
TRIALS = "adapt_tuning.csv"
TAKES, TUNED_TAKES = (1, 2, 5), 2
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
STEPS, BATCH = 100, 16
BUDGET_BYTES: Mapping[str, int] = {"watch": 768 * 1024, "fashion_mnist": 2304 * 1024}
"""Of a step, the batch included: what the hungriest method needs at its smallest micro-batch."""


Key = tuple[str, int, str, int, int, float]
"""Data set, person, method, takes, seed, learning rate."""


@dataclass(frozen=True, slots=True)
class Row:
    """One adapted model: ``recordings`` takes of each class, learned by ``method``.

    ``peak_bytes`` are of the largest micro-batch within the budget, ``least_peak_bytes`` of the
    smallest there is, as planned.
    """

    dataset: str
    person: Count
    method: str
    recordings: Count
    seed: int
    accuracy_before: Share
    accuracy_after: Share
    saved_bytes: Count
    peak_bytes: Count
    predicted_peak_bytes: Count
    commit: str
    learning_rate: float
    micro_batch: Count
    least_peak_bytes: Count

    @property
    def key(self) -> Key:
        """What the study has one row of."""
        who = self.dataset, self.person
        return *who, self.method, self.recordings, self.seed, self.learning_rate


class Kept:
    """Rows of a file, which grows by every one that is made.

    Args:
        path: CSV, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = {row.key: row for row in csv_rows.read(path, Row)}
        csv_rows.write(path, Row, self._rows.values())

    def get(self, key: Key, make: Callable[[], Row]) -> Row:
        """The row of this key; made, and on disk, if there was none."""
        if key not in self._rows:
            self._rows[key] = make()
            csv_rows.append(self._path, self._rows[key])
        return self._rows[key]


@dataclass(frozen=True)
class Study:
    """What is done of it, and what is left.

    Attributes:
        results, trials: rows, and those that learning rates were chosen by.
        commit: of the code.
    """

    results: Kept
    trials: Kept
    commit: str

    def run(self, method: MethodName, users: Sequence[Wearer]) -> None:
        """Everything about users of one data set that is left of a method."""
        first = min(one.seed for one in users)
        found = {
            (one.person, rate): self._trial(one, method, TUNED_TAKES, rate)
            for one in users
            if one.seed == first
            for rate in RATES
        }
        for one in users:
            rate = _best(found, one.person)
            for of_each in TAKES:
                self._result(one, method, of_each, rate, is_trial=one.seed == first)

    def _trial(self, one: Wearer, method: MethodName, of_each: int, rate: float) -> Row:
        key = key_of(one, method, of_each, rate)
        return self.trials.get(key, lambda: adapted(one, method, of_each, rate, self.commit))

    def _result(
        self, one: Wearer, method: MethodName, of_each: int, rate: float, is_trial: bool
    ) -> Row:
        def make() -> Row:
            if is_trial and of_each == TUNED_TAKES:  # it was made to choose the rate
                return self._trial(one, method, of_each, rate)
            return adapted(one, method, of_each, rate, self.commit)

        return self.results.get(key_of(one, method, of_each, rate), make)


def key_of(one: Wearer, method: MethodName, of_each: int, rate: float) -> Key:
    """What :attr:`Row.key` will be."""
    return one.dataset, one.person, method.value, of_each, one.seed, rate


def _best(found: Mapping[tuple[int, float], Row], person: int) -> float:
    """The rate that is best for everybody else."""

    def others(rate: float) -> float:
        return fmean(
            row.accuracy_after for (who, one), row in found.items() if who != person and one == rate
        )

    return max(RATES, key=others)


def adapted(one: Wearer, method: MethodName, of_each: int, rate: float, commit: str) -> Row:
    """Learn one user by one method."""
    finished, samples = one.finished, one.labelled(of_each)
    x, y = samples.batch(np.arange(len(samples)))
    recipe = METHODS[method](Task(finished.graph, finished.model, x, y, one.seed))
    lesson, budget = Lesson(STEPS, BATCH, rate), BUDGET_BYTES[one.dataset]
    found = learn_within(recipe, samples, lesson, budget, rng(one.seed, "adapt", 0, one.person))
    before = Executor(finished.graph, finished.model, EngineOptions(BATCH))
    return Row(
        dataset=one.dataset,
        person=one.person,
        method=method.value,
        recordings=of_each,
        seed=one.seed,
        accuracy_before=round(accuracy(before, one.tested), 4),
        accuracy_after=round(accuracy(found.executor, one.tested), 4),
        saved_bytes=found.saved_bytes,
        peak_bytes=found.peak_bytes,
        predicted_peak_bytes=found.prediction.peak_bytes,
        commit=commit,
        learning_rate=rate,
        micro_batch=found.step.micro_batch,
        least_peak_bytes=predicted(recipe, min(BATCH, len(samples)), 1).peak_bytes,
    )


cli = CommandLine()


@cli.command()
def study(
    runs: Annotated[list[Path], typer.Argument(help="Finished runs; users they never saw.")],
    page: Annotated[Path, typer.Option(help="File whose tables are rewritten.")] = PAGE,
) -> None:
    """Tune, learn every user by every method, write CSV, tables and picture."""
    users = [one for run in runs for one in wearers(run)]
    csv = page.with_suffix(".csv")
    done = Study(Kept(csv), Kept(page.with_name(TRIALS)), code_version())
    screen = Screen(stderr=True)
    for dataset in dict.fromkeys(one.dataset for one in users):
        for method in MethodName:
            with screen.status(terminal_text(f"{dataset}: {method.value}")):
                done.run(method, [one for one in users if one.dataset == dataset])
    draw(csv)
    text, table = page.read_text(encoding="utf-8"), tables(csv)
    page.write_text(replace_block(text, BEGIN, END, table), encoding="utf-8")
    print(table)


if __name__ == "__main__":
    cli()
