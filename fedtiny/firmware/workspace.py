"""Scratch bytes of the kernels: the Python twins of their ``_get_buffer_size``.

The planner asks these before any C exists; the tests hold them to the C functions. Those of
CMSIS-NN's kernels are in :mod:`fedtiny.firmware.dense_scratch`; the portable dense ones need none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedtiny.quant.tensors import overhang

ADD_TABLES_BYTES = 2048
"""Scratch of ``fedtiny_elementwise_add_s8``."""

_ENTRY_BYTES = 8
_TAP_BYTES = 4
_END_ENTRIES = 2
_MIN_ENTRIES = 2
_PAIR_BYTES = 4
_MIN_PAIRED_WIDTH = 8
_GROUP = 4
_LARGEST_OFFSET = 65535


@dataclass(frozen=True, slots=True)
class ConvShape:
    """A convolution as the kernels see it; (height, width) pairs, channels innermost.

    Attributes:
        input: (H, W, C_IN) of the input map.
        output: (OH, OW, C_OUT) of the output map.
        kernel, stride: (height, width).
        padding: (top, left); below and on the right windows overhang as the output's size says.
        max_nonzeros: most non-zero weights in one output channel.
    """

    input: tuple[int, int, int]
    output: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    max_nonzeros: int

    @property
    def is_pointwise(self) -> bool:
        """Whether it is a 1x1 convolution that visits every pixel, so the map is one long row."""
        numbers = (self.kernel, self.stride, self.padding, self.overhang)
        return numbers == ((1, 1), (1, 1), (0, 0), (0, 0))

    @property
    def overhang(self) -> tuple[int, int]:
        """(rows below, columns on the right) of the map that windows read."""
        axes = zip(self.input, self.padding, self.kernel, self.stride, self.output, strict=False)
        rows, columns = (overhang(*axis) for axis in axes)
        return rows, columns

    @property
    def is_padded(self) -> bool:
        """Whether any window reads beyond the map."""
        return any((*self.padding, *self.overhang))

    @property
    def framed(self) -> tuple[int, int]:
        """(height, width) of the map with margins: as wide after it as before, or as is read."""
        high, wide = (
            size + before + max(before, after)
            for size, before, after in zip(self.input, self.padding, self.overhang, strict=False)
        )
        return high, wide

    def flattened(self) -> ConvShape:
        """The same pointwise convolution over one row."""
        (in_h, in_w, in_c), (out_h, out_w, out_c) = self.input, self.output
        return replace(self, input=(1, in_h * in_w, in_c), output=(1, out_h * out_w, out_c))

    def transposed(self) -> ConvShape:
        """Rows for columns; of a single row or column the bytes are the same."""
        (in_h, in_w, in_c), (out_h, out_w, out_c) = self.input, self.output
        return ConvShape(
            (in_w, in_h, in_c),
            (out_w, out_h, out_c),
            (self.kernel[1], self.kernel[0]),
            (self.stride[1], self.stride[0]),
            (self.padding[1], self.padding[0]),
            self.max_nonzeros,
        )


def direct_bytes(shape: ConvShape, band_rows: int = 0) -> int:
    """Scratch of ``fedtiny_sparse_conv_s8`` and ``fedtiny_sparse_depthwise_conv_s8``.

    Args:
        shape: of the layer.
        band_rows: output rows computed at once; 0 for the whole map.

    >>> shape = ConvShape((8, 8, 4), (8, 8, 4), (3, 3), (1, 1), (1, 1), max_nonzeros=6)
    >>> direct_bytes(shape), direct_bytes(shape, band_rows=1)
    (504, 224)
    """
    rows = min(band_rows or shape.output[0], shape.output[0])
    band = 0
    if shape.is_padded:
        band = _band_height(shape, rows) * shape.framed[1] * shape.input[2]
    return _round_up_8(_fixed_bytes(shape) + band)


def gathers(shape: ConvShape) -> bool:
    """Whether the direct kernels gather with MVE: 16-bit offsets reach four outputs' windows.

    >>> gathers(ConvShape((8, 8, 4), (8, 8, 4), (3, 3), (1, 1), (1, 1), max_nonzeros=6))
    True
    """
    channels = shape.input[2]
    last_cell = ((shape.kernel[0] - 1) * shape.framed[1] + shape.kernel[1]) * channels - 1
    last_output = (_GROUP - 1) * shape.stride[1] * channels
    return shape.output[1] >= _GROUP and last_cell + last_output <= _LARGEST_OFFSET


def planar_bytes(shape: ConvShape, band_rows: int = 0, *, mve: bool = False) -> int:
    """Scratch of ``fedtiny_sparse_conv_planar_s8``.

    Args:
        shape: of the layer.
        band_rows: rows swept at once; 0 for the whole map.
        mve: for a core with MVE (Cortex-M55), where a cell is one byte.

    >>> shape = ConvShape((8, 8, 4), (8, 8, 4), (3, 3), (1, 1), (1, 1), max_nonzeros=6)
    >>> planar_bytes(shape), planar_bytes(shape, band_rows=1), planar_bytes(shape, mve=True)
    (1064, 392, 504)
    """
    used = shape.flattened() if band_rows == 0 and shape.is_pointwise else shape
    columns, rows = _sweep(used, mve=mve)
    kernel_w, stride_w = used.kernel[1], used.stride[1]
    plane_cells = min(stride_w, kernel_w) * (columns + (kernel_w - 1) // stride_w)
    row_bytes = plane_cells * used.input[2] * (1 if mve else _PAIR_BYTES)
    height = _band_height(used, min(band_rows or rows, rows))
    return _round_up_8(_fixed_bytes(used) + height * row_bytes)


def planar_rows(shape: ConvShape, *, mve: bool = False) -> int:
    """Rows the planar kernel sweeps over the whole map: the largest ``band_rows`` of use."""
    return _sweep(shape, mve=mve)[1]


def _sweep(shape: ConvShape, *, mve: bool) -> tuple[int, int]:
    """(cells a row, rows): two pixels a cell unless the core has MVE."""
    out_h, out_w, _ = shape.output
    if mve:
        return out_w, out_h
    if out_w >= _MIN_PAIRED_WIDTH or out_h == 1:
        return (out_w + 1) // 2, out_h
    return out_w, (out_h + 1) // 2


def _fixed_bytes(shape: ConvShape) -> int:
    """The tap table and the decoded weights of one channel."""
    taps = shape.kernel[0] * shape.kernel[1]
    entries = max(shape.max_nonzeros, _MIN_ENTRIES) + _END_ENTRIES
    return _round_up_8(taps * _TAP_BYTES) + entries * _ENTRY_BYTES


def _band_height(shape: ConvShape, rows: int) -> int:
    return (rows - 1) * shape.stride[0] + shape.kernel[0]


def _round_up_8(size: int) -> int:
    return -(-size // 8) * 8
