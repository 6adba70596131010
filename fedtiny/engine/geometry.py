"""A layer as the kernels see it: a convolution over padded tiles, and its non-zeros as offsets.

A linear layer is a 1×1 convolution over a 1×1 map of ``in_features`` channels: the flattened
(C, H, W) order of its inputs is the order of the activation layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedtiny.models.ops import Activation, Conv, Layer, Linear, Shape

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of one layer; pairs are (height, width).

    ``padding`` is that above and on the left; what lies beyond the map on the other two sides
    follows from ``out_size``.
    """

    in_channels: int
    in_size: tuple[int, int]
    out_channels: int
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int
    batch_norm: bool
    activation: Activation

    @classmethod
    def of(cls, layer: Layer, input_shape: Shape) -> Geometry:
        """The geometry of ``layer`` reading a tensor of ``input_shape``."""
        return GEOMETRIES[type(layer)](layer, input_shape)

    @property
    def is_flat(self) -> bool:
        """Whether it is a linear layer: its tiles hold blocks of samples where others hold rows."""
        sizes = {self.in_size, self.out_size, self.kernel, self.stride}
        return sizes == {(1, 1)} and not self.batch_norm

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns of one stride phase that a kernel spans beyond the first."""
        return ((self.kernel[0] - 1) // self.stride[0], (self.kernel[1] - 1) // self.stride[1])

    @property
    def phases(self) -> tuple[int, int]:
        """Stride phases of the input that taps read."""
        return (min(self.stride[0], self.kernel[0]), min(self.stride[1], self.kernel[1]))

    @property
    def tap_weights(self) -> int:
        """Weights between two neighbouring input channels of a weight tensor."""
        return self.kernel[0] * self.kernel[1]

    @property
    def row_weights(self) -> int:
        """Weights of one output channel, absent ones included."""
        return self.in_channels // self.groups * self.tap_weights

    def input_tile(self, rows: int, lanes: int) -> int:
        """Positions of one input channel's padded tile serving ``rows`` output rows."""
        return self.phases[0] * self.phases[1] * self.input_plane(rows, lanes)

    def input_plane(self, rows: int, lanes: int) -> int:
        """Positions of one stride phase of that tile."""
        return _spread((rows + self.reach[0]) * (self.out_size[1] + self.reach[1]), lanes)

    @property
    def grad_size(self) -> tuple[int, int]:
        """Rows u and columns v over which the input gradient runs, all phases together."""
        return (self._grad_extent(0), self._grad_extent(1))

    def _grad_extent(self, axis: int) -> int:
        pad, stride = self.padding[axis], self.stride[axis]
        return (self.in_size[axis] - 1 + pad) // stride + 1 - pad // stride

    def grad_tile(self, rows: int, lanes: int) -> int:
        """Positions of one output channel's padded gradient tile serving ``rows`` rows u."""
        return _spread((rows + self.reach[0]) * (self.grad_size[1] + self.reach[1]), lanes)

    def taps(self, indices: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """(output channel, input channel, row, column) of flat weight positions."""
        out, within = np.divmod(indices, np.int32(self.row_weights))
        channel, position = np.divmod(within, np.int32(self.tap_weights))
        i, j = np.divmod(position, np.int32(self.kernel[1]))
        group = out // (self.out_channels // self.groups)
        return out, channel + group * (self.in_channels // self.groups), i, j

    def input_lists(self, indices: Ints, rows: int, lanes: int) -> tuple[Ints, Ints]:
        """Non-zeros by output channel: (start ``(O + 1,)``, offset ``(nnz,)`` into the input tile).

        Args:
            indices: flat weight positions, ascending.
            rows: output rows one tile serves.
            lanes: samples per block.
        """
        out, channel, i, j = self.taps(indices)
        (step_h, step_w), columns = self.stride, self.out_size[1] + self.reach[1]
        phase = i % step_h * self.phases[1] + j % step_w
        within = i // step_h * columns + j // step_w
        plane = self.input_plane(rows, lanes)
        position = channel * self.input_tile(rows, lanes) + phase * plane + within
        return _starts(out, self.out_channels), (position * lanes).astype(np.int32)

    def dense_input_list(self, rows: int, lanes: int) -> Ints:
        """Offsets of one output channel's weights, all present: every channel's, without groups."""
        return self.input_lists(np.arange(self.row_weights, dtype=np.int32), rows, lanes)[1]

    def dense_grad_lists(self, rows: int, lanes: int) -> tuple[Ints, Ints]:
        """(start, offset) by stride phase of one input channel's weights, all present."""
        channel = np.arange(self.row_weights * self.out_channels, dtype=np.int32)
        channel = channel.reshape(self.out_channels, self.row_weights)[:, : self.tap_weights]
        start, offset, _ = self.grad_lists(channel.reshape(-1), rows, lanes)
        return start[: self.stride[0] * self.stride[1] + 1], offset

    def grad_lists(self, indices: Ints, rows: int, lanes: int) -> tuple[Ints, Ints, Ints]:
        """Non-zeros by (input channel, stride phase): (start, offset, position).

        Offsets are into the gradient tile; the position of a non-zero is that in ``indices``.
        """
        out, channel, i, j = self.taps(indices)
        step_h, step_w = self.stride
        phases = step_h * step_w
        key = channel * phases + i % step_h * step_w + j % step_w
        # Of numpy's own type: others are cast in a buffer that it writes to though it got none.
        order = np.argsort(key, kind="stable")
        columns = self.grad_size[1] + self.reach[1]
        within = (self.reach[0] - i // step_h) * columns + self.reach[1] - j // step_w
        offset = ((out * self.grad_tile(rows, lanes) + within) * lanes).astype(np.int32)
        starts = _starts(key[order], self.in_channels * phases)
        return starts, offset[order], order.astype(np.int32)


def _of_conv(conv: Conv, input_shape: Shape) -> Geometry:
    channels, height, width = conv.output_shape(input_shape)
    (top, _), (left, _) = conv.pads
    return Geometry(
        conv.in_channels, input_shape[1:], channels, (height, width), conv.kernel, conv.stride,
        (top, left), conv.groups, conv.batch_norm, conv.activation,
    )  # fmt: skip


def _of_linear(linear: Linear, input_shape: Shape) -> Geometry:
    del input_shape  # flattened, it is a 1×1 map
    return Geometry(
        linear.in_features, (1, 1), linear.out_features, (1, 1), (1, 1), (1, 1), (0, 0), 1, False,
        linear.activation,
    )  # fmt: skip


GEOMETRIES: Mapping[type[Layer], Callable[[Any, Shape], Geometry]] = {
    Conv: _of_conv,
    Linear: _of_linear,
}
"""How each op with weights is a convolution; the others have no geometry."""


def _starts(sorted_keys: Ints, count: int) -> Ints:
    """Where each of ``count`` keys begins in a sorted array, and the end."""
    return np.searchsorted(sorted_keys, np.arange(count + 1)).astype(np.int32)


def _spread(positions: int, lanes: int) -> int:
    """``positions`` rounded up to an odd number of 16-lane groups (``spread`` in rows.h)."""
    line = 16 // lanes
    return int(line * (-(-positions // line) | 1))
