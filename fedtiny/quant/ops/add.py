"""Element-wise addition in int8: ``arm_elementwise_add_s8``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedtiny.models.ops import Add
from fedtiny.quant.building import Building
from fedtiny.quant.functions import clamp
from fedtiny.quant.ops import lookup
from fedtiny.quant.requantize import fixed_point, requantize
from fedtiny.quant.tensors import Int8s, Int8Tensor, clip

ADD_LEFT_SHIFT = 20
"""Bits by which an addition raises its operands (CMSIS-NN's DSP version needs at least 16)."""

ADD_MULTIPLIER = 2**15
"""Rescales an addition's sum: 2^15 / 2^31."""

ADD_RATIO_LIMIT = 16
"""An addition's operands have less than this many times the output's scale."""


@dataclass(frozen=True, slots=True)
class IntegerAdd:
    """Element-wise addition (``arm_elementwise_add_s8``) and clamp.

    Both operands, less their zero points, are shifted left by :data:`ADD_LEFT_SHIFT` bits and
    rescaled; then the sum is. Ours are rescaled to 2^-16 of an output step, the sum by
    :data:`ADD_MULTIPLIER`, that is by 2^-16, and only the last of these three roundings matters.

    Attributes:
        left_multiplier, right_multiplier: of the operands, times 2^31. Without shifts: operand's
            scale / output's scale, times 2^27; the ratio is below 16.
        clamp: (min, max) of the output codes.
        multiplier: rescales the sum, times 2^31.
        shifts: exponents of the left, the right and the sum's multiplier; None: all 0.
        elementwise: whether each value depends on the inputs' values at its own place only.
    """

    name: str
    left: str
    right: str
    left_multiplier: int
    right_multiplier: int
    clamp: tuple[int, int]
    multiplier: int = ADD_MULTIPLIER
    shifts: tuple[int, int, int] | None = None
    elementwise: ClassVar[bool] = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.left, self.right)


def quantize(node: Add, build: Building) -> tuple[IntegerAdd | lookup.IntegerLookup, ...]:
    """The addition in integers, and its activation if that is a table."""
    scales = (build.tensors[node.left].scale, build.tensors[node.right].scale)
    name, output = build.summed(node, max(scales) / ADD_RATIO_LIMIT)
    # scale / output · 2^27 is a fraction of 2^31 after division by the limit.
    ratios = [scale / output.scale / ADD_RATIO_LIMIT for scale in scales]
    left, right = fixed_point(ratios, limit=1.0).tolist()
    bounds = clamp(node.activation, output)
    addition = IntegerAdd(name, node.left, node.right, left, right, bounds)
    return (addition, *lookup.after(node, build))


def run(
    node: IntegerAdd, inputs: Sequence[Int8s], sources: Sequence[Int8Tensor], output: Int8Tensor
) -> Int8s:
    """The sum int8 ``(N, H, W, C)`` of two such tensors."""
    raised = (
        (codes.astype(np.int64) - tensor.zero_point) << ADD_LEFT_SHIFT
        for codes, tensor in zip(inputs, sources, strict=True)
    )
    *shifts, last = node.shifts or (None, None, None)
    rescaling = zip(raised, (node.left_multiplier, node.right_multiplier), shifts, strict=True)
    total = np.asarray(sum(requantize(*operand) for operand in rescaling))
    return clip(requantize(total, node.multiplier, last) + output.zero_point, node.clamp)
