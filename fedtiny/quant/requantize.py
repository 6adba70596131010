"""Fixed-point rescaling, and why the multipliers are not normalised.

TensorFlow Lite stores a scale as ``m·2^shift`` with m in [0.5, 1) and rounds twice: after the
multiplication, then after the shift. CMSIS-NN does the same, or rounds once, depending on build
flags and cores, so a normalised multiplier gives different bytes on different builds. Here every
scale below 1 is ``multiplier / 2^31`` with shift 0: there is only one rounding, and every build
agrees. The lost low bits cost at most ``|accumulator| / 2^32`` of an output step.

A model that comes as TensorFlow Lite's keeps its normalised multipliers and both roundings, so that
its outputs stay what they were.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedtiny.quant.tensors import Int32s, Int64s, QuantizationError

SCALE_LIMIT = 0.5
"""Scales of convolutions and linear layers lie below it: kernels double the multiplier."""


def fixed_point(scale: npt.ArrayLike, limit: float = SCALE_LIMIT) -> Int32s:
    """``round(scale · 2^31)`` as int32.

    Args:
        scale: in [0, limit).
        limit: at most 1.

    Raises:
        QuantizationError: a scale is negative, not finite, or reaches the limit.

    >>> fixed_point([0.25, 0.001]).tolist()
    [536870912, 2147484]
    """
    scales = np.asarray(scale, np.float64)
    if not np.all((scales >= 0) & (scales < limit)):
        raise QuantizationError(f"rescaling factors must lie in [0, {limit}), got {scales}")
    return np.minimum(np.rint(scales * 2**31), limit * 2**31 - 1).astype(np.int32)


def normalized(scale: npt.ArrayLike) -> tuple[Int32s, Int32s]:
    """TensorFlow Lite's (multiplier, shift), int32: ``scale = multiplier / 2^31 · 2^shift``.

    The multiplier is in [2^30, 2^31), halves rounded away from zero; 0 for a scale below 2^-32.

    Args:
        scale: float64, not negative.

    Raises:
        QuantizationError: a scale is negative, not finite, or 2^30 and more.

    >>> normalized([0.75, 3.0])
    (array([1610612736, 1610612736], dtype=int32), array([0, 2], dtype=int32))
    """
    scales = np.asarray(scale, np.float64)
    if not np.all((scales >= 0) & (scales < 2.0**30)):
        raise QuantizationError(f"rescaling factors must lie in [0, 2^30), got {scales}")
    fraction, shift = np.frexp(scales)
    multiplier = np.floor(fraction * 2**31 + 0.5).astype(np.int64)
    full = multiplier == 2**31
    multiplier, shift = np.where(full, 2**30, multiplier), shift + full
    gone = shift < -31
    return (
        np.where(gone, 0, multiplier).astype(np.int32),
        np.where(gone, 0, shift).astype(np.int32),
    )


def requantize(
    accumulator: Int64s, multiplier: npt.ArrayLike, shift: npt.ArrayLike | None = None
) -> Int64s:
    """``accumulator · multiplier / 2^31 · 2^shift``: ``arm_nn_requantize``.

    Without shifts there is one rounding, halves up. With shifts there are TensorFlow Lite's two:
    that one, then, after division by ``2^-shift``, halves away from zero.

    Args:
        accumulator: int64 array of values that fit int32, also after a shift to the left.
        multiplier: int32, broadcast against it.
        shift: int32, likewise; None for 0.

    >>> requantize(np.array([3, -3, 2]), 2**30).tolist()
    [2, -1, 1]
    >>> requantize(np.array([3, -3, 2]), 2**30, -1).tolist()
    [1, -1, 1]
    """
    if shift is None:
        return _multiply_high(accumulator, multiplier)
    shifts = np.asarray(shift, np.int64)
    high = _multiply_high(accumulator << np.maximum(shifts, 0), multiplier)
    right = np.maximum(-shifts, 0)
    mask = (np.int64(1) << right) - 1
    rounded: Int64s = (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))
    return rounded


def _multiply_high(accumulator: Int64s, multiplier: npt.ArrayLike) -> Int64s:
    product: Int64s = accumulator * np.asarray(multiplier, np.int64)
    return (product + (1 << 30)) >> 31
