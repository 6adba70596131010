"""``python -m sims.study.weight_bits RUN...``: sparse weights of 4 bits beside those of 8.

Of finished runs: accuracy by the integer reference on every test sample, flash and executed
instructions of the plans for a Cortex-M4 and a Cortex-M55, emulated, and whether any byte differs
there from the reference. Of the networks of :mod:`fedtiny.bench.firmware_table`, whose weights are
random: flash and instructions alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fedtiny.bench import synthetic
from fedtiny.bench.firmware_table import CORES as TITLES
from fedtiny.bench.firmware_table import DENSITIES, NETWORKS, PAGE
from fedtiny.boards import plan_run, qemu
from fedtiny.boards.kernels import CompiledKernels, compile_with_cmsis_nn
from fedtiny.command_line import CommandLine
from fedtiny.data.simulated import deal
from fedtiny.escaping.terminal import Screen
from fedtiny.export.run import counts, int8_accuracy, integer_model, predictor, test_sets
from fedtiny.firmware.cores import CORES
from fedtiny.firmware.lower import lower
from fedtiny.firmware.vectors import vector_file
from fedtiny.models import build
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.conv import IntegerConv
from fedtiny.quant.ptq import WEIGHT_BITS
from fedtiny.quant.tensors import Int16s
from fedtiny.report.blocks import replace_block
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel

BEGIN, END = "<!-- bench-bits -->", "<!-- /bench-bits -->"
VECTORS = 16
"""Test samples of a run that the emulated board computes."""

cli = CommandLine()


@dataclass(frozen=True, slots=True)
class Cost:
    """A model with weights of some bits, on the board.

    Attributes:
        weights: that are not 0, those of dense layers included.
        flash_bytes: weights, indices and quantization parameters.
        instructions: executed for one input.
        mismatches: inputs with any byte that differs from the reference.
        accuracies: on people who took part, on others; none of a network without data.
    """

    weights: int
    flash_bytes: int
    instructions: int
    mismatches: int
    accuracies: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one core, by the bits of its sparse weights."""

    title: str
    core: str
    costs: dict[int, Cost]


Boards = Mapping[str, CompiledKernels]
"""By core."""


def measure_run(folder: RunFolder, boards: Boards) -> Iterator[Row]:
    """A finished simulation's model on each board.

    Raises:
        FedTinyError: no such run, or a tool is missing.
    """
    config = folder.load_config()
    tests, trained = test_sets(deal(config.data, config.seed)), TrainedModel.load(folder.model)
    models = {bits: integer_model(trained, bits) for bits in WEIGHT_BITS}
    accuracies = {
        bits: tuple(
            int8_accuracy(predictor(model, folder.firmware, checked=False), data)
            for data in (tests.same_people, tests.unseen_people)
            if len(data)
        )
        for bits, model in models.items()
    }
    inputs = counts(tests.all)[:VECTORS]
    for core, kernels in boards.items():
        costs = {
            bits: _cost(model, inputs, core, kernels, False, accuracies[bits])
            for bits, model in models.items()
        }
        yield Row(f"the demo's, seed {config.seed}", core, costs)


def measure_networks(boards: Boards) -> Iterator[Row]:
    """Random weights in every network of the firmware's page, on each board."""
    for network in NETWORKS:
        graph = build(network.model, network.input_shape, network.classes)
        for density in DENSITIES:
            models = {
                bits: synthetic.integer_model(graph, density, weight_bits=bits)
                for bits in WEIGHT_BITS
            }
            for core, kernels in boards.items():
                costs = {
                    bits: _cost(
                        model, synthetic.counts(model, 1), core, kernels, network.convs_only
                    )
                    for bits, model in models.items()
                }
                yield Row(f"{network.title}, {density:.0%}", core, costs)


