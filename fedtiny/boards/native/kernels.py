"""The C kernels compiled for this host and called with numpy arrays: how tests reach them.

Arrays are C-contiguous; maps are int8 ``(H, W, C)``, dense filters int8 ``(O, KH, KW, I)``
(depthwise ``(1, KH, KW, O)``), biases, multipliers and shifts int32 ``(O,)``.
"""

from __future__ import annotations

import ctypes
from ctypes import Structure, byref, c_int8, c_int16, c_int32, c_int64

import numpy as np
import numpy.typing as npt

from fedtiny.boards.native.calls import LayerCalls
from fedtiny.boards.native.types import (
    Activation,
    Context,
    Dims,
    Guarded,
    Int8s,
    Int32s,
    PerTensor,
    PoolParams,
    Rescale,
    Window,
    check_status,
    conv_params,
    depthwise_params,
    linear_params,
    output_shape,
    pointer,
    sparse_weights,
    tile,
)
from fedtiny.firmware.streams import WeightStreams


class Kernels(LayerCalls):
    """The functions of a library built by :func:`~fedtiny.boards.native.library.compile_runtime`.

    Of CMSIS-NN built alike, those that it has. Dense kernels are named as CMSIS-NN's; ours begin
    with ``fedtiny_dense_`` instead of ``arm_``.
    """

    def conv(
        self, x: Int8s, weights: Int8s, bias: Int32s | None, window: Window, rescale: Rescale
    ) -> Int8s:
        """``arm_convolve_wrapper_s8``."""
        out_shape = output_shape(x, window, weights.shape[0])
        params = conv_params(window, rescale)
        name = f"{self._dense_prefix}convolve_wrapper_s8"
        return self._dense(name, params, x, weights, bias, rescale, out_shape)

    def depthwise(
        self, x: Int8s, weights: Int8s, bias: Int32s | None, window: Window, rescale: Rescale
    ) -> Int8s:
        """``arm_depthwise_conv_wrapper_s8``."""
        out_shape = output_shape(x, window, weights.shape[3])
        params = depthwise_params(window, rescale, weights.shape[3] // x.shape[2])
        name = f"{self._dense_prefix}depthwise_conv_wrapper_s8"
        return self._dense(name, params, x, weights, bias, rescale, out_shape)

    def linear(self, x: Int8s, weights: Int8s, bias: Int32s | None, rescale: Rescale) -> Int8s:
        """``arm_fully_connected_s8`` of int8 (N, FEATURES); the first multiplier serves all."""
        outputs, features = weights.shape
        dims = Dims(len(x), 1, 1, features), Dims(features, 1, 1, outputs)
        shift = 0 if rescale.shift is None else int(rescale.shift[0])
        quant = PerTensor(int(rescale.multiplier[0]), shift)
        output_dims = Dims(len(x), 1, 1, outputs)
        return self._call(
            f"{self._dense_prefix}fully_connected_s8",
            linear_params(rescale),
            quant,
            x,
            (*dims, output_dims),
            pointer(weights, c_int8),
            bias,
            0,
        ).reshape(len(x), outputs)

    def sparse_conv(
        self,
        x: Int8s,
        weights: WeightStreams,
        bias: Int32s | None,
        window: Window,
        rescale: Rescale,
        *,
        planar: bool = False,
        scratch_bytes: int | None = None,
    ) -> Int8s:
        """``fedtiny_sparse_conv_s8`` or ``fedtiny_sparse_conv_planar_s8``.

        Args:
            x: int8 (H, W, C).
            weights: streams rows of KH · KW · C weights.
            bias: int32 (O,) or None.
            window, rescale: the layer.
            planar: which of the two.
            scratch_bytes: what to lend; None for the whole map's.
        """
        out_shape = output_shape(x, window, len(weights.entries))
        dims = (
            Dims(1, *x.shape),
            Dims(out_shape[2], *window.kernel, x.shape[2]),
            Dims(1, *out_shape),
        )
        name = "fedtiny_sparse_conv_planar_s8" if planar else "fedtiny_sparse_conv_s8"
        return self._sparse(
            name, conv_params(window, rescale), x, dims, weights, bias, rescale, scratch_bytes
        ).reshape(out_shape)

    def sparse_depthwise(
        self,
        x: Int8s,
        weights: WeightStreams,
        bias: Int32s | None,
        window: Window,
        rescale: Rescale,
        *,
        scratch_bytes: int | None = None,
    ) -> Int8s:
        """``fedtiny_sparse_depthwise_conv_s8``; arguments as for :meth:`sparse_conv`."""
        channels = len(weights.entries)
        out_shape = output_shape(x, window, channels)
        dims = Dims(1, *x.shape), Dims(1, *window.kernel, channels), Dims(1, *out_shape)
        params = depthwise_params(window, rescale, channels // x.shape[2])
        return self._sparse(
            "fedtiny_sparse_depthwise_conv_s8",
            params,
            x,
            dims,
            weights,
            bias,
            rescale,
            scratch_bytes,
        ).reshape(out_shape)

    def sparse_linear(
        self, x: Int8s, weights: WeightStreams, bias: Int32s | None, rescale: Rescale
    ) -> Int8s:
        """``fedtiny_sparse_fully_connected_s8`` of int8 (N, FEATURES)."""
        outputs, (samples, features) = len(weights.entries), x.shape
        dims = (
            Dims(samples, 1, 1, features),
            Dims(features, 1, 1, outputs),
            Dims(samples, 1, 1, outputs),
        )
        packed = sparse_weights(weights, self._library)
        params = linear_params(rescale)
        return self._layer(
            "fedtiny_sparse_fully_connected_s8", params, x, dims, byref(packed), bias, rescale, 0
        ).reshape(samples, outputs)

    def buffer_size(
        self,
        name: str,
        x_shape: tuple[int, int, int],
        weights: WeightStreams,
        window: Window,
        band_rows: int,
    ) -> int:
        """``{name}_get_buffer_size`` of a sparse kernel."""
        channels = len(weights.entries)
        out_shape = output_shape(np.empty(x_shape, np.int8), window, channels)
        rescale = Rescale(np.zeros(1, np.int32), None)
        params: Structure = conv_params(window, rescale)
        filter_dims = Dims(channels, *window.kernel, x_shape[2])
        if "depthwise" in name:
            params = depthwise_params(window, rescale, channels // x_shape[2])
            filter_dims = Dims(1, *window.kernel, channels)
        dims = Dims(1, *x_shape), filter_dims, Dims(1, *out_shape)
        return self._buffer_size(
            name, params, dims, sparse_weights(weights, self._library), band_rows
        )

    def average_pool(self, x: Int8s, window: Window, clamp: tuple[int, int]) -> Int8s:
        """``arm_avgpool_s8``."""
        width = output_shape(x, window, x.shape[2])[1]
        name = f"{self._dense_prefix}avgpool_s8"
        size = getattr(self._library, f"{name}_get_buffer_size")(width, x.shape[2])
        return self._pool(name, x, window, clamp, size)

    def max_pool(self, x: Int8s, window: Window, clamp: tuple[int, int]) -> Int8s:
        """``arm_max_pool_s8``."""
        return self._pool(f"{self._dense_prefix}max_pool_s8", x, window, clamp, 0)

    def add(
        self,
        inputs: tuple[Int8s, Int8s],
        offsets: tuple[int, int],
        multipliers: tuple[int, int],
        left_shift: int,
        output: tuple[int, int, int],
        clamp: tuple[int, int],
    ) -> Int8s:
        """``arm_elementwise_add_s8``; ``output`` is its (offset, multiplier, shift)."""
        result = np.empty_like(inputs[0])
        name = f"{self._dense_prefix}elementwise_add_s8"
        status = getattr(self._library, name)(
            *(pointer(values, c_int8) for values in inputs),
            *(offsets[0], multipliers[0], 0, offsets[1], multipliers[1], 0),
            left_shift,
            pointer(result, c_int8),
            *(*output, *clamp, result.size),
        )
        check_status(name, status)
        return result

    def quantize(
        self,
        counts: npt.NDArray[np.int16],
        multiplier: Int32s,
        offset: npt.NDArray[np.int64],
        shift: int,
    ) -> Int8s:
        """``fedtiny_quantize_s16`` of int16 (positions, channels)."""
        result = np.empty(counts.shape, np.int8)
        status = self._library.fedtiny_quantize_s16(
            pointer(counts, c_int16),
            *counts.shape,
            pointer(multiplier, c_int32),
            pointer(offset, c_int64),
            shift,
            pointer(result, c_int8),
        )
        check_status("fedtiny_quantize_s16", status)
        return result

    def lookup(self, x: Int8s, table: Int8s, *, in_place: bool = False) -> Int8s:
        """``fedtiny_lookup_s8``; ``in_place`` over a copy of ``x``."""
        output = Guarded(x.size)
        source = pointer(x, c_int8)
        if in_place:
            ctypes.memmove(output.address, source, x.size)
            source = ctypes.c_void_p(output.address)
        status = self._library.fedtiny_lookup_s8(
            source, pointer(table, c_int8), ctypes.c_void_p(output.address), x.size
        )
        output.check("fedtiny_lookup_s8: output")
        check_status("fedtiny_lookup_s8", status)
        return output.values().reshape(x.shape)

    def upsample(self, x: Int8s, size: tuple[int, int], channels: int | None = None) -> Int8s:
        """``fedtiny_upsample_nearest_s8`` to (height, width); ``channels``: what is claimed."""
        output = Guarded(int(np.prod(size)) * x.shape[2])
        dims = Dims(1, *x.shape), Dims(1, *size, x.shape[2] if channels is None else channels)
        status = self._library.fedtiny_upsample_nearest_s8(
            *(byref(dims[0]), pointer(x, c_int8)),
            *(byref(dims[1]), ctypes.c_void_p(output.address)),
        )
        output.check("fedtiny_upsample_nearest_s8: output")
        check_status("fedtiny_upsample_nearest_s8", status)
        return output.values().reshape(*size, x.shape[2])

    def argmax(self, values: Int8s) -> int:
        """``fedtiny_argmax_s8``."""
        return int(self._library.fedtiny_argmax_s8(pointer(values, c_int8), len(values)))

    def crc32(self, data: bytes) -> int:
        """``fedtiny_crc32``."""
        self._library.fedtiny_crc32.restype = ctypes.c_uint32
        return int(self._library.fedtiny_crc32(data, len(data)))

    def _dense(
        self,
        name: str,
        params: Structure,
        x: Int8s,
        weights: Int8s,
        bias: Int32s | None,
        rescale: Rescale,
        out_shape: tuple[int, int, int],
    ) -> Int8s:
        dims = Dims(1, *x.shape), Dims(*weights.shape), Dims(1, *out_shape)
        size = getattr(self._library, f"{name}_get_buffer_size")(byref(params), *map(byref, dims))
        filter_data = pointer(weights, c_int8)
        return self._layer(name, params, x, dims, filter_data, bias, rescale, size).reshape(
            out_shape
        )

    def _sparse(
        self,
        name: str,
        params: Structure,
        x: Int8s,
        dims: tuple[Dims, Dims, Dims],
        weights: WeightStreams,
        bias: Int32s | None,
        rescale: Rescale,
        scratch_bytes: int | None,
    ) -> Int8s:
        packed = sparse_weights(weights, self._library)
        if scratch_bytes is None:
            scratch_bytes = self._buffer_size(name, params, dims, packed, 0)
        return self._layer(name, params, x, dims, byref(packed), bias, rescale, scratch_bytes)

    def _pool(
        self, name: str, x: Int8s, window: Window, clamp: tuple[int, int], scratch_bytes: int
    ) -> Int8s:
        out_shape = output_shape(x, window, x.shape[2])
        scratch, output = Guarded(scratch_bytes), Guarded(int(np.prod(out_shape)))
        params = PoolParams(tile(window.stride), tile(window.padding), Activation(*clamp))
        status = getattr(self._library, name)(
            *(byref(Context(scratch.address, scratch_bytes)), byref(params)),
            *(byref(Dims(1, *x.shape)), pointer(x, c_int8)),
            *(byref(Dims(1, *window.kernel, 1)), byref(Dims(1, *out_shape))),
            ctypes.c_void_p(output.address),
        )
        output.check(f"{name}: output")
        check_status(name, status)
        return output.values().reshape(out_shape)
