"""What the instructions of a convolution grow with, by kernel."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from fedtiny.firmware.cores import Core
from fedtiny.firmware.dense_form import dense_form
from fedtiny.firmware.dense_scratch import Release, takes_1_x_n
from fedtiny.firmware.ops.conv_shape import conv_shape
from fedtiny.firmware.ops.op import Quantities
from fedtiny.firmware.ops.weights import decoded, encodings, lanes
from fedtiny.firmware.plan import Kernel, Step
from fedtiny.firmware.stream_formats import WeightFormat
from fedtiny.firmware.streams import WeightStreams
from fedtiny.firmware.workspace import ConvShape, gathers
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.conv import IntegerConv


def quantities(node: IntegerConv, step: Step, model: IntegerGraph, core: Core) -> Quantities:
    """What the kernel's instructions grow with."""
    output = model.tensors[node.name].shape
    if step.streams is None:
        return _dense_conv(node, conv_shape(node, model), core)
    if step.kernel is Kernel.SPARSE_CONV_PLANAR:
        return "planar", _planar(step, node, output, core)
    depthwise = step.kernel is Kernel.SPARSE_DEPTHWISE
    shape = conv_shape(node, model)
    if shape.is_pointwise:
        shape = shape.flattened()
    if core.has_mve and gathers(shape):
        family = "gather_depthwise" if depthwise else "gather"
        return family, _gather(step, step.streams, node, shape)
    return "depthwise" if depthwise else "direct", _direct(step, node, shape)


def _dense_conv(node: IntegerConv, shape: ConvShape, core: Core) -> Quantities:
    """(multiply-accumulates, …, outputs, values copied into patches, …)."""
    (height, width, channels), taps = shape.output, prod(shape.kernel)
    weights, positions = prod(node.weight.shape[1:]), height * width
    outputs = positions * channels
    if node.groups > 1:
        return "dense_depthwise", (outputs * weights, outputs, positions)
    values = (outputs * lanes(weights, core), outputs, weights * positions)
    if taps == 1 and node.padding == (0, 0):
        return "dense_pointwise", values
    form = dense_form(shape) or shape
    one_row = takes_1_x_n(form, Release.V7_0 if core.has_mve else Release.V4_0)
    slow = 0
    if core.has_mve:
        slow = channels * (_slow_columns(form) if one_row else positions % 4)
    work = (outputs - slow) * lanes(weights, core)
    slow_work = slow * lanes(weights, core)
    family = "dense_1xn" if one_row else "dense_conv"
    return family, (work, slow_work, outputs, weights * positions, taps * positions)


def _slow_columns(row: ConvShape) -> int:
    """Outputs of a row that CMSIS-NN with MVE computes alone: at its edges, or left of fours."""
    start = np.arange(row.output[1]) * row.stride[1] - row.padding[1]
    inside = int(np.sum((start >= 0) & (start + row.kernel[1] <= row.input[1])))
    return row.output[1] - inside // 4 * 4


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


_FEW_BLOCKS = (19, 30, 38)
_BLOCKS = (18, 11)
_SHIFT = 3
"""Instructions of the gathering sweep for four outputs: by blocks in registers; by any number of
blocks, once and for each; for a shift."""


def _gather(
    step: Step, streams: WeightStreams, node: IntegerConv, shape: ConvShape
) -> tuple[float, ...]:
    """(instructions of groups, longer rows, padded inputs, channel starts, decoding…)."""
    height, width, channels = shape.output
    blocks = _blocks(streams, node)
    group = _BLOCKS[0] + _BLOCKS[1] * blocks
    if node.shift is not None:
        group += _SHIFT
    else:
        for count, instructions in enumerate(_FEW_BLOCKS, 1):
            group[blocks == count] = instructions
    parts = 1 + (width % 4 > 0)
    return (
        height * -(-width // 4) * int(group.sum()),
        height * channels if width >= 8 else 0,
        prod(shape.framed) * shape.input[2] if shape.is_padded else 0,
        step.bands * channels * parts,
        *_decoded_to_blocks(step, streams, node, int(blocks.sum())),
    )


def _decoded_to_blocks(
    step: Step, streams: WeightStreams, node: IntegerConv, blocks: int
) -> tuple[float, ...]:
    """What is decoded, by format; then blocks of dense values, which take no other decoding.

    P4 is decoded one by one, as bitmaps are.
    """
    if streams.format is WeightFormat.DENSE and _fits_dense(streams, node):
        return (0, 0, 0, 0, 0, 0, step.bands * blocks)
    if streams.format is WeightFormat.P4:
        return (0, 0, step.bands * int(streams.entries.sum()), 0, 0, 0, 0)
    return (*decoded(step, node, step.bands), 0)


def _fits_dense(streams: WeightStreams, node: IntegerConv) -> bool:
    """Whether there is room for a channel's zeros, too."""
    weights = prod(node.weight.shape[1:])
    return node.groups == 1 and -(-weights // 8) <= _block_room(streams)


def _block_room(streams: WeightStreams) -> int:
    """Blocks in the memory of the longest channel's entries."""
    return (max(streams.max_nonzeros, 2) + 2) // 4


def _blocks(streams: WeightStreams, node: IntegerConv) -> NDArray[np.int64]:
    """Blocks of eight weights by output channel, as the decoders leave them."""
    entries = encodings(node)[0][WeightFormat.BITMAP].entries.astype(np.int64)  # non-zeros
    if streams.format in (WeightFormat.D8, WeightFormat.D4) and node.groups == 1:
        bridged = streams.entries.astype(np.int64)
        entries = np.where(-(-bridged // 8) <= _block_room(streams), bridged, entries)
    if streams.format is WeightFormat.DENSE and _fits_dense(streams, node):
        entries = np.full_like(entries, prod(node.weight.shape[1:]))
    return np.maximum(-(-entries // 8), 1)


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
