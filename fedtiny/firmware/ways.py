"""Every way to compute a node: kernel, weight format, band height; with scratch, flash and cost."""

from __future__ import annotations

from dataclasses import replace

from fedtiny.errors import FedTinyError
from fedtiny.firmware import cost
from fedtiny.firmware.cores import Core
from fedtiny.firmware.limits import MAX_SIDE, MAX_VALUES, fits
from fedtiny.firmware.ops.table import op_of
from fedtiny.firmware.plan import Step
from fedtiny.quant.integer_model import IntegerGraph, IntegerNode


class NoKernelError(FedTinyError):
    """No kernel takes a layer's shape; the message names the layer and the limits."""


def ways(
    node: IntegerNode, model: IntegerGraph, core: Core, scratch_limit_bytes: int
) -> list[Step]:
    """Every way to compute ``node``: for a layer dense first, then sparse in each format.

    Kernels that do not take the node's shape are no way.

    Args:
        node: of the model.
        model: whole.
        core: whose instructions are predicted.
        scratch_limit_bytes: sparse kernels take the highest band of rows that keeps within it,
            or one row if even that needs more.

    Raises:
        NoKernelError: no kernel takes the shape.
    """
    tensors = [model.tensors[name] for name in (*node.inputs, node.name)]
    steps = []
    if all(fits(tensor.nbytes) for tensor in tensors):
        steps = list(op_of(node).ways(node, model, core, scratch_limit_bytes))
    if not steps:
        shapes = " -> ".join("x".join(map(str, tensor.shape)) for tensor in tensors)
        raise NoKernelError(
            f"layer {node.name!r} ({shapes}, channels x height x width) cannot be exported: "
            f"kernels take sides, strides, padding and weights per output of at most "
            f"{MAX_SIDE:,} and tensors of at most {MAX_VALUES:,} values, padding included; "
            "choose a smaller input, or a larger stride or pool before this layer"
        )
    return [replace(step, instructions=cost.predict(step, model, core)) for step in steps]
