"""Tables for the terminal: how a model fits a device, what verification found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from fedtiny.boards.elf import ElfSizes
from fedtiny.boards.emulated import Emulation
from fedtiny.boards.verify import Results
from fedtiny.escaping.terminal import Screen
from fedtiny.export.report import layer_reports
from fedtiny.firmware.planner import Fit


def print_targets(results: Results) -> None:
    """One line a target; a table of instructions by layer if boards were emulated."""
    console = Screen()
    for name, result in results.items():
        line = f"{name}: {result.vectors} vectors, {result.mismatches} mismatches"
        if isinstance(result, Emulation):
            line += (
                f"; {result.instructions:,} instructions a vector, "
                f"stack {result.stack_bytes:,} B, code {result.sizes.code_bytes:,} B"
            )
        console.print(line)
        if isinstance(result, Emulation) and result.image is not None:
            console.print(_image(name, result.image))
    boards = {n: r for n, r in results.items() if isinstance(r, Emulation)}
    if not boards:
        return
    table = Table("instructions (not cycles)", *boards)
    names = [layer.name for layer in next(iter(boards.values())).layers]
    rows = [("quantize input", [r.quantize_instructions for r in boards.values()])]
    for i, name in enumerate(names):
        rows.append((name, [r.layers[i].instructions for r in boards.values()]))
    for name, counts in rows:
        table.add_row(name, *(f"{count:,}" for count in counts))
    console.print(table)


def _image(name: str, image: ElfSizes) -> str:
    return (
        f"{name}: whole image: text {image.text_bytes:,} B, data {image.data_bytes:,} B, bss "
        f"{image.bss_bytes:,} B (start-up, kernels, weights, arena and one window; no operating "
        "system, no stack)"
    )


def print_fit(fit: Fit) -> None:
    """What every layer costs, and whether the model fits its target."""
    table = Table(
        Column("layer", no_wrap=True),
        "kernel",
        "format",
        "density",
        Column("flash", justify="right"),
        Column("scratch", justify="right"),
        Column("alive", justify="right"),
        Column("instructions", justify="right"),
    )
    for layer in layer_reports(fit.plan):
        density = "" if layer.density is None else f"{layer.density:.1%}"
        kernel = layer.kernel.removeprefix("fedtiny_").removesuffix("_s8")
        sizes = (layer.flash_bytes, layer.scratch_bytes, layer.live_bytes, layer.instructions)
        table.add_row(
            layer.name, kernel, layer.format or "", density, *(f"{size:,}" for size in sizes)
        )
    console = Screen()
    console.print(table)
    plan = fit.plan
    console.print(
        f"{fit.target.name}: flash {plan.flash_bytes:,} B{_left(fit.flash_left_bytes)}, arena "
        f"{plan.arena.nbytes:,} B{_left(fit.ram_left_bytes)}, {plan.instructions:,} instructions "
        f"predicted on a Cortex-{fit.target.core.upper()} (not cycles)",
    )
    for problem in fit.problems:
        console.print(f"does not fit: {problem}")


def print_remarks(remarks: Iterable[str]) -> None:
    """Sentences about how a network was read."""
    for remark in remarks:
        Screen().say(remark)


def print_found(found: Mapping[str, Any], folder: Path) -> None:
    """What was written to ``folder``, how accurate it is if that is known, and its check."""
    accuracies = found.get("accuracies")
    if accuracies:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in accuracies.items())
        Screen().print(f"accuracy on the calibration labels: {shares}")
    checked = "not checked"
    if found["mismatches"] is not None:
        checked = f"{found['vectors']} vectors, {found['mismatches']} mismatches"
    Screen().print(
        f"{folder}: flash {found['flash_bytes']:,} B, arena {found['arena_bytes']:,} B; {checked}"
    )
    taken = found.get("learn")
    if taken:
        lessons = "lessons not checked"
        if found["lesson_mismatches"] is not None:
            lessons = f"{found['lessons']} lessons, {found['lesson_mismatches']} mismatches"
        Screen().print(
            f"learns by {taken['method']}: {taken['ram_bytes']:,} B of RAM in all (arena, learner "
            f"of {taken['parameters']:,} parameters, a window; stack apart), "
            f"{taken['flash_bytes']:,} B of flash for the start and two slots; {lessons}"
        )


def fit_dictionary(fit: Fit) -> dict[str, Any]:
    """The same for machines."""
    return {
        "target": asdict(fit.target),
        "fits": not fit.problems,
        "problems": fit.problems,
        "flash_bytes": fit.plan.flash_bytes,
        "flash_left_bytes": fit.flash_left_bytes,
        "arena_bytes": fit.plan.arena.nbytes,
        "ram_left_bytes": fit.ram_left_bytes,
        "instructions": fit.plan.instructions,
        "layers": [asdict(layer) for layer in layer_reports(fit.plan)],
    }


def _left(nbytes: int | None) -> str:
    return "" if nbytes is None else f" ({nbytes:,} B left)"
