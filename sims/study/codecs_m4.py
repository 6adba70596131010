"""``python -m sims.study.codecs_m4 LIBJPEG``: instructions of a code and of a JPEG file on an M4.

Encoders are trained for a moment only: what they execute depends on their shapes. Pictures are the
first of Fashion-MNIST's test part. Codes are compared with the Python side's, and files with those
that Pillow writes by a libjpeg of its own, byte for byte.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from fedtiny.boards import kernels, qemu
from fedtiny.codecs.blocks import crc16
from fedtiny.codecs.device_half import DeviceHalf
from fedtiny.codecs.emulated import encode
from fedtiny.codecs.emulated_jpeg import Transform, compress
from fedtiny.codecs.exporting import export_codec
from fedtiny.codecs.picture_files import PictureFormat, write
from fedtiny.codecs.server.classifying import train_classifier
from fedtiny.codecs.server.fitting import Lesson, Pictures
from fedtiny.codecs.server.pnc import Recipe, train_pnc
from fedtiny.codecs.server.vae import train_vae
from fedtiny.command_line import CommandLine
from fedtiny.report import rows as csv_rows
from fedtiny.report.blocks import replace_block
from fedtiny.runs.fields import Count
from sims.code_version import code_version
from sims.study.codecs_learned import RATES, rate_name
from sims.study.codecs_shared import pictures

PAGE = Path("docs/results/codecs.md")
CSV = Path("docs/results/codecs_m4.csv")
BEGIN, END = "<!-- codecs-m4: made by `python -m sims.study.codecs_m4` -->", "<!-- /codecs-m4 -->"
CORE, PICTURES, LEARNED = "qemu-m4", 16, 640
QUALITY = 5
JPEG = {
    "libjpeg-turbo, a file": (Transform.SLOW, True),
    "libjpeg-turbo, a file by its fast transform": (Transform.FAST, True),
    "libjpeg-turbo, fast transform, tables left out": (Transform.FAST, False),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A way to send one picture; means over pictures.

    Attributes:
        instructions: executed from the pixels to the bytes; of them ``coder`` after the network.
        macs: of the encoder, by its weights that are left.
        size: bytes of the code, or of the file with what is in it.
        mismatches: pictures whose bytes differ from the other implementation's; None: there is no
            other.
    """

    way: str
    core: str
    kernels: str
    macs: Count | None
    instructions: Count
    coder_instructions: Count | None
    size: float
    mismatches: Count | None
    commit: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What there is one row of."""
        return self.way, self.core, self.kernels


def encoders() -> Iterator[tuple[str, DeviceHalf]]:
    """(name, device's half) of every encoder of the study."""
    whole = pictures()[0]
    few = Pictures(whole.data.take(np.arange(LEARNED)), whole.normalization)
    yield "pnc", train_pnc(few, train_classifier(few, Lesson(1)), Recipe(joint_epochs=2), 0).half
    for rate in RATES:
        half = train_vae(few, replace(rate, epochs=2), 0).codec(few).half
        yield f"vae, {rate_name(rate)}", half


def measured(library: Path, directory: Path) -> Iterator[Row]:
    """All rows.

    Args:
        library: source tree of libjpeg-turbo.
        directory: for files.
    """
    target, commit = qemu.machine(CORE), code_version()
    x = pictures()[1].data.x[:PICTURES]
    compiled = kernels.compile_with_cmsis_nn(target, directory / "kernels")
    for name, half in encoders():
        folder = directory / name.replace(", ", "-").replace(" ", "_")
        export_codec(half, folder, x)
        found = encode(target, folder, x, compiled, folder.with_suffix(".program"))
        codes = [half.encode(one) for one in x]
        wrong = sum(one.crc16 != crc16(code) for one, code in zip(found, codes, strict=True))
        coder = _mean([one.coder_instructions for one in found])
        network = _mean([one.encoder_instructions for one in found])
        size = float(np.mean([len(code) for code in codes]))
        yield Row(
            name,
            CORE,
            "with CMSIS-NN 4.0",
            _products(half),
            network + coder,
            coder,
            size,
            wrong,
            commit,
        )
    files = [crc16(write(one, PictureFormat.JPEG, QUALITY)) for one in x]
    for name, (transform, tables) in JPEG.items():
        folder = directory / f"jpeg-{transform.value}-{tables}"
        made = compress(target, library, x, QUALITY, folder, transform, tables)
        comparable = transform is Transform.SLOW
        wrong = sum(one.crc16 != file for one, file in zip(made, files, strict=True))
        instructions = _mean([one.instructions for one in made])
        size = float(np.mean([one.size for one in made]))
        way = f"{name}, quality {QUALITY}"
        yield Row(
            way, CORE, "", None, instructions, None, size, wrong if comparable else None, commit
        )


def _products(half: DeviceHalf) -> int:
    layers, tensors = half.encoder.layers, half.encoder.tensors
    return sum(layer.weight.nnz * prod(tensors[layer.name].shape[1:]) for layer in layers)


def _mean(numbers: list[int]) -> int:
    return round(float(np.mean(numbers)))


def table(rows: list[Row]) -> str:
    """Of all rows, fewest instructions first."""
    lines = [
        "| on an emulated Cortex-M4, a picture of 28×28 | encoder's MACs | instructions | of them "
        "range coder | bytes | bytes that differ |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda one: one.instructions):
        cells = (_text(row.macs), _text(row.instructions), _text(row.coder_instructions))
        differ = _text(row.mismatches)
        lines.append(f"| {row.way} | {' | '.join(cells)} | {row.size:.1f} | {differ} |")
    return "\n".join(lines)


def _text(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


cli = CommandLine()


@cli.command()
def study(
    libjpeg: Annotated[Path, typer.Argument(help="Source tree of libjpeg-turbo 2.1.")],
) -> None:
    """Count everything anew and rewrite the table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        rows = list(measured(libjpeg.resolve(), Path(directory)))
    csv_rows.write(CSV, Row, rows)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(replace_block(text, BEGIN, END, table(rows)), encoding="utf-8")


if __name__ == "__main__":
    cli()
