"""A training benchmark for the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

from fedtiny.bench.layers import LayerProfile
from fedtiny.bench.train import TrainBenchmark
from fedtiny.escaping.terminal import Screen, terminal_text

TITLES = {
    "dense": "PyTorch dense",
    "masked": "PyTorch masked",
    "sparse": "sparse",
    "sparse_16_bits": "with 16 bits",
    "sparse_recompute": "with recompute",
}
"""Contenders as readers know them."""


def print_train(result: TrainBenchmark) -> None:
    """One row a contender, and what the machine could do."""
    work, dense = result.work, result.ms["dense"]
    table = Table(
        "", "ms/step", "samples/s", "speed-up", "peak", "of dense", "of FMA",
        title=f"{work.name} {'x'.join(map(str, work.graph.input_shape))}, "
        f"density {work.sparse.density:.1%}, batch {work.batch}, threads {work.threads}",
        box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left",
    )  # fmt: skip
    for name, ms in result.ms.items():
        peak = result.peak_bytes[name]
        table.add_row(
            TITLES[name],
            f"{ms:.2f}",
            f"{work.batch / ms * 1e3:,.0f}",
            f"{dense / ms:.2f}×",
            f"{peak / 1e6:.2f} MB",
            f"{peak / result.peak_bytes['dense']:.2f}",
            f"{result.roofline_share[name]:.1%}",
        )
    console = Screen()
    console.print(table)
    console.print(
        f"Medians of {result.repeats} steps in turn (batch copy, forward, loss, backward, "
        f"optimizer). Measured peak of {work.threads} thread(s): "
        f"{result.peak.flops_per_s / 1e9:.0f} GFLOP/s ({result.peak.source}); the share counts "
        "FLOPs executed, the sparse engine's at the non-zeros only.",
    )
    if result.recompute is not None:
        layers = ", ".join(sorted(result.recompute)) or "none: it would save nothing"
        console.print(f"Recomputed in the backward pass: {layers}.")
    if result.busy:
        console.print(
            terminal_text("note: ", "yellow")
            + terminal_text("other work had the cores meanwhile; see cpu_ms in --json")
        )


def print_layers(profile: LayerProfile, screen: Screen) -> None:
    """One row a layer: its time beside its floor."""
    table = Table(
        "", "nnz", "density", "forward ms", "backward ms", "GFLOP/s", "floor ms", "of the floor",
        title="The sparse step by layer", box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left",
    )  # fmt: skip
    for one in profile.layers:
        times = f"{one.forward_ms:.3f}", f"{one.backward_ms:.3f}"
        if not one.flops:
            table.add_row(one.name, "", "", *times, "", "", "")
            continue
        rate = f"{one.flops / one.ms / 1e6:.1f}"
        floor = f"{one.floor_ms:.3f}", f"{one.floor_share:.0%}"
        table.add_row(one.name, f"{one.nnz:,}", f"{one.density:.1%}", *times, rate, *floor)
    screen.print(table)
    screen.print(
        "The fastest of all steps, op by op. Floor: multiply-adds at the non-zeros at "
        f"{profile.peak.flops_per_s / 1e9:.0f} GFLOP/s, or the bytes of maps and weights, once a "
        f"pass, at {profile.copy_bytes_per_s / 1e9:.0f} GB/s, whichever takes longer."
    )
