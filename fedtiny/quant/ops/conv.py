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
    QuantizationError,
    windows,
)


@dataclass(frozen=True, slots=True, eq=False)
class IntegerConv:
    """Convolution, bias, requantization, clamp (which is the ReLU).

    Attributes:
        weight: see :class:`IntegerWeight`; ``groups`` is 1 or the channel count (depthwise).
        bias: int32 ``(O,)`` in units of the accumulator.
        multiplier: int32 ``(O,)`` in [0, 2^30): accumulator unit / output unit, times 2^31.
        stride, padding: (height, width); padding cells hold the input's zero point.
        clamp: (min, max) of the output codes.
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
    elementwise: ClassVar[bool] = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)


def quantize(node: Conv, build: Building) -> tuple[IntegerConv | lookup.IntegerLookup, ...]:
    """The convolution in integers, and its activation if that is a table.

    Raises:
        QuantizationError: groups other than 1 and depthwise.
    """
    if node.groups not in (1, node.in_channels):
        raise QuantizationError(
            f"layer {node.name!r} has groups={node.groups}; only 1 and depthwise "
            f"({node.in_channels}) can be exported"
        )
    affine = quantize_affine(node, build)
    conv = IntegerConv(
        affine.name,
        node.input,
        affine.weight,
        affine.bias,
        affine.multiplier,
        node.stride,
        node.padding,
        node.groups,
        affine.clamp,
    )
    return (conv, *lookup.after(node, build))


def run(
    node: IntegerConv, inputs: Sequence[Int8s], sources: Sequence[Int8Tensor], output: Int8Tensor
) -> Int8s:
    """The output int8 ``(N, OH, OW, O)`` for an input int8 ``(N, H, W, C)``."""
    pad_h, pad_w = node.padding
    centred = inputs[0].astype(np.int16) - np.int16(sources[0].zero_point)
    padded = np.pad(centred, ((0, 0), (pad_h, pad_h), (pad_w, pad_w), (0, 0)))
    patches = windows(padded, node.weight.shape[1:3], node.stride)
    if node.groups == 1:
        accumulator = matmul(patches, node.weight, node.bias)
    else:
        accumulator = _depthwise(patches, node.weight) + node.bias
    return rescale(accumulator, node.multiplier, output, node.clamp)


def _depthwise(patches: npt.NDArray[np.integer], weight: IntegerWeight) -> Int64s:
    """Accumulators int64 (N, OH, OW, O); output channel o reads input o·C/O."""
    per_input = weight.shape[0] // patches.shape[-1]
    repeated = np.repeat(patches.astype(np.int64), per_input, axis=-1)
    taps = weight.to_dense()[..., 0].astype(np.int64)
    accumulator: Int64s = np.einsum("nyxhwo,ohw->nyxo", repeated, taps)
    return accumulator
