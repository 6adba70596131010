"""``python -m fedtiny.bench.images``: docs/results/images.md, what whole programs take."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from fedtiny.bench import synthetic
from fedtiny.bench.firmware_table import CORES, Network
from fedtiny.boards import qemu
from fedtiny.boards.elf import ElfSizes
from fedtiny.boards.image import image_sizes
from fedtiny.boards.kernels import compile_portable
from fedtiny.command_line import CommandLine
from fedtiny.escaping.terminal import Screen
from fedtiny.firmware.emit import sources
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.planner import fit, target_of_core
from fedtiny.models import build
from fedtiny.report.blocks import replace_block
from fedtiny.report.tables import markdown_table

PAGE = Path("docs/results/images.md")
BEGIN, END = "<!-- bench-images -->", "<!-- /bench-images -->"
cli = CommandLine()


NETWORKS = {
    Network("smart-watch CNN", "smartwatch_cnn", (6, 1, 128), 7): (1.0, 0.05),
    Network("ResNet-8, 32×32×3", "resnet8", (3, 32, 32), 10): (1.0, 0.05),
    Network("DS-CNN keyword spotting, 49×10", "ds_cnn", (1, 49, 10), 12): (1.0, 0.2),
}
"""The densities at which each is linked."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image: bytes as ``size`` counts them, weights within text, the arena within bss."""

    network: str
    core: str
    density: float
    text_bytes: int
    data_bytes: int
    bss_bytes: int
    weights_bytes: int
    arena_bytes: int


def rows() -> Iterator[Row]:
    """Every network at its densities on every core."""
    for core in CORES:
        with tempfile.TemporaryDirectory() as folder:
            target = qemu.machine(f"qemu-{core}")
            kernels = compile_portable(target, Path(folder) / "kernels")
            for network, densities in NETWORKS.items():
                for density in densities:
                    place = Path(folder) / f"{network.model}-{density:g}"
                    graph = build(network.model, network.input_shape, network.classes)
                    model = synthetic.integer_model(graph, density)
                    plan = fit(model, target_of_core(core)).plan
                    place.mkdir()
                    interface = SensorInterface.numbered(model, "counts")
                    for name, text in sources(plan, interface).items():
                        (place / name).write_text(text, encoding="utf-8")
                    sizes = image_sizes(target, place, place / "image", kernels=kernels)
                    yield _row(network, core, density, sizes, plan.flash_bytes, plan.arena.nbytes)


def _row(
    network: Network, core: str, density: float, sizes: ElfSizes, weights: int, arena: int
) -> Row:
    parts = sizes.text_bytes, sizes.data_bytes, sizes.bss_bytes
    return Row(network.title, CORES[core], density, *parts, weights, arena)


def markdown(images: Sequence[Row]) -> str:
    """The table."""
    head = [
        "network",
        "core",
        "density",
        "text",
        "data",
        "bss",
        "of text: weights",
        "of bss: arena",
    ]
    numbers = ("text_bytes", "data_bytes", "bss_bytes", "weights_bytes", "arena_bytes")
    cells = [
        [one.network, one.core, f"{one.density:.0%}", *(f"{getattr(one, k):,}" for k in numbers)]
        for one in images
    ]
    return markdown_table(head, cells)


@cli.command()
def main(
    page: Annotated[Path, typer.Option(help="Page whose table is rewritten.")] = PAGE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Link every image and rewrite the page's table."""
    images = list(rows())
    text = page.read_text(encoding="utf-8")
    page.write_text(replace_block(text, BEGIN, END, markdown(images)), encoding="utf-8")
    if as_json:
        print(json.dumps([asdict(one) for one in images], indent=2))
    else:
        Screen().say(f"{page}: {len(images)} images")


if __name__ == "__main__":
    cli()
