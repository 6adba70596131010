"""Convolutions in C: dense, sparse (direct or planar), depthwise."""

from __future__ import annotations

from collections.abc import Iterator

from fedtiny.firmware.cores import Core
from fedtiny.firmware.ops.conv_cost import quantities
from fedtiny.firmware.ops.op import Call, FirmwareOp, nhwc
from fedtiny.firmware.ops.weights import (
    dense_flash_bytes,
    encodings,
    layer_arrays,
    layer_call,
    parameter_bytes,
)
from fedtiny.firmware.plan import ExportPlan, Kernel, Step
from fedtiny.firmware.workspace import (
    ConvShape,
    dense_conv_bytes,
    dense_depthwise_bytes,
    direct_bytes,
    planar_bytes,
    planar_rows,
)
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.conv import IntegerConv


def ways(node: IntegerConv, model: IntegerGraph, core: Core, limit: int) -> Iterator[Step]:
    """CMSIS-NN's kernel, then ours in each weight format."""
    yield _dense(node, model, core)
    streams, planar = encodings(node)
    kernels = [Kernel.SPARSE_DEPTHWISE] if node.groups > 1 else [Kernel.SPARSE_CONV]
    if node.groups == 1 and planar and core.planar_pays:
        kernels.append(Kernel.SPARSE_CONV_PLANAR)
    for stream in streams:
        flash = stream.flash_bytes + parameter_bytes(node)
        shape = _conv_shape(node, model, stream.max_nonzeros)
        for kernel in kernels:
            scratch, bands = _banded(shape, kernel, core, limit)
            yield Step(node, kernel, stream, flash, scratch, bands)


def _dense(node: IntegerConv, model: IntegerGraph, core: Core) -> Step:
    """CMSIS-NN's kernel, with the scratch it asks for."""
    flash, shape = dense_flash_bytes(node), _conv_shape(node, model, 0)
    if node.groups > 1:
        scratch = dense_depthwise_bytes(shape, mve=core.has_mve)
        return Step(node, Kernel.DENSE_DEPTHWISE, None, flash, scratch)
    return Step(node, Kernel.DENSE_CONV, None, flash, dense_conv_bytes(shape))


def _banded(shape: ConvShape, kernel: Kernel, core: Core, limit: int) -> tuple[int, int]:
    """(scratch bytes, bands) for the highest band within ``limit``, or else for the lowest."""
    sizes = _band_bytes(shape, kernel, core)
    least = sizes[-1]
    if kernel is Kernel.SPARSE_CONV_PLANAR:
        # One row must also fit where the same project runs without MVE: on the host.
        least = max(least, planar_bytes(shape, 1))
    nbytes = max(least, next((size for size in sizes if size <= limit), least))
    return nbytes, _bands_in(shape, kernel, core, nbytes)


def _bands_in(shape: ConvShape, kernel: Kernel, core: Core, scratch_bytes: int) -> int:
    """Bands in which the kernel covers the map when lent ``scratch_bytes``."""
    sizes = _band_bytes(shape, kernel, core)
    rows = len(sizes)
    height = next(rows - i for i, size in enumerate(sizes) if size <= scratch_bytes)
    return -(-rows // height)


def _band_bytes(shape: ConvShape, kernel: Kernel, core: Core) -> list[int]:
    """Scratch by height of the band: the whole map first, one row last."""
    if kernel is not Kernel.SPARSE_CONV_PLANAR:
        return [direct_bytes(shape, height) for height in range(shape.output[0], 0, -1)]
    mve = core.has_mve
    heights = (0, *range(planar_rows(shape, mve=mve) - 1, 0, -1))
    return [planar_bytes(shape, height, mve=mve) for height in heights]


def _conv_shape(node: IntegerConv, model: IntegerGraph, max_nonzeros: int) -> ConvShape:
    """The layer as the kernels' workspace functions take it."""
    in_c, in_h, in_w = model.tensors[node.input].shape
    out_c, out_h, out_w = model.tensors[node.name].shape
    return ConvShape(
        (in_h, in_w, in_c),
        (out_h, out_w, out_c),
        (node.weight.shape[1], node.weight.shape[2]),
        node.stride,
        node.padding,
        max_nonzeros,
    )


def call(node: IntegerConv, step: Step, plan: ExportPlan) -> Call:
    """The variables of the macro ``layer``."""
    out, height, width, inner = node.weight.shape
    params, filter_dims = "cmsis_nn_conv_params", (out, height, width, inner)
    if step.kernel in (Kernel.DENSE_DEPTHWISE, Kernel.SPARSE_DEPTHWISE):
        params, filter_dims = "cmsis_nn_dw_conv_params", (1, height, width, out)
    return layer_call(node, step, plan, filter_dims) | {
        "params_type": params,
        "stride": node.stride,
        "padding": node.padding,
        "input_dims": nhwc(plan.model.tensors[node.input]),
        "output_dims": nhwc(plan.model.tensors[node.name]),
    }


OP = FirmwareOp(ways, quantities, layer_arrays, "layer", call)
