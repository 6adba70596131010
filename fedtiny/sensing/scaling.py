"""A box's picture at another size: means over areas, in integers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedtiny.sensing.pixels import Codes


def scaled(image: Codes, size: tuple[int, int], grey: bool) -> Codes:
    """``image`` at another size; every cell is the mean of the area that it covers, halves up.

    Pixels that a cell covers in part count with that part. Enlarging repeats pixels, and mixes them
    where cells straddle their borders.

    Args:
        image: ``(h, w, C)``.
        size: (height, width) of the result.
        grey: average channels too; there is one rounding.

    >>> scaled(np.array([[[10], [20], [40]]], np.uint8), (1, 2), grey=False).ravel().tolist()
    [13, 33]
    """
    height, width, channels = image.shape
    down, across = _shares(height, size[0]), _shares(width, size[1])
    rows = np.einsum("yh,hwc->ywc", down, image.astype(np.int64))
    sums = np.einsum(
        "ywc,xw->yxc", rows, across
    )  # one side at a time: all at once is their product
    count = height * width
    if grey:
        sums, count = sums.sum(axis=2, keepdims=True), count * channels
    means: Codes = ((2 * sums + count) // (2 * count)).astype(np.uint8)
    return means


def _shares(pixels: int, cells: int) -> npt.NDArray[np.int64]:
    """(cells, pixels): how much of a pixel is in a cell, in 1 / ``cells`` of a pixel."""
    edges = np.arange(cells)[:, None] * pixels, np.arange(pixels)[None, :] * cells
    ends = np.minimum(edges[0] + pixels, edges[1] + cells)
    shares: npt.NDArray[np.int64] = np.maximum(ends - np.maximum(*edges), 0)
    return shares
