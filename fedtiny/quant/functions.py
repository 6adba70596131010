"""Activation functions in int8: a clamp of the op's own codes, or a table after it."""

from __future__ import annotations

from math import inf

import numpy as np

from fedtiny.models.ops.activation import Activation
from fedtiny.quant.tensors import INT8_MAX, INT8_MIN, Int8s, Int8Tensor


def clamp(function: Activation, output: Int8Tensor) -> tuple[int, int]:
    """(min, max) of the codes that a node with ``function`` may write to ``output``.

    All codes for a function that is no clamp: a table follows.

    >>> clamp(Activation.RELU6, Int8Tensor((1, 1, 1), 0.1, -100))
    (-100, -40)
    """
    if not function.clamps:
        return INT8_MIN, INT8_MAX
    low, high = output.encode(function(np.array([-inf, inf]))).tolist()
    return low, high


def table(function: Activation, source: Int8Tensor, output: Int8Tensor) -> Int8s:
    """int8 ``(256,)``: the output's code for each code of ``source``, -128 first.

    >>> tensor = Int8Tensor((1, 1, 1), 0.0625, 0)
    >>> table(Activation.HARD_SWISH, tensor, tensor)[[0, 128, 255]].tolist()
    [0, 0, 127]
    """
    codes = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.float64)
    return output.encode(function(source.scale * (codes - source.zero_point)))
