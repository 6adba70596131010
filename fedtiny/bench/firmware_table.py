"""``python -m fedtiny.bench.firmware_table``: docs/results/firmware.md, its plot and CSV.

Instruction counts on emulated cores repeat exactly, whatever else the machine is doing. The dense
opponent is counted here as of CMSIS-NN 4.0; beside it stands what its main branch took, counted
apart: that tree is no dependency. ``fedtiny bench firmware --cmsis-nn DIR`` counts a user's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from fedtiny.bench.firmware import FirmwareBenchmark, bench_firmware
from fedtiny.boards.cortex_m4 import CortexM4
from fedtiny.command_line import CommandLine
from fedtiny.escaping.terminal import Screen
from fedtiny.models import build
from fedtiny.models.ops import Shape
from fedtiny.report.blocks import replace_block
from fedtiny.report.plots.style import (
    REFERENCE,
    Chart,
    colors,
    legend_below,
    logarithmic,
    panels,
    style,
)

PAGE = Path("docs/results/firmware.md")
BEGIN, END = "<!-- bench-firmware -->", "<!-- /bench-firmware -->"
DENSITIES = (0.1, 0.05, 0.01)

cli = CommandLine()


@dataclass(frozen=True, slots=True)
class Network:
    """One network of the table.

    Attributes:
        title: for people.
        model, input_shape, classes: of the graph.
        convs_only: compare convolutions only.
    """

    title: str
    model: str
    input_shape: Shape
    classes: int
    convs_only: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One measured line."""

    network: Network
    core: str
    density: float
    result: FirmwareBenchmark

    @property
    def main_instructions(self) -> float:
        """Of the dense network with CMSIS-NN's main branch, counted apart."""
        return 1e6 * MAIN_MILLIONS[self.network.model, self.core]

    @property
    def main_ratio(self) -> float:
        """Those / ours."""
        return self.main_instructions / self.result.total.instructions["ours"]


NETWORKS = (
    Network("ResNet-18 convolutions, 32×32×3", "resnet18", (3, 32, 32), 10, convs_only=True),
    Network("ResNet-8, 28×28×1", "resnet8", (1, 28, 28), 10),
    Network("smart-watch CNN", "smartwatch_cnn", (6, 1, 128), 7),
)
CORES = {"m4": "Cortex-M4", "m55": "Cortex-M55"}

MAIN_MILLIONS: Mapping[tuple[str, str], float] = {
    ("resnet18", "m4"): 946.6,
    ("resnet18", "m55"): 106.5,
    ("resnet8", "m4"): 21.04,
    ("resnet8", "m55"): 3.77,
    ("smartwatch_cnn", "m4"): 3.87,
    ("smartwatch_cnn", "m55"): 0.565,
}
"""Instructions of the dense network with CMSIS-NN's main branch (99f736a), by (model, core).

Counted apart with the same weights and compiler."""


def markdown(rows: Sequence[Row]) -> str:
    """The table, and under it how it was counted."""
    lines = [
        "| network | core | density | ours | CMSIS-NN 4.0 dense | fewer | CMSIS-NN main dense, "
        "measured apart | fewer | cycles, ours | CMSIS-NN 4.0 dense | fewer | flash, ours "
        "| flash, dense | mismatches |",
        f"|---|---{'|--:' * 12}|",
    ]
    for row in rows:
        total = row.result.total
        ours, theirs = total.instructions["ours"], total.instructions["cmsis_nn"]
        lines.append(
            f"| {row.network.title} | {CORES[row.core]} | {row.density:.0%} "
            f"| {ours / 1e6:.2f} M | {theirs / 1e6:.2f} M | {total.ratio:.1f}× "
            f"| {row.main_instructions / 1e6:.4g} M | **{row.main_ratio:.1f}×** {_cycles(row)}"
            f"| {total.flash_bytes['ours'] / 1024:.1f} KiB "
            f"| {total.flash_bytes['dense'] / 1024:.1f} KiB | {total.mismatches} |"
        )
    note = (
        "Executed instructions (not cycles) on QEMU, arm-none-eabi-gcc -O3, the same int8 weights "
        "on both sides, against the wrapper functions of CMSIS-NN 4.0 (2022); residual additions, "
        "which that copy of it lacks, are ours on both sides. Every release since 5.0 (2023) needs "
        "6–10 % fewer on an M4 and 2–4 times fewer on an M55: beside 4.0 stands the main branch "
        "(99f736a), whose dense network was measured apart, once, with the same weights and the "
        "same compiler; its tree is no dependency of this project. (ResNet-8's 3.77 M on the M55 "
        "has our additions as they were then; with today's it is 3.49 M.) `fedtiny bench firmware "
        "--cmsis-nn DIR` repeats that on a tree of yours. Flash: weights, indices and quantization "
        "parameters. Mismatches: output bytes that differ from the integer reference.\n\n"
        "Cycles: modelled, not measured. They are those that Arm's timings of the Cortex-M4 (its "
        "Technical Reference Manual, table 3-1 and section 3.3.2) give to the blocks that were "
        "executed, both programs alike: a load of two registers takes three cycles, a load after "
        "a load one, an address that the instruction before computed one more, a branch that is "
        "taken two (1 to 3 in the manual), code without wait states (`fedtiny bench firmware "
        "--wait-states N` has them). Not in it: a maker's caches and prefetch buffers, waits for "
        "data in flash, unaligned accesses. Of the Cortex-M55 no such table is published, and "
        "the M7 issues two instructions at a time behind a cache and a branch predictor: there "
        "instructions are all there is."
    )
    return "\n".join([*lines, "", note, "", "![](bench_firmware.png)"])


