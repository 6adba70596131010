"""The integer reference: what every C kernel must equal, byte for byte.

Accumulators are computed with BLAS on floating-point integers. That is exact: every product and
partial sum is an integer no larger than the layer's ``accumulator_bound``, so float32 holds it
below 2^24 and float64 below 2^53, in any order of summation.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import numpy.typing as npt

from fedtiny.models.graph import INPUT
from fedtiny.quant.integer_model import (
    ADD_LEFT_SHIFT,
    ADD_MULTIPLIER,
    INPUT_SHIFT,
    INT8_MAX,
    INT8_MIN,
    Activation,
    Int8s,
    Int16s,
    Int32s,
    Int64s,
    IntegerAdd,
    IntegerConv,
    IntegerGraph,
    IntegerLinear,
    IntegerNode,
    IntegerPool,
    IntegerWeight,
    QuantizationError,
)
from fedtiny.quant.requantize import requantize

CHUNK = 128
"""Samples interpreted together: bounds the memory of unrolled patches."""


def run(model: IntegerGraph, counts: Int16s) -> Int8s:
    """Logits of each sample.

    Args:
        model: the integer model.
        counts: int16 ``(N, C, H, W)``, raw sensor counts.

    Returns:
        int8 ``(N, classes)``.

    Raises:
        QuantizationError: the counts are not int16 or not of the input's shape.
    """
    codes = quantize_input(model, counts)
    chunks = [infer(model, codes[i : i + CHUNK]) for i in range(0, len(codes), CHUNK)]
    return np.concatenate(chunks) if chunks else np.zeros((0, model.output.shape[0]), np.int8)


def quantize_input(model: IntegerGraph, counts: Int16s) -> Int8s:
    """The int8 input ``(N, H, W, C)`` of raw counts int16 ``(N, C, H, W)``."""
    if counts.dtype != np.int16 or counts.shape[1:] != model.input.shape:
        raise QuantizationError(
            f"counts must be int16 (N, {', '.join(map(str, model.input.shape))}), got "
            f"{counts.dtype} {counts.shape}"
        )
    entry = model.input_quantization
    channels_last = counts.transpose(0, 2, 3, 1).astype(np.int64)
    fine = channels_last * entry.multiplier.astype(np.int64) + entry.offset
    codes = (fine + (1 << (INPUT_SHIFT - 1))) >> INPUT_SHIFT
    return _clip(codes, (INT8_MIN, INT8_MAX))


def infer(model: IntegerGraph, codes: Int8s) -> Int8s:
    """int8 logits ``(N, classes)`` of quantized inputs int8 ``(N, H, W, C)``."""
    tensors = dict(trace(model, codes))
    return tensors[model.logits].reshape(len(codes), -1)


def trace(model: IntegerGraph, codes: Int8s) -> Iterator[tuple[str, Int8s]]:
    """(name, int8 ``(N, H, W, C)``) of every node's output, in order."""
    tensors = {INPUT: codes}
    for node in model.nodes:
        tensors[node.name] = _evaluate(node, tensors, model)
        yield node.name, tensors[node.name]


def _evaluate(node: IntegerNode, tensors: dict[str, Int8s], model: IntegerGraph) -> Int8s:
    source, output = model.activations[node.inputs[0]], model.activations[node.name]
    x = tensors[node.inputs[0]]
    match node:
        case IntegerConv():
            return convolve(node, x, source, output)
        case IntegerLinear():
            centred = x.reshape(len(x), 1, 1, -1).astype(np.int16) - source.zero_point
            return _rescale(node, _matmul(centred, node.weight, node.bias), output)
        case IntegerAdd():
            return add(node, x, tensors[node.right], source, model.activations[node.right], output)
        case IntegerPool():
            return pool(node, x)


