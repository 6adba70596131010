"""Pooling in C, by CMSIS-NN's kernels or their portable twins."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from fedtiny.firmware.cores import Core
from fedtiny.firmware.dense_scratch import average_pool_bytes
from fedtiny.firmware.ops.op import Call, FirmwareOp, Quantities, common_call, nhwc, no_arrays
from fedtiny.firmware.plan import ExportPlan, Kernel, Step
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.pool import IntegerPool


def ways(node: IntegerPool, model: IntegerGraph, core: Core, limit: int) -> Iterator[Step]:
    """The one kernel."""
    if node.kind == "max":
        yield Step(node, Kernel.MAX_POOL)
        return
    scratch = average_pool_bytes(model.tensors[node.input].shape[0])
    yield Step(node, Kernel.AVERAGE_POOL, scratch_bytes=scratch)


def quantities(node: IntegerPool, step: Step, model: IntegerGraph, core: Core) -> Quantities:
    """Values read, outputs."""
    outputs = prod(model.tensors[node.name].shape)
    return f"{node.kind}_pool", (outputs * prod(node.kernel), outputs)


def call(node: IntegerPool, step: Step, plan: ExportPlan) -> Call:
    """The variables of the macro ``pool``."""
    return common_call(step, plan) | {
        "stride": node.stride,
        "padding": node.padding,
        "input_dims": nhwc(plan.model.tensors[node.input]),
        "filter_dims": (1, *node.kernel, 1),
        "output_dims": nhwc(plan.model.tensors[node.name]),
        "input": plan.arena.offsets[node.input],
        "clamp": node.clamp,
    }


OP = FirmwareOp(ways, quantities, no_arrays, "pool", call)
