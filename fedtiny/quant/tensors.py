"""int8 tensors and weights, and the integer types of this room."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fedtiny.errors import FedTinyError
from fedtiny.models.ops import Shape

Int8s = npt.NDArray[np.int8]
Int16s = npt.NDArray[np.int16]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

Integer = TypeVar("Integer", bound=np.integer[Any])

INT8_MIN, INT8_MAX = -128, 127

_WIDEN = 1.0 + 2.0**-16
"""Keeps widened scales clear of the limit after rounding to float32."""


class QuantizationError(FedTinyError):
    """The model cannot be quantized; the message names the layer or tensor and the fix."""


@dataclass(frozen=True, slots=True)
class Int8Tensor:
    """How one int8 tensor is read: ``real = scale · (q − zero_point)``.

    Attributes:
        shape: (C, H, W), as in the layer graph; in memory it lies as (H, W, C).
        scale: > 0, exactly representable in float32.
        zero_point: in [-128, 127]; the code of real 0.
    """

    shape: Shape
    scale: float
    zero_point: int

    @property
    def nbytes(self) -> int:
        """Bytes of one sample's tensor."""
        return prod(self.shape)

    @classmethod
    def covering(cls, shape: Shape, low: float, high: float, min_scale: float = 0.0) -> Int8Tensor:
        """The tensor that covers [low, high] and 0, with a scale of at least ``min_scale``.

        >>> Int8Tensor.covering((1, 1, 1), 0.0, 2.55)
        Int8Tensor(shape=(1, 1, 1), scale=0.009999999776482582, zero_point=-128)
        """
        low, high = min(low, 0.0), max(high, 0.0)
        tiny = float(np.finfo(np.float32).tiny)
        widest = max((high - low) / (INT8_MAX - INT8_MIN), min_scale * _WIDEN, tiny)
        scale = float(np.float32(widest))
        zero_point = int(np.clip(np.rint(INT8_MIN - low / scale), INT8_MIN, INT8_MAX))
        return cls(shape, scale, zero_point)

    def encode(self, real: npt.ArrayLike) -> Int8s:
        """The nearest codes of real numbers, clamped; halves to even.

        >>> Int8Tensor((1, 1, 1), 0.5, -8).encode([0.0, 1.0, -1e9, 1e9]).tolist()
        [-8, -6, -128, 127]
        """
        codes = np.rint(np.asarray(real, np.float64) / self.scale) + self.zero_point
        clamped: Int8s = np.clip(codes, INT8_MIN, INT8_MAX).astype(np.int8)
        return clamped

    def decode(self, codes: Int8s) -> npt.NDArray[np.float32]:
        """The real numbers that ``codes`` stand for, float32."""
        return np.float32(self.scale) * (codes.astype(np.float32) - np.float32(self.zero_point))


@dataclass(frozen=True, slots=True, eq=False)
class IntegerWeight:
    """int8 weights held sparsely; a dense layer simply holds every position.

    Attributes:
        shape: (O, H, W, I); (O, 1, 1, features) for a linear layer; (O, H, W, 1) for a depthwise
            convolution.
        indices: int32 ``(nnz,)``, flat positions in OHWI order, strictly ascending.
        values: int8 ``(nnz,)`` in [-127, 127], none of them 0.
    """

    shape: tuple[int, int, int, int]
    indices: Int32s
    values: Int8s

    @property
    def nnz(self) -> int:
        """Non-zero weights."""
        return len(self.indices)

    @property
    def density(self) -> float:
        """nnz / size, in [0, 1]."""
        return self.nnz / prod(self.shape)

    def to_dense(self) -> Int8s:
        """int8 array of ``shape``, zeros filled in."""
        flat = np.zeros(prod(self.shape), np.int8)
        flat[self.indices] = self.values
        return flat.reshape(self.shape)

    def accumulator_bound(self, bias: Int32s) -> int:
        """Largest |accumulator| any input can cause: ``max_o 255·Σ|w| + |bias|``."""
        per_row = np.zeros(self.shape[0], np.int64)
        rows = self.indices // prod(self.shape[1:])
        np.add.at(per_row, rows, np.abs(self.values.astype(np.int64)))
        return int(np.max(255 * per_row + np.abs(bias.astype(np.int64))))


def clip(codes: Int64s, bounds: tuple[int, int]) -> Int8s:
    """``codes`` within ``bounds``, int8."""
    clipped: Int8s = np.clip(codes, *bounds).astype(np.int8)
    return clipped


def overhang(size: int, before: int, kernel: int, stride: int, positions: int) -> int:
    """Cells beyond the end of an axis that the last window reads.

    >>> overhang(8, before=0, kernel=3, stride=2, positions=4), overhang(8, 1, 3, 2, 4)
    (1, 0)
    """
    return max(0, (positions - 1) * stride + kernel - before - size)


def padded(
    x: npt.NDArray[Integer],
    before: tuple[int, int],
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    positions: tuple[int, ...],
    fill: int,
) -> npt.NDArray[Integer]:
    """``x`` (N, H, W, C) with ``before`` cells above and left, and as many as are read after."""
    after = (
        overhang(*axis)
        for axis in zip(x.shape[1:3], before, kernel, stride, positions, strict=True)
    )
    pads = ((0, 0), *zip(before, after, strict=True), (0, 0))
    return np.pad(x, pads, constant_values=fill)


def windows(
    x: npt.NDArray[np.integer], kernel: tuple[int, ...], stride: tuple[int, int]
) -> npt.NDArray[np.integer]:
    """View of every window of ``x`` (N, H, W, C): (N, OH, OW, KH, KW, C)."""
    view = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2))
    return view[:, :: stride[0], :: stride[1]].transpose(0, 1, 2, 4, 5, 3)
