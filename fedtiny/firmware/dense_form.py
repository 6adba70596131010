"""In which form CMSIS-NN is given a convolution so that every release computes it.

For a single row ``arm_convolve_wrapper_s8`` takes ``arm_convolve_1_x_n_s8``. With MVE, from 4.1
on, that function refuses a row whose last columns no window reads (PyTorch's padding at stride 2
on an even width leaves one): it wants ``2·pad + (total mod 2) = total``, total being
``(outputs − 1)·stride + kernel − width``. 4.1 and 5.0 refuse rows too short for a padded window on
either side, too, and from 6.0 on a window that hangs over the right end by other than one column
is computed wrongly.

The same bytes are also a single *column*, which every release gives to ``arm_convolve_s8``. So a
row that one of them would refuse is called as a column.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedtiny.firmware.dense_scratch import Release, takes_1_x_n
from fedtiny.firmware.workspace import ConvShape

ALL_RELEASES = tuple(Release)


def dense_form(shape: ConvShape, releases: Sequence[Release] = ALL_RELEASES) -> ConvShape | None:
    """``shape`` itself, or turned from a row into a column; None if no form of it is left.

    None takes padding above and below a single row, which makes a map of it, or a 1x1 kernel
    whose windows overhang the map.

    Args:
        shape: of the layer.
        releases: that are to compute it. 4.0 alone takes every row as it is.

    >>> row = ConvShape((1, 128, 6), (1, 64, 8), (1, 5), (1, 2), (0, 2), max_nonzeros=0)
    >>> dense_form(row).input, dense_form(row).stride
    ((128, 1, 6), (2, 1))
    """
    if shape.kernel == (1, 1) and shape.padding == (0, 0) and shape.is_padded:
        return None  # its 1x1 kernels read the map alone
    if tuple(releases) == (Release.V4_0,) or _is_safe(shape, releases):
        return shape
    turned = shape.transposed()
    is_line = 1 in shape.output[:2]
    return turned if is_line and _is_safe(turned, releases) else None


def _is_safe(shape: ConvShape, releases: Sequence[Release]) -> bool:
    """Whether no release takes the row kernel, or all that do compute the right result."""
    return _row_is_exact(shape) or not any(takes_1_x_n(shape, release) for release in releases)


def _row_is_exact(shape: ConvShape) -> bool:
    """Whether ``arm_convolve_1_x_n_s8`` of every release computes the row ``shape``."""
    width, pad, kernel, stride = (
        shape.input[1],
        shape.padding[1],
        shape.kernel[1],
        shape.stride[1],
    )
    padded_windows = -(-pad // stride)
    return (
        shape.output[0] == 1
        and shape.padding[0] == 0
        and (shape.output[1] - 1) * stride + kernel == width + 2 * pad
        and 2 * padded_windows <= shape.output[1]
        and (pad == 0 or stride == 1 or pad % stride == 1)
    )
