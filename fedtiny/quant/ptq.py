"""Post-training quantization: a trained sparse model and its activation ranges to integers.

Scheme (Jacob et al. 2018; the TensorFlow Lite 8-bit specification): weights symmetric with one
scale per output channel, so that pruned weights stay exactly zero; activations asymmetric with
one scale per tensor; batch norm folded in; ReLU is the output's clamp.

Two rules of ours keep every rescaling factor a plain fraction of 2^31 (see
:mod:`fedtiny.quant.requantize`) and every accumulator small:

* a channel's weight scale is at least ``|bias| / (s_in · 2^22)``: biases stay within 22 bits.
  Only channels with next to no weights and a large bias feel it, and their output is the bias;
* an output's scale is more than twice its largest ``s_in · s_weight``. A calibrated range that
  would ask for less is narrower than two accumulator steps per output code, so widening it
  loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedtiny.data.statistics import Normalization
from fedtiny.models.graph import INPUT, Add, Conv, Graph, Layer, Linear, Pool, Shape
from fedtiny.models.ops.activation import Activation as Function
from fedtiny.models.sparse_model import SparseModel
from fedtiny.quant.fold import Doubles, FoldedLayer, fold
from fedtiny.quant.integer_model import (
    INPUT_SHIFT,
    INT8_MAX,
    INT8_MIN,
    Activation,
    InputQuantization,
    IntegerAdd,
    IntegerConv,
    IntegerGraph,
    IntegerLinear,
    IntegerNode,
    IntegerPool,
    IntegerWeight,
    QuantizationError,
)
from fedtiny.quant.ranges import Ranges, check_ranges
from fedtiny.quant.requantize import SCALE_LIMIT, fixed_point

BIAS_LIMIT = 2**22
"""Largest |bias| in accumulator units; leaves the sparse kernels' 24-bit lanes room for sums."""

ADD_RATIO_LIMIT = 16
"""An addition's operands have less than this many times the output's scale."""

_WIDEN = 1.0 + 2.0**-16
"""Keeps widened scales clear of the limit after rounding to float32."""


def quantize(
    graph: Graph,
    model: SparseModel,
    normalization: Normalization,
    ranges: Ranges,
) -> IntegerGraph:
    """The int8 model of ``model``.

    Args:
        graph: the architecture.
        model: its float parameters.
        normalization: in sensor counts; the float model sees ``(counts − mean) / std``.
        ranges: (minimum, maximum) of the normalised input (``"input"``) and of every node's
            output after its ReLU. Pools take their input's.

    Raises:
        QuantizationError: a range is missing or unusable, the normalisation does not fit the
            input, or parameters are not finite.
    """
    missing = {INPUT, *(n.name for n in graph.nodes if not isinstance(n, Pool))} - ranges.keys()
    if missing:
        raise QuantizationError(
            f"no calibration range for {', '.join(sorted(missing))}; calibrate with this graph"
        )
    check_ranges(ranges, "calibration")
    build = _Build(graph, model, ranges)
    build.activations[INPUT] = activation(graph.input_shape, *ranges[INPUT])
    for node in graph.nodes:
        build.add(node)
    entry = input_quantization(build.activations[INPUT], normalization)
    return IntegerGraph(graph.name, entry, build.activations, tuple(build.nodes))


def activation(shape: Shape, low: float, high: float, min_scale: float = 0.0) -> Activation:
    """The int8 tensor that covers [low, high] and 0, with a scale of at least ``min_scale``.

    >>> activation((1, 1, 1), 0.0, 2.55)
    Activation(shape=(1, 1, 1), scale=0.009999999776482582, zero_point=-128)
    """
    low, high = min(low, 0.0), max(high, 0.0)
    tiny = float(np.finfo(np.float32).tiny)
    scale = float(np.float32(max((high - low) / (INT8_MAX - INT8_MIN), min_scale * _WIDEN, tiny)))
    zero_point = int(np.clip(np.rint(INT8_MIN - low / scale), INT8_MIN, INT8_MAX))
    return Activation(shape, scale, zero_point)


def input_quantization(tensor: Activation, normalization: Normalization) -> InputQuantization:
    """Normalisation and input quantization as one integer affine map per channel.

    Raises:
        QuantizationError: not one mean and one positive std per channel, or a channel so nearly
            constant that one count spans more than 128 codes.
    """
    means, stds = normalization.mean.astype(np.float64), normalization.std.astype(np.float64)
    channels = (tensor.shape[0],)
    if means.shape != channels or stds.shape != channels:
        raise QuantizationError(
            f"the normalisation must have shape {channels}, got mean {means.shape} and "
            f"std {stds.shape}"
        )
    if not (np.isfinite(means).all() and np.isfinite(stds).all() and (stds > 0).all()):
        raise QuantizationError(
            f"the normalisation needs finite means and positive stds, got mean {means.tolist()}, "
            f"std {stds.tolist()}"
        )
    codes_per_count = 1.0 / (stds * tensor.scale)
    multiplier = np.rint(codes_per_count * 2**INPUT_SHIFT)
    offset = np.rint((tensor.zero_point - means * codes_per_count) * 2**INPUT_SHIFT)
    if multiplier.max() >= 2**31 or multiplier.min() < 1 or np.abs(offset).max() >= 2**62:
        raise QuantizationError(
            f"sensor counts cannot be quantized: one count is {codes_per_count.tolist()} codes "
            "per channel; rescale the counts to use the int16 range"
        )
    return InputQuantization(multiplier.astype(np.int32), offset.astype(np.int64))


