"""``python -m fedtiny.bench.neon``: what a training step executes on AArch64, emulated.

Instructions, not time: the table of docs/results/training.md that a Raspberry Pi would have. The
dense step beside it is the engine's own, which holds all weights: of PyTorch's there is no count.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fedtiny.bench.emulated import Emulated, compile_driver
from fedtiny.bench.workload import workload
from fedtiny.command_line import CommandLine
from fedtiny.engine import EngineOptions, Executor
from fedtiny.escaping.terminal import Screen
from fedtiny.report.blocks import replace_block

PAGE = Path("docs/results/training.md")
BEGIN, END = "<!-- bench-neon -->", "<!-- /bench-neon -->"
CASES = (("ResNet-8", "resnet8"), ("smart-watch CNN", "smartwatch_cnn"))
DENSITIES, BITS, BATCH = (1.0, 0.1, 0.05, 0.01), (32, 16), 16

cli = CommandLine()


@dataclass(frozen=True, slots=True)
class Count:
    """Instructions of one forward and backward pass.

    Attributes:
        network: for people.
        density: weights kept / weights.
        bits: of activations.
        instructions: executed.
        multiply_adds: with weights that are there.
    """

    network: str
    density: float
    bits: int
    instructions: int
    multiply_adds: int


def count(driver: Path, network: str, model: str, density: float, bits: int) -> Count:
    """Take one step in the emulator."""
    work = workload(model, density, BATCH)
    library = Emulated(driver, counting=True)
    options = EngineOptions(BATCH, activation_bits=bits)
    library.trainer = Executor(work.graph, work.sparse, options, lib=library)
    chosen = work.chosen(0)
    library.trainer.backward(work.x[chosen], work.y[chosen])
    return Count(network, density, bits, library.instructions, work.flops(work.nnz) // 2)


def markdown(counts: Sequence[Count]) -> str:
    """The table, and under it what was counted."""
    lines = [
        "| AArch64, emulated: network | density | instructions, 32 bits | fewer than dense "
        "| for a multiply-add | 16 bits | fewer than dense | for a multiply-add |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    found = {(one.network, one.density, one.bits): one for one in counts}
    for network, _ in CASES:
        dense = found[network, 1.0, 32].instructions
        for density in DENSITIES:
            cells = [
                f"{one.instructions / 1e6:.1f} M | **{dense / one.instructions:.1f}×** "
                f"| {one.instructions / one.multiply_adds * 4:.2f}"
                for one in (found[network, density, bits] for bits in BITS)
            ]
            lines.append(f"| {network} | {density:.0%} | {' | '.join(cells)} |")
    below = (
        f"Instructions that QEMU executed for a forward and a backward pass of {BATCH} samples. "
        "Dense: the engine with all weights, in 32 bits. For a multiply-add: of four lanes at a "
        "weight that is there; a load and the multiply-add itself are two."
    )
    return "\n".join([*lines, "", below])


@cli.command()
def neon(
    page: Annotated[Path, typer.Option(help="File whose table is rewritten.")] = PAGE,
) -> None:
    """Count every case, then rewrite the table."""
    console, counts = Screen(stderr=True), []
    replace_block(page.read_text(encoding="utf-8"), BEGIN, END, "")  # before minutes of work
    with tempfile.TemporaryDirectory() as directory:
        driver = compile_driver(Path(directory))
        for network, model in CASES:
            for density in DENSITIES:
                counts += [count(driver, network, model, density, bits) for bits in BITS]
                console.print(f"{network}, {density:.0%}")
    text = replace_block(page.read_text(encoding="utf-8"), BEGIN, END, markdown(counts))
    page.write_text(text, encoding="utf-8")
    print(markdown(counts))


if __name__ == "__main__":
    cli()
