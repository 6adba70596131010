"""The C structures the kernels take, for ctypes, and how numpy arrays become their arguments."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_int32, c_uint8, c_uint16
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedtiny.errors import FedTinyError
from fedtiny.firmware.streams import WeightStreams

Int8s = npt.NDArray[np.int8]
Int32s = npt.NDArray[np.int32]


class KernelError(FedTinyError):
    """A kernel refused its arguments."""


class Dims(Structure):
    """``cmsis_nn_dims``."""

    _fields_ = [(name, c_int32) for name in "nhwc"]


class Tile(Structure):
    """``cmsis_nn_tile``."""

    _fields_ = [("w", c_int32), ("h", c_int32)]


class Activation(Structure):
    """``cmsis_nn_activation``."""

    _fields_ = [("min", c_int32), ("max", c_int32)]


class Context(Structure):
    """``cmsis_nn_context``."""

    _fields_ = [("buf", ctypes.c_void_p), ("size", c_int32)]


class PerChannel(Structure):
    """``cmsis_nn_per_channel_quant_params``."""

    _fields_ = [("multiplier", POINTER(c_int32)), ("shift", POINTER(c_int32))]


class PerTensor(Structure):
    """``cmsis_nn_per_tensor_quant_params``."""

    _fields_ = [("multiplier", c_int32), ("shift", c_int32)]


class ConvParams(Structure):
    """``cmsis_nn_conv_params``."""

    _fields_ = [
        *(("input_offset", c_int32), ("output_offset", c_int32)),
        *(("stride", Tile), ("padding", Tile), ("dilation", Tile)),
        ("activation", Activation),
    ]


class DepthwiseParams(Structure):
    """``cmsis_nn_dw_conv_params``."""

    _fields_ = [
        *(("input_offset", c_int32), ("output_offset", c_int32), ("ch_mult", c_int32)),
        *(("stride", Tile), ("padding", Tile), ("dilation", Tile)),
        ("activation", Activation),
    ]


class PoolParams(Structure):
    """``cmsis_nn_pool_params``."""

    _fields_ = [("stride", Tile), ("padding", Tile), ("activation", Activation)]


class LinearParams(Structure):
    """``cmsis_nn_fc_params``."""

    _fields_ = [
        *(("input_offset", c_int32), ("filter_offset", c_int32), ("output_offset", c_int32)),
        ("activation", Activation),
    ]


class SparseWeights(Structure):
    """``fedtiny_sparse_weights``."""

    _fields_ = [
        ("decode", ctypes.c_void_p),
        ("dot", ctypes.c_void_p),
        ("entries", POINTER(c_uint16)),
        ("max_nonzeros", c_uint16),
        ("stream", POINTER(c_uint8)),
        ("stream_bytes", ctypes.c_uint32),
    ]


@dataclass(frozen=True, slots=True)
class Window:
    """How a layer walks over its input; (height, width) pairs.

    ``padding`` is above and on the left, ``after`` below and on the right; None: the same.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    after: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Rescale:
    """From int32 accumulators to int8.

    Attributes:
        multiplier: int32 (O,).
        shift: int32 (O,); None for the null pointer that sparse kernels take as all 0.
        input_offset: minus the input's zero point.
        output_offset: the output's zero point.
        clamp: (min, max).
    """

    multiplier: Int32s
    shift: Int32s | None
    input_offset: int = 0
    output_offset: int = 0
    clamp: tuple[int, int] = (-128, 127)


class Guarded:
    """Memory lent to a kernel, with a margin that must stay untouched."""

    _MARGIN = 64
    _FILL = 0x5A

    def __init__(self, size: int) -> None:
        self._size = size
        self._bytes = np.full(size + self._MARGIN, self._FILL, np.uint8)
        self.address = self._bytes.ctypes.data

    def check(self, what: str) -> None:
        """Raise KernelError if the margin was written to."""
        if np.any(self._bytes[self._size :] != self._FILL):
            raise KernelError(f"{what}: written beyond its {self._size} bytes")

    def values(self) -> Int8s:
        """A copy of the memory."""
        return self._bytes[: self._size].view(np.int8).copy()


def check_status(name: str, status: int) -> None:
    """Raise KernelError unless a kernel succeeded."""
    if status != 0:
        raise KernelError(f"{name} returned {status}")


def pointer(array: npt.NDArray[Any], kind: Any) -> Any:  # noqa: ANN401 - ctypes's own types
    """The pointer C takes for an array of the right type."""
    if not array.flags.c_contiguous or array.dtype != np.dtype(kind):
        raise KernelError(f"a contiguous {np.dtype(kind)} array is needed, not {array.dtype}")
    return array.ctypes.data_as(POINTER(kind))


def tile(size: tuple[int, int]) -> Tile:
    """(height, width) as the C structure."""
    return Tile(w=size[1], h=size[0])


def conv_params(window: Window, rescale: Rescale) -> ConvParams:
    """The parameters of a convolution."""
    return ConvParams(
        rescale.input_offset,
        rescale.output_offset,
        tile(window.stride),
        tile(window.padding),
        tile(window.dilation),
        Activation(*rescale.clamp),
    )


def depthwise_params(window: Window, rescale: Rescale, multiplier: int) -> DepthwiseParams:
    """The parameters of a depthwise convolution with that channel multiplier."""
    return DepthwiseParams(
        rescale.input_offset,
        rescale.output_offset,
        multiplier,
        tile(window.stride),
        tile(window.padding),
        tile(window.dilation),
        Activation(*rescale.clamp),
    )


def linear_params(rescale: Rescale) -> LinearParams:
    """The parameters of a fully-connected layer."""
    return LinearParams(rescale.input_offset, 0, rescale.output_offset, Activation(*rescale.clamp))


def sparse_weights(weights: WeightStreams, library: ctypes.CDLL) -> SparseWeights:
    """The weights as a sparse kernel of ``library`` reads them.

    The arrays live as long as the structure.
    """
    name = weights.format.name.lower()
    decoders = (getattr(library, f"fedtiny_{use}_{name}") for use in ("decode", "dot"))
    stream = np.frombuffer(weights.stream, np.uint8)
    packed = SparseWeights(
        *(ctypes.cast(decoder, ctypes.c_void_p) for decoder in decoders),
        pointer(weights.entries, c_uint16),
        weights.max_nonzeros,
        pointer(stream, c_uint8),
        len(stream),
    )
    packed.kept_alive = (weights, stream)
    return packed


def output_shape(x: Int8s, window: Window, channels: int) -> tuple[int, int, int]:
    """(OH, OW, channels) of a layer over the map ``x``."""
    out_h, out_w = (
        (size + before + after - dilation * (kernel - 1) - 1) // stride + 1
        for size, before, after, dilation, kernel, stride in zip(
            x.shape[:2],
            window.padding,
            window.after or window.padding,
            window.dilation,
            window.kernel,
            window.stride,
            strict=True,
        )
    )
    return out_h, out_w, channels
