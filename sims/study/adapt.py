"""``python -m sims.study.adapt RUN… --tune RUN``: how far each method learns people never seen.

A run's held-out people are new wearers. The source has two recordings of each person and exercise,
one an arm, about 35 s long: a *labelled recording* here is a take of 5 s, drawn from the first part
of these; a model is tested on all windows of the last part, half a window away from any take.
Learning rates are tuned on the people that the run of ``--tune`` held out, none of the study's.

Rewrites docs/results/adapt.csv, the tables of docs/results/adapt.md and its picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import typer

from fedtiny.adapt.learning import Lesson, accuracy, learn, measured_peak, predicted, saved_bytes
from fedtiny.adapt.methods import METHODS
from fedtiny.adapt.recipe import Task
from fedtiny.adapt.recordings import Recordings, windows
from fedtiny.command_line import CommandLine
from fedtiny.config.adapt import MethodName
from fedtiny.data.samples import Samples
from fedtiny.data.watch.recordings import read_recordings
from fedtiny.engine import EngineOptions, Executor
from fedtiny.escaping.terminal import Screen
from fedtiny.report import rows as csv_rows
from fedtiny.report.blocks import replace_block
from fedtiny.runs.fields import Count, Share
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.seeding import rng
from sims.code_version import code_version
from sims.study.adapt_page import BEGIN, END, draw, tables

PAGE = Path("docs/results/adapt.md")
TAKE, STRIDE, LATE = 256, 64, 0.4
"""Readings of a take, between the starts of windows; share of a recording that is tested on."""
TAKES, TUNED_TAKES = (1, 2, 5), 2
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
STEPS, BATCH, MICRO_BATCH = 100, 16, 4
"""Of learning; without batch norm four windows at a time give the gradients of all sixteen."""


@dataclass(frozen=True, slots=True)
class Row:
    """One adapted model: ``recordings`` takes of each exercise, learned by ``method``."""

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

    @property
    def key(self) -> tuple[str, int, str, int, int]:
        """What the study has one row of."""
        return self.dataset, self.person, self.method, self.recordings, self.seed


@dataclass(frozen=True, slots=True, eq=False)
class Wearer:
    """A person whom a model never saw.

    Attributes:
        finished: the model.
        seed: of the run that made it.
        person: as the source numbers them.
        takes: all that could be labelled.
        tested: windows of the last part of every recording.
    """

    finished: TrainedModel
    seed: int
    person: int
    takes: Recordings
    tested: Samples

    def labelled(self, of_each: int) -> Samples:
        """Windows of ``of_each`` takes of every exercise; more contain those of fewer."""
        draw_, rows = rng(self.seed, f"takes of {self.person}"), list[int]()
        for k in np.unique(self.takes.classes):
            rows += draw_.permutation(np.flatnonzero(self.takes.classes == k))[:of_each].tolist()
        return _samples(self.finished, self.takes.take(np.array(rows, np.int64)))


def wearers(run: Path) -> Iterator[Wearer]:
    """The people whom a finished run held out."""
    folder = RunFolder(run)
    config, finished = folder.load_config(), TrainedModel.load(folder.model)
    recordings = read_recordings()
    people = config.data.unseen_people or tuple(np.unique(recordings["person"])[-2:].tolist())
    starts = np.cumsum(recordings["length"]) - recordings["length"]
    for person in people:
        early: list[tuple[np.ndarray, int]] = []
        late: list[tuple[np.ndarray, int]] = []
        for row in np.flatnonzero(recordings["person"] == person):
            length, label = int(recordings["length"][row]), int(recordings["label"][row])
            readings = recordings["counts"][starts[row] : starts[row] + length]
            cut = int(length * (1 - LATE))
            early += [(readings[i : i + TAKE], label) for i in range(0, cut - TAKE + 1, TAKE)]
            late.append((readings[cut + finished.graph.input_shape[2] // 2 :], label))
        tested = _samples(finished, _recordings(late))
        yield Wearer(finished, config.seed, int(person), _recordings(early), tested)


def _recordings(parts: Sequence[tuple[np.ndarray, int]]) -> Recordings:
    readings = tuple(readings for readings, _ in parts)
    return Recordings(readings, np.array([label for _, label in parts], np.int64))


def _samples(finished: TrainedModel, part: Recordings) -> Samples:
    window = finished.graph.input_shape[2]
    data = windows(part, window, STRIDE, finished.labels, finished.sensor)
    return Samples(data, finished.normalization)


def adapted(wearer: Wearer, method: MethodName, of_each: int, rate: float, commit: str) -> Row:
    """Learn one wearer by one method."""
    finished, samples = wearer.finished, wearer.labelled(of_each)
    batch = min(BATCH, len(samples))
    micro_batch = batch if method is MethodName.FULL else MICRO_BATCH
    x, y = samples.batch(np.arange(len(samples)))
    recipe = METHODS[method](Task(finished.graph, finished.model, x, y, wearer.seed))
    lesson, generator = Lesson(STEPS, batch, rate), rng(wearer.seed, "adapt")
    executor, _ = learn(recipe, samples, lesson, micro_batch, generator)
    before = Executor(finished.graph, finished.model, EngineOptions(BATCH))
    return Row(
        dataset="watch",
        person=wearer.person,
        method=method.value,
        recordings=of_each,
        seed=wearer.seed,
        accuracy_before=round(accuracy(before, wearer.tested), 4),
        accuracy_after=round(accuracy(executor, wearer.tested), 4),
        saved_bytes=saved_bytes(recipe, micro_batch),
        peak_bytes=measured_peak(recipe, samples, batch, micro_batch),
        predicted_peak_bytes=predicted(recipe, batch, micro_batch).peak_bytes,
        commit=commit,
        learning_rate=rate,
        micro_batch=micro_batch,
    )


def tuned(run: Path, commit: str) -> dict[MethodName, float]:
    """The learning rate of each method with the best mean accuracy on a run's held-out people."""
    people, best = list(wearers(run)), dict[MethodName, float]()
    for method in MethodName:
        means = {
            rate: fmean(
                adapted(one, method, TUNED_TAKES, rate, commit).accuracy_after for one in people
            )
            for rate in RATES
        }
        best[method] = max(means, key=lambda rate: means[rate])
        Screen(stderr=True).say(f"{method.value}: {means}")
    return best


cli = CommandLine()


@cli.command()
def study(
    runs: Annotated[list[Path], typer.Argument(help="Finished watch runs; their held-out people.")],
    tune: Annotated[Path, typer.Option(help="A finished run that held out other people.")],
    page: Annotated[Path, typer.Option(help="File whose tables are rewritten.")] = PAGE,
) -> None:
    """Tune on one run's people, learn the others', rewrite CSV, tables and picture."""
    commit = code_version()
    rates = tuned(tune, commit)
    rows = [
        adapted(wearer, method, of_each, rates[method], commit)
        for run in runs
        for wearer in wearers(run)
        for of_each in TAKES
        for method in MethodName
    ]
    csv_rows.write(page.with_suffix(".csv"), Row, rows)
    draw(page.with_suffix(".csv"))
    text = page.read_text(encoding="utf-8")
    table = tables(page.with_suffix(".csv"))
    page.write_text(replace_block(text, BEGIN, END, table), encoding="utf-8")
    print(table)


if __name__ == "__main__":
    cli()
