"""``python -m sims.camera.photographs FACES RUN``: real photographs through the same sensor.

FACES is the folder ``usr/share/doc/libdlib19.1/examples/faces`` of Debian's libdlib19.1: pictures,
and in training.xml and testing.xml where the faces are (``apt-get download libdlib19.1 &&
dpkg-deb -x libdlib19.1*.deb .``). Two things are looked at: what reading a photograph in two stages
with its true boxes sends, counted beside the formula; and that the detector's path runs on pictures
of no generator of ours. It was trained on pieces of clothing: what it draws there is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from fedtiny.command_line import CommandLine
from fedtiny.errors import FedTinyError
from fedtiny.report.blocks import replace_block
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.sensing.box import Box, clipped
from fedtiny.sensing.camera import Camera
from fedtiny.sensing.pixels import Codes, as_light
from fedtiny.sensing.scaling import scaled
from fedtiny.sensing.sensor import Reading, Sensor
from fedtiny.text_files import read_text
from sims.camera.integers import IntegerCamera
from sims.camera.scenes import SENSOR
from sims.camera.study import CSV, SHOWN, name_of

PAGE = CSV.with_suffix(".md")
BEGIN = "<!-- photographs: made by `python -m sims.camera.photographs` -->"
END = "<!-- /photographs -->"
LISTS = ("training.xml", "testing.xml")

_IMAGE = re.compile(r"<image file='([^']+)'[^>]*>(.*?)</image>", re.DOTALL)
_BOX = re.compile(r"<box top='(-?\d+)' left='(-?\d+)' width='(\d+)' height='(\d+)'")


@dataclass(frozen=True, eq=False)
class Photograph:
    """A picture, cut to sides that every pooling divides, and the faces in it."""

    name: str
    codes: Codes
    faces: tuple[Box, ...]


def photographs(folder: Path) -> Iterator[Photograph]:
    """Those that the lists name.

    Raises:
        FedTinyError: the folder has no such lists, or a photograph is missing.
    """
    largest = max(SENSOR.poolings)
    for name in LISTS:
        if not (folder / name).is_file():
            raise FedTinyError(f"{folder / name}: no such file; give the folder of libdlib19.1")
        for file, body in _IMAGE.findall(read_text(folder / name)):
            with Image.open(folder / file) as picture:
                codes = np.asarray(picture.convert("RGB"))
            height, width = (side // largest * largest for side in codes.shape[:2])
            faces = (
                clipped(int(left), int(top), int(wide), int(high), (width, height))
                for top, left, wide, high in _BOX.findall(body)
            )
            yield Photograph(file, codes[:height, :width], tuple(box for box in faces if box))


def readings(shown: Sequence[Photograph]) -> Iterator[tuple[int, bool, int, int, int]]:
    """(k, grey, bits of all frames, bits counted, bits by formula) over photographs."""
    for k in SENSOR.poolings:
        for grey in (False, True):
            whole = counted = formula = 0
            for one in shown:
                height, width, _ = one.codes.shape
                sensor = Sensor(width, height, 3, 8, SENSOR.poolings)
                camera = Camera(sensor, as_light(one.codes))
                camera.read_pooled(k, grey)
                for box in one.faces:
                    camera.read_box(box)
                whole += sensor.frame_bits
                counted += camera.sent_bits
                formula += Reading(sensor, k, grey, one.faces).transfer_bits
            yield k, grey, whole, counted, formula


def table(shown: Sequence[Photograph], camera: IntegerCamera) -> str:
    """What was sent, and what the detector drew."""
    faces = sum(len(one.faces) for one in shown)
    lines = [
        f"{len(shown)} photographs, {faces} faces, true boxes.",
        "",
        "| k | colour | bytes counted | by formula | fewer than all frames |",
        "|--:|---|--:|--:|--:|",
    ]
    for k, grey, whole, counted, formula in readings(shown):
        colour = "grey" if grey else "rgb"
        lines.append(
            f"| {k} | {colour} | {counted // 8:,} | {formula // 8:,} | {whole / counted:.1f}× |"
        )
    size = (SENSOR.height, SENSOR.width)
    seen = [len(camera.look(as_light(scaled(one.codes, size, grey=False)))) for one in shown]
    drawn = ", ".join(map(str, seen))
    lines += ["", f"Boxes that the int8 detector draws, photograph by photograph: {drawn}."]
    return "\n".join(lines)


cli = CommandLine()


@cli.command()
def look(
    faces: Annotated[Path, typer.Argument(help="Folder with training.xml and testing.xml.")],
    run: Annotated[Path, typer.Argument(help="Of the study; with its detectors.")],
    detector: Annotated[str, typer.Option(help="One of RUN/detectors.")] = name_of(*SHOWN),
    page: Annotated[Path, typer.Option(help="Rewritten.")] = PAGE,
) -> None:
    """Read every photograph in two stages; rewrite the page's table."""
    finished = TrainedModel.load(RunFolder(run).model)
    camera = IntegerCamera.load(run / "detectors" / f"{detector}.safetensors", finished)
    text = page.read_text(encoding="utf-8")
    block = table(list(photographs(faces)), camera)
    page.write_text(replace_block(text, BEGIN, END, block), encoding="utf-8")
    print(block)


if __name__ == "__main__":
    cli()
