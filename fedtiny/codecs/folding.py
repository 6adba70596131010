"""Pictures as encoders read them: each 4×4 pixels are the channels of one cell.

A convolution of 4×4 at stride 4 is then one of 1×1, which kernels compute without copying patches:
on a Cortex-M4 that alone is half of a small encoder's instructions. A 3×3 one sees 12×12 pixels.
The device folds while it looks pixels up in a table, for nothing (``fedtiny_code_input``).
"""

from __future__ import annotations

import numpy as np

from fedtiny.codecs.errors import CodecError
from fedtiny.models.ops import Shape

SIDE = 4
"""Pixels of a cell's edge."""
CELL = SIDE * SIDE
"""Pixels of a cell."""


def folded_shape(picture: Shape) -> Shape:
    """(16·C, H/4, W/4) of a picture (C, H, W).

    Raises:
        CodecError: height or width is no multiple of 4.

    >>> folded_shape((1, 28, 28))
    (16, 7, 7)
    """
    channels, height, width = picture
    if height % SIDE or width % SIDE:
        raise CodecError(
            f"a codec takes pictures whose height and width are multiples of {SIDE}, not "
            f"{height}×{width}; crop or pad them"
        )
    return CELL * channels, height // SIDE, width // SIDE


def picture_shape(folded: Shape) -> Shape:
    """The inverse of :func:`folded_shape`."""
    channels, height, width = folded
    return channels // CELL, height * SIDE, width * SIDE


def fold(x: np.ndarray) -> np.ndarray:
    """(N, 16·C, H/4, W/4) of (N, C, H, W), any dtype: a cell's channels are its pixels, row by row.

    >>> fold(np.arange(32).reshape(1, 1, 4, 8))[0, :6, 0].tolist()
    [[0, 4], [1, 5], [2, 6], [3, 7], [8, 12], [9, 13]]
    """
    channels, height, width = folded_shape(x.shape[1:])
    cells = x.reshape(len(x), -1, height, SIDE, width, SIDE)
    return cells.transpose(0, 3, 5, 1, 2, 4).reshape(len(x), channels, height, width)
