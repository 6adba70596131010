"""What a graph is made of: one op a file, and the names by which files know them.

A node is a *fused* step, because that is the unit in which devices train and microcontrollers
run: a convolution with its batch norm and activation, an addition with its activation, a pooling,
a fully-connected layer. To add an op, write its file, name it here, and give each pass its form:
the completeness tests list the passes.
"""

from __future__ import annotations

from fedtiny.models.ops.activation import Activation
from fedtiny.models.ops.add import Add
from fedtiny.models.ops.concat import Concat
from fedtiny.models.ops.conv import Conv
from fedtiny.models.ops.linear import Linear
from fedtiny.models.ops.pool import Pool
from fedtiny.models.ops.tensor import INPUT, GraphError, Shape
from fedtiny.models.ops.upsample import Upsample

Node = Conv | Linear | Add | Concat | Pool | Upsample
Layer = Conv | Linear
"""A node with weights."""

OPS: dict[str, type[Node]] = {
    "conv": Conv,
    "linear": Linear,
    "add": Add,
    "concat": Concat,
    "pool": Pool,
    "upsample": Upsample,
}
"""Every op by its name in files."""

__all__ = [
    "INPUT",
    "OPS",
    "Activation",
    "Add",
    "Concat",
    "Conv",
    "GraphError",
    "Layer",
    "Linear",
    "Node",
    "Pool",
    "Shape",
    "Upsample",
]
