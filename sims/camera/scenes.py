"""Scenes of 320 × 240 pixels with clutter and one to three items, drawn by seed.

An item is a picture of Fashion-MNIST on its own dark card, 28 to 84 pixels a side, tinted. Beside
items lie cards of *scrambled* items: the same light, its 7 × 7 blocks shuffled, which a detector
has to leave alone. No two cards overlap. Gradients, bars, ellipses and grain are clutter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedtiny.data.dataset import Dataset
from fedtiny.seeding import rng
from fedtiny.sensing.box import Box, overlap
from fedtiny.sensing.pixels import Light, as_light
from fedtiny.sensing.scaling import scaled
from fedtiny.sensing.sensor import Sensor

SENSOR = Sensor(320, 240, 3, 8, (1, 2, 4, 8))
SIDE = 28
"""Of a picture of Fashion-MNIST."""

LARGEST = 3
"""Times :data:`SIDE`."""

_BLOCK = 7
_MARGIN = 4
"""Pixels between cards."""


@dataclass(frozen=True, eq=False)
class Item:
    """What lies where."""

    box: Box
    label: int


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene.

    Attributes:
        light: uint16 ``(240, 320, 3)``.
        items: to be found in it.
        scrambled: boxes of cards that are none.
    """

    light: Light
    items: tuple[Item, ...]
    scrambled: tuple[Box, ...]


def scene(images: Dataset, seed: int, purpose: str, index: int) -> Scene:
    """One scene.

    Args:
        images: uint8 ``(N, 1, 28, 28)``, that items are drawn from.
        seed, purpose, index: its position: the same three give the same scene.
    """
    draw = rng(seed, f"camera scene, {purpose}", index)
    light = _clutter(draw)
    items, scrambled, taken = [], list[Box](), list[Box]()
    number, others = int(draw.integers(1, 4)), int(draw.integers(0, 3))
    for card in range(number + others):
        box = _place(draw, taken)
        if box is None:
            continue
        taken.append(box)
        row = int(draw.integers(len(images)))
        picture = images.x[row, 0].astype(np.uint8)
        if card >= number:
            picture = _scrambled(picture, draw)
            scrambled.append(box)
        else:
            items.append(Item(box, int(images.y[row])))
        _paste(light, picture, box, draw)
    return Scene(light, tuple(items), tuple(scrambled))


def _place(draw: np.random.Generator, taken: list[Box]) -> Box | None:
    """A free place for a card; None if twenty tries found none."""
    for _ in range(20):
        side = round(SIDE * float(draw.uniform(1, LARGEST)))
        x = int(draw.integers(0, SENSOR.width - side + 1))
        y = int(draw.integers(0, SENSOR.height - side + 1))
        left, top = max(x - _MARGIN, 0), max(y - _MARGIN, 0)
        around = Box(left, top, x + side + _MARGIN - left, y + side + _MARGIN - top)
        if all(overlap(around, other) == 0 for other in taken):
            return Box(x, y, side, side)
    return None


def _scrambled(picture: npt.NDArray[np.uint8], draw: np.random.Generator) -> npt.NDArray[np.uint8]:
    number = SIDE // _BLOCK
    blocks = picture.reshape(number, _BLOCK, number, _BLOCK).transpose(0, 2, 1, 3)
    shuffled = draw.permutation(blocks.reshape(-1, _BLOCK, _BLOCK))
    grid = shuffled.reshape(number, number, _BLOCK, _BLOCK).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(grid.reshape(SIDE, SIDE))


def _paste(
    light: Light, picture: npt.NDArray[np.uint8], box: Box, draw: np.random.Generator
) -> None:
    tint = draw.uniform(0.7, 1.0, 3)
    large = scaled(picture[:, :, None], (box.height, box.width), grey=False)
    light[box.y : box.bottom, box.x : box.right] = np.rint(as_light(large) * tint)


def _clutter(draw: np.random.Generator) -> Light:
    """A gradient, twelve bars and ellipses of any colour, and grain."""
    rows = np.arange(SENSOR.height, dtype=np.float32)[:, None]
    columns = np.arange(SENSOR.width, dtype=np.float32)
    low, high = draw.uniform(0.1, 0.6, 3), draw.uniform(0.3, 0.9, 3)
    angle = draw.uniform(0, 2 * np.pi)
    along = np.cos(angle) * columns / SENSOR.width + np.sin(angle) * rows / SENSOR.height
    along = (along - along.min()) / np.ptp(along)
    canvas = (low + along[:, :, None] * (high - low)).astype(np.float32)
    for _ in range(12):
        _shape(canvas, draw)
    canvas += 0.03 * draw.standard_normal((*canvas.shape[:2], 1), np.float32)
    light: Light = (np.clip(canvas, 0, 1) * 65_535).astype(np.uint16)
    return light


def _shape(canvas: npt.NDArray[np.float32], draw: np.random.Generator) -> None:
    """A bar or an ellipse, 8 to 120 pixels a side, partly outside perhaps."""
    x, y = int(draw.integers(SENSOR.width)), int(draw.integers(SENSOR.height))
    wide, high = (int(n) for n in draw.integers(4, 60, 2))
    top, left = max(y - high, 0), max(x - wide, 0)
    part = canvas[top : y + high, left : x + wide]
    colour = draw.uniform(0, 1, 3)
    if draw.random() < 0.5:
        part[:] = colour
        return
    down = (np.arange(top, top + part.shape[0]) + 0.5 - y) / high
    across = (np.arange(left, left + part.shape[1]) + 0.5 - x) / wide
    part[(down[:, None] ** 2 + across**2) < 1] = colour
