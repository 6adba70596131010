"""How a layer's function of the C library is called, with guards around what it writes."""

from __future__ import annotations

import ctypes
from ctypes import Structure, byref, c_int8, c_int32
from pathlib import Path

from fedtiny.boards.native.types import (
    Context,
    Dims,
    Guarded,
    Int8s,
    Int32s,
    PerChannel,
    Rescale,
    SparseWeights,
    check_status,
    pointer,
)


class LayerCalls:
    """A loaded library, and the argument order that all layers share.

    Args:
        library: path of the shared object.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        ours = hasattr(self._library, "fedtiny_crc32")
        self._dense_prefix = "fedtiny_dense_" if ours else "arm_"

    def _buffer_size(
        self,
        name: str,
        params: Structure,
        dims: tuple[Dims, Dims, Dims],
        weights: SparseWeights,
        band_rows: int,
    ) -> int:
        function = getattr(self._library, f"{name}_get_buffer_size")
        input_dims, filter_dims, output_dims = map(byref, dims)
        arguments = (byref(params), input_dims, filter_dims, byref(weights), output_dims)
        return int(function(*arguments, band_rows))

    def _layer(
        self,
        name: str,
        params: Structure,
        x: Int8s,
        dims: tuple[Dims, Dims, Dims],
        weights: object,
        bias: Int32s | None,
        rescale: Rescale,
        scratch_bytes: int,
    ) -> Int8s:
        shift = None if rescale.shift is None else pointer(rescale.shift, c_int32)
        quant = PerChannel(pointer(rescale.multiplier, c_int32), shift)
        return self._call(name, params, quant, x, dims, weights, bias, scratch_bytes)

    def _call(
        self,
        name: str,
        params: Structure,
        quant: Structure,
        x: Int8s,
        dims: tuple[Dims, Dims, Dims],
        weights: object,
        bias: Int32s | None,
        scratch_bytes: int,
    ) -> Int8s:
        input_dims, filter_dims, output_dims = dims
        scratch = Guarded(scratch_bytes)
        output = Guarded(output_dims.n * output_dims.h * output_dims.w * output_dims.c)
        context = Context(scratch.address, scratch_bytes)
        bias_dims = Dims(1, 1, 1, output_dims.c)
        status = getattr(self._library, name)(
            *(byref(context), byref(params), byref(quant)),
            *(byref(input_dims), pointer(x, c_int8)),
            *(byref(filter_dims), weights),
            *(byref(bias_dims), None if bias is None else pointer(bias, c_int32)),
            *(byref(output_dims), ctypes.c_void_p(output.address)),
        )
        scratch.check(f"{name}: scratch")
        output.check(f"{name}: output")
        check_status(name, status)
        return output.values()
