"""The firmware's half of every op."""

from __future__ import annotations

from typing import Any

from fedtiny.firmware.ops import add, concat, conv, linear, lookup, mean, pool, upsample
from fedtiny.firmware.ops.op import FirmwareOp
from fedtiny.models.op_table import OpTable
from fedtiny.quant.integer_model import IntegerNode
from fedtiny.quant.ops.add import IntegerAdd
from fedtiny.quant.ops.concat import IntegerConcat
from fedtiny.quant.ops.conv import IntegerConv
from fedtiny.quant.ops.linear import IntegerLinear
from fedtiny.quant.ops.lookup import IntegerLookup
from fedtiny.quant.ops.mean import IntegerMean
from fedtiny.quant.ops.pool import IntegerPool
from fedtiny.quant.ops.upsample import IntegerUpsample

OPS: OpTable[FirmwareOp[Any]] = OpTable(
    "the firmware",
    {
        IntegerConv: conv.OP,
        IntegerLinear: linear.OP,
        IntegerAdd: add.OP,
        IntegerConcat: concat.OP,
        IntegerPool: pool.OP,
        IntegerMean: mean.OP,
        IntegerLookup: lookup.OP,
        IntegerUpsample: upsample.OP,
    },
)


def op_of(node: IntegerNode) -> FirmwareOp[Any]:
    """The entry of a node.

    Raises:
        UnsupportedOpError: the firmware refuses it.
    """
    return OPS.entry(type(node), node.name)
