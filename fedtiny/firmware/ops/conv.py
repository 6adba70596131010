"""Convolutions in C: dense, sparse (direct or planar), depthwise."""

from __future__ import annotations

from collections.abc import Iterator

from fedtiny.firmware.cores import Core
from fedtiny.firmware.dense_form import dense_form
from fedtiny.firmware.dense_scratch import conv_bytes, depthwise_bytes
from fedtiny.firmware.limits import cmsis_nn_depthwise_in_limits, conv_in_limits
from fedtiny.firmware.ops.conv_cost import quantities
from fedtiny.firmware.ops.conv_shape import conv_shape
from fedtiny.firmware.ops.op import Call, FirmwareOp
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
    direct_bytes,
    planar_bytes,
    planar_rows,
)
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.conv import IntegerConv


def ways(node: IntegerConv, model: IntegerGraph, core: Core, limit: int) -> Iterator[Step]:
    """CMSIS-NN's kernel, then ours in each weight format; those whose limits the layer keeps."""
    yield from _dense(node, model)
    filter_channels = node.weight.shape[0 if node.groups > 1 else 3]
    if not conv_in_limits(conv_shape(node, model), filter_channels):
        return
    streams, planar = encodings(node)
    kernels = [Kernel.SPARSE_DEPTHWISE] if node.groups > 1 else [Kernel.SPARSE_CONV]
    if node.groups == 1 and planar and core.planar_pays:
        kernels.append(Kernel.SPARSE_CONV_PLANAR)
    for stream in streams:
        flash = stream.flash_bytes + parameter_bytes(node)
        shape = conv_shape(node, model, stream.max_nonzeros)
        for kernel in kernels:
            scratch, bands = _banded(shape, kernel, core, limit)
            yield Step(node, kernel, stream, flash, scratch, bands)


def _dense(node: IntegerConv, model: IntegerGraph) -> Iterator[Step]:
    """CMSIS-NN's kernel, with the most scratch that any release asks for; none if it takes none."""
    flash, shape = dense_flash_bytes(node), conv_shape(node, model)
    if node.groups > 1:
        in_limits = conv_in_limits(shape, node.weight.shape[0])
        if in_limits and cmsis_nn_depthwise_in_limits(shape):
            yield Step(node, Kernel.DENSE_DEPTHWISE, None, flash, depthwise_bytes(shape))
        return
    form = dense_form(shape)
    if form is not None and conv_in_limits(shape, node.weight.shape[3]):
        yield Step(node, Kernel.DENSE_CONV, None, flash, conv_bytes(form))


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


def call(node: IntegerConv, step: Step, plan: ExportPlan) -> Call:
    """The variables of the macro ``layer``."""
    shape, out = conv_shape(node, plan.model), node.weight.shape[0]
    if step.kernel is Kernel.DENSE_CONV:
        shape = dense_form(shape, plan.releases) or shape
    params, filter_dims = "cmsis_nn_conv_params", (out, *shape.kernel, node.weight.shape[3])
    if step.kernel in (Kernel.DENSE_DEPTHWISE, Kernel.SPARSE_DEPTHWISE):
        params, filter_dims = "cmsis_nn_dw_conv_params", (1, *shape.kernel, out)
    return layer_call(node, step, plan, filter_dims) | {
        "params_type": params,
        "stride": shape.stride,
        "padding": shape.padding,
        "input_dims": (1, *shape.input),
        "output_dims": (1, *shape.output),
    }


OP = FirmwareOp(ways, quantities, layer_arrays, "layer", call)
