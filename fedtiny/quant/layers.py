"""What convolutions and linear layers have in common: weights, biases and rescaling in integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedtiny.models.ops import Conv, Layer, Linear, Shape
from fedtiny.quant.building import Building
from fedtiny.quant.constants import constant_outputs, drop_constant_inputs, drop_settled
from fedtiny.quant.fold import Doubles, FoldedLayer, fold
from fedtiny.quant.functions import clamp
from fedtiny.quant.requantize import SCALE_LIMIT, fixed_point, requantize
from fedtiny.quant.tensors import (
    INT8_MAX,
    Int8s,
    Int8Tensor,
    Int32s,
    Int64s,
    IntegerWeight,
    clip,
)

_SHARES = np.linspace(1.0, 0.5, 26)
"""Of the scale that no weight is clipped at: those that are tried for weights of few bits."""

BIAS_LIMIT = 2**22
"""Largest |bias| in accumulator units; leaves the sparse kernels' 24-bit lanes room for sums."""


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """A layer's integers; the attributes are those of its node.

    Attributes:
        name: of the tensor it writes.
        weight: int8, of which the layer's ``weight_bits`` are used.
        bias: int32 ``(O,)`` in units of the accumulator.
        multiplier: int32 ``(O,)`` in [0, 2^30): accumulator unit / output unit, times 2^31.
        clamp: (min, max) of the output codes.
    """

    name: str
    weight: IntegerWeight
    bias: Int32s
    multiplier: Int32s
    clamp: tuple[int, int]


def quantize_affine(node: Layer, build: Building) -> Affine:
    """Weights, bias and rescaling of ``node``; its tensor is added to ``build``."""
    source = build.tensors[node.input]
    largest = build.largest_code(node)
    folded = narrowed(node, fold(node, build.model), build)
    scales = weight_scales(folded, source.scale, largest)
    build.constants[node.name] = constant_outputs(node, folded)
    accumulator = scales * source.scale
    name, output = build.summed(node, float(accumulator.max()) / SCALE_LIMIT)
    return Affine(
        name,
        integer_weight(node, folded, scales, build.graph.shapes[node.input], largest),
        np.rint(_ratio(folded.bias, accumulator)).astype(np.int32),
        fixed_point(accumulator / output.scale),
        clamp(node.activation, output),
    )


def narrowed(node: Layer, folded: FoldedLayer, build: Building) -> FoldedLayer:
    """``folded`` without weights of constant channels that ask for more than the range does.

    See :mod:`fedtiny.quant.constants`.
    """
    source, calibrated = build.tensors[node.input], build.calibrated_scale(node)

    def asked(layer: FoldedLayer) -> Doubles:
        scales = weight_scales(layer, source.scale, build.largest_code(node))
        return scales * source.scale / SCALE_LIMIT

    wide = asked(folded) > calibrated
    if not wide.any():
        return folded
    folded = drop_constant_inputs(
        node, folded, build.constants_of(node.input), source.shape, among=wide
    )
    still = asked(folded)
    return drop_settled(node, folded, build.model, still, among=still > calibrated)


def weight_scales(folded: FoldedLayer, input_scale: float, largest: int = INT8_MAX) -> Doubles:
    """Scale per output channel, float64 (O,): ``max|w| / 127``, or more for a large bias.

    Weights of fewer bits have the scale, between half of ``max|w| / largest`` and all of it, whose
    codes are nearest in the mean square: what is beyond is clipped. 0 for a channel with neither
    weights nor bias, whose output is the zero point.

    Args:
        folded: the layer.
        input_scale: of its input's codes.
        largest: code of a weight.
    """
    peaks = np.zeros(folded.shape[0])
    np.maximum.at(peaks, folded.rows, np.abs(folded.values))
    for_bias: Doubles = np.abs(folded.bias) / (input_scale * BIAS_LIMIT)
    scales: Doubles = np.maximum(peaks / largest, for_bias)
    if largest == INT8_MAX:
        return scales
    tried = [np.maximum(share * peaks / largest, for_bias) for share in _SHARES]
    errors = np.stack([_squared_error(folded, scale, largest) for scale in tried])
    best: Doubles = np.stack(tried)[np.argmin(errors, axis=0), np.arange(len(peaks))]
    return best


def _squared_error(folded: FoldedLayer, scales: Doubles, largest: int) -> Doubles:
    """Of the weights' codes, float64 (O,)."""
    codes = np.rint(_ratio(folded.values, scales[folded.rows]))
    rounded = np.clip(codes, -largest, largest) * scales[folded.rows]
    errors = np.zeros(len(scales))
    np.add.at(errors, folded.rows, (folded.values - rounded) ** 2)
    return errors


def integer_weight(
    node: Layer,
    folded: FoldedLayer,
    scales: Doubles,
    input_shape: Shape,
    largest: int = INT8_MAX,
) -> IntegerWeight:
    """int8 weights in OHWI order, none beyond ``largest``; those that round to 0 are dropped.

    Of several groups, unless depthwise, each channel has weights at its own group's inputs only.
    """
    codes = np.rint(_ratio(folded.values, scales[folded.rows]))
    values = np.clip(codes, -largest, largest).astype(np.int8)
    oihw = folded.shape if isinstance(node, Conv) else (folded.shape[0], *input_shape)
    out, inner, height, width = oihw
    o, i, h, w = np.unravel_index(folded.indices, oihw)
    if isinstance(node, Conv) and not node.is_depthwise:
        i = i + o // (out // node.groups) * inner
        inner = node.in_channels
    indices = np.ravel_multi_index((o, h, w, i), (out, height, width, inner)).astype(np.int32)
    if isinstance(node, Linear):
        shape = (out, 1, 1, inner * height * width)
    else:
        shape = (out, height, width, inner)
    order = np.argsort(indices)
    order = order[values[order] != 0]
    return IntegerWeight(shape, indices[order], values[order])


def matmul(patches: npt.NDArray[np.integer], weight: IntegerWeight, bias: Int32s) -> Int64s:
    """Accumulators int64 (N, OH, OW, O) of centred patches (N, OH, OW, …) and OHWI weights.

    Computed with BLAS on floating-point integers. That is exact: every product and partial sum
    is an integer no larger than ``accumulator_bound``, so float32 holds it below 2^24 and float64
    below 2^53, in any order of summation.
    """
    exact = np.dtype(np.float32 if weight.accumulator_bound(bias) < 2**24 else np.float64)
    rows: npt.NDArray[np.floating] = patches.astype(exact).reshape(*patches.shape[:3], -1)
    matrix: npt.NDArray[np.floating] = weight.to_dense().astype(exact).reshape(weight.shape[0], -1)
    accumulator: Int64s = (rows @ matrix.T + bias.astype(exact)).astype(np.int64)
    return accumulator


class Rescaled(Protocol):
    """A node that rescales accumulators; the attributes are those of ``IntegerConv``."""

    @property
    def multiplier(self) -> Int32s: ...  # noqa: D102
    @property
    def shift(self) -> Int32s | None: ...  # noqa: D102
    @property
    def clamp(self) -> tuple[int, int]: ...  # noqa: D102


def rescale(accumulator: Int64s, node: Rescaled, output: Int8Tensor) -> Int8s:
    """The output's codes of accumulators (…, O)."""
    scaled = requantize(accumulator, node.multiplier, node.shift)
    return clip(scaled + output.zero_point, node.clamp)


def _ratio(values: Doubles, scales: Doubles) -> Doubles:
    """values / scales, 0 where the scale is 0."""
    return np.divide(values, scales, out=np.zeros_like(values), where=scales > 0)
