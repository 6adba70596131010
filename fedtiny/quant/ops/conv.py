"""Convolution in int8: ``arm_convolve_s8`` and ``arm_depthwise_conv_s8``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedtiny.models.ops import Conv
from fedtiny.quant.building import Building
from fedtiny.quant.layers import matmul, quantize_affine, rescale
from fedtiny.quant.ops import lookup
from fedtiny.quant.tensors import (
    Int8s,
    Int8Tensor,
    Int32s,
    Int64s,
    IntegerWeight,
    padded,
    windows,
)


@dataclass(frozen=True, slots=True, eq=False)
class IntegerConv:
    """Convolution, bias, requantization, clamp (which is the ReLU).

    Attributes:
        weight: see :class:`IntegerWeight`; ``groups`` is 1 or the channel count (depthwise).
        bias: int32 ``(O,)`` in units of the accumulator.
        multiplier: int32 ``(O,)``: accumulator unit / output unit, times 2^31; in [0, 2^30)
            unless there are shifts.
        stride: (height, width).
        padding: (top, left) cells that hold the input's zero point; below and on the right there
            are as many as the output's last windows read.
        clamp: (min, max) of the output codes.
        shift: int32 ``(O,)``, exponents of the multipliers; None: all 0, and a single rounding
            (:mod:`fedtiny.quant.requantize`).
        elementwise: whether each value depends on the inputs' values at its own place only.
    """

    name: str
    input: str
    weight: IntegerWeight
    bias: Int32s
    multiplier: Int32s
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int
    clamp: tuple[int, int]
    shift: Int32s | None = None
    elementwise: ClassVar[bool] = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)


def quantize(node: Conv, build: Building) -> tuple[IntegerConv | lookup.IntegerLookup, ...]:
    """The convolution in integers, and its activation if that is a table.

    Groups other than 1 and depthwise become one group whose other weights are absent.
    """
    affine = quantize_affine(node, build)
    conv = IntegerConv(
        affine.name,
        node.input,
        affine.weight,
        affine.bias,
        affine.multiplier,
        node.stride,
        (node.pads[0][0], node.pads[1][0]),
        node.groups if node.is_depthwise else 1,
        affine.clamp,
    )
    return (conv, *lookup.after(node, build))


def run(
    node: IntegerConv, inputs: Sequence[Int8s], sources: Sequence[Int8Tensor], output: Int8Tensor
) -> Int8s:
    """The output int8 ``(N, OH, OW, O)`` for an input int8 ``(N, H, W, C)``."""
    centred = inputs[0].astype(np.int16) - np.int16(sources[0].zero_point)
    kernel = node.weight.shape[1:3]
    framed = padded(centred, node.padding, kernel, node.stride, output.shape[1:], fill=0)
    patches = windows(framed, kernel, node.stride)
    if node.groups == 1:
        accumulator = matmul(patches, node.weight, node.bias)
    else:
        accumulator = _depthwise(patches, node.weight) + node.bias
    return rescale(accumulator, node, output)


def _depthwise(patches: npt.NDArray[np.integer], weight: IntegerWeight) -> Int64s:
    """Accumulators int64 (N, OH, OW, O); output channel o reads input o·C/O."""
    per_input = weight.shape[0] // patches.shape[-1]
    repeated = np.repeat(patches.astype(np.int64), per_input, axis=-1)
    taps = weight.to_dense()[..., 0].astype(np.int64)
    accumulator: Int64s = np.einsum("nyxhwo,ohw->nyxo", repeated, taps)
    return accumulator
