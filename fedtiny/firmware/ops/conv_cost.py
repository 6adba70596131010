"""What the instructions of a convolution grow with, by kernel."""

from __future__ import annotations

from math import prod

import numpy as np

from fedtiny.firmware.cores import Core
from fedtiny.firmware.dense_form import dense_form
from fedtiny.firmware.dense_scratch import Release, takes_1_x_n
from fedtiny.firmware.ops.conv_shape import conv_shape
from fedtiny.firmware.ops.op import Quantities
from fedtiny.firmware.ops.weights import decoded, lanes
from fedtiny.firmware.plan import Kernel, Step
from fedtiny.firmware.workspace import ConvShape
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.conv import IntegerConv


def quantities(node: IntegerConv, step: Step, model: IntegerGraph, core: Core) -> Quantities:
    """What the kernel's instructions grow with."""
    source, output = model.tensors[node.input].shape, model.tensors[node.name].shape
    if step.streams is None:
        shape = conv_shape(node, model)
        one_row = takes_1_x_n(dense_form(shape) or shape, Release.V4_0)
        return _dense_conv(node, source, output, core, one_row=one_row)
    if step.kernel is Kernel.SPARSE_CONV_PLANAR:
        return "planar", _planar(step, node, output, core)
    family = "depthwise" if step.kernel is Kernel.SPARSE_DEPTHWISE else "direct"
    return family, _direct(step, node, conv_shape(node, model))


def _dense_conv(
    node: IntegerConv,
    source: tuple[int, int, int],
    output: tuple[int, int, int],
    core: Core,
    *,
    one_row: bool,
) -> tuple[str, tuple[float, ...]]:
    """(multiply-accumulates, outputs, values copied into patches, …)."""
    taps, weights = prod(node.weight.shape[1:3]), prod(node.weight.shape[1:])
    outputs, positions = prod(output), prod(output[1:])
    if node.groups > 1:
        return "dense_depthwise", (outputs * weights, outputs, positions)
    values = (outputs * lanes(weights, core), outputs, weights * positions)
    if taps == 1 and node.padding == (0, 0):
        return "dense_pointwise", values
    slow = 0
    if core.has_mve:
        slow = output[0] * _slow_positions(node, source, output)
    work = (outputs - slow) * lanes(weights, core)
    slow_work = slow * -(-weights // 8) * 8
    family = "dense_1xn" if one_row else "dense_conv"
    return family, (work, slow_work, outputs, weights * positions, taps * positions)


def _slow_positions(
    node: IntegerConv, source: tuple[int, int, int], output: tuple[int, int, int]
) -> int:
    """Positions whose group of four holds padding or is not full.

    With MVE CMSIS-NN computes these by slower functions.
    """
    inside = [
        (start := np.arange(size) * stride - pad, (start >= 0) & (start + kernel <= whole))[1]
        for size, stride, pad, kernel, whole in zip(
            output[1:], node.stride, node.padding, node.weight.shape[1:3], source[1:], strict=True
        )
    ]
    plain = np.logical_and.outer(*inside).reshape(-1)
    fours = plain[: plain.size // 4 * 4].reshape(-1, 4)
    return plain.size - 4 * int(fours.all(axis=1).sum())


def _planar(
    step: Step, node: IntegerConv, output: tuple[int, int, int], core: Core
) -> tuple[float, ...]:
    """(nnz · pixels of wide tiles, of narrow tiles, one by one, outputs, packed values, …).

    Pixels are those of whole tiles: 8 of the two-pixel kernel, 16 of the vector one. Narrow
    maps have tiles of several rows.
    """
    channels, height, width = output
    kernel_h, kernel_w = node.weight.shape[1:3]
    if (kernel_h, kernel_w, node.stride, node.padding, step.bands) == (1, 1, (1, 1), (0, 0), 1):
        height, width = 1, height * width
    tiles = _vector_tiles if core.has_mve else _paired_tiles
    pixels, columns, rows = tiles(height, width)
    stride_h, stride_w = node.stride
    row_cells = min(stride_w, kernel_w) * (columns + (kernel_w - 1) // stride_w)
    cells = ((rows - 1) * stride_h + kernel_h) * row_cells
    return (
        *(node.weight.nnz * count for count in pixels),
        sum(pixels) * channels,
        cells * node.weight.shape[3],
        cells,
        step.bands * channels,
        *decoded(step, node, step.bands),
    )


_Tiles = tuple[tuple[int, int, int], int, int]
"""Pixels in (wide tiles, narrow tiles, one by one), columns of cells, rows of cells."""


def _paired_tiles(height: int, width: int) -> _Tiles:
    if width >= 8 or height == 1:
        return (height * -(-width // 8) * 8, 0, 0), -(-width // 2), height
    rows = -(-height // 2)
    return (0, rows * -(-width // 4) * 8, 0), width, rows


def _vector_tiles(height: int, width: int) -> _Tiles:
    if width >= 16:
        pixels = (height * -(-width // 16) * 16, 0, 0)
    elif width >= 8 and height >= 2:
        pixels = (0, -(-height // 2) * -(-width // 8) * 16, 0)
    elif width >= 4 and height >= 4:
        pixels = (0, -(-height // 4) * -(-width // 4) * 16, 0)
    else:
        pixels = (0, 0, height * width)
    return pixels, width, height


def _direct(step: Step, node: IntegerConv, shape: ConvShape) -> tuple[float, ...]:
    """(nnz · pixels, nnz · ragged pixels, outputs, padded inputs, channel starts, decoding…)."""
    height, width, channels = shape.output
    work = node.weight.nnz * height
    return (
        work * width,
        work * (width % 8),
        prod(shape.output),
        prod(shape.framed) * shape.input[2] if shape.is_padded else 0,
        step.bands * channels,
        *decoded(step, node, step.bands),
    )
