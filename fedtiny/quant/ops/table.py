"""What quantization and the integer reference do with each op."""

from __future__ import annotations

from collections.abc import Callable

from fedtiny.models.op_table import OpTable
from fedtiny.models.ops import Add, Concat, Conv, Linear, Pool, Upsample
from fedtiny.quant.integer_model import IntegerNode
from fedtiny.quant.ops import add, concat, conv, linear, lookup, mean, pool, upsample
from fedtiny.quant.tensors import Int8s

QUANTIZE: OpTable[Callable[..., tuple[IntegerNode, ...]]] = OpTable(
    "quantization",
    {
        Conv: conv.quantize,
        Linear: linear.quantize,
        Add: add.quantize,
        Concat: concat.quantize,
        Pool: pool.quantize,
        Upsample: upsample.quantize,
    },
)
"""``quantize(node, build)``: the integer nodes of a float node; their tensors go into ``build``."""

RUN: OpTable[Callable[..., Int8s]] = OpTable(
    "the integer reference",
    {
        conv.IntegerConv: conv.run,
        linear.IntegerLinear: linear.run,
        add.IntegerAdd: add.run,
        concat.IntegerConcat: concat.run,
        pool.IntegerPool: pool.run,
        mean.IntegerMean: mean.run,
        lookup.IntegerLookup: lookup.run,
        upsample.IntegerUpsample: upsample.run,
    },
)
"""``run(node, inputs, sources, output)``: the node's codes ``(N, H, W, C)`` of its inputs' codes,
given how these and the output are read."""
