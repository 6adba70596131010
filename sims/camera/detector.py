"""A small network that says of every cell of 8 × 8 pixels: nothing, or the middle of an item.

Objects as the middles of their boxes (CenterNet, Zhou et al. 2019), with sizes as classes instead
of a regression: one softmax a cell over "nothing" and :data:`SIDES`, trained by cross-entropy.
The same body and the same cells for every pooling: the stem's strides make up for it.
"""

from __future__ import annotations

from math import ceil

import numpy as np
import numpy.typing as npt

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Conv, Linear, Node
from fedtiny.sensing.box import Box, clipped
from sims.camera.scenes import LARGEST, SENSOR, SIDE, Item

CELL = 8
"""Pixels a side."""

CELLS = "cells"
"""The layer that makes the logits."""

_SIZES = 6
SIDES = tuple(round(SIDE * LARGEST ** ((i + 0.5) / _SIZES)) for i in range(_SIZES))
"""Side of a box by its class: the middles of equal steps of the logarithm."""

MOST_BOXES = 4
"""A scene's, read at full resolution."""

MIDDLE = 0.2
"""Cells that are nearer to an item's middle than this part of its side belong to it."""

AROUND = 2
"""Cells around the best one that a box's middle is averaged over."""

Cells = npt.NDArray[np.int64]
Logits = npt.NDArray[np.int32]


_WIDTHS = (8, 12, 16, 16, 16, 16, 16)
"""Channels of the 3 × 3 convolutions: three of the stem, four of the body."""


def detector(pooling: int, grey: bool) -> Graph:
    """The network for a frame pooled so.

    >>> graph = detector(8, grey=True)
    >>> graph.input_shape, graph.shapes[graph.logits]
    ((1, 30, 40), (7, 30, 40))
    """
    height, width, channels = SENSOR.pooled_shape(pooling, grey)
    body, last = _body(pooling, channels, padding=1)
    cells = Conv(
        CELLS, last, _WIDTHS[-1], 1 + _SIZES, (1, 1), batch_norm=False,
        activation=Activation.NONE, prunable=False,
    )  # fmt: skip
    return Graph("camera_detector", (channels, height, width), (*body, cells))


def view(pooling: int, grey: bool) -> Graph:
    """The same network on what one cell sees: it trains the other, parameter for parameter.

    >>> view(8, grey=True).input_shape
    (1, 15, 15)
    """
    channels, side = SENSOR.pooled_shape(pooling, grey)[2], window(pooling)[0]
    body, last = _body(pooling, channels, padding=0)
    head = Linear(CELLS, last, _WIDTHS[-1], 1 + _SIZES, prunable=False)
    return Graph("camera_view", (channels, side, side), (*body, head))


def window(pooling: int) -> tuple[int, int, int]:
    """(side, offset, stride): cell i sees pooled pixels [stride·i − offset, + side) of an axis.

    >>> window(1), window(8)
    ((79, 39, 8), (15, 7, 1))
    """
    side, offset, stride = 1, 0, 1
    for step in reversed(_strides(pooling)):
        side, offset, stride = (side - 1) * step + 3, offset * step + 1, stride * step
    return side, offset, stride


def _strides(pooling: int) -> tuple[int, ...]:
    """The stem halves in its last layers: the larger the pooling, the fewer."""
    halvings = (CELL // pooling).bit_length() - 1
    return tuple(2 if 3 - halvings <= i < 3 else 1 for i in range(len(_WIDTHS)))


def _body(pooling: int, channels: int, padding: int) -> tuple[list[Node], str]:
    nodes: list[Node] = []
    before, source = channels, INPUT
    for i, (out, step) in enumerate(zip(_WIDTHS, _strides(pooling), strict=True)):
        name, pads = f"conv{i}", (padding, padding)
        nodes.append(Conv(name, source, before, out, (3, 3), (step, step), pads, prunable=False))
        before, source = out, name
    return nodes, source


def targets(items: tuple[Item, ...]) -> Cells:
    """Of every cell, ``(30, 40)``: 0 for nothing, 1 + i for the middle of a box of SIDES[i]."""
    cells = np.zeros((SENSOR.height // CELL, SENSOR.width // CELL), np.int64)
    rows, columns = (CELL * np.arange(n) + CELL / 2 for n in cells.shape)
    for item in items:
        box = item.box
        size = int(np.argmin([abs(np.log(box.width / side)) for side in SIDES]))
        x, y = box.x + box.width / 2, box.y + box.height / 2
        reach = max(MIDDLE * box.width, CELL / 2)
        inside = (np.abs(rows - y) <= reach)[:, None] & (np.abs(columns - x) <= reach)
        cells[inside] = 1 + size
    return cells


def boxes(logits: Logits, threshold: int) -> list[tuple[Box, int]]:
    """(box, score) of what is found, best first; in integers, as the firmware does it.

    Args:
        logits: ``(7, 30, 40)``, whole numbers.
        threshold: least score: the largest logit of a size over that of nothing.
    """
    score = logits[1:].max(axis=0) - logits[0]
    found: list[tuple[Box, int]] = []
    while len(found) < MOST_BOXES:
        row, column = divmod(int(score.argmax()), score.shape[1])
        best = int(score[row, column])
        if best < threshold:
            break
        side = SIDES[int(logits[1:, row, column].argmax())]
        x, y = _middle(score, row, column, threshold)
        box = clipped(x - side // 2, y - side // 2, side, side, (SENSOR.width, SENSOR.height))
        if box is not None:
            found.append((box, best))
        reach = max(ceil(side / 2 / CELL), 1)
        score = score.copy()
        top, left = max(row - reach, 0), max(column - reach, 0)
        score[top : row + reach + 1, left : column + reach + 1] = -(2**20)
    return found


def _middle(score: Logits, row: int, column: int, threshold: int) -> tuple[int, int]:
    """(x, y) in pixels: cells weighed by how far they are above the threshold."""
    total = across = down = 0
    for r in range(max(row - AROUND, 0), min(row + AROUND + 1, score.shape[0])):
        for c in range(max(column - AROUND, 0), min(column + AROUND + 1, score.shape[1])):
            weight = max(int(score[r, c]) - threshold + 1, 0)
            total += weight
            across += weight * (2 * c + 1)
            down += weight * (2 * r + 1)
    half = CELL // 2
    return (half * across + total // 2) // total, (half * down + total // 2) // total
