"""Activation functions in int8: a clamp of the op's own codes, or a table after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

import numpy as np
import numpy.typing as npt

from fedtiny.models.ops.activation import Activation
from fedtiny.quant.tensors import INT8_MAX, INT8_MIN, Int8s, Int8Tensor

Doubles = npt.NDArray[np.float64]

CLAMPS: Mapping[Activation, tuple[float, float]] = {
    Activation.NONE: (-inf, inf),
    Activation.RELU: (0.0, inf),
    Activation.RELU6: (0.0, 6.0),
}
"""Interval to which a function limits real values."""


def hard_swish(x: Doubles) -> Doubles:
    """``x · min(max(x + 3, 0), 6) / 6`` (Howard et al. 2019, arXiv 1905.02244)."""
    return x * np.clip(x + 3.0, 0.0, 6.0) / 6.0


TABLES: Mapping[Activation, Callable[[Doubles], Doubles]] = {Activation.HARD_SWISH: hard_swish}
"""Functions computed by a table of 256 codes."""


def clamp(function: Activation, output: Int8Tensor) -> tuple[int, int]:
    """(min, max) of the codes that a node with ``function`` may write to ``output``.

    All codes for a function that is a table: it follows.

    >>> clamp(Activation.RELU6, Int8Tensor((1, 1, 1), 0.1, -100))
    (-100, -40)
    """
    low, high = CLAMPS.get(function, (-inf, inf))
    least = INT8_MIN if low == -inf else int(output.encode(low))
    most = INT8_MAX if high == inf else int(output.encode(high))
    return least, most


def table(function: Activation, source: Int8Tensor, output: Int8Tensor) -> Int8s:
    """int8 ``(256,)``: the output's code for each code of ``source``, -128 first.

    >>> tensor = Int8Tensor((1, 1, 1), 0.0625, 0)
    >>> table(Activation.HARD_SWISH, tensor, tensor)[[0, 128, 255]].tolist()
    [0, 0, 127]
    """
    codes = np.arange(INT8_MIN, INT8_MAX + 1)
    reals = source.scale * (codes.astype(np.float64) - source.zero_point)
    return output.encode(TABLES[function](reals))
