"""A letter of a face as a picture of 28×28 grey levels: ink is 255, paper 0."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.seeding import rng
from sims.glyphs.faces import LETTERS, Face
from sims.glyphs.optional import FontError, optional

Picture = NDArray[np.uint8]
"""(28, 28)."""

SIDE = 28
_FINE = 4  # drawn this many times as large, then averaged
_HEIGHT, _WIDTH = 20.0, 23.0  # pixels that the tallest and the widest letter of a face take
_PROBE = 200  # pixels per em, to measure a face


@dataclass(frozen=True, slots=True)
class Jitter:
    """How a copy of a letter differs from the letter: what a scanner or a printer might do.

    Attributes:
        degrees: of rotation.
        shear: horizontal, per unit of height.
        scale: factors (across, down).
        shift: pixels (right, down).
        stroke: widening of strokes, in quarters of a pixel on either side: 0 or 1.
    """

    degrees: float = 0.0
    shear: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)
    stroke: int = 0


def jitter(seed: int, face: Face, letter: str, copy: int) -> Jitter:
    """A function of its position, as all randomness is: other faces and copies change nothing.

    Args:
        seed: of the data set.
        face: family and style count, not where the file lies.
        letter: one of :data:`LETTERS`.
        copy: counted from 0.

    >>> arial = Face("Arial", "Bold", Path("a.ttf"), "fonts-a")
    >>> jitter(0, arial, "A", 0) == jitter(0, arial, "A", 0) != jitter(0, arial, "A", 1)
    True
    """
    where = f"glyphs/{face.family}/{face.style}/{face.path.name}"
    draw = rng(seed, where, copy, LETTERS.index(letter))
    degrees, shear, across, down, right, below = draw.uniform(-1, 1, 6).tolist()
    return Jitter(
        degrees=6 * degrees,
        shear=0.08 * shear,
        scale=(1 + 0.08 * across, 1 + 0.08 * down),
        shift=(1.5 * right, 1.5 * below),
        stroke=int(draw.integers(2)),
    )


class Typesetter:
    """Draws one face, all letters on one scale: the tallest is 20 pixels high, none wider than 23.

    Args:
        path: of the font file.

    Raises:
        FontError: FreeType cannot read it, or one of its letters has no ink.
    """

    def __init__(self, path: Path) -> None:
        self._images, self._draw = optional("PIL.Image"), optional("PIL.ImageDraw")
        probe = self._font(path, _PROBE)
        boxes = np.array([probe.getbbox(letter) for letter in LETTERS], np.float64)
        sizes = boxes[:, 2:] - boxes[:, :2]
        blank = [letter for letter, size in zip(LETTERS, sizes, strict=True) if not size.all()]
        if blank:
            raise FontError(f"{path.name}: draws nothing for {''.join(blank)}")
        widest, tallest = sizes.max(axis=0)
        size = round(_PROBE * _FINE * min(_HEIGHT / tallest, _WIDTH / widest))
        self._letters = self._font(path, max(size, 1))

    def _font(self, path: Path, size: int) -> Any:  # noqa: ANN401 - Pillow is optional
        fonts = optional("PIL.ImageFont")
        try:
            return fonts.truetype(str(path), size, layout_engine=fonts.Layout.BASIC)
        except OSError as error:
            raise FontError(f"{path.name}: FreeType cannot read it: {error!s:.100}") from error

    def picture(self, letter: str, jitter: Jitter | None = None) -> Picture:
        """The letter in the middle of a picture, and then moved as ``jitter`` says."""
        change = jitter or Jitter()
        side = SIDE * _FINE
        sheet = self._images.new("L", (side, side), 0)
        box = self._letters.getbbox(letter, stroke_width=change.stroke)
        corner = ((side - box[0] - box[2]) / 2, (side - box[1] - box[3]) / 2)
        pen = self._draw.Draw(sheet)
        pen.text(corner, letter, 255, self._letters, stroke_width=change.stroke)
        if change != Jitter(stroke=change.stroke):
            sheet = sheet.transform(
                (side, side),
                self._images.Transform.AFFINE,
                _inverse(change, side / 2),
                self._images.Resampling.BICUBIC,
            )
        fine = np.asarray(sheet, np.float32).reshape(SIDE, _FINE, SIDE, _FINE)
        coarse: Picture = np.rint(fine.mean(axis=(1, 3))).astype(np.uint8)
        return coarse

    def alphabet(self) -> NDArray[np.uint8]:
        """(26, 28, 28): every letter as it is."""
        return np.stack([self.picture(letter) for letter in LETTERS])


def _inverse(change: Jitter, middle: float) -> tuple[float, ...]:
    """Pillow's six numbers: from a place in the new picture to that in the old one."""
    turn = np.deg2rad(change.degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    forward = rotation @ np.array([[1.0, change.shear], [0.0, 1.0]]) @ np.diag(change.scale)
    back = np.linalg.inv(forward)
    offset = middle - back @ (middle + _FINE * np.array(change.shift))
    return (*back[0].tolist(), float(offset[0]), *back[1].tolist(), float(offset[1]))