def _cost(
    model: IntegerGraph,
    inputs: Int16s,
    core: str,
    kernels: CompiledKernels,
    convs_only: bool,
    accuracies: tuple[float, ...] = (),
) -> Cost:
    plan, target = lower(model, core=CORES[core]), qemu.machine(f"qemu-{core}")
    with tempfile.TemporaryDirectory() as place:
        run = plan_run.run(plan, target, kernels, vector_file(model, inputs), Path(place))
    flash, instructions = plan.flash_bytes, run.instructions
    if convs_only:
        kept = [i for i, node in enumerate(model.nodes) if isinstance(node, IntegerConv)]
        flash = sum(plan.steps[i].flash_bytes for i in kept)
        instructions = sum(run.layers[i].instructions for i in kept)
    weights = sum(layer.weight.nnz for layer in model.layers)
    return Cost(weights, flash, instructions, run.mismatches, accuracies)


def markdown(rows: Sequence[Row]) -> str:
    """The table: a model a line, 8 bits beside 4."""
    lines = [
        "| model | core | accuracy, 8 bits | 4 bits | flash, 8 bits | 4 bits | less "
        "| instructions, 8 bits | 4 bits | fewer | weights that round to 0 | mismatches |",
        f"|---|---{'|--:' * 10}|",
    ]
    for row in rows:
        wide, narrow = row.costs[8], row.costs[4]
        lines.append(
            f"| {row.title} | {TITLES[row.core]} | {_percent(wide)} | {_percent(narrow)} "
            f"| {wide.flash_bytes / 1024:.1f} KiB | {narrow.flash_bytes / 1024:.1f} KiB "
            f"| **{_less(narrow.flash_bytes, wide.flash_bytes)}** "
            f"| {wide.instructions / 1e6:.2f} M | {narrow.instructions / 1e6:.2f} M "
            f"| {_less(narrow.instructions, wide.instructions)} "
            f"| {_less(narrow.weights, wide.weights)} | {wide.mismatches + narrow.mismatches} |"
        )
    lines += ["", *_means(rows)]
    return "\n".join(lines)


def _less(narrow: int, wide: int) -> str:
    return f"{round(100 * (1 - narrow / wide))}%"


def _percent(cost: Cost) -> str:
    return " · ".join(f"{100 * value:.1f}" for value in cost.accuracies) or "–"


def _means(rows: Sequence[Row]) -> list[str]:
    """What 4 bits change of the runs' accuracies, in points: the mean, and the worst of a run."""
    runs = [row for row in rows if row.costs[8].accuracies and row.core == rows[0].core]
    if not runs:
        return []
    change = 100 * np.array([_change(row) for row in runs])
    means = " · ".join(f"{mean:+.1f}" for mean in change.mean(axis=0))
    worst = " · ".join(f"{least:+.1f}" for least in change.min(axis=0))
    return [
        f"Accuracy: people who took part · others (%). 4 bits change it by {means} points, the "
        f"mean of {len(runs)} runs; in the run where they cost most by {worst}."
    ]


def _change(row: Row) -> list[float]:
    pairs = zip(row.costs[4].accuracies, row.costs[8].accuracies, strict=True)
    return [narrow - wide for narrow, wide in pairs]


@cli.command()
def table(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished simulations.")],
    page: Annotated[Path, typer.Option(help="File whose table is rewritten.")] = PAGE,
) -> None:
    """Count every model with weights of 8 and of 4 bits, then rewrite the table."""
    console = Screen(stderr=True)
    text = page.read_text(encoding="utf-8")
    replace_block(text, BEGIN, END, "")  # before minutes of work
    rows = []
    with tempfile.TemporaryDirectory() as place:
        boards = {
            core: compile_with_cmsis_nn(qemu.machine(f"qemu-{core}"), Path(place) / core)
            for core in TITLES
        }
        of_runs = (row for run in runs for row in measure_run(RunFolder(run), boards))
        for row in chain(of_runs, measure_networks(boards)):
            rows.append(row)
            console.print(f"{row.title}, {row.core}")
    page.write_text(replace_block(text, BEGIN, END, markdown(rows)), encoding="utf-8")


if __name__ == "__main__":
    cli()