def convolve(node: IntegerConv, x: Int8s, source: Activation, output: Activation) -> Int8s:
    """``arm_convolve_s8`` or ``arm_depthwise_conv_s8`` on int8 ``(N, H, W, C)``."""
    pad_h, pad_w = node.padding
    centred = x.astype(np.int16) - np.int16(source.zero_point)
    padded = np.pad(centred, ((0, 0), (pad_h, pad_h), (pad_w, pad_w), (0, 0)))
    patches = _windows(padded, node.weight.shape[1:3], node.stride)
    if node.groups == 1:
        accumulator = _matmul(patches, node.weight, node.bias)
    else:
        accumulator = _depthwise(patches, node.weight) + node.bias
    return _rescale(node, accumulator, output)


def add(
    node: IntegerAdd,
    left: Int8s,
    right: Int8s,
    left_tensor: Activation,
    right_tensor: Activation,
    output: Activation,
) -> Int8s:
    """``arm_elementwise_add_s8``."""
    raised = (
        (codes.astype(np.int64) - tensor.zero_point) << ADD_LEFT_SHIFT
        for codes, tensor in ((left, left_tensor), (right, right_tensor))
    )
    multipliers = (node.left_multiplier, node.right_multiplier)
    total = sum(requantize(r, m) for r, m in zip(raised, multipliers, strict=True))
    codes = requantize(np.asarray(total), ADD_MULTIPLIER) + output.zero_point
    return _clip(codes, node.clamp)


def pool(node: IntegerPool, x: Int8s) -> Int8s:
    """``arm_avgpool_s8`` or ``arm_max_pool_s8`` without padding."""
    windows = _windows(x, node.kernel, node.stride)
    if node.kind == "max":
        largest: Int8s = windows.max(axis=(3, 4))
        return largest
    total = windows.sum(axis=(3, 4), dtype=np.int64)
    size = prod(node.kernel)
    average: Int64s = np.sign(total) * ((np.abs(total) + size // 2) // size)
    return average.astype(np.int8)


def _windows(
    x: npt.NDArray[np.integer], kernel: tuple[int, ...], stride: tuple[int, int]
) -> npt.NDArray[np.integer]:
    """View of every window of ``x`` (N, H, W, C): (N, OH, OW, KH, KW, C)."""
    view = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2))
    return view[:, :: stride[0], :: stride[1]].transpose(0, 1, 2, 4, 5, 3)


def _matmul(patches: npt.NDArray[np.integer], weight: IntegerWeight, bias: Int32s) -> Int64s:
    """Accumulators int64 (N, OH, OW, O) of centred patches (N, OH, OW, …) and OHWI weights."""
    exact = np.dtype(np.float32 if weight.accumulator_bound(bias) < 2**24 else np.float64)
    rows: npt.NDArray[np.floating] = patches.astype(exact).reshape(*patches.shape[:3], -1)
    matrix: npt.NDArray[np.floating] = weight.to_dense().astype(exact).reshape(weight.shape[0], -1)
    accumulator: Int64s = (rows @ matrix.T + bias.astype(exact)).astype(np.int64)
    return accumulator


def _depthwise(patches: npt.NDArray[np.integer], weight: IntegerWeight) -> Int64s:
    """Accumulators int64 (N, OH, OW, O); output channel o reads input o·C/O."""
    per_input = weight.shape[0] // patches.shape[-1]
    repeated = np.repeat(patches.astype(np.int64), per_input, axis=-1)
    taps = weight.to_dense()[..., 0].astype(np.int64)
    accumulator: Int64s = np.einsum("nyxhwo,ohw->nyxo", repeated, taps)
    return accumulator


def _rescale(node: IntegerConv | IntegerLinear, accumulator: Int64s, output: Activation) -> Int8s:
    codes = requantize(accumulator, node.multiplier) + output.zero_point
    return _clip(codes, node.clamp)


def _clip(codes: Int64s, bounds: tuple[int, int]) -> Int8s:
    clipped: Int8s = np.clip(codes, *bounds).astype(np.int8)
    return clipped
