"""Fully-connected layers in int8, one scale per output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedtiny.models.ops import Linear
from fedtiny.quant.building import Building
from fedtiny.quant.layers import matmul, quantize_affine, rescale
from fedtiny.quant.ops import lookup
from fedtiny.quant.tensors import Int8s, Int8Tensor, Int32s, IntegerWeight


@dataclass(frozen=True, slots=True, eq=False)
class IntegerLinear:
    """Fully-connected layer over the input flattened in (H, W, C) order.

    Attributes:
        weight: shape (O, 1, 1, features).
        bias: int32 ``(O,)`` in units of the accumulator.
        multiplier, shift: int32 ``(O,)``, as of
            :class:`~fedtiny.quant.ops.conv.IntegerConv`.
        clamp: (min, max) of the output codes.
        elementwise: whether each value depends on the inputs' values at its own place only.
    """

    name: str
    input: str
    weight: IntegerWeight
    bias: Int32s
    multiplier: Int32s
    clamp: tuple[int, int]
    shift: Int32s | None = None
    elementwise: ClassVar[bool] = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)


def quantize(node: Linear, build: Building) -> tuple[IntegerLinear | lookup.IntegerLookup, ...]:
    """The layer in integers, and its activation if that is a table."""
    affine = quantize_affine(node, build)
    linear = IntegerLinear(
        affine.name, node.input, affine.weight, affine.bias, affine.multiplier, affine.clamp
    )
    return (linear, *lookup.after(node, build))


def run(
    node: IntegerLinear, inputs: Sequence[Int8s], sources: Sequence[Int8Tensor], output: Int8Tensor
) -> Int8s:
    """The output int8 ``(N, 1, 1, O)`` for an input int8 ``(N, H, W, C)``."""
    rows = inputs[0].reshape(len(inputs[0]), 1, 1, -1).astype(np.int16) - sources[0].zero_point
    accumulator = matmul(rows, node.weight, node.bias)
    return rescale(accumulator, node, output)
