"""Fully-connected layers in C: dense ones as 1x1 convolutions, sparse ones by a kernel of ours."""

from __future__ import annotations

from collections.abc import Iterator

from fedtiny.firmware.cores import Core
from fedtiny.firmware.dense_scratch import conv_bytes
from fedtiny.firmware.ops.op import Call, FirmwareOp, Quantities
from fedtiny.firmware.ops.weights import (
    decoded,
    dense_flash_bytes,
    encodings,
    lanes,
    layer_arrays,
    layer_call,
    parameter_bytes,
)
from fedtiny.firmware.plan import ExportPlan, Kernel, Step
from fedtiny.firmware.workspace import ConvShape
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.linear import IntegerLinear


def ways(node: IntegerLinear, model: IntegerGraph, core: Core, limit: int) -> Iterator[Step]:
    """CMSIS-NN's kernel, then ours in each weight format, which takes no scratch."""
    scratch = conv_bytes(_shape(node))
    yield Step(node, Kernel.DENSE_CONV, None, dense_flash_bytes(node), scratch)
    for stream in encodings(node)[0]:
        flash = stream.flash_bytes + parameter_bytes(node)
        yield Step(node, Kernel.SPARSE_LINEAR, stream, flash)


def _shape(node: IntegerLinear) -> ConvShape:
    outputs, inner = node.weight.shape[0], node.weight.shape[3]
    return ConvShape((1, 1, inner), (1, 1, outputs), (1, 1), (1, 1), (0, 0), max_nonzeros=0)


def quantities(node: IntegerLinear, step: Step, model: IntegerGraph, core: Core) -> Quantities:
    """Multiply-accumulates, or what is decoded; outputs; one call."""
    outputs, inner = node.weight.shape[0], node.weight.shape[3]
    if step.streams is None:
        return "dense_linear", (outputs * lanes(inner, core), outputs, 1)
    return "sparse_linear", (*decoded(step, node, 1), outputs, 1)


def call(node: IntegerLinear, step: Step, plan: ExportPlan) -> Call:
    """The variables of the macro ``layer``."""
    out, height, width, inner = node.weight.shape
    params, filter_dims = "cmsis_nn_conv_params", (out, height, width, inner)
    if step.kernel is Kernel.SPARSE_LINEAR:
        params, filter_dims = "cmsis_nn_fc_params", (inner, 1, 1, out)
    return layer_call(node, step, plan, filter_dims) | {
        "params_type": params,
        "stride": (1, 1),
        "padding": (0, 0),
        "input_dims": (1, 1, 1, inner),
        "output_dims": (1, 1, 1, out),
    }


OP = FirmwareOp(ways, quantities, layer_arrays, "layer", call)