@dataclass
class _Build:
    """The integer graph while it grows, node by node."""

    graph: Graph
    model: SparseModel
    ranges: Ranges
    activations: dict[str, Activation] = field(default_factory=dict)
    nodes: list[IntegerNode] = field(default_factory=list)

    def add(self, node: Conv | Linear | Add | Pool) -> None:
        match node:
            case Conv() | Linear():
                self._layer(node)
            case Add():
                self._addition(node)
            case Pool():
                self._pool(node)

    def _layer(self, node: Layer) -> None:
        source = self.activations[node.input]
        folded = fold(node, self.model)
        scales = weight_scales(folded, source.scale)
        accumulator = scales * source.scale
        output = self._output(node.name, float(accumulator.max()) / SCALE_LIMIT)
        weight = integer_weight(node, folded, scales, self.graph.shapes[node.input])
        bias = np.rint(_ratio(folded.bias, accumulator)).astype(np.int32)
        multiplier = fixed_point(accumulator / output.scale)
        clamp = _clamp(output, node.name, node.activation)
        if isinstance(node, Linear):
            self.nodes.append(IntegerLinear(node.name, node.input, weight, bias, multiplier, clamp))
            return
        if node.groups not in (1, node.in_channels):
            raise QuantizationError(
                f"layer {node.name!r} has groups={node.groups}; only 1 and depthwise "
                f"({node.in_channels}) can be exported"
            )
        self.nodes.append(
            IntegerConv(
                node.name,
                node.input,
                weight,
                bias,
                multiplier,
                node.stride,
                node.padding,
                node.groups,
                clamp,
            )
        )

    def _addition(self, node: Add) -> None:
        scales = (self.activations[node.left].scale, self.activations[node.right].scale)
        output = self._output(node.name, max(scales) / ADD_RATIO_LIMIT)
        # scale / output · 2^27 is a fraction of 2^31 after division by the limit.
        ratios = [scale / output.scale / ADD_RATIO_LIMIT for scale in scales]
        left, right = fixed_point(ratios, limit=1.0).tolist()
        clamp = _clamp(output, node.name, node.activation)
        self.nodes.append(IntegerAdd(node.name, node.left, node.right, left, right, clamp))

    def _pool(self, node: Pool) -> None:
        source = self.activations[node.input]
        kernel, stride = node.window(self.graph.shapes[node.input])
        shape = self.graph.shapes[node.name]
        self.activations[node.name] = Activation(shape, source.scale, source.zero_point)
        self.nodes.append(IntegerPool(node.name, node.input, node.kind, kernel, stride))

    def _output(self, name: str, min_scale: float) -> Activation:
        low, high = self.ranges[name]
        self.activations[name] = activation(self.graph.shapes[name], low, high, min_scale)
        return self.activations[name]


def weight_scales(folded: FoldedLayer, input_scale: float) -> Doubles:
    """Scale per output channel, float64 (O,): ``max|w| / 127``, or more for a large bias.

    0 for a channel with neither weights nor bias, whose output is the zero point.
    """
    largest = np.zeros(folded.shape[0])
    np.maximum.at(largest, folded.rows, np.abs(folded.values))
    for_bias: Doubles = np.abs(folded.bias) / (input_scale * BIAS_LIMIT)
    return np.maximum(largest / INT8_MAX, for_bias)


def integer_weight(
    node: Layer, folded: FoldedLayer, scales: Doubles, input_shape: Shape
) -> IntegerWeight:
    """int8 weights in OHWI order; those that round to 0 are dropped."""
    codes = np.rint(_ratio(folded.values, scales[folded.rows]))
    values = np.clip(codes, -INT8_MAX, INT8_MAX).astype(np.int8)
    oihw = folded.shape if isinstance(node, Conv) else (folded.shape[0], *input_shape)
    out, inner, height, width = oihw
    o, i, h, w = np.unravel_index(folded.indices, oihw)
    indices = np.ravel_multi_index((o, h, w, i), (out, height, width, inner)).astype(np.int32)
    if isinstance(node, Linear):
        shape = (out, 1, 1, inner * height * width)
    else:
        shape = (out, height, width, inner)
    order = np.argsort(indices)
    order = order[values[order] != 0]
    return IntegerWeight(shape, indices[order], values[order])


def _ratio(values: Doubles, scales: Doubles) -> Doubles:
    """values / scales, 0 where the scale is 0."""
    return np.divide(values, scales, out=np.zeros_like(values), where=scales > 0)


def _clamp(output: Activation, node: str, function: Function) -> tuple[int, int]:
    if function not in (Function.NONE, Function.RELU):
        raise QuantizationError(f"node {node!r}: {function} cannot be quantized; use relu or none")
    return (output.zero_point if function is Function.RELU else INT8_MIN, INT8_MAX)


def dequantize(codes: npt.NDArray[np.int8], tensor: Activation) -> npt.NDArray[np.float32]:
    """Real values of int8 ``codes`` of ``tensor``, float32."""
    return np.float32(tensor.scale) * (codes.astype(np.float32) - np.float32(tensor.zero_point))