def _cycles(row: Row) -> str:
    total = row.result.total
    if total.cycles is None:
        return "| – | – | – "
    ours, theirs = (total.cycles[name] / 1e6 for name in ("ours", "cmsis_nn"))
    return f"| {ours:.2f} M | {theirs:.2f} M | **{total.cycle_ratio:.1f}×** "


def chart(rows: Sequence[Row]) -> Chart:
    """Instructions, modelled cycles and flash by density; a line a network and core.

    Instructions are against CMSIS-NN main, cycles against its 4.0: those of main are not known.
    """
    figure, (speed, clock, flash) = panels(1, 3, 10.8, 3.4)
    kinds = [(network, core) for network in NETWORKS for core in CORES]
    for (network, core), color in zip(kinds, colors(len(kinds)), strict=True):
        own = [row for row in rows if (row.network, row.core) == (network, core)]
        density = [100 * row.density for row in own]
        form: dict[str, Any] = {"color": color, "marker": "o", "markersize": 4}
        label = f"{network.title}, {CORES[core]}"
        speed.plot(density, [row.main_ratio for row in own], label=label, **form)
        cycle_ratios = [row.result.total.cycle_ratio or 0 for row in own]
        if all(cycle_ratios):
            clock.plot(density, cycle_ratios, label=label, **form)
            clock.plot(
                density,
                [row.result.total.ratio for row in own],
                color=color,
                linestyle=":",
                linewidth=1,
            )
        flash.plot(density, [row.result.total.flash_ratio for row in own], label=label, **form)
    for axes, title in (
        (speed, "instructions, CMSIS-NN main dense / ours"),
        (clock, "modelled cycles, CMSIS-NN 4.0 dense / ours\n(dotted: instructions)"),
        (flash, "flash, dense / ours"),
    ):
        axes.set_title(title)
        logarithmic(axes, "x")
        logarithmic(axes, "y", marks="{x:g}×")
        axes.set_xlabel("density (%)")
        axes.set_xticks([1, 5, 10], ["1", "5", "10"])
        axes.axhline(1, color=REFERENCE, linestyle="--", linewidth=1)
        axes.minorticks_off()
    legend_below(figure, [speed, clock, flash])
    caption = "The exported sparse model against CMSIS-NN dense on the same weights."
    return Chart("bench_firmware", caption, figure, pd.DataFrame([_record(row) for row in rows]))


def _record(row: Row) -> dict[str, Any]:
    total = row.result.total
    return {
        "network": row.network.title,
        "core": row.core,
        "density": row.density,
        "instructions_ours": total.instructions["ours"],
        "instructions_cmsis_nn": total.instructions["cmsis_nn"],
        "ratio": total.ratio,
        "instructions_cmsis_nn_main": row.main_instructions,
        "ratio_main": row.main_ratio,
        "cycles_ours": total.cycles and total.cycles["ours"],
        "cycles_cmsis_nn": total.cycles and total.cycles["cmsis_nn"],
        "cycle_ratio": total.cycle_ratio,
        "flash_bytes_ours": total.flash_bytes["ours"],
        "flash_bytes_dense": total.flash_bytes["dense"],
        "scratch_bytes": total.scratch_bytes,
        "mismatches": total.mismatches,
    }


@cli.command()
def table(
    page: Annotated[
        Path, typer.Option(help="File whose table is rewritten; plot and CSV go beside it.")
    ] = PAGE,
) -> None:
    """Count every case, then rewrite the table, the plot and the CSV."""
    console = Screen(stderr=True)
    rows = []
    replace_block(page.read_text(encoding="utf-8"), BEGIN, END, "")  # before minutes of work
    for network in NETWORKS:
        graph = build(network.model, network.input_shape, network.classes)
        for core in CORES:
            for density in DENSITIES:
                result = bench_firmware(
                    graph, density, core, convs_only=network.convs_only, timing=CortexM4()
                )
                rows.append(Row(network, core, density, result))
                total = result.total
                console.print(f"{network.title}, {core}, {density:.0%}: {total.ratio:.1f}×")
    text = markdown(rows)
    page.write_text(
        replace_block(page.read_text(encoding="utf-8"), BEGIN, END, text), encoding="utf-8"
    )
    with style():
        chart(rows).save(page.parent)
    print(text)


if __name__ == "__main__":
    cli()
