"""``python -m sims.study.weight_bits RUN...``: sparse weights of 4 bits beside those of 8.

Of finished runs: accuracy by the integer reference on every test sample, flash and executed
instructions of the plan for a Cortex-M4, emulated, and whether any byte differs there from the
reference. Of the networks of :mod:`fedtiny.bench.firmware_table`, whose weights are random: flash
and instructions alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fedtiny.bench import synthetic
from fedtiny.bench.firmware_table import DENSITIES, NETWORKS, PAGE
from fedtiny.boards import plan_run, qemu
from fedtiny.boards.kernels import CompiledKernels, compile_with_cmsis_nn
from fedtiny.command_line import CommandLine
from fedtiny.data.simulated import deal
from fedtiny.escaping.terminal import Screen
from fedtiny.export.run import counts, int8_accuracy, integer_model, predictor, test_sets
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
TARGET = "qemu-m4"
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
    """One model, by the bits of its sparse weights."""

    title: str
    costs: dict[int, Cost]


def measure_run(folder: RunFolder, kernels: CompiledKernels) -> Row:
    """A finished simulation's model.

    Raises:
        FedTinyError: no such run, or a tool is missing.
    """
    config = folder.load_config()
    tests, trained = test_sets(deal(config.data, config.seed)), TrainedModel.load(folder.model)
    costs = {}
    for bits in WEIGHT_BITS:
        model = integer_model(trained, bits)
        accuracies = tuple(
            int8_accuracy(predictor(model, folder.firmware, checked=False), data)
            for data in (tests.same_people, tests.unseen_people)
            if len(data)
        )
        costs[bits] = _cost(model, counts(tests.all)[:VECTORS], kernels, False, accuracies)
    return Row(f"{config.name}, seed {config.seed}", costs)


def measure_networks(kernels: CompiledKernels) -> Iterator[Row]:
    """Random weights in every network of the firmware's page."""
    for network in NETWORKS:
        graph = build(network.model, network.input_shape, network.classes)
        for density in DENSITIES:
            costs = {}
            for bits in WEIGHT_BITS:
                model = synthetic.integer_model(graph, density, weight_bits=bits)
                inputs = synthetic.counts(model, 1)
                costs[bits] = _cost(model, inputs, kernels, network.convs_only)
            yield Row(f"{network.title}, {density:.0%}", costs)


def _cost(
    model: IntegerGraph,
    inputs: Int16s,
    kernels: CompiledKernels,
    convs_only: bool,
    accuracies: tuple[float, ...] = (),
) -> Cost:
    plan, target = lower(model), qemu.machine(TARGET)
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
        "| model | accuracy, 8 bits | 4 bits | flash, 8 bits | 4 bits | less "
        "| instructions, 8 bits | 4 bits | fewer | weights that round to 0 | mismatches |",
        f"|---{'|--:' * 10}|",
    ]
    for row in rows:
        wide, narrow = row.costs[8], row.costs[4]
        lines.append(
            f"| {row.title} | {_percent(wide)} | {_percent(narrow)} "
            f"| {wide.flash_bytes / 1024:.1f} KiB | {narrow.flash_bytes / 1024:.1f} KiB "
            f"| **{1 - narrow.flash_bytes / wide.flash_bytes:.0%}** "
            f"| {wide.instructions / 1e6:.2f} M | {narrow.instructions / 1e6:.2f} M "
            f"| {1 - narrow.instructions / wide.instructions:.0%} "
            f"| {1 - narrow.weights / wide.weights:.0%} | {wide.mismatches + narrow.mismatches} |"
        )
    lines += ["", *_means(rows)]
    return "\n".join(lines)


def _percent(cost: Cost) -> str:
    return " · ".join(f"{100 * value:.1f}" for value in cost.accuracies) or "–"


def _means(rows: Sequence[Row]) -> list[str]:
    """What 4 bits change of the runs' accuracies, in points: the mean, and the worst of a run."""
    runs = [row for row in rows if row.costs[8].accuracies]
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
        kernels = compile_with_cmsis_nn(qemu.machine(TARGET), Path(place))
        for run in runs:
            rows.append(measure_run(RunFolder(run), kernels))
            console.print(rows[-1].title)
        for row in measure_networks(kernels):
            rows.append(row)
            console.print(row.title)
    page.write_text(replace_block(text, BEGIN, END, markdown(rows)), encoding="utf-8")


if __name__ == "__main__":
    cli()
