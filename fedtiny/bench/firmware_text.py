"""A firmware benchmark for the terminal."""

from __future__ import annotations

from rich.table import Column, Table

from fedtiny.bench.firmware import FirmwareBenchmark
from fedtiny.boards.cmsis_nn import WHEEL
from fedtiny.escaping.terminal import Screen


def print_firmware(result: FirmwareBenchmark) -> None:
    """Instructions by layer and in sum; how many times fewer than CMSIS-NN dense."""
    right = [Column(name, justify="right") for name in ("ours", "CMSIS-NN", "own dense", "fewer")]
    table = Table(
        Column("layer", no_wrap=True),
        "map",
        "format",
        *right,
        Column("flash", justify="right"),
        Column("dense", justify="right"),
        title=f"{result.model} {result.input}, density {result.density:.1%}, "
        f"Cortex-{result.core.upper()}: executed instructions (not cycles)",
        title_justify="left",
    )
    for layer in result.layers:
        counts = layer.instructions
        table.add_row(
            layer.name,
            layer.map,
            layer.format or "",
            *(f"{counts[name]:,}" for name in ("ours", "cmsis_nn", "own_dense")),
            f"{counts['cmsis_nn'] / max(1, counts['ours']):.2f}×",
            *(f"{layer.flash_bytes[name]:,}" for name in ("ours", "dense")),
        )
    console = Screen()
    console.print(table)
    if result.timing is not None:
        console.print(_cycles(result))
    total = result.total
    release = "4.0" if result.cmsis_nn == WHEEL else f"in {result.cmsis_nn}"
    console.print(
        f"{total.instructions['ours']:,} instructions, {total.ratio:.2f}× fewer than CMSIS-NN "
        f"{release} dense; flash {total.flash_bytes['ours']:,} B, {total.flash_ratio:.2f}× "
        f"smaller; scratch {total.scratch_bytes:,} B; {total.mismatches} mismatches",
    )
    if total.cycles is not None:
        console.print(
            f"{total.cycles['ours']:,} modelled cycles, {total.cycle_ratio:.2f}× fewer: the "
            f"blocks that were executed by Arm's timings ({result.timing}); no measurement",
        )
    if isinstance(result.peer, str):
        console.print(f"BakeNN: {result.peer}")
    else:
        console.print(
            f"BakeNN with CMSIS-NN: {result.peer.instructions:,} instructions "
            f"({result.peer.instructions / total.instructions['ours']:.2f}× ours), flash "
            f"{result.peer.flash_bytes:,} B, arena {result.peer.arena_bytes:,} B",
        )


def _cycles(result: FirmwareBenchmark) -> Table:
    """Modelled cycles by layer, and how many times fewer."""
    right = [Column(name, justify="right") for name in ("ours", "CMSIS-NN", "own dense", "fewer")]
    table = Table(
        Column("layer", no_wrap=True), *right, title="Modelled cycles", title_justify="left"
    )
    for layer in result.layers:
        counts = layer.cycles or {}
        table.add_row(
            layer.name,
            *(f"{counts[name]:,}" for name in ("ours", "cmsis_nn", "own_dense")),
            f"{counts['cmsis_nn'] / max(1, counts['ours']):.2f}×",
        )
    return table
