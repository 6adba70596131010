"""Fixed-point rescaling, and why the multipliers are not normalised.

TensorFlow Lite stores a scale as ``m·2^shift`` with m in [0.5, 1) and rounds twice: after the
multiplication, then after the shift. CMSIS-NN does the same, or rounds once, depending on build
flags and cores, so a normalised multiplier gives different bytes on different builds. Here every
scale below 1 is ``multiplier / 2^31`` with shift 0: there is only one rounding, and every build
agrees. The lost low bits cost at most ``|accumulator| / 2^32`` of an output step.
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


def requantize(accumulator: Int64s, multiplier: npt.ArrayLike) -> Int64s:
    """``accumulator · multiplier / 2^31``, halves rounded up: ``arm_nn_requantize`` at shift 0.

    Args:
        accumulator: int64 array of values that fit int32.
        multiplier: int32, broadcast against it.

    >>> requantize(np.array([3, -3, 2]), 2**30).tolist()
    [2, -1, 1]
    """
    product: Int64s = accumulator * np.asarray(multiplier, np.int64)
    return (product + (1 << 30)) >> 31
