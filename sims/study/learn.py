"""``python -m sims.study.learn RUN``: a run's model learns new wearers on emulated boards.

The people whom the run held out, their takes, tests and batches are those of
:mod:`sims.study.adapt`; the same lessons are learned by ``fedtiny adapt``'s float path, by the int8
project's numpy reference, and by its C on every board.

Rewrites docs/results/learn_on_mcu.csv and the table of docs/results/learn_on_mcu.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fedtiny.boards import learned, qemu
from fedtiny.boards.elf import ElfSizes
from fedtiny.command_line import CommandLine
from fedtiny.config.adapt import MethodName
from fedtiny.data.batches import batches
from fedtiny.data.samples import Samples
from fedtiny.escaping.terminal import Screen
from fedtiny.export.bundle import export
from fedtiny.export.run import counts, integer_model, sensor_interface
from fedtiny.firmware.planner import Fit, target_of_core
from fedtiny.learn.fitting import fit_learning
from fedtiny.learn.lessons import Expected, Lessons, expected, lessons_file
from fedtiny.learn.net import RATES, side_net
from fedtiny.report import rows as csv_rows
from fedtiny.report.blocks import replace_block
from fedtiny.runs.fields import Count, Share
from sims.code_version import code_version
from sims.study.adapt import BATCH, STEPS, adapted
from sims.study.learn_page import BEGIN, END, table
from sims.study.wearers import Wearer, wearers

PAGE = Path("docs/results/learn_on_mcu.md")
CORES = ("m4", "m7", "m55")
TAKES = 2
"""Labelled takes of each exercise."""
COUNTED_STEPS, COUNTED_TESTS = 2, 4
"""Instructions are counted over these: they hardly depend on values."""


@dataclass(frozen=True, slots=True)
class Row:
    """One wearer, learned on one board.

    Attributes:
        core: of the emulated board.
        method: what is learned.
        ram_bytes: of a whole program: arena, learner, a window, start-up code's, and the stack.
        flash_bytes: of a whole program, and two slots.
        instructions_per_step: executed in learning a batch and updating.
        accuracy_after: of the C on the board.
        person, seed: who was learned, and of the run.
        accuracy_before: of the int8 network with its classifier in float32.
        float_before, float_after: of ``fedtiny adapt`` on the same windows.
        window_instructions, update_instructions, classify_instructions: of these, one window's.
        arena_bytes, learner_bytes, stack_bytes: of the RAM.
        unequal_losses: steps whose loss differs from the reference's in any bit.
    """

    core: str
    method: str
    ram_bytes: Count
    flash_bytes: Count
    instructions_per_step: Count
    accuracy_after: Share
    commit: str
    person: Count
    seed: int
    accuracy_before: Share
    float_before: Share
    float_after: Share
    window_instructions: Count
    update_instructions: Count
    classify_instructions: Count
    arena_bytes: Count
    learner_bytes: Count
    stack_bytes: Count
    unequal_losses: Count

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What the study has one row of."""
        return self.core, self.method, self.person, self.seed


def lessons_of(wearer: Wearer) -> Lessons:
    """What :func:`fedtiny.adapt.learning.learn` learns, in its order."""
    samples = wearer.labelled(TAKES)
    batch = min(BATCH, len(samples))
    epochs = -(-STEPS // -(-len(samples) // batch))
    order = batches(len(samples), batch, np.random.default_rng(wearer.seed), epochs)
    rows = np.full((STEPS, batch), -1)
    for step, some in zip(rows, order, strict=False):
        step[: len(some)] = some
    return Lessons(*_windows(samples), rows, *_windows(wearer.tested))


def _windows(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    return counts(samples.dataset), samples.dataset.y


def learned_rows(wearer: Wearer, method: MethodName, commit: str) -> Iterator[Row]:
    """One wearer by one method, on every board."""
    by_float = adapted(wearer, method, TAKES, RATES[method], commit)
    lessons, finished = lessons_of(wearer), wearer.finished
    model = integer_model(finished)
    side = side_net(finished, model, method, wearer.seed)
    found = expected(model, side, lessons)
    for core in CORES:
        fitted = fit_learning(model, side, target_of_core(core))
        whole, board, image = _on_board(wearer, fitted, core, lessons, found)
        yield Row(
            core=core,
            method=method.value,
            ram_bytes=image.bss_bytes + image.data_bytes + board.stack_bytes,
            flash_bytes=image.text_bytes + image.data_bytes + 2 * side.slot_bytes,
            instructions_per_step=BATCH * board.window_instructions + board.update_instructions,
            accuracy_after=round(whole.correct / whole.tests, 4),
            commit=commit,
            person=wearer.person,
            seed=wearer.seed,
            accuracy_before=round(found.before / whole.tests, 4),
            float_before=by_float.accuracy_before,
            float_after=by_float.accuracy_after,
            window_instructions=board.window_instructions,
            update_instructions=board.update_instructions,
            classify_instructions=board.classify_instructions,
            arena_bytes=fitted.plan.arena.nbytes,
            learner_bytes=side.learner_bytes,
            stack_bytes=board.stack_bytes,
            unequal_losses=whole.mismatches,
        )
        Screen(stderr=True).say(f"{method.value}, person {wearer.person}, {core}: learned")


def _on_board(
    wearer: Wearer, fitted: Fit, core: str, lessons: Lessons, found: Expected
) -> tuple[learned.Learned, learned.EmulatedLearning, ElfSizes]:
    """(all lessons learned, a few of them with instructions counted, sizes of a program)."""
    plan, finished = fitted.require(), wearer.finished
    if plan.side is None:
        raise AssertionError("a plan for learning has something to learn")
    content = lessons_file(plan.model, plan.side, lessons, found)
    few = replace(
        lessons,
        rows=lessons.rows[:COUNTED_STEPS],
        test_counts=lessons.test_counts[:COUNTED_TESTS],
        test_labels=lessons.test_labels[:COUNTED_TESTS],
    )
    counted = lessons_file(plan.model, plan.side, few, expected(plan.model, plan.side, few))
    names = sensor_interface(finished.labels, finished.sensor, "model")
    machine = qemu.machine(f"qemu-{core}")
    with tempfile.TemporaryDirectory() as place:
        project = Path(place) / "firmware"
        window = lessons.counts[:1]
        export(plan, project, window, names, fitted.target, compiled=False, lessons=content)
        whole = learned.emulate(project, machine, counted=False)
        board = learned.emulate(project, machine, counted)
        return whole.learned, board, learned.image_sizes(project, machine)


cli = CommandLine()


@cli.command()
def study(
    runs: Annotated[list[Path], typer.Argument(help="Finished watch runs; their held-out people.")],
    page: Annotated[Path, typer.Option(help="File whose table is rewritten.")] = PAGE,
) -> None:
    """Learn every held-out person by every method on every board; rewrite CSV and table."""
    commit = code_version()
    rows = [
        row
        for run in runs
        for wearer in wearers(run)
        for method in RATES
        for row in learned_rows(wearer, method, commit)
    ]
    csv_rows.write(page.with_suffix(".csv"), Row, rows)
    found = table(page.with_suffix(".csv"))
    text = page.read_text(encoding="utf-8")
    page.write_text(replace_block(text, BEGIN, END, found), encoding="utf-8")
    print(found)


if __name__ == "__main__":
    cli()
