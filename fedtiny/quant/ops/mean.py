"""The mean over a whole map in int8, rescaled: TensorFlow Lite's MEAN over height and width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedtiny.quant.requantize import requantize
from fedtiny.quant.tensors import Int8s, Int8Tensor, clip


@dataclass(frozen=True, slots=True)
class IntegerMean:
    """Each channel's sum, less the zero point of every cell, rescaled to the output.

    An average pooling (:class:`~fedtiny.quant.ops.pool.IntegerPool`) keeps its input's scale; this
    has one of its own.

    Attributes:
        multiplier: input's scale / (output's scale · cells), times 2^31.
        shift: exponent of the multiplier.
        clamp: (min, max) of the output codes.
        elementwise: whether each value depends on the inputs' values at its own place only.
    """

    name: str
    input: str
    multiplier: int
    shift: int
    clamp: tuple[int, int]
    elementwise: ClassVar[bool] = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)


def run(
    node: IntegerMean, inputs: Sequence[Int8s], sources: Sequence[Int8Tensor], output: Int8Tensor
) -> Int8s:
    """The output int8 ``(N, 1, 1, C)`` for an input int8 ``(N, H, W, C)``."""
    centred = inputs[0].astype(np.int64) - sources[0].zero_point
    total = centred.sum(axis=(1, 2), keepdims=True)
    return clip(requantize(total, node.multiplier, node.shift) + output.zero_point, node.clamp)
