"""Scratch bytes of CMSIS-NN's kernels: a twin of each ``_get_buffer_size``, by release and core.

A project is exported before anybody knows which CMSIS-NN it will be linked with, and a generated
model refuses to run a layer whose getter asks for more than the arena holds. So the arena holds
the most that any known release asks for on any core: :func:`conv_bytes`,
:func:`depthwise_bytes` and :func:`average_pool_bytes`. The tests compare the twins of 4.0 with the
real functions on every core; those of later releases are written down as cases.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from itertools import product

from fedtiny.firmware.workspace import ConvShape

_MVE_CHANNELS = 124  # CMSIS-NN's CH_IN_BLOCK_MVE
_INT16_BYTES, _INT32_BYTES = 2, 4


class Release(Enum):
    """Releases of CMSIS-NN whose getters differ; each stands for those up to the next."""

    V4_0 = (4, 0)
    V4_1 = (4, 1)
    V6_0 = (6, 0)
    V7_0 = (7, 0)


class Extension(Enum):
    """What CMSIS-NN's kernels are compiled for; the vector extension excludes the other's code."""

    NONE = "none"
    DSP = "dsp"
    MVE = "mve"


def conv_bytes(shape: ConvShape) -> int:
    """Scratch to reserve for ``arm_convolve_wrapper_s8``, whatever is linked.

    >>> conv_bytes(ConvShape((8, 8, 3), (8, 8, 4), (3, 3), (1, 1), (1, 1), 0))
    128
    """
    return _most(lambda release, core: convolve_wrapper_s8(shape, release, core))


def depthwise_bytes(shape: ConvShape) -> int:
    """Scratch to reserve for ``arm_depthwise_conv_wrapper_s8``, whatever is linked.

    >>> depthwise_bytes(ConvShape((8, 8, 3), (8, 8, 3), (3, 3), (1, 1), (1, 1), 0))
    4464
    """
    return _most(lambda release, core: depthwise_conv_wrapper_s8(shape, release, core))


def average_pool_bytes(channels: int) -> int:
    """Scratch to reserve for ``arm_avgpool_s8``, whatever is linked."""
    return _most(lambda _, core: avgpool_s8(channels, core))


def _most(twin: Callable[[Release, Extension], int]) -> int:
    return max(twin(release, core) for release, core in product(Release, Extension))


def convolve_wrapper_s8(shape: ConvShape, release: Release, core: Extension) -> int:
    """``arm_convolve_wrapper_s8_get_buffer_size``: that of the kernel it dispatches to.

    A 1x1 kernel without padding takes ``arm_convolve_1x1_s8_fast``, with a stride
    ``arm_convolve_1x1_s8``, which wants nothing; :func:`takes_1_x_n` says when the row kernel is
    taken; everything else is ``arm_convolve_s8``.
    """
    if shape.kernel == (1, 1) and shape.padding == (0, 0):
        return convolve_1x1_s8_fast(shape, release, core) if shape.stride == (1, 1) else 0
    if takes_1_x_n(shape, release):
        return convolve_1_x_n_s8(shape, release, core)
    return convolve_s8(shape, release, core)


def takes_1_x_n(shape: ConvShape, release: Release) -> bool:
    """Whether ``arm_convolve_wrapper_s8`` dispatches to ``arm_convolve_1_x_n_s8``.

    One input row and one kernel row; in 4.0 output columns in fours, from 4.1 on
    ``stride · channels`` in fours.
    """
    if shape.input[0] != 1 or shape.kernel[0] != 1:
        return False
    if shape.kernel == (1, 1) and shape.padding == (0, 0):
        return False
    if release is Release.V4_0:
        return shape.output[1] % 4 == 0
    return shape.stride[1] * shape.input[2] % 4 == 0


def convolve_s8(shape: ConvShape, release: Release, core: Extension) -> int:
    """``arm_convolve_s8_get_buffer_size``.

    Two patches of int16, each rounded up to 4 values from 4.1 on; with MVE four patches of int8,
    each rounded up to 8 values, from 6.0 on to 16.
    """
    patch = shape.kernel[0] * shape.kernel[1] * shape.input[2]
    if core is Extension.MVE:
        return 4 * _round_up(patch, 8 if release in (Release.V4_0, Release.V4_1) else 16)
    return 2 * _INT16_BYTES * (patch if release is Release.V4_0 else _round_up(patch, 4))


def convolve_1_x_n_s8(shape: ConvShape, release: Release, core: Extension) -> int:
    """``arm_convolve_1_x_n_s8_get_buffer_size``.

    :func:`convolve_s8`'s; with MVE nothing, but from 6.0 on the kernel's window and the padding
    on its left, or on its right, unless the row is too short for both.
    """
    if core is not Extension.MVE:
        return convolve_s8(shape, release, core)
    if release in (Release.V4_0, Release.V4_1):
        return 0
    width, pad, kernel, stride = (
        shape.input[1],
        shape.padding[1],
        shape.kernel[1],
        shape.stride[1],
    )
    total = (shape.output[1] - 1) * stride + kernel - width
    extra = total % 2 if total >= 0 else -(-total % 2)  # C's remainder has the sign of total
    right = max(1, -(-(pad + extra) // stride)) if pad + extra else 0
    left = max(1, -(-pad // stride)) if pad else 0
    if right + left > shape.output[1]:
        return convolve_s8(shape, release, core)
    padded_right = right if extra else pad
    return shape.input[2] * max(kernel + pad, kernel - 1 + padded_right)


def convolve_1x1_s8_fast(shape: ConvShape, release: Release, core: Extension) -> int:
    """``arm_convolve_1x1_s8_fast_get_buffer_size``.

    Nothing; in 7.0 and later two int16 pixels where Arm's own compiler builds for DSP
    instructions.
    """
    if release is Release.V7_0 and core is Extension.DSP:
        return 2 * _INT16_BYTES * shape.input[2]
    return 0


def depthwise_conv_wrapper_s8(shape: ConvShape, release: Release, core: Extension) -> int:
    """``arm_depthwise_conv_wrapper_s8_get_buffer_size``.

    :func:`depthwise_conv_s8_opt`'s where there are as many outputs as inputs, else nothing. From
    4.1 on nothing, too, for 3x3 kernels with a padding of at most 1, unless with MVE. (From 7.0
    on a layer of one input channel is turned into a convolution with MVE; we call such a layer a
    convolution in the first place.)
    """
    if shape.input[2] != shape.output[2]:
        return 0
    is_3x3 = shape.kernel == (3, 3) and max(shape.padding) <= 1
    if is_3x3 and release is not Release.V4_0 and core is not Extension.MVE:
        return 0
    return depthwise_conv_s8_opt(shape, core)


def depthwise_conv_s8_opt(shape: ConvShape, core: Extension) -> int:
    """``arm_depthwise_conv_s8_opt_get_buffer_size``, the same in all releases.

    One patch of int16 with DSP instructions; with MVE four int8 patches of 124 channels, however
    many the layer has.
    """
    taps = shape.kernel[0] * shape.kernel[1]
    match core:
        case Extension.MVE:
            return 4 * _MVE_CHANNELS * taps
        case Extension.DSP:
            return _INT16_BYTES * shape.input[2] * taps
        case Extension.NONE:
            return 0


def avgpool_s8(channels: int, core: Extension) -> int:
    """``arm_avgpool_s8_get_buffer_size``, the same in all releases.

    An int32 sum a channel with DSP instructions, else nothing.
    """
    return _INT32_BYTES * channels if core is Extension.DSP else 0


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
