"""``python -m fedtiny.bench.table``: docs/results/training.md, its plot and its CSV."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from fedtiny.bench.train import REPEATS, bench_train
from fedtiny.bench.workload import workload
from fedtiny.command_line import CommandLine
from fedtiny.engine.library import load
from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import Screen
from fedtiny.report.blocks import replace_block
from fedtiny.settings import MOST

PAGE = Path("docs/results/training.md")
BEGIN, END = "<!-- bench-train -->", "<!-- /bench-train -->"
CURVE = (0.5, 0.3, 0.1, 0.05, 0.02, 0.01)
NARROWER, NARROWER_DENSITIES = "avx2", (0.1, 0.05, 0.01)

cli = CommandLine()
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table.

    Attributes:
        title: of the network.
        model: in the registry, at its customary input size.
        density: weights kept / weights.
        batch: samples per step.
        curve: part of the plot.
    """

    title: str
    model: str
    density: float
    batch: int
    curve: bool = True


CASES = (
    *(Case("ResNet-8", "resnet8", density, 64) for density in CURVE),
    *(Case("ResNet-18", "resnet18", density, 16) for density in CURVE),
    Case("ResNet-18", "resnet18", 0.01, 8, curve=False),
    Case("smart-watch CNN", "smartwatch_cnn", 0.05, 32, curve=False),
)


def run_case(case: Case, repeats: int) -> Row:
    """The benchmark's figures, and the network's name for people."""
    result = bench_train(workload(case.model, case.density, case.batch), repeats, recompute=True)
    figures = result.json()
    size = "×".join(map(str, figures["input"]))
    network = f"{case.title}, {size}, batch {case.batch}"
    return {"network": network, "curve": case.curve, "busy": result.busy, **figures}


def run_narrower(case: Case, repeats: int) -> Row:
    """The case's figures where nobody uses wider vectors than AVX2's, from a process of its own."""
    command = [sys.executable, "-m", "fedtiny", "bench", "train", "--model", case.model]
    options = {"density": case.density, "batch": case.batch, "repeats": repeats}
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    command += ["--instruction-set", NARROWER, "--json"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise FedTinyError(f"{shlex.join(command)}: {done.stderr.strip()}")
    return {"network": case.title, **json.loads(done.stdout)}


def narrower_markdown(rows: Sequence[Row]) -> str:
    """The table of processors whose vectors are narrower."""
    lines = [
        "| AVX2: network | density | PyTorch dense | sparse | speed-up | with 16 bits | speed-up |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        ms = row["ms"]
        lines.append(
            f"| {row['network']} | {row['density']:.0%} | {ms['dense']:.1f} ms "
            f"| {ms['sparse']:.2f} ms | **{ms['dense'] / ms['sparse']:.1f}×** "
            f"| {ms['sparse_16_bits']:.2f} ms | **{ms['dense'] / ms['sparse_16_bits']:.1f}×** |"
        )
    return "\n".join(lines)


def markdown(rows: Sequence[Row], narrower: Sequence[Row]) -> str:
    """The tables, and under them what they were measured on."""
    lines = [
        "| network | density | PyTorch dense | masked dense | sparse | speed-up "
        "| with 16 bits | speed-up | dense peak | sparse peak | with 16 bits | recomputing |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        ms, peak = row["ms"], row["peak_bytes"]
        lines.append(
            f"| {row['network']} | {row['density']:.0%} | {ms['dense']:.1f} ms "
            f"| {ms['masked']:.1f} ms | {ms['sparse']:.2f} ms | **{row['speedup']:.1f}×** "
            f"| {ms['sparse_16_bits']:.2f} ms | **{ms['dense'] / ms['sparse_16_bits']:.1f}×** "
            f"| {_mb(peak['dense'])} | {_share(peak, 'sparse')} | {_share(peak, 'sparse_16_bits')} "
            f"| {_mb(peak['sparse_recompute'])}, {_cost(ms)} |"
        )
    under = ["", _conditions(rows), "", "![](bench_train.png)"]
    return "\n".join([*lines, "", narrower_markdown(narrower), *under])


def _share(peak: dict[str, int], name: str) -> str:
    return f"{_mb(peak[name])} ({peak[name] / peak['dense']:.2f})"


def _mb(nbytes: int) -> str:
    return f"{nbytes / 1e6:.1f} MB"


def _cost(ms: dict[str, float]) -> str:
    return f"{ms['sparse_recompute'] / ms['sparse'] - 1:+.0%} time"


def _conditions(rows: Sequence[Row]) -> str:
    first = rows[0]
    peak = max(row["fma_peak_gflop_per_s"] for row in rows)
    shares = {
        name: f"{min(row['roofline_share'][name] for row in rows):.0%} to "
        f"{max(row['roofline_share'][name] for row in rows):.0%}"
        for name in ("dense", "sparse")
    }
    busy = " Other work had the cores during some rows." if any(r["busy"] for r in rows) else ""
    return (
        f"Medians of {first['repeats']} whole steps (batch copy, forward, loss, backward, SGD with "
        f"momentum), the rivals taking turns, {first['threads']} thread of {processor()}, "
        f"{first['instruction_set']}, PyTorch {version('torch')} with channels-last. Peaks count "
        f"everything a step holds. Of the {peak:.0f} GFLOP/s of register-only multiply-adds "
        f"measured in the same run, dense steps reach {shares['dense']}, sparse ones "
        f"{shares['sparse']} counting non-zeros only.{busy}"
    )


def processor() -> str:
    """This machine's, for people."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    return f"{names[0] if names else platform.machine()} ({os.cpu_count()} cores)"


@cli.command()
def table(
    repeats: Annotated[int, typer.Option(help="Timed steps of each.", min=1, max=MOST)] = REPEATS,
    page: Annotated[
        Path, typer.Option(help="File whose table is rewritten; plot and CSV go beside it.")
    ] = PAGE,
) -> None:
    """Measure every case, then rewrite the table, the plot and the CSV."""
    from fedtiny.bench.plot import density_chart  # noqa: PLC0415 - matplotlib is optional
    from fedtiny.report.plots.style import style  # noqa: PLC0415 - matplotlib is optional

    console = Screen(stderr=True)
    replace_block(page.read_text(encoding="utf-8"), BEGIN, END, "")  # before minutes of work
    rows = []
    for case in CASES:
        rows.append(run_case(case, repeats))
        done = rows[-1]
        console.print(f"{done['network']}, {done['density']:.0%}: {done['speedup']:.2f}×")
    cases = [case for case in CASES if case.curve and case.density in NARROWER_DENSITIES]
    narrower = []
    if NARROWER in load().instruction_sets[1:]:
        for case in cases:
            narrower.append(run_narrower(case, repeats))
            console.print(f"{case.title}, {case.density:.0%}, {NARROWER}")
    text = markdown(rows, narrower)
    page.write_text(
        replace_block(page.read_text(encoding="utf-8"), BEGIN, END, text), encoding="utf-8"
    )
    with style():
        density_chart([row for row in rows if row["curve"]]).save(page.parent)
    print(text)


if __name__ == "__main__":
    cli()
