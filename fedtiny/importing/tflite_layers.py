"""TensorFlow Lite's operators with weights as integer nodes: convolutions, fully-connected layers.

Scales become multipliers and shifts as its own preparation computes them, in the precision that it
uses, so that every byte stays what its interpreter gives.
"""

from __future__ import annotations

from math import prod

import numpy as np

from fedtiny.importing.tflite_assembly import Assembly, Value, clamped, positive
from fedtiny.importing.tflite_file import MAX_VALUES
from fedtiny.models.ops.tensor import Pair
from fedtiny.quant.ops.conv import IntegerConv
from fedtiny.quant.ops.linear import IntegerLinear
from fedtiny.quant.requantize import normalized
from fedtiny.quant.tensors import Int8s, Int8Tensor, Int32s, IntegerWeight

SAME = 0
"""The schema's number of the padding that keeps sizes; the other is VALID."""


def convolve(assembly: Assembly) -> None:
    """CONV_2D, grouped or not."""
    weights = _weights(assembly, axis=0)
    out, kernel_h, kernel_w, inner = _four(assembly, weights.shape)
    channels = assembly.framed(assembly.variable(0, padded=True)).shape[0]
    if channels % inner or out % (channels // inner):
        raise assembly.refuse(
            f"filters of {inner} channels over {channels}", "the file is damaged: convert again"
        )
    groups = channels // inner
    if inner == 1 < channels:
        return _add_conv(assembly, weights, channels)
    if out * kernel_h * kernel_w * channels > MAX_VALUES:
        raise assembly.refuse(
            f"{groups} groups of {inner} channels, too many to be computed as one",
            "use fewer, or as many as channels (a depthwise convolution)",
        )
    whole = np.zeros((out, kernel_h, kernel_w, channels), np.int8)
    for group, rows in enumerate(np.split(np.arange(out), groups)):
        whole[rows, :, :, group * inner : (group + 1) * inner] = weights[rows]
    return _add_conv(assembly, whole, 1)


def convolve_depthwise(assembly: Assembly) -> None:
    """DEPTHWISE_CONV_2D; over a single channel it is a convolution."""
    weights = _weights(assembly, axis=3)
    one, _, _, out = _four(assembly, weights.shape)
    channels = assembly.framed(assembly.variable(0, padded=True)).shape[0]
    if one != 1 or out % channels:
        raise assembly.refuse(
            f"weights of shape {weights.shape} over {channels} channels",
            "the file is damaged: convert again",
        )
    _add_conv(assembly, weights.transpose(3, 1, 2, 0), channels if channels > 1 else 1)


def connect(assembly: Assembly) -> None:
    """FULLY_CONNECTED; over several rows it is a 1x1 convolution."""
    value = assembly.variable(0)
    source = assembly.source(value)
    weights = _weights(assembly, axis=0)
    if weights.ndim != 2 or assembly.operator.options["WeightsFormat"] != 0:
        raise assembly.refuse("weights that are no plain matrix", "convert without shuffling them")
    out, features = weights.shape
    tensor = assembly.output()
    rows = prod(source.shape) // features
    if rows * features != prod(source.shape) or prod(tensor.shape) != rows * out:
        raise assembly.refuse(
            f"weights {weights.shape} over {prod(source.shape):,} values",
            "the file is damaged: convert again",
        )
    weight = _sparse(weights.reshape(out, 1, 1, features))
    name = assembly.new_name()
    if rows == 1:
        output = assembly.quantized(tensor, (out, 1, 1))
        bounds = clamped(assembly.operator.options["FusedActivationFunction"], output, assembly)
        bias, (multiplier, shift) = _bias(assembly, weight), _rescaling(assembly, output, out)
        node = IntegerLinear(name, value.name, weight, bias, multiplier, bounds, shift)
        assembly.add(node, output, assembly.sample_shape(tensor))
        return
    if source.shape[0] != features:
        raise assembly.refuse(
            f"it multiplies {rows} rows of a map of {source.shape} (C, H, W)",
            "only rows of one position each are taken",
        )
    _add_conv(assembly, weight.to_dense(), 1)


def _add_conv(assembly: Assembly, weights: Int8s, groups: int) -> None:
    """The node of weights (O, KH, KW, I)."""
    is_matrix = assembly.operator.kind == "FULLY_CONNECTED"
    value = assembly.variable(0, padded=True)
    source, options = assembly.source(value), assembly.operator.options
    out, kernel = weights.shape[0], (weights.shape[1], weights.shape[2])
    stride, before = ((1, 1), (0, 0)) if is_matrix else walk(assembly, value, kernel)
    tensor = assembly.output()
    shape = assembly.sample_shape(tensor)
    if is_matrix:
        shape = (out, *source.shape[1:])
    elif shape != (expected := (out, *positions(assembly, value, kernel, stride))):
        raise assembly.refuse(
            f"its result has the shape {shape} (C, H, W), expected {expected}",
            "the file is damaged: convert again",
        )
    output = assembly.quantized(tensor, shape)
    weight = _sparse(weights)
    bounds = clamped(options["FusedActivationFunction"], output, assembly)
    bias, (multiplier, shift) = _bias(assembly, weight), _rescaling(assembly, output, out)
    node = IntegerConv(
        assembly.new_name(), value.name, weight, bias, multiplier, stride, before, groups, bounds,
        shift,
    )  # fmt: skip
    assembly.add(node, output)


def walk(assembly: Assembly, value: Value, kernel: Pair) -> tuple[Pair, Pair]:
    """(stride, (top, left) padding) of an operator with windows."""
    options = assembly.operator.options
    vertical, horizontal = positive((options["StrideH"], options["StrideW"]), "strides", assembly)
    stride = (vertical, horizontal)
    if (options.get("DilationHFactor", 1), options.get("DilationWFactor", 1)) != (1, 1):
        raise assembly.refuse(
            "a dilated kernel", "train with dilation 1 and a larger kernel, which may be pruned"
        )
    before = [top for top, _ in value.pads]
    if options["Padding"] == SAME:
        for axis in range(2):
            size, step, taps = value.shape[axis + 1], stride[axis], kernel[axis]
            before[axis] += max(0, (-(-size // step) - 1) * step + taps - size) // 2
    return stride, (before[0], before[1])


def positions(assembly: Assembly, value: Value, kernel: Pair, stride: Pair) -> Pair:
    """(height, width) of the windows' result."""
    same = assembly.operator.options["Padding"] == SAME
    height, width = (
        -(-size // step) if same else (size - taps) // step + 1
        for size, taps, step in zip(value.shape[1:], kernel, stride, strict=True)
    )
    return height, width


def _four(assembly: Assembly, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    found = positive(shape, "weights of shape", assembly) if shape else ()
    if len(found) != 4:
        raise assembly.refuse(f"weights of shape {shape}", "the file is damaged: convert again")
    return (found[0], found[1], found[2], found[3])


def _weights(assembly: Assembly, axis: int) -> Int8s:
    """The constant weights as they lie in the file, checked for symmetry."""
    tensor = assembly.tensor(assembly.input_index(1))
    values = assembly.constant(1, "INT8", np.int8).astype(np.int8)
    channels = values.shape[axis] if values.ndim > axis else 0
    if len(tensor.scales) not in (1, channels) or np.any(tensor.zero_points != 0):
        raise assembly.refuse(
            f"weights {tensor.name[-80:]!r} with {len(tensor.scales)} scales for {channels} "
            "channels, or zero points other than 0",
            "weights are symmetric int8 with one scale, or one a channel",
        )
    if len(tensor.scales) > 1 and tensor.axis != axis:
        raise assembly.refuse(f"scales along axis {tensor.axis}", f"they must lie along {axis}")
    if values.size == 0:
        raise assembly.refuse("no weights", "the file is damaged: convert again")
    return values


def _sparse(weights: Int8s) -> IntegerWeight:
    flat = weights.reshape(-1)
    indices = np.flatnonzero(flat).astype(np.int32)
    shape = (weights.shape[0], weights.shape[1], weights.shape[2], weights.shape[3])
    return IntegerWeight(shape, indices, flat[indices])


def _bias(assembly: Assembly, weight: IntegerWeight) -> Int32s:
    out = weight.shape[0]
    bias = np.zeros(out, np.int32)
    if assembly.input_index(2) >= 0:
        bias = assembly.constant(2, "INT32", np.int32, (out,)).astype(np.int32)
    if weight.accumulator_bound(bias) >= 2**31:
        raise assembly.refuse("sums that overflow 32 bits", "quantize with smaller biases")
    return bias


def _rescaling(assembly: Assembly, output: Int8Tensor, out: int) -> tuple[Int32s, Int32s]:
    """(multipliers, shifts) int32 (O,)."""
    scales = assembly.tensor(assembly.input_index(1)).scales
    source = assembly.source(assembly.variable(0, padded=True))
    products = np.float64(source.scale) * scales.astype(np.float64)
    factors = products / output.scale
    if not np.all(factors < 2.0**30):
        raise assembly.refuse("scales that no multiplier holds", "convert again")
    return normalized(np.broadcast_to(factors, (out,)))
