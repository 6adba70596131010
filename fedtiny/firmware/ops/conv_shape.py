"""A convolution of the model as the kernels' size functions take it."""

from __future__ import annotations

from fedtiny.firmware.workspace import ConvShape
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.conv import IntegerConv


def conv_shape(node: IntegerConv, model: IntegerGraph, max_nonzeros: int = 0) -> ConvShape:
    """The shape of ``node``; ``max_nonzeros`` is of its weight stream, 0 for a dense kernel."""
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
